"""Samples on a circle: the seam is like any other place, though the denoiser knows stretches with two ends."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core import grids
from langevin.core.analytic import GaussianDenoiser
from langevin.core.denoiser import Denoiser
from langevin.core.guidance import Cyclic, cfg, chain, known
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import Multistep, Single, sample

from .conftest import Counting

LENGTH, RHO, N = 24, 0.8, 500


@pytest.fixture
def stretch() -> GaussianDenoiser:
    """Stretches of a stationary process whose neighbours have correlation 0.8: its ends know nothing of one another."""
    at = torch.arange(LENGTH, dtype=torch.float64)
    return GaussianDenoiser(Gaussian(), torch.zeros(LENGTH), covariance=RHO ** (at[:, None] - at[None]).abs())


def drawn(denoiser: Denoiser, sampler: Any, times: list[float]) -> Tensor:
    steps = list(sample(denoiser, sampler, times, Stream.of(0, N), like=torch.zeros(N, LENGTH)))
    return steps[-1].x


def neighbours(x: Tensor, place: int) -> float:
    """Correlation of the elements on both sides of the beginning of ``place``."""
    return float(torch.corrcoef(torch.stack([x[:, place - 1], x[:, place]]))[0, 1])


@pytest.mark.parametrize(
    "sampler", [Single(0.0), Single(1.0), Multistep(2, of="v")], ids=["ddim", "ddpm", "multistep"]
)
def test_the_seam_has_the_correlation_of_the_process(stretch: GaussianDenoiser, sampler: Any) -> None:
    times = grids.uniform(40)(stretch.process)
    plain, circle = (drawn(d, sampler, times) for d in (stretch, Cyclic(1, times)(stretch)))
    assert abs(neighbours(plain, 0)) < 0.2 and abs(neighbours(plain, 12) - RHO) < 0.05
    found = [neighbours(circle, place) for place in range(LENGTH)]
    assert abs(found[0] - RHO) < 0.07 and abs(found[0] - sum(found) / LENGTH) < 0.05
    assert 0.85 < float(circle.var() / plain.var()) < 1.1


def test_cuts_are_spread_over_the_circle_and_are_whole_units() -> None:
    times = grids.uniform(24)(Gaussian())
    circle = Cyclic(4, times)
    cuts = [circle.shift(t, 96) for t in times[:-1]]
    assert all(cut % 4 == 0 and 0 <= cut < 96 for cut in cuts)
    assert len(set(cuts)) >= 20
    ordered = sorted(cuts[:8]) + [96 + min(cuts[:8])]
    assert max(b - a for a, b in zip(ordered[:-1], ordered[1:])) <= 24  # any few steps reach everywhere


def test_times_up_to_one_of_the_grid_see_the_same_cut() -> None:
    times = [1.0, 0.7, 0.4, 0.0]
    circle = Cyclic(1, times)
    assert circle.shift(0.69, 50) != circle.shift(0.7, 50)
    assert circle.shift(0.5, 50) == circle.shift(0.41, 50)
    assert circle.shift(torch.tensor([0.7, 0.7]), 50) == circle.shift(0.7, 50)


def test_what_is_rolled_comes_back() -> None:
    """A denoiser that treats each element by itself does not notice the circle."""
    process = Gaussian()
    inner = GaussianDenoiser(process, torch.zeros(()), std=torch.tensor(0.5))
    x_t = Stream.of(1, 3).normal((3, 12, 2))
    for t in (0.9, 0.5, torch.tensor([0.2, 0.4, 0.8])):
        a, _ = inner(x_t, t)
        b, _ = Cyclic(2, [1.0, 0.5, 0.25, 0.0])(inner)(x_t, t)
        for name in ("x", "eps", "x_t"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name))  # type: ignore[arg-type]


def test_what_is_remembered_is_rolled_and_guidance_asks_in_one_batch() -> None:
    class Remembers(Denoiser):
        process = Gaussian()

        def __init__(self) -> None:
            self.seen: list[Tensor | None] = []

        def __call__(self, x_t, t, condition=None, mask=None, memory=None):  # type: ignore[no-untyped-def]
            last = None if memory is None else memory["recall."]
            self.seen.append(None if last is None else (last - x_t).abs().max())
            belief = self.process.posterior(x_t, x_t, t, "x")
            return belief, {"recall.": x_t, "recalled": torch.ones(2)}

    inner = Remembers()
    x_t = Stream.of(0, 2).normal((2, 10, 1))
    circle = Cyclic(1, [1.0, 0.6, 0.0])(inner)
    _, memory = circle(x_t, 1.0)
    assert memory is not None and torch.equal(memory["recall."], x_t)
    circle(x_t, 0.6, None, None, memory)
    assert float(inner.seen[1]) == 0  # type: ignore[arg-type]
    counting = Counting(inner)
    chain(cfg(2.0), known(x_t, torch.zeros(1, 10, dtype=torch.bool)))(Cyclic(1, [1.0, 0.0])(counting))(
        x_t, 0.5, {"label": torch.zeros(2)}
    )
    assert len(counting.calls) == 1 and len(counting.calls[0]) == 2


def test_a_circle_is_whole() -> None:
    inner = GaussianDenoiser(Gaussian(), torch.zeros(()), std=torch.tensor(1.0))
    circle = Cyclic(4, [1.0, 0.0])(inner)
    with pytest.raises(ValueError, match="whole number of 4 elements long, got 10"):
        circle(torch.zeros(1, 10), 0.5)
    mask = torch.tensor([[True] * 6 + [False] * 2])
    with pytest.raises(ValueError, match="all of a sample is real"):
        circle(torch.zeros(1, 8), 0.5, mask=mask)
