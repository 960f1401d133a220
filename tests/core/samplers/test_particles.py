"""Particles: the law of the weighted particles is the model's tilted by exp(λ r), wherever steering acts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core import grids
from langevin.core.analytic import GaussianDenoiser, JointMixtureDenoiser
from langevin.core.processes import Discrete, Gaussian, Product
from langevin.core.rng import Stream
from langevin.core.samplers import Heun, Particles, Single, Step, sample
from langevin.core.samplers.base import times_of
from langevin.core.samplers.particles import choose, summary, weights
from langevin.core.samplers.resampling import different, sharpened, systematic

MEAN, STD = torch.tensor([0.5, -1.0], dtype=torch.float64), torch.tensor([0.8, 0.5], dtype=torch.float64)
SLOPE = torch.tensor([1.0, -2.0], dtype=torch.float64)


def steered(
    rows: int, count: int, times: Any, strength: float | None = 0.7, reward: Any = None, **settings: Any
) -> tuple[Tensor, Step, Stream]:
    """Particles (B, K, 2) of a Gaussian under a linear reward, the last step, and the stream."""
    denoiser = GaussianDenoiser(Gaussian(), MEAN, STD)
    sampler = Particles(reward or (lambda x: x @ SLOPE), count, strength=strength, **settings)
    rng = Stream.of(3, rows).particles(count)
    *_, last = sample(denoiser, sampler, times, rng, like=torch.zeros(rows * count, 2, dtype=torch.float64))
    return last.x.reshape(rows, count, 2), last, rng


WAYS: dict[str, dict[str, Any]] = {
    "on the way down": {"begin": 1.0},
    "on the way down, late": {"begin": 0.4},
    "at the end": {"begin": 0.0},
    "in rounds": {"begin": 0.0, "rounds": 3, "back": 0.6},
    "in rounds after a way down": {"begin": 0.5, "rounds": 1, "back": 0.6},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_linear_reward_moves_a_gaussian_by_its_covariance(way: str) -> None:
    # N(m, S) tilted by exp(λ a·x) is N(m + λ S a, S)
    x, last, _ = steered(60, 64, grids.uniform(60)(Gaussian()), **WAYS[way])
    w = weights(last.memory, 64)
    torch.testing.assert_close(w.sum(1), torch.ones(60, dtype=torch.float64))
    mean = (w[..., None] * x).sum(1)
    expected = MEAN + 0.7 * STD**2 * SLOPE
    error = mean.std(0) / 60**0.5
    assert (abs(mean.mean(0) - expected) < 4 * error + 0.02).all()
    spread = (w[..., None] * (x - expected) ** 2).sum(1).mean(0).sqrt()
    torch.testing.assert_close(spread, STD, atol=0.06, rtol=0)
    # log E[exp(λ a·x)] = λ a·m + λ² a·S a / 2
    normaliser = 0.7 * SLOPE @ MEAN + 0.7**2 * (SLOPE * STD) @ (SLOPE * STD) / 2
    found = summary(last.memory, 64)["log_normaliser"].exp()
    assert abs(found.mean() / normaliser.exp() - 1) < 4 * found.std() / found.mean() / 60**0.5 + 0.05


@pytest.mark.parametrize("threshold", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("way", ["on the way down", "in rounds"])
def test_the_particle_drawn_by_weight_has_the_tilted_law_wherever_resampling_is_triggered(
    way: str, threshold: float
) -> None:
    rows, count = 500, 16
    x, last, rng = steered(rows, count, grids.uniform(30)(Gaussian()), **WAYS[way], threshold=threshold)
    chosen = choose(x.reshape(-1, 2), last.memory, count, rng)
    assert isinstance(chosen, Tensor)
    expected = MEAN + 0.7 * STD**2 * SLOPE
    # few particles are biased by about (λ r's variance) / K
    assert (abs(chosen.mean(0) - expected) < 4 * STD / rows**0.5 + 0.06).all()
    torch.testing.assert_close(chosen.std(0), STD, atol=0.1, rtol=0)


def test_rounds_reach_a_law_that_weights_alone_do_not() -> None:
    # λ r has a standard deviation of 2.6, and the mean moves by as many; an accurate sampler, as p is what moves leave
    strength, expected = 2.0, MEAN + 2.0 * STD**2 * SLOPE
    errors = []
    for rounds in (0, 8):
        settings = {"begin": 0.0, "rounds": rounds, "back": 0.3, "inner": Heun()}
        x, last, _ = steered(20, 256, grids.uniform(20)(Gaussian()), strength, **settings)
        mean = (weights(last.memory, 256)[..., None] * x).sum(1).mean(0)
        errors.append(float(((mean - expected) / STD).norm()))
    assert errors[1] < 0.2 < errors[0] / 1.5
    accepted = summary(last.memory, 256)["accepted"]
    assert accepted.shape == (20, 8) and bool(
        (accepted.mean(0).diff() < 0).all()
    )  # the law grows apart from p


def test_finished_states_are_judged_once_and_beliefs_from_begin_on() -> None:
    times = [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]

    def judged(**settings: Any) -> int:
        seen: list[int] = []
        steered(3, 4, times, 0.5, lambda x: seen.append(len(x)) or x @ SLOPE, **settings)
        return len(seen)

    assert [judged(begin=begin) for begin in (1.0, 0.6, 0.5, 0.2, 0.0)] == [6, 4, 3, 2, 1]
    assert judged(begin=0.0, rounds=3) == 4 and judged(begin=0.2, rounds=3) == 5


def test_rounds_cost_the_steps_below_the_time_they_go_back_to() -> None:
    process, grid = Gaussian(), grids.uniform(10)
    sampler = Particles(lambda x: x, begin=0.0, rounds=3, back=0.45)
    plan = sampler.plan(process, grid)
    times = times_of(grid, process)
    assert sampler.evaluations(plan, process) == len(plan) == 10 + 3 * 4
    assert [m.t for m in plan] == times[:-1] + 3 * times[6:-1] and [m.index for m in plan] == [*range(22)]
    _, last, _ = steered(2, 4, grid, begin=0.0, rounds=3, back=0.45)
    assert last.evaluations == 22


def test_without_strength_particles_look_for_the_best_and_never_lose_it() -> None:
    best: list[Tensor] = []

    def reward(x: Tensor) -> Tensor:
        best.append((x @ SLOPE).reshape(50, 8).amax(1))
        return x @ SLOPE

    x, last, rng = steered(50, 8, grids.uniform(20)(Gaussian()), None, reward, begin=0.0, rounds=5)
    chosen = choose(x.reshape(-1, 2), last.memory, 8, rng, best=True)
    assert isinstance(chosen, Tensor)
    found = chosen @ SLOPE
    assert (found >= torch.stack(best).amax(0) - 1e-12).all()  # of all that was judged
    assert found.mean() > best[0].mean() + 0.8 * (SLOPE * STD).norm()
    told = summary(last.memory, 8)
    assert (told["ess"][:, 0] - 4).abs().max() < 1e-6  # the share of the threshold, whatever the scale
    assert (told["lineages"].diff(dim=1) <= 0).all() and (told["lineages"][:, -1] >= 1).all()
    assert (told["different"] >= told["lineages"]).all() and (
        abs(weights(last.memory, 8) - 1 / 8) < 1e-12
    ).all()


def test_the_scale_of_a_reward_does_not_matter_without_a_strength() -> None:
    ends = [
        steered(5, 8, [1.0, 0.5, 0.25, 0.0], None, lambda x, c=c: c * (x @ SLOPE), begin=0.0, rounds=2)[0]
        for c in (1.0, 1000.0)
    ]
    torch.testing.assert_close(*ends)


def test_a_deterministic_sampler_serves_where_only_finished_states_are_judged() -> None:
    x, last, _ = steered(60, 32, grids.uniform(20)(Gaussian()), begin=0.0, rounds=3, inner=Heun())
    mean = (weights(last.memory, 32)[..., None] * x).sum(1).mean(0)
    # of a Gaussian the deterministic move is reversible too
    torch.testing.assert_close(mean, MEAN + 0.7 * STD**2 * SLOPE, atol=0.12, rtol=0)


def test_how_rows_are_cut_into_batches_changes_nothing() -> None:
    denoiser = GaussianDenoiser(Gaussian(), MEAN, STD)
    for settings in ({"strength": None}, {"strength": 2.0}, {"strength": 2.0, "begin": 0.6}):
        sampler = Particles(lambda x: x @ SLOPE, 4, rounds=2, **{"begin": 0.0, **settings})

        def run(rows: range, sampler: Particles = sampler) -> tuple[Tensor, dict[str, Tensor]]:
            rng = Stream.of(0, rows).particles(4)
            like = torch.zeros(len(rows) * 4, 2, dtype=torch.float64)
            *_, last = sample(denoiser, sampler, grids.uniform(8), rng, like=like)
            return last.x, last.memory

        whole, memory = run(range(6))
        parts = [run(range(2)), run(range(2, 6))]
        torch.testing.assert_close(torch.cat([p[0] for p in parts]), whole)
        for name, value in memory.items():
            torch.testing.assert_close(torch.cat([p[1][name] for p in parts]), value)


def test_a_run_goes_on_from_any_step() -> None:
    denoiser = GaussianDenoiser(Gaussian(), MEAN, STD)
    sampler = Particles(lambda x: x @ SLOPE, 4, strength=2.0, begin=0.5, rounds=2)
    rng, like = Stream.of(0, 3).particles(4), torch.zeros(12, 2, dtype=torch.float64)
    steps = list(sample(denoiser, sampler, grids.uniform(6), rng, like=like))
    for step in steps[:-1:2]:
        *_, last = sample(denoiser, sampler, grids.uniform(6), rng, resume=step)
        torch.testing.assert_close(last.x, steps[-1].x)


def test_what_has_no_reward_weighs_nothing_or_has_the_floor() -> None:
    def right(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0.5, 0.0, math.nan)  # half of the model's samples, all the same

    for rounds in (0, 2):
        x, last, _ = steered(100, 16, grids.uniform(20)(Gaussian()), 1.0, right, begin=0.0, rounds=rounds)
        w = weights(last.memory, 16)
        assert (w[x[..., 0] <= 0.5] == 0).all() and summary(last.memory, 16)["undecoded"].min() > 0
        torch.testing.assert_close(w.sum(1), torch.ones(100, dtype=torch.float64))
    x, last, _ = steered(200, 32, grids.uniform(20)(Gaussian()), 1.0, right, begin=0.0, floor=-1.0)
    share = (weights(last.memory, 32) * (x[..., 0] > 0.5)).sum(1).mean()
    assert abs(share - 1 / (1 + math.exp(-1))) < 0.03
    # beliefs without a reward leave the weights alone; without any reward the particles are those of the model
    for settings in ({"begin": 1.0}, {"strength": None, "begin": 0.0, "rounds": 2}):
        nothing = {"strength": 3.0, **settings}
        x, last, _ = steered(3, 4, [1.0, 0.5, 0.0], reward=lambda x: torch.full((12,), math.nan), **nothing)
        assert (weights(last.memory, 4) == 0.25).all() and bool(x.isfinite().all())


def test_particles_go_back_as_they_are_told_to() -> None:
    asked: list[Any] = []

    def renoise(x: Tensor, t: Any, rng: Stream, mask: Tensor | None) -> Tensor:
        asked.append((t, mask))
        return torch.full_like(x, 7.0)

    seen: list[float] = []
    denoiser = GaussianDenoiser(Gaussian(), MEAN, STD)
    sampler = Particles(lambda x: x @ SLOPE, 2, begin=0.0, rounds=2, noised=renoise)
    rng, like = Stream.of(0, 2).particles(2), torch.zeros(4, 2, dtype=torch.float64)
    for step in sample(denoiser, sampler, [1.0, 0.5, 0.0], rng, like=like):
        seen.append(float(step.x.mean()))
    assert asked == [(0.5, None)] * 2 and [s == 7.0 for s in seen] == [False, True, True, False]


def test_without_strength_in_weights_particles_are_samples_of_the_model() -> None:
    x, last, _ = steered(200, 4, grids.uniform(40)(Gaussian()), 0.0)
    assert (weights(last.memory, 4) == 0.25).all()
    torch.testing.assert_close(x.mean((0, 1)), MEAN, atol=0.1, rtol=0)


@pytest.mark.parametrize("settings", [{"begin": 0.5}, {"begin": 0.0, "rounds": 2}])
def test_a_product_is_tilted_as_a_whole(settings: dict[str, Any]) -> None:
    process = Product(positions=Gaussian(), types=Discrete(2))
    means, types = torch.tensor([[[-2.0]], [[2.0]]]), torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    denoiser = JointMixtureDenoiser(process, [0.5, 0.5], means, 0.3, types)
    rows, count = 60, 32
    like = {
        "positions": torch.zeros(rows * count, 1, 1),
        "types": torch.zeros(rows * count, 1, dtype=torch.long),
    }
    sampler = Particles(
        lambda x: (x["types"][:, 0] == 1).float(), count, Single(1.0), strength=1.5, **settings
    )
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


def test_one_particle_of_each_sample_is_chosen_by_its_weight_or_its_reward() -> None:
    rows, count = 4000, 3
    memory = {
        "sampler.particles.log_weights": torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
        .log()
        .repeat(rows),
        "sampler.particles.reward": torch.tensor([0.0, -1.0, 2.0], dtype=torch.float64).repeat(rows),
    }
    x, rng = torch.arange(rows * count), Stream.of(1, rows).particles(count)
    chosen = choose(x, memory, count, rng)
    assert isinstance(chosen, Tensor) and torch.equal(chosen // count, torch.arange(rows))
    share = torch.bincount(chosen % count) / rows
    torch.testing.assert_close(share, torch.tensor([0.2, 0.5, 0.3]), atol=0.03, rtol=0)
    assert torch.equal(choose(x, memory, count, rng, best=True), torch.arange(rows) * count + 2)  # type: ignore[arg-type]


def test_systematic_resampling_takes_each_as_often_as_its_weight_says() -> None:
    rows, count = 3000, 4
    w = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64).expand(rows, count)
    rng = Stream.of(0, rows).particles(count)
    taken = (systematic(w, torch.ones(rows, dtype=torch.bool), rng) % count).reshape(rows, count)
    times = torch.stack([(taken == k).sum(1) for k in range(count)], 1)
    assert (times[:, 0] == 2).all() and (times[:, 3] == 0).all()  # never further than 1 from K w
    torch.testing.assert_close(times.double().mean(0), count * w[0], atol=0.03, rtol=0)
    assert torch.equal(systematic(w, torch.zeros(rows, dtype=torch.bool), rng), torch.arange(rows * count))


def test_sharpened_weights_have_the_effective_size_asked_for() -> None:
    reward = torch.tensor([[0.0, 1.0, 2.0, 3.0], [1e-6, 2e-6, 7e-6, 0.0], [-math.inf, 0.0, 5.0, 5.5]])
    w = sharpened(reward.double(), 2.0)
    torch.testing.assert_close(1 / w.square().sum(1), torch.full((3,), 2.0, dtype=torch.float64))
    assert (w.argmax(1) == reward.argmax(1)).all() and w[2, 0] == 0
    same = torch.tensor([[1.0, 1.0, 1.0, 0.0], [-math.inf] * 4], dtype=torch.float64)
    third = torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0], dtype=torch.float64)
    torch.testing.assert_close(sharpened(same, 2.0), torch.stack([third, torch.full_like(third, 0.25)]))
    assert different(torch.tensor([[3, 1, 3], [2, 2, 2]])).tolist() == [2, 1]


def test_what_cannot_be_is_refused() -> None:
    for wrong, says in (
        ({"count": 1}, "at least 2"),
        ({"begin": 1.5}, "begin is a time"),
        ({"threshold": 2.0}, "threshold"),
        ({"rounds": -1}, "rounds must be"),
        ({"back": 0.0}, "back is a time"),
        ({"floor": math.nan}, "floor must be"),
        ({"strength": math.inf}, "strength must be finite"),
        ({"strength": None}, "give one, or begin=0"),
    ):
        with pytest.raises(ValueError, match=says):
            Particles(lambda x: x, **wrong)
    with pytest.raises(ValueError, match="stochastic inner sampler"):
        Particles(lambda x: x, inner=Single(0.0))
    with pytest.raises(ValueError, match="no step below back=0.1"):
        steered(1, 2, [1.0, 0.5, 0.0], rounds=1, back=0.1)
    with pytest.raises(ValueError, match="the grid ends at 0.5"):
        steered(1, 2, [1.0, 0.5])
    with pytest.raises(ValueError, match="one number for each of the 2 particles"):
        steered(1, 2, [1.0, 0.0], reward=lambda x: x)
    with pytest.raises(ValueError, match="not finite"):
        steered(1, 2, [1.0, 0.0], reward=lambda x: x[:, 0] * math.inf)
