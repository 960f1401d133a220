"""Plans with fresh noise between steps: churn and restart. Both wrap any sampler and add renoise moves to its plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from langevin.core.denoiser import Memory
from langevin.core.processes import Process, State
from langevin.core.rng import Stream
from langevin.core.samplers.base import Asking, GridLike, Move, Sampler, renumber, times_of
from langevin.core.samplers.heun import Heun
from langevin.core.schedules import Schedule
from langevin.core.times import of_leaf

__all__ = ["Churn", "Restart"]


@dataclass(frozen=True)
class _Wrapper(Sampler):
    inner: Sampler = Heun(of="sigma")
    order: int = 0  # type: ignore[misc]
    stochastic = True

    def step(
        self,
        move: Move,
        process: Process,
        x_t: State,
        rng: Stream,
        memory: Memory,
        mask: Tensor | None = None,
    ) -> Asking:
        return self.inner.step(move, process, x_t, rng, memory, mask)

    def cost(self, move: Move, process: Process) -> int:
        return self.inner.cost(move, process)


@dataclass(frozen=True)
class Churn(_Wrapper):
    """Karras et al., 2022, Alg. 2 as written: raise the noise to σ̂ = (1 + γ) σ, *then* ask and step from σ̂.

    Args:
        inner: the deterministic step, Heun in σ/α by default.
        amount: S_churn; γ = min(S_churn / N, √2 − 1) on steps whose σ/α lies in [low, high].
        low: S_min. high: S_max.
        noise: S_noise, scale of the fresh noise.
    """

    amount: float = 40.0
    low: float = 0.0
    high: float = math.inf
    noise: float = 1.0

    def __post_init__(self) -> None:
        if self.amount < 0 or self.noise <= 0 or not 0 <= self.low <= self.high:
            raise ValueError(
                "Churn needs amount >= 0, noise > 0 and 0 <= low <= high; "
                f"got {self.amount}, {self.noise}, {self.low}, {self.high}"
            )

    def plan(self, process: Process, grid: GridLike) -> list[Move]:
        times = times_of(grid, process)
        schedule = _schedule(process, times)
        gamma = min(self.amount / (len(times) - 1), math.sqrt(2) - 1)
        moves: list[Move] = []
        segment = [times[0]]
        for t, s in zip(times[:-1], times[1:], strict=True):
            assert isinstance(t, float)
            raised = _raised(schedule, t, gamma, self.low, self.high)
            if raised > t:
                if len(segment) > 1:
                    moves += self.inner.plan(process, segment)  # type: ignore[arg-type]
                moves.append(Move(0, t, raised, "renoise", self.noise))
                segment = [raised]
            segment.append(s)
        return renumber([*moves, *self.inner.plan(process, segment)])  # type: ignore[arg-type]


def _raised(schedule: Schedule, t: float, gamma: float, low: float, high: float) -> float:
    """The time at which σ/α is (1 + γ) times that of t; t itself outside [low, high] and at α = 0."""
    alpha, sigma = schedule.at(t)
    if alpha == 0 or not low <= sigma / alpha <= high or gamma == 0:
        return t
    raised = (1 + gamma) * sigma / alpha
    return min(1.0, schedule.time(torch.tensor(-2 * math.log(raised), dtype=torch.float64)).item())


@dataclass(frozen=True)
class Restart(_Wrapper):
    """Restart sampling (Xu et al., 2023, arXiv 2306.14878): on reaching ``low``, renoise to ``high`` and come down again.

    Where the grid has no step between the two, there is nothing to pass again, and the plan is that of ``inner``. Where
    leaves have clocks of their own, the bounds are times of the first Gaussian one.

    What earlier steps got wrong in a sample is forgotten by the fresh noise as far as that reaches: passages near the data
    (``low=0``) mend details, where one longer passage through as many steps goes on from the same wrong state.

    Args:
        inner: the sampler of every passage.
        low: time at which a passage ends, moved to the nearest time of the grid.
        high: time to which it goes back, likewise.
        times: number of extra passages.

    Raises:
        ValueError: bounds that do not fall, or no extra passage; a grid that rises has no way down to repeat.
    """

    low: float = 0.1
    high: float = 0.4
    times: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1 or self.times < 1:
            raise ValueError(
                f"Restart needs 0 <= low < high <= 1 and times >= 1, got {self.low}, {self.high}, {self.times}"
            )

    def plan(self, process: Process, grid: GridLike) -> list[Move]:
        times = times_of(grid, process)
        leader = next((name for name, leaf in process.leaves.items() if leaf.order > 1), None)
        if leader is None:
            raise ValueError("restarts are placed by the clock of a Gaussian leaf; this process has none")
        clock = [float(of_leaf(t, leader)) for t in times]
        if clock[0] < clock[-1]:
            raise ValueError(f"Restart needs a falling grid, got one from {clock[0]:g} to {clock[-1]:g}")

        def nearest(value: float) -> int:
            return min(range(len(clock)), key=lambda i: abs(clock[i] - value))

        top, bottom = nearest(self.high), nearest(self.low)
        if top == bottom:
            return self.inner.plan(process, times)  # type: ignore[arg-type]
        moves = self.inner.plan(process, times[: bottom + 1])  # type: ignore[arg-type]
        for _ in range(self.times):
            moves.append(Move(0, times[bottom], times[top], "renoise"))
            moves += self.inner.plan(process, times[top : bottom + 1])  # type: ignore[arg-type]
        if bottom + 1 < len(times):
            moves += self.inner.plan(process, times[bottom:])  # type: ignore[arg-type]
        return renumber(moves)


def _schedule(process: Process, times: list) -> Schedule:  # type: ignore[type-arg]
    """The common schedule that noise levels are stated in."""
    if any(isinstance(t, dict) for t in times):
        raise ValueError("churn needs one clock for all leaves")
    for leaf in process.leaves.values():
        if leaf.order > 1:
            return leaf.schedule  # type: ignore[attr-defined,no-any-return]
    raise ValueError("churn is stated in the noise levels of a Gaussian leaf; this process has none")
