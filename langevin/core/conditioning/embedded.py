"""An embedded condition, and the three operations on it.

`cat` puts rows below each other (several conditions in one batch), `join` puts several conditions of the
same rows together (vectors add, contexts follow each other), `dropout` replaces rows by the null. Contexts of
different lengths are padded to the longest; the mask says what is real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Embedded", "cat", "dropout", "join"]


@dataclass(frozen=True)
class Embedded:
    """One or several conditions, ready for a backbone.

    Attributes:
        vector: (B, D), or None.
        context: (B, M, C), or None.
        mask: (B, M) bool, True for real elements of the context; None when all are.
    """

    vector: Tensor | None = None
    context: Tensor | None = None
    mask: Tensor | None = None

    @property
    def rows(self) -> int:
        """The batch B.

        Raises:
            ValueError: there is neither vector nor context.
        """
        for part in (self.vector, self.context):
            if part is not None:
                return part.shape[0]
        raise ValueError("an embedding with neither vector nor context has no batch")

    def select(self, index: Tensor | slice) -> Embedded:
        """The rows named by an index, a mask or a slice."""
        return Embedded(
            *(None if part is None else part[index] for part in (self.vector, self.context, self.mask))
        )

    def repeat(self, times: int) -> Embedded:
        """Every row `times` times, copies of one row next to each other."""
        return Embedded(
            *(
                None if p is None else p.repeat_interleave(times, dim=0)
                for p in (self.vector, self.context, self.mask)
            )
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Embedded:
        """Move to a device; vector and context take the dtype, the mask stays boolean."""
        return Embedded(
            None if self.vector is None else self.vector.to(device=device, dtype=dtype),
            None if self.context is None else self.context.to(device=device, dtype=dtype),
            None if self.mask is None else self.mask.to(device=device),
        )

    def padded(self, length: int) -> Embedded:
        """The context padded with zeros to `length` elements, with a mask that says so."""
        if self.context is None or self.context.shape[1] == length:
            return self
        extra = length - self.context.shape[1]
        return Embedded(
            self.vector, F.pad(self.context, (0, 0, 0, extra)), F.pad(_mask(self), (0, extra), value=False)
        )


def _mask(embedded: Embedded) -> Tensor:
    assert embedded.context is not None
    if embedded.mask is not None:
        return embedded.mask
    return torch.ones(embedded.context.shape[:2], dtype=torch.bool, device=embedded.context.device)


def cat(parts: Sequence[Embedded]) -> Embedded:
    """Rows of all parts below each other.

    Raises:
        ValueError: nothing to stack, or only some parts have a vector or a context.
    """
    if not parts:
        raise ValueError("cat needs at least one Embedded")
    for name in ("vector", "context"):
        present = [getattr(part, name) is not None for part in parts]
        if any(present) != all(present):
            raise ValueError(f"some of the conditions have a {name} and some do not: {present}")
    length = max((part.context.shape[1] for part in parts if part.context is not None), default=0)
    parts = [part.padded(length) for part in parts]
    vectors = [part.vector for part in parts if part.vector is not None]
    contexts = [part.context for part in parts if part.context is not None]
    masked = any(part.mask is not None for part in parts)
    return Embedded(
        torch.cat(vectors) if vectors else None,
        torch.cat(contexts) if contexts else None,
        torch.cat([_mask(part) for part in parts]) if masked else None,
    )


def join(parts: Sequence[Embedded]) -> Embedded:
    """Several conditions of the same rows as one: vectors are added, contexts follow each other."""
    vectors = [part.vector for part in parts if part.vector is not None]
    contexts = [part for part in parts if part.context is not None]
    masked = any(part.mask is not None for part in contexts)
    return Embedded(
        torch.stack(vectors).sum(0) if vectors else None,
        torch.cat([part.context for part in contexts if part.context is not None], dim=1)
        if contexts
        else None,
        torch.cat([_mask(part) for part in contexts], dim=1) if masked else None,
    )


def dropout(embedded: Embedded, null: Embedded, keep: Tensor) -> Embedded:
    """The condition where `keep` is true, the null elsewhere.

    Args:
        embedded: B rows.
        null: B rows (or 1 row, which serves all) with the same parts.
        keep: (B,) bool.

    Raises:
        ValueError: one has a vector or a context and the other does not.
    """
    for name in ("vector", "context"):
        if (getattr(embedded, name) is None) != (getattr(null, name) is None):
            raise ValueError(f"the condition and its null must both have a {name}, or neither")
    vector = context = mask = None
    if embedded.vector is not None and null.vector is not None:
        vector = torch.where(keep[:, None], embedded.vector, null.vector)
    if embedded.context is not None and null.context is not None:
        length = max(embedded.context.shape[1], null.context.shape[1])
        a, b = embedded.padded(length), null.padded(length)
        assert a.context is not None and b.context is not None
        context = torch.where(keep[:, None, None], a.context, b.context)
        if a.mask is not None or b.mask is not None:
            mask = torch.where(keep[:, None], _mask(a), _mask(b))
    return Embedded(vector, context, mask)
