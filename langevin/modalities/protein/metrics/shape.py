"""Shape of a chain: radius of gyration, contact order and long-range contacts, from its CA.

    Rg     sqrt(mean |x − mean x|²), Å. Of compact chains it grows like a n^b; the training chains give a and b
           (:mod:`reference`), near 2.2 n^0.38 of the literature (Skolnick et al. 1997, J. Mol. Biol. 265, 217)
    contact            two CA nearer than 8 Å
    contact order      mean of |i − j| over contacts three or more apart, over n (Plaxco, Simons & Baker 1998, J. Mol.
                       Biol. 277, 985, with CA for their heavy atoms)
    long-range         contacts more than 12 residues apart, over n (Gromiha & Selvaraj 2001, J. Mol. Biol. 310, 27)

Both the radius and the number of contacts depend on the length, so ranges do too: at each length the 2nd and the 98th
percentile of the 120 training chains that are nearest in length, interpolated between lengths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from langevin.modalities.protein.metrics.reference import real

__all__ = [
    "contact_order",
    "expected_radius",
    "long_range",
    "radius_of_gyration",
    "usual_contacts",
    "usual_radius",
]

CONTACT = 8.0  # Å
LONG, SHORT = 12, 3  # residues


def radius_of_gyration(ca: ArrayLike) -> float:
    """Å, of CA (n, 3)."""
    x = np.asarray(ca, np.float64)
    return float(np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean()))


def expected_radius(n: float) -> float:
    """Radius of gyration of a real chain of n residues, Å, by the power law of the training chains."""
    return real().radius[0] * n ** real().radius[1]


def usual_radius(n: int) -> tuple[float, float] | None:
    """Between which radii 96 % of the real chains of about this length lie; None for lengths that the training
    chains do not have."""
    found = real().usual("radius", n)
    return None if found is None else (found[0] * expected_radius(n), found[1] * expected_radius(n))


def usual_contacts(n: int) -> tuple[float, float] | None:
    """Between which long-range contacts per residue 96 % of the real chains of about this length lie, or None."""
    return real().usual("long range", n)


def _contacts(ca: ArrayLike, apart: int) -> NDArray[np.int64]:
    """(k,) how far apart in the chain contacts are that are at least ``apart``."""
    pairs = cKDTree(np.asarray(ca, np.float64)).query_pairs(CONTACT, output_type="ndarray")
    separation = abs(pairs[:, 1] - pairs[:, 0])
    return separation[separation >= apart]


def long_range(ca: ArrayLike) -> float:
    """Long-range contacts per residue of CA (n, 3)."""
    return len(_contacts(ca, LONG + 1)) / max(len(np.asarray(ca)), 1)


def contact_order(ca: ArrayLike) -> float:
    """Relative contact order of CA (n, 3), 0 … 1; 0 without contacts."""
    separation = _contacts(ca, SHORT)
    return float(separation.mean() / len(np.asarray(ca))) if len(separation) else 0.0
