"""DiT: a transformer over tokens, steered by a vector.

    x <- x + gate_a * Attention(LN(x) (1 + scale_a) + shift_a)
    x <- x + CrossAttention(LN(x), context)                        where there is a context
    x <- x + gate_m * MLP(LN(x) (1 + scale_m) + shift_m)

The six vectors are linear in SiLU(vector): one projection per block (modulation="block", DiT), or one for
all blocks plus a learned table per block (modulation="shared", PixArt-alpha's adaLN-single, which saves
about a quarter of all parameters). All gates start at zero: a new DiT is the identity.

Tokens come in embedded and leave unprojected; `FinalLayer` reads them out. Positions are real coordinates,
used by rotary attention only. Padding never influences a real token, and leaves as 0.

References: Peebles and Xie 2023 (DiT, arXiv:2212.09748); Chen et al. 2023 (PixArt-alpha, arXiv:2310.00426,
§2.3); Bao et al. 2023 (U-ViT, long skips, arXiv:2209.12152); Dehghani et al. 2023 (QK-norm,
arXiv:2302.05442).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin.core.errors import unknown
from langevin.core.packing import Packing

from .layers import (
    MLP,
    Attention,
    CrossAttention,
    attention_bias,
    gated,
    modulate,
    per_token,
    steering,
    xavier,
    zero,
)
from .pair import PairBias, PairUpdate
from .rotary import Rotary, Rotation

__all__ = ["Block", "DiT", "Output"]


@dataclass(frozen=True)
class Output:
    """What a backbone returns.

    Attributes:
        tokens: (B, N, D).
        pair: (B, N, N, P), or None where no pairs went in.
        features: the intermediate tokens asked for, by name, each (B, N, D).
        displacement: (B, N, p), how far the points of space moved; None of a backbone that moves none.
    """

    tokens: Tensor
    pair: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    displacement: Tensor | None = None


def add_second(vector: Tensor, second: Tensor | None, layer: nn.Module | None) -> Tensor:
    """The vector plus the projected second time; either may be one per token.

    Raises:
        ValueError: a second time for a backbone that has no layer for it.
    """
    if second is None:
        return vector
    if layer is None:
        raise ValueError("a second time was given, but this backbone was built with second_time=False")
    second = layer(second)
    return vector + second if vector.ndim == second.ndim else per_token(vector) + per_token(second)


def clear(x: Tensor, pair: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Set padding to 0, so that whatever it holds (NaN too) stays without effect."""
    if mask is None:
        return x, pair
    if pair is not None:
        both = mask.unsqueeze(1) & mask.unsqueeze(2)  # (B, N, N)
        pair = pair.masked_fill(~both.unsqueeze(-1), 0)
    return x.masked_fill(~mask.unsqueeze(-1), 0), pair


def merge(width: int) -> nn.Linear:
    """(tokens, skipped tokens) -> tokens; at first the skipped tokens count for nothing."""
    layer = nn.Linear(2 * width, width)
    zero(layer)
    with torch.no_grad():
        layer.weight[:, :width] = torch.eye(width)
    return layer


class Block(nn.Module):
    """One block: attention, cross-attention where there is a context, perceptron.

    Args:
        width: channels D of tokens and vector.
        heads: heads of attention.
        mlp_ratio: hidden width of the perceptron over D.
        modulation: "block" (own projection) or "shared" (a table added to a projection given from outside).
        context_width: channels C of the context, 0 for none.
        pair_width: channels P of pairs, 0 for none.
        qk_norm: RMS-normalise queries and keys.
        eps: of the LayerNorms.
        mlp_eps: of the LayerNorm before the perceptron, where it differs.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_ratio: float = 4.0,
        modulation: str = "block",
        context_width: int = 0,
        pair_width: int = 0,
        qk_norm: bool = True,
        eps: float = 1e-6,
        mlp_eps: float | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps, elementwise_affine=False)
        self.mlp_norm = nn.LayerNorm(width, eps=mlp_eps or eps, elementwise_affine=False)
        self.attention = Attention(width, heads, qk_norm=qk_norm)
        self.cross = CrossAttention(width, context_width, heads, qk_norm=qk_norm) if context_width else None
        self.mlp = MLP(width, int(width * mlp_ratio))
        self.pair_bias = PairBias(pair_width, heads) if pair_width else None
        self.pair_update = PairUpdate(width, pair_width) if pair_width else None
        self.modulation = nn.Linear(width, 6 * width) if modulation == "block" else None
        self.table = nn.Parameter(torch.zeros(6, width)) if modulation == "shared" else None
        xavier(self.attention)
        xavier(self.mlp)
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
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
        pair: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        packing: Packing | None = None,
        order: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """One block.

        Args:
            x: (B, N, D).
            steer: SiLU(vector) (B, 1, G or N, D), or the shared projection (B, 1, G or N, 6 D).
            vector: (B, D) or (B, N, D), for the pairs.
            rotation: of the positions; None for none.
            mask: (B, N) bool.
            pair: (B, N, N, P).
            context: (B, M, C).
            context_mask: (B, M) bool.
            packing: of rows; None where there are none.
            order: (B, N); None where all tokens see all.

        Returns:
            x (B, N, D), and the pairs where there are any.
        """
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = steering(self.modulation, self.table, steer, 6)
        y = modulate(self.norm(x), shift_a, scale_a, packing)
        if packing is None:
            bias = attention_bias(mask, self.pair_bias(pair) if self.pair_bias is not None else None, order)
            y = self.attention(y, rotation, bias)
        else:
            y = self.attention.packed(y, packing, rotation, mask, order)
        x = gated(x, gate_a, y, packing)
        if self.cross is not None and context is not None:
            y = self.norm(x)
            if packing is None:
                x = x + self.cross(y, context, context_mask)
            else:
                x = x + self.cross.packed(y, packing, context, context_mask)
        y = self.mlp(modulate(self.mlp_norm(x), shift_m, scale_m, packing))
        x = gated(x, gate_m, y, packing)
        if self.pair_update is not None:
            pair = self.pair_update(pair, x, vector)
        return x, pair


class DiT(nn.Module):
    """A stack of blocks.

    Args:
        width: channels D of tokens and vector.
        depth: number of blocks.
        heads: heads of attention; must divide the width.
        axes: coordinates p of a position (rotary embedding); 0 for none.
        mlp_ratio: hidden width of the perceptrons over D.
        modulation: "block" or "shared".
        context_width: channels C of a context to be asked by cross-attention; 0 for none.
        pair_width: channels P of pair features; 0 for none.
        long_skips: give block depth-1-i the output of block i too, merged by a linear layer (U-ViT).
        second_time: take a second time vector, added through a layer that starts at zero.
        qk_norm: RMS-normalise queries and keys.
        rotary_base: ratio of the longest to the shortest wavelength of the rotary embedding.
        eps: of the LayerNorms.

    Raises:
        ValueError: an unknown modulation, pair_width 1, or a width that heads or axes do not divide.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        axes: int = 2,
        mlp_ratio: float = 4.0,
        modulation: str = "block",
        context_width: int = 0,
        pair_width: int = 0,
        long_skips: bool = False,
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
        self.width, self.depth = width, depth
        self.context_width, self.pair_width = context_width, pair_width
        self.grouped = not pair_width  # takes a vector for each group of tokens
        self.packs = not pair_width  # takes rows of samples of several lengths
        self.ordered = True  # takes an order of tokens
        self.rotary = Rotary(width // heads, axes, rotary_base) if axes else None
        self.modulation = nn.Linear(width, 6 * width) if modulation == "shared" else None
        self.second = nn.Linear(width, width) if second_time else None
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads,
                mlp_ratio=mlp_ratio,
                modulation=modulation,
                context_width=context_width,
                pair_width=pair_width,
                qk_norm=qk_norm,
                eps=eps,
            )
            for _ in range(depth)
        )
        self.skips = nn.ModuleList(merge(width) for _ in range((depth - 1) // 2 if long_skips else 0))
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
        packing: Packing | None = None,
        order: Tensor | None = None,
    ) -> Output:
        """Run all blocks.

        Args:
            tokens: (B, N, D).
            vector: (B, D), or (B, N, D) when every token has its own time; or, without pairs, (B, G, D) when groups of
                N / G tokens that follow one another share theirs.
            positions: (B, N, p), or (1, N, p) when all rows agree.
            mask: (B, N) bool, True for real tokens; None when all are.
            pair: (B, N, N, P), required exactly when pair_width > 0.
            context: (B, M, C); may be left out: nothing is asked then.
            context_mask: (B, M) bool, True for real elements.
            second: (B, D) or (B, N, D), the embedded second time; may be left out.
            features: names of intermediate tokens to return, out of `feature_names`.
            packing: of samples of several lengths, B in all, in one row (:mod:`langevin.core.packing`): tokens (1, N, D),
                vector and second (1, V, D), positions (1, N, p), mask and order (1, N) are rows then, and so is what is
                returned; the context stays (B, M, C). Without pairs.
            order: (B, N), whole numbers: a token sees those whose number is not above its own.

        Raises:
            ValueError: an input this backbone was not built for, one it lacks, or an unknown feature.
        """
        self._check(positions, pair, context, features)
        vector = add_second(vector, second, self.second)
        steer = F.silu(per_token(vector))  # (B, 1 or N, D)
        if self.modulation is not None:
            steer = self.modulation(steer)  # (B, 1 or N, 6 D)
        rotation = self.rotary(positions) if self.rotary is not None else None
        x, pair = clear(tokens, pair, mask)
        if context is not None and context_mask is not None:
            context = context.masked_fill(~context_mask.unsqueeze(-1), 0)

        seen: dict[str, Tensor] = {}
        kept: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            j = self.depth - 1 - i
            if j < len(self.skips):
                x = self.skips[j](torch.cat((x, kept[j]), dim=-1))
            x, pair = block(x, steer, vector, rotation, mask, pair, context, context_mask, packing, order)
            if i < len(self.skips):
                kept.append(x)
            if f"block.{i}" in features:
                seen[f"block.{i}"] = x
        return Output(*clear(x, pair, mask), seen)

    def _check(
        self,
        positions: Tensor | None,
        pair: Tensor | None,
        context: Tensor | None,
        features: Sequence[str],
    ) -> None:
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
