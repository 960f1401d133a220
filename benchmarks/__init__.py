"""Measurements beside peers; ``python -m benchmarks`` runs them all. Nothing here is imported by the library."""
