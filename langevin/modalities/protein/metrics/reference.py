"""What the training chains measure: ranges, the radius by length, and torsions. Kept in reference.json.

    python -m benchmarks.protein_reference proteins.npz

measures the training chains of an archive (:func:`measured`) and writes the file. It holds numbers alone, no coordinates.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["FILE", "Real", "measured", "real"]

FILE = Path(__file__).with_name("reference.json")
NEAREST = 120  # chains, for the percentiles at one length
STEP = 8  # residues, between those lengths


@dataclass(frozen=True)
class Real:
    """Figures of real chains.

    Attributes:
        about: where they are from.
        chains, residues: how many.
        ranges: 1st and 99th percentile by quantity of :mod:`geometry`.
        radius: a and b of Rg = a n^b, Å.
        lengths: at which the next two are given.
        percentiles: by name, 2nd and 98th percentile at those lengths: "radius", over a n^b; "long range", contacts per
            residue.
        ramachandran: (36, 36) residues by cell of phi and psi, of glycine, proline and the others.
    """

    about: str
    chains: int
    residues: int
    ranges: dict[str, tuple[float, float]]
    radius: tuple[float, float]
    lengths: list[int]
    percentiles: dict[str, list[tuple[float, float]]]
    ramachandran: dict[str, list[list[int]]]

    def usual(self, name: str, n: int) -> tuple[float, float] | None:
        """Percentiles at a length, interpolated; None outside the lengths that there are."""
        if not self.lengths[0] <= n <= self.lengths[-1]:
            return None
        low, high = np.array(self.percentiles[name]).T
        return float(np.interp(n, self.lengths, low)), float(np.interp(n, self.lengths, high))


@functools.cache
def real() -> Real:
    """The figures of reference.json."""
    return Real(**json.loads(FILE.read_text(encoding="utf-8")))


def measured(chains: Sequence[tuple[NDArray[np.float64], NDArray[np.int64]]], about: str) -> Real:
    """Measure chains.

    Args:
        chains: backbones (n, 4, 3), Å, without breaks, with types (n,).
        about: what they are.
    """
    from langevin.modalities.protein.metrics import geometry, shape
    from langevin.modalities.protein.metrics.ramachandran import GLYCINE, PROLINE, counts, torsions

    values: dict[str, list[NDArray[np.float64]]] = {}
    angles, letters = [], []
    for atoms, types in chains:
        for name, found in {**geometry.between(atoms), **geometry.inside(atoms)}.items():
            values.setdefault(name, []).append(found)
        angles.append(torsions(atoms))
        letters.append(types)
    ranges = {name: _percentiles(np.concatenate(rows), 1, 99) for name, rows in values.items()}
    phi_psi, letter = np.concatenate(angles), np.concatenate(letters)
    kinds = {"glycine": letter == GLYCINE, "proline": letter == PROLINE}
    kinds = {"general": ~kinds["glycine"] & ~kinds["proline"], **kinds}

    length = np.array([len(atoms) for atoms, _ in chains])
    radii = np.array([shape.radius_of_gyration(atoms[:, 1]) for atoms, _ in chains])
    power, log_a = np.polyfit(np.log(length), np.log(radii), 1)
    by_length = {
        "radius": radii / (np.exp(log_a) * length**power),
        "long range": np.array([shape.long_range(atoms[:, 1]) for atoms, _ in chains]),
    }
    lengths = sorted({*range(int(length.min()), int(length.max()), STEP), int(length.max())})
    nearest = [np.argsort(abs(length - n), kind="stable")[:NEAREST] for n in lengths]
    return Real(
        about=about,
        chains=len(chains),
        residues=int(length.sum()),
        ranges=ranges,
        radius=(round(float(np.exp(log_a)), 4), round(float(power), 4)),
        lengths=lengths,
        percentiles={
            name: [_percentiles(found[rows], 2, 98) for rows in nearest] for name, found in by_length.items()
        },
        ramachandran={kind: counts(phi_psi[rows]).astype(int).tolist() for kind, rows in kinds.items()},
    )


def _percentiles(values: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    a, b = np.nanpercentile(values, [low, high])
    return round(float(a), 4), round(float(b), 4)
