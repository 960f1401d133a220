r"""Autoguidance: guidance by a bad version of the model itself (Karras et al., 2024, arXiv 2406.02507).

.. math:: g = u + w\,(c - u)

with c the belief of the model and u that of a weaker one — smaller, or trained for less — *under the same
condition*. The two err in the same directions, the weak one further; going beyond c corrects errors without
narrowing the condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import (
    Guidance,
    Index,
    Question,
    answer,
    anywhere,
    at_rows,
    checked,
    checked_interval,
    gates,
    pack,
    select,
    unpack,
)
from langevin.core.posteriors import Posterior, combine
from langevin.core.times import Times

__all__ = ["Auto", "autoguidance"]


@dataclass(frozen=True)
class Auto(Guidance):
    """Autoguidance; ``autoguidance(small, 2.0)``.

    Args:
        weak: any denoiser of the same process, usually a smaller or less trained one.
        weight: w; 1 is off.
        interval: times (low, high) in which to guide; outside, the weak one is not asked.

    Raises:
        ValueError: a weight that is not finite, a bad interval; when applied, a weak denoiser of another
            process.
    """

    weak: Denoiser
    weight: float
    _: KW_ONLY
    interval: Sequence[float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        checked("weight", self.weight)
        object.__setattr__(self, "interval", checked_interval(self.interval))

    def check(self, inner: Denoiser) -> None:
        mine, theirs = (
            {name: type(leaf).__name__ for name, leaf in d.process.leaves.items()} for d in (inner, self.weak)
        )
        if mine != theirs:
            raise ValueError(f"the weak denoiser is of another process: {theirs} where the model has {mine}")

    def at(self, index: Index, total: int) -> Auto:
        return replace(self, weak=at_rows(self.weak, index, total))

    def _on(self, inner: Denoiser, t: Times) -> bool:
        return self.weight != 1 and anywhere(gates(inner.process, t, self.interval))  # type: ignore[arg-type]

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        behind = unpack(q.memory, "weak")
        strong, memory = answer(inner, replace(q, memory=unpack(q.memory, "inner")))
        if not self._on(inner, q.t):
            return strong, pack(weak=behind, inner=memory)
        weak, behind = answer(self.weak, replace(q, memory=behind))
        process, gate = inner.process, gates(inner.process, q.t, self.interval)  # type: ignore[arg-type]
        return [
            select(process, gate, combine((1 - self.weight, self.weight), (u, c)), c)
            for c, u in zip(strong, weak)
        ], pack(weak=behind, inner=memory)

    def rows(self, inner: Denoiser, t: Times) -> int:
        """Those of both denoisers where guidance is on, though a row of the weak one may cost less."""
        return inner.rows(t) + (self.weak.rows(t) if self._on(inner, t) else 0)

    def gradients(self, inner: Denoiser, t: Times, count: int = 1) -> int:
        weak = self.weak.gradients(t, count) if self._on(inner, t) else 0
        return inner.gradients(t, count) + weak


autoguidance = Auto
