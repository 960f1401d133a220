r"""The surface of a chain: which residues look outward, and patches of them that a binder may be asked to touch.

Exposure is the half-sphere exposure of Hamelryck (2005, Proteins 59, 38): the number of CA within 13 Å that lie on
the side of the residue to which its side chain points,

    HSE_i = #{j ≠ i : |CA_j − CA_i| < 13 Å, (CA_j − CA_i) · (CB_i − CA_i) > 0}

with CB where an ideal one would be, so that glycine has one too. Few neighbours there mean an exposed residue; here
those are exposed that have no more than the median of their chain. A patch is an exposed residue with the exposed
ones nearest to it; the best has most hydrophobic residues, then fewest neighbours in all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langevin.modalities.protein.protein import ALPHABET, Protein
from langevin.modalities.protein.rigid import betas

__all__ = ["HYDROPHOBIC", "exposed", "half_sphere", "patch"]

REACH = 13.0  # Å
HYDROPHOBIC = "FILMVWY"
_ENDS = 2  # residues on either end, which are loose, and of no patch


def half_sphere(backbone: ArrayLike) -> NDArray[np.int64]:
    """(n,) neighbours on the side of the side chain, of N, CA, C (n, 3 or 4, 3), Å."""
    ca = np.asarray(backbone, np.float64)[:, 1]
    outward = betas(backbone) - ca
    to = ca[None] - ca[:, None]
    distance = np.linalg.norm(to, axis=-1)
    near = (distance < REACH) & (distance > 0)
    return (near & ((to * outward[:, None]).sum(-1) > 0)).sum(1)


def exposed(protein: Protein) -> NDArray[np.bool_]:
    """(n,) which residues have no more neighbours than the median; the two at either end are left out."""
    count, place = half_sphere(protein.backbone), np.arange(len(protein))
    inside = (place >= _ENDS) & (place < len(protein) - _ENDS)
    return (count <= np.median(count)) & inside


def patch(
    protein: Protein, size: int = 3, away: Sequence[int] | NDArray[np.int64] = (), distance: float = 12.0
) -> NDArray[np.int64]:
    """The best patch, (size,) indices in ascending order.

    Args:
        protein: one chain with types.
        size: residues.
        away: residues, indices, that the patch stays clear of.
        distance: by how much, Å of CA.

    Raises:
        ValueError: too few exposed residues.
    """
    ca, count = protein.backbone[:, 1].astype(np.float64), half_sphere(protein.backbone)
    open_ = exposed(protein)
    for k in away:
        open_ &= np.linalg.norm(ca - ca[k], axis=-1) >= distance
    rows = np.flatnonzero(open_)
    if len(rows) < size:
        raise ValueError(f"a patch of {size} residues was asked for; {len(rows)} are exposed and clear")
    greasy = np.isin(protein.types, [ALPHABET.index(letter) for letter in HYDROPHOBIC])
    found = []
    for k in rows:
        order = np.argsort(np.linalg.norm(ca[rows] - ca[k], axis=-1), kind="stable")
        found.append(np.sort(rows[order[:size]]))
    return min(found, key=lambda chosen: (-int(greasy[chosen].sum()), int(count[chosen].sum()), *chosen))
