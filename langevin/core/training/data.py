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


class Dataset(Protocol):
    """Items by index, in batches, with raw condition values by name."""

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
    """

    size: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("the data set is empty")
        self._epoch: tuple[int, Tensor] | None = None

    def _shuffle(self, epoch: int) -> Tensor:
        if self._epoch is None or self._epoch[0] != epoch:
            key = Stream.of(self.seed, 1).fold("order", epoch)
            self._epoch = (epoch, key.uniform((1, self.size), torch.float64)[0].argsort())
        return self._epoch[1]

    def indices(self, step: int) -> list[int]:
        """The global batch of step 0, 1, …"""
        start = step * self.batch
        out: list[int] = []
        while len(out) < self.batch:
            epoch, offset = divmod(start + len(out), self.size)
            out += self._shuffle(epoch)[offset : offset + self.batch - len(out)].tolist()
        return out
