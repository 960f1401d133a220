r"""Grids: where a sampler stops between noise and data.

A grid is a function of the process giving N + 1 falling times, both ends included; `listed` takes any times, and a rising
grid inverts. Grids that are stated in noise levels (Karras, exponential, log-SNR) place finite levels by the ratio
r = σ/α = e^{−λ/2} between the exact ends, so that σ = 0 and α = 0 are reached and not approximated.

References:
    Karras et al., 2022, arXiv 2206.00364, Eq. 5 (karras)
    Lin et al., 2023, arXiv 2305.08891, Table 2 (leading, linspace, trailing)
    Esser et al., 2024, arXiv 2403.03206, §5.3.2 (shifted)
    Lee et al., 2024, Beta Sampling is All You Need, arXiv 2407.12173 (beta)
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from langevin.core.errors import unknown
from langevin.core.processes import Process
from langevin.core.schedules import Schedule, Tabulated

__all__ = [
    "GRIDS",
    "Grid",
    "angle_of",
    "beta",
    "by_leaf",
    "curvature",
    "exponential",
    "karras",
    "lagged",
    "leading",
    "listed",
    "log_snr_uniform",
    "named",
    "shifted",
    "slots",
    "trailing",
    "uniform",
]


def lagged(times: Sequence[float], lags: Mapping[str, float], process: Process) -> list[dict[str, float]]:
    """Times by leaf: the clock of a leaf with lag c stays at 1 until the common time is c, and then falls to 0 with it.

    Classes that are drawn while points are still noise are drawn from a vague belief, and stay. Where they lag, points are
    almost in place when classes are drawn. For models that were trained with clocks of their own for each leaf.

    Raises:
        ValueError: a name that is no leaf, or a lag outside (0, 1].
    """
    for name, lag in lags.items():
        if name not in process.leaves:
            raise ValueError(unknown("leaf of lag", name, process.leaves))
        if isinstance(lag, bool) or not isinstance(lag, (int, float)) or not 0 < lag <= 1:
            raise ValueError(f"the lag of {name} must lie in (0, 1], got {lag!r}")
    return [{name: min(1.0, t / lags.get(name, 1.0)) for name in process.leaves} for t in times]


@dataclass(frozen=True)
class Grid:
    """A function of the process giving falling times.

    Args:
        name: what made it, for records.
        steps: N; None where the times were listed.
        rule: the schedule ↦ N + 1 times.
        settings: for records.
    """

    name: str
    steps: int
    rule: Callable[[Schedule | None], Sequence[float]]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, process: Process) -> tuple[float, ...]:
        """The times, made from the schedule of the process's first Gaussian leaf (all leaves share them)."""
        schedule = next((leaf.schedule for leaf in process.leaves.values() if leaf.order > 1), None)  # type: ignore[attr-defined]
        return tuple(self.rule(schedule))

    def describe(self) -> dict[str, Any]:
        """Name and settings as plain data."""
        return {"name": self.name, "steps": self.steps, **self.settings}


def _in_times(
    name: str, steps: int, rule: Callable[[Schedule | None], Sequence[float]], **settings: Any
) -> Grid:
    """A grid that is stated in times, which every process has."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    return Grid(name, steps, rule, settings)


def _in_levels(name: str, steps: int, rule: Callable[[Schedule], Sequence[float]], **settings: Any) -> Grid:
    """A grid that is stated in levels of noise, which only Gaussian leaves have."""

    def checked(schedule: Schedule | None) -> Sequence[float]:
        if schedule is None:
            raise ValueError(
                f"the grid {name!r} is stated in noise levels; a process without Gaussian leaves needs 'uniform'"
            )
        return rule(schedule)

    return _in_times(name, steps, checked, **settings)


def uniform(steps: int) -> Grid:
    """t = 1, 1 − 1/N, …, 0. For the linear schedule this is the usual grid of flow models."""
    return _in_times("uniform", steps, lambda _: [1 - i / steps for i in range(steps)] + [0.0])


def listed(times: Sequence[float]) -> Grid:
    """These times and no others; checked when a sampler plans with them."""
    times = tuple(float(t) for t in times)
    return Grid("listed", len(times) - 1, lambda _: times, {"times": list(times)})


def by_leaf(**grids: Callable[[Process], Sequence[float]]) -> Callable[[Process], dict[str, Sequence[float]]]:
    """Separate clocks: a grid for each leaf of a product, all of as many steps."""
    return lambda process: {name: grid(process) for name, grid in grids.items()}


def _ratio(schedule: Schedule, t: float) -> float:
    alpha, sigma = schedule.at(t)
    return sigma / alpha if alpha else math.inf


def _bounds(schedule: Schedule, low: float | None, high: float | None) -> tuple[float, float]:
    """(r_min, r_max) of the finite levels: what was asked, else the table's first entry or 0.002, and 80 or r(1)."""
    first = _ratio(schedule, 1 / len(schedule.alphas_bar)) if isinstance(schedule, Tabulated) else 0.002
    end = _ratio(schedule, 1.0)
    low = min(first, end / 10) if low is None else low
    high = min(end, 80.0) if high is None else high
    if not 0 < low < high <= end:
        raise ValueError(
            f"noise levels must satisfy 0 < low < high <= {end:g}, got low={low:g}, high={high:g}"
        )
    return low, high


def _from_ratios(schedule: Schedule, levels: Sequence[float]) -> list[float]:
    ratios = torch.tensor(levels, dtype=torch.float64)
    return schedule.time(-2 * ratios.log()).clamp(0, 1).tolist()


def _levels(
    steps: int, low: float | None, high: float | None, between: Callable[[float, float, float], float]
) -> Callable[[Schedule], list[float]]:
    """N levels from r_max down to r_min placed by ``between(r_max, r_min, fraction)``, and the exact ends.

    Unless ``high`` is asked for, the first level stands for t = 1, whatever r(1): between 80, from which the others are
    spaced, and the infinity of a flow there is nothing worth a belief.
    """

    def rule(schedule: Schedule) -> list[float]:
        r_min, r_max = _bounds(schedule, low, high)
        asked = high is not None and high < _ratio(schedule, 1.0) * (1 - 1e-9)
        count = steps - asked
        ratios = [between(r_max, r_min, i / max(1, count - 1)) for i in range(count)]
        times = _from_ratios(schedule, ratios)
        return [1.0, *(times if asked else times[1:]), 0.0]

    return rule


def karras(steps: int, rho: float = 7.0, low: float | None = None, high: float | None = None) -> Grid:
    """σ/α between ``high`` and ``low`` uniform in its 1/ρ-th power, then σ = 0."""

    def between(r_max: float, r_min: float, f: float) -> float:
        return (r_max ** (1 / rho) + f * (r_min ** (1 / rho) - r_max ** (1 / rho))) ** rho

    return _in_levels("karras", steps, _levels(steps, low, high, between), rho=rho, low=low, high=high)


def log_snr_uniform(steps: int, low: float | None = None, high: float | None = None) -> Grid:
    """σ/α uniform in its logarithm between ``high`` and ``low``, then σ = 0."""

    def between(r_max: float, r_min: float, f: float) -> float:
        return math.exp((1 - f) * math.log(r_max) + f * math.log(r_min))

    return _in_levels("log_snr_uniform", steps, _levels(steps, low, high, between), low=low, high=high)


def exponential(steps: int, low: float | None = None, high: float | None = None) -> Grid:
    """Another name for :func:`log_snr_uniform`: levels that fall by a constant factor."""
    grid = log_snr_uniform(steps, low, high)
    return Grid("exponential", grid.steps, grid.rule, grid.settings)


def _table(schedule: Schedule | None, size: int | None) -> int:
    return size or (len(schedule.alphas_bar) if isinstance(schedule, Tabulated) else 1000)


def trailing(steps: int, size: int | None = None) -> Grid:
    """The entries T, T − T/N, … of a table of T steps, then data: begins at pure noise, as few steps need."""

    def rule(schedule: Schedule | None) -> list[float]:
        total = _table(schedule, size)
        return [round(total - i * total / steps) / total for i in range(steps)] + [0.0]

    return _in_times("trailing", steps, rule, size=size)


def leading(steps: int, size: int | None = None, offset: int = 1) -> Grid:
    """The entries 0, T/N, … shifted by ``offset``, then data: begins below pure noise. For parity with old models."""

    def rule(schedule: Schedule | None) -> list[float]:
        total = _table(schedule, size)
        return [(i * (total // steps) + offset + 1) / total for i in reversed(range(steps))] + [0.0]

    return _in_times("leading", steps, rule, size=size, offset=offset)


def shifted(steps: int, factor: float = 3.0) -> Grid:
    """Uniform times pushed towards noise, t ↦ f t / (1 + (f − 1) t): SD3's and FLUX's grid (f = e^μ)."""
    if factor <= 0:
        raise ValueError(f"factor must be positive, got {factor}")
    return _in_times(
        "shifted",
        steps,
        lambda _: (
            [factor * t / (1 + (factor - 1) * t) for t in (1 - i / steps for i in range(steps))] + [0.0]
        ),
        factor=factor,
    )


def beta(steps: int, a: float = 0.6, b: float = 0.6) -> Grid:
    """t at the quantiles of a Beta(a, b): denser at both ends."""

    def rule(_: Schedule | None) -> list[float]:
        # cumulative distribution on a grid in the angle φ, t = sin²φ, where the density has no poles for a, b > 0
        phi = torch.linspace(0, math.pi / 2, 4097, dtype=torch.float64)
        middle = (phi[1:] + phi[:-1]) / 2
        density = middle.sin() ** (2 * a - 1) * middle.cos() ** (2 * b - 1)
        total = torch.cat([torch.zeros(1, dtype=torch.float64), density.cumsum(0)])
        cumulative: list[float] = (total / total[-1]).tolist()
        times = []
        for i in range(1, steps):
            target = 1 - i / steps
            j = bisect.bisect_right(cumulative, target) - 1
            f = (target - cumulative[j]) / (cumulative[j + 1] - cumulative[j])
            times.append(math.sin((j + f) * math.pi / 8192) ** 2)
        return [1.0, *times, 0.0]

    return _in_times("beta", steps, rule, a=a, b=b)


def angle_of(schedule: Schedule, t: float) -> float:
    """θ = atan(σ/α) of a time, in radians."""
    alpha, sigma = schedule.at(t)
    return math.atan2(sigma, alpha)


def slots(end: float, slices: int) -> tuple[list[float], list[float]]:
    """Middles and widths in θ of the slices of a density: θ = θ₁ sin²(πz/2) with z even, so fine at both ends.

    Args:
        end: θ₁, the angle at t = 1.
        slices: their number.
    """
    middles = [end * math.sin(math.pi / 2 * (j + 0.5) / slices) ** 2 for j in range(slices)]
    edges = [end * math.sin(math.pi / 2 * j / slices) ** 2 for j in range(slices + 1)]
    return middles, [b - a for a, b in itertools.pairwise(edges)]


@functools.lru_cache(maxsize=64)
def _unmeasured(end: float, slices: int = 96) -> tuple[float, ...]:
    """A density for models that have not been measured, (1 + sin 2θ)^{−3/2}: more steps towards both ends."""
    return tuple(w * (1 + math.sin(2 * u)) ** -1.5 for u, w in zip(*slots(end, slices), strict=True))


def curvature(steps: int, density: Sequence[float] | None = None) -> Grid:
    """Steps of equal error of the angle method: the grid a model measures on itself and stores.

    Args:
        steps: N.
        density: shares of the steps in the slices of :func:`slots`, from data to noise, as
            :func:`langevin.core.curvature.measure` gives them; None for models that have not been measured.
    """

    def rule(schedule: Schedule) -> list[float]:
        end = angle_of(schedule, 1.0)
        chosen = _unmeasured(end) if density is None else tuple(float(d) for d in density)
        return _equidistribute(schedule, chosen, steps, end)

    settings = {} if density is None else {"density": [float(d) for d in density]}
    return _in_levels("curvature", steps, rule, **settings)


@functools.lru_cache(maxsize=1024)
def _equidistribute(schedule: Schedule, density: tuple[float, ...], steps: int, end: float) -> list[float]:
    if not density or min(density) < 0 or not math.isfinite(sum(density)) or sum(density) == 0:
        raise ValueError("density must hold finite numbers of at least 0, not all 0")
    cumulative = [0.0, *itertools.accumulate(density)]
    times = [1.0]
    for i in range(1, steps):
        target = cumulative[-1] * (1 - i / steps)
        j = min(bisect.bisect_right(cumulative, target) - 1, len(density) - 1)
        z = (j + (target - cumulative[j]) / (cumulative[j + 1] - cumulative[j])) / len(density)
        theta = end * math.sin(math.pi / 2 * z) ** 2
        times.append(_from_ratios(schedule, [math.tan(theta)])[0])
    return [*times, 0.0]


GRIDS: dict[str, Callable[..., Grid]] = {
    "uniform": uniform,
    "log_snr_uniform": log_snr_uniform,
    "karras": karras,
    "trailing": trailing,
    "leading": leading,
    "shifted": shifted,
    "exponential": exponential,
    "beta": beta,
    "curvature": curvature,
}


def named(name: str, steps: int, **settings: Any) -> Grid:
    """A grid by name.

    Raises:
        ValueError: unknown name; the nearest is suggested.
    """
    if name not in GRIDS:
        raise ValueError(unknown("grid", name, GRIDS))
    return GRIDS[name](steps, **settings)
