"""Names that the command line knows without importing torch: presets of samplers, grids, keys of a model.

Samplers and grids repeat the keys of ``langevin.core.samplers.presets.PRESETS`` and
``langevin.core.grids.GRIDS``; a test compares them.
"""

from __future__ import annotations

__all__ = ["GRIDS", "MODEL", "SAMPLERS"]

# of config.yaml
MODEL = (
    "format", "weights", "name", "summary", "licence", "attribution", "conditions", "modality", "network",
    "parametrisation", "objective", "drop", "sampling", "training", "data",
)  # fmt: skip

SAMPLERS = (
    "angle",
    "ddpm",
    "ddpm-cool",
    "ddim",
    "euler",
    "euler-karras",
    "euler-ancestral",
    "heun",
    "edm",
    "edm-churn",
    "angle-restart",
    "restart",
    "dpm++2m",
    "dpm++3m",
    "dpm++2m-sde",
    "dpm++3m-sde",
    "deis",
    "lms",
    "unipc",
    "unipc3",
    "ab2",
    "langevin",
    "adaptive",
)

GRIDS = (
    "uniform",
    "log_snr_uniform",
    "karras",
    "trailing",
    "leading",
    "shifted",
    "exponential",
    "beta",
    "curvature",
)
