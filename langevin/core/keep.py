"""Keep: which elements of a sample are given while the rest is generated.

Inpainting, motif scaffolding, fragment linking, first and last frames, extension and loops are one operation: the belief
about kept elements is replaced by what is known (:class:`~langevin.core.guidance.known.Known`, a guidance), in posterior
space, so that it serves every sampler and leaf, and goes around any guidance.

A :class:`Keep` selects elements on a modality's own grid: rows and columns of pixels, frames, residues, atoms. Where the
axes of the grid have units (:class:`Grid`), as seconds and hertz of a sound, it may select by these, at any resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.processes import State, split
from langevin.core.times import shaped

__all__ = [
    "Grid", "Keep", "border", "box", "elements", "frames", "hertz", "leaves", "mask", "paste", "seconds",
]  # fmt: skip


class Grid(tuple[int, ...]):
    """A shape whose axes have units.

    Args:
        shape: of the element grid.
        centres: unit ↦ (axis, where the elements lie along it, ascending).
    """

    centres: Mapping[str, tuple[int, Tensor]]

    def __new__(cls, shape: Sequence[int], centres: Mapping[str, tuple[int, Tensor]]) -> Grid:
        self = super().__new__(cls, shape)
        self.centres = centres
        return self


@dataclass(frozen=True)
class Keep:
    """A choice of elements.

    Attributes:
        select: the shape of a modality's element grid, as (height, width), ↦ a boolean tensor of that shape, True where
            the element is kept.
        name: for records.
        leaves: whole leaves of a product that are kept, in place of elements.
        units: whether it selects by the units of a :class:`Grid`, so that it serves a grid of any resolution.
    """

    select: Callable[[Sequence[int]], Tensor]
    name: str
    leaves: tuple[str, ...] = ()
    units: bool = field(default=False, kw_only=True)

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
        return Keep(lambda shape: ~self.select(shape), f"~{self.name}", units=self.units)

    def __and__(self, other: Keep) -> Keep:
        """What both keep."""
        both = self.units and other.units
        name = f"({self.name} & {other.name})"
        return Keep(lambda shape: self.select(shape) & other.select(shape), name, units=both)

    def __or__(self, other: Keep) -> Keep:
        """What either keeps."""
        both = self.units and other.units
        name = f"({self.name} | {other.name})"
        return Keep(lambda shape: self.select(shape) | other.select(shape), name, units=both)


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


def seconds(start: float | None = None, end: float | None = None) -> Keep:
    """Keeps a span of time, [start, end) in seconds; to the ends where None. ``~seconds(1, 2)`` redraws that second.

    Raises:
        ValueError: start is not before end; or, when used, a sample without time.
    """
    return _between("seconds", start, end)


def hertz(low: float | None = None, high: float | None = None) -> Keep:
    """Keeps a band of frequencies, [low, high) in Hz; to the ends where None.

    Raises:
        ValueError: low is not below high; or, when used, a sample without frequencies.
    """
    return _between("hertz", low, high)


def _between(unit: str, low: float | None, high: float | None) -> Keep:
    first, last = (-math.inf if low is None else low), (math.inf if high is None else high)
    name = f"{unit}({low}, {high})"
    if not first < last:
        raise ValueError(f"keep.{name} is empty: the first must be less than the second")

    def select(shape: Sequence[int]) -> Tensor:
        axes = shape.centres if isinstance(shape, Grid) else {}
        if unit not in axes:
            raise ValueError(f"keep={name}: these samples have no {unit}")
        axis, at = axes[unit]
        inside = (at >= first) & (at < last)
        return inside.reshape([-1 if k == axis else 1 for k in range(len(shape))]).expand(*shape).clone()

    return Keep(select, name, units=True)


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
