"""Leaves that are never noised, alone and beside others, through samplers and guidance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core.denoiser import NetworkDenoiser
from langevin.core.grids import uniform
from langevin.core.posteriors import combine
from langevin.core.processes import Constant, Gaussian, Product
from langevin.core.rng import Stream
from langevin.core.samplers import Heun, Multistep, Single
from langevin.core.samplers.renoising import Restart
from tests.core.exact import last


def places(rows: int = 3, length: int = 5) -> Tensor:
    return torch.arange(rows * length * 2, dtype=torch.float32).reshape(rows, length, 2)


def test_every_operation_leaves_it_as_it_is() -> None:
    leaf, x, rng = Constant(), places(), Stream.of(0, 3)
    belief = leaf.posterior(None, x, 0.5)
    assert torch.equal(leaf.prior(x, rng), x)
    assert torch.equal(leaf.corrupt(x, 0.7, rng), x)
    assert torch.equal(leaf.update(x, belief, 0.7, 0.2, rng, eta=1.0), x)
    assert torch.equal(leaf.loss(belief, x, x, 0.5, rng), torch.zeros(3))
    both = combine([2.0, -1.0], [belief, belief])
    assert torch.equal(leaf.update(x, both, 0.7, 0.2, rng), x)  # type: ignore[arg-type]


def test_padding_is_0() -> None:
    x, mask = places(), torch.arange(5)[None] < torch.tensor([5, 3, 1])[:, None]
    made = Constant().prior(x, Stream.of(0, 3), mask)
    assert torch.equal(made[mask], x[mask]) and not made[~mask].any()


@pytest.mark.parametrize("sampler", [Single(1.0), Multistep(2), Heun(), Restart(Single())])
def test_samplers_carry_it_along(sampler: Any) -> None:
    """What is drawn follows the constant leaf: the network answers with it, and it is as it was at every step."""
    process = Product(x=Gaussian(), places=Constant())
    seen: list[Tensor] = []

    def network(x_t: Any, t: Any, condition: Any, mask: Any) -> Any:
        seen.append(x_t["places"])
        return {"x": x_t["places"], "places": x_t["places"]}

    denoiser = NetworkDenoiser(network, process, {"x": "x"})
    like = {"x": torch.zeros(3, 5, 2), "places": places() / 10}
    start = process.prior(like, Stream.of(1, 3))
    step = last(denoiser, sampler, uniform(6), start)
    assert torch.allclose(step.x["x"], like["places"], atol=1e-5)
    assert torch.equal(step.x["places"], like["places"])
    assert seen and all(torch.equal(there, like["places"]) for there in seen)
