"""Where residues stand: the number of their chain and of the residue in it, which are never noised."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from langevin.modalities.protein import local
from langevin.modalities.protein.protein import Protein

__all__ = ["chain_name", "follows", "placed"]


def follows(places: Tensor) -> Tensor:
    """(n,): whether a residue follows the one before it in its chain, of their places (n, 3)."""
    return local.follows(places[None], None)[0]


def placed(protein: Protein) -> np.ndarray:
    """(n, 3) float32: number of the chain, and of the residue in it from 0; one place is left out at a break in a chain.
    Nothing is a hotspot."""
    chain = np.zeros(len(protein), np.int64)
    number = np.zeros(len(protein), np.int64)
    breaks = protein.breaks
    for i in range(1, len(protein)):
        other = protein.chains[i] != protein.chains[i - 1]
        chain[i] = chain[i - 1] + other
        if other:
            number[i] = 0
        elif breaks[i]:
            # as many places as the file's numbers leave out, where they say so
            number[i] = number[i - 1] + max(2, int(protein.numbers[i] - protein.numbers[i - 1]))
        else:
            number[i] = number[i - 1] + 1
    return np.stack([chain, number, np.zeros_like(chain)], 1).astype(np.float32)


def chain_name(k: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    name = ""
    while True:
        k, letter = divmod(k, 26)
        name = chr(ord("A") + letter) + name
        if not k:
            return name
        k -= 1
