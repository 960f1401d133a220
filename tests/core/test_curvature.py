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
    for steps in (10, 20, 40):
        errors = {
            name: (end(grid) - truth).square().mean().sqrt().item()
            for name, grid in {
                "measured": grids.curvature(steps, density),
                "even": grids.uniform(steps),
            }.items()
        }
        assert errors["measured"] < 0.6 * errors["even"], (steps, errors)


def test_the_chosen_density_is_the_best_of_those_that_were_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, like, rng = mixture(Linear()), torch.zeros(16, 2, dtype=torch.float64), Stream.of(5, 16)
    chosen = curvature.measure(denoiser, like, rng)
    # a candidate that asks for all steps at one end is worse than any other, and is not taken
    poor = tuple(1.0 if j > 40 else 0.05 for j in range(48))
    monkeypatch.setattr(curvature, "_family", lambda end, slices: iter([poor, chosen, poor]))
    assert curvature.measure(denoiser, like, rng) == chosen
    assert len(chosen) == 48 and min(chosen) >= 0.05 and max(chosen) < 10


def test_the_curvature_of_a_run_does_not_depend_on_its_steps() -> None:
    denoiser = mixture(Linear())
    leaf, end = denoiser.process.leaves[""], math.pi / 2
    found = []
    for steps in (160, 240):
        like = torch.zeros(64, 2, dtype=torch.float64)
        run = list(
            sample(denoiser, curvature._SOLVER, grids.curvature(steps, [1.0]), Stream.of(1, 64), like=like)
        )
        found.append(curvature._curved(run, "", leaf, end, 48))
    assert max(abs(x - y) for x, y in zip(*found, strict=True)) < 0.2 * max(found[0])


def test_a_pilot_needs_steps_and_a_gaussian_leaf() -> None:
    for settings in ({"steps": 3}, {"steps": 20, "fine": 60}):
        with pytest.raises(ValueError, match="at least 4 steps and a run 6 times as fine"):
            curvature.measure(mixture(Linear()), torch.zeros(2, 2), Stream.of(0, 2), **settings)
    denoiser = mixture(Linear())
    object.__setattr__(denoiser, "process", Discrete(3))
    with pytest.raises(ValueError, match="Gaussian leaf"):
        curvature.measure(denoiser, torch.zeros(2, 2), Stream.of(0, 2))
