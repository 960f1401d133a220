"""Error-controlled steps: Heun's method with Euler's as its estimate of the error, and a PID controller.

Every sample has its own clock and its own step sizes, so that a batch gives what its samples would give alone; samples
that have arrived wait for the others. Rejected steps cost evaluations and change nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from langevin.core.denoiser import Memory
from langevin.core.posteriors import Point
from langevin.core.processes import Process, State
from langevin.core.processes.gaussian import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers.base import Asking, GridLike, Move, Sampler, times_of
from langevin.core.schedules import Schedule
from langevin.core.times import scales

__all__ = ["Adaptive"]


@dataclass(frozen=True)
class Adaptive(Sampler):
    """Adaptive Heun–Euler on the flow of one Gaussian leaf (step-size control: Söderlind, 2003; k-diffusion's PID).

    Args:
        rtol: tolerated error relative to the state.
        atol: tolerated error in units of the data.
        proportional, integral, derivative: gains of the controller on the logarithm of the error.
        first: size of the first step.
        limit: largest number of attempted steps of one sample.

    The grid gives the two ends only. The state and the error are measured in the flow's scaling x / (α + σ), in which
    both are about 1 at all times.
    """

    rtol: float = 0.01
    atol: float = 0.005
    proportional: float = 0.3
    integral: float = 0.2
    derivative: float = 0.0
    first: float = 0.02
    limit: int = 2000
    order: int = 0  # type: ignore[misc]

    def __post_init__(self) -> None:
        if (
            min(self.rtol, self.atol) < 0
            or self.rtol + self.atol == 0
            or not 0 < self.first <= 1
            or self.limit < 1
        ):
            raise ValueError(
                f"Adaptive needs tolerances >= 0 (not both 0), 0 < first <= 1, limit >= 1; got {self.rtol}, {self.atol}, "
                f"{self.first}, {self.limit}"
            )

    def plan(self, process: Process, grid: GridLike) -> list[Move]:
        if list(process.leaves) != [""] or not isinstance(process.leaves[""], Gaussian):
            raise ValueError("Adaptive works on one Gaussian leaf; use Multistep or Single for a product")
        times = times_of(grid, process)
        return [Move(0, times[0], times[-1])]

    def cost(self, move: Move, process: Process) -> int:
        """Not known before it is run: twice the attempts that ``limit`` allows at most."""
        return 2 * self.limit

    def step(
        self,
        move: Move,
        process: Process,
        x_t: State,
        rng: Stream,
        memory: Memory,
        mask: Tensor | None = None,
    ) -> Asking:
        leaf: Any = process.leaves[""]
        assert isinstance(x_t, Tensor) and isinstance(move.t, float) and isinstance(move.s, float)
        x, rows = x_t, x_t.shape[0]
        t = torch.full((rows,), move.t, dtype=x.dtype, device=x.device)
        sign = 1.0 if move.s > move.t else -1.0
        h = torch.full_like(t, min(self.first, abs(move.s - move.t)))
        errors = torch.ones(2, rows, dtype=x.dtype, device=x.device)  # of the two accepted steps before
        for attempt in range(self.limit):
            going = (move.s - t) * sign > 0
            if not bool(going.any()):
                return x, None
            s = torch.where(going, t + sign * torch.minimum(h, (move.s - t).abs()), t)
            s = s if sign > 0 else torch.maximum(s, torch.minimum(t, self._deepest(leaf.schedule, t)))
            s = torch.where((move.s - s).abs() < 1e-6, torch.full_like(s, move.s), s)
            # the first time is asked about as a float, so that a parametrisation that says nothing there is refused
            q_t: Any = yield x, t if attempt else move.t
            # at 0 there is no noise left to ask about: a step that lands there is checked halfway
            lands = _wide(s == 0, x)
            inner = torch.where(s == 0, t / 2, s)
            y = leaf.update(x, q_t, t, inner, rng, 0.0, mask)
            q_s: Any = yield y, inner
            m = ((q_t.eps - q_t.x) + (q_s.eps - q_s.x)) / 2
            alpha, sigma = scales(leaf.schedule, t, x)
            norm = alpha + sigma
            mean = Point((x - sigma * m) / norm, (x + alpha * m) / norm, x, t, leaf.schedule)
            euler = leaf.update(x, q_t, t, s, rng, 0.0, mask)
            heun = leaf.update(x, mean, t, s, rng, 0.0, mask)
            heun = torch.where(lands, leaf.update(y, q_s, inner, s, rng, 0.0, mask), heun)
            a_s, g_s = scales(leaf.schedule, s, x)
            size = torch.maximum((x / norm).abs(), (heun / (a_s + g_s)).abs())
            error = (heun - euler) / (a_s + g_s) / (self.atol + self.rtol * size)
            error = leaf.mean(error**2, mask).sqrt().clamp(min=1e-6)
            accept = going & ((error <= 1) | (h < 1e-5))
            x = torch.where(_wide(accept, x), heun, x)
            t = torch.where(accept, s, t)
            factor = (
                error ** -(self.proportional + self.integral + self.derivative)
                * errors[0] ** (self.proportional + 2 * self.derivative)
                * errors[1] ** -self.derivative
            )
            factor = torch.where(accept, factor, 0.9 * error**-0.5).clamp(0.2, 5.0)
            h = torch.where(going, h * factor, h)
            errors = torch.stack(
                [torch.where(accept, error, errors[0]), torch.where(accept, errors[0], errors[1])]
            )
        raise RuntimeError(
            f"Adaptive made {self.limit} attempts and stands at t = {t.tolist()[:3]}; loosen rtol and atol or raise limit"
        )

    @staticmethod
    def _deepest(schedule: Schedule, t: Tensor) -> Tensor:
        """The lowest time that one step from t may reach: a sixteenth of σ/α (from 1 at most), and 0 from 0.005 on.

        What data look like at scales between the two ends of a step does not show in the error of that step.
        """
        log_snr = schedule.log_snr(t).clamp(min=0)
        return torch.where(log_snr > -2 * math.log(0.005), 0.0, schedule.time(log_snr + 2 * math.log(16)))


def _wide(rows: Tensor, like: Tensor) -> Tensor:
    return rows.reshape(rows.shape + (1,) * (like.ndim - 1))
