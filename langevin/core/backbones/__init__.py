"""Backbones: tokens in, tokens (and pair features) out.

    DiT      one stream of tokens, steered by a vector, asking a context by cross-attention
    MMDiT    tokens and context in one attention, each with its own weights
    EGNN     points in space and what is known of them, equivariant under motions of space
    IPA      tokens with frames in space, as DiT but with an attention that no motion of space changes

All take (tokens, vector, positions, mask, pair, context, context_mask, second, features), IPA frames too, and
return an `Output`. Neither embeds its input nor reads out its answer: `TimeEmbedding` makes the vector, and
`FinalLayer` turns tokens into an answer; `PairEmbedding` and `PairHead` do the same for pairs.
"""

from __future__ import annotations

from .dit import Block, DiT, Output
from .egnn import EGNN
from .ipa import IPA
from .layers import FinalLayer
from .mmdit import MMDiT
from .pair import PairEmbedding, PairHead
from .timestep import TimeEmbedding, sinusoidal

__all__ = [
    "EGNN",
    "IPA",
    "Block",
    "DiT",
    "FinalLayer",
    "MMDiT",
    "Output",
    "PairEmbedding",
    "PairHead",
    "TimeEmbedding",
    "sinusoidal",
]
