"""Samplers have the order that they declare, inside any schedule and at its singular ends."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core import grids, parametrisations
from langevin.core.grids import GRIDS
from langevin.core.posteriors import Point
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import PRESETS, Adaptive, Heun, Multistep, Sampler, Single, sample
from langevin.core.schedules import Schedule
from tests.core.exact import KINDS, SCHEDULES, TERMINAL, Normal, last, normal

DETERMINISTIC: dict[str, Sampler] = {
    "single": Single(),
    "heun": Heun(),
    "heun-sigma": Heun("sigma"),
    "multistep-2-x-midpoint": Multistep(2, midpoint=True),
    "multistep-2-x-midpoint-corrected": Multistep(2, midpoint=True, corrector=True),
    "multistep-3-x-corrected-lower-final": Multistep(3, midpoint=True, corrector=True, lower_final=True),
    "multistep-3-x-lower-final": Multistep(3, lower_final=True),
    "multistep-3-eps-lower-final": Multistep(3, of="eps", lower_final=True),
    **{
        f"multistep-{p}-{of}": Multistep(p, of=of)
        for of in ("x", "eps", "v", "velocity", "sigma")
        for p in (1, 2, 3, 4)
    },
    **{
        f"multistep-{p}-{of}-corrected": Multistep(p, of=of, corrector=True)
        for of in ("x", "eps", "v", "velocity", "sigma")
        for p in (1, 2, 3)
    },
}


class Every(Normal):
    """The exact belief by way of every parametrisation: the rows are split among them."""

    def __call__(self, x_t: Any, t: Any, *rest: Any) -> tuple[Point, Any]:
        belief, memory = super().__call__(x_t, t, *rest)
        leaf, beliefs = self.process, []
        for kind, x, eps, part in zip(KINDS, *(v.chunk(len(KINDS)) for v in (belief.x, belief.eps, x_t))):
            c, d = parametrisations.row(kind, leaf.schedule, t, part, leaf.sigma_data)
            beliefs.append(leaf.posterior(c * x + d * eps, part, t, kind))
        x, eps = (torch.cat([getattr(b, name) for b in beliefs]) for name in ("x", "eps"))
        return Point(x, eps, x_t, t, leaf.schedule), memory


def inside(schedule: Schedule, of: str, steps: int) -> list[float]:
    """Times with σ/α from 3 to 0.3 in even steps of a variable that suits the solver, the first ones short.

    Short first steps let a multistep method gather its history at a cost that does not count.
    """
    to, back = (math.log, math.exp) if of in ("x", "eps") else (math.atan, math.tan)
    start, end = to(3.0), to(0.3)
    h = (end - start) / steps
    places = [0, h / 256, h / 64, h / 16, h / 4, *(h * i for i in range(1, steps + 1))]
    ratios = torch.tensor([back(start + u) for u in places], dtype=torch.float64)
    return [float(t) for t in schedule.time(-2 * ratios.log())]


def error(denoiser: Normal, sampler: Sampler, times: list[float], skip: int) -> Tensor:
    """The largest error along the way in standard deviations, for each parametrisation."""
    start = denoiser.quantiles(times[0], 8).repeat(len(KINDS), 1)
    worst = torch.zeros(len(KINDS), dtype=torch.float64)
    steps = list(sample(denoiser, sampler, times, Stream.of(0, len(start)), x=start))
    for step in steps[5 :: max(1, len(steps) // 8)] + steps[-1 - skip : len(steps) - skip]:
        assert isinstance(step.x, Tensor) and isinstance(step.move.s, float)
        away = (step.x - denoiser.exact(start, times[0], step.move.s)).abs() / denoiser.marginal(step.move.s)[
            1
        ]
        worst = torch.maximum(worst, away.view(len(KINDS), -1).mean(1))
    return worst


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_sampler_converges_with_its_order_in_every_parametrisation(name: str, schedule: str) -> None:
    sampler, denoiser = DETERMINISTIC[name], Every(Gaussian(SCHEDULES[schedule]), 0.7, 0.4)
    # where the order is lowered towards the end, the steps before that are measured
    skip = sampler.order - 1 if getattr(sampler, "lower_final", False) else 0
    coarse, fine = (
        error(
            denoiser,
            sampler,
            inside(denoiser.process.schedule, getattr(sampler, "of", "v"), n * sampler.order),
            skip,
        )
        for n in (12, 24)
    )
    found = (coarse / fine).log2()
    gained = 0.4 if getattr(sampler, "corrector", False) else -0.2  # the corrector's order comes free
    assert bool((found >= sampler.order + gained).all()), dict(zip(KINDS, found.tolist()))
    assert float(fine.max()) < 0.05


def test_a_schedule_only_renames_times() -> None:
    # with the same noise levels, every schedule leads through the same states up to scale
    for sampler in (Single(), Heun(), Multistep(3, of="v", corrector=True), Multistep(2)):
        found = []
        for schedule in SCHEDULES.values():
            times = inside(schedule, "x", 20)
            denoiser = normal(schedule)
            end = last(denoiser, sampler, times, denoiser.quantiles(times[0])).x
            assert isinstance(end, Tensor)
            found.append(end / sum(schedule.at(times[-1])))
        for other in found[1:]:
            assert torch.allclose(other, found[0], rtol=1e-8)


# from t = 1 exactly to t = 0 exactly: bounds on the mean error at 20 steps, for data of std 0.4
LANDING = {
    "angle": 0.01,
    "ddim": 0.15,
    "euler": 0.12,
    "euler-karras": 0.1,
    "heun": 0.07,
    "edm": 0.03,
    "dpm++2m": 0.04,
    "dpm++3m": 0.04,
    "deis": 0.08,
    "lms": 0.05,
    "unipc": 0.03,
    "unipc3": 0.04,
    "ab2": 0.06,
    "adaptive": 0.01,
}


def refused(schedule: str, kind: str) -> str | None:
    """The message with which a run from pure noise must be refused; None where it must not be."""
    if schedule in TERMINAL and kind in ("eps", "score"):
        return f"the parametrisation '{kind}' says nothing about x at t = 1"
    if (schedule, kind) == ("sigmoid", "velocity"):
        return "the parametrisation 'velocity' says nothing at t = 1"
    return None


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("preset", [n for n, p in PRESETS.items() if not p.sampler.stochastic])
def test_a_preset_comes_from_pure_noise_to_data(preset: str, schedule: str) -> None:
    chosen = PRESETS[preset]
    for kind in KINDS:
        denoiser = normal(schedule, kind)
        start = denoiser.quantiles(1.0, 16)
        why = refused(schedule, kind)
        if why:
            with pytest.raises(ValueError, match=why):
                last(denoiser, chosen.sampler, chosen.grid(20), start)
            continue
        end = last(denoiser, chosen.sampler, chosen.grid(20), start).x
        away = float((end - denoiser.exact(start, 1.0, 0.0)).abs().mean())  # type: ignore[operator]
        assert away < LANDING[preset], (kind, away)


@pytest.mark.parametrize(
    "preset", [n for n, p in PRESETS.items() if not p.sampler.stochastic and n != "adaptive"]
)
@pytest.mark.parametrize("schedule", ["cosine", "edm", "tabulated", "zero-terminal"])
def test_more_steps_land_closer(preset: str, schedule: str) -> None:
    if refused(schedule, "v"):
        return
    chosen, denoiser = PRESETS[preset], normal(schedule, "v")
    start = denoiser.quantiles(1.0, 16)
    exact = denoiser.exact(start, 1.0, 0.0)
    away = [
        float((last(denoiser, chosen.sampler, chosen.grid(n), start).x - exact).abs().mean())
        for n in (10, 40)
    ]
    assert away[1] < away[0] / 2.5


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_one_step_is_enough_for_every_grid_and_sampler(preset: str, grid: str) -> None:
    sampler, times = PRESETS[preset].sampler, grids.named(grid, 1)
    for schedule, kind in (
        ("linear", "velocity"),
        ("tabulated", "eps"),
        ("edm", "edm"),
        ("zero-terminal", "v"),
    ):
        denoiser = normal(schedule, kind)
        start = denoiser.quantiles(1.0, 4)
        first = times(denoiser.process)[0]
        end = last(denoiser, sampler, times, start).x
        assert isinstance(end, Tensor) and bool(end.isfinite().all())
        if preset not in ("adaptive", "edm-churn", "angle-restart"):
            # one step to data is the belief about it, whatever the coordinate
            assert torch.allclose(end, denoiser(start, first)[0].x)


@pytest.mark.parametrize("preset", PRESETS)
def test_eps_at_alpha_0_is_refused_with_the_name_of_what_works(preset: str) -> None:
    denoiser = normal("linear", "eps")
    message = "'eps' says nothing about x at t = 1, where alpha = 0; train with 'v'"
    with pytest.raises(ValueError, match=message):
        last(denoiser, PRESETS[preset].sampler, PRESETS[preset].grid(8), denoiser.quantiles(1.0, 4))


@pytest.mark.parametrize("schedule", ["linear", "cosine", "zero-terminal", "edm", "tabulated"])
@pytest.mark.parametrize(
    ("sampler", "tolerance"),
    [
        (Single(), 0.06),
        (Heun(), 2e-3),
        (Multistep(2, of="velocity"), 8e-3),
        (Multistep(2, of="v", corrector=True), 1e-3),
        (Multistep(3, of="v"), 2e-3),
        (Adaptive(rtol=1e-3, atol=1e-3), 5e-3),
    ],
    ids=["single", "heun", "ab2", "angle", "multistep-3-v", "adaptive"],
)
def test_a_rising_grid_inverts_a_falling_one(sampler: Sampler, tolerance: float, schedule: str) -> None:
    denoiser = normal(schedule, None if schedule in ("zero-terminal", "edm") else "velocity")
    times = grids.curvature(80, [1.0])(denoiser.process)  # even in the angle
    data = denoiser.quantiles(0.0, 16)
    noise = last(denoiser, sampler, times[::-1], data).x
    exact = denoiser.exact(data, 0.0, 1.0)
    scale = denoiser.marginal(1.0)[1]
    assert float((noise - exact).abs().max()) / scale < tolerance * 10  # type: ignore[operator]
    back = last(denoiser, sampler, times, noise).x
    assert float((back - data).abs().max()) < tolerance * 4  # type: ignore[operator]


@pytest.mark.parametrize("of", ["x", "eps", "sigma"])
def test_other_coordinates_invert_between_noise_levels(of: str) -> None:
    denoiser = normal("vp")
    times = inside(denoiser.process.schedule, of, 60)
    middle = denoiser.quantiles(times[-1], 16)
    noise = last(denoiser, Multistep(2, of=of), times[::-1], middle).x
    assert torch.allclose(noise, denoiser.exact(middle, times[-1], times[0]), atol=2e-3)  # type: ignore[arg-type]
    assert torch.allclose(last(denoiser, Multistep(2, of=of), times, noise).x, middle, atol=2e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", ["linear", "vp", "edm", "tabulated"])
@pytest.mark.parametrize("std", [2.0, 0.4, 0.02])
def test_adaptive_steps_meet_their_tolerance(schedule: str, std: float) -> None:
    denoiser = normal(schedule, "velocity" if schedule != "edm" else "v", std=std)
    start = denoiser.quantiles(1.0, 16)
    exact = denoiser.exact(start, 1.0, 0.0)
    asked = []
    for tolerance in (1e-1, 1e-2, 1e-3):
        step = last(denoiser, Adaptive(rtol=tolerance, atol=tolerance), [1.0, 0.0], start)
        away = (step.x - exact).abs() / (tolerance * (1 + exact.abs()))
        assert float(away.max()) < 2, (tolerance, away.max())
        asked.append(step.evaluations)
    assert all(a < b for a, b in itertools.pairwise(asked))


def test_adaptive_steps_of_a_sample_do_not_depend_on_its_batch() -> None:
    denoiser = normal("vp", "v")
    start = denoiser.quantiles(1.0, 16)
    together = last(denoiser, Adaptive(), [1.0, 0.0], start).x
    for i in (0, 7, 15):
        alone = last(denoiser, Adaptive(), [1.0, 0.0], start[i : i + 1]).x
        assert torch.allclose(alone, together[i : i + 1], rtol=1e-12)  # type: ignore[arg-type,index]


def test_adaptive_says_where_it_stands_when_it_gives_up() -> None:
    denoiser = normal("linear", "v")
    with pytest.raises(
        RuntimeError, match=r"made 3 attempts and stands at t = \[.*loosen rtol and atol or raise limit"
    ):
        last(denoiser, Adaptive(rtol=1e-9, atol=1e-9, limit=3), [1.0, 0.0], denoiser.quantiles(1.0, 4))
