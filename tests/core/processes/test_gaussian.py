"""Gaussian leaves: the kernel, its composition, the exact reverse step, masks, centres and pairs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langevin.core.posteriors import Point
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.schedules import VP, Linear
from tests.core.exact import SCHEDULES, TABLE, TERMINAL, assert_moments

every = pytest.mark.parametrize("name", SCHEDULES)
SPANS = ((0.2, 0.0), (0.6, 0.25), (1.0, 0.7), (1.0, 0.0))  # t, s
RNG = Stream.of(0, 3)


def data(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def belief(process: Gaussian, x: Tensor, x_t: Tensor, t: Any) -> Point:
    """The belief that is sure of ``x``."""
    return Point(torch.zeros_like(x), torch.zeros_like(x), x_t, t, process.schedule).with_x(x)


def affine(process: Gaussian, t: Any, rng: Stream, since: Any) -> tuple[Tensor, Tensor]:
    """(a, b) of ``corrupt``: x ↦ a x + b ε, read off from two states."""
    zero = torch.zeros(3, 4, 2, dtype=torch.float64)
    eps = process.noise(zero, rng.fold("noise"))
    start = process.corrupt(zero, t, rng, since)
    return process.corrupt(zero + 1, t, rng, since) - start, start / eps


@every
@pytest.mark.parametrize(("t", "s"), SPANS)
def test_two_corruptions_are_one(name: str, t: float, s: float) -> None:
    schedule = SCHEDULES[name]
    process = Gaussian(schedule)
    (first, noise_1), (second, noise_2) = affine(process, s, RNG, 0.0), affine(process, t, RNG, s)
    whole, noise = affine(process, t, RNG, 0.0)
    assert torch.allclose(first * second, whole, atol=1e-12)
    assert torch.allclose((second * noise_1) ** 2 + noise_2**2, noise**2, rtol=1e-9)
    alpha, sigma = schedule.at(t)
    assert torch.allclose(whole, torch.full_like(whole, alpha), atol=1e-12)
    assert torch.allclose(noise, torch.full_like(noise, sigma), rtol=1e-9)


def test_a_corruption_of_a_corruption_has_the_moments_of_one() -> None:
    process = Gaussian(TABLE)
    x = torch.full((40, 2000), 1.5, dtype=torch.float64)
    rng = Stream.of(1, 40)
    middle = process.corrupt(x, 0.3, rng.fold("a"))
    end = process.corrupt(middle, 0.6, rng.fold("b"), since=0.3)
    alpha, sigma = process.schedule.at(0.6)
    assert_moments(end, 1.5 * alpha, sigma)


@every
@pytest.mark.parametrize(("t", "s"), SPANS)
def test_an_ancestral_step_is_bayes_rule(name: str, t: float, s: float) -> None:
    schedule = SCHEDULES[name]
    process = Gaussian(schedule)
    x, x_t = data(3, 4, 2), data(3, 4, 2, seed=1)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
    # x_s ~ N(α_s x, σ_s²), x_t | x_s ~ N(r x_s, σ_t² − r² σ_s²)
    r = alpha_t / alpha_s
    mean = alpha_s * x + r * sigma_s**2 / sigma_t**2 * (x_t - alpha_t * x)
    std = sigma_s * math.sqrt(max(0.0, sigma_t**2 - (r * sigma_s) ** 2)) / sigma_t
    out = process.update(x_t, belief(process, x, x_t, t), t, s, RNG, eta=1.0)
    z = process.noise(x_t, RNG.fold("update"))
    assert torch.allclose(out, mean + std * z, atol=1e-9 * (1 + sigma_s))


def test_an_ancestral_step_over_a_table_is_ddpms() -> None:
    process = Gaussian(TABLE)
    x, x_t = data(3, 4, 2), data(3, 4, 2, seed=1)
    for k in (999, 500, 1):
        bar, before = TABLE.alphas_bar[k], TABLE.alphas_bar[k - 1]
        beta = 1 - bar / before
        # Ho et al., 2020, Eq. 7
        mean = math.sqrt(before) * beta / (1 - bar) * x + math.sqrt(1 - beta) * (1 - before) / (1 - bar) * x_t
        variance = (1 - before) / (1 - bar) * beta
        t, s = (k + 1) / 1000, k / 1000
        out = process.update(x_t, belief(process, x, x_t, t), t, s, RNG, eta=1.0)
        z = process.noise(x_t, RNG.fold("update"))
        assert torch.allclose(out, mean + math.sqrt(variance) * z, atol=1e-9)


@every
@given(st.floats(0, 3), st.floats(0.01, 1), st.floats(0, 0.999))
@settings(max_examples=25, deadline=None)
def test_any_eta_keeps_the_noise_level(name: str, eta: float, t: float, fraction: float) -> None:
    process, s = Gaussian(SCHEDULES[name]), t * fraction
    _, sigma_s = process.schedule.at(s)
    zero = torch.zeros(3, 4, 2, dtype=torch.float64)
    none, one = (Point(zero, zero + eps, zero, t, process.schedule) for eps in (0.0, 1.0))
    noise = process.update(zero, none, t, s, RNG, eta)
    kept = process.update(zero, one, t, s, RNG, eta) - noise
    fresh = noise / process.noise(zero, RNG.fold("update"))
    assert torch.allclose(kept**2 + fresh**2, torch.full_like(zero, sigma_s**2), rtol=1e-6, atol=1e-30)
    if eta == 0:
        assert not bool(fresh.any())


@every
def test_without_noise_a_step_is_ddims_and_ends_at_the_estimate(name: str) -> None:
    process = Gaussian(SCHEDULES[name])
    x, x_t = data(3, 4, 2), data(3, 4, 2, seed=1)
    q = belief(process, x, x_t, 0.6)
    alpha, sigma = process.schedule.at(0.3)
    assert torch.allclose(process.update(x_t, q, 0.6, 0.3, RNG), alpha * x + sigma * q.eps)
    assert torch.equal(process.update(x_t, q, 0.6, 0.0, RNG, eta=1.0), process.schedule.at(0.0)[0] * x)


@every
@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_times_by_sample_and_by_element_do_what_floats_do(name: str, eta: float) -> None:
    process = Gaussian(SCHEDULES[name])
    x, x_t = data(3, 4, 2), data(3, 4, 2, seed=1)
    t = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
    s = torch.tensor([0.6, 0.5, 0.0], dtype=torch.float64)
    estimate = Point(x, data(3, 4, 2, seed=2), x_t, t, process.schedule)
    by_row = process.update(x_t, estimate, t, s, RNG, eta)
    by_element = process.update(x_t, estimate, t[:, None].expand(3, 4), s[:, None].expand(3, 4), RNG, eta)
    corrupted = process.corrupt(x, t, RNG, since=s)
    for i in range(3):
        u, v = float(t[i]), float(s[i])
        alone = process.update(x_t, Point(x, estimate.eps, x_t, u, process.schedule), u, v, RNG, eta)[i]
        assert torch.allclose(by_row[i], alone, rtol=1e-6, atol=1e-9)
        assert torch.allclose(by_element[i], alone, rtol=1e-6, atol=1e-9)
        assert torch.allclose(corrupted[i], process.corrupt(x, u, RNG, since=v)[i], rtol=1e-6, atol=1e-9)
    # one clock a float, the other by sample; a mixture of clocks within a sample
    mixed = process.update(x_t, estimate, 1.0, s, RNG, eta)
    assert torch.allclose(mixed[0], by_row[0], rtol=1e-6, atol=1e-9)
    inner = torch.tensor([[1.0, 0.5, 0.5, 0.2]], dtype=torch.float64).expand(3, 4)
    outer = torch.tensor([[0.6, 0.5, 0.1, 0.0]], dtype=torch.float64).expand(3, 4)
    woven = process.update(x_t, estimate, inner, outer, RNG, eta)
    assert torch.allclose(woven[0, 0], by_row[0, 0], rtol=1e-6, atol=1e-9)
    assert torch.equal(woven[:, 1], x_t[:, 1])


MASK = torch.tensor([[True, True, True, False], [True, False, False, False], [True] * 4])


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("by_element", [False, True])
def test_padding_is_zero_and_without_influence(centred: bool, by_element: bool) -> None:
    process = Gaussian(VP(), centred=centred)
    t, s = (torch.full((3, 4), u, dtype=torch.float64) if by_element else u for u in (0.6, 0.3))
    x = data(3, 4, 2)
    x = process.centre(x, MASK) if centred else x
    garbage = torch.where(MASK[..., None], x, 1e6)
    outside = ~MASK
    prior = process.prior(x, RNG, MASK)
    noisy = [process.corrupt(each, t, RNG, mask=MASK) for each in (x, garbage)]
    later = [process.corrupt(each, t, RNG, since=s, mask=MASK) for each in (x, garbage)]
    moved = []
    for x_t in noisy:
        wild = torch.where(MASK[..., None], x, -1e6)
        q = Point(wild, torch.where(MASK[..., None], x_t, 1e6), x_t, t, process.schedule)
        moved += [process.update(x_t, q, t, s, RNG, eta=1.0, mask=MASK)]
    for first, second in (noisy, later, moved):
        assert torch.allclose(first, second)
    for out in (prior, *noisy, *later, *moved):
        assert not bool(out[outside].any())
    losses = [
        process.loss(Point(e, e, noisy[0], t, process.schedule), x, noisy[0], t, RNG, "v", MASK)
        for e in (x, garbage)
    ]
    assert losses[0].shape == (3,) and torch.allclose(*losses)


@pytest.mark.parametrize("centred", [False, True])
def test_padding_changes_no_number(centred: bool) -> None:
    process = Gaussian(Linear(), centred=centred)
    x = data(1, 3, 2)
    alone = process.corrupt(x, 0.5, Stream.of(0, [1]))
    wide = torch.zeros(3, 6, 2, dtype=torch.float64)
    wide[1, :3] = x[0]
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[0], mask[1, :3], mask[2, :1] = True, True, True
    together = process.corrupt(wide, 0.5, RNG, mask=mask)
    assert torch.allclose(together[1, :3], alone[0], atol=1e-15)
    if not centred:
        assert torch.equal(together[1, :3], alone[0])


def test_centred_noise_has_its_centre_at_the_origin_and_the_right_covariance() -> None:
    rows, length = 20000, 6
    mask = torch.arange(length) < torch.tensor([[2], [5]]).repeat(rows // 2, 1)
    process = Gaussian(Linear(), centred=True)
    noise = process.noise(torch.zeros(rows, length, 3, dtype=torch.float64), Stream.of(0, rows), mask)
    assert float(noise.sum(1).abs().max()) < 1e-12
    for start, count in ((0, 2), (1, 5)):
        some = noise[start::2, :count].movedim(2, 1).reshape(-1, count)
        found = some.T @ some / len(some)
        expected = torch.eye(count, dtype=torch.float64) - 1 / count
        assert float((found - expected).abs().max()) < 5 * math.sqrt(2 / len(some))


def test_every_state_of_a_centred_leaf_is_centred() -> None:
    process = Gaussian(VP(), centred=True)
    x = process.centre(data(3, 4, 2), MASK)
    x_t = process.corrupt(x, 0.7, RNG, mask=MASK)
    q = Point(data(3, 4, 2, seed=5), data(3, 4, 2, seed=6), x_t, 0.7, process.schedule)  # a belief off centre
    for out in (
        x_t,
        process.prior(x, RNG, MASK),
        process.update(x_t, q, 0.7, 0.4, RNG, mask=MASK),
        process.update(x_t, q, 0.7, 0.4, RNG, eta=1.0, mask=MASK),
        process.update(x_t, q, torch.full((3,), 0.7), 0.4, RNG, eta=1.0, mask=MASK),
        process.update(x_t, q, 0.7, 0.0, RNG, mask=MASK),
    ):
        assert float(out.sum(1).abs().max()) < 1e-12


def test_pairs_are_drawn_once_and_live_at_the_later_time() -> None:
    process = Gaussian(Linear(), pair=True)
    rows = 4000
    x = torch.zeros(rows, 4, 4, 2, dtype=torch.float64)
    noise = process.noise(x, Stream.of(0, rows))
    assert torch.equal(noise, noise.transpose(1, 2))
    for i, j in ((0, 0), (0, 3), (2, 1)):
        assert_moments(noise[:, i, j], 0.0, 1.0)
    clocks = torch.tensor([[0.1, 0.4, 0.9, 0.0]], dtype=torch.float64).expand(rows, 4)
    x_t = process.corrupt(x, clocks, Stream.of(0, rows))
    assert torch.equal(x_t, x_t.transpose(1, 2))
    expected = torch.maximum(clocks[0][:, None], clocks[0][None])
    assert torch.allclose(x_t.std(0)[..., 0], expected, rtol=0.07)
    mask = torch.tensor([True, True, False, True]).expand(rows, 4)
    filled = process.corrupt(x + 1, clocks, Stream.of(0, rows), mask=mask)
    assert not bool(filled[:, 2].any()) and not bool(filled[:, :, 2].any()) and bool(filled[:, 1, 3].all())


@every
def test_the_prior_has_the_noise_of_the_end(name: str) -> None:
    process = Gaussian(SCHEDULES[name])
    prior = process.prior(torch.empty(20, 1000), Stream.of(3, 20))
    assert prior.dtype == torch.float32
    assert_moments(prior, 0.0, process.schedule.at(1.0)[1])


@every
@pytest.mark.parametrize("kind", ["eps", "x", "v", "velocity", "edm"])
def test_the_loss_is_0_at_the_truth_and_least_there(name: str, kind: str) -> None:
    process = Gaussian(SCHEDULES[name], sigma_data=0.5)
    x = data(3, 4, 2)
    t = torch.tensor([0.9, 0.4, 0.1], dtype=torch.float64)
    x_t = process.corrupt(x, t, RNG)
    shift = torch.zeros_like(x, requires_grad=True)
    loss = process.loss(belief(process, x + shift, x_t, t), x, x_t, t, RNG, kind)
    assert loss.shape == (3,) and float(loss.detach().max()) < 1e-18
    (slope,) = torch.autograd.grad(loss.sum(), shift)
    assert float(slope.abs().max()) < 1e-6
    off = process.loss(belief(process, x + 0.1 * data(3, 4, 2, seed=3), x_t, t), x, x_t, t, RNG, kind)
    assert bool((off > 0).all())


@pytest.mark.parametrize("kind", ["eps", "x", "v", "velocity", "edm"])
@pytest.mark.parametrize("name", [n for n in SCHEDULES if n not in ("sigmoid", "vp", "zero-terminal")])
def test_the_loss_is_finite_at_both_ends(name: str, kind: str) -> None:
    process = Gaussian(SCHEDULES[name])
    x = data(3, 4, 2)
    t = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    x_t = process.corrupt(x, t, RNG)
    loss = process.loss(Point(0.9 * x, data(3, 4, 2, seed=1), x_t, t, process.schedule), x, x_t, t, RNG, kind)
    assert bool(loss.isfinite().all()) and bool((loss[2] > 0).all())


@pytest.mark.parametrize("name", TERMINAL)
@pytest.mark.parametrize("kind", ["x", "v", "edm"])
def test_targets_that_need_no_slope_are_finite_at_the_ends_of_every_schedule(name: str, kind: str) -> None:
    process = Gaussian(SCHEDULES[name])
    x = data(3, 4, 2)
    t = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float32)
    x_t = process.corrupt(x.float(), t, RNG)
    loss = process.loss(Point(0.9 * x_t, x_t, x_t, t, process.schedule), x.float(), x_t, t, RNG, kind)
    assert bool(loss.isfinite().all())


def test_the_loss_is_the_mean_over_real_elements() -> None:
    process = Gaussian(Linear())
    x, x_t, t = data(3, 4, 2), data(3, 4, 2, seed=1), 0.5
    error = data(3, 4, 2, seed=2)
    loss = process.loss(Point(x + error, x, x_t, t, process.schedule), x, x_t, t, RNG, "x", MASK)
    expected = torch.stack([(error[i][MASK[i]] ** 2).mean() for i in range(3)])
    assert torch.allclose(loss, expected)
