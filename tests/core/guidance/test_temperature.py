from __future__ import annotations

from typing import Any

import pytest
import torch

import langevin as lv
from langevin.core.analytic import JointMixtureDenoiser
from langevin.core.posteriors import Categorical

PROCESS = lv.processes.Product(positions=lv.processes.Gaussian(), types=lv.processes.Discrete(3))
DENOISER = JointMixtureDenoiser(
    PROCESS,
    [0.6, 0.4],
    torch.tensor([[[-2.0]], [[2.0]]]),
    0.3,
    torch.tensor([[0.7, 0.3, 0.0], [0.2, 0.2, 0.6]]),
)


def test_classes_are_drawn_from_the_power_of_their_belief() -> None:
    rng = lv.Stream.of(0, 4)
    x_t = PROCESS.prior(
        {"positions": torch.zeros(4, 1, 1), "types": torch.zeros(4, 1, dtype=torch.long)}, rng
    )
    plain, sharp = (d(x_t, 0.6)[0] for d in (DENOISER, lv.guidance.temperature(0.5)(DENOISER)))
    assert isinstance(plain, dict) and isinstance(sharp, dict)
    wanted = plain["types"].probabilities ** 2
    torch.testing.assert_close(sharp["types"].probabilities, wanted / wanted.sum(-1, keepdim=True))
    assert torch.equal(sharp["positions"].x, plain["positions"].x)
    named = lv.guidance.temperature({"types": 0.5})(DENOISER)(x_t, 0.6)[0]
    assert isinstance(named, dict) and torch.equal(named["types"].logits, sharp["types"].logits)
    other = lv.guidance.temperature({})(DENOISER)(x_t, 0.6)[0]
    assert isinstance(other, dict) and isinstance(other["types"], Categorical)
    assert torch.equal(other["types"].logits, plain["types"].logits)


def test_at_one_it_changes_nothing_and_near_zero_it_takes_the_likeliest() -> None:
    rng = lv.Stream.of(0, 500)
    like = {"positions": torch.zeros(500, 1, 1), "types": torch.zeros(500, 1, dtype=torch.long)}

    def drawn(value: float) -> torch.Tensor:
        guided = lv.guidance.temperature(value)(DENOISER)
        *_, last = lv.samplers.sample(guided, lv.samplers.Single(), lv.grids.uniform(20), rng, like=like)
        return last.x["types"]

    *_, plain = lv.samplers.sample(DENOISER, lv.samplers.Single(), lv.grids.uniform(20), rng, like=like)
    assert torch.equal(drawn(1.0), plain.x["types"])
    assert (drawn(0.01) != 1).all()  # class 1 is nowhere the likeliest


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), True, "warm", {"types": 0.0}])
def test_a_temperature_that_cannot_be_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="a temperature must be a positive number"):
        lv.guidance.temperature(value)


@pytest.mark.parametrize("name", ["no_such", "positions"])
def test_a_name_that_is_no_leaf_of_classes_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown leaf of classes '{name}'.*types"):
        lv.guidance.temperature({name: 0.5})(DENOISER)
