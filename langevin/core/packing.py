"""Packing: samples of different shapes in one batch, without padding (Dehghani et al., 2023, NaViT, arXiv 2307.06304).

Samples of one shape are a :class:`Batch`, and a training step may have several of them: times, noise and losses are those of
each batch by itself. The network alone sees all of them together. Tokens of every sample stand one after another in one row

    (1, N, D),  N = Σ b n        b samples of n tokens in each batch

so that a layer that treats tokens one by one, which is most of the arithmetic, runs once. Attention runs within samples:
the row is seen as (b, n, …) of each batch (:class:`Packing`), so that it costs Σ b n², as it would for each batch alone, and
there is no mask over N².
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from langevin.core.batches import to
from langevin.core.processes.base import State, split

__all__ = ["Batch", "Packing"]


@dataclass(frozen=True)
class Batch:
    """Those of some samples that have one shape.

    Attributes:
        rows: which they are, (b,).
        x: their clean states (b, …).
        mask: (b, L), True on real elements; None where all are.
    """

    rows: Tensor
    x: State
    mask: Tensor | None = None

    @staticmethod
    def whole(x: State, mask: Tensor | None = None) -> Batch:
        """All samples of ``x``."""
        return Batch(torch.arange(len(next(iter(split(x).values())))), x, mask)

    def to(self, device: torch.device | str) -> Batch:
        """States and mask on a device."""
        return Batch(self.rows, to(self.x, device), to(self.mask, device))


@dataclass(frozen=True)
class Packing:
    """Where batches stand in a row, one after another.

    Attributes:
        samples: of each batch.
        tokens: of one sample of each batch.
        vectors: that steer the tokens of one sample of each batch, as of a backbone: 1, or G of n / G tokens each.
    """

    samples: tuple[int, ...]
    tokens: tuple[int, ...]
    vectors: tuple[int, ...]

    @staticmethod
    def row(parts: Iterable[Tensor]) -> Tensor:
        """(b, n, …) of each batch as one row (1, Σ b n, …)."""
        return torch.cat([part.flatten(0, 1) for part in parts]).unsqueeze(0)

    def of_tokens(self, row: Tensor) -> tuple[Tensor, ...]:
        """A row of tokens (1, N, …) as (b, n, …) of each batch."""
        return self._parts(row, self.tokens)

    def of_vectors(self, row: Tensor) -> tuple[Tensor, ...]:
        """A row of vectors (1, Σ b G, …) as (b, G, …) of each batch."""
        return self._parts(row, self.vectors)

    def of_samples(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What each sample has one of, (Σ b, …), as (b, …) of each batch."""
        return rows.split(self.samples)

    def _parts(self, row: Tensor, lengths: tuple[int, ...]) -> tuple[Tensor, ...]:
        shapes = tuple(zip(self.samples, lengths, strict=True))
        parts = row.squeeze(0).split([b * n for b, n in shapes])
        return tuple(part.unflatten(0, shape) for part, shape in zip(parts, shapes, strict=True))
