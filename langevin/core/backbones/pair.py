"""Features of pairs of tokens: bonds, distances, offsets along a chain.

In every block pairs bias the attention of tokens, and tokens change the pairs:

    z_ij <- z_ij + W gelu(A LayerNorm(z_ij) + u_i * u_j + v_i + v_j),   (u, v) linear in token and vector.

Only symmetric combinations of i and j enter, so a symmetric z stays symmetric; direction, where there is
one, is carried by z itself. W starts at zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import per_token, xavier, zero

__all__ = ["PairBias", "PairEmbedding", "PairHead", "PairUpdate"]


class PairBias(nn.Module):
    """pair (B, N, N, P) -> additive bias of attention (B, H, N, N); 0 at first."""

    def __init__(self, pair_width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(pair_width)
        self.linear = nn.Linear(pair_width, heads, bias=False)
        zero(self.linear)

    def forward(self, pair: Tensor) -> Tensor:
        return self.linear(self.norm(pair)).permute(0, 3, 1, 2)


class PairUpdate(nn.Module):
    """The change of the pairs by the tokens; see the head of this file.

    Args:
        width: channels D of tokens and vector.
        pair_width: channels P of a pair.
    """

    def __init__(self, width: int, pair_width: int) -> None:
        super().__init__()
        hidden = 2 * pair_width
        self.norm = nn.LayerNorm(pair_width)
        self.ends = nn.Linear(width, 2 * hidden)
        self.vector = nn.Linear(width, hidden)
        self.up = nn.Linear(pair_width, hidden)
        self.down = nn.Linear(hidden, pair_width)
        xavier(self)
        zero(self.down)

    def forward(self, pair: Tensor, tokens: Tensor, vector: Tensor) -> Tensor:
        """pair (B, N, N, P), tokens (B, N, D), vector (B, D) or (B, N, D) -> (B, N, N, P)."""
        ends = self.ends(F.layer_norm(tokens, tokens.shape[-1:]))
        u, v = ends.chunk(2, dim=-1)  # (B, N, hidden)
        v = v + 0.5 * self.vector(F.silu(per_token(vector)))
        sums = v.unsqueeze(2) + v.unsqueeze(1)  # (B, N, N, hidden)
        outer = torch.addcmul(sums, u.unsqueeze(2), u.unsqueeze(1))
        return pair + self.down(F.gelu(self.up(self.norm(pair)) + outer, approximate="tanh"))


class PairEmbedding(nn.Sequential):
    """What a modality knows of pairs (B, N, N, R) -> pair (B, N, N, P).

    Args:
        inputs: features R of a pair.
        pair_width: channels P of a pair.
    """

    def __init__(self, inputs: int, pair_width: int) -> None:
        hidden = 2 * pair_width
        super().__init__(
            nn.Linear(inputs, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, pair_width)
        )


class PairHead(nn.Sequential):
    """pair (B, N, N, P) -> output (B, N, N, d); 0 at first."""

    def __init__(self, pair_width: int, outputs: int) -> None:
        linear = nn.Linear(pair_width, outputs)
        zero(linear)
        super().__init__(nn.LayerNorm(pair_width), linear)
