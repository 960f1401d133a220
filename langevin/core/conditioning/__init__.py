"""Conditions: what a sample is asked to be.

An embedder turns values (class names, numbers, sentences, pictures) into an `Embedded`: a vector that
steers every block, a context that tokens ask, or both. Each embedder also learns a *null*, the embedding
of "nothing is said". In training a condition is dropped (replaced by its null) part of the time, so that one
network knows the conditional and the unconditional score and guidance can combine them.

    ClassEmbedder               class index or name -> vector
    NumberEmbedder              number              -> vector
    TextEmbedder                text, byte by byte  -> vector and one context element per word
    ImageEmbedder               picture             -> vector and one context element per patch
    TransformersTextEmbedder    text, by a frozen encoder of transformers -> vector and context

Every embedder has `parse(raw) -> Tensor`, which turns what users write into the tensor it embeds,
`forward(value) -> Embedded` and `null(batch, device) -> Embedded`; `describe()` says what it takes in words.

Reference: Ho and Salimans 2022 (classifier-free guidance, arXiv:2207.12598, algorithm 1).
"""

from __future__ import annotations

from .embedded import Embedded, cat, dropout, join
from .embedders import ClassEmbedder, Embedder, ImageEmbedder, NumberEmbedder
from .pretrained import TransformersTextEmbedder
from .text import TextEmbedder

__all__ = [
    "ClassEmbedder",
    "Embedded",
    "Embedder",
    "ImageEmbedder",
    "NumberEmbedder",
    "TextEmbedder",
    "TransformersTextEmbedder",
    "cat",
    "dropout",
    "join",
]
