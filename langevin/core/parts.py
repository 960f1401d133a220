"""Given parts: what of a sample is known, clean, while the rest is noised.

A model that is shown parts of its samples at time 0 in training can be given such parts when it draws: a graph without its
geometry, a fragment of a molecule, a motif, the first frame of a clip. Where the given part has a place in space, the frame
is its own; the centre of the unknown whole is not available, and would tell where the rest lies.

A part is given by booleans by leaf: (B,) for whole leaves, (B, L) for elements, (B, L, L) for pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from langevin.core.processes import LeafProcess, Process, State, join, split
from langevin.core.times import Times, of_leaf

__all__ = ["Part", "clocks", "unknown_of"]


@dataclass(frozen=True)
class Part:
    """Samples of a batch that have one process, with what is given of them.

    Attributes:
        rows: which of the batch, (b,).
        x: their clean states (b, …), in the frame of what is given.
        given: booleans by leaf; None where nothing is.
        process: how states of that frame are noised.
    """

    rows: Tensor
    x: State
    given: Mapping[str, Tensor] | None
    process: Process


def clocks(process: Process, t: Times, given: Mapping[str, Tensor], rows: int) -> Times:
    """Times with 0 where something is given, by leaf: (B,), or (B, L) where elements of the leaf are.

    An element of a pair leaf is at time 0 where its pair with itself is given.

    Args:
        process: names the leaves.
        t: of the rest.
        given: booleans by leaf.
        rows: the batch B.
    """
    device = next(iter(given.values())).device
    out: dict[str, Tensor] = {}
    for name, leaf in process.leaves.items():
        time = torch.as_tensor(of_leaf(t, name), dtype=torch.float32, device=device)
        time = time.expand(rows) if time.ndim == 0 else time
        if name in given:
            chosen = _elements(leaf, given[name])
            chosen = chosen.expand(rows, *chosen.shape[1:])
            both = max(time.ndim, chosen.ndim)
            time, chosen = (u.reshape(u.shape + (1,) * (both - u.ndim)) for u in (time, chosen))
            time = torch.where(chosen, torch.zeros_like(time), time)
        out[name] = time
    return join(process, out)  # type: ignore[no-any-return]


def unknown_of(process: Process, x: State, given: Mapping[str, Tensor], mask: Tensor | None) -> Any:
    """Masks (B, L) by leaf of the elements that are real and not given, for losses.

    A pair leaf keeps the mask: the loss of masked classes counts hidden pairs only, and what is given is not hidden.
    """
    out: dict[str, Tensor | None] = {}
    for name, leaf in process.leaves.items():
        out[name] = mask
        if name in given and not leaf.pair:
            free = ~given[name]
            free = free if free.ndim > 1 else free[:, None].expand(split(x)[name].shape[:2])
            out[name] = free if mask is None else free & mask
    return join(process, out)


def _elements(leaf: LeafProcess, chosen: Tensor) -> Tensor:
    """What is given of a leaf, by element."""
    return chosen.diagonal(dim1=1, dim2=2) if leaf.pair and chosen.ndim > 2 else chosen
