"""EGNN: messages on the complete graph of points in space, and steps along the lines between them.

Tokens h_i know nothing of directions; points x_i enter through distances and leave by a displacement. In each of the
L blocks, with d_ij = |x_i − x_j| now and d⁰_ij at the start, and features z_ij of pairs,

    e_ij = (log(1 + d_ij²), log(1 + d⁰_ij²), LN(z_ij))
    m_ij = g_ij M(h_i, h_j, e_ij),   g_ij = sigmoid(a · M(h_i, h_j, e_ij))
    h_i  <- h_i + F(h_i, 1/n sum_j m_ij)
    z_ij <- z_ij + W (m_ij + m_ji)
    x_i  <- x_i + 1/n sum_j (x_i − x_j) / (d_ij + 1) · (r / L) tanh C(h_i, h_j, e_ij),

where j runs over all other real tokens and M, F, C are perceptrons with SiLU. A shift of all points changes nothing; a
rotation of them, or a reflection, rotates or reflects the displacement and leaves tokens and pairs as they are, if the
tokens and pairs that come in are invariant. So the network cannot tell a molecule from its mirror image.

Blocks read LN(h) (1 + scale) + shift, where scale and shift are linear in SiLU(vector), as in a DiT with one projection
for all blocks. W starts at zero and C near zero: a new network hardly moves points that lie a few units apart.

References: Satorras et al. 2021 (EGNN, arXiv:2102.09844, eq. 3–6, §3.3 for attention); Hoogeboom et al. 2022 (EDM,
arXiv:2203.17003: attention, d + 1, tanh, r = 15, 9 blocks of 256 channels). Ours: distances as logarithms, the
normalisation and steering of tokens (in EDM time is one feature of them), and the change of the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin.core.errors import unknown

from .dit import Output, add_second, clear
from .layers import modulate, per_token, xavier, zero

__all__ = ["EGNN"]


class EdgeMLP(nn.Module):
    """Linear, SiLU, Linear, SiLU on (h_i, h_j, e_ij): tokens (B, N, D), edges (B, N, N, E) -> (B, N, N, D).

    The first layer is a sum of three, so that those of the tokens run over N of them and not over N².
    """

    def __init__(self, width: int, edges: int) -> None:
        super().__init__()
        self.ends = nn.Linear(width, 2 * width, bias=False)
        self.edge = nn.Linear(edges, width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor, edges: Tensor) -> Tensor:
        to, of = self.ends(h).chunk(2, dim=-1)  # (B, N, D)
        inner = self.edge(edges) + to.unsqueeze(2) + of.unsqueeze(1)  # (B, N, N, D)
        return _silu(self.out(_silu(inner)))


def _silu(x: Tensor) -> Tensor:
    return F.silu(x, inplace=not torch.is_grad_enabled())  # edges are many: memory is what they cost


class Interaction(nn.Module):
    """One block.

    Args:
        width: channels D of tokens.
        pair_width: channels P of pairs, 0 for none.
        neighbours: n, by which sums over neighbours are divided.
        reach: r / L, the largest weight of a line in one step.
        eps: of the LayerNorms.
    """

    def __init__(self, width: int, pair_width: int, neighbours: float, reach: float, eps: float) -> None:
        super().__init__()
        self.neighbours, self.reach = neighbours, reach
        self.norm = nn.LayerNorm(width, eps=eps, elementwise_affine=False)
        self.pair_norm = nn.LayerNorm(pair_width, eps=eps) if pair_width else None
        self.table = nn.Parameter(torch.zeros(4, width))
        self.message = EdgeMLP(width, 2 + pair_width)
        self.attention = nn.Linear(width, 1)
        self.update = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.pair_update = nn.Linear(width, pair_width, bias=False) if pair_width else None
        self.line = EdgeMLP(width, 2 + pair_width)
        self.step = nn.Linear(width, 1, bias=False)
        xavier(self)
        if self.pair_update is not None:
            zero(self.pair_update)
        nn.init.xavier_uniform_(self.step.weight, gain=0.001)

    def forward(
        self, h: Tensor, x: Tensor, pair: Tensor | None, first: Tensor, steer: Tensor, keep: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """One block.

        Args:
            h: (B, N, D).
            x: (B, N, p), points in float32 or float64.
            pair: (B, N, N, P).
            first: (B, N, N, 1), log(1 + d²) of the points that came in.
            steer: (B, 1 or N, 4 D).
            keep: (B or 1, N, N, 1) bool, True where two different real tokens meet.

        Returns:
            h, the displacement of the points (B, N, p) by this block, and the pairs where there are any.
        """
        shift_m, scale_m, shift_x, scale_x = (steer + self.table.flatten()).chunk(4, dim=-1)
        lines = x.unsqueeze(2) - x.unsqueeze(1)  # (B, N, N, p)
        square = lines.square().sum(-1, keepdim=True)
        edges = [square.log1p().to(h.dtype), first.to(h.dtype)]
        if pair is not None and self.pair_norm is not None:
            edges.append(self.pair_norm(pair).to(h.dtype))
        e = torch.cat(edges, dim=-1)  # (B, N, N, 2 + P)

        y = modulate(self.norm(h), shift_m, scale_m)
        m = self.message(y, e)
        gate = self.attention(m).sigmoid().masked_fill(~keep, 0)  # (B, N, N, 1)
        heard = (gate.transpose(2, 3) @ m).squeeze(2) / self.neighbours  # (B, N, D), no gated m in memory
        h = h + self.update(torch.cat((y, heard.to(y.dtype)), dim=-1))
        if pair is not None and self.pair_update is not None:
            change = gate * self.pair_update(m)
            pair = pair + change + change.transpose(1, 2)

        weight = self.step(self.line(modulate(self.norm(h), shift_x, scale_x), e))
        # the root has a finite gradient where two points coincide
        weight = self.reach * weight.to(x.dtype).tanh() / ((square + 1e-12).sqrt() + 1)
        moved = (weight.masked_fill(~keep, 0) * lines).sum(2) / self.neighbours
        return h, moved, pair


class EGNN(nn.Module):
    """A stack of blocks; its ``positions`` are points in space, and it says how far it moves them.

    Args:
        width: channels D of tokens and vector.
        depth: number of blocks L.
        pair_width: channels P of pair features; 0 for none.
        neighbours: n, by which sums over neighbours are divided; one number for all sizes, so that a token knows how
            many it has. EDM takes 1 for QM9; hundreds of points need more.
        reach: r, how far a line between two points can move one of them, in units of 1 / n and of the positions.
        second_time: take a second time vector, added through a layer that starts at zero.
        eps: of the LayerNorms.

    Raises:
        ValueError: pair_width 1, or a depth, neighbours or reach that is not positive.
    """

    moves_points: ClassVar[bool] = True

    def __init__(
        self,
        width: int = 256,
        depth: int = 9,
        *,
        pair_width: int = 0,
        neighbours: float = 4.0,
        reach: float = 15.0,
        second_time: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if pair_width == 1:
            raise ValueError(
                "pair_width must be 0 or at least 2: features of pairs are normalised over channels"
            )
        if depth < 1 or not neighbours > 0 or not reach > 0:
            raise ValueError(
                f"depth, neighbours and reach must be positive, not {depth}, {neighbours:g} and {reach:g}"
            )
        self.width, self.depth, self.pair_width = width, depth, pair_width
        self.modulation = nn.Linear(width, 4 * width)
        self.second = nn.Linear(width, width) if second_time else None
        self.blocks = nn.ModuleList(
            Interaction(width, pair_width, neighbours, reach / depth, eps) for _ in range(depth)
        )
        for layer in (self.modulation, self.second):
            if layer is not None:
                zero(layer)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names `features=` may ask for: block.i is what block i makes of the tokens."""
        return tuple(f"block.{i}" for i in range(self.depth))

    def forward(
        self,
        tokens: Tensor,
        vector: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        pair: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        second: Tensor | None = None,
        features: Sequence[str] = (),
    ) -> Output:
        """Run all blocks.

        Args:
            tokens: (B, N, D), invariant.
            vector: (B, D), or (B, N, D) when every token has its own time.
            positions: (B, N, p), points in space.
            mask: (B, N) bool, True for real tokens; None when all are.
            pair: (B, N, N, P), invariant and symmetric, required exactly when pair_width > 0.
            context, context_mask: must be None.
            second: (B, D) or (B, N, D), the embedded second time; may be left out.
            features: names of intermediate tokens to return, out of `feature_names`.

        Returns:
            Tokens, pairs, and the displacement of the points (B, N, p).

        Raises:
            ValueError: an input this backbone was not built for, one it lacks, or an unknown feature.
        """
        if positions is None:
            raise ValueError("positions (B, N, p) are missing; an EGNN is made for points in space")
        self._check(pair, context, features)
        steer = self.modulation(F.silu(per_token(add_second(vector, second, self.second))))
        h, pair = clear(tokens, pair, mask)
        x, _ = clear(positions, None, mask)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        keep = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)[None, :, :, None]
        if mask is not None:
            keep = keep & (mask.unsqueeze(1) & mask.unsqueeze(2)).unsqueeze(-1)
        first = (x.unsqueeze(2) - x.unsqueeze(1)).square().sum(-1, keepdim=True).log1p()

        seen: dict[str, Tensor] = {}
        moved = torch.zeros_like(x)
        for i, block in enumerate(self.blocks):
            h, step, pair = block(h, x + moved, pair, first, steer, keep)
            moved = moved + step
            if f"block.{i}" in features:
                seen[f"block.{i}"] = h
        return Output(*clear(h, pair, mask), seen, moved.to(positions.dtype))

    def _check(self, pair: Tensor | None, context: Tensor | None, features: Sequence[str]) -> None:
        if context is not None:
            raise ValueError("EGNN takes no context; DiT and MMDiT do")
        if pair is not None and not self.pair_width:
            raise ValueError("pair features were given, but this backbone was built with pair_width=0")
        if pair is None and self.pair_width:
            raise ValueError(f"pair features (B, N, N, {self.pair_width}) are missing")
        for name in features:
            if name not in self.feature_names:
                raise ValueError(unknown("feature", name, self.feature_names))
