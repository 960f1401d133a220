"""Schedules: exact ends, an inverse in the log-SNR, and the published formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langevin import optional
from langevin.core.schedules import (
    EDM,
    VE,
    VP,
    Cosine,
    Linear,
    Schedule,
    Shifted,
    Sigmoid,
    Tabulated,
    ZeroTerminal,
)
from tests.core.exact import SCHEDULES, TABLE, TERMINAL

every = pytest.mark.parametrize("name", SCHEDULES)
precise = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
TIMES = torch.linspace(0, 1, 401, dtype=torch.float64)

# a table with a last entry of 0, too: its last interval is read in another way
ENDING = Tabulated([*(1 - k / 51 for k in range(1, 51)), 0.0])
ALL: dict[str, Schedule] = {**SCHEDULES, "ending-table": ENDING, "zero-table": ZeroTerminal(TABLE)}
all_of_them = pytest.mark.parametrize("name", ALL)


@all_of_them
@precise
def test_the_ends_are_exact(name: str, dtype: torch.dtype) -> None:
    schedule = ALL[name]
    alpha, sigma = schedule(torch.tensor([0.0, 1.0], dtype=dtype))
    assert sigma[0] == 0 and abs(float(alpha[0]) - 1) < 1e-7
    assert schedule.log_snr(torch.zeros((), dtype=dtype)) == math.inf
    if name in (*TERMINAL, "ending-table", "zero-table"):
        assert alpha[1] == 0 and not bool(alpha[1].signbit()) and abs(float(sigma[1]) - 1) < 1e-7
        assert schedule.log_snr(torch.ones((), dtype=dtype)) == -math.inf
        assert schedule.time(torch.tensor(-math.inf, dtype=dtype)) == pytest.approx(1, abs=1e-6)
    else:
        assert alpha[1] > 0
    assert schedule.time(torch.tensor(math.inf, dtype=dtype)) == 0


@all_of_them
def test_signal_falls_and_noise_rises(name: str) -> None:
    alpha, sigma = ALL[name](TIMES)
    log_snr = ALL[name].log_snr(TIMES)
    assert bool((alpha.diff() <= 0).all()) and bool((sigma.diff() > 0).all())
    assert bool((log_snr[1:-1].diff() < 0).all())


@all_of_them
@precise
def test_the_log_snr_of_the_time_of_a_log_snr_is_that_log_snr(name: str, dtype: torch.dtype) -> None:
    schedule = ALL[name]
    lowest = float(schedule.log_snr(torch.ones((), dtype=torch.float64)))
    log_snr = torch.linspace(max(-30.0, lowest + 1e-3), 40, 281, dtype=dtype)
    t = schedule.time(log_snr)
    back = schedule.log_snr(t)
    # what a few roundings of t itself do to λ: near t = 1 times are far apart
    eps, u = torch.finfo(dtype).eps, t.double()
    spread = schedule.log_snr(u * (1 - 8 * eps)) - schedule.log_snr((u * (1 + 8 * eps)).clamp(max=1))
    allowed = 8 * eps * (log_snr.abs() + 4) + spread.nan_to_num(nan=0.0, posinf=math.inf)
    reached = (t > 0) & (t < 1)  # a power of λ may underflow
    assert bool(reached.any()) and float(log_snr[reached].max()) >= 39
    assert bool(((back - log_snr).abs() <= allowed)[reached].all()), ((back - log_snr).abs() / allowed)[
        reached
    ].max()


@all_of_them
def test_the_time_of_the_log_snr_of_a_time_is_that_time(name: str) -> None:
    inside = TIMES[1:-1]
    back = ALL[name].time(ALL[name].log_snr(inside))
    assert torch.allclose(back, inside, rtol=1e-9, atol=1e-12)


@every
def test_float32_is_float64_rounded(name: str) -> None:
    for t in (TIMES, TIMES**6, 1 - TIMES**6):
        t = t.float()
        for low, high in zip(SCHEDULES[name](t), SCHEDULES[name](t.double())):
            # down to ratios of 1e-7; below them a stretched table has lost its digits
            assert torch.allclose(low.double(), high, rtol=2e-5, atol=1e-8)


@every
def test_floats_and_tensors_of_any_shape_agree(name: str) -> None:
    schedule = SCHEDULES[name]
    grid = TIMES[:400].view(4, 10, 10)
    alpha, sigma = schedule(grid)
    assert alpha.shape == sigma.shape == grid.shape
    for t in (0.0, 0.1, 0.5, 1.0):
        assert schedule.at(t) == tuple(c.item() for c in schedule(torch.tensor(t, dtype=torch.float64)))


@all_of_them
def test_the_derivative_is_the_limit_of_differences(name: str) -> None:
    t, h = TIMES[20:-20] + 3e-4, 1e-6
    if isinstance(ALL[name], ZeroTerminal) and name == "zero-table":
        t = t[5:]
    for slope, ahead, behind in zip(ALL[name].derivative(t), ALL[name](t + h), ALL[name](t - h)):
        assert torch.allclose(slope, (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "cosine", "shifted", "shifted-cosine", "zero-terminal"])
def test_slopes_at_pure_noise_are_one_sided_limits(name: str) -> None:
    one = torch.ones(3, dtype=torch.float64)
    for slope, end, behind in zip(ALL[name].derivative(one), ALL[name](one), ALL[name](one - 1e-7)):
        assert torch.allclose(slope, (end - behind) / 1e-7, atol=1e-5)
    assert float(ALL[name].derivative(one)[0][0]) < -0.01  # the velocity says something about x


@pytest.mark.parametrize("name", ["linear", "cosine", "ve", "edm", "shifted", "shifted-cosine", "tabulated"])
def test_slopes_at_data_are_one_sided_limits(name: str) -> None:
    zero = torch.zeros(3, dtype=torch.float64)
    for slope, end, ahead in zip(ALL[name].derivative(zero), ALL[name](zero), ALL[name](zero + 1e-7)):
        assert torch.allclose(slope, (ahead - end) / 1e-7, atol=1e-4)


@every
def test_a_schedule_keeps_its_norm(name: str) -> None:
    schedule = SCHEDULES[name]
    alpha, sigma = schedule(TIMES)
    assert torch.allclose(schedule.norm(alpha, sigma), torch.ones_like(TIMES), atol=1e-12)


def test_vp_is_the_exponential_of_the_integral_of_beta() -> None:
    schedule = VP(0.2, 12.0)
    t = TIMES[1:]
    # ∫₀ᵗ β by the midpoint rule, which is exact for a linear β
    beta = 0.2 + t / 2 * (12.0 - 0.2)
    alpha, sigma = schedule(t)
    assert torch.allclose(alpha, torch.exp(-0.5 * beta * t), rtol=1e-13)
    assert torch.allclose(sigma**2, 1 - torch.exp(-beta * t), rtol=1e-12)
    assert VP().at(1.0)[0] == pytest.approx(math.exp(-5.025), rel=1e-14)


def test_the_closed_forms() -> None:
    t = TIMES
    expected: list[tuple[Schedule, Callable[[Tensor], Tensor]]] = [
        (Linear(), lambda t: t / (1 - t)),
        (Cosine(), lambda t: torch.tan(math.pi / 2 * t)),
        (EDM(80.0, 7.0), lambda t: 80 * t**7),
        (VE(0.01, 50.0), lambda t: 0.01 * (5001**t - 1)),
    ]
    for schedule, ratio in expected:
        alpha, sigma = schedule(t[1:-1])
        assert torch.allclose(sigma / alpha, ratio(t[1:-1]), rtol=1e-10), schedule
    assert torch.equal(Linear()(t)[0] + Linear()(t)[1], torch.ones_like(t))
    assert VE(0.01, 50.0).at(1.0)[1] == pytest.approx(50.0, rel=1e-12)


@given(st.floats(-6, -0.5), st.floats(0.5, 6), st.floats(0.3, 3))
@settings(max_examples=25, deadline=None)
def test_sigmoid_is_jabris_gamma(start: float, end: float, tau: float) -> None:
    t = TIMES

    def logistic(u: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-u / tau))

    low, high = logistic(torch.tensor([start, end], dtype=torch.float64))
    # Jabri et al., 2023: gamma = (v_end − v_t) / (v_end − v_start), the share of signal
    expected = (high - logistic(t * (end - start) + start)) / (high - low)
    alpha, sigma = Sigmoid(start, end, tau)(t)
    assert torch.allclose(alpha**2, expected, atol=1e-12)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(t), atol=1e-12)


@given(st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_a_shifted_flow_is_sd3s(factor: float) -> None:
    t = TIMES
    alpha, sigma = Shifted(Linear(), factor)(t)
    expected = factor * t / (1 + (factor - 1) * t)
    assert torch.allclose(sigma, expected, rtol=1e-13) and torch.allclose(alpha, 1 - expected, atol=1e-14)


@every
def test_a_shift_is_simple_diffusions_in_log_snr(name: str) -> None:
    t = TIMES[1:-1]
    base = SCHEDULES[name]
    for factor in (0.25, 2.0, 4.0):
        # from images of side d to images of side factor · d
        expected = base.log_snr(t) - 2 * math.log(factor)
        assert torch.allclose(Shifted(base, factor).log_snr(t), expected, rtol=1e-9, atol=1e-9)
    twice = Shifted(Shifted(base, 2.0), 1.5)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(twice(t), Shifted(base, 3.0)(t)))


def test_zero_terminal_is_lins_algorithm_on_a_table() -> None:
    from_library = optional.diffusers().schedulers.scheduling_ddim.rescale_zero_terminal_snr
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    theirs = torch.cumprod(1 - from_library(betas), 0).sqrt()
    schedule = ZeroTerminal(Tabulated.from_betas(betas))
    t = (torch.arange(1000, dtype=torch.float64) + 1) / 1000
    alpha, sigma = schedule(t)
    # Algorithm 1 keeps the first entry of the table where it was; langevin keeps t = 0, which is exact data
    first, final = (schedule.base(u)[0] for u in (t[:1], t[-1:]))
    stretched = alpha * (1 - final) * first / (first - final)
    assert torch.allclose(stretched, theirs, atol=2e-7)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(t), atol=1e-13)
    assert alpha[-1] == 0 == theirs[-1]


@given(st.floats(0.05, 0.5), st.floats(5, 30))
@settings(max_examples=50, deadline=None)
def test_zero_terminal_is_exact_in_float32_whatever_its_base(low: float, high: float) -> None:
    for size in (1, 9):  # vectorised and scalar arithmetic may round differently
        alpha, _ = ZeroTerminal(VP(low, high))(torch.ones(size))
        assert bool((alpha == 0).all())


def test_zero_terminal_is_close_to_its_base_at_little_noise() -> None:
    t = torch.tensor([1e-8, 1e-5, 1e-3], dtype=torch.float64)
    ratio = ZeroTerminal(VP())(t)[1] / VP()(t)[1]
    # σ² ≈ 2 (1 − α) grows by 1/(1 − α_1), to all digits
    assert torch.allclose(ratio, torch.full_like(t, (1 - VP().at(1.0)[0]) ** -0.5), rtol=1e-3)


def test_a_table_is_met_at_its_entries_and_interpolated_between_them() -> None:
    steps = len(TABLE.alphas_bar)
    t = (torch.arange(steps, dtype=torch.float64) + 1) / steps
    table = torch.tensor(TABLE.alphas_bar, dtype=torch.float64)
    alpha, sigma = TABLE(t)
    assert torch.allclose(alpha**2, table, rtol=1e-11) and torch.allclose(sigma**2, 1 - table, rtol=1e-11)
    assert torch.allclose(TABLE(t.float())[0], alpha.float(), rtol=1e-6)
    # log(σ/α) halfway is the mean of its neighbours
    log = (sigma / alpha).log()
    middle = TABLE((t[1:] + t[:-1]) / 2)
    assert torch.allclose((middle[1] / middle[0]).log(), (log[1:] + log[:-1]) / 2, atol=1e-9)
    # below the first entry σ/α falls to 0 in proportion to t
    below = TABLE(t[:1] / 4)
    assert torch.allclose(below[1] / below[0], sigma[:1] / alpha[:1] / 4, rtol=1e-12)


def test_no_time_of_a_table_is_looked_up_by_equality() -> None:
    # step 254 of 1000 as stored, and its neighbours in float64
    for t in (0.255, math.nextafter(0.255, 0), math.nextafter(0.255, 1)):
        assert TABLE.at(t)[0] ** 2 == pytest.approx(TABLE.alphas_bar[254], rel=1e-12)


def test_towards_a_last_entry_of_0_the_ratio_falls_linearly() -> None:
    t = torch.linspace(50 / 51, 1, 9, dtype=torch.float64)  # from the last entry but one
    alpha, sigma = ENDING(t)
    expected = (alpha / sigma)[0] * torch.linspace(1, 0, 9, dtype=torch.float64)
    assert torch.allclose(alpha / sigma, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VP(0.0, 1.0), "0 < beta_min < beta_max, got 0.0, 1.0"),
        (lambda: VP(2.0, 1.0), "0 < beta_min < beta_max"),
        (lambda: VE(1.0, 0.5), "0 < sigma_min < sigma_max"),
        (lambda: EDM(sigma_max=0), "sigma_max > 0, got 0"),
        (lambda: EDM(rho=0.5), "rho >= 1, got 0.5"),
        (lambda: Sigmoid(3, -3), "start < end, got 3, -3"),
        (lambda: Sigmoid(temperature=0), "temperature > 0"),
        (lambda: Shifted(Linear(), 0), "factor must be positive, got 0"),
        (lambda: Shifted(Linear(), -1), "factor must be positive"),
        (lambda: ZeroTerminal(Linear()), "needs a variance-preserving base, got Linear"),
        (lambda: ZeroTerminal(EDM()), "needs a variance-preserving base"),
        (lambda: Tabulated([0.5]), "at least two entries, got 1"),
        (lambda: Tabulated([0.5, 0.6]), "must fall strictly"),
        (lambda: Tabulated([0.5, 0.5]), "must fall strictly"),
        (lambda: Tabulated([1.0, 0.5]), "strictly inside"),
        (lambda: Tabulated([0.5, 0.0, 0.0]), "only the last entry may be 0"),
        (lambda: Tabulated([0.5, float("nan")]), "must fall strictly"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
