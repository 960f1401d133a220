"""EDM's rule: bonds from distances alone, then valences (Hoogeboom et al. 2022, section 5 and appendix).

Two atoms at the distance d (pm) are bonded, with L1, L2, L3 the typical lengths of their elements' single,
double and triple bonds,

    order 1    if d < L1 + 10
    order 2    if also there is an L2 and d < L2 + 5
    order 3    if also there is an L3 and d < L3 + 3

An atom is stable if its orders add up to an allowed valence of its element; formal charges and aromaticity
do not exist here. A molecule is stable if each of its atoms is. Pairs of elements without an L1 are not
bonded, and an element without an allowed valence is never stable.

    atom stability       stable atoms / atoms
    molecule stability   stable molecules / molecules
    validity             molecules whose graph by this rule rdkit sanitises / molecules. Open valences are
                         filled by implicit hydrogens, and of a graph in pieces the largest one stands for it:
                         validity says nothing about connectedness
    uniqueness           different SMILES (hydrogens written out) / valid ones
    novelty              SMILES that the training data, put through the same rule, does not have / different ones

The margins were tuned for stability on QM9. Real molecules of QM9 are not all stable (zwitterions, strained
rings): 95.2 % are by the authors' count, and a model above that is not better than the data.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.base import Failure
from langevin.modalities.molecule.atoms import quiet
from langevin.modalities.statistics import Estimate, bootstrap, wilson

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["ALLOWED", "EDM", "LENGTHS", "bond_orders", "edm", "edm_smiles", "shares", "stable_atoms"]

_Z = {"H": 1, "B": 5, "C": 6, "N": 7, "O": 8, "F": 9, "Al": 13, "Si": 14, "P": 15, "S": 16, "Cl": 17}
_Z |= {"As": 33, "Br": 35, "I": 53, "Hg": 80, "Bi": 83}
# Typical lengths in pm by order and pair of elements: EDM's tables, C=S from both sides (there, from carbon's only).
LENGTHS: dict[int, dict[str, dict[str, int]]] = {
    1: {
        "H": {"H": 74, "B": 119, "C": 109, "N": 101, "O": 96, "F": 92, "Si": 148, "P": 144, "S": 134, "Cl": 127,
              "As": 152, "Br": 141, "I": 161},
        "B": {"Cl": 175},
        "C": {"C": 154, "N": 147, "O": 143, "F": 135, "Si": 185, "P": 184, "S": 182, "Cl": 177, "Br": 194, "I": 214},
        "N": {"N": 145, "O": 140, "F": 136, "P": 177, "S": 168, "Cl": 175, "Br": 214, "I": 222},
        "O": {"O": 148, "F": 142, "Si": 163, "P": 163, "S": 151, "Cl": 164, "Br": 172, "I": 194},
        "F": {"F": 142, "Si": 160, "P": 156, "S": 158, "Cl": 166, "Br": 178, "I": 187},
        "Si": {"Si": 233, "S": 200, "Cl": 202, "Br": 215, "I": 243},
        "P": {"P": 221, "S": 210, "Cl": 203, "Br": 222},
        "S": {"S": 204, "Cl": 207, "Br": 225, "I": 234},
        "Cl": {"Cl": 199, "Br": 214},
        "Br": {"Br": 228},
        "I": {"I": 266},
    },
    2: {"C": {"C": 134, "N": 129, "O": 120, "S": 160}, "N": {"N": 125, "O": 121}, "O": {"O": 121, "P": 150},
        "P": {"S": 186}},
    3: {"C": {"C": 120, "N": 116, "O": 113}, "N": {"N": 110}},
}  # fmt: skip
MARGINS = {1: 10, 2: 5, 3: 3}
ALLOWED: dict[str, tuple[int, ...]] = {
    "H": (1,), "B": (3,), "C": (4,), "N": (3,), "O": (2,), "F": (1,), "Al": (3,), "Si": (4,), "P": (3, 5), "S": (4,),
    "Cl": (1,), "As": (3,), "Br": (1,), "I": (1,), "Hg": (1, 2), "Bi": (3, 5),
}  # fmt: skip

_PAIRS = 100_000  # that are measured at once
_MOST = 64  # no sum of orders is above this; larger ones are clipped to it, which no element allows


def _thresholds() -> NDArray[np.float64]:
    """(3, 128, 128) Å: below which a pair of atomic numbers is bonded so; −1 where it never is."""
    table = np.full((3, 128, 128), -1.0)
    for order, rows in LENGTHS.items():
        for a, row in rows.items():
            for b, length in row.items():
                table[order - 1, _Z[a], _Z[b]] = table[order - 1, _Z[b], _Z[a]] = (
                    length + MARGINS[order]
                ) / 100
    return table


def _allowed() -> NDArray[np.bool_]:
    """(128, 65): whether a sum of orders is a valence of an atomic number."""
    table = np.zeros((128, _MOST + 1), bool)
    for symbol, valences in ALLOWED.items():
        table[_Z[symbol], list(valences)] = True
    return table


_THRESHOLDS, _ALLOWED = _thresholds(), _allowed()


@dataclass(frozen=True)
class EDM:
    """The five figures of the rule, with 95 % intervals.

    Attributes:
        atoms, molecules: stability.
        validity: of all items.
        uniqueness: of the valid ones; None where there are none.
        novelty: of the different ones; None where there are none, or nothing to compare with.
    """

    atoms: Estimate
    molecules: Estimate
    validity: Estimate
    uniqueness: Estimate | None
    novelty: Estimate | None


def bond_orders(numbers: NDArray[Any], positions: NDArray[Any]) -> NDArray[np.int8]:
    """The orders that the rule gives to pairs of atoms.

    Args:
        numbers: (…, n) atomic numbers; those of 0, padding, are not bonded.
        positions: (…, n, 3), Å.

    Returns:
        (…, n, n), symmetric, 0 on the diagonal.
    """
    z = np.asarray(numbers, np.int64)
    x = np.asarray(positions, np.float64)
    distance = np.sqrt(((x[..., :, None, :] - x[..., None, :, :]) ** 2).sum(-1))  # (…, n, n)
    single, double, triple = (distance < table[z[..., :, None], z[..., None, :]] for table in _THRESHOLDS)
    orders = single.astype(np.int8) + (single & double) + (single & double & triple)
    n = z.shape[-1]
    orders[..., np.arange(n), np.arange(n)] = 0
    return orders.astype(np.int8)


def stable_atoms(items: Sequence[Mol | Failure]) -> list[NDArray[np.bool_] | None]:
    """(n,) for each molecule: which of its atoms are stable; None for a :class:`Failure`.

    Only elements and coordinates are looked at. Molecules of like size go together, padded.
    """
    found: list[NDArray[np.bool_] | None] = [None] * len(items)
    held = {k: _arrays(item) for k, item in enumerate(items) if not isinstance(item, Failure)}
    order = sorted(held, key=lambda k: -len(held[k][0]))
    while order:
        most = len(held[order[0]][0])
        rows = max(1, _PAIRS // max(most, 1) ** 2)
        block, order = order[:rows], order[rows:]
        numbers, positions = np.zeros((len(block), most), np.int64), np.zeros((len(block), most, 3))
        for row, k in enumerate(block):
            z, x = held[k]
            numbers[row, : len(z)], positions[row, : len(z)] = z, x
        valence = np.minimum(bond_orders(numbers, positions).sum(-1, dtype=np.int64), _MOST)
        stable = _ALLOWED[numbers, valence]
        for row, k in enumerate(block):
            found[k] = stable[row, : len(held[k][0])]
    return found


def shares(found: Sequence[NDArray[np.bool_] | None]) -> tuple[Estimate, Estimate]:
    """Shares of stable atoms and of stable molecules, with 95 % intervals.

    A failure counts as an unstable molecule, and as many unstable atoms as a molecule has on average. The interval
    of the atoms is a bootstrap over molecules, since the atoms of one are not independent.

    Args:
        found: (n,) for each molecule, which of its atoms are stable; None for a failure.
    """
    sizes = [len(stable) for stable in found if stable is not None]
    mean = sum(sizes) / len(sizes) if sizes else 1.0
    counts = [
        (0.0, mean) if stable is None else (float(stable.sum()), float(len(stable))) for stable in found
    ]
    atoms = bootstrap(counts, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()))
    return atoms, wilson(sum(stable is not None and bool(stable.all()) for stable in found), len(found))


def edm_smiles(item: Mol | Failure) -> str | None:
    """The SMILES that the rule gives to a molecule, of its largest piece, hydrogens written out; None if it is invalid."""
    from rdkit import Chem

    if isinstance(item, Failure):
        return None
    numbers, positions = _arrays(item)
    orders = bond_orders(numbers, positions)
    mol = Chem.RWMol()
    for number in numbers.tolist():
        mol.AddAtom(Chem.Atom(number))
    kinds = Chem.BondType.values
    for i, j in np.argwhere(np.triu(orders)).tolist():
        mol.AddBond(i, j, kinds[int(orders[i, j])])
    with quiet():
        try:
            Chem.SanitizeMol(mol)
            pieces = Chem.GetMolFrags(mol, asMols=True)
            return str(Chem.MolToSmiles(max(pieces, key=lambda piece: piece.GetNumAtoms())))
        except (ValueError, RuntimeError):
            return None


def edm(items: Sequence[Mol | Failure], training: Collection[str] | None = None) -> EDM:
    """All figures of the rule.

    A failure is an unstable, invalid molecule; see :func:`shares` for its atoms.

    Args:
        items: molecules with a conformer, and failures.
        training: what :func:`edm_smiles` gives for the training data, for the novelty.

    Raises:
        ValueError: no items.
    """
    if not items:
        raise ValueError("items must hold at least one molecule or failure")
    atoms, molecules = shares(stable_atoms(items))
    valid = [smiles for smiles in map(edm_smiles, items) if smiles is not None]
    different = set(valid)
    return EDM(
        atoms,
        molecules,
        wilson(len(valid), len(items)),
        wilson(len(different), len(valid)) if valid else None,
        wilson(sum(s not in training for s in different), len(different))
        if training is not None and different
        else None,
    )


def _arrays(mol: Mol) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Atomic numbers (n,) and positions (n, 3) in Å, whatever else the molecule is."""
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], np.int64)
    if not mol.GetNumConformers():
        raise ValueError("a molecule has no conformer, so no coordinates to measure")
    return numbers, np.asarray(mol.GetConformer().GetPositions(), np.float64).reshape(-1, 3)
