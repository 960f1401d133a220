"""Pictures and latents as patches: (B, C, H, W) ↔ (B, N, C p²), at positions (row, column) of the patch."""

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
    """Non-overlapping square patches of a lone leaf (B, C, H, W).

    Args:
        channels: C.
        patch: side p of a patch, in pixels (or latent pixels); must divide H and W.
    """

    channels: int
    patch: int
    inputs: dict[str, int] = field(init=False)
    outputs: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        width = self.channels * self.patch**2
        object.__setattr__(self, "inputs", {"": width})
        object.__setattr__(self, "outputs", {"": width})

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """Patches in reading order.

        Raises:
            ValueError: another number of channels, or sides that the patch does not divide.
        """
        assert isinstance(state, Tensor)
        _, channels, height, width = state.shape
        if channels != self.channels or height % self.patch or width % self.patch:
            raise ValueError(
                f"patches of {self.patch} need {self.channels} channels and sides divisible by {self.patch}, "
                f"got a state of shape {tuple(state.shape)}"
            )
        values = rearrange(state, "b c (h p) (w q) -> b (h w) (p q c)", p=self.patch, q=self.patch)
        rows = torch.arange(height // self.patch, device=state.device, dtype=torch.float32)
        columns = torch.arange(width // self.patch, device=state.device, dtype=torch.float32)
        positions = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(1, -1, 2)
        return Tokens({"": values}, positions, mask)

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        """Patches put together again, in the shape of ``like``."""
        assert isinstance(like, Tensor)
        return rearrange(
            values[""],
            "b (h w) (p q c) -> b c (h p) (w q)",
            h=like.shape[2] // self.patch,
            p=self.patch,
            q=self.patch,
        )
