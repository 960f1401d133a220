"""Which samples a training step sees: an order that follows from (seed, step) alone.

Nothing has to be stored to resume: the batch of step n is a function of the seed and n, for any number of processes, of
which each takes its own contiguous rows of the global batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from langevin.core.rng import Stream

__all__ = ["Dataset", "Order"]

WINDOW = 16  # batches whose items are sorted by length together


class Dataset(Protocol):
    """Items by index, in batches, with raw condition values by name.

    A data set whose items have different lengths may say ``lengths``, one for each item: batches are then made of items
    of about the same length, so that little of a batch is padding.
    """

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> tuple[Any, Mapping[str, Any]]:
        """(items, conditions) of these indices."""
        ...


@dataclass
class Order:
    """The visiting order of ``size`` items: an own shuffle for every epoch, drawn from the seed.

    Args:
        size: number of items.
        batch: global batch size; a batch may span two epochs, none is cut short.
        seed: of the shuffles.
        lengths: of the items. Within windows of :data:`WINDOW` batches, items are sorted into batches by length, and
            the batches of a window come in an order of their own.
    """

    size: int
    batch: int
    seed: int
    lengths: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("the data set is empty")
        if self.lengths is not None and len(self.lengths) != self.size:
            raise ValueError(f"{self.size} items cannot have {len(self.lengths)} lengths")
        self._epoch: tuple[int, Tensor] | None = None
        self._window: tuple[int, list[list[int]]] | None = None

    def _shuffle(self, epoch: int) -> Tensor:
        if self._epoch is None or self._epoch[0] != epoch:
            key = Stream.of(self.seed, 1).fold("order", epoch)
            self._epoch = (epoch, key.uniform((1, self.size), torch.float64)[0].argsort())
        return self._epoch[1]

    def _run(self, start: int, count: int) -> list[int]:
        """``count`` items of the epochs one after another, from place ``start`` on."""
        out: list[int] = []
        while len(out) < count:
            epoch, offset = divmod(start + len(out), self.size)
            out += self._shuffle(epoch)[offset : offset + count - len(out)].tolist()
        return out

    def indices(self, step: int) -> list[int]:
        """The global batch of step 0, 1, …"""
        if self.lengths is None:
            return self._run(step * self.batch, self.batch)
        window, place = divmod(step, WINDOW)
        if self._window is None or self._window[0] != window:
            lengths = self.lengths
            chosen = self._run(window * WINDOW * self.batch, WINDOW * self.batch)
            chosen.sort(key=lambda i: lengths[i])
            key = Stream.of(self.seed, 1).fold("window", window)
            turns = key.uniform((1, WINDOW), torch.float64)[0].argsort().tolist()
            self._window = (window, [chosen[k * self.batch : (k + 1) * self.batch] for k in turns])
        return self._window[1][place]
