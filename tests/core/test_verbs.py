"""Inversion and likelihood of models that output x, whose noise is not known at t = 0."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import langevin as lv
from langevin.core.denoiser import NetworkDenoiser
from langevin.core.rng import Stream

STD = 0.5


def gaussian(error: float) -> Any:
    """A model of pictures whose belief is that of N(0, STD²), with an error of x̂ that depends on the state."""
    from langevin.assembly import build_model

    made = build_model(
        {
            "name": "tiny",
            "modality": {"name": "image", "codec": {"name": "pixels", "size": 4, "channels": 1}, "patch": 2},
            "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2},
            "parametrisation": "x",
        }
    )
    mix = torch.randn(16, 16, generator=torch.Generator().manual_seed(0)) / 4

    def believed(x: Tensor, t: Any, condition: Any, mask: Any) -> Tensor:
        a, s = 1 - float(t), float(t)
        wrong = error * torch.tanh(3 * x.flatten(1) @ mix).reshape(x.shape)
        return x * a * STD**2 / (a * a * STD**2 + s * s) + wrong

    made.denoiser = NetworkDenoiser(believed, made.process, "x")
    return made


def pictures(model: Any, n: int) -> tuple[list[Any], Tensor]:
    state = (STD * Stream.of(0, n).normal((n, 1, 4, 4))).clamp(-1, 1)
    items = model.modality.decode(state)
    return items, model.modality.encode(items)[0]


@pytest.mark.parametrize("error", [0.0, 0.01, 0.03])
def test_inversion_of_a_model_that_outputs_x_returns(error: float) -> None:
    model = gaussian(error)
    items, x = pictures(model, 16)
    noise = model.invert(items, steps=50)
    back = model.sample(noise=noise, grid=lv.grids.uniform(50), guidance=1.0).state
    assert (back - x).pow(2).mean().sqrt() < 0.02  # from 1e-3 on it would be 0.15 at an error of 0.03
    assert 0.8 < noise.std() < 1.2
    path = model.interpolate(items[0], items[1], 3)
    assert len(path) == 3 and (path.state[0] - x[0]).abs().max() < 0.1


@pytest.mark.parametrize("error", [0.0, 0.01, 0.03])
def test_the_score_of_a_model_that_outputs_x_is_that_of_its_law(error: float) -> None:
    model = gaussian(error)
    items, x = pictures(model, 8)
    found = model.score(items, steps=50) / 16
    truth = torch.distributions.Normal(0, STD).log_prob(x).flatten(1).mean(1)
    # from 1e-3 on it would be off by 0.2 on average at an error of 0.03
    assert (found - truth).mean().abs() < 0.03 and (found - truth).abs().max() < 0.1
