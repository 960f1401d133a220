"""Convolutional layers of pictures without statistics over the picture, so that every output depends on a known
neighbourhood of the input alone.

Each layer knows how far that neighbourhood reaches: ``layer.reach(margin)`` is how many neighbours of its input, on each
side, ``margin`` neighbours of its output depend on; :func:`reach` is that of a chain of layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Activation", "Conv", "PixelNorm", "Up", "reach"]


class PixelNorm(nn.Module):
    """x / sqrt(mean over channels of x² + ε) · weight, at every pixel (B, C, H, W) by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.weight[:, None, None]

    def reach(self, margin: int) -> int:
        return margin


class Conv(nn.Conv2d):
    """A 3 × 3 convolution, zero beyond the border; stride 2 halves even sides."""

    def __init__(self, inner: int, outer: int, stride: int = 1) -> None:
        super().__init__(inner, outer, 3, stride, 1)

    def reach(self, margin: int) -> int:
        return int(self.stride[0]) * margin + 1


class Up(nn.Sequential):
    """Twice the side by nearest neighbours, then a convolution."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2.0, mode="nearest"), Conv(inner, outer))

    def reach(self, margin: int) -> int:
        return (margin + 2) // 2  # half of margin + 1, rounded up


class Activation(nn.SiLU):
    """SiLU."""

    def reach(self, margin: int) -> int:
        return margin


def reach(chain: Iterable[Any]) -> int:
    """Neighbours of the chain's input, on each side, that one element of its output depends on."""
    margin = 0
    for layer in reversed(list(chain)):
        margin = layer.reach(margin)
    return margin
