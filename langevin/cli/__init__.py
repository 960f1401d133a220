"""The command line: ``langevin COMMAND …``. Help and usage errors answer without importing torch."""
