r"""Known elements: the belief about them is replaced by what is known.

Inpainting, motif scaffolding, first and last frames and their kin are one operation. At a known element the
clean estimate is the known value, and what follows from it is derived anew: of Gaussian leaves
:math:`\epsilon = (x_t - \alpha x) / \sigma`, of classes a log-probability of 0 for the known one and −∞ for the
others, of tangents the vector from :math:`x_t` to the known value. The noise that a sampler believes in at a known
element is then the noise that it holds, and every move keeps that element on the straight path to its known value.
At t = 0 it is exact.

It goes outermost, ``chain(cfg(3.0), known(x, chosen))``: a guidance around it would bend what is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Guidance, Index, Question, answer, checked_leaves
from langevin.core.posteriors import Categorical, Leaf, Point, Posterior, Tangent
from langevin.core.processes import LeafProcess, Process, State, join, split
from langevin.core.processes.torus import wrap
from langevin.core.times import Time, of_leaf, shaped

__all__ = ["Known", "known", "known_rows"]


@dataclass(frozen=True)
class Known(Guidance):
    """The clean value of some elements is known; ``known(x, chosen)``.

    Args:
        x: clean states that hold the known values, with one row or one for each sample.
        chosen: booleans by leaf, True where known; leading axes of the leaf, or all of them. Leaves that are not
            named are left as they are.

    Raises:
        KeyError: when applied, a name that is no leaf.
    """

    x: State = field(repr=False)
    chosen: State = field(repr=False)

    def check(self, inner: Denoiser) -> None:
        checked_leaves(inner.process, split(self.chosen))

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        beliefs, memory = answer(inner, q)
        return [self._corrected(inner.process, belief, q) for belief in beliefs], memory

    def at(self, index: Index, total: int) -> Known:
        return replace(self, x=known_rows(self.x, index, total), chosen=known_rows(self.chosen, index, total))

    def _corrected(self, process: Process, belief: Posterior, q: Question) -> Posterior:
        parts, states, values = dict(split(belief)), split(q.x_t), split(self.x)
        for name, chosen in split(self.chosen).items():
            leaf, time = process.leaves[name], of_leaf(q.t, name)
            parts[name] = _replaced(leaf, parts[name], states[name], values[name], chosen, time)
        return join(process, parts)


def _replaced(process: LeafProcess, leaf: Leaf, x_t: Tensor, value: Tensor, chosen: Tensor, t: Time) -> Leaf:
    """The belief about one leaf with what is known in its place."""
    if isinstance(leaf, Point):
        return leaf.with_x(torch.where(shaped(chosen, leaf.x), value, leaf.x))
    if isinstance(leaf, Categorical):
        value, classes = value.expand_as(x_t), leaf.logits.shape[-1]
        there = (value < classes)[..., None]  # of a value that is itself masked nothing is known
        sure = torch.full_like(leaf.logits, -torch.inf).scatter(
            -1, value.clamp(max=classes - 1)[..., None], 0.0
        )
        return Categorical(torch.where(shaped(chosen, leaf.logits) & there, sure, leaf.logits))
    # the vector to the known value: an angle's lies in its own shape, a rotation's posterior knows its own
    angles = leaf.vector.shape == x_t.shape
    exact: Any = (
        Tangent(wrap(value - x_t), x_t) if angles else process.posterior(value.expand_as(x_t), x_t, t)
    )
    return replace(leaf, vector=torch.where(shaped(chosen, leaf.vector), exact.vector, leaf.vector))


def known_rows(state: State, index: Index, total: int) -> State:
    """Some rows of a state of ``total`` rows; a lone row stays as it is.

    Raises:
        ValueError: another number of rows.
    """
    for part in split(state).values():
        if part.shape[0] not in (1, total):
            raise ValueError(
                f"known elements have {part.shape[0]} rows for {total} samples; "
                "give one, which serves all, or one for each"
            )
    out = {name: part if part.shape[0] == 1 else part[index] for name, part in split(state).items()}
    return out if isinstance(state, dict) else out[""]


known = Known
