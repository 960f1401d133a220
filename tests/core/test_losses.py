"""Objectives: published weights in any parametrisation, and the densities of training times."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from langevin.core import so3
from langevin.core.denoiser import NetworkDenoiser
from langevin.core.losses import (
    NEAREST,
    P2,
    LogitNormal,
    LossAdaptive,
    MinSNR,
    Mode,
    Objective,
    Sigmoid,
    Stratified,
    Uncertainty,
    Uniform,
    UniformTimes,
    Weighting,
)
from langevin.core.parts import Part
from langevin.core.posteriors import Point
from langevin.core.processes import IGSO3, Discrete, Gaussian, LeafProcess, Product, Rotations, Torus
from langevin.core.processes.torus import wrap
from langevin.core.rng import Stream
from langevin.core.schedules import VP, Cosine, Linear
from langevin.core.schedules import Sigmoid as SigmoidSchedule
from langevin.core.training.loss import draw_times, losses
from tests.core.exact import SCHEDULES, TABLE, ks

RNG = Stream.of(0, 200)
T = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
KINDS = ("eps", "x", "v", "velocity", "edm")


def weight(schedule: Any, weighting: Weighting, target: str, t: Tensor = T) -> Tensor:
    """The factor on the squared residual of ``target``."""
    return Objective(target, weighting=weighting).weigh(Gaussian(schedule), torch.ones_like(t), t, target)


@pytest.mark.parametrize(
    "schedule", [VP(), Cosine(), TABLE, SigmoidSchedule()], ids=["vp", "cosine", "table", "sigmoid"]
)
def test_min_snr_is_the_published_weight_of_each_prediction(schedule: Any) -> None:
    snr = schedule.log_snr(T).exp()
    capped = snr.clamp(max=5.0)
    # Hang et al., 2023, §3.4, for variance-preserving schedules
    assert torch.allclose(weight(schedule, MinSNR(5.0), "x"), capped, rtol=1e-9)
    assert torch.allclose(weight(schedule, MinSNR(5.0), "eps"), capped / snr, rtol=1e-9)
    assert torch.allclose(weight(schedule, MinSNR(5.0), "v"), capped / (snr + 1), rtol=1e-9)


@pytest.mark.parametrize("schedule", [VP(), Cosine()], ids=["vp", "cosine"])
def test_p2_and_sigmoid_weights_are_the_published_ones(schedule: Any) -> None:
    log_snr = schedule.log_snr(T)
    snr = log_snr.exp()
    for gamma, k in ((1.0, 1.0), (0.5, 2.0)):
        p2 = 1 / (k + snr) ** gamma  # Choi et al., 2022, Eq. 8
        assert torch.allclose(weight(schedule, P2(gamma, k), "eps"), p2)
        assert torch.allclose(weight(schedule, P2(gamma, k), "x"), p2 * snr)
    for bias in (-1.0, 2.0):
        sig = 1 / (1 + torch.exp(log_snr - bias))  # Kingma & Gao, 2023, on ε
        assert torch.allclose(weight(schedule, Sigmoid(bias), "eps"), sig)
        assert torch.allclose(weight(schedule, Sigmoid(bias), "v"), sig * snr / (1 + snr))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("weighting", [MinSNR(), P2(), Sigmoid()], ids=["min-snr", "p2", "sigmoid"])
def test_a_weighted_loss_is_the_same_in_every_parametrisation(name: str, weighting: Weighting) -> None:
    process = Gaussian(SCHEDULES[name], sigma_data=0.5)
    x = RNG.fold("x").normal((200, 6), torch.float64)
    t = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    x_t = process.corrupt(x, t, RNG)
    empty = torch.zeros_like(x)
    belief = Point(empty, empty, x_t, t, process.schedule).with_x(
        x + 0.1 * RNG.fold("error").normal(x.shape, torch.float64)
    )
    found = []
    for kind in KINDS:
        each = process.loss(belief, x, x_t, t, RNG, kind)
        found.append(Objective(kind, weighting=weighting).weigh(process, each, t, kind))
    for other in found[1:]:
        assert torch.allclose(other, found[0], rtol=1e-6)


def test_no_weight_is_applied_in_secret() -> None:
    loss = torch.rand(99)
    for kind in KINDS:
        assert Objective(kind).weigh(Gaussian(), loss, T, kind) is loss
    assert torch.equal(Uniform()(T), torch.ones_like(T))


def test_weights_of_elements_with_clocks_of_their_own_follow_the_latest() -> None:
    process, objective = Gaussian(), Objective("v", weighting=MinSNR())
    t = torch.tensor([[0.1, 0.5], [0.9, 0.2]])
    each = objective.weigh(process, torch.ones(2), t, "v")
    assert torch.allclose(each, objective.weigh(process, torch.ones(2), torch.tensor([0.5, 0.9]), "v"))


@pytest.mark.parametrize(
    "weighting", [Uniform(), MinSNR(), P2(), Sigmoid()], ids=["none", "min-snr", "p2", "sigmoid"]
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_weighted_loss_divides_by_zero_at_the_ends(
    kind: str, weighting: Weighting, dtype: torch.dtype
) -> None:
    process = Gaussian(Linear())
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    t = torch.tensor([0.0, 1e-7, 1 - 1e-7, 1.0], dtype=dtype)
    rng = Stream.of(0, 4)
    x_t = process.corrupt(x, t, rng)
    each = process.loss(Point(0.9 * x, 0.9 * x_t, x_t, t, process.schedule), x, x_t, t, rng, kind)
    assert bool(each.isfinite().all())
    weighed = Objective(kind, weighting=weighting).weigh(process, each, t, kind)
    assert bool(weighed.isfinite().all())
    # the weight at an end is its limit
    weights = Objective(kind, weighting=weighting).weigh(process, torch.ones_like(t), t, kind)
    assert torch.allclose(weights[[0, 3]], weights[[1, 2]], rtol=1e-3, atol=1e-6)


def network(x_t: Tensor, t: Any, condition: Any, mask: Any) -> Tensor:
    return 0.3 * x_t + 0.1


def test_the_loss_of_a_batch_follows_from_its_key() -> None:
    denoiser = NetworkDenoiser(network, Gaussian(Cosine()), "v")
    objective = Objective("v", LogitNormal(), MinSNR())
    x = Stream.of(9, 200).normal((200, 5))
    total, parts, t = losses(denoiser, objective, x, {}, RNG)
    again, _, _ = losses(denoiser, objective, x, {}, RNG)
    assert torch.equal(total, again) and list(parts) == [""]
    # sample 7 does not depend on its batch
    alone, _, t_alone = losses(denoiser, objective, x[7:8], {}, RNG.rows([7]))
    assert torch.equal(t[7:8], t_alone) and torch.allclose(total[7:8], alone, rtol=1e-6)  # type: ignore[index,arg-type]


def test_a_product_adds_the_losses_of_its_leaves_by_their_scales() -> None:
    process = Product(a=Gaussian(), b=Gaussian(VP()), c=Discrete(3))
    objective = Objective({"a": "x", "c": "elbo"}, scales={"a": 2.0, "c": 0.1})
    parts = {name: torch.rand(4) for name in "abc"}
    total, out = objective.total(process, parts, torch.full((4,), 0.5))
    assert torch.allclose(total, 2 * parts["a"] + parts["b"] + 0.1 * parts["c"])
    assert torch.allclose(out["c"], 0.1 * parts["c"])
    lone, _ = Objective().total(Gaussian(), parts["a"], torch.full((4,), 0.5))
    assert torch.equal(lone, parts["a"])


def logit_normal(mean: float, std: float) -> Any:
    return lambda t: torch.special.ndtr((torch.logit(t) - mean) / std)


def mode_cdf(scale: float) -> Any:
    """P(T ≤ t) for T = f(u), f falling: 1 − f⁻¹(t), by bisection."""

    def cdf(t: Tensor) -> Tensor:
        low, high = torch.zeros_like(t), torch.ones_like(t)
        for _ in range(60):
            u = (low + high) / 2
            above = 1 - u - scale * (torch.cos(math.pi / 2 * u) ** 2 - 1 + u) > t
            low, high = torch.where(above, u, low), torch.where(above, high, u)
        return 1 - low

    return cdf


@pytest.mark.parametrize(
    ("times", "cdf"),
    [
        (UniformTimes(), lambda t: t),
        (LogitNormal(), logit_normal(0, 1)),
        (LogitNormal(-0.7, 1.6), logit_normal(-0.7, 1.6)),
        (Mode(), mode_cdf(1.29)),
        (Mode(-0.8), mode_cdf(-0.8)),
        (Mode(0.0), lambda t: t),
        (LossAdaptive(), lambda t: t),
        (Stratified(), lambda t: t),
        (Stratified(LogitNormal(0.5, 0.8)), logit_normal(0.5, 0.8)),
    ],
    ids=repr,
)
def test_times_have_their_density(times: Any, cdf: Any) -> None:
    t = torch.cat([times(Stream.of(seed, 1000)) for seed in range(20)])
    assert t.dtype == torch.float32 and t.shape == (20_000,)
    assert float(t.min()) > 0 and float(t.max()) < 1
    assert ks(t, cdf) < 2.0


@pytest.mark.parametrize("base", [None, LogitNormal(0.3, 0.7)], ids=["uniform", "logit-normal"])
@given(st.integers(1, 300), st.integers(0, 2**32), st.data())
@settings(max_examples=40, deadline=None)
def test_stratified_times_cover_every_slice_however_the_rows_are_shared(
    base: Any, total: int, seed: int, data: st.DataObject
) -> None:
    times = Stratified(base)
    whole = times(Stream.of(seed, total))
    share = whole.double() if base is None else torch.special.ndtr((torch.logit(whole.double()) - 0.3) / 0.7)
    if base is None:
        assert torch.equal((whole.double() * total).floor().long(), torch.arange(total))
    else:
        # up to the rounding of its quantile
        assert bool(((share * total - torch.arange(total) - 0.5).abs() < 0.5 + 1e-5 * total).all())
    cut = data.draw(st.integers(0, total))
    parts = [
        times(Stream.of(seed, rows), rows=(rows.start, total)) for rows in (range(cut), range(cut, total))
    ]
    assert torch.allclose(torch.cat(parts), whole, rtol=1e-6)


def test_a_stratified_time_never_rounds_into_the_next_slice() -> None:
    class Highest(Stream):
        """A stream that draws the largest number below 1."""

        def uniform(self, shape: Any, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.full(tuple(shape), 1 - torch.finfo(dtype).eps, dtype=dtype)

    for total in (1, 3, 128, 1000):
        t = Stratified()(Highest(torch.zeros(total, dtype=torch.int64)))
        assert float(t.max()) < 1
        assert torch.equal((t.double() * total).floor().long(), torch.arange(total))


def test_loss_adaptive_times_follow_the_root_mean_square_loss() -> None:
    times = LossAdaptive(bins=4, decay=0.0, floor=0.2)
    seen = times.start()
    before = seen.clone()
    t = torch.tensor([0.1, 0.2, 0.6, 0.9])
    new = times.observe(seen, t, torch.tensor([3.0, 4.0, 1.0, 2.0]))
    assert torch.equal(seen, before)  # nothing is changed in place
    assert torch.allclose(new, torch.tensor([12.5, 1.0, 1.0, 4.0], dtype=torch.float64))  # bin 1 saw nothing
    bound = times.bind(new)
    root = new.sqrt()
    share = 0.8 * root / root.sum() + 0.2 / 4
    assert times.weights == () and bound.weights == pytest.approx(share.tolist())
    edges = torch.cat([torch.zeros(1, dtype=torch.float64), share.cumsum(0)])

    def cdf(u: Tensor) -> Tensor:
        k = (u * 4).long().clamp(0, 3)
        return edges[k] + share[k] * (u * 4 - k)

    drawn = torch.cat([bound(Stream.of(seed, 1000)) for seed in range(20)])
    assert ks(drawn, cdf) < 2.0
    slow = LossAdaptive(bins=4, decay=0.9)
    assert float(slow.observe(seen, t, torch.full((4,), 2.0))[0]) == pytest.approx(0.9 + 0.1 * 4)


def test_the_learned_uncertainty_makes_every_noise_level_count_alike() -> None:
    module = Uncertainty(64)
    log_snr = torch.linspace(-8, 8, 33)
    assert torch.equal(module(log_snr), torch.zeros(33))  # starts with no weight at all
    raw = (0.1 + 5 * torch.sigmoid(-log_snr)).detach()
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        u = module(log_snr)
        value = (raw * (-u).exp() + u).mean()
        value.backward()
        return value

    optimizer.step(closure)  # type: ignore[arg-type]
    assert torch.allclose(raw * (-module(log_snr)).exp().detach(), torch.ones(33), atol=0.05)


def test_clocks_are_drawn_together_apart_or_both() -> None:
    process, objective = Product(a=Gaussian(), b=Discrete(3)), Objective(times=UniformTimes())
    rng = Stream.of(0, 4000)
    common, none = draw_times(objective, process, rng)
    assert isinstance(common, Tensor) and common.shape == (4000,) and none is None
    half, own = draw_times(replace(objective, independent=0.5), process, rng)
    assert isinstance(half, dict)
    a, b = half["a"], half["b"]
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    together = a == b
    assert own is not None and torch.equal(together, ~own)
    assert abs(float(together.double().mean()) - 0.5) < 4 * 0.5 / math.sqrt(4000)
    assert torch.equal(a[together], common[together])
    apart = torch.corrcoef(torch.stack([a[~together], b[~together]]))[0, 1]
    assert abs(float(apart)) * math.sqrt(2000) < 4.5
    for t in (a, b):
        assert ks(t, lambda u: u) < 2.0


@pytest.mark.parametrize("scale", [-1.1, 1.8])
def test_a_mode_that_would_leave_the_interval_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=r"scale must lie in \[-1, 1.7519\]"):
        Mode(scale)


# each kind of leaf: a process, clean states, the shape of an output, and its loss by name
LEAVES: dict[str, tuple[LeafProcess, Any, tuple[int, ...], str | None]] = {
    "gaussian": (Gaussian(), lambda rng: 0.1 * rng.normal((64, 3)) + 2, (3,), "velocity"),
    "masked": (Discrete(5), lambda rng: torch.full((64, 3), 4), (3, 5), "elbo"),
    "uniform": (Discrete(5, kind="uniform"), lambda rng: torch.full((64, 3), 4), (3, 5), "cross-entropy"),
    "geodesic": (Rotations(), lambda rng: torch.eye(3).expand(64, 3, 3, 3), (3, 3, 3), None),
    "igso3": (Rotations(IGSO3()), lambda rng: torch.eye(3).expand(64, 3, 3, 3), (3, 3, 3), None),
    "torus": (Torus(), lambda rng: 0.1 * rng.normal((64, 3)) + 1, (3,), None),
}


class Constant(nn.Module):
    """One learned output for every state: of the leaf ``""``, or of each leaf of a product."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        start = torch.zeros if "" in shapes else torch.ones
        self.values = nn.ParameterDict({name or "lone": nn.Parameter(start(s)) for name, s in shapes.items()})

    def forward(self, x_t: Any, t: Any, condition: Any, mask: Any) -> Any:
        out = {name: value.expand(len(t), *value.shape) for name, value in self.values.items()}
        return out.get("lone", out)


class Turn(Constant):
    """One learned clean rotation or angle for every state: a matrix, or the arc to it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__({"": shape})
        nn.init.constant_(self.values["lone"], -0.8)

    def forward(self, x_t: Any, t: Any, condition: Any, mask: Any) -> Any:
        goal = self.values["lone"]
        return so3.exp(goal).expand(len(t), 3, 3, 3) if x_t.ndim == 4 else wrap(goal - x_t)


@pytest.mark.parametrize("name", LEAVES)
def test_without_a_target_a_leaf_is_trained_for_its_own(name: str) -> None:
    process, draw, shape, own = LEAVES[name]
    curved = isinstance(process, (Rotations, Torus))
    network = Turn((3, 3) if len(shape) == 3 else shape) if curved else Constant({"": shape})
    denoiser = NetworkDenoiser(network, process)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    assert Objective().kinds(process) == {"": own}
    found = []
    for step in range(50):
        rng = Stream.of(0, 64).fold("step", step)
        x = draw(rng)
        each, _, t = losses(denoiser, Objective(), x, {}, rng)
        explicit, _, _ = losses(denoiser, Objective(own), x, {}, rng)
        assert torch.equal(each, explicit) and bool(each.isfinite().all())
        key = rng.fold("corrupt")
        x_t = process.corrupt(x, t, key)
        assert torch.equal(each, process.loss(denoiser(x_t, t)[0], x, x_t, t, key, own))
        optimizer.zero_grad()
        each.mean().backward()
        optimizer.step()
        found.append(each.mean().item())
    assert sum(found[-5:]) < 0.7 * sum(found[:5])


def test_without_a_target_every_leaf_of_a_product_has_its_own() -> None:
    process = Product(**{name: leaf for name, (leaf, *_) in LEAVES.items()})
    own = {name: kind for name, (*_, kind) in LEAVES.items()}
    assert Objective().kinds(process) == own
    assert Objective("x").kinds(process) == {**own, "gaussian": "x"}
    assert Objective({"masked": "cross-entropy"}).kinds(process) == {**own, "masked": "cross-entropy"}
    shapes = {name: (3, 3) if isinstance(leaf, Rotations) else s for name, (leaf, _, s, _) in LEAVES.items()}
    denoiser, rng = NetworkDenoiser(Constant(shapes), process), Stream.of(0, 64)
    x = {name: draw(rng) for name, (_, draw, *_) in LEAVES.items()}
    total, parts, t = losses(denoiser, Objective(), x, {}, rng)
    again, named, _ = losses(denoiser, Objective(dict(own)), x, {}, rng)  # type: ignore[arg-type]
    assert torch.equal(total, again) and bool(total.isfinite().all())
    key = rng.fold("corrupt")
    x_t = process.corrupt(x, t, key)
    beliefs: Any = denoiser(x_t, t)[0]
    for name, leaf in process.leaves.items():
        expected = leaf.loss(beliefs[name], x[name], x_t[name], t, key.fold(name), own[name])  # type: ignore[arg-type]
        assert torch.equal(parts[name], expected) and torch.equal(named[name], expected)


def test_a_target_for_a_leaf_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown leaf of the target 'type'; did you mean 'types'\?"):
        Objective({"type": "elbo"}).kinds(Product(types=Discrete(3)))


@dataclass(frozen=True)
class Ends:
    """Half of the times at 0 exactly, half at 1."""

    def __call__(self, rng: Stream, rows: tuple[int, int] | None = None) -> Tensor:
        return (torch.arange(len(rng)) % 2).float()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_training_times_keep_away_from_where_a_target_is_infinite(name: str, kind: str) -> None:
    process = Gaussian(SCHEDULES[name])
    scale = torch.nn.Parameter(torch.tensor(0.3))
    denoiser = NetworkDenoiser(lambda x_t, t, condition, mask: scale * x_t, process, "v")  # type: ignore[arg-type]
    each, _, t = losses(denoiser, Objective(kind, Ends()), RNG.normal((200, 3)), {}, RNG)
    assert isinstance(t, Tensor) and set(t.tolist()) == set(torch.tensor([NEAREST, 1 - NEAREST]).tolist())
    each.mean().backward()
    assert bool(each.isfinite().all()) and scale.grad is not None and bool(scale.grad.isfinite())


def test_independent_clocks_keep_away_from_the_ends_too() -> None:
    process, objective = Product(a=Gaussian(VP()), b=Discrete(3, SigmoidSchedule())), Objective(times=Ends())
    times, _ = draw_times(replace(objective, independent=0.5), process, RNG)
    assert isinstance(times, dict) and all(float(t.min()) > 0 and float(t.max()) < 1 for t in times.values())  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["vp", "sigmoid", "zero-terminal"])
def test_the_velocity_has_no_limit_at_t_0_where_the_noise_begins_linearly(name: str) -> None:
    # the reason for NEAREST: σ' ~ t^−½, so that the loss of a wrong ε grows as 1/t
    t = torch.tensor([0.0, 1e-6, 4e-6], dtype=torch.float64)
    slope = SCHEDULES[name].derivative(t)[1]
    assert not slope[0].isfinite() and float(slope[1] / slope[2]) == pytest.approx(2.0, rel=1e-2)


def test_forcing_gives_elements_clocks_of_their_own_and_rows_do_not_depend_on_the_batch() -> None:
    process, rng = Gaussian(Linear()), Stream.of(3, 400)
    t, apart = draw_times(Objective(forcing=0.5), process, rng, None, 6)
    assert isinstance(t, Tensor) and t.shape == (400, 6) and apart is None
    common = (t == t[:, :1]).all(1)
    assert 150 < int(common.sum()) < 250
    alone, _ = draw_times(Objective(forcing=0.5), process, rng.rows(torch.tensor([7])), None, 6)
    assert torch.equal(alone, t[7:8])
    plain, _ = draw_times(Objective(), process, rng)
    assert torch.equal(t[common, 0], plain[common])  # type: ignore[index]
    free = t[~common]
    correlation = torch.corrcoef(torch.logit(free).T)  # of elements of one sample
    assert float((correlation - torch.eye(6)).abs().max()) < 0.25


def test_forcing_does_not_go_with_clocks_by_leaf_or_a_learned_variance() -> None:
    with pytest.raises(ValueError, match="choose one"):
        Objective(forcing=0.5, independent=0.5)
    with pytest.raises(ValueError, match="noise level"):
        Objective(forcing=0.5, uncertainty=True)
    with pytest.raises(ValueError, match="share from 0 to 1"):
        Objective(forcing=1.5)


@pytest.mark.parametrize("kind", ["x", "velocity", "eps"])
def test_elements_at_time_0_have_no_loss_and_no_gradient(kind: str) -> None:
    x = Stream.of(1, 5).normal((5, 4, 3))
    given_elements = torch.zeros(5, 4, dtype=torch.bool)
    given_elements[:, 0] = True

    class Off(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(4, 3))

        def forward(self, x_t: Tensor, t: Any, condition: Any, mask: Any) -> Tensor:
            return self.shift.expand(x_t.shape)

    def parts(x: Tensor, rng: Stream, mask: Any, share: float) -> list[Part]:
        return [Part(torch.arange(5), x, {"": given_elements}, process)]

    process, network = Gaussian(Linear()), Off()
    denoiser = NetworkDenoiser(network, process, kind)
    each, _, _ = losses(
        denoiser, Objective("velocity", forcing=0.5, given=1.0), x, {}, Stream.of(2, 5), parts=parts
    )
    each.sum().backward()
    assert network.shift.grad is not None and bool(torch.isfinite(network.shift.grad).all())
    assert bool((network.shift.grad[0] == 0).all()) and bool((network.shift.grad[1:] != 0).any())
