"""Keep: which elements of a sample are given while the rest is generated.

Inpainting, motif scaffolding, fragment linking, first and last frames, extension and loops are one operation: the belief
about kept elements is replaced by what is known (:class:`~langevin.core.guidance.known.Known`, a guidance), in posterior
space, so that it serves every sampler and leaf, and goes around any guidance.

A :class:`Keep` selects elements on a modality's own grid: rows and columns of pixels, frames, residues, atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.processes import State, split
from langevin.core.times import shaped

__all__ = ["Keep", "border", "box", "elements", "frames", "leaves", "mask", "paste"]


@dataclass(frozen=True)
class Keep:
    """A choice of elements.

    Attributes:
        select: the shape of a modality's element grid, as (height, width), ↦ a boolean tensor of that shape, True where
            the element is kept.
        name: for records.
        leaves: whole leaves of a product that are kept, in place of elements.
    """

    select: Callable[[Sequence[int]], Tensor]
    name: str
    leaves: tuple[str, ...] = ()

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


def leaves(*names: str) -> Keep:
    """Keeps whole leaves of a product: ``leaves("elements", "charges", "bonds")`` keeps a molecule's graph.

    Raises:
        ValueError: no names; or, when used, a sample of one leaf.
    """
    if not names:
        raise ValueError("keep.leaves needs the name of a leaf")
    name = f"leaves{names}"

    def select(shape: Sequence[int]) -> Tensor:
        raise ValueError(f"keep={name} chooses leaves, and this choice is one of elements")

    return Keep(select, name, names)


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


def paste(x: State, known: State, chosen: State) -> State:
    """``x`` with the known values where ``chosen``, by leaf; leaves that ``chosen`` does not name stay as they are."""
    parts, values, where = dict(split(x)), split(known), split(chosen)
    for name, picked in where.items():
        parts[name] = torch.where(shaped(picked, parts[name]), values[name], parts[name])
    return parts if isinstance(x, dict) else parts[""]
