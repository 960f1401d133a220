"""The grid that a model measures on itself."""

from __future__ import annotations

import math

import pytest
import torch

from langevin.core import curvature, grids
from langevin.core.analytic import MixtureDenoiser
from langevin.core.processes import Discrete, Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import Multistep, sample
from langevin.core.schedules import VP, Linear, Schedule


def mixture(schedule: Schedule) -> MixtureDenoiser:
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    means = torch.stack([angle.cos(), angle.sin()], 1) * 1.2
    return MixtureDenoiser(Gaussian(schedule), torch.full((8,), 1 / 8, dtype=torch.float64), means, 0.15)


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=["linear", "vp"])
def test_the_measured_grid_is_more_accurate_than_even_times(schedule: Schedule) -> None:
    denoiser = mixture(schedule)
    like = torch.zeros(16, 2, dtype=torch.float64)
    density = curvature.measure(denoiser, like, Stream.of(5, 16))
    rng, many = Stream.of(0, 256), torch.zeros(256, 2, dtype=torch.float64)
    solver = Multistep(2, of="v", corrector=True)

    def end(grid: object) -> torch.Tensor:
        return [*sample(denoiser, solver, grid, rng, like=many)][-1].x  # type: ignore[arg-type]

    truth = end(grids.curvature(600, density))
    errors = {
        name: (end(grid) - truth).square().mean().sqrt().item()
        for name, grid in {"measured": grids.curvature(20, density), "even": grids.uniform(20)}.items()
    }
    assert errors["measured"] < 0.7 * errors["even"], errors


def test_the_density_does_not_depend_on_the_size_of_the_pilot() -> None:
    denoiser = mixture(Linear())
    a, b = (
        curvature.measure(denoiser, torch.zeros(n, 2, dtype=torch.float64), Stream.of(1, n), steps=steps)
        for n, steps in ((64, 64), (64, 96))
    )
    assert max(abs(x - y) for x, y in zip(a, b, strict=True)) < 0.5 * max(a)
    assert len(a) == 32 and min(a) >= 0.1


def test_a_pilot_needs_steps_and_a_gaussian_leaf() -> None:
    with pytest.raises(ValueError, match="at least 16 steps"):
        curvature.measure(mixture(Linear()), torch.zeros(2, 2), Stream.of(0, 2), steps=8)
    denoiser = mixture(Linear())
    object.__setattr__(denoiser, "process", Discrete(3))
    with pytest.raises(ValueError, match="Gaussian leaf"):
        curvature.measure(denoiser, torch.zeros(2, 2), Stream.of(0, 2))
