"""Heun's method: an Euler step, a second belief at its end, and the step again with the mean of the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from langevin.core.denoiser import Memory
from langevin.core.errors import unknown
from langevin.core.posteriors import Point
from langevin.core.processes import LeafProcess, Process, State, join, split
from langevin.core.rng import Stream
from langevin.core.samplers import coordinates
from langevin.core.samplers.base import Asking, Move, Sampler
from langevin.core.times import of_leaf

__all__ = ["Heun"]


@dataclass(frozen=True)
class Heun(Sampler):
    """Second order with two beliefs a step (Karras et al., 2022, Alg. 1).

    Args:
        of: the coordinate that is averaged: "velocity" (flow; every schedule, both ends) or "sigma" (EDM).

    The last step, to σ = 0, is Euler's alone: there is no noise left to ask about. So is a step of="sigma" from
    α = 0, where σ/α is infinite.
    """

    of: str = "velocity"
    order: ClassVar[int] = 2  # type: ignore[misc]

    def __post_init__(self) -> None:
        if self.of not in ("velocity", "sigma"):
            raise ValueError(unknown("coordinate of Heun", self.of, ("velocity", "sigma")))

    def cost(self, move: Move, process: Process) -> int:
        if move.kind == "renoise":
            return 0
        return (
            2 if any(self._averages(leaf, *_ends(move, name)) for name, leaf in process.leaves.items()) else 1
        )

    def step(
        self,
        move: Move,
        process: Process,
        x_t: State,
        rng: Stream,
        memory: Memory,
        mask: Tensor | None = None,
    ) -> Asking:
        q_t = yield x_t, move.t
        x_s = process.update(x_t, q_t, move.t, move.s, rng, 0.0, mask)
        if self.cost(move, process) == 1:
            return x_s, None
        parts, first, ahead = split(x_t), split(q_t), split(x_s)
        asked, clocks = dict(ahead), move.s
        if isinstance(move.s, dict):
            # a leaf that lands before the others, or stands still, is asked about where it is
            gaussian = [name for name, leaf in process.leaves.items() if leaf.order > 1]
            late = [name for name in gaussian if not self._averages(process.leaves[name], *_ends(move, name))]
            asked |= {name: parts[name] for name in late}
            clocks = {**move.s, **{name: of_leaf(move.t, name) for name in late}}
        q_s = yield join(process, asked), clocks
        second = split(q_s)
        mean = {
            name: self._mean(leaf, parts[name], first[name], second[name], *_ends(move, name))
            for name, leaf in process.leaves.items()
        }
        return process.update(x_t, join(process, mean), move.t, move.s, rng, 0.0, mask), None

    def _mean(self, leaf: LeafProcess, x_t: Tensor, q_t: Any, q_s: Any, t: Any, s: Any) -> Any:
        """The effective belief of the trapezoidal rule; leaves of first order keep the belief at t."""
        if not self._averages(leaf, t, s):
            return q_t
        schedule = leaf.schedule  # type: ignore[attr-defined]
        m = (coordinates.quantity(self.of, q_t, t) + coordinates.quantity(self.of, q_s, s)) / 2
        p, q, u, w = coordinates.lift(self.of, schedule, t, s)
        return Point(p * x_t + q * m, u * x_t + w * m, x_t, t, schedule)

    def _averages(self, leaf: LeafProcess, t: float, s: float) -> bool:
        """Whether a leaf uses a second belief: a Gaussian one that moves, between times where the rule has a meaning."""
        if leaf.order == 1 or t == s:
            return False
        schedule = leaf.schedule  # type: ignore[attr-defined]
        return schedule.at(s)[1] > 0 and coordinates.usable(self.of, schedule, t)


def _ends(move: Move, name: str) -> tuple[Any, Any]:
    """The times of one leaf at the two ends of a move."""
    return of_leaf(move.t, name), of_leaf(move.s, name)
