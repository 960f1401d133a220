"""Products: every operation leaf by leaf; and for every leaf, t = s is the identity, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.analytic import JointMixtureDenoiser
from langevin.core.posteriors import Categorical, Point, Tangent
from langevin.core.processes import IGSO3, Discrete, Gaussian, Product, Rotations, Torus
from langevin.core.rng import Stream
from langevin.core.samplers import Single
from langevin.core.schedules import EDM, VP, Cosine, Linear
from tests.core.exact import last

B, L = 3, 4
RNG = Stream.of(0, B)


def data(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(*shape: int) -> Tensor:
    return torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(0))


def symmetric(x: Tensor) -> Tensor:
    return torch.where(
        torch.ones(L, L).triu().bool().reshape(L, L, *(1,) * (x.ndim - 3)), x, x.transpose(1, 2)
    )


def belief(leaf: Any, x_t: Tensor, t: Any) -> Any:
    """Some belief about a leaf."""
    if isinstance(leaf, Gaussian):
        return Point(data(*x_t.shape, seed=1), data(*x_t.shape, seed=2), x_t, t, leaf.schedule)
    if isinstance(leaf, Discrete):
        return leaf.posterior(data(*x_t.shape, 5, seed=1), x_t, t)
    return Tangent(
        data(*x_t.shape[:-2], 3, seed=1) if isinstance(leaf, Rotations) else data(*x_t.shape, seed=1), x_t
    )


ANGLES = torch.remainder(data(B, L, 2), 6.0) - 3.0
FRAMES = so3.exp(data(B, L, 3))
LEAVES: dict[str, tuple[Any, Tensor]] = {
    "gaussian": (Gaussian(), data(B, L, 2)),
    "gaussian-vp": (Gaussian(VP()), data(B, L, 2)),
    "gaussian-edm": (Gaussian(EDM()), data(B, L, 2)),
    "centred": (Gaussian(Cosine(), centred=True), data(B, L, 3)),
    "pairs": (Gaussian(pair=True), symmetric(data(B, L, L, 2))),
    "masked": (Discrete(5), classes(B, L)),
    "uniform": (Discrete(5, kind="uniform"), classes(B, L)),
    "bonds": (Discrete(5, pair=True), symmetric(classes(B, L, L))),
    "uniform-bonds": (Discrete(5, kind="uniform", pair=True), symmetric(classes(B, L, L))),
    "geodesic": (Rotations(), FRAMES),
    "igso3": (Rotations(IGSO3()), FRAMES),
    "torus": (Torus(), ANGLES),
}
leaves = pytest.mark.parametrize("name", LEAVES)


@leaves
@pytest.mark.parametrize("shape", ["float", "()", "(B,)", "(B, L)"])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_standing_still_is_the_identity_bit_for_bit(name: str, shape: str, t: float, eta: float) -> None:
    leaf, x = LEAVES[name]
    time: Any = t if shape == "float" else torch.full({"()": (), "(B,)": (B,), "(B, L)": (B, L)}[shape], t)
    assert torch.equal(leaf.corrupt(x, time, RNG, since=time), x)
    assert torch.equal(leaf.update(x, belief(leaf, x, time), time, time, RNG, eta), x)


@leaves
def test_some_elements_may_stand_still_while_others_move(name: str) -> None:
    leaf, x = LEAVES[name]
    if leaf.pair:
        t, s = torch.tensor([[0.9, 0.5, 0.5, 0.2]] * B), torch.tensor([[0.9, 0.5, 0.2, 0.0]] * B)
        clock_t, clock_s = leaf.clock(t), leaf.clock(s)
    else:
        t, s = torch.tensor([[0.9, 0.5, 0.5, 0.2]] * B), torch.tensor([[0.9, 0.5, 0.2, 0.0]] * B)
        clock_t, clock_s = t, s
    still = clock_t == clock_s
    assert bool(still.any()) and not bool(still.all())
    moved = leaf.update(x, belief(leaf, x, t), t, s, RNG, eta=1.0)
    assert torch.equal(moved[still], x[still])
    if moved.is_floating_point() and not getattr(leaf, "centred", False):
        away = (moved != x).reshape(*still.shape, -1).any(-1)
        assert bool(away[~still].all())
    corrupted = leaf.corrupt(x, t, RNG, since=s)
    assert torch.equal(corrupted[still], x[still])


@leaves
def test_draws_do_not_depend_on_the_batch(name: str) -> None:
    leaf, x = LEAVES[name]
    for i in range(B):
        one = RNG.rows([i])
        assert torch.equal(leaf.prior(x[i : i + 1], one)[0], leaf.prior(x, RNG)[i])
        assert torch.equal(leaf.corrupt(x[i : i + 1], 0.4, one)[0], leaf.corrupt(x, 0.4, RNG)[i])
        x_t = leaf.corrupt(x, 0.4, RNG)
        q, q_i = belief(leaf, x_t, 0.4), belief(leaf, x_t, 0.4)
        q_i = type(q)(**{k: v[i : i + 1] if isinstance(v, Tensor) else v for k, v in vars(q).items()})
        assert torch.equal(
            leaf.update(x_t[i : i + 1], q_i, 0.4, 0.2, one, 1.0)[0],
            leaf.update(x_t, q, 0.4, 0.2, RNG, 1.0)[i],
        )


JOINT = Product(
    positions=Gaussian(centred=True),
    types=Discrete(5),
    bonds=Discrete(5, pair=True),
    frames=Rotations(),
    angles=Torus(),
)
STATE = {
    "positions": JOINT.leaves["positions"].centre(data(B, L, 3)),  # type: ignore[attr-defined]
    "types": classes(B, L),
    "bonds": symmetric(classes(B, L, L)),
    "frames": FRAMES,
    "angles": ANGLES,
}


def test_a_product_does_to_each_leaf_what_the_leaf_does_alone() -> None:
    t, s = 0.6, 0.2
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    x_t = JOINT.corrupt(STATE, t, RNG, mask=mask)
    prior = JOINT.prior(STATE, RNG, mask)
    beliefs = {name: belief(leaf, x_t[name], t) for name, leaf in JOINT.leaves.items()}
    x_s = JOINT.update(x_t, beliefs, t, s, RNG, 1.0, mask)
    losses = JOINT.loss(beliefs, STATE, x_t, t, RNG, {"positions": "x"}, mask)
    for name, leaf in JOINT.leaves.items():
        key = RNG.fold(name)
        assert torch.equal(prior[name], leaf.prior(STATE[name], key, mask))
        assert torch.equal(x_t[name], leaf.corrupt(STATE[name], t, key, mask=mask))
        assert torch.equal(x_s[name], leaf.update(x_t[name], beliefs[name], t, s, key, 1.0, mask))
        kind = "x" if name == "positions" else None
        assert torch.equal(losses[name], leaf.loss(beliefs[name], STATE[name], x_t[name], t, key, kind, mask))


def test_a_leaf_more_changes_no_number_of_the_others() -> None:
    fewer = Product(types=Discrete(5), angles=Torus())
    part = {k: STATE[k] for k in ("types", "angles")}
    small, large = fewer.corrupt(part, 0.5, RNG), JOINT.corrupt(STATE, 0.5, RNG)
    assert all(torch.equal(small[name], large[name]) for name in part)


def test_leaves_of_one_kind_draw_unrelated_noise() -> None:
    twins = Product(a=Gaussian(), b=Gaussian())
    rng = Stream.of(0, 100)
    x = twins.prior({"a": torch.zeros(100, 200), "b": torch.zeros(100, 200)}, rng)
    joint = torch.corrcoef(torch.stack([x["a"].flatten(), x["b"].flatten()]))[0, 1]
    assert abs(float(joint)) * math.sqrt(20000) < 4.5


def test_clocks_may_differ_by_leaf() -> None:
    t = {"positions": 0.9, "types": 0.0, "bonds": 0.4, "frames": torch.tensor([0.1, 0.2, 0.3]), "angles": 1.0}
    x_t = JOINT.corrupt(STATE, t, RNG)
    assert torch.equal(x_t["types"], STATE["types"])
    for name, leaf in JOINT.leaves.items():
        assert torch.equal(x_t[name], leaf.corrupt(STATE[name], t[name], RNG.fold(name)))
    beliefs = {name: belief(leaf, x_t[name], t[name]) for name, leaf in JOINT.leaves.items()}
    x_s = JOINT.update(x_t, beliefs, t, {**t, "bonds": 0.1}, RNG)
    assert all(torch.equal(x_s[name], x_t[name]) for name in JOINT.leaves if name != "bonds")


def test_parametrisations_are_given_by_leaf_or_for_all() -> None:
    x_t, outputs = JOINT.corrupt(STATE, 0.5, RNG), {name: data(B, L, 3) for name in ("positions", "frames")}
    outputs |= {"types": data(B, L, 5), "bonds": data(B, L, L, 5), "angles": ANGLES}
    for kind, used in ((None, "velocity"), ("x", "x"), ({"positions": "v"}, "v"), ({}, "velocity")):
        q = JOINT.posterior(outputs, x_t, 0.5, kind)
        expected = JOINT.leaves["positions"].posterior(outputs["positions"], x_t["positions"], 0.5, used)
        assert torch.equal(q["positions"].x, expected.x)  # type: ignore[index,union-attr]
        assert isinstance(q["types"], Categorical) and isinstance(q["frames"], Tangent)  # type: ignore[index]


def test_one_target_for_all_means_all_gaussian_leaves() -> None:
    x_t = JOINT.corrupt(STATE, 0.5, RNG)
    beliefs = {name: belief(leaf, x_t[name], 0.5) for name, leaf in JOINT.leaves.items()}
    named, common = (
        JOINT.loss(beliefs, STATE, x_t, 0.5, RNG, kind) for kind in ({"positions": "eps"}, "eps")
    )
    assert all(torch.equal(named[name], common[name]) for name in JOINT.leaves)
    assert not torch.equal(named["positions"], JOINT.loss(beliefs, STATE, x_t, 0.5, RNG)["positions"])


def test_wrong_states_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"at least one leaf, as Product\(positions=Gaussian\(\), …\)"):
        Product()
    for call in (
        lambda x: JOINT.prior(x, RNG),
        lambda x: JOINT.corrupt(x, 0.5, RNG),
        lambda x: JOINT.posterior(x, x, 0.5),
    ):
        with pytest.raises(TypeError, match=r"needs a dict of tensors, got Tensor"):
            call(STATE["types"])
        with pytest.raises(KeyError, match="unknown leaf 'position'; did you mean 'positions'"):
            call({**STATE, "position": STATE["positions"]})
        with pytest.raises(KeyError, match=r"lacks the leaves \['angles'\]"):
            call({k: v for k, v in STATE.items() if k != "angles"})


def mixture() -> tuple[JointMixtureDenoiser, Tensor]:
    """Positions × types × frames: the component fixes the mean, the law of the type, and the frame."""
    process = Product(place=Gaussian(), kind=Discrete(3), frame=Rotations())
    frames = so3.exp(data(2, 3, seed=8))
    types = [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]
    means = [[[-1.0]], [[1.0]]]
    return JointMixtureDenoiser(process, [0.7, 0.3], means, 0.3, types, frames), frames


@pytest.mark.parametrize(("steps", "bias"), [(40, 0.03), (120, 0.012)])
def test_a_joint_mixture_is_recovered_with_its_correlations(steps: int, bias: float) -> None:
    denoiser, frames = mixture()
    rows = 4000
    like = {
        "place": torch.empty(rows, 1, 1),
        "kind": torch.empty(rows, 1, dtype=torch.int64),
        "frame": torch.empty(rows, 1, 3, 3),
    }
    x = denoiser.process.prior(like, Stream.of(2, rows))  # type: ignore[arg-type]
    end: Any = last(denoiser, Single(), [1 - i / steps for i in range(steps)] + [0.0], x).x
    away = torch.stack([so3.log(end["frame"][:, 0].double().mT @ f).norm(dim=-1) for f in frames])
    component = away.argmin(0)
    assert float(away.min(0).values.max()) < 0.05
    share = float((component == 0).double().mean())
    assert abs(share - 0.7) < 4 * math.sqrt(0.21 / rows) + bias
    for k, mean, law in ((0, -1.0, (0.8, 0.1, 0.1)), (1, 1.0, (0.1, 0.2, 0.7))):
        place, kind = end["place"][component == k].flatten(), end["kind"][component == k].flatten()
        n = place.numel()
        assert abs(float(place.mean()) - mean) < 4 * 0.3 / math.sqrt(n) + bias
        assert abs(float(place.std()) - 0.3) < 4 * 0.3 / math.sqrt(2 * n) + bias
        found = torch.bincount(kind, minlength=4).double() / n
        assert found[3] == 0
        for p, q in zip(found.tolist(), law):
            assert abs(p - q) < 4 * math.sqrt(q * (1 - q) / n) + bias
        # given the component, place and kind are independent
        together = torch.corrcoef(torch.stack([place.double(), (kind == 0).double()]))[0, 1]
        assert abs(float(together)) < 4.5 / math.sqrt(n) + 2 * bias


def test_a_leaf_without_a_schedule_of_noise_levels_takes_part_in_no_grid_of_them() -> None:
    assert [leaf.order > 1 for leaf in JOINT.leaves.values()] == [True, False, False, False, False]
    assert repr(Product(a=Gaussian(Linear()))).startswith("Product(a=Gaussian(")
