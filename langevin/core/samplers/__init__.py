"""Samplers: ways from noise to data that work on every process, and the names under which users know them."""

from langevin.core.samplers.adaptive import Adaptive
from langevin.core.samplers.base import Move, Sampler, Step, sample
from langevin.core.samplers.heun import Heun
from langevin.core.samplers.langevin import Langevin
from langevin.core.samplers.multistep import Multistep
from langevin.core.samplers.particles import Particles
from langevin.core.samplers.presets import PRESETS, Preset, preset
from langevin.core.samplers.renoising import Churn, Restart
from langevin.core.samplers.single import Single

__all__ = [
    "PRESETS",
    "Adaptive",
    "Churn",
    "Heun",
    "Langevin",
    "Move",
    "Multistep",
    "Particles",
    "Preset",
    "Restart",
    "Sampler",
    "Single",
    "Step",
    "preset",
    "sample",
]
