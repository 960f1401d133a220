"""Beliefs: combining keeps what is known about x_t, whatever the leaf; editing x re-derives ε."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langevin.core.posteriors import Categorical, Point, Tangent, combine, leafwise, project
from langevin.core.schedules import Linear
from tests.core.exact import SCHEDULES

weights = st.lists(st.floats(-4, 4), min_size=0, max_size=4).map(lambda w: [*w, 1 - sum(w)])
times = st.one_of(
    st.floats(1e-6, 1),
    st.just(0.0),
    st.just(1.0),
    st.lists(st.floats(1e-6, 1), min_size=3, max_size=3).map(lambda t: torch.tensor(t, dtype=torch.float64)),
    st.lists(st.sampled_from([0.0, 1e-6, 0.2, 0.7, 1.0]), min_size=12, max_size=12).map(
        lambda t: torch.tensor(t, dtype=torch.float64).view(3, 4)
    ),
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scale(t: Any, name: str) -> tuple[Any, Any]:
    """(α, σ) that multiply (3, 4, 2)."""
    alpha, sigma = SCHEDULES[name](torch.as_tensor(t, dtype=torch.float64))
    return tuple(c.reshape(c.shape + (1,) * (3 - c.ndim)) if c.ndim else c for c in (alpha, sigma))  # type: ignore[return-value]


def beliefs(x_t: Tensor, t: Any, name: str, count: int) -> list[Point]:
    """Beliefs about one x_t with α x + σ ε = x_t."""
    alpha, sigma = scale(t, name)
    # one of x and ε is free where the other has a factor: rotate (x, ε) along the line through x_t
    norm = alpha**2 + sigma**2
    out = []
    for k in range(count):
        free = draw(3, 4, 2, seed=k + 1)
        out.append(
            Point(
                (alpha * x_t - sigma * free) / norm,
                (sigma * x_t + alpha * free) / norm,
                x_t,
                t,
                SCHEDULES[name],
            )
        )
    return out


@given(times, weights, st.sampled_from(sorted(SCHEDULES)))
@settings(max_examples=80, deadline=None)
def test_what_is_known_of_x_t_survives_any_combination(t: Any, w: list[float], name: str) -> None:
    x_t = draw(3, 4, 2)
    parts = beliefs(x_t, t, name, len(w))
    alpha, sigma = scale(t, name)
    mixed = combine(w, parts)
    assert isinstance(mixed, Point) and mixed.x_t is x_t
    assert torch.allclose(alpha * mixed.x + sigma * mixed.eps, x_t, atol=1e-6 * float(sigma.max()))
    # linear in every parametrisation
    for attribute in ("x", "eps", "v"):
        expected = sum(wi * getattr(p, attribute) for wi, p in zip(w, parts))
        assert torch.allclose(getattr(mixed, attribute), expected, atol=1e-6 * float(1 + sigma.max()))


@given(times, st.sampled_from(sorted(SCHEDULES)), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_an_edited_estimate_still_explains_x_t(t: Any, name: str, seed: int) -> None:
    x_t = draw(3, 4, 2)
    (belief,) = beliefs(x_t, t, name, 1)
    alpha, sigma = scale(t, name)
    new = draw(3, 4, 2, seed=seed)
    edited = belief.with_x(new)
    assert torch.equal(edited.x, new)
    told = (sigma > 0).expand_as(new)
    explained = alpha * edited.x + sigma * edited.eps
    assert torch.allclose(explained[told], x_t[told], rtol=1e-6, atol=1e-9)
    # where there is no noise, x_t is the data and ε is left as it is
    assert torch.equal(edited.eps[~told], belief.eps[~told])
    assert bool(edited.eps.isfinite().all())


def test_editing_nothing_changes_nothing() -> None:
    x_t = draw(3, 4, 2)
    (belief,) = beliefs(x_t, 0.4, "cosine", 1)
    same = project(belief, lambda x: x)
    assert isinstance(same, Point)
    assert torch.equal(same.x, belief.x) and torch.allclose(same.eps, belief.eps, atol=1e-12)
    twice = project(project(belief, lambda x: x.clamp(-1, 1)), lambda x: x.clamp(-1, 1))
    once = project(belief, lambda x: x.clamp(-1, 1))
    assert torch.equal(twice.x, once.x) and torch.allclose(twice.eps, once.eps)  # type: ignore[union-attr]


@given(weights)
@settings(max_examples=50, deadline=None)
def test_categoricals_combine_as_tempered_products(w: list[float]) -> None:
    logits = [draw(2, 3, 5, seed=k) + 10 * k for k in range(len(w))]
    mixed = combine(w, [Categorical(each) for each in logits])
    expected = torch.ones(2, 3, 5, dtype=torch.float64)
    for wi, each in zip(w, logits):
        expected = expected * each.softmax(-1) ** wi
    expected = expected / expected.sum(-1, keepdim=True)
    assert isinstance(mixed, Categorical)
    assert torch.allclose(mixed.probabilities, expected, atol=1e-9)


@given(weights, st.data())
@settings(max_examples=50, deadline=None)
def test_a_class_that_any_belief_rules_out_stays_ruled_out(w: list[float], data: st.DataObject) -> None:
    barred = data.draw(st.lists(st.lists(st.integers(1, 4), max_size=2), min_size=len(w), max_size=len(w)))
    parts = []
    for k, out in enumerate(barred):
        logits = draw(2, 5, seed=k)
        logits[:, out] = -torch.inf
        parts.append(Categorical(logits))
    p = combine(w, parts).probabilities  # type: ignore[union-attr]
    gone = sorted({c for weight, out in zip(w, barred) if weight for c in out})
    assert bool(p.isfinite().all()) and bool((p[:, gone] == 0).all())
    assert torch.allclose(p.sum(-1), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("w", "winner"), [((-2.0, 3.0), 1), ((0.7, 0.3), 0), ((0.5, 0.5), 0), ((-1.0, 0.5, 1.5), 2)]
)
def test_where_beliefs_share_no_class_the_heaviest_stands(w: tuple[float, ...], winner: int) -> None:
    """Element 0 has disjoint supports; element 1 shares class 2, and is combined as ever."""
    inf = torch.inf
    first, second = (
        ([0.3, 0.1, -inf, -inf], [0.2, -inf, 0.5, 1.0]),
        ([-inf, -inf, 0.4, 0.9], [-inf, 0.1, 0.7, -inf]),
    )
    parts = [Categorical(torch.tensor(rows, dtype=torch.float64)) for rows in (first, second, first)][
        : len(w)
    ]
    mixed = combine(w, parts)
    assert isinstance(mixed, Categorical)
    torch.testing.assert_close(mixed.probabilities[0], parts[winner].probabilities[0])
    assert mixed.probabilities[1].tolist() == [0, 0, 1, 0]


def test_a_belief_without_weight_rules_nothing_out() -> None:
    sure = Categorical(torch.tensor([[0.0, -torch.inf, -torch.inf]]))
    open_ = Categorical(torch.tensor([[0.1, 0.2, 0.3]]))
    mixed = combine([1.0, 0.0], [open_, sure])
    assert isinstance(mixed, Categorical)
    torch.testing.assert_close(mixed.probabilities, open_.probabilities)


@given(weights)
@settings(max_examples=20, deadline=None)
def test_tangents_add(w: list[float]) -> None:
    x_t = torch.eye(3).expand(2, 4, 3, 3)
    vectors = [draw(2, 4, 3, seed=k) for k in range(len(w))]
    mixed = combine(w, [Tangent(v, x_t) for v in vectors])
    assert isinstance(mixed, Tangent) and mixed.x_t is x_t
    assert torch.allclose(mixed.vector, sum(wi * v for wi, v in zip(w, vectors)), atol=1e-9)  # type: ignore[arg-type]


def test_weight_1_on_one_belief_is_that_belief() -> None:
    x_t = draw(3, 4, 2)
    parts = beliefs(x_t, 0.3, "vp", 2)
    off = combine([0.0, 1.0], parts)
    assert torch.equal(off.x, parts[1].x) and torch.equal(off.eps, parts[1].eps)  # type: ignore[union-attr]


def test_products_combine_leaf_by_leaf() -> None:
    x_t = draw(3, 4, 2)
    points = beliefs(x_t, 0.3, "vp", 2)
    classes = [Categorical(draw(3, 4, 5, seed=k)) for k in range(2)]
    joint = combine([-1.5, 2.5], [{"a": p, "b": c} for p, c in zip(points, classes)])
    assert isinstance(joint, dict)
    assert torch.equal(joint["a"].x, combine([-1.5, 2.5], points).x)  # type: ignore[union-attr]
    assert torch.equal(joint["b"].logits, combine([-1.5, 2.5], classes).logits)  # type: ignore[union-attr]
    # project edits points only; leafwise is told the names
    edited = project(joint, torch.zeros_like)
    assert isinstance(edited, dict)
    assert not bool(edited["a"].x.any()) and edited["b"] is joint["b"]  # type: ignore[union-attr]
    names: list[str] = []
    leafwise(joint, lambda name, leaf: names.append(name) or leaf)  # type: ignore[func-returns-value]
    leafwise(points[0], lambda name, leaf: names.append(name) or leaf)  # type: ignore[func-returns-value]
    assert names == ["a", "b", ""]


def test_wrong_combinations_are_refused() -> None:
    x_t = draw(3, 4, 2)
    (point,) = beliefs(x_t, 0.3, "vp", 1)
    for w, parts in (([], []), ([1.0], [point, point]), ([0.5, 0.5], [point])):
        with pytest.raises(ValueError, match="one weight for each posterior"):
            combine(w, parts)
    with pytest.raises(TypeError, match=r"different kinds: \['Point', 'Categorical'\]"):
        combine([0.5, 0.5], [point, Categorical(x_t)])


def test_times_that_do_not_fit_a_state_are_refused() -> None:
    x_t = draw(3, 4, 2)
    for shape in ((2,), (3, 5), (3, 4, 2, 1)):
        with pytest.raises(ValueError, match="do not fit a state of shape"):
            Point(x_t, x_t, x_t, torch.zeros(shape), Linear()).v  # noqa: B018
