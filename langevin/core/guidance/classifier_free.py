r"""Guidance by contrast of a strong belief c with a weak one u.

Classifier-free guidance (Ho & Salimans, 2022, arXiv 2207.12598) takes the conditional belief and one without
the condition, or with a negative one in its place, and moves from u through c and beyond,

.. math:: g = u + w\,(c - u) ,

on x and ε of Gaussian leaves, on tangents, and on log-probabilities of classes, where it is the tempered
product :math:`p_u^{1-w} p_c^{w}`. Limiting it to an interval of times keeps the diversity that it costs at
high noise, and its price (Kynkäänniemi et al., 2024, arXiv 2404.07724). Large weights inflate x̂;
``rescale`` brings its standard deviation in each sample back towards that of c (Lin et al., 2023, arXiv
2305.08891, §3.4, here on x̂).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.denoiser import Condition, Denoiser, Memory
from langevin.core.guidance.base import (
    Guidance,
    Index,
    Question,
    answer,
    anywhere,
    checked,
    checked_interval,
    cut,
    dot,
    gates,
    real_elements,
    select,
    spread,
)
from langevin.core.posteriors import Point, Posterior, combine
from langevin.core.processes import Process, join, split
from langevin.core.times import Times

__all__ = ["CFG", "Contrast", "cfg"]


@dataclass(frozen=True)
class Contrast(Guidance):
    """What guidances by contrast have in common: which beliefs are asked for, and when.

    Args:
        weight: w; 1 is off and costs nothing, 0 is the weak belief.
        interval: times (low, high) in which to guide; outside, the strong belief alone is asked for.
        names: conditions that the weak branch drops; None for all.
        negative: conditions that the weak branch has in place of those it drops, as ``model.embed`` makes them,
            with one row or one for each sample.
        batched: ask for both beliefs in one batch.

    Raises:
        ValueError: a weight that is not finite, an interval that is not inside [0, 1] or does not rise.
        KeyError: when called, a name that the condition does not have.
    """

    weight: float
    _: KW_ONLY
    interval: tuple[float, float] = (0.0, 1.0)
    names: Sequence[str] | None = None
    negative: Mapping[str, Any] | None = field(default=None, repr=False)
    batched: bool = True

    def __post_init__(self) -> None:
        checked("weight", self.weight)
        object.__setattr__(self, "interval", checked_interval(self.interval))
        if isinstance(self.names, str):
            raise TypeError(
                f"names must be a sequence of names, got the string {self.names!r}; write [{self.names!r}]"
            )

    def at(self, index: Index, total: int) -> Guidance:
        return replace(self, negative=cut(self.negative, index, total)) if self.negative else self

    def weak(self, inner: Denoiser, condition: Condition, rows: int) -> dict[str, Any]:
        """The condition of the weak branch."""
        return inner.without(condition, self.names) | spread(self.negative or {}, rows)

    def pairs(
        self, inner: Denoiser, q: Question
    ) -> tuple[list[Posterior], list[Posterior] | None, dict[str, Any], Memory]:
        """(strong beliefs, weak beliefs or None where guidance is off, where it is on, memory)."""
        weak = [self.weak(inner, condition, q.rows) for condition in q.conditions]
        gate = gates(inner.process, q.t, self.interval)
        same = not self.negative and all(len(a) == len(b) for a, b in zip(weak, q.conditions))
        if self.weight == 1 or same or not anywhere(gate):
            strong, memory = answer(inner, q)
            return strong, None, gate, memory
        count = len(q.conditions)
        both = replace(q, conditions=[*q.conditions, *weak], batched=q.batched and self.batched)
        beliefs, memory = answer(inner, both)
        return beliefs[:count], beliefs[count:], gate, memory

    def blend(self, process: Process, strong: Posterior, weak: Posterior, q: Question) -> Posterior:
        """The guided belief."""
        return combine((1 - self.weight, self.weight), (weak, strong))

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        strong, weak, gate, memory = self.pairs(inner, q)
        if weak is None:
            return strong, memory
        process = inner.process
        return [select(process, gate, self.blend(process, c, u, q), c) for c, u in zip(strong, weak)], memory

    def asks(self, inner: Denoiser, t: Times) -> int:
        """2 where guidance is on (given that there is a condition to drop)."""
        on = self.weight != 1 and anywhere(gates(inner.process, t, self.interval))
        return 2 if on else 1


@dataclass(frozen=True)
class CFG(Contrast):
    """Classifier-free guidance, u + w (c − u); ``cfg(3.0, interval=(0.2, 0.8))``.

    Args:
        rescale: φ in [0, 1]: share of the guided x̂ whose standard deviation in each sample is made that of
            c.
    """

    rescale: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checked("rescale", self.rescale, 0.0, 1.0)

    def blend(self, process: Process, strong: Posterior, weak: Posterior, q: Question) -> Posterior:
        out = super().blend(process, strong, weak, q)
        if not self.rescale:
            return out
        parts, aims = dict(split(out)), split(strong)
        for name, leaf in parts.items():
            if isinstance(leaf, Point):
                real = real_elements(process, name, q.mask, leaf.x)
                before, after = _std(leaf.x, real), _std(aims[name].x, real)
                ratio = torch.where(before > 0, after / before.clamp(min=1e-30), torch.ones_like(before))
                factor = self.rescale * ratio + (1 - self.rescale)
                parts[name] = leaf.with_x(leaf.x * factor.to(leaf.x.dtype))
        return join(process, parts)


def _std(x: Tensor, real: Tensor | None) -> Tensor:
    """The standard deviation over the real elements of each sample, (B, 1, …)."""
    one = torch.ones_like(x)
    count = dot(one, one, real).clamp(min=1)
    mean = dot(x, one, real) / count
    centred = x - mean.to(x.dtype)
    return (dot(centred, centred, real) / count).sqrt()


cfg = CFG  # reads as a verb: cfg(3.0)(denoiser)
