"""Parametrisations: an output determines x and ε wherever it can, and is refused by name where it cannot."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin.core import parametrisations
from langevin.core.posteriors import Point
from langevin.core.processes import Gaussian
from tests.core.exact import KINDS, SCHEDULES, TERMINAL

pairs = pytest.mark.parametrize(("kind", "name"), [(k, s) for k in KINDS for s in SCHEDULES])
INSIDE = (1e-4, 0.01, 0.3, 0.5, 0.9, 0.999)

# where the slope (α', σ') of the flow is infinite or 0
NO_VELOCITY = {("vp", 0.0), ("zero-terminal", 0.0), ("edm", 0.0), ("sigmoid", 0.0), ("sigmoid", 1.0)}


def says_something(kind: str, name: str, t: float) -> bool:
    """Whether an output of this kind determines both x and ε."""
    alpha, sigma = SCHEDULES[name].at(t)
    if kind == "velocity":
        return (name, t) not in NO_VELOCITY
    return not (kind in ("eps", "score") and alpha == 0) and not (kind in ("x", "score") and sigma == 0)


def truth(name: str, t: float, rows: int = 5) -> tuple[Gaussian, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A process, clean data, noise and the noisy state, (B, 4, 3)."""
    generator = torch.Generator().manual_seed(0)
    x, eps = torch.randn(2, rows, 4, 3, generator=generator, dtype=torch.float64)
    process = Gaussian(SCHEDULES[name], sigma_data=0.5)
    alpha, sigma = process.schedule.at(t)
    return process, x, eps, alpha * x + sigma * eps


@pairs
@pytest.mark.parametrize("t", [0.0, *INSIDE, 1.0])
def test_the_output_of_the_truth_gives_the_truth_back_or_is_refused(kind: str, name: str, t: float) -> None:
    process, x, eps, x_t = truth(name, t)
    if not says_something(kind, name, t):
        with pytest.raises(ValueError, match=f"{kind!r} says nothing .*at t = {t:g}.*'v'"):
            process.posterior(torch.zeros_like(x), x_t, t, kind)
        return
    c, d = parametrisations.row(kind, process.schedule, t, x_t, 0.5)
    belief = process.posterior(c * x + d * eps, x_t, t, kind)
    alpha, sigma = process.schedule.at(t)
    # ε is told to within what x says about it, at α : σ
    assert torch.allclose(belief.x, x, rtol=1e-9, atol=1e-11 * (1 + sigma / max(alpha, 1e-3)))
    assert torch.allclose(belief.eps, eps, rtol=1e-9, atol=1e-11 * (1 + alpha / max(sigma, 1e-16)))
    assert torch.allclose(alpha * belief.x + sigma * belief.eps, x_t, rtol=1e-9, atol=1e-12)


@pairs
def test_times_as_tensors_agree_with_times_as_floats(kind: str, name: str) -> None:
    process, x, eps, x_t = truth(name, 0.5, rows=len(INSIDE))
    times = torch.tensor(INSIDE, dtype=torch.float64)
    alpha, sigma = process.schedule(times[:, None, None])
    x_t = alpha * x + sigma * eps
    output = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    per_row = process.posterior(output, x_t, times, kind)
    per_element = process.posterior(output, x_t, times[:, None].expand(-1, 4), kind)
    for i, t in enumerate(INSIDE):
        alone = process.posterior(output[i : i + 1], x_t[i : i + 1], t, kind)
        common = process.posterior(output[i : i + 1], x_t[i : i + 1], times[i], kind)
        for belief in (per_row, per_element):
            assert torch.allclose(belief.x[i], alone.x[0], rtol=1e-9)
            assert torch.allclose(belief.eps[i], alone.eps[0], rtol=1e-9)
        assert torch.allclose(common.x, alone.x, rtol=1e-9) and torch.allclose(
            common.eps, alone.eps, rtol=1e-9
        )
        for attribute in ("v", "velocity", "score"):
            mine, theirs = getattr(per_row, attribute)[i], getattr(alone, attribute)[0]
            assert torch.allclose(mine, theirs, rtol=1e-9), attribute


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_formulas_as_published(name: str) -> None:
    t = 0.3704
    process, x, eps, x_t = truth(name, t)
    schedule = process.schedule
    alpha, sigma = schedule.at(t)
    point = Point(x, eps, x_t, t, schedule)
    assert torch.allclose(point.v, alpha * eps - sigma * x)
    # Salimans & Ho: x̂ = α x_t − σ v, where α² + σ² = 1
    if name not in ("linear", "shifted", "ve", "edm"):
        assert torch.allclose(alpha * x_t - sigma * point.v, x)
    if name == "linear":
        assert torch.allclose(point.velocity, eps - x)
    # the velocity is the derivative of the path α x + σ ε
    h = 1e-6
    (a, b), (c, d) = schedule.at(t + h), schedule.at(t - h)
    assert torch.allclose(point.velocity, ((a - c) * x + (b - d) * eps) / (2 * h), rtol=1e-4, atol=1e-5)
    assert torch.allclose(point.score, -(x_t - alpha * x) / sigma**2)


@given(st.floats(0.05, 3), st.floats(1e-3, 80))
@settings(max_examples=30, deadline=None)
def test_edm_is_karras_preconditioning_at_alpha_1(sigma_data: float, sigma: float) -> None:
    schedule = SCHEDULES["edm"]
    t = float(schedule.time(torch.tensor(-2 * math.log(sigma), dtype=torch.float64)))
    x, eps = torch.randn(2, 6, dtype=torch.float64)
    x_t = x + sigma * eps
    total = sigma**2 + sigma_data**2
    c_skip, c_out = sigma_data**2 / total, sigma * sigma_data / math.sqrt(total)  # Karras et al., Table 1
    output = (x - c_skip * x_t) / c_out
    belief = Gaussian(schedule, sigma_data=sigma_data).posterior(output, x_t, t, "edm")
    assert torch.allclose(belief.x, x, rtol=1e-6, atol=1e-6)
    # and its target has unit variance for data of variance sigma_data²
    c, d = parametrisations.row("edm", schedule, t, x, sigma_data)
    assert (c * sigma_data) ** 2 + d**2 == pytest.approx(1, rel=1e-9)


@pairs
def test_a_residual_is_any_other_times_the_ratio_of_determinants(kind: str, name: str) -> None:
    t = 0.42
    process, x, eps, x_t = truth(name, t)
    alpha, sigma = process.schedule.at(t)
    wrong = x + 0.1 * torch.randn_like(x)
    eps_hat = (x_t - alpha * wrong) / sigma
    c, d = parametrisations.row(kind, process.schedule, t, x, 0.5)
    residual = c * (wrong - x) + d * (eps_hat - eps)
    ratio = parametrisations.determinant(kind, process.schedule, t, x, 0.5)
    ratio = ratio / parametrisations.determinant("x", process.schedule, t, x, 0.5)
    assert torch.allclose(residual, ratio * (wrong - x), rtol=1e-9)


@pytest.mark.parametrize("name", [*TERMINAL])
def test_the_refusal_at_pure_noise_names_what_works(name: str) -> None:
    process, x, eps, x_t = truth(name, 1.0)
    with pytest.raises(
        ValueError, match=r"'eps' says nothing about x at t = 1, where alpha = 0; train with 'v'"
    ):
        process.posterior(eps, x_t, 1.0, "eps")
    v = process.posterior(-x, x_t, 1.0, "v")  # v = α ε − σ x
    assert torch.allclose(v.x, x) and torch.allclose(v.eps, x_t)


def test_the_row_of_a_score_at_data_is_infinite_and_refused() -> None:
    process, _, _, x_t = truth("vp", 0.0)
    assert parametrisations.row("score", process.schedule, 0.0, x_t) == (0.0, -math.inf)
    with pytest.raises(ValueError, match="'score' says nothing about the noise at t = 0"):
        process.posterior(x_t, x_t, 0.0, "score")


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    process, x, _, x_t = truth("linear", 0.5)
    with pytest.raises(ValueError, match="unknown parametrisation 'epsilon'.*eps"):
        process.posterior(x, x_t, 0.5, "epsilon")
    with pytest.raises(ValueError, match="did you mean 'velocity'"):
        parametrisations.check("velocty")


def test_output_in_half_precision_is_read_in_the_precision_of_the_state() -> None:
    process, x, eps, x_t = truth("linear", 0.5)
    belief = process.posterior((eps - x).bfloat16(), x_t, 0.5, "velocity")
    assert belief.x.dtype == belief.eps.dtype == torch.float64
    assert torch.allclose(belief.x, x, atol=0.05)
