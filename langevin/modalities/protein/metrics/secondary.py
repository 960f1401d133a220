"""How the shares of helix and strand are spread over designs.

Which residue is in a helix or a strand is said by :mod:`langevin.modalities.protein.secondary`.

Of each design the share of helix and that of strand fall into a histogram of 5 × 5 cells of 0.2 (15 of which can be filled),
and two histograms p and q differ by the total variation ½ Σ |p − q|, 0 … 1. It is biased upwards by small numbers, so it
is measured between equally many designs and real chains, and stands beside that of real chains against other real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langevin.modalities.protein.protein import Protein
from langevin.modalities.protein.secondary import secondary
from langevin.modalities.statistics import Estimate

__all__ = ["CELLS", "Shares", "against", "histogram", "shares", "variation"]

CELLS = 5  # of each share


class Shares(NamedTuple):
    """Shares of a protein's residues."""

    helix: float
    strand: float


def shares(protein: Protein) -> Shares:
    """Shares of helix and strand."""
    letters = secondary(protein)
    return Shares(letters.count("H") / max(len(letters), 1), letters.count("E") / max(len(letters), 1))


def histogram(found: Sequence[Shares] | NDArray[np.float64]) -> NDArray[np.float64]:
    """(25,) shares of designs by their cell."""
    rows = np.array(found, np.float64).reshape(-1, 2)
    cells = np.minimum((rows * CELLS + 1e-9).astype(int), CELLS - 1)
    counts = np.bincount(cells[:, 0] * CELLS + cells[:, 1], minlength=CELLS * CELLS)
    return counts / max(len(rows), 1)


def variation(p: ArrayLike, q: ArrayLike) -> float:
    """Total variation of two histograms."""
    return float(abs(np.asarray(p, np.float64) - np.asarray(q, np.float64)).sum() / 2)


def against(
    found: Sequence[Shares],
    real: Sequence[Shares],
    n: int | None = None,
    *,
    repeats: int = 200,
    seed: int = 0,
) -> Estimate:
    """Total variation of n designs from n real chains, the mean over draws without replacement.

    Args:
        found: of the designs. The very object ``real``, to give the floor: the n of each side are then different chains.
        real: of the real chains.
        n: of each side; by default as many as there can be.

    Returns:
        The mean, and between which values 95 % of the draws lie.

    Raises:
        ValueError: n is more than there are, or none.
    """
    same = found is real
    most = len(real) // 2 if same else min(len(found), len(real))
    n = most if n is None else n
    if not 0 < n <= most:
        raise ValueError(f"n must lie in 1 … {most}; got {n}")
    rng = np.random.default_rng(seed)
    a, b = (np.array(rows, np.float64).reshape(-1, 2) for rows in (found, real))
    drawn = []
    for _ in range(repeats):
        of_b = rng.permutation(len(b))
        of_a = of_b[n : 2 * n] if same else rng.permutation(len(a))[:n]
        drawn.append(variation(histogram(a[of_a]), histogram(b[of_b[:n]])))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(np.mean(drawn)), float(low), float(high), n)
