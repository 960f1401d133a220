"""Names that the command line knows without importing torch: presets of samplers, and grids.

They repeat the keys of ``langevin.core.samplers.presets.PRESETS`` and ``langevin.core.grids.GRIDS``; a
test compares them.
"""

from __future__ import annotations

__all__ = ["GRIDS", "SAMPLERS"]

SAMPLERS = (
    "angle",
    "ddpm",
    "ddim",
    "euler",
    "euler-karras",
    "euler-ancestral",
    "heun",
    "edm",
    "edm-churn",
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
