"""Shapes of molecules: distributions of lengths, angles and torsions, and the energy stored in a geometry.

Jensen–Shannon divergence of two histograms p and q, in bits, and its square root, the distance, which is a metric
(Endres and Schindelin 2003):
    D = H((p + q) / 2) - H(p) / 2 - H(q) / 2,    d = sqrt(D),    both in [0, 1]
with H the entropy to the base 2. One histogram holds all cells (kind, bin) together, so a kind counts by how
often it occurs, and one that only one side has counts too:

    lengths     kind = elements and order of the bond in a Kekulé form, bins of 0.01 Å
    angles      kind = elements of i–j–k, bins of 2°
    torsions    kind = elements of i–j–k–l along bonds, bins of 10° over the whole turn, so mirror images differ

D is biased upwards like (cells) / (n ln 4): of samples of one distribution it is not 0. Compare it at equal
numbers only, with the value of real against real beside it.

Strain is E(as it stands) - E(minimised) by the force field MMFF94s (Halgren 1999), kcal/mol; how far the heavy
atoms move meanwhile is their RMSD after superposition, Å. Both are of the generated graph. Where hydrogens are not
atoms, they are added, and settle first with the rest held fixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langevin.core.progress import bar
from langevin.modalities.base import Failure
from langevin.modalities.molecule.atoms import quiet
from langevin.modalities.molecule.valences import kekulised

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["BINS", "Strain", "divergence", "shapes", "strain", "strains"]

BINS = {"lengths": 0.01, "angles": 2.0, "torsions": 10.0}  # Å, degrees, degrees
_ROUNDS, _STEPS = 20, 500  # of minimisation at most

Histogram = Counter[tuple[int, int]]


@dataclass(frozen=True)
class Strain:
    """What a geometry gives up when it relaxes.

    Attributes:
        energy: kcal/mol; NaN where the force field has no parameters for the molecule, inf where it is none.
        rmsd: of the heavy atoms, Å; likewise.
        reason: why there is no number.
    """

    energy: float
    rmsd: float
    reason: str = ""


def divergence(p: Mapping[Any, float], q: Mapping[Any, float]) -> float:
    """Jensen–Shannon divergence of two histograms in bits; the distance is its square root.

    Args:
        p, q: counts or weights by cell.

    Raises:
        ValueError: one of them is empty.
    """
    cells = list({**p, **q})
    a, b = (np.array([float(h.get(cell, 0)) for cell in cells]) for h in (p, q))
    if not a.sum() > 0 or not b.sum() > 0:
        raise ValueError("a histogram is empty, so it has no distance to another")
    a, b = a / a.sum(), b / b.sum()
    return max(0.0, _entropy((a + b) / 2) - _entropy(a) / 2 - _entropy(b) / 2)


def shapes(items: Sequence[Mol | Failure]) -> dict[str, Histogram]:
    """Histograms of the lengths, angles and torsions of all molecules together, by (kind, bin).

    Failures have none.
    """
    numbers, positions, bonds = _together([item for item in items if not isinstance(item, Failure)])
    found: dict[str, Histogram] = {}
    for name, (kinds, values) in {
        "lengths": _lengths(numbers, positions, bonds),
        "angles": _angles(numbers, positions, bonds),
        "torsions": _torsions(numbers, positions, bonds),
    }.items():
        cells = np.stack([kinds, np.floor(values / BINS[name]).astype(np.int64)], 1)
        unique, counts = np.unique(cells, axis=0, return_counts=True)
        found[name] = Counter(dict(zip(map(tuple, unique.tolist()), counts.tolist())))
    return found


def strain(mol: Mol) -> Strain:
    """Strain energy and displacement by MMFF94s, of a molecule that can be sanitised."""
    from rdkit import Chem
    from rdkit.Chem import rdForceFieldHelpers as fields
    from rdkit.Chem import rdMolAlign

    if not mol.GetNumConformers():
        return Strain(np.inf, np.inf, "no coordinates")
    with quiet():
        try:
            held = Chem.Mol(mol)
            Chem.SanitizeMol(held)
        except (ValueError, RuntimeError) as error:
            return Strain(np.inf, np.inf, f"cannot be sanitised: {error}")
        before = held.GetNumAtoms()
        held = Chem.AddHs(held, addCoords=True)
        parameters = fields.MMFFGetMoleculeProperties(held, mmffVariant="MMFF94s")
        if parameters is None:
            return Strain(np.nan, np.nan, "MMFF94s has no parameters for it")
        field = fields.MMFFGetMoleculeForceField(held, parameters)
        if held.GetNumAtoms() > before:
            rest = fields.MMFFGetMoleculeForceField(held, parameters)
            for k in range(before):
                rest.AddFixedPoint(k)
            _minimise(rest)
            field = fields.MMFFGetMoleculeForceField(held, parameters)
        start, energy = Chem.Mol(held), field.CalcEnergy()
        if not np.isfinite(energy):
            return Strain(np.inf, np.inf, "its energy is not finite")
        _minimise(field)
        heavy = [a.GetIdx() for a in held.GetAtoms() if a.GetAtomicNum() > 1] or list(
            range(held.GetNumAtoms())
        )
        rmsd = rdMolAlign.AlignMol(start, held, atomMap=[(k, k) for k in heavy])
        return Strain(float(energy - field.CalcEnergy()), float(rmsd))


def strains(items: Sequence[Mol | Failure], show: bool | None = None) -> list[Strain]:
    """The strain of each item; that of a failure is infinite.

    Args:
        items: molecules with a conformer, and failures.
        show: a bar on standard error; None asks whether that is a terminal.
    """
    none = Strain(np.inf, np.inf, "not decoded")
    return [
        none if isinstance(item, Failure) else strain(item) for item in bar(items, len(items), "strain", show)
    ]


def _minimise(field: Any) -> None:
    for _ in range(_ROUNDS):
        if field.Minimize(maxIts=_STEPS) == 0:
            return


def _entropy(p: NDArray[np.float64]) -> float:
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def _together(mols: Sequence[Mol]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """All molecules as one graph: atomic numbers (n,), positions (n, 3), bonds (m, 3) with their orders."""
    numbers: list[int] = []
    positions: list[NDArray[np.float64]] = [np.zeros((0, 3))]
    bonds: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
    for mol in map(kekulised, mols):
        if not mol.GetNumConformers():
            continue
        first = len(numbers)
        numbers += [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        positions.append(np.asarray(mol.GetConformer().GetPositions(), np.float64).reshape(-1, 3))
        rows = [
            (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondTypeAsDouble())) for b in mol.GetBonds()
        ]
        bonds.append(np.array(rows, np.int64).reshape(-1, 3) + np.array([first, first, 0]))
    return np.array(numbers, np.int64), np.concatenate(positions), np.concatenate(bonds)


def _kind(*numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for a chain of elements that is the same read from either end."""
    forth, back = np.zeros_like(numbers[0]), np.zeros_like(numbers[0])
    for a, b in zip(numbers, reversed(numbers)):
        forth, back = forth * 128 + a, back * 128 + b
    return np.minimum(forth, back)


def _directed(
    bonds: NDArray[np.int64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Every bond in both directions, rising by the first atom (2m, 2); where atom k's begin (n,), how many it has (n,)."""
    edges = np.concatenate([bonds[:, :2], bonds[:, 1::-1]])
    edges = edges[np.argsort(edges[:, 0], kind="stable")]
    degree = np.bincount(edges[:, 0], minlength=n)
    return edges, np.cumsum(degree) - degree, degree


def _lengths(
    numbers: NDArray[np.int64], x: NDArray[np.float64], bonds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    i, j, order = bonds.T
    return _kind(numbers[i], numbers[j]) * 8 + order, np.linalg.norm(x[i] - x[j], axis=1)


def _angles(
    numbers: NDArray[np.int64], x: NDArray[np.float64], bonds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    edges, _, degree = _directed(bonds, len(numbers))
    chains = [np.zeros((0, 3), np.int64)]
    for apart in range(1, int(degree.max(initial=0))):
        here, there = edges[:-apart], edges[apart:]
        same = here[:, 0] == there[:, 0]
        chains.append(np.stack([here[same, 1], here[same, 0], there[same, 1]], 1))
    i, j, k = np.concatenate(chains).T
    u, v = x[i] - x[j], x[k] - x[j]
    angle = np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), (u * v).sum(1))
    return _kind(numbers[i], numbers[j], numbers[k]), np.degrees(angle)


def _torsions(
    numbers: NDArray[np.int64], x: NDArray[np.float64], bonds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    edges, begin, degree = _directed(bonds, len(numbers))
    chains = [np.zeros((0, 4), np.int64)]
    most = int(degree.max(initial=0))
    for a in range(most):
        for b in range(most):
            j, k = bonds[(degree[bonds[:, 0]] > a) & (degree[bonds[:, 1]] > b), :2].T
            i, last = edges[begin[j] + a, 1], edges[begin[k] + b, 1]
            chain = np.stack([i, j, k, last], 1)
            chains.append(chain[(i != k) & (last != j) & (i != last)])
    i, j, k, last = np.concatenate(chains).T
    axis = x[k] - x[j]
    axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-12)
    u, v = x[i] - x[j], x[last] - x[k]
    u, v = (w - (w * axis).sum(1, keepdims=True) * axis for w in (u, v))
    torsion = np.arctan2((np.cross(axis, u) * v).sum(1), (u * v).sum(1))
    return _kind(numbers[i], numbers[j], numbers[k], numbers[last]), np.degrees(torsion)
