"""Spacetime patches: (B, T, C, H, W) ↔ (B, N, pt ph pw C), at positions (y, x, t).

A patch covers pt frames, ph rows and pw columns of the state (Brooks et al., 2024, "Video generation models as world
simulators"; Arnab et al., 2021, ViViT, arXiv 2103.15691, §3.2); tokens are in the order of frames, then rows, then columns.

**Coordinates** are of the patch's corner: y and x in pixels and t in seconds, each times a fixed scale of the model, so that
the rotary embedding sees the same distances at any size and length, and in models that were made for another frame rate.
Time comes last: where a clip stands in the picture means something to a network, and when it was taken does not (``places``
of :class:`langevin.modalities.base.Modality`).

**Times of single frames** (B, T) are those of tokens as the latest of a token's frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from langevin.core.processes import State
from langevin.core.tokens import Tokens

__all__ = ["SpacetimePatches"]


@dataclass(frozen=True)
class SpacetimePatches:
    """Non-overlapping patches of a lone leaf (B, T, C, H, W).

    Args:
        channels: C.
        patch: (frames, rows, columns) of a patch, in elements; must divide T, H and W.
        pixels: of an element along a side.
        seconds: of an element.
        scale: (per pixel, per second): what coordinates are multiplied by.
        causal: tokens see those of their own layer of patches and of the layers before it alone.
    """

    channels: int
    patch: tuple[int, int, int]
    pixels: int = 1
    seconds: float = 1.0
    scale: tuple[float, float] = (1.0, 1.0)
    causal: bool = False
    inputs: dict[str, int] = field(init=False)
    outputs: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        pt, ph, pw = self.patch
        width = self.channels * pt * ph * pw
        object.__setattr__(self, "inputs", {"": width})
        object.__setattr__(self, "outputs", {"": width})

    def counts(self, state: Tensor) -> tuple[int, int, int]:
        """Patches along time, height and width.

        Raises:
            ValueError: another number of channels, or axes that the patch does not divide.
        """
        _, frames, channels, height, width = state.shape
        pt, ph, pw = self.patch
        if channels != self.channels or frames % pt or height % ph or width % pw:
            raise ValueError(
                f"patches of {pt} x {ph} x {pw} need {self.channels} channels, frames divisible by {pt} and sides "
                f"divisible by {ph} and {pw}; got a state of shape {tuple(state.shape)}"
            )
        return frames // pt, height // ph, width // pw

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """Patches; a token is real where one of its frames is.

        Args:
            state: (B, T, C, H, W).
            mask: (B, T).
        """
        assert isinstance(state, Tensor)
        t, h, w = self.counts(state)
        pt, ph, pw = self.patch
        values = rearrange(state, "b (t p) c (h q) (w r) -> b (t h w) (p q r c)", p=pt, q=ph, r=pw)
        if mask is not None:
            mask = mask.unflatten(1, (t, pt)).any(2).repeat_interleave(h * w, 1)
        order = torch.arange(t, device=state.device).repeat_interleave(h * w)[None] if self.causal else None
        return Tokens({"": values}, self.positions(t, h, w, state.device)[None], mask, order=order)

    def positions(self, t: int, h: int, w: int, device: Any = None) -> Tensor:
        """(y, x, t) of the patches of a clip, (N, 3)."""
        pt, ph, pw = self.patch
        per_pixel, per_second = self.scale
        steps = (
            (t, pt * self.seconds * per_second),
            (h, ph * self.pixels * per_pixel),
            (w, pw * self.pixels * per_pixel),
        )
        axes = [torch.arange(n, device=device, dtype=torch.float32) * step for n, step in steps]
        time, y, x = torch.meshgrid(*axes, indexing="ij")
        return torch.stack([y, x, time], -1).reshape(-1, 3)

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        """Patches put together again, in the shape of ``like``."""
        assert isinstance(like, Tensor)
        t, h, w = self.counts(like)
        pt, ph, pw = self.patch
        return rearrange(
            values[""], "b (t h w) (p q r c) -> b (t p) c (h q) (w r)", t=t, h=h, w=w, p=pt, q=ph, r=pw
        )

    def token_times(self, t: Tensor, state: Tensor) -> Tensor:
        """Times of frames (B, T) as times (B, T / pt) of the tokens of a layer of patches, which follow one another."""
        frames, _, _ = self.counts(state)
        return t.unflatten(1, (frames, self.patch[0])).amax(2)
