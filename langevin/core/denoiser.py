"""Denoiser: (x_t, t, condition, memory) → (belief about clean data, memory).

The denoiser owns what stands between the core's conventions and a network: the parametrisation, the network's dtype and
its units of time, and the batching of several conditions. Samplers and guidance see beliefs only. Guidance is a denoiser
that wraps a denoiser; an analytic denoiser is a subclass that computes the belief in closed form.

A condition is a dict by name. What is absent is unconditional: the network then uses the learned null of that name.
Memory is None or a flat dict of tensors, batch first; it is passed in and returned (self-conditioning, momentum).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from langevin.core.errors import unknown
from langevin.core.posteriors import Posterior
from langevin.core.processes.base import Process, State
from langevin.core.recall import Recalled, remember, remembered
from langevin.core.times import Times

__all__ = ["Condition", "Denoiser", "Memory", "NetworkDenoiser", "Question", "repeat_rows", "under"]

Condition: TypeAlias = Mapping[str, Any]
Memory: TypeAlias = dict[str, Tensor] | None


@dataclass(frozen=True)
class Question:
    """What a denoiser is asked about a batch in training.

    Attributes:
        process: how its states were noised.
        x_t, t, condition, mask, memory: as for a call.
    """

    process: Process
    x_t: State
    t: Times
    condition: Condition | None = None
    mask: Tensor | None = None
    memory: Memory = None


class Denoiser(ABC):
    """What samplers ask. A subclass answers ``__call__`` and may batch ``many``."""

    process: Process

    @abstractmethod
    def __call__(
        self,
        x_t: State,
        t: Times,
        condition: Condition | None = None,
        mask: Tensor | None = None,
        memory: Memory = None,
    ) -> tuple[Posterior, Memory]:
        """The belief about clean data at (x_t, t), and the memory to pass to the next call."""

    def many(
        self,
        x_t: State,
        t: Times,
        conditions: Sequence[Condition],
        mask: Tensor | None = None,
        memory: Memory = None,
        batched: bool = True,
    ) -> tuple[list[Posterior], Memory]:
        """The beliefs under several conditions at the same (x_t, t); the memory is that of the first.

        Args:
            batched: one call with rows for all conditions where the denoiser can; False asks one after the other,
                slower and with less memory.
        """
        answers = [self(x_t, t, condition, mask, memory) for condition in conditions]
        return [belief for belief, _ in answers], answers[0][1]

    def together(self, questions: Sequence[Question]) -> list[Posterior]:
        """The beliefs about batches whose shapes may differ; one after another, unless overridden."""
        return [under(self, q.process)(q.x_t, q.t, q.condition, q.mask, q.memory)[0] for q in questions]

    def rows(self, t: Times) -> int:
        """Rows of the network that one sample costs at time t: 1, and more where guidance asks several times."""
        return 1

    def gradients(self, t: Times, count: int = 1) -> int:
        """Backward passes that one sample costs where ``count`` beliefs are asked for at (x_t, t) together: 0, and more
        where guidance follows a gradient."""
        return 0

    def without(self, condition: Condition | None, names: Iterable[str] | None = None) -> dict[str, Any]:
        """``condition`` with some names dropped (all by default), for which the learned null then stands.

        Raises:
            KeyError: a name that the condition does not have.
        """
        given = dict(condition or {})
        if names is None:
            return {}
        for name in names:
            if name not in given:
                raise KeyError(unknown("condition", name, given))
            del given[name]
        return given


def under(denoiser: Denoiser, process: Process) -> Denoiser:
    """The denoiser for states that another process of the same leaves noised."""
    return denoiser if process is denoiser.process else replace(denoiser, process=process)  # type: ignore[type-var]


def _latest(t: Times) -> float:
    """The largest of all times."""
    if isinstance(t, dict):
        return max(map(_latest, t.values()))
    return float(t.max()) if isinstance(t, Tensor) else float(t)


def repeat_rows(value: Any, count: int) -> Any:
    """``count`` copies of a batch one after another: tensors with a batch axis, dicts of them; floats as they are."""
    if isinstance(value, dict):
        return {name: repeat_rows(part, count) for name, part in value.items()}
    if isinstance(value, Tensor) and value.ndim:
        return value.repeat(count, *(1,) * (value.ndim - 1))
    return value


def _rows(value: Any, index: slice) -> Any:
    if isinstance(value, dict):
        return {name: _rows(part, index) for name, part in value.items()}
    return value[index]


@dataclass(frozen=True)
class NetworkDenoiser(Denoiser):
    """A network, the process it was trained on and the parametrisation of its output.

    Args:
        network: ``network(x_t, t, condition, mask) -> output``, a tensor or a dict by leaf, given states in ``dtype``
            and times in float32. It has ``batch(conditions, rows) -> condition`` if it takes conditions: the rows of
            several conditions as one; and may have ``packed(batches) -> outputs``, for batches of different shapes
            (:mod:`langevin.core.packing`), each given by its arguments. Where it has a true ``recalls`` it takes
            ``belief=`` too, and is shown its last answer (:mod:`langevin.core.recall`).
        process: what it was trained on.
        parametrisation: of Gaussian leaves — "eps", "x", "v", "velocity", "score", "edm" — or a dict by leaf.
        dtype: what the network computes in; states and beliefs stay float32 or float64.
        time: the network's clock, t ↦ its own units (foreign checkpoints).
        recall: time from which on down a network that recalls is not shown its last answer, where the latest of all clocks
            is below it.
    """

    network: Callable[..., Any]
    process: Process
    parametrisation: str | dict[str, str] = "velocity"
    dtype: torch.dtype = torch.float32
    time: Callable[[Times], Any] | None = None
    recall: float = 0.0

    def __call__(
        self,
        x_t: State,
        t: Times,
        condition: Condition | None = None,
        mask: Tensor | None = None,
        memory: Memory = None,
    ) -> tuple[Posterior, Memory]:
        clock = self.time(t) if self.time else t
        output = self.network(self._cast(x_t), clock, dict(condition or {}), mask, **self._shown(memory, t))
        belief = self.process.posterior(output, x_t, t, self.parametrisation)
        return belief, remember(memory, belief) if self._recalls else memory

    @property
    def _recalls(self) -> bool:
        return bool(getattr(self.network, "recalls", False))

    def _shown(self, memory: Memory, t: Times, count: int = 1) -> dict[str, Recalled]:
        """The last belief for ``count`` copies of the batch, as an argument of the network."""
        last = remembered(self.process, memory) if self._recalls else None
        if last is None or (
            last.rows is None and _latest(t) < self.recall
        ):  # rows: training, which shows as it draws
            return {}
        last = replace(last, state=self._cast(last.state))
        return {"belief": last if count == 1 else last.repeat(count)}

    def many(
        self,
        x_t: State,
        t: Times,
        conditions: Sequence[Condition],
        mask: Tensor | None = None,
        memory: Memory = None,
        batched: bool = True,
    ) -> tuple[list[Posterior], Memory]:
        count = len(conditions)
        if not batched or count == 1:
            return super().many(x_t, t, conditions, mask, memory)
        first = next(iter(x_t.values())) if isinstance(x_t, dict) else x_t
        rows = first.shape[0]
        joint = self.network.batch([dict(c) for c in conditions], rows)  # type: ignore[attr-defined]
        wide = repeat_rows(x_t, count)
        times = repeat_rows(t, count)
        clock, wide_mask = self.time(times) if self.time else times, repeat_rows(mask, count)
        output = self.network(self._cast(wide), clock, joint, wide_mask, **self._shown(memory, t, count))
        beliefs = []
        for k in range(count):
            part = _rows(output, slice(k * rows, (k + 1) * rows))
            beliefs.append(self.process.posterior(part, x_t, t, self.parametrisation))
        return beliefs, remember(memory, beliefs[0]) if self._recalls else memory

    def together(self, questions: Sequence[Question]) -> list[Posterior]:
        if len(questions) == 1 or not hasattr(self.network, "packed"):
            return super().together(questions)
        outputs = self.network.packed(
            [
                (
                    self._cast(q.x_t),
                    self.time(q.t) if self.time else q.t,
                    dict(q.condition or {}),
                    q.mask,
                    self._shown(q.memory, q.t).get("belief"),
                )
                for q in questions
            ]
        )
        return [
            q.process.posterior(output, q.x_t, q.t, self.parametrisation)
            for q, output in zip(questions, outputs, strict=True)
        ]

    def _cast(self, x: State) -> State:
        if isinstance(x, dict):
            return {
                name: part.to(self.dtype) if part.is_floating_point() else part for name, part in x.items()
            }
        return x.to(self.dtype) if x.is_floating_point() else x
