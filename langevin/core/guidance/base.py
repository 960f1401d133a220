r"""Guidance: a rule that makes a denoiser of a denoiser, written in posterior space.

A :class:`Guidance` is settings and a rule; calling it on a denoiser gives a :class:`Guided` denoiser, which
samplers cannot tell from another. Rules act on beliefs, so that one formula serves means, log-probabilities
and tangents, whatever the network was trained to output; and because a guided denoiser answers ``many``
conditions at once, rules nest freely and still share one batch.

A rule that needs history keeps it in the memory that is passed in and returned, under a name of its own;
the memory of the denoiser inside travels beside it. Weights follow one convention: w = 1 is the conditional
belief unguided, w = 0 the unconditional one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from langevin.core.conditioning import Embedded
from langevin.core.denoiser import Condition, Denoiser, Memory
from langevin.core.errors import unknown
from langevin.core.posteriors import Categorical, Point, Posterior, Tangent
from langevin.core.processes import Process, State, join, split
from langevin.core.times import Times, of_leaf, shaped

__all__ = ["Guidance", "Guided", "Question", "answer", "at_rows", "chain", "guided"]

Index: TypeAlias = Tensor | slice  # of rows
_NEAR = 1e-6  # a float32 time must not fall out of an interval by its rounding


@dataclass(frozen=True)
class Question:
    """What a denoiser is asked: the beliefs at (x_t, t) under several conditions.

    Attributes:
        x_t: noisy state.
        t: its times.
        conditions: one belief is wanted under each.
        mask: (B, L), True on real elements.
        memory: of the denoiser.
        batched: whether conditions may share a batch.
    """

    x_t: State
    t: Times
    conditions: Sequence[Condition]
    mask: Tensor | None = None
    memory: Memory = None
    batched: bool = True

    @property
    def rows(self) -> int:
        """The batch B."""
        return next(iter(split(self.x_t).values())).shape[0]


def answer(denoiser: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
    """The beliefs that a denoiser gives to a question; a single condition is a plain call."""
    if len(q.conditions) == 1:
        belief, memory = denoiser(q.x_t, q.t, q.conditions[0], q.mask, q.memory)
        return [belief], memory
    return denoiser.many(q.x_t, q.t, q.conditions, q.mask, q.memory, q.batched)


class Guidance(ABC):
    """A rule from denoiser to denoiser. Frozen; a subclass answers ``believe``, and ``asks`` where it asks
    more often.
    """

    def __call__(self, denoiser: Denoiser) -> Denoiser:
        """The guided denoiser."""
        self.check(denoiser)
        return Guided(denoiser, self)

    def check(self, inner: Denoiser) -> None:
        """Raises a ValueError where the rule cannot guide this denoiser."""
        return

    def process(self, inner: Denoiser) -> Process:
        """How the states of the guided denoiser are noised: as those of the one inside, unless the rule changes it."""
        return inner.process

    @abstractmethod
    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        """The guided beliefs under each of the question's conditions, and the memory."""

    def asks(self, inner: Denoiser, t: Times) -> int:
        """Beliefs of the denoiser inside that one belief takes at time t."""
        return 1

    def rows(self, inner: Denoiser, t: Times) -> int:
        """Rows of the network that a sample costs at time t."""
        return inner.rows(t) * self.asks(inner, t)

    def gradients(self, inner: Denoiser, t: Times, count: int = 1) -> int:
        """Backward passes that a sample costs where ``count`` beliefs are asked for at time t."""
        return inner.gradients(t, count * self.asks(inner, t))

    def at(self, index: Index, total: int) -> Guidance:
        """The same rule for some rows of a run of ``total`` samples: what it holds for each sample is cut to
        them, what it holds once serves all. A subclass that holds conditions or states answers this.

        Raises:
            ValueError: something that it holds has neither 1 row nor ``total``.
        """
        return self


@dataclass(frozen=True)
class Guided(Denoiser):
    """A denoiser under a guidance.

    Args:
        denoiser: what is guided; it may be guided itself.
        guidance: the rule.
    """

    denoiser: Denoiser
    guidance: Guidance

    @property
    def process(self) -> Process:  # type: ignore[override]
        return self.guidance.process(self.denoiser)

    def __call__(
        self,
        x_t: State,
        t: Times,
        condition: Condition | None = None,
        mask: Tensor | None = None,
        memory: Memory = None,
    ) -> tuple[Posterior, Memory]:
        beliefs, memory = self.guidance.believe(
            self.denoiser, Question(x_t, t, [condition or {}], mask, memory)
        )
        return beliefs[0], memory

    def many(
        self,
        x_t: State,
        t: Times,
        conditions: Sequence[Condition],
        mask: Tensor | None = None,
        memory: Memory = None,
        batched: bool = True,
    ) -> tuple[list[Posterior], Memory]:
        return self.guidance.believe(self.denoiser, Question(x_t, t, list(conditions), mask, memory, batched))

    def without(self, condition: Condition | None, names: Iterable[str] | None = None) -> dict[str, Any]:
        return self.denoiser.without(condition, names)

    def rows(self, t: Times) -> int:
        return self.guidance.rows(self.denoiser, t)

    def gradients(self, t: Times, count: int = 1) -> int:
        return self.guidance.gradients(self.denoiser, t, count)


@dataclass(frozen=True)
class Chain(Guidance):
    """Rules one after another: the first is innermost."""

    rules: tuple[Callable[[Denoiser], Denoiser], ...]

    def __call__(self, denoiser: Denoiser) -> Denoiser:
        for rule in self.rules:
            denoiser = rule(denoiser)
        return denoiser

    def process(self, inner: Denoiser) -> Process:
        return self(inner).process

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        return answer(self(inner), q)

    def rows(self, inner: Denoiser, t: Times) -> int:
        return self(inner).rows(t)

    def gradients(self, inner: Denoiser, t: Times, count: int = 1) -> int:
        return self(inner).gradients(t, count)

    def at(self, index: Index, total: int) -> Chain:
        return Chain(tuple(at_rows(rule, index, total) for rule in self.rules))


def chain(*guidances: Callable[[Denoiser], Denoiser]) -> Chain:
    """One guidance of several, applied in the order of reading: ``chain(cfg(4), dynamic_threshold())``
    thresholds what ``cfg`` gives."""
    return Chain(guidances)


def guided(denoiser: Denoiser, guidance: Callable[[Denoiser], Denoiser] | None) -> Denoiser:
    """The denoiser under a guidance; itself where that is None."""
    return denoiser if guidance is None else guidance(denoiser)


def at_rows(rule: Any, index: Index, total: int) -> Any:
    """A guidance, or a guided denoiser, for some rows of a run of ``total`` samples; see :meth:`Guidance.at`.

    Rules that are plain functions, and denoisers without guidance, are given back as they are.
    """
    if isinstance(rule, Guided):
        return Guided(at_rows(rule.denoiser, index, total), rule.guidance.at(index, total))
    return rule.at(index, total) if isinstance(rule, Guidance) else rule


def checked(name: str, value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in [low, high], or a ValueError that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value) or not low <= value <= high:
        bounds = "" if low == -math.inf and high == math.inf else f" in [{low:g}, {high:g}]"
        raise ValueError(f"{name} must be a finite number{bounds}, got {value}")
    return float(value)


def checked_interval(interval: Sequence[float]) -> tuple[float, float]:
    """(low, high) with 0 ≤ low < high ≤ 1, or a ValueError."""
    if len(interval) != 2:
        raise ValueError(f"interval must be two times (low, high), got {interval!r}")
    low, high = (checked("a time of interval", u, 0.0, 1.0) for u in interval)
    if low >= high:
        raise ValueError(
            f"interval must rise from low to high (t = 0 is data, t = 1 noise), got {tuple(interval)}"
        )
    return low, high


def gates(process: Process, t: Times, interval: tuple[float, float]) -> dict[str, Any]:
    """By leaf, whether its time lies in an interval: a bool, or a tensor where times are tensors."""
    low, high = interval[0] - _NEAR, interval[1] + _NEAR
    out: dict[str, Any] = {}
    for name, leaf in process.leaves.items():
        u = leaf.clock(of_leaf(t, name))
        out[name] = (u >= low) & (u <= high) if isinstance(u, Tensor) else low <= u <= high
    return out


def anywhere(gate: Mapping[str, Any]) -> bool:
    """Whether a gate is open for any leaf, sample or element."""
    return any(bool(g.any()) if isinstance(g, Tensor) else g for g in gate.values())


def select(process: Process, gate: Mapping[str, Any], inside: Posterior, outside: Posterior) -> Posterior:
    """``inside`` where the gate is open, else ``outside``; leaf by leaf, and by sample or element."""
    if all(g is True for g in gate.values()):
        return inside
    a, b = split(inside), split(outside)
    return join(process, {name: _select(gate[name], a[name], b[name]) for name in a})


def _select(gate: Any, a: Any, b: Any) -> Any:
    if not isinstance(gate, Tensor):
        return a if gate else b
    if isinstance(a, Point):
        g = shaped(gate, a.x)
        return replace(a, x=torch.where(g, a.x, b.x), eps=torch.where(g, a.eps, b.eps))
    if isinstance(a, Categorical):
        return Categorical(torch.where(shaped(gate, a.logits), a.logits, b.logits))
    return Tangent(torch.where(shaped(gate, a.vector), a.vector, b.vector), a.x_t)


def pack(**parts: Memory) -> Memory:
    """Several memories as one, each under its name; None where all are."""
    out = {f"{name}.{key}": value for name, part in parts.items() for key, value in (part or {}).items()}
    return out or None


def unpack(memory: Memory, name: str) -> Memory:
    """The memory that :func:`pack` put under a name."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in (memory or {}).items() if k.startswith(prefix)} or None


def _counted(condition: Condition, rows: int) -> Iterator[tuple[str, Any, bool]]:
    """(name, value, whether it is a lone row) of every part of a guidance's own condition.

    Raises:
        ValueError: a value with another number of rows than 1 and ``rows``.
        TypeError: a value that is no tensor.
    """
    for name, value in condition.items():
        if not isinstance(value, Embedded):
            try:
                value = torch.as_tensor(value)
            except (TypeError, ValueError, RuntimeError):
                raise TypeError(
                    f"the condition {name!r} of a guidance must be a tensor, got {value!r}; "
                    f"model.embed({name}=…) makes one of what users write"
                ) from None
            value = value[None] if value.ndim == 0 else value
        have = value.rows if isinstance(value, Embedded) else value.shape[0]
        if have not in (1, rows):
            raise ValueError(
                f"the condition {name!r} of a guidance has {have} rows for {rows} samples; "
                "give one, which serves all, or one for each"
            )
        yield name, value, have == 1


def spread(condition: Condition, rows: int) -> dict[str, Any]:
    """A condition of ``rows`` rows; a lone row serves all.

    Raises:
        ValueError: a value with another number of rows.
    """
    out: dict[str, Any] = {}
    for name, value, lone in _counted(condition, rows):
        if not lone:
            out[name] = value
        else:
            out[name] = (
                value.repeat(rows) if isinstance(value, Embedded) else value.expand(rows, *value.shape[1:])
            )
    return out


def cut(condition: Condition, index: Index, total: int) -> dict[str, Any]:
    """Some rows of a condition of ``total`` rows; a lone row stays as it is.

    Raises:
        ValueError: a value with another number of rows.
    """
    return {
        name: value if lone else value.select(index) if isinstance(value, Embedded) else value[index]
        for name, value, lone in _counted(condition, total)
    }


def real_elements(process: Process, name: str, mask: Tensor | None, like: Tensor) -> Tensor | None:
    """The mask of a leaf as a boolean of the shape of ``like``; None where all elements are real."""
    real = process.leaves[name].real(mask)
    return None if real is None else shaped(real, like).expand_as(like)


def dot(a: Tensor, b: Tensor, real: Tensor | None) -> Tensor:
    """Σ a b over the real elements of each sample, in float64 where the device has it, shape (B, 1, …)."""
    wide = a.dtype if a.device.type == "mps" else torch.float64
    product = a.to(wide) * b.to(wide)
    product = product if real is None else product * real
    total = product.flatten(1).sum(1) if product.ndim > 1 else product
    return total.reshape(-1, *(1,) * (a.ndim - 1))


def checked_leaves(process: Process, names: Iterable[str] | None) -> None:
    """Raises a KeyError for a name that is no leaf of the process."""
    for name in names or ():
        if name not in process.leaves:
            raise KeyError(unknown("leaf", name, process.leaves))
