"""Particles: the law of the weighted particles is the model's tilted by exp(λ r), wherever steering begins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from langevin.core import grids
from langevin.core.analytic import GaussianDenoiser, JointMixtureDenoiser
from langevin.core.processes import Discrete, Gaussian, Product
from langevin.core.rng import Stream
from langevin.core.samplers import Particles, Single, sample
from langevin.core.samplers.particles import choose, weights

MEAN, STD = torch.tensor([0.5, -1.0], dtype=torch.float64), torch.tensor([0.8, 0.5], dtype=torch.float64)
SLOPE = torch.tensor([1.0, -2.0], dtype=torch.float64)


def steered(
    begin: float, strength: float, rows: int, count: int, times: list[float]
) -> tuple[Tensor, Tensor, list[int]]:
    """Particles (B, K, 2) of a Gaussian under a linear reward, their weights, and how many were judged."""
    denoiser = GaussianDenoiser(Gaussian(), MEAN, STD)
    judged: list[int] = []

    def reward(x: Tensor) -> Tensor:
        judged.append(len(x))
        return x @ SLOPE

    sampler = Particles(reward, count, Single(1.0), strength, begin=begin)
    rng = Stream.of(3, rows).particles(count)
    *_, last = sample(denoiser, sampler, times, rng, like=torch.zeros(rows * count, 2, dtype=torch.float64))
    return last.x.reshape(rows, count, 2), weights(last.memory, count), judged


@pytest.mark.parametrize("begin", [1.0, 0.4])
def test_a_linear_reward_moves_a_gaussian_by_its_covariance(begin: float) -> None:
    # N(m, S) tilted by exp(λ a·x) is N(m + λ S a, S)
    x, w, _ = steered(begin, 0.7, 60, 64, grids.uniform(60)(Gaussian()))
    torch.testing.assert_close(w.sum(1), torch.ones(60, dtype=torch.float64))
    mean = (w[..., None] * x).sum(1)
    expected = MEAN + 0.7 * STD**2 * SLOPE
    error = mean.std(0) / 60**0.5
    assert (abs(mean.mean(0) - expected) < 4 * error + 0.02).all()
    spread = (w[..., None] * (x - expected) ** 2).sum(1).mean(0).sqrt()
    torch.testing.assert_close(spread, STD, atol=0.06, rtol=0)


def test_the_reward_is_not_asked_for_before_it_counts() -> None:
    times = [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]
    assert [len(steered(begin, 0.5, 3, 4, times)[2]) for begin in (1.0, 0.6, 0.5, 0.2)] == [5, 3, 2, 1]


def test_without_strength_particles_are_samples_of_the_model() -> None:
    x, w, _ = steered(1.0, 0.0, 200, 4, grids.uniform(40)(Gaussian()))
    assert (w == 0.25).all()
    torch.testing.assert_close(x.mean((0, 1)), MEAN, atol=0.1, rtol=0)


def test_a_product_is_tilted_as_a_whole() -> None:
    process = Product(positions=Gaussian(), types=Discrete(2))
    means, types = torch.tensor([[[-2.0]], [[2.0]]]), torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    denoiser = JointMixtureDenoiser(process, [0.5, 0.5], means, 0.3, types)
    rows, count = 60, 32
    like = {
        "positions": torch.zeros(rows * count, 1, 1),
        "types": torch.zeros(rows * count, 1, dtype=torch.long),
    }
    sampler = Particles(lambda x: (x["types"][:, 0] == 1).float(), count, Single(1.0), 1.5, begin=0.5)
    rng = Stream.of(0, rows).particles(count)
    *_, last = sample(denoiser, sampler, grids.uniform(60), rng, like=like)
    one = (last.x["types"][:, 0] == 1).double().reshape(rows, count)
    right = (last.x["positions"][:, 0, 0] > 0).double().reshape(rows, count)
    w = weights(last.memory, count)
    tilted = torch.tensor(1.5).exp() / (1 + torch.tensor(1.5).exp())  # both types are as likely before
    share = (w * one).sum(1)
    assert abs(share.mean() - tilted) < 4 * share.std() / rows**0.5 + 0.02
    side = (w * right).sum(1)
    assert abs(side.mean() - (0.9 * tilted + 0.1 * (1 - tilted))) < 4 * side.std() / rows**0.5 + 0.02


def test_one_particle_of_each_sample_is_chosen_by_its_weight() -> None:
    rows, count = 4000, 3
    w = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log().repeat(rows)
    x = torch.arange(rows * count)
    chosen = choose(x, {"sampler.particles.log_weights": w}, count, Stream.of(1, rows).particles(count))
    assert isinstance(chosen, Tensor) and torch.equal(chosen // count, torch.arange(rows))
    share = torch.bincount(chosen % count) / rows
    torch.testing.assert_close(share, torch.tensor([0.2, 0.5, 0.3]), atol=0.03, rtol=0)


def test_what_cannot_be_is_refused() -> None:
    for wrong, says in (
        ({"count": 1}, "at least 2"),
        ({"begin": 0.0}, "begin is a time"),
        ({"threshold": 2.0}, "threshold"),
    ):
        with pytest.raises(ValueError, match=says):
            Particles(lambda x: x, **wrong)
    with pytest.raises(ValueError, match="stochastic inner sampler"):
        Particles(lambda x: x, inner=Single(0.0))
