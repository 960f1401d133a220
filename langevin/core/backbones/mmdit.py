"""MMDiT: tokens and context in one attention.

Dual blocks give tokens and context weights of their own (modulation, queries, keys, values, perceptron);
only the attention is joint: both ask, and both are asked. Single blocks then treat the joined sequence
[context; tokens] with one set of weights, attention and perceptron side by side:

    dual    x <- x + gate_a * A(...), then x <- x + gate_m * MLP(...), for tokens and context each
    single  x <- x + gate * (A(h) + MLP(h)),  h = LN(x) (1 + scale) + shift

All gates start at zero: a new MMDiT is the identity on tokens. Elements of the context sit at position 0 of
every axis. In the last dual block, when no single block follows, the context is only asked.

References: Esser et al. 2024 (Stable Diffusion 3, arXiv:2403.03206, §4 and figure 2); Black Forest Labs 2024
(FLUX.1: single blocks); Dehghani et al. 2023 (parallel layers and QK-norm, arXiv:2302.05442).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin.core.errors import unknown

from .dit import Output, add_second, clear
from .layers import MLP, Attention, attend, attention_bias, modulate, per_token, steering, xavier, zero
from .rotary import Rotary, Rotation

__all__ = ["MMDiT"]


def mean_vector(vector: Tensor, mask: Tensor | None) -> Tensor:
    """(B, N, D) -> (B, D), over real tokens."""
    if mask is None:
        return vector.mean(1)
    weight = mask.unsqueeze(-1).to(vector.dtype)
    return (vector.masked_fill(~mask.unsqueeze(-1), 0)).sum(1) / weight.sum(1).clamp(min=1)


class Stream(nn.Module):
    """The weights of one kind of tokens in a dual block.

    Args:
        width: channels D.
        heads: heads of attention.
        hidden: hidden width of the perceptron.
        shared: add a table to a projection given from outside, instead of an own projection.
        asked_only: the stream gives keys and values and is not changed itself.
        qk_norm: RMS-normalise queries and keys.
        eps: of the LayerNorms.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        shared: bool,
        asked_only: bool,
        qk_norm: bool,
        eps: float,
    ) -> None:
        super().__init__()
        self.asked_only = asked_only
        self.count = 2 if asked_only else 6
        self.norm = nn.LayerNorm(width, eps=eps, elementwise_affine=False)
        self.attention = Attention(width, heads, qk_norm=qk_norm, asks=not asked_only)
        self.mlp = None if asked_only else MLP(width, hidden)
        self.modulation = None if shared else nn.Linear(width, self.count * width)
        self.table = nn.Parameter(torch.zeros(self.count, width)) if shared else None
        xavier(self)
        if self.modulation is not None:
            zero(self.modulation)

    def enter(
        self, x: Tensor, steer: Tensor, rotation: Rotation | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Queries, keys and values (B, N, H, d), and what `leave` needs."""
        if self.table is not None:
            steer = steer[..., : self.table.numel()]
        shift, scale, *rest = steering(self.modulation, self.table, steer, self.count)
        return self.attention.project(modulate(self.norm(x), shift, scale), rotation), tuple(rest)

    def leave(self, x: Tensor, attended: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        """Add what attention found (B, N, D), then the perceptron's answer."""
        if self.mlp is None:
            return x
        gate_a, shift_m, scale_m, gate_m = rest
        x = torch.addcmul(x, gate_a, self.attention.out(attended))
        return torch.addcmul(x, gate_m, self.mlp(modulate(self.norm(x), shift_m, scale_m)))


class DualBlock(nn.Module):
    """Tokens and context, each with own weights, in one attention."""

    def __init__(self, tokens: Stream, context: Stream) -> None:
        super().__init__()
        self.tokens = tokens
        self.context = context

    def forward(
        self,
        x: Tensor,
        c: Tensor,
        steer: Tensor,
        steer_c: Tensor,
        rotation: Rotation | None,
        bias: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """x (B, N, D), c (B, M, D), bias over [context; tokens] -> the same two."""
        m = c.shape[1]
        of_c, rest_c = self.context.enter(c, steer_c, None)
        of_x, rest_x = self.tokens.enter(x, steer, rotation)
        if self.context.asked_only:
            k, v = (torch.cat(both, dim=1) for both in zip(of_c[1:], of_x[1:], strict=True))
            return self.tokens.leave(x, attend(of_x[0], k, v, bias), rest_x), c
        q, k, v = (torch.cat(both, dim=1) for both in zip(of_c, of_x, strict=True))
        y = attend(q, k, v, bias)  # (B, M + N, D)
        return self.tokens.leave(x, y[:, m:], rest_x), self.context.leave(c, y[:, :m], rest_c)


class SingleBlock(nn.Module):
    """One set of weights for the joined sequence, attention and perceptron side by side."""

    def __init__(
        self, width: int, heads: int, hidden: int, *, shared: bool, qk_norm: bool, eps: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps, elementwise_affine=False)
        self.attention = Attention(width, heads, qk_norm=qk_norm)
        self.mlp = MLP(width, hidden)
        self.modulation = None if shared else nn.Linear(width, 3 * width)
        self.table = nn.Parameter(torch.zeros(3, width)) if shared else None
        xavier(self)
        if self.modulation is not None:
            zero(self.modulation)

    def forward(self, x: Tensor, steer: Tensor, rotation: Rotation | None, bias: Tensor | None) -> Tensor:
        """x (B, M + N, D) -> the same."""
        if self.table is not None:
            steer = steer[..., : self.table.numel()]
        shift, scale, gate = steering(self.modulation, self.table, steer, 3)
        h = modulate(self.norm(x), shift, scale)
        return torch.addcmul(x, gate, self.attention(h, rotation, bias) + self.mlp(h))


class MMDiT(nn.Module):
    """Dual blocks, then single blocks. The call is that of `DiT`; the context is required.

    Args:
        width: channels D of tokens and vector.
        depth: number of dual blocks.
        heads: heads of attention; must divide the width.
        context_width: channels C of the context.
        single: number of single blocks after the dual ones.
        axes: coordinates p of a position (rotary embedding); 0 for none.
        mlp_ratio: hidden width of the perceptrons over D.
        modulation: "block" or "shared" (see `DiT`).
        second_time: take a second time vector, added through a layer that starts at zero.
        qk_norm: RMS-normalise queries and keys.
        rotary_base: ratio of the longest to the shortest wavelength of the rotary embedding.
        eps: of the LayerNorms.

    Raises:
        ValueError: an unknown modulation, no dual block, no context, or a width that heads or axes do not
            divide.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        context_width: int,
        single: int = 0,
        axes: int = 2,
        mlp_ratio: float = 4.0,
        modulation: str = "block",
        second_time: bool = False,
        qk_norm: bool = True,
        rotary_base: float = 100.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if modulation not in ("block", "shared"):
            raise ValueError(unknown("modulation", modulation, ("block", "shared")))
        if depth < 1 or context_width < 1:
            raise ValueError(f"depth and context_width must be at least 1, not {depth} and {context_width}")
        self.width, self.depth, self.context_width = width, depth, context_width
        shared, hidden = modulation == "shared", int(width * mlp_ratio)
        self.context_in = nn.Linear(context_width, width)
        xavier(self.context_in)
        self.rotary = Rotary(width // heads, axes, rotary_base) if axes else None
        self.modulation = nn.Linear(width, 6 * width) if shared else None
        self.context_modulation = nn.Linear(width, 6 * width) if shared else None
        self.second = nn.Linear(width, width) if second_time else None
        for layer in (self.modulation, self.context_modulation, self.second):
            if layer is not None:
                zero(layer)

        def stream(asked_only: bool) -> Stream:
            return Stream(
                width, heads, hidden, shared=shared, asked_only=asked_only, qk_norm=qk_norm, eps=eps
            )

        self.blocks = nn.ModuleList(
            DualBlock(stream(False), stream(i == depth - 1 and not single)) for i in range(depth)
        )
        self.single = nn.ModuleList(
            SingleBlock(width, heads, hidden, shared=shared, qk_norm=qk_norm, eps=eps) for _ in range(single)
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names `features=` may ask for: block.i and single.i are tokens, context the last context."""
        dual = tuple(f"block.{i}" for i in range(self.depth))
        return (*dual, *(f"single.{i}" for i in range(len(self.single))), "context")

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
            tokens: (B, N, D).
            vector: (B, D), or (B, N, D) when every token has its own time; the context then takes the mean
                over real tokens.
            positions: (B, N, p), or (1, N, p) when all rows agree.
            mask: (B, N) bool, True for real tokens; None when all are.
            pair: must be None.
            context: (B, M, C).
            context_mask: (B, M) bool, True for real elements.
            second: (B, D) or (B, N, D), the embedded second time; may be left out.
            features: names of intermediate tokens to return, out of `feature_names`.

        Raises:
            ValueError: an input this backbone was not built for, one it lacks, or an unknown feature.
        """
        self._check(positions, pair, context, features)
        assert context is not None
        n, m = tokens.shape[1], context.shape[1]
        vector = add_second(vector, second, self.second)
        of_context = vector if vector.ndim == 2 else mean_vector(vector, mask)
        steer, steer_c = F.silu(per_token(vector)), F.silu(per_token(of_context))
        if self.modulation is not None and self.context_modulation is not None:
            steer, steer_c = self.modulation(steer), self.context_modulation(steer_c)

        x, _ = clear(tokens, None, mask)
        c, _ = clear(context, None, context_mask)
        c = self.context_in(c)
        keep = None
        if mask is not None or context_mask is not None:
            keep_c = x.new_ones(x.shape[0], m, dtype=torch.bool) if context_mask is None else context_mask
            keep_x = x.new_ones(x.shape[0], n, dtype=torch.bool) if mask is None else mask
            keep = torch.cat((keep_c, keep_x), dim=1)  # (B, M + N)
        bias = attention_bias(keep)
        rotation = self.rotary(positions) if self.rotary is not None else None

        seen: dict[str, Tensor] = {}
        for i, block in enumerate(self.blocks):
            x, c = block(x, c, steer, steer_c, rotation, bias)
            if f"block.{i}" in features:
                seen[f"block.{i}"] = x
        if len(self.single):
            both = torch.cat((c, x), dim=1)
            if vector.ndim == 3:
                calm = F.silu(per_token(of_context))
                calm = calm if self.modulation is None else self.modulation(calm)
                steer = torch.cat((calm.expand(-1, m, -1), steer), dim=1)
            if rotation is not None:  # angle 0 for the context
                cos, sin = rotation
                still = cos.new_ones(cos.shape[0], m, *cos.shape[2:])
                rotation = torch.cat((still, cos), dim=1), torch.cat((torch.zeros_like(still), sin), dim=1)
            for i, single in enumerate(self.single):
                both = single(both, steer, rotation, bias)
                if f"single.{i}" in features:
                    seen[f"single.{i}"] = both[:, m:]
            c, x = both[:, :m], both[:, m:]
        if "context" in features:
            seen["context"], _ = clear(c, None, context_mask)
        x, _ = clear(x, None, mask)
        return Output(x, None, seen)

    def _check(
        self, positions: Tensor | None, pair: Tensor | None, context: Tensor | None, features: Sequence[str]
    ) -> None:
        if self.rotary is not None and positions is None:
            raise ValueError(
                f"positions (B, N, {self.rotary.axes}) are missing; build with axes=0 to do without"
            )
        if pair is not None:
            raise ValueError("MMDiT takes no pair features; DiT does")
        if context is None:
            raise ValueError(
                f"MMDiT needs a context (B, M, {self.context_width}); give the learned null to say nothing"
            )
        if context.shape[-1] != self.context_width:
            raise ValueError(
                f"the context has {context.shape[-1]} channels; this backbone was built with "
                f"context_width={self.context_width}"
            )
        for name in features:
            if name not in self.feature_names:
                raise ValueError(unknown("feature", name, self.feature_names))
