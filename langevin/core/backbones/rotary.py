"""Rotary position embedding on real coordinates.

A query at position u and a key at position v are rotated, pair of channels by pair of channels, by the
angles omega_k u and omega_k v. Their scalar product then depends on u - v alone: attention sees relative
positions, and a common shift of all positions changes nothing.

With p axes (1 for a sequence, 2 for a picture, 3 for a clip or for space) the pairs of channels of a head
are divided over the axes, and axis a turns its own pairs by omega_k x_a. Positions are real numbers, in
any unit: pixels, frames, seconds, Å. With n pairs on an axis the angular frequencies are

    omega_k = base^(-k / n),  k = 0 … n - 1,

so wavelengths run from 2 pi to nearly 2 pi base units.

References: Su et al. 2021 (RoFormer, arXiv:2104.09864, eq. 34); axial form as in Heo et al. 2024
(arXiv:2403.13298).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Rotary", "Rotation", "rotate"]

Rotation = tuple[Tensor, Tensor]


class Rotary(nn.Module):
    """The angles of all tokens, computed once for all blocks.

    Args:
        head: channels of one head, even.
        axes: number of coordinates p.
        base: ratio of the longest to the shortest wavelength.

    Raises:
        ValueError: the head is odd or has fewer pairs of channels than there are axes.
    """

    frequencies: Tensor

    def __init__(self, head: int, axes: int, base: float = 100.0) -> None:
        super().__init__()
        if head % 2 or head // 2 < axes:
            raise ValueError(
                f"heads of {head} channels cannot be rotated along {axes} axes: "
                f"width / heads must be even and at least {2 * axes}"
            )
        self.axes = axes
        table = torch.zeros(axes, head // 2)
        start = 0
        for axis in range(axes):
            pairs = (head // 2 + axes - 1 - axis) // axes
            table[axis, start : start + pairs] = base ** (-torch.arange(pairs) / pairs)
            start += pairs
        self.register_buffer("frequencies", table, persistent=False)

    def forward(self, positions: Tensor) -> Rotation:
        """Cosines and sines of the angles.

        Args:
            positions: (B, N, p), or (1, N, p) when all rows agree.

        Returns:
            Two tensors (B, N, 1, d / 2) in float32.

        Raises:
            ValueError: positions have another number of axes.
        """
        if positions.shape[-1] != self.axes:
            raise ValueError(
                f"positions have {positions.shape[-1]} axes; this backbone was built with axes={self.axes}"
            )
        angles = (positions.float() @ self.frequencies.float()).unsqueeze(-2)  # (B, N, 1, d/2)
        return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the pairs (x_k, x_{k + d/2}) by their angles.

    Args:
        x: (B, N, H, d).
        rotation: cosines and sines, each (B, N, 1, d / 2).
    """
    cos, sin = (part.to(x.dtype) for part in rotation)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((torch.addcmul(a * cos, b, sin, value=-1), torch.addcmul(b * cos, a, sin)), dim=-1)
