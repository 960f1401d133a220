"""Stochastic samplers: the law of their samples, by moments and by energy distance."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core import grids
from langevin.core.analytic import MixtureDenoiser
from langevin.core.denoiser import Denoiser, NetworkDenoiser
from langevin.core.posteriors import Categorical, Point, Posterior
from langevin.core.processes import Discrete, Gaussian, Product
from langevin.core.rng import Stream
from langevin.core.samplers import PRESETS, Churn, Heun, Langevin, Multistep, Restart, Sampler, Single, sample
from langevin.core.schedules import EDM
from tests.core.exact import SCHEDULES, TABLE, assert_moments, energy_distance, last, normal

# bounds on the bias of mean and standard deviation at 60 steps, for data N(0.7, 0.4²)
BIAS = {
    "ddpm": 0.05,
    "euler-ancestral": 0.042,
    "edm-churn": 0.01,
    "angle-restart": 0.002,
    "restart": 0.022,
    "dpm++2m-sde": 0.006,
    "dpm++3m-sde": 0.005,
    "langevin": 0.037,
}
COOLED = ("ddpm-cool",)  # which are meant to have less spread than the data: test_noise_scale.py
STOCHASTIC = [name for name, preset in PRESETS.items() if preset.sampler.stochastic and name not in COOLED]
ROWS = 4000


@pytest.mark.parametrize("schedule", ["linear", "vp", "edm", "tabulated", "zero-terminal"])
@pytest.mark.parametrize("preset", STOCHASTIC)
def test_a_stochastic_preset_has_the_moments_of_the_data(preset: str, schedule: str) -> None:
    chosen, denoiser = PRESETS[preset], normal(schedule, "v")
    end = last(denoiser, chosen.sampler, chosen.grid(60), denoiser.draw(1.0, ROWS)).x
    assert isinstance(end, Tensor)
    assert_moments(end, 0.7, 0.4, BIAS[preset])


@dataclass(frozen=True)
class JointNormals(Denoiser):
    """Gaussian leaves that are independent and of one law; what is believed about classes does not matter."""

    process: Product
    leaf: Any

    def __call__(self, x_t: Any, t: Any, *rest: Any) -> tuple[Posterior, Any]:
        times = t if isinstance(t, dict) else dict.fromkeys(x_t, t)
        return {
            name: self.leaf(value, times[name])[0]
            if value.is_floating_point()
            else Categorical(torch.zeros(*value.shape, 3))
            for name, value in x_t.items()
        }, None


def mixture(schedule: str) -> MixtureDenoiser:
    return MixtureDenoiser(Gaussian(SCHEDULES[schedule]), [0.7, 0.3], [[-1.0], [1.0]], 0.25)


@pytest.mark.parametrize("schedule", ["vp", "edm"])
@pytest.mark.parametrize("preset", STOCHASTIC)
def test_a_stochastic_preset_recovers_a_mixture(preset: str, schedule: str) -> None:
    denoiser, chosen = mixture(schedule), PRESETS[preset]
    rng = Stream.of(3, ROWS)
    start = denoiser.process.corrupt(denoiser.sample_data(ROWS, rng.fold("data")), 1.0, rng.fold("noise"))
    end = last(denoiser, chosen.sampler, chosen.grid(60), start, seed=4).x
    assert isinstance(end, Tensor)
    other = denoiser.sample_data(20_000, Stream.of(9, 20_000))
    assert isinstance(other, Tensor)
    # two samples of one law have about 0.0006
    assert energy_distance(end, other) < 0.006
    share = float((end < 0).double().mean())
    assert abs(share - 0.7) < 4 * math.sqrt(0.21 / ROWS) + 0.015


def test_the_energy_distance_tells_laws_apart() -> None:
    x, y = (Stream.of(seed, 1).normal((1, ROWS), torch.float64) for seed in (0, 1))
    assert energy_distance(x, y) < 0.003
    assert energy_distance(x, y + 0.1) > energy_distance(x, y)
    # 2 E|X − Y| − E|X − X'| − E|Y − Y'| of point masses at 0 and 1
    assert energy_distance(torch.zeros(10), torch.ones(7)) == pytest.approx(2.0)
    assert energy_distance(x, 1.2 * y) > 0.006


@pytest.mark.parametrize(
    "sampler",
    [
        Single(0.5),
        Single(1.0),
        Multistep(1, sde=True),
        Multistep(2, sde=True),
        Multistep(3, sde=True),
        Multistep(4, sde=True),
    ],
    ids=repr,
)
def test_the_variance_of_a_reverse_diffusion_is_exact_for_data_of_no_width(sampler: Sampler) -> None:
    # with data at one point the belief is constant, and every step's law is known: N(α μ, σ²)
    denoiser = normal("cosine", std=0.0)
    times = [0.95, 0.7, 0.4, 0.15]
    for step in sample(denoiser, sampler, times, Stream.of(2, ROWS), x=denoiser.draw(0.95, ROWS)):
        mean, std = denoiser.marginal(step.move.s)  # type: ignore[arg-type]
        assert_moments(step.x, mean, std)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Polynomial(Denoiser):
    """x̂ = Σ cₖ λᵏ with λ = log(α/σ), whatever the state."""

    process: Gaussian
    powers: tuple[float, ...]

    def value(self, half: Any) -> Any:
        return sum(c * half**k for k, c in enumerate(self.powers))

    def __call__(self, x_t: Any, t: Any, *rest: Any) -> tuple[Posterior, Any]:
        alpha, sigma = self.process.schedule.at(t)
        x = torch.full_like(x_t, self.value(math.log(alpha / sigma)))
        return Point(x, (x_t - alpha * x) / sigma, x_t, t, self.process.schedule), None


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_drift_of_a_multistep_sde_is_exact_for_beliefs_that_are_polynomials(order: int) -> None:
    process, times = Gaussian(SCHEDULES["vp"]), [0.9, 0.8, 0.66, 0.5, 0.37, 0.2]
    denoiser, silent = Polynomial(process, (0.7, -0.4, 0.3, 0.05)[:order]), Polynomial(process, (0.0,))
    x = Stream.of(0, 4).normal((4, 3), torch.float64)
    whole = list(sample(denoiser, Multistep(order, sde=True), times, Stream.of(1, 4), x=x))
    noise = list(sample(silent, Multistep(order, sde=True), times, Stream.of(1, 4), x=0 * x))
    for before, after, start, end in list(zip(whole[:-1], whole[1:], noise[:-1], noise[1:]))[
        order - 2 if order > 1 else 0 :
    ]:
        t, s = after.move.t, after.move.s
        (alpha_t, sigma_t), (alpha_s, sigma_s) = process.schedule.at(t), process.schedule.at(s)  # type: ignore[arg-type]
        # x_s = σ_s²/α_s (α_t/σ_t² x_t + 2 ∫ e^{2λ} x̂ dλ), by Simpson's rule
        half = torch.linspace(
            math.log(alpha_t / sigma_t), math.log(alpha_s / sigma_s), 2001, dtype=torch.float64
        )
        f = torch.exp(2 * half) * denoiser.value(half)
        area = (half[1] - half[0]) / 3 * (f[0] + 4 * f[1::2].sum() + 2 * f[2:-1:2].sum() + f[-1])
        mean = sigma_s**2 / alpha_s * (alpha_t / sigma_t**2 * (before.x - start.x) + 2 * area)  # type: ignore[operator]
        assert torch.allclose(after.x - end.x, mean, rtol=1e-8)  # type: ignore[operator]


def test_a_multistep_sde_is_less_biased_than_single_steps() -> None:
    denoiser, rows = normal("vp"), 20_000
    start = denoiser.draw(1.0, rows)
    ends = [
        last(denoiser, sampler, grids.karras(60), start).x
        for sampler in (Single(1.0), *(Multistep(p, sde=True) for p in (2, 3)))
    ]
    one, two, three = (abs(float(end.std()) - 0.4) for end in ends)  # type: ignore[union-attr]
    assert two < one / 4 and three < one / 8


@pytest.mark.parametrize("steps", [30, 90])
def test_churn_removes_the_noise_that_it_adds(steps: int) -> None:
    # an Euler step that adds noise after it has asked leaves a standard deviation of 0.46 at S_churn = 20
    denoiser = normal(EDM(), "v")
    start = denoiser.draw(1.0, ROWS)
    for amount in (20.0, 40.0, 80.0):
        end = last(denoiser, Churn(Heun("sigma"), amount), grids.karras(steps), start).x
        assert_moments(end, 0.7, 0.4, 0.03 if steps == 30 else 0.008)  # type: ignore[arg-type]


def test_churn_of_nothing_is_its_inner_sampler() -> None:
    denoiser = normal("edm", "v")
    start = denoiser.quantiles(1.0)
    for sampler in (Churn(amount=0.0), Churn(amount=40.0, low=100.0)):
        plain = last(denoiser, Heun("sigma"), grids.karras(12), start)
        churned = last(denoiser, sampler, grids.karras(12), start)
        assert torch.equal(plain.x, churned.x) and plain.evaluations == churned.evaluations  # type: ignore[arg-type]


def test_churn_raises_levels_as_in_algorithm_2() -> None:
    process = Gaussian(EDM())
    steps, amount, low, high = 18, 30.0, 0.05, 50.0
    times = grids.karras(steps)(process)
    plan = Churn(amount=amount, low=low, high=high, noise=1.003).plan(process, times)
    gamma = min(amount / steps, math.sqrt(2) - 1)
    at = [process.schedule.at(t)[1] for t in times]
    renoised = {move.t: move for move in plan if move.kind == "renoise"}
    for t, sigma in zip(times[:-1], at[:-1]):
        assert (t in renoised) == (low <= sigma <= high)
        if t in renoised:
            assert process.schedule.at(renoised[t].s)[1] == pytest.approx((1 + gamma) * sigma)
            assert renoised[t].noise == 1.003
    assert [move.index for move in plan] == list(range(len(plan)))
    ends = [move.s for move in plan if move.kind == "integrate"]
    assert ends == list(times[1:])
    assert all(a.s == b.t for a, b in itertools.pairwise(plan))
    # γ is capped
    most = Churn(amount=1e9).plan(process, times)
    first = next(move for move in most if move.kind == "renoise" and move.t < 0.9)
    ratio = process.schedule.at(first.s)[1] / process.schedule.at(first.t)[1]  # type: ignore[arg-type]
    assert ratio == pytest.approx(math.sqrt(2))


def test_the_scale_of_the_fresh_noise_is_that_of_s_noise() -> None:
    denoiser = normal("edm", "v", std=0.0)
    for scale in (1.0, 1.5):
        process, moves = denoiser.process, Churn(amount=1e9, noise=scale).plan(denoiser.process, [0.5, 0.4])
        (fresh,) = [move for move in moves if move.kind == "renoise"]
        steps = list(
            sample(
                denoiser,
                Churn(amount=1e9, noise=scale),
                [0.5, 0.4],
                Stream.of(0, ROWS),
                x=denoiser.draw(0.5, ROWS),
            )
        )
        t, s = (process.schedule.at(u)[1] for u in (fresh.t, fresh.s))  # type: ignore[arg-type]
        assert_moments(steps[0].x, 0.7, math.hypot(t, scale * math.sqrt(s * s - t * t)))  # type: ignore[arg-type]


def test_restart_goes_back_and_comes_down_again() -> None:
    process, grid = Gaussian(), grids.uniform(10)
    plan = Restart(Single(), low=0.12, high=0.38, times=2).plan(process, grid)
    passed = [(round(move.t, 6), round(move.s, 6), move.kind) for move in plan]  # type: ignore[arg-type]
    back = (0.1, 0.4, "renoise")
    down = [(round(0.1 * k, 6), round(0.1 * (k - 1), 6), "integrate") for k in (4, 3, 2)]
    before = [(round(1 - 0.1 * k, 6), round(0.9 - 0.1 * k, 6), "integrate") for k in range(9)]
    assert passed == [*before, back, *down, back, *down, (0.1, 0.0, "integrate")]
    assert [move.index for move in plan] == list(range(len(plan)))


def test_restarts_go_by_the_clock_of_a_gaussian_leaf() -> None:
    process = Product(kinds=Discrete(3), places=Gaussian())
    grid = {"places": [1.0, 0.6, 0.2, 0.0], "kinds": [1.0, 1.0, 0.5, 0.0]}
    plan = Restart(Single(), low=0.0, high=0.6, times=1).plan(process, grid)
    passed = [(move.t["places"], move.s["places"], move.t["kinds"], move.kind) for move in plan]  # type: ignore[index]
    there = [(1.0, 0.6, 1.0, "integrate"), (0.6, 0.2, 1.0, "integrate"), (0.2, 0.0, 0.5, "integrate")]
    assert passed == [*there, (0.0, 0.6, 0.0, "renoise"), *there[1:]]


def test_clean_samples_are_noised_again_as_the_caller_says() -> None:
    """And others, which are on their way, by the process."""
    process, rng = Gaussian(), Stream.of(0, 2)
    denoiser = NetworkDenoiser(lambda x, t, condition, mask: torch.zeros_like(x), process)
    asked = []

    def noised(x: Any, t: Any, key: Stream, mask: Any) -> Any:
        asked.append(t)
        return x + 7

    for low, high in ((0.0, 0.5), (0.25, 0.5)):
        sampler = Restart(Single(0.0), low=low, high=high, times=1)
        states = list(sample(denoiser, sampler, grids.uniform(4), rng, like=torch.zeros(2, 3), noised=noised))
        again = next(i for i, step in enumerate(states) if step.move.kind == "renoise")
        moved = states[again].x - states[again - 1].x  # type: ignore[operator]
        assert torch.allclose(moved, torch.full((2, 3), 7.0), atol=1e-5) == (low == 0.0)
    assert asked == [0.5]


@pytest.mark.parametrize("grid", [[1.0, 0.0], [1.0, 0.9, 0.8], [0.05, 0.02, 0.0]], ids=str)
def test_where_nothing_lies_between_its_bounds_a_restart_is_its_inner_sampler(grid: list[float]) -> None:
    denoiser = normal("linear", "v")
    start = denoiser.quantiles(grid[0])
    plain, restarted = (last(denoiser, sampler, grid, start) for sampler in (Heun(), Restart(Heun())))
    assert torch.equal(plain.x, restarted.x) and plain.evaluations == restarted.evaluations  # type: ignore[arg-type]
    assert Restart(Heun()).plan(denoiser.process, grid) == Heun().plan(denoiser.process, grid)


def test_restarts_contract_the_error_of_a_wrong_start() -> None:
    # the reason for the method (Xu et al., 2023, Theorem 1): fresh noise forgets where a passage came from
    denoiser = normal("linear", "v")
    wrong = denoiser.draw(1.0, ROWS) * 1.3
    away = []
    for sampler in (
        Heun(),
        Restart(Heun(), low=0.1, high=0.8, times=1),
        Restart(Heun(), low=0.1, high=0.8, times=4),
    ):
        end = last(denoiser, sampler, grids.uniform(40), wrong).x
        away.append(abs(float(end.std()) - 0.4))  # type: ignore[union-attr]
    assert away[1] < away[0] / 2 and away[2] < 0.02


def test_a_langevin_correction_has_songs_step_size() -> None:
    denoiser, rng = normal("vp"), Stream.of(0, 64)
    x, times = denoiser.quantiles(0.6), [0.6, 0.4]
    (plain,), (corrected,) = (
        list(sample(denoiser, sampler, times, rng, x=x))
        for sampler in (Single(), Langevin(Single(), corrections=1, snr=0.2))
    )
    belief, sigma = denoiser(plain.x, 0.4)[0], denoiser.process.schedule.at(0.4)[1]
    z = denoiser.process.noise(x, rng.fold("move", 0).fold("langevin", 0, ""))
    # 2 r² σ² of the score, with the norms of score and noise at their expectation (Song et al., 2021, Alg. 4)
    expected = plain.x - 2 * 0.2**2 * sigma * belief.eps + 2 * 0.2 * sigma * z  # type: ignore[operator,union-attr]
    assert torch.allclose(corrected.x, expected)  # type: ignore[arg-type]


def test_langevin_corrections_go_on_for_the_leaves_that_have_not_landed() -> None:
    # leaf b has landed at the second move; a stands still at t = 0.3, where corrections keep its law
    process = Product(a=Gaussian(SCHEDULES["vp"]), b=Gaussian(SCHEDULES["vp"]), c=Discrete(3))
    alone = normal("vp")
    denoiser = JointNormals(process, alone)
    grid = {"a": [0.3] * 40, "b": [0.3, 0.1, *[0.0] * 38], "c": [0.3] * 40}
    mean, std = alone.marginal(0.3)
    x = {
        "a": torch.full((ROWS, 1), mean + 3 * std, dtype=torch.float64),
        "b": alone.draw(0.3, ROWS),
        "c": torch.zeros(ROWS, 1, dtype=torch.long),
    }
    sampler = Langevin(Single(), corrections=5, snr=0.3)
    steps = list(sample(denoiser, sampler, grid, Stream.of(0, ROWS), x=x))
    landed: Any = steps[1].x
    end: Any = steps[-1].x
    assert torch.equal(end["b"], landed["b"])
    rate = 2 * (0.3 * process.leaves["a"].schedule.at(0.3)[1]) ** 2 / std**2  # type: ignore[attr-defined]
    assert_moments(end["a"], mean, std / math.sqrt(1 - rate / 2))
    plan = sampler.plan(process, grid)
    assert steps[-1].evaluations == sampler.evaluations(plan, process) == 39 * 6


def test_without_a_gaussian_leaf_there_is_nothing_to_correct() -> None:
    process, sampler = Discrete(3), Langevin(Single(1.0))
    assert sampler.evaluations(sampler.plan(process, [1.0, 0.5, 0.0]), process) == 2


@pytest.mark.parametrize("snr", [0.05, 0.16, 0.4])
def test_langevin_corrections_keep_the_law_at_their_noise_level(snr: float) -> None:
    # from the exact law at t, moves that stand nearly still apply corrections only
    denoiser = normal("vp")
    times = [0.3 + 1e-9 * (20 - i) for i in range(21)]
    end = last(denoiser, Langevin(Single(), corrections=5, snr=snr), times, denoiser.draw(0.3, ROWS)).x
    mean, std = denoiser.marginal(0.3)
    # the discretised dynamics of a normal have variance 1/(1 − δ h/2) of the target's, δ h = 2 r² σ² / std²
    sigma = denoiser.process.schedule.at(0.3)[1]
    rate = 2 * (snr * sigma) ** 2 / std**2
    assert_moments(end, mean, std / math.sqrt(1 - rate / 2))  # type: ignore[arg-type]


def test_langevin_corrections_lead_to_the_law_from_elsewhere() -> None:
    denoiser = normal("vp")
    times = [0.3 + 1e-9 * (40 - i) for i in range(41)]
    mean, std = denoiser.marginal(0.3)
    start = torch.full((ROWS, 1), mean + 3 * std, dtype=torch.float64)
    end = last(denoiser, Langevin(Single(), corrections=5, snr=0.3), times, start).x
    rate = 2 * (0.3 * denoiser.process.schedule.at(0.3)[1]) ** 2 / std**2
    assert_moments(end, mean, std / math.sqrt(1 - rate / 2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Single(-0.1), "eta must be at least 0, got -0.1"),
        (lambda: Churn(amount=-1.0), "amount >= 0"),
        (lambda: Churn(noise=0.0), "noise > 0"),
        (lambda: Churn(low=2.0, high=1.0), "low <= high"),
        (lambda: Restart(low=0.5, high=0.4), "0 <= low < high <= 1"),
        (lambda: Restart(times=0), "times >= 1"),
        (lambda: Langevin(corrections=0), "corrections >= 1"),
        (lambda: Langevin(snr=1.0), "0 < snr < 1"),
        (lambda: Multistep(2, sde=True, corrector=True), "would remove the noise of an SDE"),
        (lambda: Churn().plan(Product(a=Discrete(3)), [1.0, 0.0]), "this process has none"),
        (
            lambda: Churn().plan(Product(a=Gaussian(), b=Gaussian()), {"a": [1.0, 0.0], "b": [1.0, 0.0]}),
            "one clock",
        ),
        (lambda: Restart().plan(Product(a=Discrete(3)), [1.0, 0.0]), "this process has none"),
        (lambda: Restart(low=-0.1), "0 <= low < high <= 1"),
        (lambda: Restart(high=1.5), "0 <= low < high <= 1"),
        (lambda: Restart().plan(Gaussian(), [0.0, 0.5, 1.0]), "a falling grid, got one from 0 to 1"),
    ],
)
def test_wrong_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_ancestral_steps_over_a_whole_table_are_ddpm() -> None:
    # 1000 steps of DDPM on a table, every fourth: the variance of the chain by its own recursion
    denoiser = normal(TABLE)
    times = [(1000 - 4 * i) / 1000 for i in range(250)] + [0.001]
    end = last(denoiser, Single(1.0), times, denoiser.draw(1.0, ROWS)).x
    mean, std = denoiser.marginal(1.0)
    for t, s in itertools.pairwise(times):
        (a, b), (c, d) = denoiser.process.schedule.at(t), denoiser.process.schedule.at(s)
        gain = a * 0.16 / (a * a * 0.16 + b * b)  # the belief about x is affine in x_t
        beta = 1 - (a / c) ** 2
        on_x, on_x_t = c * beta / b**2, (a / c) * d**2 / b**2  # Ho et al., Eq. 7
        mean = on_x * (0.7 + gain * (mean - a * 0.7)) + on_x_t * mean
        std = math.sqrt(((on_x * gain + on_x_t) * std) ** 2 + d**2 / b**2 * beta)
    assert_moments(end, mean, std)  # type: ignore[arg-type]
