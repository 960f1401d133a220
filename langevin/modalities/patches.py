"""Grids as patches: (B, C, H, W) ↔ (B, N, C p q), at positions (row, column) of the patch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from langevin.core.processes import State
from langevin.core.tokens import Tokens

__all__ = ["PatchTokens"]


@dataclass(frozen=True)
class PatchTokens:
    """Non-overlapping patches of a lone leaf (B, C, H, W).

    Args:
        channels: C.
        patch: side of a square patch, or (rows, columns), in elements; must divide H and W.
    """

    channels: int
    patch: int | tuple[int, int]
    inputs: dict[str, int] = field(init=False)
    outputs: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        rows, columns = self.sides
        width = self.channels * rows * columns
        object.__setattr__(self, "inputs", {"": width})
        object.__setattr__(self, "outputs", {"": width})

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of a patch."""
        return (self.patch, self.patch) if isinstance(self.patch, int) else self.patch

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """Patches in reading order.

        Raises:
            ValueError: another number of channels, or sides that the patch does not divide.
        """
        assert isinstance(state, Tensor)
        p, q = self.sides
        _, channels, height, width = state.shape
        if channels != self.channels or height % p or width % q:
            size = f"{p}" if p == q else f"{p} x {q}"
            raise ValueError(
                f"patches of {size} need {self.channels} channels and sides divisible by {size}, "
                f"got a state of shape {tuple(state.shape)}"
            )
        values = rearrange(state, "b c (h p) (w q) -> b (h w) (p q c)", p=p, q=q)
        rows = torch.arange(height // p, device=state.device, dtype=torch.float32)
        columns = torch.arange(width // q, device=state.device, dtype=torch.float32)
        positions = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(1, -1, 2)
        return Tokens({"": values}, positions, mask)

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        """Patches put together again, in the shape of ``like``."""
        assert isinstance(like, Tensor)
        p, q = self.sides
        return rearrange(
            values[""],
            "b (h w) (p q c) -> b c (h p) (w q)",
            h=like.shape[2] // p,
            w=like.shape[3] // q,
            p=p,
            q=q,
        )
