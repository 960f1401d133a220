"""Discrete leaves: the chance of being unchanged is α, and the reverse step is exact at any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core.posteriors import Categorical
from langevin.core.processes import Discrete
from langevin.core.rng import Stream
from langevin.core.schedules import VP, Cosine, Linear
from tests.core.exact import assert_frequencies

KINDS = ("masked", "uniform")
both = pytest.mark.parametrize("kind", KINDS)
P = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
ROWS, LENGTH = 200, 250


def leaf(kind: str, **settings: Any) -> Discrete:
    return Discrete(4, kind=kind, **settings)


def data(rows: int = ROWS, length: int = LENGTH, seed: int = 9) -> Tensor:
    """Independent classes of law P."""
    u = Stream.of(seed, rows).uniform((rows, length), torch.float64)
    return (u[..., None] >= P.cumsum(0)).sum(-1)


def kernel(process: Discrete, kept: float) -> Tensor:
    """q(x_t | x), (classes, tokens), for the probability ``kept`` of being unchanged."""
    k = process.classes
    if process.kind == "uniform":
        return kept * torch.eye(k, dtype=torch.float64) + (1 - kept) / k
    return torch.cat([kept * torch.eye(k), torch.full((k, 1), 1 - kept)], 1).double()


def exact(process: Discrete, x_t: Tensor, t: float) -> Categorical:
    """The belief about independent classes of law P."""
    joint = P[:, None] * kernel(process, process.schedule.at(t)[0])  # (classes, tokens)
    return Categorical((joint / joint.sum(0)).T[x_t].log())


@both
@pytest.mark.parametrize("schedule", [Linear(), Cosine(), VP()], ids=repr)
@pytest.mark.parametrize("t", [0.0, 0.2, 0.7, 1.0])
def test_a_class_is_unchanged_with_probability_alpha(kind: str, schedule: Any, t: float) -> None:
    process = leaf(kind, schedule=schedule)
    for start in (0, 2):
        x = torch.full((ROWS, LENGTH), start)
        x_t = process.corrupt(x, t, Stream.of(start, ROWS))
        assert x_t.dtype == torch.int64
        assert_frequencies(x_t, kernel(process, schedule.at(t)[0])[start])


@both
def test_two_corruptions_are_one(kind: str) -> None:
    process, rng = leaf(kind), Stream.of(0, ROWS)
    x = torch.full((ROWS, LENGTH), 1)
    middle = process.corrupt(x, 0.3, rng.fold("a"))
    assert_frequencies(process.corrupt(middle, 0.8, rng.fold("b"), since=0.3), kernel(process, 0.2)[1])
    # the step on its own, from a known state: kept with probability α_t / α_s
    step = process.corrupt(x, 0.8, rng.fold("c"), since=0.3)
    assert_frequencies(step, kernel(process, 0.2 / 0.7)[1])


@both
def test_changes_of_neighbours_are_independent(kind: str) -> None:
    process = leaf(kind)
    x = data()
    changed = (process.corrupt(x, 0.5, Stream.of(0, ROWS)) != x).double()
    centred = changed - changed.mean()
    assert abs(float((centred[:, 1:] * centred[:, :-1]).mean() / centred.var())) * math.sqrt(x.numel()) < 4.5
    assert abs(float((centred[1:] * centred[:-1]).mean() / centred.var())) * math.sqrt(x.numel()) < 4.5


@both
@pytest.mark.parametrize(("t", "s"), [(0.9, 0.4), (0.5, 0.45), (0.6, 0.0), (1.0, 0.5)])
def test_a_reverse_step_is_bayes_rule(kind: str, t: float, s: float) -> None:
    process = leaf(kind)
    (alpha_t, _), (alpha_s, _) = process.schedule.at(t), process.schedule.at(s)
    q_s, q_t = kernel(process, alpha_s), kernel(process, alpha_t)
    step = kernel(process, alpha_t / alpha_s)
    if kind == "masked":
        step = torch.cat([step, torch.tensor([[0.0, 0, 0, 0, 1]]).double()])  # a mask stays one
    believed = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    for token in range(process.tokens) if kind == "uniform" else (4,):
        # q(x_s | x_t, x) = q(x_s | x) q(x_t | x_s) / q(x_t | x), averaged over the belief
        each = q_s * step[:, token] / q_t[:, token : token + 1]  # (classes, tokens)
        x_t = torch.full((ROWS, LENGTH), token)
        logits = believed.log().expand(ROWS, LENGTH, 4)
        drawn = process.update(x_t, Categorical(logits), t, s, Stream.of(token, ROWS))
        assert_frequencies(drawn, believed @ each)


def test_an_unmasked_class_stays_whatever_is_believed() -> None:
    process, x_t = leaf("masked"), data()
    logits = torch.randn(ROWS, LENGTH, 4, generator=torch.Generator().manual_seed(0))
    for s in (0.3, 0.0):
        assert torch.equal(process.update(x_t, Categorical(logits), 0.7, s, Stream.of(0, ROWS)), x_t)


@both
@pytest.mark.parametrize("steps", [1, 3, 20])
@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=repr)
def test_an_exact_belief_recovers_the_data_in_any_number_of_steps(
    kind: str, steps: int, schedule: Any
) -> None:
    process, rng = leaf(kind, schedule=schedule), Stream.of(1, ROWS)
    x = process.prior(data(), rng)
    assert_frequencies(x, [0, 0, 0, 0, 1] if kind == "masked" else [0.25] * 4)
    for i in range(steps):
        t, s = 1 - i / steps, 1 - (i + 1) / steps
        x = process.update(x, exact(process, x, t), t, s, rng.fold(i))
        mixed = P @ kernel(process, schedule.at(s)[0])
        assert_frequencies(x, mixed)  # every marginal on the way, and the data at its end
    assert int(x.max()) < 4


@both
def test_a_rising_move_is_a_corruption(kind: str) -> None:
    process = leaf(kind)
    x = torch.full((ROWS, LENGTH), 2)
    out = process.update(x, Categorical(torch.zeros(ROWS, LENGTH, 4)), 0.2, 0.7, Stream.of(0, ROWS))
    assert_frequencies(out, kernel(process, 0.3 / 0.8)[2])


@both
def test_a_class_that_is_ruled_out_is_never_drawn(kind: str) -> None:
    process = leaf(kind)
    logits = torch.tensor([-math.inf, 0.0, -math.inf, -5.0]).expand(ROWS, LENGTH, 4)
    x_t = process.prior(data(), Stream.of(0, ROWS))
    drawn = process.update(x_t, Categorical(logits), 1.0, 0.0, Stream.of(0, ROWS))
    assert set(drawn.unique().tolist()) == {1, 3}


@both
def test_times_by_sample_and_by_element_do_what_floats_do(kind: str) -> None:
    process, rng = leaf(kind), Stream.of(0, 3)
    x = data(3, 40)
    t, s = torch.tensor([1.0, 0.5, 0.2]), torch.tensor([0.6, 0.5, 0.0])
    x_t = process.corrupt(x, t, rng)
    belief = Categorical(torch.randn(3, 40, 4, generator=torch.Generator().manual_seed(0)))
    by_row = process.update(x_t, belief, t, s, rng)
    by_element = process.update(x_t, belief, t[:, None].expand(3, 40), s[:, None].expand(3, 40), rng)
    for i in range(3):
        u, v = float(t[i]), float(s[i])
        assert torch.equal(x_t[i], process.corrupt(x, u, rng)[i])
        assert torch.equal(by_row[i], process.update(x_t, belief, u, v, rng)[i])
    assert torch.equal(by_row, by_element)
    woven = torch.tensor([1.0, 0.0]).repeat(20).expand(3, 40)
    hidden = process.corrupt(x, woven, rng)
    assert torch.equal(hidden[:, 1::2], x[:, 1::2])
    if kind == "masked":
        assert bool((hidden[:, ::2] == 4).all())


@both
def test_padding_is_0_and_without_influence(kind: str) -> None:
    process, rng = leaf(kind), Stream.of(0, 2)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    x = data(2, 3)
    wild = torch.where(mask, x, 3)
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    states = [process.prior(x, rng, mask)]
    for each in (x, wild):
        states += [
            process.corrupt(each, 0.5, rng, mask=mask),
            process.corrupt(each, 0.9, rng, since=0.5, mask=mask),
        ]
        states.append(
            process.update(
                process.corrupt(each, 0.5, rng, mask=mask), Categorical(logits), 0.5, 0.2, rng, mask=mask
            )
        )
    assert all(not bool(state[~mask].any()) for state in states)
    assert all(torch.equal(a, b) for a, b in zip(states[1:4], states[4:]))
    losses = [process.loss(Categorical(logits), each, states[1], 0.5, rng, mask=mask) for each in (x, wild)]
    assert torch.equal(*losses)


@both
def test_pairs_are_symmetric_and_drawn_once(kind: str) -> None:
    process, rng = leaf(kind, pair=True), Stream.of(0, 400)
    classes = data(400, 400).view(400, 20, 20)
    x = classes.triu() + classes.triu(1).transpose(1, 2)
    clocks = torch.linspace(0, 0.8, 20).expand(400, 20)
    logits = torch.randn(400, 20, 20, 4, generator=torch.Generator().manual_seed(0))
    belief = process.posterior(logits, x, 0.5)
    assert torch.equal(belief.logits, belief.logits.transpose(1, 2))
    for state in (
        process.prior(x, rng),
        process.corrupt(x, 0.5, rng),
        process.corrupt(x, clocks, rng),
        process.update(process.corrupt(x, 0.5, rng), belief, 0.5, 0.2, rng),
        process.update(process.corrupt(x, clocks, rng), belief, clocks, clocks / 2, rng),
    ):
        assert torch.equal(state, state.transpose(1, 2))
    # a pair takes the later of its two clocks
    changed = (process.corrupt(x, clocks, rng) != x).double().mean(0)
    expected = torch.maximum(clocks[0][:, None], clocks[0][None]) * (1 if kind == "masked" else 0.75)
    assert float((changed - expected).abs().max()) < 5 * math.sqrt(0.25 / 400)
    # a pair is real where both its elements are
    mask = (torch.arange(20) < 12).expand(400, 20)
    filled = process.prior(x, rng, mask)
    assert not bool(filled[:, 12:].any()) and not bool(filled[:, :, 12:].any())


@both
def test_the_loss_is_least_at_the_exact_belief(kind: str) -> None:
    process, rng, t = leaf(kind), Stream.of(0, ROWS), 0.6
    x = data()
    x_t = process.corrupt(x, t, rng)
    right = exact(process, x_t, t)
    best = float(process.loss(right, x, x_t, t, rng).mean())
    for seed in range(4):
        shift = 0.3 * torch.randn(4, generator=torch.Generator().manual_seed(seed))
        assert float(process.loss(Categorical(right.logits + shift), x, x_t, t, rng).mean()) > best
    sure = Categorical(torch.nn.functional.one_hot(x, 4).double().log())
    assert bool((process.loss(sure, x, x_t, t, rng) == 0).all())


def test_only_hidden_classes_count_in_the_masked_loss() -> None:
    process, rng = leaf("masked"), Stream.of(0, 2)
    x = torch.tensor([[0, 1, 2], [3, 3, 3]])
    x_t = torch.tensor([[4, 1, 4], [3, 3, 3]])
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    cross = -logits.log_softmax(-1)
    loss = process.loss(Categorical(logits), x, x_t, 0.5, rng)
    assert torch.allclose(loss, torch.stack([(cross[0, 0, 0] + cross[0, 2, 2]) / 2, torch.zeros(())]))


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=repr)
def test_the_elbo_of_the_exact_belief_is_the_entropy(schedule: Any) -> None:
    process = leaf("masked", schedule=schedule)
    rows = 4000
    rng, x = Stream.of(0, rows), data(rows, 64)
    t = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
    x_t = process.corrupt(x, t, rng)
    logits = torch.where(
        (x_t == 4)[..., None], P.log(), torch.nn.functional.one_hot(x_t, 5)[..., :4].double().log()
    )
    each = process.loss(Categorical(logits), x, x_t, t, rng, "elbo")
    entropy = -float((P * P.log()).sum())
    assert abs(float(each.mean()) - entropy) < 4 * float(each.std()) / math.sqrt(rows)
    # at t = 0 and t = 1 it is finite
    two, t = Stream.of(0, 2), torch.tensor([0.0, 1.0])
    ends = process.loss(Categorical(logits[:2]), x[:2], process.corrupt(x[:2], t, two), t, two, "elbo")
    assert bool(ends.isfinite().all())


def test_wrong_settings_and_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        Discrete(1)
    with pytest.raises(ValueError, match="unknown kind of Discrete 'mask'; did you mean 'masked'"):
        Discrete(4, kind="mask")
    process, x = leaf("masked"), data(2, 3)
    with pytest.raises(ValueError, match=r"need 4 classes, got shape \(2, 3, 5\)"):
        process.posterior(torch.zeros(2, 3, 5), x, 0.5)
    wrong: Sequence[tuple[str, str]] = [("masked", "x"), ("uniform", "elbo")]
    for kind, loss in wrong:
        with pytest.raises(
            ValueError, match=f"has the losses 'cross-entropy' and, masked, 'elbo'; got {loss!r}"
        ):
            leaf(kind).loss(Categorical(torch.zeros(2, 3, 4)), x, x, 0.5, Stream.of(0, 2), loss)


def test_half_precision_logits_are_raised_to_float32() -> None:
    assert (
        leaf("masked").posterior(torch.zeros(2, 3, 4, dtype=torch.bfloat16), data(2, 3), 0.5).logits.dtype
        == torch.float32
    )
