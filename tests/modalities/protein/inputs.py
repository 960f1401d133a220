"""Inputs for plans: straight chains whose residues are bonded where their numbers follow one another."""

from __future__ import annotations

import re

import numpy as np

from langevin.modalities.protein.protein import Protein

STEP = 3.8  # Å from CA to CA


def protein(text: str) -> Protein:
    """A protein of ``A1-44, A51-150, H52, H52A``; ranges of one chain are 20 Å apart, or bonded where '+' joins them.

    ``A1-10+A15-20`` skips the numbers 11-14 with the bond intact.
    """
    chains, numbers, insertions, x = [], [], [], []
    place = 0.0
    for part in text.split(","):
        place += 20.0
        for piece in part.split("+"):
            found = re.fullmatch(r"([A-Za-z]*)(-?\d+)([A-Z]?)(?:-(-?\d+))?", piece.strip())
            assert found is not None
            first, last = int(found[2]), int(found[4] or found[2])
            for number in range(first, last + 1):
                chains.append(found[1])
                numbers.append(number)
                insertions.append(found[3])
                x.append(place)
                place += STEP
    n = len(x)
    backbone = np.zeros((n, 4, 3), np.float32)
    backbone[:, :, 0] = np.array(x)[:, None] + [-1.2, 0.0, 1.2, 1.6]
    backbone[:, 3, 1] = 1.2
    types = np.arange(n) % 20
    return Protein(
        backbone,
        types.astype(np.int8),
        np.array(chains, "<U4"),
        np.array(numbers, np.int32),
        np.array(insertions, "<U1"),
    )
