"""Leaves that are never noised: what samples are told about their elements, as residue numbers and chains.

They travel with a state, so that whatever selects, pads, stores or joins states handles them, and the network sees them
beside what is drawn. New samples take theirs from the state whose shape they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from langevin.core.posteriors import Tangent
from langevin.core.processes.base import LeafProcess
from langevin.core.rng import Stream
from langevin.core.times import Time

__all__ = ["Constant"]


@dataclass(frozen=True)
class Constant(LeafProcess):
    """A leaf (B, L, …) of floats that stay as they are; the belief about it is that it does not move."""

    def prior(self, like: Tensor, rng: Stream, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        return self.fill(like, mask)

    def corrupt(  # type: ignore[override]
        self, x: Tensor, t: Time, rng: Stream, since: Time = 0.0, mask: Tensor | None = None
    ) -> Tensor:
        return self.fill(x, mask)

    def posterior(self, output: Any, x_t: Tensor, t: Time, kind: Any = None) -> Tangent:  # type: ignore[override]
        """The belief, whatever the output is."""
        return Tangent(torch.zeros_like(x_t), x_t)

    def update(  # type: ignore[override]
        self,
        x_t: Tensor,
        posterior: Tangent,
        t: Time,
        s: Time,
        rng: Stream,
        eta: float = 0.0,
        mask: Tensor | None = None,
    ) -> Tensor:
        return x_t

    def loss(  # type: ignore[override]
        self,
        posterior: Tangent,
        x: Tensor,
        x_t: Tensor,
        t: Time,
        rng: Stream,
        kind: Any = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Nothing to learn: 0, shape (B,)."""
        return posterior.vector.new_zeros(len(x))
