"""Torus leaves: shortest arcs, and the flow whose exact belief recovers a mixture of angles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from langevin.core.denoiser import Denoiser
from langevin.core.posteriors import Posterior, Tangent
from langevin.core.processes import Torus
from langevin.core.processes.torus import wrap
from langevin.core.rng import Stream
from langevin.core.samplers import Single
from langevin.core.schedules import EDM, VE, VP, Cosine
from tests.core.exact import ks, last

PI = math.pi


def uniform_cdf(x: Tensor) -> Tensor:
    return (x + PI) / (2 * PI)


def data(rows: int = 100, length: int = 100) -> Tensor:
    return wrap(Stream.of(7, rows).normal((rows, length), torch.float64) * 2)


@given(st.floats(-1e3, 1e3), st.sampled_from([torch.float32, torch.float64]))
def test_wrapping_keeps_the_angle_and_its_range(angle: float, dtype: torch.dtype) -> None:
    x = torch.tensor(angle, dtype=dtype)
    y = wrap(x)
    assert -PI - 1e-6 <= float(y) < PI
    assert math.cos(float(y)) == pytest.approx(
        math.cos(float(x)), abs=1e-3 if dtype == torch.float32 else 1e-9
    )
    assert math.sin(float(y)) == pytest.approx(
        math.sin(float(x)), abs=1e-3 if dtype == torch.float32 else 1e-9
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_just_below_the_seam_is_not_beyond_it(dtype: torch.dtype) -> None:
    seam = torch.tensor(-PI, dtype=dtype)
    for x in (seam, torch.nextafter(seam, seam - 1), torch.nextafter(seam, seam + 1), -seam):
        assert float(wrap(x).double()) + 1e-6 >= -PI and float(wrap(x)) < float(-seam)


@pytest.mark.parametrize("schedule", [None, Cosine()], ids=["linear", "cosine"])
def test_noise_moves_along_the_shortest_arc_to_a_uniform_angle(schedule: Any) -> None:
    process = Torus(schedule) if schedule else Torus()
    x, rng = data(), Stream.of(0, 100)
    share = process.schedule.at(0.4)[1]
    arc = wrap(process.corrupt(x, 0.4, rng) - x)
    assert ks(arc, lambda a: ((a / share + PI) / (2 * PI)).clamp(0, 1)) < 2.0
    for end in (process.corrupt(x, 1.0, rng), process.prior(x, rng), process.corrupt(x, 1.0, rng, since=0.3)):
        assert ks(end, uniform_cdf) < 2.0


def test_the_truth_is_reached_in_one_step_and_halfway_in_half() -> None:
    process, rng, x = Torus(), Stream.of(0, 100), data()
    x_t = process.corrupt(x, 0.8, rng)
    truth = Tangent(wrap(x - x_t), x_t)
    assert torch.allclose(
        wrap(process.update(x_t, truth, 0.8, 0.0, rng) - x), torch.zeros_like(x), atol=1e-12
    )
    assert torch.allclose(wrap(process.update(x_t, truth, 0.8, 0.4, rng) - x), -truth.vector / 2, atol=1e-12)


@dataclass(frozen=True)
class Angles(Denoiser):
    """The exact belief about angles that are each a₁ with probability w and a₂ else."""

    process: Torus
    centres: tuple[float, float] = (2.9, 0.4)
    weight: float = 0.7

    def __call__(
        self, x_t: Any, t: Any, condition: Any = None, mask: Any = None, memory: Any = None
    ) -> tuple[Posterior, Any]:
        sigma = self.process.schedule.at(t)[1]
        arcs = torch.stack([wrap(a - x_t) for a in self.centres], -1)
        # x_t is uniform on the arc of half-width σπ around its clean angle
        joint = torch.tensor([self.weight, 1 - self.weight]) * (arcs.abs() <= sigma * PI + 1e-9)
        nearest = torch.nn.functional.one_hot(arcs.abs().argmin(-1), 2).to(joint)
        joint = torch.where(joint.sum(-1, keepdim=True) > 0, joint, nearest)
        return Tangent((joint * arcs).sum(-1) / joint.sum(-1), x_t), memory


def test_the_exact_belief_recovers_a_mixture() -> None:
    denoiser, rows = Angles(Torus()), 20_000
    x = denoiser.process.prior(torch.empty(rows, 1, dtype=torch.float64), Stream.of(0, rows))
    times = [1 - i / 200 for i in range(200)] + [0.0]
    end = last(denoiser, Single(), times, x).x
    assert isinstance(end, Tensor)
    away = torch.stack([wrap(end - a).abs() for a in denoiser.centres])
    assert float(away.min(0).values.max()) < 0.05
    assert abs(float((away[0] < away[1]).double().mean()) - 0.7) < 4 * math.sqrt(0.21 / rows) + 0.01


def test_the_loss_is_0_at_the_truth_least_there_and_finite_at_the_ends() -> None:
    process, rng, x = Torus(), Stream.of(0, 5), data(5, 20)
    t = torch.tensor([0.0, 0.05, 0.4, 0.8, 1.0], dtype=torch.float64)
    x_t = process.corrupt(x, t, rng)
    truth = wrap(x - x_t)
    assert float(process.loss(Tangent(truth, x_t), x, x_t, t, rng)[:4].max()) < 1e-20
    for shift in (0.1, -0.1):
        loss = process.loss(Tangent(truth + shift, x_t), x, x_t, t, rng)
        assert loss.shape == (5,) and bool((loss > 0).all()) and bool(loss.isfinite().all())


def test_times_by_sample_and_by_element_do_what_floats_do() -> None:
    process, rng, x = Torus(), Stream.of(0, 3), data(3, 4)
    t, s = (torch.tensor(u, dtype=torch.float64) for u in ([1.0, 0.5, 0.2], [0.6, 0.5, 0.0]))
    x_t, v = process.corrupt(x, t, rng), data(3, 4)
    by_row = process.update(x_t, Tangent(v, x_t), t, s, rng)
    by_element = process.update(x_t, Tangent(v, x_t), t[:, None].expand(3, 4), s[:, None].expand(3, 4), rng)
    assert torch.allclose(by_row, by_element, atol=1e-12)
    for i in range(3):
        assert torch.allclose(x_t[i], process.corrupt(x, float(t[i]), rng)[i], atol=1e-12)
        assert torch.allclose(
            by_row[i], process.update(x_t, Tangent(v, x_t), float(t[i]), float(s[i]), rng)[i], atol=1e-12
        )


def test_padding_is_0_and_without_influence() -> None:
    process, rng = Torus(), Stream.of(0, 2)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    x, v = data(2, 3), data(2, 3)
    states = [process.prior(x, rng, mask)]
    for each in (x, torch.where(mask, x, 9.0)):
        x_t = process.corrupt(each, 0.5, rng, mask=mask)
        states += [x_t, process.update(x_t, Tangent(v, x_t), 0.5, 0.2, rng, mask=mask)]
    assert all(not bool(state[~mask].any()) for state in states)
    assert torch.equal(states[1], states[3]) and torch.equal(states[2], states[4])
    losses = [
        process.loss(Tangent(torch.where(mask, v, w), states[1]), x, states[1], 0.5, rng, mask=mask)
        for w in (0.0, 9.0)
    ]
    assert torch.allclose(*losses)


@pytest.mark.parametrize("schedule", [VP(), VE(), EDM()], ids=repr)
def test_a_schedule_that_does_not_reach_1_is_refused(schedule: Any) -> None:
    with pytest.raises(ValueError, match="Torus needs a schedule with sigma = 1 at t = 1"):
        Torus(schedule)


def test_a_rising_grid_from_data_is_refused() -> None:
    x = data(2, 3)
    with pytest.raises(ValueError, match="begin the rising grid above 0"):
        Torus().update(x, Tangent(x, x), 0.0, 0.5, Stream.of(0, 2))
