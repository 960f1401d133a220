"""Exact references that the certificates share: every schedule, a target whose flow is known, statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from langevin.core import parametrisations
from langevin.core.analytic import GaussianDenoiser
from langevin.core.denoiser import Denoiser
from langevin.core.posteriors import Point, Posterior
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import Sampler, Step, sample
from langevin.core.schedules import (
    EDM,
    VE,
    VP,
    Cosine,
    Linear,
    Schedule,
    Shifted,
    Sigmoid,
    Tabulated,
    ZeroTerminal,
)

KINDS = parametrisations.PARAMETRISATIONS

# Stable Diffusion's table, as most pretrained models have it
TABLE = Tabulated.from_betas(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)

SCHEDULES: dict[str, Schedule] = {
    "linear": Linear(),
    "vp": VP(),
    "cosine": Cosine(),
    "sigmoid": Sigmoid(),
    "ve": VE(),
    "edm": EDM(),
    "shifted": Shifted(Linear(), 3.0),
    "shifted-cosine": Shifted(Cosine(), 0.5),
    "zero-terminal": ZeroTerminal(VP()),
    "tabulated": TABLE,
}

# α = 0 at t = 1
TERMINAL = ("linear", "cosine", "sigmoid", "shifted", "shifted-cosine", "zero-terminal")


class Normal(GaussianDenoiser):
    """The exact denoiser of N(0.7, 0.4²); with ``kind``, by way of an output in that parametrisation.

    A trained model answers in a parametrisation, and is refused where that says nothing.
    """

    def __init__(
        self, process: Gaussian, mean: float = 0.7, std: float = 0.4, kind: str | None = None
    ) -> None:
        super().__init__(process, mean, std)
        self.loc, self.scale, self.kind = mean, std, kind

    def __call__(
        self, x_t: Any, t: Any, condition: Any = None, mask: Tensor | None = None, memory: Any = None
    ) -> tuple[Posterior, Any]:
        belief, memory = super().__call__(x_t, t, condition, mask, memory)
        assert isinstance(belief, Point)
        if self.kind is None:
            return belief, memory
        c, d = parametrisations.row(self.kind, belief.schedule, belief.t, x_t, self.process.sigma_data)
        return self.process.posterior(c * belief.x + d * belief.eps, x_t, t, self.kind), memory

    def marginal(self, t: float) -> tuple[float, float]:
        """Mean and standard deviation of x_t."""
        alpha, sigma = self.process.schedule.at(t)
        return alpha * self.loc, math.hypot(alpha * self.scale, sigma)

    def quantiles(self, t: float, count: int = 64) -> Tensor:
        """Evenly spread states at time t, (count, 1), float64."""
        mean, std = self.marginal(t)
        return mean + std * torch.linspace(-2, 3, count, dtype=torch.float64)[:, None]

    def draw(self, t: float, count: int) -> Tensor:
        """Evenly spaced quantiles of the law of x_t: a sample without sampling noise, (count, 1)."""
        mean, std = self.marginal(t)
        u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        return (mean + std * torch.special.ndtri(u))[:, None]


def normal(schedule: str | Schedule = "linear", kind: str | None = None, **settings: float) -> Normal:
    """The exact denoiser on a schedule, by name or as an object."""
    found = SCHEDULES[schedule] if isinstance(schedule, str) else schedule
    return Normal(Gaussian(found), kind=kind, **settings)


def last(denoiser: Denoiser, sampler: Sampler, grid: Any, x: Any, seed: int = 0, **options: Any) -> Step:
    """The last step of a run from the states ``x``."""
    first = next(iter(x.values())) if isinstance(x, dict) else x
    steps = list(sample(denoiser, sampler, grid, Stream.of(seed, first.shape[0]), x=x, **options))
    return steps[-1]


def by_ratio(schedule: Schedule, high: float, low: float, steps: int) -> list[float]:
    """Times at which σ/α falls from ``high`` to ``low`` by a constant factor, inside any schedule."""
    ratios = torch.linspace(math.log(high), math.log(low), steps + 1, dtype=torch.float64)
    return [float(t) for t in schedule.time(-2 * ratios)]


def interior(schedule: Schedule, steps: int, low: float = 0.05, high: float = 20.0) -> list[float]:
    """:func:`by_ratio` between levels that every schedule reaches."""
    alpha, sigma = schedule.at(1.0)
    return by_ratio(schedule, min(high, 0.9 * sigma / max(alpha, 1e-9)), low, steps)


def ks(sample_: Tensor, cdf: Any) -> float:
    """√n times the Kolmogorov–Smirnov distance of a sample from a distribution; above 2.0 with p < 0.001."""
    x = sample_.flatten().double().sort().values
    n = x.numel()
    below = cdf(x)
    steps = torch.arange(n, dtype=torch.float64) / n
    return math.sqrt(n) * max(float((below - steps).abs().max()), float((below - steps - 1 / n).abs().max()))


def normal_cdf(mean: float = 0.0, std: float = 1.0) -> Any:
    """The cumulative distribution of N(mean, std²)."""
    return lambda x: torch.special.ndtr((x - mean) / std)


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|X − Y| − E|X − X'| − E|Y − Y'| of two samples on a line, from their order."""

    def within(a: Tensor) -> Tensor:
        a = a.sort().values
        n = a.numel()
        rank = torch.arange(1, n + 1, dtype=torch.float64)
        return 2 * ((2 * rank - n - 1) * a).sum() / n**2

    x, y = x.flatten().double(), y.flatten().double()
    both = torch.cat([x, y])
    n, m = x.numel(), y.numel()
    # E over all pairs of the pooled sample holds the cross term
    cross = (within(both) * (n + m) ** 2 - within(x) * n**2 - within(y) * m**2) / (2 * n * m)
    return float(2 * cross - within(x) - within(y))


def assert_moments(x: Tensor, mean: float, std: float, bias: float = 0.0) -> None:
    """Mean and standard deviation of a sample lie within 4 standard errors and a bound on the bias."""
    n = x.numel()
    found_mean, found_std = float(x.double().mean()), float(x.double().std())
    assert abs(found_mean - mean) <= 4 * std / math.sqrt(n) + bias, (found_mean, mean)
    assert abs(found_std - std) <= 4 * std / math.sqrt(2 * n) + bias, (found_std, std)


def assert_frequencies(classes: Tensor, probabilities: Sequence[float] | Tensor) -> None:
    """How often each class occurs lies within 4.5 standard errors of its probability."""
    p = torch.as_tensor(probabilities, dtype=torch.float64)
    n = classes.numel()
    found = torch.bincount(classes.flatten(), minlength=p.numel()).double() / n
    assert found.numel() == p.numel(), found
    assert bool(((found - p).abs() <= 4.5 * (p * (1 - p) / n).sqrt() + 1e-12).all()), (found, p)
