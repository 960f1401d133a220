"""Keep: which elements of a sample are given while the rest is generated.

Inpainting, motif scaffolding, fragment linking, first and last frames, extension and loops are one operation: the belief
about kept elements is replaced by what is known (:class:`Known`), in posterior space, so that it serves every sampler,
guidance and leaf. The noise that the sampler believes in at a kept element is then the noise that it holds, and every
move keeps that element on the straight path to its known value. At t = 0 it is exact.

A :class:`Keep` selects elements on a modality's own grid: rows and columns of pixels, frames, residues, atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.denoiser import Condition, Denoiser, Memory
from langevin.core.posteriors import Categorical, Point, Posterior, Tangent
from langevin.core.processes import Process, State, split
from langevin.core.processes.torus import wrap
from langevin.core.times import Times, of_leaf

__all__ = ["Keep", "Known", "border", "box", "elements", "frames", "mask", "paste"]


@dataclass(frozen=True)
class Keep:
    """A choice of elements.

    Attributes:
        select: the shape of a modality's element grid, as (height, width), ↦ a boolean tensor of that shape, True where
            the element is kept.
        name: for records.
    """

    select: Callable[[Sequence[int]], Tensor]
    name: str

    def __call__(self, shape: Sequence[int]) -> Tensor:
        """The choice on a grid of ``shape``.

        Raises:
            ValueError: it keeps everything, so that nothing is left to generate.
        """
        chosen = self.select(shape)
        if chosen.shape != tuple(shape):
            raise ValueError(
                f"keep={self.name} selects on a grid of {tuple(chosen.shape)}, the sample has {tuple(shape)}"
            )
        if bool(chosen.all()):
            raise ValueError(f"keep={self.name} keeps all of the sample; nothing is left to generate")
        return chosen

    def __invert__(self) -> Keep:
        """Everything else."""
        return Keep(lambda shape: ~self.select(shape), f"~{self.name}")


def mask(chosen: Any) -> Keep:
    """Keeps where a boolean array or tensor is True; its shape is that of the element grid."""
    tensor = torch.as_tensor(chosen)
    if tensor.dtype != torch.bool:
        raise TypeError(f"a keep mask must be boolean, got {tensor.dtype}; write mask(array > 0)")
    return Keep(lambda shape: tensor, f"mask({int(tensor.sum())} of {tensor.numel()})")


def elements(*indices: int) -> Keep:
    """Keeps elements of a one-dimensional grid (residues, atoms) by index; negative indices count from the end."""

    def select(shape: Sequence[int]) -> Tensor:
        chosen = torch.zeros(tuple(shape), dtype=torch.bool)
        for i in indices:
            if not -shape[0] <= i < shape[0]:
                raise ValueError(f"element {i} is not among the {shape[0]} elements of the sample")
            chosen[i] = True
        return chosen

    return Keep(select, f"elements{indices}")


def frames(*indices: int) -> Keep:
    """Keeps whole entries of the first axis of the grid (frames of a clip); negative indices count from the end."""
    return replace(elements(*indices), name=f"frames{indices}")


def box(top: int, left: int, height: int, width: int) -> Keep:
    """Keeps a rectangle of a picture, in pixels; ``~box(…)`` repaints it."""

    def select(shape: Sequence[int]) -> Tensor:
        rows, columns = shape[-2:]
        if not (
            top >= 0
            and left >= 0
            and height > 0
            and width > 0
            and top + height <= rows
            and left + width <= columns
        ):
            raise ValueError(
                f"box({top}, {left}, {height}, {width}) does not lie in a picture of {rows} x {columns}"
            )
        chosen = torch.zeros(tuple(shape), dtype=torch.bool)
        chosen[..., top : top + height, left : left + width] = True
        return chosen

    return Keep(select, f"box({top}, {left}, {height}, {width})")


def border(width: int) -> Keep:
    """Keeps all but a frame of ``width`` pixels at the border, which is generated: outpainting."""

    def select(shape: Sequence[int]) -> Tensor:
        if not 0 < 2 * width < min(shape[-2:]):
            raise ValueError(f"a border of {width} does not fit a picture of {shape[-2]} x {shape[-1]}")
        chosen = torch.zeros(tuple(shape), dtype=torch.bool)
        chosen[..., width:-width, width:-width] = True
        return chosen

    return Keep(select, f"border({width})")


def _wide(chosen: Tensor, like: Tensor) -> Tensor:
    return chosen.reshape(chosen.shape + (1,) * (like.ndim - chosen.ndim)).expand_as(like)


def paste(x: State, known: State, chosen: State) -> State:
    """``x`` with the known values where ``chosen``, by leaf; leaves that ``chosen`` does not name stay as they are."""
    parts, values, where = dict(split(x)), split(known), split(chosen)
    for name, picked in where.items():
        parts[name] = torch.where(_wide(picked, parts[name]), values[name], parts[name])
    return parts if isinstance(x, dict) else parts[""]


@dataclass(frozen=True)
class Known(Denoiser):
    """A denoiser that knows the clean value of some elements.

    Args:
        inner: the denoiser for the rest.
        x: clean states that hold the known values, shape of the state.
        chosen: booleans by leaf, True where known; leading axes of the leaf, or all of them.
    """

    inner: Denoiser
    x: State
    chosen: State

    @property
    def process(self) -> Process:  # type: ignore[override]
        return self.inner.process

    def __call__(
        self,
        x_t: State,
        t: Times,
        condition: Condition | None = None,
        mask: Tensor | None = None,
        memory: Memory = None,
    ) -> tuple[Posterior, Memory]:
        belief, memory = self.inner(x_t, t, condition, mask, memory)
        return self._correct(belief, x_t, t), memory

    def many(
        self,
        x_t: State,
        t: Times,
        conditions: Sequence[Condition],
        mask: Tensor | None = None,
        memory: Memory = None,
        batched: bool = True,
    ) -> tuple[list[Posterior], Memory]:
        beliefs, memory = self.inner.many(x_t, t, conditions, mask, memory, batched)
        return [self._correct(belief, x_t, t) for belief in beliefs], memory

    def without(self, condition: Condition | None, names: Any = None) -> dict[str, Any]:
        return self.inner.without(condition, names)

    def rows(self, t: Times) -> int:
        return self.inner.rows(t)

    def _correct(self, belief: Posterior, x_t: State, t: Times) -> Posterior:
        parts, states, known, chosen = split(belief), split(x_t), split(self.x), split(self.chosen)
        out = {
            name: self._leaf(name, leaf, states[name], known[name], chosen[name], of_leaf(t, name))
            if name in chosen
            else leaf
            for name, leaf in parts.items()
        }
        return out if isinstance(belief, dict) else out[""]

    def _leaf(self, name: str, leaf: Any, x_t: Tensor, known: Tensor, chosen: Tensor, t: Any) -> Any:
        if isinstance(leaf, Point):
            return leaf.with_x(torch.where(_wide(chosen, leaf.x), known, leaf.x))
        if isinstance(leaf, Categorical):
            sure = torch.full_like(leaf.logits, -torch.inf).scatter(-1, known[..., None], 0.0)
            return Categorical(torch.where(_wide(chosen, known)[..., None], sure, leaf.logits))
        process: Any = self.process.leaves[name]
        exact = (
            process.posterior(known, x_t, t)
            if leaf.vector.shape != x_t.shape
            else Tangent(_arc(x_t, known), x_t)
        )
        picked = chosen.reshape(chosen.shape + (1,) * (leaf.vector.ndim - chosen.ndim))
        return replace(leaf, vector=torch.where(picked, exact.vector, leaf.vector))


def _arc(x_t: Tensor, known: Tensor) -> Tensor:
    return wrap(known - x_t)
