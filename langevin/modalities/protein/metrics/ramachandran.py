"""Torsions phi and psi: how many residues lie where real ones do not, and how far two sets differ.

    phi   torsion C_{i−1}, N_i, CA_i, C_i          psi   torsion N_i, CA_i, C_i, N_{i+1}          degrees, (−180, 180]

Where real ones lie: residues of the training chains are counted on a grid of 36 × 36 cells of 10°, the counts are smoothed
by a periodic Gaussian of one cell (10°), and cells are taken by falling density until they hold 99 % of the residues.
Lovell et al. (2003, Proteins 50, 437) draw their contours so, with a kernel that follows the density and from chosen
crystal structures; ours hold what the training chains hold. Glycine, proline and the other residues have regions of their
own where types are known; where they are not, as in designs without a sequence, that of all residues together is used,
which is wider: compare only figures that were taken by the same region.

L residues have phi > 0 rarely (6.6 %, most of them glycines), so its share tells a mirror image, whose helices lie in the
region that real left-handed turns have.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from langevin.modalities.protein.metrics.geometry import dihedral, following
from langevin.modalities.protein.metrics.reference import real
from langevin.modalities.statistics import Estimate

__all__ = [
    "BINS",
    "HELD",
    "SMOOTHING",
    "apart",
    "counts",
    "divergence",
    "grid",
    "outside",
    "region",
    "torsions",
]

BINS = 36
SMOOTHING = 1.0  # cells, the standard deviation
HELD = 0.99
KINDS = ("general", "glycine", "proline")
GLYCINE, PROLINE, UNKNOWN = 5, 12, 20  # among the letters of a protein's types


def torsions(backbone: ArrayLike, joined: ArrayLike | None = None) -> NDArray[np.float64]:
    """phi and psi (n, 2); NaN at the ends of chains and where an atom is missing.

    Args:
        backbone, joined: as :func:`geometry.following` takes them.
    """
    atoms, flags = following(backbone, joined)
    found = np.full((len(atoms), 2), np.nan)
    (i,) = np.nonzero(flags)
    n, ca, c, _ = np.moveaxis(atoms, 1, 0)
    found[i, 0] = dihedral(c[i - 1], n[i], ca[i], c[i])
    found[i - 1, 1] = dihedral(n[i - 1], ca[i - 1], c[i - 1], n[i])
    return found


def counts(angles: ArrayLike) -> NDArray[np.float64]:
    """(36, 36) residues by cell of phi and psi; those without one of them are not counted."""
    rows = np.asarray(angles, np.float64).reshape(-1, 2)
    cells = grid(rows[np.isfinite(rows).all(1)])
    return np.bincount(cells[:, 0] * BINS + cells[:, 1], minlength=BINS**2).reshape(BINS, BINS).astype(float)


def grid(angles: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n, 2) cells of phi and psi, which must be numbers."""
    return (np.floor((angles + 180) / (360 / BINS)).astype(np.int64)) % BINS


def region(found: ArrayLike, held: float = HELD, smoothing: float = SMOOTHING) -> NDArray[np.bool_]:
    """(36, 36) the densest cells that hold a share of the residues counted.

    Args:
        found: (36, 36), of :func:`counts`.
        held: the share.
        smoothing: of the density that ranks the cells, in cells.
    """
    number = np.asarray(found, np.float64)
    density = gaussian_filter(number, smoothing, mode="wrap")
    order = np.argsort(-density, axis=None, kind="stable")
    before = np.cumsum(number.ravel()[order]) - number.ravel()[order]
    inside = np.zeros(number.size, bool)
    inside[order[before < held * number.sum()]] = True
    return inside.reshape(number.shape)


@functools.cache
def _regions() -> dict[str, NDArray[np.bool_]]:
    found = {kind: np.array(real().ramachandran[kind], float) for kind in KINDS}
    return {**{kind: region(number) for kind, number in found.items()}, "all": region(sum(found.values()))}


def outside(angles: ArrayLike, types: ArrayLike | None = None) -> NDArray[np.bool_]:
    """(m,) which of the residues that have both torsions lie outside the region of real ones.

    Args:
        angles: (n, 2), of :func:`torsions`.
        types: (n,) indices of letters, 20 where unknown; None for no sequence.
    """
    rows = np.asarray(angles, np.float64).reshape(-1, 2)
    there = np.isfinite(rows).all(1)
    cells = grid(rows[there])
    letters = np.full(len(rows), UNKNOWN) if types is None else np.asarray(types)
    letters = letters[there]
    regions = _regions()
    found = ~regions["general"][cells[:, 0], cells[:, 1]]
    for kind, letter in (("glycine", GLYCINE), ("proline", PROLINE), ("all", UNKNOWN)):
        rows_of = letters == letter
        found[rows_of] = ~regions[kind][cells[rows_of, 0], cells[rows_of, 1]]
    return found


def divergence(p: ArrayLike, q: ArrayLike) -> float:
    """Jensen–Shannon divergence of two histograms in bits, 0 … 1.

    Raises:
        ValueError: one of them is empty.
    """
    a, b = (np.asarray(h, np.float64).ravel() for h in (p, q))
    if not a.sum() > 0 or not b.sum() > 0:
        raise ValueError("a histogram is empty, so it has no distance to another")
    a, b = a / a.sum(), b / b.sum()
    return max(0.0, _entropy((a + b) / 2) - _entropy(a) / 2 - _entropy(b) / 2)


def apart(
    found: Sequence[NDArray[np.float64]],
    reference: Sequence[NDArray[np.float64]],
    n: int | None = None,
    *,
    repeats: int = 50,
    seed: int = 0,
) -> Estimate:
    """Jensen–Shannon distance (the root of the divergence) of the torsions of n designs from those of n real chains.

    Args:
        found: (36, 36) :func:`counts` of each design. The very object ``reference``, to give the floor: the chains of
            the two sides are then different ones.
        reference: of each real chain.
        n: of each side; by default as many as both have.

    Returns:
        The mean over draws without replacement, and between which values 95 % of them lie.

    Raises:
        ValueError: n is more than there are, or none.
    """
    same = found is reference
    most = len(reference) // 2 if same else min(len(found), len(reference))
    n = most if n is None else n
    if not 0 < n <= most:
        raise ValueError(f"n must lie in 1 … {most}; got {n}")
    rng = np.random.default_rng(seed)
    a, b = np.stack(found), np.stack(reference)
    drawn = []
    for _ in range(repeats):
        of_b = rng.permutation(len(b))
        of_a = of_b[n : 2 * n] if same else rng.permutation(len(a))[:n]
        drawn.append(divergence(a[of_a].sum(0), b[of_b[:n]].sum(0)) ** 0.5)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(np.mean(drawn)), float(low), float(high), n)


def _entropy(p: NDArray[np.float64]) -> float:
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())
