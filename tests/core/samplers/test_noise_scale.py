"""Ancestral steps with less noise than they should have."""

from __future__ import annotations

import pytest
import torch

from langevin.core import grids
from langevin.core.processes import Gaussian, Product
from langevin.core.rng import Stream
from langevin.core.samplers import PRESETS, Single
from langevin.core.samplers.base import Move
from langevin.core.schedules import Linear
from tests.core.exact import last, normal


def spread(noise_scale: float, eta: float = 1.0) -> float:
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    return float(last(normal(), Single(eta, noise_scale), grids.uniform(60), x).x.std())


def test_less_noise_is_less_spread_and_all_of_it_is_that_of_the_data() -> None:
    found = [spread(scale) for scale in (0.0, 0.5, 1.0)]
    assert found[0] < found[1] < found[2]
    assert found[2] == pytest.approx(spread(1.0), abs=0) and found[1] < 0.9 * found[2]


def test_it_says_nothing_of_deterministic_steps() -> None:
    assert spread(0.0, eta=0.0) == spread(1.0, eta=0.0)


def test_the_mean_step_is_that_without_noise() -> None:
    """Steps with the noise of many keys average to the step with none."""
    x = torch.full((20000, 1), 0.7)
    noisy, quiet = (last(normal(), Single(1.0, scale), [0.8, 0.4], x).x for scale in (1.0, 0.0))
    assert torch.allclose(quiet, quiet[:1].expand_as(quiet))
    assert abs(float(noisy.mean() - quiet[0])) < 4 * float(noisy.std()) / 20000**0.5


def test_a_preset_and_what_is_refused() -> None:
    assert PRESETS["ddpm-cool"].sampler == Single(1.0, noise_scale=0.5)
    for wrong in (-0.1, float("inf"), float("nan"), {"a": -1.0}, {"a": "1"}):
        with pytest.raises(ValueError, match="noise_scale"):
            Single(1.0, noise_scale=wrong)  # type: ignore[arg-type]


def test_leaves_have_scales_of_their_own() -> None:
    process = Product(a=Gaussian(Linear()), b=Gaussian(Linear()))
    x = {"a": torch.zeros(500, 3), "b": torch.ones(500, 3)}
    belief = process.posterior({name: torch.zeros_like(part) for name, part in x.items()}, x, 0.8, "x")

    def stepped(scale: float | dict[str, float]) -> dict[str, torch.Tensor]:
        asking = Single(1.0, noise_scale=scale).step(Move(0, 0.8, 0.4), process, x, Stream.of(0, 500), None)
        next(asking)
        with pytest.raises(StopIteration) as end:
            asking.send(belief)
        return end.value.value[0]

    whole, none, own = stepped(1.0), stepped(0.0), stepped({"a": 0.0})
    assert torch.equal(own["a"], none["a"]) and torch.equal(own["b"], whole["b"])
    assert not torch.equal(whole["a"], none["a"])
    with pytest.raises(ValueError, match="unknown leaf of noise_scale 'c'"):
        stepped({"c": 1.0})
