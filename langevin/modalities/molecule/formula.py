"""The composition of a molecule as a condition: how many atoms of each element."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from langevin.core.backbones.layers import xavier
from langevin.core.catalogue import CONDITIONS
from langevin.core.conditioning import Embedded, Embedder
from langevin.core.errors import unknown

__all__ = ["FormulaEmbedder", "parse_formula"]


def parse_formula(value: Any, elements: Sequence[str]) -> dict[str, int]:
    """Counts by element of "C6NO2", or of a mapping of them.

    Raises:
        ValueError: not a formula, an element that is none of ``elements``, or no atoms.
    """
    if isinstance(value, Mapping):
        pairs = [(str(symbol), count) for symbol, count in value.items()]
    elif isinstance(value, str) and re.fullmatch(r"(?:[A-Z][a-z]?\d{0,4})+", value):
        found = re.findall(r"([A-Z][a-z]?)(\d*)", value)
        pairs = [(symbol, int(count) if count else 1) for symbol, count in found]
    else:
        raise ValueError(f"{value!r:.60} is not a formula; write elements and how many of each, as C6NO2")
    counts = dict.fromkeys(elements, 0)
    for symbol, count in pairs:
        if symbol not in counts:
            raise ValueError(unknown("element of a formula", symbol, elements))
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"a formula has whole numbers of atoms, not {count!r} {symbol}")
        counts[symbol] += count
    if not sum(counts.values()):
        raise ValueError("a formula needs at least one atom")
    return counts


@CONDITIONS.register("formula")
class FormulaEmbedder(Embedder):
    """How many atoms of each element; each count, and whether it is 0, goes through a perceptron.

    Args:
        elements: symbols, in the order of the state.
        width: channels of the vector.
        most: a count that counts as many.
    """

    def __init__(self, elements: Sequence[str], width: int, most: int = 16) -> None:
        super().__init__(vector_width=width)
        self.elements, self.most = tuple(elements), int(most)
        if not self.elements or self.most < 1:
            raise ValueError("a formula needs elements, and most at least 1")
        self.mlp = nn.Sequential(nn.Linear(2 * len(self.elements), width), nn.SiLU(), nn.Linear(width, width))
        xavier(self.mlp)

    def parse(self, raw: Sequence[Any]) -> Tensor:
        """Formulas -> counts (B, elements), float32.

        Raises:
            ValueError: not a formula of these elements.
        """
        rows = [list(parse_formula(value, self.elements).values()) for value in raw]
        return torch.tensor(rows, dtype=torch.float32)

    def describe(self) -> str:
        return f"a formula of {', '.join(self.elements)}, as {self.elements[-1]}2{self.elements[0]}3: all atoms of the state"

    def forward(self, value: Tensor) -> Embedded:
        """value (B, elements) -> vector (B, width)."""
        features = torch.cat([value / self.most, (value > 0).to(value)], -1)
        return Embedded(vector=self.mlp(features.to(next(self.mlp.parameters()).dtype)))
