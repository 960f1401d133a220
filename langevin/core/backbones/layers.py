"""The pieces from which the transformers are made.

A block modulates its normalised input by shift and scale and its output by a gate, all three linear in the
conditioning vector (adaLN-zero): x + gate * f(LayerNorm(x) * (1 + scale) + shift). At the start every
gate is zero, hence every block is the identity.

Masks are boolean, True for what is real. A masked key has attention weight exactly 0.

References: Peebles and Xie 2023 (DiT, arXiv:2212.09748, §3.2); Dehghani et al. 2023 (QK-norm,
arXiv:2302.05442); Hendrycks and Gimpel 2016 (GELU, arXiv:1606.08415).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin.core.packing import Packing

from .rotary import Rotation, rotate

__all__ = [
    "MLP",
    "Attention",
    "CrossAttention",
    "FinalLayer",
    "RMSNorm",
    "attend",
    "attention_bias",
    "gated",
    "modulate",
    "per_token",
    "steering",
    "xavier",
    "zero",
]


def modulate(x: Tensor, shift: Tensor, scale: Tensor, packing: Packing | None = None) -> Tensor:
    """x * (1 + scale) + shift in one pass; x (B, N, D), shift and scale (B, G, D) as in :func:`gated`."""
    if packing is not None:
        parts = zip(packing.of_tokens(x), *map(packing.of_vectors, (shift, scale)), strict=True)
        return packing.row(modulate(*part) for part in parts)
    groups = shift.shape[1]
    if groups in (1, x.shape[1]):
        return torch.addcmul(shift, x, 1 + scale)
    x = x.unflatten(1, (groups, -1))
    return torch.addcmul(shift.unsqueeze(2), x, (1 + scale).unsqueeze(2)).flatten(1, 2)


def gated(x: Tensor, gate: Tensor, y: Tensor, packing: Packing | None = None) -> Tensor:
    """x + gate * y; x and y (B, N, D), gate (B, G, D): one for all tokens, for each, or for each N / G that follow
    one another, as those of a frame do. With a packing all are rows, (1, …)."""
    if packing is not None:
        parts = zip(packing.of_tokens(x), packing.of_vectors(gate), packing.of_tokens(y), strict=True)
        return packing.row(gated(*part) for part in parts)
    groups = gate.shape[1]
    if groups in (1, x.shape[1]):
        return torch.addcmul(x, gate, y)
    x, y = (part.unflatten(1, (groups, -1)) for part in (x, y))
    return torch.addcmul(x, gate.unsqueeze(2), y).flatten(1, 2)


def per_token(vector: Tensor) -> Tensor:
    """(B, D) -> (B, 1, D), which serves all tokens; (B, G, D), one vector per token or group of them, stays."""
    return vector.unsqueeze(1) if vector.ndim == 2 else vector


def steering(layer: nn.Linear | None, table: Tensor | None, steer: Tensor, count: int) -> tuple[Tensor, ...]:
    """Shifts, scales and gates of one block, each (B, 1 or N, D).

    Args:
        layer: the block's own projection D -> count D, or None.
        table: (count, D), what the block adds to the shared projection; used when there is no layer.
        steer: SiLU(vector) (B, 1 or N, D) for a layer, the projected vector (B, 1 or N, count D) for a table.
        count: how many there are.
    """
    if layer is not None:
        return layer(steer).chunk(count, dim=-1)
    assert table is not None
    return (steer + table.flatten()).chunk(count, dim=-1)


def xavier(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases in all linear layers below `module`."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def zero(layer: nn.Linear) -> None:
    """Zero weight and bias, so that the layer's branch is silent at first."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def attention_bias(
    mask: Tensor | None, pair: Tensor | None = None, order: Tensor | None = None
) -> Tensor | None:
    """What `scaled_dot_product_attention` takes as its mask.

    A row that is masked altogether attends to everything instead of to nothing, so that it stays finite;
    what it computes must not be used.

    Args:
        mask: (B, M) bool over keys, or None.
        pair: (B, H, N, M) additive bias, or None.
        order: (B, N), with N = M: keys whose number is above that of the query are not seen; None: all are.

    Returns:
        None, bool (B, 1, 1 or N, M) or float (B, H, N, M).
    """
    seen = None if order is None else (order[:, :, None] >= order[:, None])[:, None]
    if mask is None and seen is None:
        return pair
    if mask is None:
        keep = seen
    else:
        keep = (mask | ~mask.any(-1, keepdim=True))[:, None, None, :]
        if seen is not None:
            keep = keep & seen
            keep = keep | ~keep.any(-1, keepdim=True)  # a masked token before all real ones
    assert keep is not None
    return keep if pair is None else pair.masked_fill(~keep, float("-inf"))


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or self.weight.dtype != torch.float32:
            return super().forward(x)
        wide = x.float()  # under autocast the queries and keys arrive in bfloat16
        scale = wide.square().mean(-1, keepdim=True).add(1e-6).rsqrt()
        return wide * scale * self.weight  # 1.3 to 3 times as fast on a CPU as torch's own


class MLP(nn.Module):
    """Linear, GELU (tanh form), Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(x)
        if torch.is_grad_enabled():
            return self.down(F.gelu(h, approximate="tanh"))
        return self.down(torch.ops.aten.gelu_(h, approximate="tanh"))  # in place: 5 % of a whole forward


class Attention(nn.Module):
    """Self-attention with optional normalised queries and keys and rotary positions.

    Args:
        width: channels D of a token.
        heads: number of heads H; must divide the width.
        qk_norm: RMS-normalise queries and keys over the channels of a head.
        asks: False for tokens that are only asked, by others: there is no output layer then.
    """

    def __init__(self, width: int, heads: int, qk_norm: bool = True, asks: bool = True) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width) if asks else nn.Identity()
        self.q_norm = RMSNorm(width // heads) if qk_norm and asks else None
        self.k_norm = RMSNorm(width // heads) if qk_norm else None

    def project(self, x: Tensor, rotation: Rotation | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the tokens, each (B, N, H, d)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q = q if self.q_norm is None else self.q_norm(q)
        k = k if self.k_norm is None else self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return q, k, v

    def forward(self, x: Tensor, rotation: Rotation | None = None, bias: Tensor | None = None) -> Tensor:
        """x (B, N, D), bias as `attention_bias` gives it -> (B, N, D)."""
        return self.out(attend(*self.project(x, rotation), bias))

    def packed(
        self,
        x: Tensor,
        packing: Packing,
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        """A row x (1, N, D), its mask and order (1, N) -> (1, N, D); tokens attend to those of their own sample."""
        none = [None] * len(packing.tokens)
        masks, orders = (none if row is None else packing.of_tokens(row) for row in (mask, order))
        parts = zip(*map(packing.of_tokens, self.project(x, rotation)), masks, orders, strict=True)
        attended = (attend(q, k, v, attention_bias(real, None, own)) for q, k, v, real, own in parts)
        return self.out(packing.row(attended))


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v; q (B, N, H, d), k and v (B, M, H, d) -> (B, N, H d)."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, N, d)
    if q.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # on a CPU bfloat16 pays in matrix products; the backward pass of attention is four times as slow in it
        with torch.autocast("cpu", enabled=False):
            return _attend(q.float(), k.float(), v.float(), bias)
    return _attend(q, k, v, bias)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    if bias is not None and bias.dtype != torch.bool:
        bias = bias.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)


class CrossAttention(nn.Module):
    """Tokens (B, N, D) ask a context (B, M, C); silent at first, since its output layer starts at zero.

    A row whose context is masked altogether, or is empty, gets exactly 0.
    """

    def __init__(self, width: int, context_width: int, heads: int, qk_norm: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(context_width, 2 * width)
        self.out = nn.Linear(width, width)
        self.q_norm = RMSNorm(width // heads) if qk_norm else None
        self.k_norm = RMSNorm(width // heads) if qk_norm else None

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, N, D), context (B, M, C), mask (B, M) -> (B, N, D)."""
        if context.shape[1] == 0:
            return torch.zeros_like(x)
        y = self.out(attend(*self._project(x, context), attention_bias(mask)))
        return y if mask is None else y * mask.any(-1)[:, None, None].to(y.dtype)

    def packed(self, x: Tensor, packing: Packing, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """A row x (1, N, D), context (B, M, C) and mask (B, M) of all samples -> (1, N, D)."""
        if context.shape[1] == 0:
            return torch.zeros_like(x)
        q, k, v = self._project(x, context)
        masks = [None] * len(packing.samples) if mask is None else packing.of_samples(mask)
        parts = zip(packing.of_tokens(q), *map(packing.of_samples, (k, v)), masks, strict=True)
        y = self.out(packing.row(attend(q, k, v, attention_bias(real)) for q, k, v, real in parts))
        if mask is None:
            return y
        some = zip(packing.of_tokens(y), packing.of_samples(mask), strict=True)
        return packing.row(part * real.any(-1)[:, None, None].to(part.dtype) for part, real in some)

    def _project(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, N, H, d) of the tokens, keys and values (B, M, H, d) of the context."""
        q: Tensor = self.q(x).unflatten(-1, (self.heads, -1))
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).unbind(2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k, v


class FinalLayer(nn.Module):
    """adaLN, then a linear layer that starts at zero: tokens (B, N, width) -> (B, N, out).

    Args:
        width: channels of tokens and vector.
        out: channels of the answer.
        eps: of the LayerNorm.
    """

    def __init__(self, width: int, out: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.linear = nn.Linear(width, out)
        zero(self.modulation)
        zero(self.linear)

    def forward(self, tokens: Tensor, vector: Tensor) -> Tensor:
        """tokens (B, N, D), vector (B, D) or (B, G, D) -> (B, N, out)."""
        shift, scale = self.modulation(F.silu(per_token(vector))).chunk(2, dim=-1)
        return self.linear(modulate(self.norm(tokens), shift, scale))
