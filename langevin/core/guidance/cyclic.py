r"""Samples on a circle: the beginning follows the end, though the denoiser knows only stretches with two ends.

Axis 1 of the state (frames of a sound or of a clip) is closed to a circle, which is cut open at another place in every step
of the grid (latent shift; Bi et al., 2025, "Mobius: Text to seamless looping video generation via latent shift"): the state
is rolled, the denoiser asked, and its belief rolled back,

.. math:: q(x_t) = R^{-1} D(R \, x_t), \qquad R \, x = x \text{ rolled by } s_k, \qquad
          s_k = u \lfloor \{k / \varphi\} \, N / u \rfloor ,

with N elements, the unit u of what may be rolled (a patch), the number k of the step and the golden ratio φ: cuts keep
away from those of the steps before, and every place lies inside a stretch in most of them. Evaluations at a
time of the grid, and those between it and the time before, see the same cut, in any batch.

It goes innermost, around the network's denoiser: what guidance keeps or compares then stays where it is. What a denoiser
remembers of its beliefs is rolled with them.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Guidance, Question, answer
from langevin.core.posteriors import Categorical, Leaf, Point, Posterior, leafwise
from langevin.core.processes import split
from langevin.core.times import Times

__all__ = ["Cyclic"]

_GOLDEN = (5**0.5 - 1) / 2
_NEAR = 1e-6


@dataclass(frozen=True)
class Cyclic(Guidance):
    """The denoiser of samples on a circle.

    Args:
        unit: elements that stay together, as those of a patch do.
        times: of the grid; cuts differ from one to the next.

    Raises:
        ValueError: when asked, a number of elements that is no multiple of the unit, or a mask that leaves some out.
    """

    unit: int
    times: Sequence[Any]

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        shape = next(iter(split(q.x_t).values())).shape
        if shape[1] % self.unit or (q.mask is not None and not bool(q.mask.all())):
            raise ValueError(
                f"on a circle all of a sample is real and a whole number of {self.unit} elements long, "
                f"got {shape[1]}{'' if q.mask is None else ' with a mask'}"
            )
        shift = self.shift(q.t, shape[1])
        state = {name: part.roll(-shift, 1) for name, part in split(q.x_t).items()}
        rolled = replace(
            q,
            x_t=state if isinstance(q.x_t, dict) else state[""],
            t=_turned(q.t, -shift),
            memory=_remembered(q.memory, shape, -shift),
        )
        beliefs, memory = answer(inner, rolled)
        back = [leafwise(belief, lambda _, leaf: _rolled(leaf, shift)) for belief in beliefs]
        return back, _remembered(memory, shape, shift)

    def shift(self, t: Times, count: int) -> int:
        """Where a circle of ``count`` elements is cut open at time t."""
        now = _latest(t)
        step = bisect.bisect_left(sorted(-_latest(u) for u in self.times), -now - _NEAR)
        return self.unit * int(step * _GOLDEN % 1 * (count // self.unit))


def _latest(t: Times) -> float:
    """The largest of all times."""
    if isinstance(t, dict):
        return max(map(_latest, t.values()))
    return float(t.max()) if isinstance(t, Tensor) else float(t)


def _turned(t: Any, shift: int) -> Any:
    """Times, those of single elements rolled."""
    if isinstance(t, dict):
        return {name: _turned(part, shift) for name, part in t.items()}
    return t.roll(shift, 1) if isinstance(t, Tensor) and t.ndim > 1 else t


def _rolled(leaf: Leaf, shift: int) -> Leaf:
    if isinstance(leaf, Point):
        more = None if leaf.log_var is None else leaf.log_var.roll(shift, 1)
        x, eps, x_t = (part.roll(shift, 1) for part in (leaf.x, leaf.eps, leaf.x_t))
        return replace(leaf, x=x, eps=eps, x_t=x_t, t=_turned(leaf.t, shift), log_var=more)
    if isinstance(leaf, Categorical):
        return Categorical(leaf.logits.roll(shift, 1))
    return replace(leaf, vector=leaf.vector.roll(shift, 1), x_t=leaf.x_t.roll(shift, 1))


def _remembered(memory: Memory, shape: torch.Size, shift: int) -> Memory:
    """A memory whose parts that are as long as the state are rolled."""
    if memory is None:
        return None
    long = {name for name, part in memory.items() if part.ndim > 1 and part.shape[:2] == shape[:2]}
    return {name: part.roll(shift, 1) if name in long else part for name, part in memory.items()}
