"""Geometry of a backbone: the bonds between residues, what is inside a residue, breaks, cis bonds and clashes.

Between residue i − 1 and residue i, of atoms N, CA, C, O and in the order of the chain:

    CA–CA     |CA_i − CA_{i−1}|, Å               near 3.80 of a trans peptide bond and 2.95 of a cis one
    C–N       |N_i − C_{i−1}|, Å
    CA–C–N    angle at C_{i−1}, degrees
    C–N–CA    angle at N_i, degrees
    omega     torsion CA_{i−1}, C_{i−1}, N_i, CA_i, degrees from 180, so that 0 is planar and trans

and inside residue i N–CA, CA–C, C–O (Å) and N–CA–C (degrees). In a state of rigid residues those inside are constants of
the decoder, and only those between residues say something of a model. Ranges of real chains are the 1st and 99th
percentile of the training chains (:mod:`reference`).

A bond between residues is broken where C–N is longer than 2.0 Å (where there are only CA, CA–CA longer than 4.5 Å), cis
where |omega| is nearer to 0 than to 180.

Two residues clash that are three or more apart in their chain, or in two chains, if their CA are nearer than 3.6 Å, or if
two of their backbone atoms overlap by more than 0.6 Å: |a − b| < r_a + r_b − 0.6 with the radii of Bondi (1964), C 1.70,
N 1.55, O 1.52 Å. The tolerance is that which Word et al. (1999, J. Mol. Biol. 285, 1711) allow the hydrogen bond; their
0.4 Å for other pairs is for models with hydrogens, which a backbone has none of.

Torsions have the sign of IUPAC (1970): clockwise is positive, looking along the middle bond.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from langevin.modalities.protein.protein import Protein

__all__ = [
    "BETWEEN",
    "CA_CA",
    "INSIDE",
    "Clashes",
    "angle",
    "between",
    "breaks",
    "ca_ca_right",
    "clashes",
    "dihedral",
    "following",
    "follows",
    "inside",
]

BETWEEN = ("CA–CA", "C–N", "CA–C–N", "C–N–CA", "omega")
INSIDE = ("N–CA", "CA–C", "C–O", "N–CA–C")
CA_CA = (3.80, 2.95, 0.15)  # trans, cis and the tolerance, Å
BROKEN, BROKEN_CA = 2.0, 4.5  # Å
NEAR_CA, OVERLAP, APART = 3.6, 0.6, 3  # Å, Å, residues
RADII = (1.55, 1.70, 1.70, 1.52)  # of N, CA, C and O, Å

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def angle(a: Array, b: Array, c: Array) -> Array:
    """Angles at b (…), degrees, of points (…, 3)."""
    u, v = a - b, c - b
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(-1)))


def dihedral(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Torsions about b–c (…), degrees in (−180, 180], of points (…, 3)."""
    axis = c - b
    axis = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-12)
    u, v = a - b, d - c
    u, v = (w - (w * axis).sum(-1, keepdims=True) * axis for w in (u, v))
    return np.degrees(np.arctan2((np.cross(axis, u) * v).sum(-1), (u * v).sum(-1)))


def following(backbone: ArrayLike, joined: ArrayLike | None = None) -> tuple[Array, Flags]:
    """A backbone (n, 4, 3) in float64, and which of its residues come after the one before (n,).

    Args:
        backbone: N, CA, C and O, Å; NaN where an atom is missing.
        joined: which residues (n,), as :func:`follows` says; all but the first when None.

    Raises:
        ValueError: other shapes.
    """
    atoms = np.asarray(backbone, np.float64)
    if atoms.ndim != 3 or atoms.shape[1:] != (4, 3):
        raise ValueError(f"backbone must have shape (residues, 4, 3); got {atoms.shape}")
    flags = np.arange(len(atoms)) > 0 if joined is None else np.array(joined, bool)
    if flags.shape != (len(atoms),):
        raise ValueError(f"joined must have shape ({len(atoms)},), one for each residue; got {flags.shape}")
    flags[:1] = False
    return atoms, flags


def follows(protein: Protein) -> Flags:
    """(n,) which residues come after the one before in one chain, whether or not the bond between them is whole.

    Where numbers leave a gap and no bond spans it, as at residues that a file lacks, none does.
    """
    step = np.diff(protein.numbers)
    next_one = (step == 1) | ((step == 0) & (protein.insertions[1:] != protein.insertions[:-1]))
    same = protein.chains[1:] == protein.chains[:-1]
    return np.append(False, (same & next_one) | ~protein.breaks[1:])[: len(protein)]


def between(backbone: ArrayLike, joined: ArrayLike | None = None) -> dict[str, Array]:
    """The quantities of `BETWEEN` (m,), of the m residues that follow the one before; NaN where an atom is missing.

    Args:
        backbone, joined: as :func:`following` takes them.
    """
    atoms, flags = following(backbone, joined)
    (i,) = np.nonzero(flags)
    _, ca, c, _ = np.moveaxis(atoms[i - 1], 1, 0)
    n, next_ca, _, _ = np.moveaxis(atoms[i], 1, 0)
    omega = dihedral(ca, c, n, next_ca)
    return {
        "CA–CA": np.linalg.norm(next_ca - ca, axis=-1),
        "C–N": np.linalg.norm(n - c, axis=-1),
        "CA–C–N": angle(ca, c, n),
        "C–N–CA": angle(c, n, next_ca),
        "omega": np.where(omega > 0, omega - 180, omega + 180),
    }


def inside(backbone: ArrayLike) -> dict[str, Array]:
    """The quantities of `INSIDE` (n,); NaN where an atom is missing."""
    atoms, _ = following(backbone)
    n, ca, c, o = np.moveaxis(atoms, 1, 0)
    return {
        "N–CA": np.linalg.norm(n - ca, axis=-1),
        "CA–C": np.linalg.norm(c - ca, axis=-1),
        "C–O": np.linalg.norm(o - c, axis=-1),
        "N–CA–C": angle(n, ca, c),
    }


def ca_ca_right(distances: ArrayLike) -> Flags:
    """Which distances of neighbouring CA are within 0.15 Å of that of a trans or of a cis bond."""
    d = np.asarray(distances, np.float64)
    trans, cis, tolerance = CA_CA
    return (abs(d - trans) <= tolerance) | (abs(d - cis) <= tolerance)


def breaks(values: dict[str, Array]) -> Flags:
    """Which bonds of :func:`between` are broken, (m,)."""
    return np.where(
        np.isnan(values["C–N"]), ~(values["CA–CA"] <= BROKEN_CA), ~(values["C–N"] <= BROKEN)
    ).astype(bool)


class Clashes(NamedTuple):
    """Pairs of residues that clash.

    Attributes:
        ca: with CA too near.
        heavy: with two backbone atoms that overlap.
        pairs: (k, 2) those that do either, residue indices, the lower first.
    """

    ca: int
    heavy: int
    pairs: NDArray[np.int64]


def clashes(backbone: ArrayLike, chains: ArrayLike | None = None) -> Clashes:
    """Clashes of all residues.

    Args:
        backbone: (n, 4, 3), Å; atoms that are missing clash with nothing.
        chains: (n,) which chain each residue is of; one chain when None.
    """
    atoms, _ = following(backbone)
    chain = np.zeros(len(atoms)) if chains is None else np.asarray(chains)
    radii = np.array(RADII)
    there = np.isfinite(atoms).all(-1)  # (n, 4)
    residue, kind = np.nonzero(there)
    x = atoms[residue, kind]
    near = cKDTree(x).query_pairs(max(NEAR_CA, 2 * max(RADII) - OVERLAP), output_type="ndarray")
    i, j = residue[near[:, 0]], residue[near[:, 1]]
    far = (abs(i - j) >= APART) | (chain[i] != chain[j])
    near, i, j = near[far], i[far], j[far]
    distance = np.linalg.norm(x[near[:, 0]] - x[near[:, 1]], axis=-1)
    a, b = kind[near[:, 0]], kind[near[:, 1]]
    both_ca = (a == 1) & (b == 1) & (distance < NEAR_CA)
    overlap = distance < radii[a] + radii[b] - OVERLAP
    pairs = np.stack([np.minimum(i, j), np.maximum(i, j)], 1)
    ca, heavy, either = (_different(pairs[rows]) for rows in (both_ca, overlap, both_ca | overlap))
    return Clashes(len(ca), len(heavy), either)


def _different(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(pairs, axis=0) if len(pairs) else pairs.reshape(0, 2)
