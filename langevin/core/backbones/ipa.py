r"""IPA: a transformer over rigid frames, whose attention does not depend on how space is turned or shifted.

A token has channels s_i and a frame T_i = (R_i, t_i), which takes a point u of its own axes to R_i u + t_i in space. The
blocks are those of a :class:`DiT` with another attention. Each head h has, linear in the token, a query, a key and a value
q, k, v and points of the token's own axes: P for queries and for keys, V for values. With these points in space,
Q_ip = R_i q⃗_ip + t_i and so on,

.. math::
    a_{ij} &= \mathrm{softmax}_j\; w_L \Bigl( q_i \cdot k_j / \sqrt{c} + b(z_{ij})
              - \tfrac{1}{2} \gamma w_C \sum_p |Q_{ip} - K_{jp}|^2 \Bigr), \\
    u_i &= R_i^T \bigl( \textstyle\sum_j a_{ij} V_j - t_i \bigr), \qquad
    y_i = W \bigl( \textstyle\sum_j a_{ij} v_j,\; u_i,\; |u_i|,\; \sum_j a_{ij} z_{ij} \bigr),

where γ = softplus of a number per head, 1 at first; w_C = √(2 / 9P), which gives the sum of squares the variance 1 for
points of variance 1; w_L = 1/√(number of terms); z_ij are the features of the pair, after a LayerNorm. Nothing here changes
when all frames are moved by one rotation and shift, so tokens that come in invariant leave so, and a vector that is read
out in a token's own axes turns with space. A mirror image has other frames, and is told apart.

|Q − K|² is never formed for pairs of points: |Q|² is the same for all j and drops out of the softmax, so a score is one
scalar product, of (q, Q, 1) and (k, K, −|K|²/2), up to weights. Coordinates are first taken from the mean of the real
tokens' translations, which keeps that difference of large numbers exact; they are computed in float32 or float64, whatever
the network computes in.

Lengths are in units in which neighbours are a few tenths apart and the whole a few units, as 10 Å for proteins.

References: Jumper et al. 2021 (AlphaFold 2, doi:10.1038/s41586-021-03819-2, Suppl. Alg. 22); Yim et al. 2023 (FrameDiff,
arXiv:2302.02277, for IPA as a denoiser). Ours: the steering and the perceptron of a DiT, RMS-normalised queries and keys,
pairs changed by tokens as in :mod:`langevin.core.backbones.pair`, frames that stay where they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin.core.errors import unknown

from .dit import Output, add_second, clear
from .layers import (
    MLP,
    CrossAttention,
    RMSNorm,
    attention_bias,
    gated,
    modulate,
    per_token,
    steering,
    xavier,
    zero,
)
from .pair import PairBias, PairUpdate
from .rotary import Rotary, Rotation, rotate

__all__ = ["IPA", "Frames", "InvariantPointAttention"]

Frames = tuple[Tensor, Tensor]


class InvariantPointAttention(nn.Module):
    """The attention at the head of this file.

    Args:
        width: channels D of tokens.
        heads: number of heads H; must divide the width.
        pair_width: channels of pairs, 0 for none.
        query_points: P, points of a head's query, and of its key.
        value_points: V, points of a head's value.
        qk_norm: RMS-normalise queries and keys (not their points).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        pair_width: int = 0,
        query_points: int = 4,
        value_points: int = 8,
        qk_norm: bool = True,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        head = width // heads
        self.heads, self.query_points, self.value_points = heads, query_points, value_points
        self.qkv = nn.Linear(width, 3 * width)
        self.points = nn.Linear(width, 3 * heads * (2 * query_points + value_points))
        self.q_norm = RMSNorm(head) if qk_norm else None
        self.k_norm = RMSNorm(head) if qk_norm else None
        self.sharpness = nn.Parameter(torch.full((heads,), math.log(math.e - 1)))  # softplus of it is 1
        self.pair_bias = PairBias(pair_width, heads) if pair_width else None
        self.out = nn.Linear(heads * (head + 4 * value_points + pair_width), width)

    def forward(
        self,
        x: Tensor,
        frames: Frames,
        mask: Tensor | None = None,
        pair: Tensor | None = None,
        rotation: Rotation | None = None,
    ) -> Tensor:
        """Attention of tokens to tokens.

        Args:
            x: (B, N, D).
            frames: rotations (B, N, 3, 3) and translations (B, N, 3), in float32 or float64, finite everywhere.
            mask: (B, N) bool.
            pair: (B, N, N, P).
            rotation: rotary positions, for queries and keys; None for none.

        Returns:
            (B, N, D).
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # (B, N, H, d)
        q = q if self.q_norm is None else self.q_norm(q)
        k = k if self.k_norm is None else self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        points = self.points(x).unflatten(-1, (-1, 3))  # (B, N, H (2 P + V), 3), in each token's axes
        z = None if self.pair_bias is None else self.pair_bias.norm(pair)
        bias = None if self.pair_bias is None else self.pair_bias.linear(z).permute(0, 3, 1, 2)
        with torch.autocast(x.device.type, enabled=False):
            y = self._attend(q, k, v, points, frames, mask, z, bias)
        return self.out(y.to(x.dtype))

    def _attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        points: Tensor,
        frames: Frames,
        mask: Tensor | None,
        z: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        """All that is heard, (B, N, H (d + 4 V + P)), in the precision of the frames."""
        rotations, translations = frames
        q, k, v, points = (part.to(rotations.dtype) for part in (q, k, v, points))
        share = 1 / math.sqrt(2 if z is None else 3)  # w_L
        weight = F.softplus(self.sharpness.to(rotations.dtype)) * math.sqrt(2 / (9 * self.query_points))

        space = points @ rotations.mT + translations.unsqueeze(2)
        counts = (self.query_points, self.query_points, self.value_points)
        q_points, k_points, v_points = (
            part.flatten(3) for part in space.unflatten(2, (self.heads, -1)).split(counts, 3)
        )  # (B, N, H, 3 P), (B, N, H, 3 P), (B, N, H, 3 V)
        weight = share * weight[:, None].expand(*q.shape[:3], 1)  # (B, N, H, 1)
        asks = torch.cat((q * (share / math.sqrt(q.shape[-1])), weight * q_points, weight), -1)
        keys = torch.cat((k, k_points, -0.5 * k_points.square().sum(-1, keepdim=True)), -1)
        scores = asks.transpose(1, 2) @ keys.permute(0, 2, 3, 1)  # (B, H, N, N)
        if bias is not None:
            scores = scores + share * bias
        keep = attention_bias(mask)
        if keep is not None:
            scores = scores.masked_fill(~keep, float("-inf"))
        a = scores.softmax(-1)

        heard = (a @ torch.cat((v, v_points), -1).transpose(1, 2)).transpose(1, 2)  # (B, N, H, d + 3 V)
        values, there = heard.split((v.shape[-1], 3 * self.value_points), -1)
        there = there.reshape(*there.shape[:2], -1, 3) - translations.unsqueeze(2)
        own = there @ rotations  # (B, N, H V, 3): R^T of each, as rows
        # the root has a finite gradient where a point is heard at the token's own origin
        norms = (own.square().sum(-1) + 1e-8).sqrt()
        parts = [values.flatten(2), own.flatten(2), norms]
        if z is not None:
            parts.append((a.transpose(1, 2) @ z.to(a.dtype)).flatten(2))  # (B, N, H, N) @ (B, N, N, P)
        return torch.cat(parts, -1)


class FrameBlock(nn.Module):
    """One block: invariant point attention, cross-attention where there is a context, perceptron, change of the pairs.

    Args: see :class:`IPA`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_ratio: float,
        modulation: str,
        context_width: int,
        pair_width: int,
        query_points: int,
        value_points: int,
        qk_norm: bool,
        eps: float,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps, elementwise_affine=False)
        self.attention = InvariantPointAttention(
            width,
            heads,
            pair_width=pair_width,
            query_points=query_points,
            value_points=value_points,
            qk_norm=qk_norm,
        )
        self.cross = CrossAttention(width, context_width, heads, qk_norm=qk_norm) if context_width else None
        self.mlp = MLP(width, int(width * mlp_ratio))
        self.pair_update = PairUpdate(width, pair_width) if pair_width else None
        self.modulation = nn.Linear(width, 6 * width) if modulation == "block" else None
        self.table = nn.Parameter(torch.zeros(6, width)) if modulation == "shared" else None
        for layer in (self.attention.qkv, self.attention.points, self.attention.out, self.mlp):
            xavier(layer)
        if self.cross is not None:
            xavier(self.cross)
            zero(self.cross.out)
        if self.modulation is not None:
            zero(self.modulation)

    def forward(
        self,
        x: Tensor,
        steer: Tensor,
        vector: Tensor,
        frames: Frames,
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
        pair: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, N, D) and the pairs where there are any; arguments as in :class:`langevin.core.backbones.Block`."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = steering(self.modulation, self.table, steer, 6)
        y = self.attention(modulate(self.norm(x), shift_a, scale_a), frames, mask, pair, rotation)
        x = gated(x, gate_a, y)
        if self.cross is not None and context is not None:
            x = x + self.cross(self.norm(x), context, context_mask)
        x = gated(x, gate_m, self.mlp(modulate(self.norm(x), shift_m, scale_m)))
        if self.pair_update is not None:
            pair = self.pair_update(pair, x, vector)
        return x, pair


class IPA(nn.Module):
    """A stack of blocks over tokens with frames.

    Args:
        width: channels D of tokens and vector.
        depth: number of blocks.
        heads: heads of attention; must divide the width.
        axes: coordinates p of a position (rotary embedding), 0 for none. Positions must be invariant too, as an index
            along a chain is; places in space are not.
        mlp_ratio: hidden width of the perceptrons over D.
        modulation: "block" or "shared".
        context_width: channels C of a context to be asked by cross-attention; 0 for none.
        pair_width: channels P of pair features; 0 for none.
        query_points: points of each head's queries and keys.
        value_points: points of each head's values.
        second_time: take a second time vector, added through a layer that starts at zero.
        qk_norm: RMS-normalise queries and keys.
        rotary_base: ratio of the longest to the shortest wavelength of the rotary embedding.
        eps: of the LayerNorms.

    Raises:
        ValueError: an unknown modulation, pair_width 1, no points, or a width that heads or axes do not divide.
    """

    framed: ClassVar[bool] = True

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        axes: int = 0,
        mlp_ratio: float = 4.0,
        modulation: str = "block",
        context_width: int = 0,
        pair_width: int = 0,
        query_points: int = 4,
        value_points: int = 8,
        second_time: bool = False,
        qk_norm: bool = True,
        rotary_base: float = 100.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if modulation not in ("block", "shared"):
            raise ValueError(unknown("modulation", modulation, ("block", "shared")))
        if pair_width == 1:
            raise ValueError(
                "pair_width must be 0 or at least 2: features of pairs are normalised over channels"
            )
        if query_points < 1 or value_points < 1:
            raise ValueError(
                f"query_points and value_points must be positive, not {query_points} and {value_points}"
            )
        self.width, self.depth = width, depth
        self.context_width, self.pair_width = context_width, pair_width
        self.rotary = Rotary(width // heads, axes, rotary_base) if axes else None
        self.modulation = nn.Linear(width, 6 * width) if modulation == "shared" else None
        self.second = nn.Linear(width, width) if second_time else None
        self.blocks = nn.ModuleList(
            FrameBlock(
                width,
                heads,
                mlp_ratio=mlp_ratio,
                modulation=modulation,
                context_width=context_width,
                pair_width=pair_width,
                query_points=query_points,
                value_points=value_points,
                qk_norm=qk_norm,
                eps=eps,
            )
            for _ in range(depth)
        )
        for layer in (self.modulation, self.second):
            if layer is not None:
                zero(layer)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names `features=` may ask for: block.i is what block i returns."""
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
        frames: Frames | None = None,
    ) -> Output:
        """Run all blocks.

        Args:
            tokens: (B, N, D), invariant.
            vector: (B, D), or (B, N, D) when every token has its own time.
            positions: (B, N, p), or (1, N, p) when all rows agree; looked at only where axes > 0.
            mask: (B, N) bool, True for real tokens; None when all are.
            pair: (B, N, N, P), invariant, required exactly when pair_width > 0.
            context: (B, M, C); may be left out: nothing is asked then.
            context_mask: (B, M) bool, True for real elements.
            second: (B, D) or (B, N, D), the embedded second time; may be left out.
            features: names of intermediate tokens to return, out of `feature_names`.
            frames: rotations (B, N, 3, 3), whose columns are the axes of the tokens, and translations (B, N, 3).

        Returns:
            Tokens and pairs, invariant.

        Raises:
            ValueError: an input this backbone was not built for, one it lacks or of a wrong shape, or an unknown feature.
        """
        self._check(tokens, positions, pair, context, features, frames)
        assert frames is not None
        placed = _placed(frames, mask)
        vector = add_second(vector, second, self.second)
        steer = F.silu(per_token(vector))  # (B, 1 or N, D)
        if self.modulation is not None:
            steer = self.modulation(steer)  # (B, 1 or N, 6 D)
        rotation = self.rotary(positions) if self.rotary is not None else None
        x, pair = clear(tokens, pair, mask)
        if context is not None and context_mask is not None:
            context = context.masked_fill(~context_mask.unsqueeze(-1), 0)

        seen: dict[str, Tensor] = {}
        for i, block in enumerate(self.blocks):
            x, pair = block(x, steer, vector, placed, rotation, mask, pair, context, context_mask)
            if f"block.{i}" in features:
                seen[f"block.{i}"] = x
        return Output(*clear(x, pair, mask), seen)

    def _check(
        self,
        tokens: Tensor,
        positions: Tensor | None,
        pair: Tensor | None,
        context: Tensor | None,
        features: Sequence[str],
        frames: Frames | None,
    ) -> None:
        if frames is None:
            raise ValueError(
                "frames, rotations (B, N, 3, 3) and translations (B, N, 3), are missing; IPA is made for tokens with frames"
            )
        rows = tuple(tokens.shape[:2])
        shapes = tuple(tuple(part.shape) for part in frames)
        if shapes != ((*rows, 3, 3), (*rows, 3)):
            raise ValueError(
                f"frames of {rows[1]} tokens in {rows[0]} rows must be rotations {(*rows, 3, 3)} and translations "
                f"{(*rows, 3)}, got {' and '.join(map(str, shapes))}"
            )
        if self.rotary is not None and positions is None:
            raise ValueError(
                f"positions (B, N, {self.rotary.axes}) are missing; build with axes=0 to do without"
            )
        if pair is not None and not self.pair_width:
            raise ValueError("pair features were given, but this backbone was built with pair_width=0")
        if pair is None and self.pair_width:
            raise ValueError(f"pair features (B, N, N, {self.pair_width}) are missing")
        if context is not None and context.shape[-1] != self.context_width:
            raise ValueError(
                f"the context has {context.shape[-1]} channels; this backbone was built with "
                f"context_width={self.context_width}"
            )
        for name in features:
            if name not in self.feature_names:
                raise ValueError(unknown("feature", name, self.feature_names))


def _placed(frames: Frames, mask: Tensor | None) -> Frames:
    """The frames as the attention takes them: about the mean of the real translations, and at rest where padded."""
    rotations, translations = frames
    wide = torch.promote_types(torch.promote_types(rotations.dtype, translations.dtype), torch.float32)
    rotations, translations = rotations.to(wide), translations.to(wide)
    if mask is None:
        return rotations, translations - translations.mean(1, keepdim=True)
    real = mask.unsqueeze(-1)  # (B, N, 1)
    rotations = torch.where(real.unsqueeze(-1), rotations, torch.eye(3, dtype=wide, device=mask.device))
    translations = translations.masked_fill(~real, 0)
    mean = translations.sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
    return rotations, (translations - mean).masked_fill(~real, 0)
