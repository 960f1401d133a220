"""Where what is built meets what is kept: the bonds between the two, and clashes across.

A join is a bond between a kept residue and one that was built. It is right if

    |C–N − 1.33 Å| ≤ 0.05 Å, and both angles, CA–C–N and C–N–CA, are within 4 standard deviations of the mean
    of real chains (:func:`limits` measures these).

Sides may also be a binder and its target, or two halves of a real chain, which say how many clashes across there
are where nothing was designed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langevin.modalities.protein.metrics import geometry
from langevin.modalities.protein.protein import Protein

__all__ = ["across", "joins", "limits", "right"]

BOND, TOLERANCE = 1.33, 0.05  # Å of C–N
ANGLES = ("CA–C–N", "C–N–CA")
DEVIATIONS = 4.0

Limits = Mapping[str, tuple[float, float]]


def limits(chains: Sequence[Protein], deviations: float = DEVIATIONS) -> dict[str, tuple[float, float]]:
    """Between which values a join has its bond (Å) and its two angles (degrees).

    Args:
        chains: real ones, of which the angles are measured.
        deviations: standard deviations on either side of the mean.

    Raises:
        ValueError: no bonds.
    """
    found = [geometry.between(one.backbone, geometry.follows(one)) for one in chains]
    out = {"C–N": (BOND - TOLERANCE, BOND + TOLERANCE)}
    for name in ANGLES:
        values = np.concatenate([np.zeros(0), *(one[name] for one in found)])
        if not np.isfinite(values).any():
            raise ValueError(f"limits of angles take real bonds; {len(chains)} chains have none")
        mean, sd = float(np.nanmean(values)), float(np.nanstd(values))
        out[name] = (mean - deviations * sd, mean + deviations * sd)
    return out


def joins(kept: ArrayLike, joined: ArrayLike | None = None) -> NDArray[np.int64]:
    """(k,) the residues that are kept where the one before is not, or the other way round.

    Args:
        kept: (n,) bool.
        joined: (n,) which residues come after the one before; all but the first when None.
    """
    side = np.asarray(kept, bool)
    follows = np.arange(len(side)) > 0 if joined is None else np.asarray(joined, bool)
    return np.flatnonzero(np.append(False, side[1:] != side[:-1])[: len(side)] & follows)


def right(backbone: ArrayLike, at: Sequence[int] | NDArray[np.int64], limits: Limits) -> NDArray[np.bool_]:
    """(k,) which bonds to the residue before are within limits; a bond that lacks an atom is not.

    Args:
        backbone: (n, 4, 3), Å.
        at: (k,) residues, none of which is the first.
        limits: as :func:`limits` gives them.

    Raises:
        ValueError: a residue that has none before it.
    """
    atoms, rows = np.asarray(backbone, np.float64), np.asarray(at, np.int64)
    if len(rows) and not 1 <= rows.min() <= rows.max() < len(atoms):
        raise ValueError(
            f"bonds are those to residues 1 … {len(atoms) - 1} from the one before; got {rows.tolist()}"
        )
    flags = np.isin(np.arange(len(atoms)), rows)
    values = geometry.between(atoms, flags)
    good = np.all([(low <= values[name]) & (values[name] <= high) for name, (low, high) in limits.items()], 0)
    return np.asarray(good[np.searchsorted(np.flatnonzero(flags), rows)], bool)


def across(pairs: ArrayLike, side: ArrayLike) -> int:
    """How many pairs have one residue on either side.

    Args:
        pairs: (k, 2) indices of residues, as :func:`geometry.clashes` finds them.
        side: (n,) bool, which residues are on one of the sides.
    """
    of, where = np.asarray(pairs, np.int64).reshape(-1, 2), np.asarray(side, bool)
    return int((where[of[:, 0]] != where[of[:, 1]]).sum())
