"""Multistep methods: the polynomial through remembered beliefs, in any coordinate, as one family.

DPM-Solver++ (2M, 3M, and their SDE versions), DEIS, UniPC and Adams–Bashforth differ in the coordinate
(:mod:`~langevin.core.samplers.coordinates`), the order, the noise and whether a corrector follows. A move combines the
remembered quantities into one effective posterior and calls ``Process.update`` once, so that leaves which cannot use a
higher order take part at theirs.

The corrector costs nothing: when the belief at the end of a move arrives — it is needed for the next move anyway — the
move is made again with that belief among its nodes (UniC of Zhao et al., 2023; an implicit Adams method evaluated once).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.denoiser import Memory
from langevin.core.errors import unknown
from langevin.core.posteriors import Point
from langevin.core.processes import LeafProcess, Process, State, join, split
from langevin.core.rng import Stream
from langevin.core.samplers import coordinates
from langevin.core.samplers.base import Asking, GridLike, Move, Sampler
from langevin.core.times import of_leaf

__all__ = ["Multistep"]


@dataclass(frozen=True)
class _Leaf:
    """Coefficients of one leaf in one move.

    Attributes:
        weights: of the quantities at t and at the remembered nodes before it, newest first.
        lift: (p, q, u, w) of the effective posterior; None where the belief itself is taken.
        again: A of the corrected state A x_before + Σ Bⱼ mⱼ, the last move made again.
        correct: its Bⱼ, the belief at the end of that move first; empty for no correction.
    """

    weights: tuple[float, ...]
    lift: tuple[float, float, float, float] | None
    again: float = 0.0
    correct: tuple[float, ...] = ()


@dataclass(frozen=True)
class Multistep(Sampler):
    """Multistep of order 1 … 4.

    Args:
        order: number of beliefs that a move combines, once as many have been seen.
        of: "x" (DPM-Solver++), "eps" (DEIS), "v" (the angle; works from α = 0 and down to σ = 0 at full order),
            "velocity" (flow) or "sigma" (LMS).
        sde: reverse SDE (η = 1) in place of the probability flow.
        corrector: make each move again with the belief at its end; not for SDEs.
        midpoint: second-order weights as published for DPM-Solver++ 2M and UniPC-2, in place of exact integration.
        lower_final: let the order fall to 1 towards the last move, which is steadier at few steps.

    Raises:
        ValueError: an order outside 1 … 4, an unknown coordinate, or a corrector on an SDE.
    """

    order: int = 2  # type: ignore[misc]
    of: str = "x"
    sde: bool = False
    corrector: bool = False
    midpoint: bool = False
    lower_final: bool = False

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3, 4):
            raise ValueError(f"order must be 1, 2, 3 or 4, got {self.order!r}")
        if self.of not in coordinates.COORDINATES:
            raise ValueError(unknown("coordinate of Multistep", self.of, coordinates.COORDINATES))
        if self.sde and self.corrector:
            raise ValueError(
                "a corrector would remove the noise of an SDE; choose sde=True or corrector=True"
            )

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.sde

    def _exponent(self) -> float:
        """c of the weight e^{cu}; the noise of the SDE doubles the decay of old data (Lu et al., 2022, Eq. 17)."""
        return {"x": 2.0 if self.sde else 1.0, "eps": -1.0}.get(self.of, 0.0)

    def plan(self, process: Process, grid: GridLike) -> list[Move]:
        moves = super().plan(process, grid)
        leaves = {name: leaf for name, leaf in process.leaves.items() if leaf.order > 1}
        table = {name: self._leaf(name, leaf, moves) for name, leaf in leaves.items()}
        return [
            replace(move, coefficients={n: column[i] for n, column in table.items()})
            for i, move in enumerate(moves)
        ]

    def _leaf(self, name: str, leaf: LeafProcess, moves: Sequence[Move]) -> list[_Leaf | None]:
        """The coefficients of one leaf along a plan; None where its clock stands still."""
        schedule = leaf.schedule  # type: ignore[attr-defined]
        highest, c = min(self.order, leaf.order), self._exponent()
        out: list[_Leaf | None] = []
        seen: list[float] = []  # u of usable nodes before this move, newest first
        last: tuple[list[float], float, float, float, float] | None = None
        for i, move in enumerate(moves):
            t, s = of_leaf(move.t, name), of_leaf(move.s, name)
            assert isinstance(t, float) and isinstance(s, float)
            if t == s:
                out.append(None)
                continue
            u_t, u_s = (coordinates.variable(self.of, schedule, a) for a in (t, s))
            finite = math.isfinite(u_t) and math.isfinite(u_s)
            count = min(highest, len(seen) + 1) if finite else 1
            if self.lower_final:
                count = min(count, len(moves) - i)
            nodes = [u_t, *seen[: count - 1]]
            b = coordinates.weights(nodes, u_t, u_s, c, self.midpoint)
            correct: tuple[float, ...] = ()
            again = 0.0
            if self.corrector and last is not None and math.isfinite(u_t):
                old, start, end, t_old, s_old = last
                p, q, u, w = coordinates.lift(self.of, schedule, t_old, s_old)
                alpha, sigma = schedule.at(s_old)
                again, scale = alpha * p + sigma * u, alpha * q + sigma * w
                mean = coordinates.weights([end, *old], start, end, c, self.midpoint)
                correct = tuple(scale * weight for weight in mean)
            raised = None
            if count > 1 or coordinates.usable(self.of, schedule, t):
                raised = coordinates.lift(self.of, schedule, t, s if count > 1 else None)
            out.append(_Leaf(tuple(b), raised, again, correct))
            last = (nodes, u_t, u_s, t, s) if finite else None
            seen = [u_t, *seen][:3] if math.isfinite(u_t) else []
        return out

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
        beliefs, remembered = split(q_t), memory or {}
        x, effective = dict(split(x_t)), dict(beliefs)
        kept: dict[str, Tensor] = {}
        for name, plan in move.coefficients.items():
            if plan is None:
                kept |= {k: v for k, v in remembered.items() if k.split("/")[0] == name}
                continue
            t = of_leaf(move.t, name)
            history = [coordinates.quantity(self.of, beliefs[name], t)]  # type: ignore[arg-type]
            while (node := remembered.get(f"{name}/{len(history)}")) is not None:
                history.append(node)
            if plan.correct:
                x[name] = _total(plan.again * remembered[f"{name}/x"], plan.correct, history)
            if plan.lift is not None:
                p, q, u, w = plan.lift
                m = _mean(plan.weights, history)
                belief: Any = beliefs[name]
                effective[name] = Point(
                    _line(p, x[name], q, m), _line(u, x[name], w, m), x[name], t, belief.schedule
                )
            keep = self.order if self.corrector else self.order - 1
            kept |= {f"{name}/{j + 1}": h for j, h in enumerate(history[:keep])}
            if self.corrector:
                kept[f"{name}/x"] = x[name]
        eta = 1.0 if self.sde else 0.0
        x_s = process.update(join(process, x), join(process, effective), move.t, move.s, rng, eta, mask)
        return x_s, kept or None


def _mean(weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """Σ wⱼ vⱼ over as many values as there are weights; they sum to 1, so that a lone value is itself."""
    return values[0] if len(weights) == 1 else _total(weights[0] * values[0], weights[1:], values[1:])


def _total(out: Tensor, weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """``out``, which is written to, plus Σ wⱼ vⱼ over as many values as there are weights."""
    for weight, value in zip(weights, values, strict=False):
        out.add_(value, alpha=weight)
    return out


def _line(p: float, x: Tensor, q: float, m: Tensor) -> Any:
    """p x + q m, without the work that a coefficient of 0 or 1 saves."""
    if p == 0:
        return m if q == 1 else q * m
    return torch.add(p * x, m, alpha=q)
