"""Names that users know, as combinations of the samplers here. A preset is a sampler and the grid it is known with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from langevin.core import grids
from langevin.core.errors import unknown
from langevin.core.grids import Grid
from langevin.core.samplers.adaptive import Adaptive
from langevin.core.samplers.base import Sampler
from langevin.core.samplers.heun import Heun
from langevin.core.samplers.langevin import Langevin
from langevin.core.samplers.multistep import Multistep
from langevin.core.samplers.renoising import Churn, Restart
from langevin.core.samplers.single import Single

__all__ = ["PRESETS", "Preset", "preset"]


@dataclass(frozen=True)
class Preset:
    """A sampler and the grid it is used with unless another is asked for.

    Attributes:
        sampler: what makes the moves.
        grid: number of steps ↦ grid.
        about: one line for listings.
    """

    sampler: Sampler
    grid: Callable[[int], Grid]
    about: str


PRESETS: dict[str, Preset] = {
    "angle": Preset(
        Multistep(2, of="v", corrector=True),
        grids.curvature,
        "default: multistep in the angle, free corrector",
    ),
    "ddpm": Preset(Single(1.0), grids.trailing, "ancestral sampling; needs many steps"),
    "ddpm-cool": Preset(
        Single(1.0, noise_scale=0.5),
        grids.uniform,
        "ancestral sampling with half of its noise: likelier samples, less variety",
    ),
    "ddim": Preset(Single(0.0), grids.trailing, "deterministic, first order"),
    "euler": Preset(Single(0.0), grids.uniform, "Euler on the probability flow, uniform times"),
    "euler-karras": Preset(Single(0.0), grids.karras, "Euler on Karras' noise levels"),
    "euler-ancestral": Preset(Single(1.0), grids.karras, "ancestral steps on Karras' noise levels"),
    "heun": Preset(Heun(), grids.uniform, "Heun on the flow, uniform times; two evaluations a step"),
    "edm": Preset(Heun(of="sigma"), grids.karras, "EDM's deterministic Heun"),
    "edm-churn": Preset(Churn(), grids.karras, "EDM's stochastic sampler"),
    "angle-restart": Preset(
        Restart(Multistep(2, of="v", corrector=True), low=0.0, high=0.2, times=4),
        grids.uniform,
        "angle, and four more passages from t = 0.2 to the data",
    ),
    "restart": Preset(Restart(Heun()), grids.uniform, "Heun with restarts between t = 0.4 and 0.1"),
    "dpm++2m": Preset(Multistep(2, of="x", midpoint=True), grids.karras, "DPM-Solver++ 2M"),
    "dpm++3m": Preset(Multistep(3, of="x", lower_final=True), grids.karras, "DPM-Solver++ 3M"),
    "dpm++2m-sde": Preset(
        Multistep(2, of="x", sde=True, midpoint=True), grids.karras, "DPM-Solver++ 2M, stochastic"
    ),
    "dpm++3m-sde": Preset(Multistep(3, of="x", sde=True), grids.exponential, "DPM-Solver++ 3M, stochastic"),
    "deis": Preset(Multistep(3, of="eps", lower_final=True), grids.trailing, "DEIS, third order in log ρ"),
    "lms": Preset(Multistep(4, of="sigma"), grids.karras, "linear multistep in σ, fourth order"),
    "unipc": Preset(
        Multistep(2, of="x", corrector=True, midpoint=True, lower_final=True),
        grids.karras,
        "UniPC, order 2, bh2",
    ),
    "unipc3": Preset(
        Multistep(3, of="x", corrector=True, midpoint=True, lower_final=True), grids.karras, "UniPC, order 3"
    ),
    "ab2": Preset(Multistep(2, of="velocity"), grids.uniform, "Adams–Bashforth on the flow"),
    "langevin": Preset(Langevin(), grids.karras, "ancestral predictor, Langevin corrector"),
    "adaptive": Preset(
        Adaptive(), grids.uniform, "step sizes by error control; steps set only the first size"
    ),
}


def preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ValueError: unknown name; the nearest is suggested.
    """
    if name not in PRESETS:
        raise ValueError(unknown("sampler", name, PRESETS))
    return PRESETS[name]
