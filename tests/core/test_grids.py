"""Grids: falling times with exact ends, and the published noise levels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from langevin import optional
from langevin.core import grids
from langevin.core.grids import Grid
from langevin.core.processes import Discrete, Gaussian, Product, Rotations
from langevin.core.samplers.base import times_of
from langevin.core.schedules import EDM, VE, Linear, Schedule
from tests.core.exact import SCHEDULES, TABLE

named = pytest.mark.parametrize("grid", grids.GRIDS)


def ratios(schedule: Schedule, times: Any) -> list[float]:
    """σ/α at the times."""
    pairs = [schedule.at(t) for t in times]
    return [sigma / alpha if alpha else math.inf for alpha, sigma in pairs]


@named
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_grid_of_any_size_falls_from_noise_to_data(grid: str, name: str) -> None:
    process = Gaussian(SCHEDULES[name])
    for steps in [*range(1, 51), 100]:
        times = grids.named(grid, steps)(process)
        assert len(times) == steps + 1
        assert times[-1] == 0.0 and (times[0] == 1.0 or (grid == "leading" and times[0] < 1))
        assert all(s < t for t, s in itertools.pairwise(times)), (steps, times)
        assert times_of(grids.named(grid, steps), process) == list(times)


def test_uniform_and_listed_times_are_what_they_say() -> None:
    process = Gaussian()
    assert grids.uniform(4)(process) == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert grids.uniform(3)(Product(types=Discrete(4))) == (1.0, 1 - 1 / 3, 1 - 2 / 3, 0.0)
    times = [0.9, 0.31, 0.05]
    assert grids.listed(times)(process) == tuple(times)
    assert grids.listed(times).steps == 2


@given(st.integers(2, 60), st.floats(1, 12), st.floats(0.002, 0.1), st.floats(5, 80))
@settings(max_examples=40, deadline=None)
def test_karras_levels_are_equation_5(steps: int, rho: float, low: float, high: float) -> None:
    found = ratios(EDM(80.0), grids.karras(steps, rho, low, high)(Gaussian(EDM(80.0))))
    inside = found[1:-1] if high < 80 * (1 - 1e-9) else found[:-1]
    n = len(inside)
    for i, level in enumerate(inside):
        a, b = high ** (1 / rho), low ** (1 / rho)
        assert level == pytest.approx((a + i / max(1, n - 1) * (b - a)) ** rho, rel=1e-9)


@pytest.mark.parametrize("steps", [2, 10, 18, 50])
def test_karras_and_exponential_levels_are_those_of_edm_and_of_pretrained_models(steps: int) -> None:
    library = optional.diffusers()
    for kind, grid in (("karras", grids.karras), ("exponential", grids.exponential)):
        theirs = library.EDMEulerScheduler(
            sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, rho=7.0, sigma_schedule=kind
        )
        theirs.set_timesteps(steps)
        mine = ratios(EDM(80.0), grid(steps)(Gaussian(EDM(80.0))))
        assert mine == pytest.approx(theirs.sigmas.tolist(), rel=1e-5)
        settings_ = {
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "timestep_spacing": "linspace",
        }
        euler = library.EulerDiscreteScheduler(**settings_, **{f"use_{kind}_sigmas": True})
        euler.set_timesteps(steps)
        mine = ratios(TABLE, grid(steps)(Gaussian(TABLE)))
        assert mine == pytest.approx(euler.sigmas.tolist(), rel=2e-4)


def test_levels_beyond_the_reach_of_a_grid_are_joined_by_the_exact_ends() -> None:
    found = ratios(Linear(), grids.karras(10, high=80.0)(Gaussian(Linear())))
    assert found[0] == math.inf and found[1] == pytest.approx(80)
    assert found[-2] == pytest.approx(0.002) and found[-1] == 0
    # unless it is asked for, no belief is spent between infinity and 80: the levels are EDM's with t = 1 as the first
    free = ratios(Linear(), grids.karras(10)(Gaussian(Linear())))
    assert free[0] == math.inf
    assert free[1:] == pytest.approx(ratios(EDM(80.0), grids.karras(10)(Gaussian(EDM(80.0))))[1:])
    # a schedule that ends at 50 begins there
    assert ratios(VE(0.01, 50), grids.karras(10)(Gaussian(VE(0.01, 50))))[0] == pytest.approx(50)


def test_log_snr_uniform_levels_fall_by_a_constant_factor() -> None:
    for grid in (grids.log_snr_uniform, grids.exponential):
        found = ratios(Linear(), grid(12, 0.01, 20.0)(Gaussian()))[1:-1]
        factors = [a / b for a, b in itertools.pairwise(found)]
        assert factors == pytest.approx([factors[0]] * len(factors), rel=1e-9)
        assert found[0] == pytest.approx(20) and found[-1] == pytest.approx(0.01)


@pytest.mark.parametrize("steps", [1, 3, 7, 10, 20, 50])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_integer_timesteps_are_those_of_pretrained_models(spacing: str, steps: int) -> None:
    theirs = optional.diffusers().DDIMScheduler(timestep_spacing=spacing, steps_offset=1)
    theirs.set_timesteps(steps)
    mine = grids.named(spacing, steps)(Gaussian(TABLE))
    # table entry k stands at (k + 1)/T
    assert [round(t * 1000) - 1 for t in mine[:-1]] == theirs.timesteps.tolist()
    assert all(abs(t * 1000 - round(t * 1000)) < 1e-9 for t in mine)


@pytest.mark.parametrize("mu", [0.5, 1.15, math.log(3.0)])
@pytest.mark.parametrize("steps", [1, 4, 28])
def test_shifted_times_are_fluxs(mu: float, steps: int) -> None:
    mine = grids.shifted(steps, math.exp(mu))(Gaussian())
    uniform = [1 - i / steps for i in range(steps)]
    flux = [math.exp(mu) / (math.exp(mu) + (1 / t - 1)) for t in uniform]
    assert mine == pytest.approx((*flux, 0.0), rel=1e-12)
    theirs = optional.diffusers().FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    theirs.set_timesteps(sigmas=uniform, mu=mu)
    assert mine == pytest.approx(theirs.sigmas.tolist(), rel=1e-5)


def test_a_shifted_grid_is_shifted_once() -> None:
    # diffusers' own grid for N = 4, shift = 3 ends at .0089: its smallest σ is shifted, and shifted again
    mine = grids.shifted(4, 3.0)(Gaussian())
    assert mine == pytest.approx((1.0, 0.9, 0.75, 0.5, 0.0))
    theirs = optional.diffusers().FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(4)

    def shift(t: float) -> float:
        return 3 * t / (1 + 2 * t)

    assert float(theirs.sigmas[-2]) == pytest.approx(shift(shift(0.001)), rel=1e-3)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (1.0, 1.0), (0.5, 0.5), (2.0, 1.0), (0.8, 3.0)])
def test_beta_times_are_quantiles(a: float, b: float) -> None:
    for steps in (1, 2, 13, 40):
        mine = grids.beta(steps, a, b)(Gaussian())
        exact = stats.beta.ppf([1 - i / steps for i in range(steps + 1)], a, b)
        assert mine == pytest.approx(exact, abs=3e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_curvature_spaces_steps_by_their_density(name: str) -> None:
    schedule = SCHEDULES[name]
    process = Gaussian(schedule)

    def angles(times: Any) -> list[float]:
        return [math.atan2(*reversed(schedule.at(t))) for t in times]

    end = angles([1.0])[0]

    def places_of(times: Any) -> list[float]:
        return [2 / math.pi * math.asin(min(1.0, math.sqrt(u / end))) for u in angles(times)]

    even = places_of(grids.curvature(8, [1.0] * 5)(process))
    assert even == pytest.approx([1 - i / 8 for i in range(9)], abs=1e-6)
    # three quarters of the steps where the density is three times as high
    uneven = places_of(grids.curvature(8, [3.0, 1.0])(process))
    assert uneven[2] == pytest.approx(1 / 2, abs=1e-6) and sum(z < 1 / 2 - 1e-6 for z in uneven) == 6
    # nothing where it is 0
    gap = places_of(grids.curvature(6, [1.0, 0.0, 1.0])(process))
    assert not any(1 / 3 + 1e-6 < z < 2 / 3 - 1e-6 for z in gap)
    # the slices and their widths are those of the places
    middles, widths = grids.slots(end, 7)
    assert sum(widths) == pytest.approx(end) and middles[3] == pytest.approx(end / 2)
    assert widths[0] == pytest.approx(end * math.sin(math.pi / 14) ** 2) and max(widths) == widths[3]
    # unmeasured: equal shares of the integral of (1 + sin 2θ)^(-3/2)
    places = angles(grids.curvature(10)(process))
    shares = [
        sum((1 + math.sin(2 * (a + (b - a) * (k + 0.5) / 200))) ** -1.5 for k in range(200)) * (a - b) / 200
        for a, b in itertools.pairwise(places)
    ]
    assert shares == pytest.approx([sum(shares) / 10] * 10, rel=0.02)


def test_all_leaves_share_the_times_of_the_first_gaussian_one() -> None:
    leaves = {"types": Discrete(4), "a": Gaussian(TABLE), "b": Gaussian(EDM()), "frames": Rotations()}
    process = Product(**leaves)  # type: ignore[arg-type]
    assert grids.karras(9)(process) == grids.karras(9)(Gaussian(TABLE))


def test_clocks_by_leaf_stand_side_by_side() -> None:
    process = Product(a=Gaussian(), b=Discrete(3))
    grid = grids.by_leaf(a=grids.shifted(4, 2.0), b=grids.listed([1.0, 0.6, 0.6, 0.1, 0.0]))
    shifted = grids.shifted(4, 2.0)(process)
    expected = [{"a": t, "b": s} for t, s in zip(shifted, (1.0, 0.6, 0.6, 0.1, 0.0))]
    assert times_of(grid, process) == expected


@named
def test_a_grid_says_what_it_is(grid: str) -> None:
    about = grids.named(grid, 7).describe()
    assert about["name"] == grid and about["steps"] == 7
    again = {k: v for k, v in about.items() if k not in ("name", "steps")}
    assert grids.named(grid, 7, **again)(Gaussian(TABLE)) == grids.named(grid, 7)(Gaussian(TABLE))


@named
@pytest.mark.parametrize("steps", [0, -1, 2.0, True, "8"])
def test_steps_are_whole_numbers_of_at_least_1(grid: str, steps: Any) -> None:
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1"):
        grids.named(grid, steps)


PAIR = Product(a=Gaussian(), b=Discrete(3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grids.named("karas", 4), ValueError, "unknown grid 'karas'; did you mean 'karras'"),
        (lambda: grids.shifted(4, 0.0), ValueError, "factor must be positive, got 0"),
        (lambda: grids.karras(4, low=2.0, high=1.0)(Gaussian()), ValueError, "0 < low < high"),
        (lambda: grids.karras(4, high=100.0)(Gaussian(EDM())), ValueError, "high <= 80"),
        (lambda: grids.karras(4)(Product(b=Discrete(3))), ValueError, "is stated in noise.*'uniform'"),
        (lambda: grids.curvature(4, [])(Gaussian()), ValueError, "density must hold finite numbers"),
        (lambda: grids.curvature(4, [1.0, -1.0])(Gaussian()), ValueError, "density must hold"),
        (lambda: grids.curvature(4, [0.0, 0.0])(Gaussian()), ValueError, "not all 0"),
        (lambda: grids.curvature(4, [1.0, math.nan])(Gaussian()), ValueError, "density must hold"),
        (lambda: times_of([0.5], Gaussian()), ValueError, "at least two times"),
        (lambda: times_of([1.2, 0.0], Gaussian()), ValueError, r"must lie in \[0, 1\], got \[1.2\]"),
        (lambda: times_of([1.0, math.nan, 0.0], Gaussian()), ValueError, r"must lie in \[0, 1\]"),
        (lambda: times_of([1.0, 0.5, 0.5], Gaussian()), ValueError, "must fall .sampling. or rise"),
        (lambda: times_of([1.0, 0.5, 0.7], Gaussian()), ValueError, "must fall"),
        (lambda: times_of({"a": [1.0, 0.0]}, PAIR), ValueError, "for each of .'a', 'b'."),
        (lambda: times_of({"a": [1.0, 0.0], "b": [1.0, 0.5, 0.0]}, PAIR), ValueError, "as many times"),
        (lambda: times_of({"a": [1.0, 0.0], "b": [0.5, 2.0]}, PAIR), ValueError, "grid of leaf 'b'"),
    ],
)  # fmt: skip
def test_wrong_grids_are_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_grid_is_plain_data_and_its_own_record() -> None:
    assert grids.karras(5).describe() == {"name": "karras", "steps": 5, "rho": 7.0, "low": None, "high": None}
    assert isinstance(grids.listed([1.0, 0.0]), Grid)
