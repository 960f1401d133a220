"""The driver: exact resume, interleaving, independence of the batch, separate clocks, honest counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core import grids, so3
from langevin.core.analytic import GaussianDenoiser, JointMixtureDenoiser
from langevin.core.denoiser import Denoiser, NetworkDenoiser
from langevin.core.posteriors import Posterior
from langevin.core.processes import Discrete, Gaussian, Product, Rotations
from langevin.core.rng import Stream
from langevin.core.samplers import (
    PRESETS,
    Adaptive,
    Heun,
    Langevin,
    Multistep,
    Restart,
    Sampler,
    Single,
    Step,
    preset,
    sample,
)
from langevin.core.schedules import EDM, VP, Cosine, Linear
from tests.core.exact import last, normal

SAMPLERS: dict[str, Sampler] = {
    **{name: chosen.sampler for name, chosen in PRESETS.items()},
    "order-4": Multistep(4, of="velocity", corrector=True),
    "restart-multistep": Restart(Multistep(3), low=0.2, high=0.7, times=2),
    "langevin-multistep": Langevin(Multistep(2, sde=True), corrections=2),
}
every = pytest.mark.parametrize("name", SAMPLERS)
TIMES = [0.95, 0.8, 0.62, 0.45, 0.3, 0.2, 0.1, 0.03, 0.0]


@dataclass(frozen=True)
class Remembering(Denoiser):
    """A denoiser whose belief depends on what it believed before, as under self-conditioning or momentum."""

    inner: GaussianDenoiser

    @property
    def process(self) -> Any:  # type: ignore[override]
        return self.inner.process

    def __call__(
        self, x_t: Any, t: Any, condition: Any = None, mask: Tensor | None = None, memory: Any = None
    ) -> tuple[Posterior, Any]:
        belief: Any = self.inner(x_t, t, condition, mask)[0]
        if memory is not None:
            belief = belief.with_x(0.9 * belief.x + 0.1 * memory["x"])
        return belief, {"x": belief.x}


def gaussian(schedule: Any = None) -> Remembering:
    return Remembering(GaussianDenoiser(Gaussian(schedule or VP()), 0.7, 0.4))


def start(denoiser: Any, rows: int, *shape: int) -> Tensor:
    return (
        Stream.of(8, rows).normal((rows, *shape), torch.float64) * denoiser.process.schedule.at(TIMES[0])[1]
    )


def joint() -> JointMixtureDenoiser:
    process = Product(place=Gaussian(Cosine()), kind=Discrete(3), frame=Rotations())
    frames = so3.exp(torch.tensor([[0.3, -1.0, 0.5], [2.0, 0.1, 0.4]]))
    return JointMixtureDenoiser(
        process, [0.7, 0.3], [[[-1.0]], [[1.0]]], 0.3, [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]], frames
    )


def joint_start(rows: int) -> dict[str, Tensor]:
    like = {
        "place": torch.empty(rows, 1, 1, dtype=torch.float64),
        "kind": torch.empty(rows, 1, dtype=torch.int64),
        "frame": torch.empty(rows, 1, 3, 3, dtype=torch.float64),
    }
    return joint().process.prior(like, Stream.of(5, rows))  # type: ignore[return-value,arg-type]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    return torch.equal(a, b)


@every
def test_a_resumed_run_is_the_straight_run_bit_for_bit(name: str) -> None:
    denoiser, sampler, rng = gaussian(), SAMPLERS[name], Stream.of(1, 5)
    x = start(denoiser, 5, 3)
    straight = list(sample(denoiser, sampler, TIMES, rng, x=x))
    for k, step in enumerate(straight):
        resumed = list(sample(denoiser, sampler, TIMES, rng, resume=step))
        assert len(resumed) == len(straight) - k - 1
        for one, other in zip(resumed, straight[k + 1 :]):
            assert same(one.x, other.x) and same(one.memory, other.memory)
            assert (one.index, one.evaluations) == (other.index, other.evaluations)
    # memory is a flat dict of tensors, batch first, as files want it
    for step in straight:
        assert all(isinstance(v, Tensor) and v.shape[0] == 5 for v in step.memory.values())


@pytest.mark.parametrize("name", [n for n in SAMPLERS if n != "adaptive"])
def test_a_resumed_run_of_a_product_is_the_straight_run_bit_for_bit(name: str) -> None:
    denoiser, sampler, rng = joint(), SAMPLERS[name], Stream.of(1, 4)
    straight = list(sample(denoiser, sampler, TIMES, rng, x=joint_start(4)))
    for k in (0, 3, len(straight) - 2):
        resumed = list(sample(denoiser, sampler, TIMES, rng, resume=straight[k]))
        assert same(resumed[-1].x, straight[-1].x)


@every
def test_two_interleaved_runs_are_two_separate_runs(name: str) -> None:
    sampler = SAMPLERS[name]  # one object for both

    def run(seed: int, rows: int) -> Iterator[Step]:
        denoiser = gaussian()
        return sample(denoiser, sampler, TIMES, Stream.of(seed, rows), x=start(denoiser, rows, 3))

    separate = [list(run(seed, rows)) for seed, rows in ((1, 3), (2, 5))]
    woven: list[list[Step]] = [[], []]
    for pair in itertools.zip_longest(run(1, 3), run(2, 5)):
        for runs, step in zip(woven, pair):
            runs += [step] if step is not None else []
    for one, other in zip(woven, separate):
        assert len(one) == len(other)
        assert all(same(a.x, b.x) and same(a.memory, b.memory) for a, b in zip(one, other))


@every
def test_a_sample_does_not_depend_on_its_batch_nor_on_padding(name: str) -> None:
    denoiser, sampler = gaussian(), SAMPLERS[name]
    mask = torch.arange(6) < torch.tensor([[6], [3], [1], [4]])
    x = denoiser.process.fill(start(denoiser, 4, 6, 2), mask)
    together = last(denoiser, sampler, TIMES, x, seed=3, mask=mask).x
    assert isinstance(together, Tensor) and not bool(together[~mask].any())
    for i, length in enumerate((6, 3, 1, 4)):
        rng = Stream.of(3, [i])
        for n in {length, 6}:  # alone without padding, alone with padding
            alone = list(sample(denoiser, sampler, TIMES, rng, x=x[i : i + 1, :n], mask=mask[i : i + 1, :n]))[
                -1
            ].x
            assert isinstance(alone, Tensor)
            assert torch.allclose(alone[0, :length], together[i, :length], rtol=1e-10, atol=1e-12)
    reversed_ = last_with(denoiser, sampler, x.flip(0), Stream.of(3, [3, 2, 1, 0]), mask.flip(0))
    assert torch.allclose(reversed_.flip(0), together, rtol=1e-10, atol=1e-12)


def last_with(denoiser: Denoiser, sampler: Sampler, x: Tensor, rng: Stream, mask: Tensor) -> Tensor:
    end = list(sample(denoiser, sampler, TIMES, rng, x=x, mask=mask))[-1].x
    assert isinstance(end, Tensor)
    return end


@pytest.mark.parametrize("name", [n for n in SAMPLERS if n != "adaptive"])
def test_a_sample_of_a_product_does_not_depend_on_its_batch(name: str) -> None:
    denoiser, sampler, x = joint(), SAMPLERS[name], joint_start(4)
    together: Any = last(denoiser, sampler, TIMES, x, seed=3).x
    for i in (0, 2):
        own = {k: v[i : i + 1] for k, v in x.items()}
        alone: Any = list(sample(denoiser, sampler, TIMES, Stream.of(3, [i]), x=own))[-1].x
        assert torch.equal(alone["kind"][0], together["kind"][i])
        for leaf in ("place", "frame"):
            assert torch.allclose(alone[leaf][0], together[leaf][i], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
@pytest.mark.parametrize("name", [n for n in SAMPLERS if n != "adaptive"])
def test_a_plan_says_how_many_beliefs_it_asks_for(name: str, steps: int) -> None:
    sampler = SAMPLERS[name]
    for denoiser, x in ((gaussian(), start(gaussian(), 2, 3)), (joint(), joint_start(2))):
        grid = [0.95 - 0.95 * i / steps for i in range(steps)] + [0.0]
        plan = sampler.plan(denoiser.process, grid)
        asked = last(denoiser, sampler, grid, x).evaluations
        assert asked == sampler.evaluations(plan, denoiser.process)
        assert asked == sum(sampler.cost(move, denoiser.process) for move in plan)


def test_the_published_numbers_of_evaluations() -> None:
    process, times = Gaussian(EDM()), grids.karras(18)
    expected = {
        "ddim": 18,
        "heun": 35,
        "edm": 35,
        "edm-churn": 35,
        "dpm++2m": 18,
        "unipc": 18,
        "angle": 18,
        "langevin": 35,
    }
    for name, count in expected.items():
        sampler = PRESETS[name].sampler
        assert sampler.evaluations(sampler.plan(process, times), process) == count, name
    # an upper bound where the number follows from the errors
    adaptive = Adaptive(limit=50)
    assert adaptive.evaluations(adaptive.plan(process, times), process) == 100


PAIR = Product(a=Gaussian(VP()), b=Gaussian(Linear()))
CLOCKS = {
    "a": [0.9, 0.7, 0.5, 0.5, 0.5, 0.3, 0.1, 0.0, 0.0, 0.0],
    "b": [1.0, 1.0, 1.0, 0.8, 0.6, 0.6, 0.4, 0.2, 0.1, 0.0],
}


@dataclass(frozen=True)
class Both(Denoiser):
    """Independent normals on the two leaves."""

    process: Any = PAIR

    def parts(self) -> dict[str, GaussianDenoiser]:
        return {name: GaussianDenoiser(leaf, 0.5, 0.3) for name, leaf in self.process.leaves.items()}

    def __call__(
        self, x_t: Any, t: Any, condition: Any = None, mask: Any = None, memory: Any = None
    ) -> tuple[Any, Any]:
        return {
            k: part(x_t[k], t[k] if isinstance(t, dict) else t)[0] for k, part in self.parts().items()
        }, memory


@pytest.mark.parametrize(
    "sampler",
    [
        Single(),
        Heun(),
        Heun("sigma"),
        Multistep(1),
        *(
            Multistep(p, of=of, corrector=c)
            for p in (2, 3)
            for of in ("x", "v", "velocity")
            for c in (False, True)
        ),
        Multistep(2, of="eps"),
        Multistep(4, of="v"),
    ],
    ids=repr,
)
def test_with_separate_clocks_each_leaf_goes_its_own_way(sampler: Sampler) -> None:
    x = {name: Stream.of(1, 3).fold(name).normal((3, 4), torch.float64) for name in ("a", "b")}
    singular = getattr(sampler, "of", "x") in ("eps", "sigma")
    clocks = {**CLOCKS, "b": [0.9 * t for t in CLOCKS["b"]]} if singular else CLOCKS
    together: Any = last(Both(), sampler, clocks, x).x
    for name, part in Both().parts().items():
        own = [
            t for t, s in itertools.pairwise([*clocks[name], -1.0]) if t != s
        ]  # without the moves that stand still
        alone = last(part, sampler, own, x[name]).x
        assert torch.allclose(together[name], alone, rtol=1e-12), name  # type: ignore[arg-type]


def test_separate_clocks_count_what_they_ask() -> None:
    x = {name: torch.zeros(2, 4, dtype=torch.float64) for name in ("a", "b")}
    for sampler in (Single(), Heun(), Multistep(3, corrector=True)):
        asked = last(Both(), sampler, CLOCKS, x).evaluations
        assert asked == sampler.evaluations(sampler.plan(PAIR, CLOCKS), PAIR)


def test_a_structure_before_its_types_has_the_right_law() -> None:
    # the position first, then the type given the position: the joint law is recovered all the same
    process = Product(place=Gaussian(), kind=Discrete(3))
    denoiser = JointMixtureDenoiser(
        process, [0.7, 0.3], [[[-1.0]], [[1.0]]], 0.3, [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]
    )
    rows, n = 4000, 30
    like = {"place": torch.empty(rows, 1, 1), "kind": torch.empty(rows, 1, dtype=torch.int64)}
    x = process.prior(like, Stream.of(2, rows))
    clocks = {"place": [1 - i / n for i in range(n)] + [0.0, 0.0], "kind": [1.0] * (n + 1) + [0.0]}
    end: Any = last(denoiser, Multistep(2, of="v"), clocks, x).x
    left = end["place"].flatten() < 0
    assert abs(float(left.double().mean()) - 0.7) < 4 * math.sqrt(0.21 / rows) + 0.01
    for chosen, law in ((left, (0.8, 0.1, 0.1)), (~left, (0.1, 0.2, 0.7))):
        kinds = end["kind"].flatten()[chosen]
        for k, p in enumerate(law):
            assert (
                abs(float((kinds == k).double().mean()) - p) < 4 * math.sqrt(p * (1 - p) / len(kinds)) + 0.01
            )


def test_no_gradient_is_kept_and_the_network_sees_its_dtype() -> None:
    weight = torch.tensor(0.5, requires_grad=True)
    seen: list[torch.dtype] = []

    def network(x_t: Tensor, t: Any, condition: Any, mask: Any) -> Tensor:
        seen.append(x_t.dtype)
        return weight * x_t

    denoiser = NetworkDenoiser(network, Gaussian(), "v", dtype=torch.bfloat16)
    for step in sample(denoiser, Heun(), grids.uniform(3), Stream.of(0, 2), like=torch.empty(2, 3)):
        assert isinstance(step.x, Tensor) and not step.x.requires_grad and step.x.dtype == torch.float32
    assert set(seen) == {torch.bfloat16}
    assert torch.is_grad_enabled()


def test_the_prior_is_drawn_where_no_start_is_given() -> None:
    denoiser, like = normal("linear", "v"), torch.empty(3, 2, dtype=torch.float64)
    drawn = list(sample(denoiser, Single(), grids.uniform(3), Stream.of(0, 3), like=like))
    given = denoiser.process.prior(like, Stream.of(0, 3).fold("prior"))
    assert same(drawn[-1].x, last(denoiser, Single(), grids.uniform(3), given).x)
    assert [step.index for step in drawn] == [0, 1, 2] and [step.evaluations for step in drawn] == [1, 2, 3]
    assert all(step.posterior is not None for step in drawn)


def test_wrong_calls_are_refused() -> None:
    denoiser = normal("linear", "v")
    with pytest.raises(
        ValueError, match=r"needs a start x, shapes to draw the prior in \(like\), or a step to resume"
    ):
        next(sample(denoiser, Single(), grids.uniform(2), Stream.of(0, 2)))
    with pytest.raises(ValueError, match="the batch is empty"):
        next(sample(denoiser, Single(), grids.uniform(2), Stream.of(0, 0), x=torch.empty(0, 3)))
    with pytest.raises(ValueError, match="3 samples need as many random streams, got 2"):
        next(sample(denoiser, Single(), grids.uniform(2), Stream.of(0, 2), x=torch.empty(3, 3)))
    with pytest.raises(ValueError, match=r"unknown sampler 'dpm\+\+2s'; did you mean 'dpm\+\+2m'"):
        preset("dpm++2s")
    with pytest.raises(ValueError, match="unknown coordinate of Multistep 'epsilon'"):
        Multistep(2, of="epsilon")
    with pytest.raises(ValueError, match="unknown coordinate of Heun 'x'"):
        Heun("x")
    for order in (0, 5, 2.5):
        with pytest.raises(ValueError, match="order must be 1, 2, 3 or 4"):
            Multistep(order)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match="Adaptive works on one Gaussian leaf; use Multistep or Single for a product"
    ):
        Adaptive().plan(PAIR, [1.0, 0.0])
    with pytest.raises(ValueError, match="needs tolerances >= 0"):
        Adaptive(rtol=0.0, atol=0.0)
