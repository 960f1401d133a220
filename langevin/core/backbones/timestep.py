"""Time as a vector.

The time t in [0, 1] is scaled by 1000 (so that the frequencies suit it, as they suit the step index of a
table of a thousand steps) and becomes

    (cos(1000 t omega_k), sin(1000 t omega_k)),  omega_k = 10000^(-k / n),  k = 0 … n - 1,

always in float32, and then goes through a two-layer perceptron.

References: Vaswani et al. 2017 (arXiv:1706.03762, §3.5); Peebles and Xie 2023 (DiT, arXiv:2212.09748, §3.2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["TimeEmbedding", "sinusoidal"]


def sinusoidal(t: Tensor, channels: int, longest: float = 10000.0, inclusive: bool = False) -> Tensor:
    """Cosines, then sines, of t at geometrically spaced frequencies, in float32.

    Args:
        t: (...).
        channels: even number of features.
        longest: ratio of the longest to the shortest wavelength.
        inclusive: reach that ratio with the last frequency instead of one step after it.

    Returns:
        (..., channels).
    """
    if channels % 2:
        raise ValueError(f"channels must be even, not {channels}")
    half = channels // 2
    steps = torch.arange(half, device=t.device, dtype=torch.float32)
    omega = torch.exp(-math.log(longest) * steps / (half - inclusive))
    angles = t.float().unsqueeze(-1) * omega
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class TimeEmbedding(nn.Module):
    """t (B,) or (B, N) in [0, 1] -> vector (B, width) or (B, N, width).

    Args:
        width: width of the vector.
        frequencies: number of sinusoidal features, even.
    """

    def __init__(self, width: int, frequencies: int = 256) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, t: Tensor) -> Tensor:
        features = sinusoidal(1000.0 * t.float(), self.frequencies)
        return self.mlp(features.to(next(self.mlp.parameters()).dtype))
