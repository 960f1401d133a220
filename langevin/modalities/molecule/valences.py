"""Which valences atoms have in real molecules, and the stability of molecules by that.

The valence of an atom is the sum of the orders of its bonds in a Kekulé form, implicit hydrogens included; it
depends on the element and the formal charge. :data:`VALENCES` holds the triples (element, charge, valence) that
occur in real molecules, none that is only thinkable: a neutral carbon of valence 3 is not among them.

The corrected valence protocol (Nikitin et al. 2025, "GEOM-Drugs Revisited") does not sum aromatic bonds as 1.5,
which rounds wrong atoms to right ones, but counts them: an atom is stable if (element, charge, number of
aromatic bonds, sum of its other orders) occurs in :data:`AROMATIC`. Only bonds between atoms count, so
hydrogens must be atoms. A molecule is stable if each of its atoms is.

Both tables were counted, on the 100,000 molecules of QM9's training split (no fluorine in the copy used) and the
243,000 drug-like molecules of GEOM-Drugs' training split, metals and radicals left out. For H, C, N and O the
two data sets have the same triples.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.base import Failure
from langevin.modalities.molecule.atoms import quiet

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = [
    "AROMATIC",
    "VALENCES",
    "Quadruple",
    "Triple",
    "aromatic_valences",
    "kekulised",
    "observed",
    "stable_by_valence",
    "valences",
]

Triple: TypeAlias = tuple[str, int, int]
Quadruple: TypeAlias = tuple[str, int, int, int]

VALENCES: frozenset[Triple] = frozenset({
    ("H", 0, 1), ("C", -1, 3), ("C", 0, 4), ("N", -1, 2), ("N", 0, 3), ("N", 1, 4), ("O", -1, 1), ("O", 0, 2),
    ("O", 1, 3), ("B", 0, 3), ("F", 0, 1), ("Si", 0, 4), ("P", 0, 3), ("P", 0, 5), ("P", 1, 4), ("S", -1, 1),
    ("S", 0, 2), ("S", 0, 4), ("S", 0, 6), ("S", 1, 3), ("Cl", 0, 1), ("Br", 0, 1), ("I", 0, 1),
})  # fmt: skip
AROMATIC: frozenset[Quadruple] = frozenset({
    ("H", 0, 0, 1), ("C", -1, 0, 3), ("C", -1, 2, 1), ("C", -1, 3, 0), ("C", 0, 0, 4), ("C", 0, 2, 1), ("C", 0, 2, 2),
    ("C", 0, 3, 0), ("N", -1, 0, 2), ("N", -1, 2, 0), ("N", 0, 0, 3), ("N", 0, 2, 0), ("N", 0, 2, 1), ("N", 0, 3, 0),
    ("N", 1, 0, 4), ("N", 1, 2, 1), ("N", 1, 2, 2), ("N", 1, 3, 0), ("O", -1, 0, 1), ("O", 0, 0, 2), ("O", 0, 2, 0),
    ("O", 1, 0, 3), ("O", 1, 2, 0), ("B", 0, 0, 3), ("F", 0, 0, 1), ("Si", 0, 0, 4), ("P", 0, 0, 3), ("P", 0, 0, 5),
    ("P", 1, 0, 4), ("S", -1, 0, 1), ("S", 0, 0, 2), ("S", 0, 0, 4), ("S", 0, 0, 6), ("S", 0, 2, 0), ("S", 1, 0, 3),
    ("S", 1, 2, 0), ("Cl", 0, 0, 1), ("Br", 0, 0, 1), ("I", 0, 0, 1),
})  # fmt: skip


def kekulised(mol: Mol) -> Mol:
    """With single, double and triple bonds only and valences computed; itself where it is so already.

    Aromatic bonds that have no Kekulé form stay.
    """
    from rdkit import Chem

    if not mol.NeedsUpdatePropertyCache() and not any(bond.GetIsAromatic() for bond in mol.GetBonds()):
        return mol
    with quiet(), suppress(ValueError):
        mol = Chem.Mol(mol)
        mol.UpdatePropertyCache(strict=False)
        Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def valences(mol: Mol) -> list[Triple]:
    """(element, charge, valence) of each atom, implicit hydrogens included.

    Aromatic bonds are counted in a Kekulé form; where there is none, as single.
    """
    mol = kekulised(mol)
    found = [atom.GetTotalNumHs() for atom in mol.GetAtoms()]
    for bond in mol.GetBonds():
        order = int(bond.GetBondTypeAsDouble())
        found[bond.GetBeginAtomIdx()] += order
        found[bond.GetEndAtomIdx()] += order
    return [(a.GetSymbol(), a.GetFormalCharge(), v) for a, v in zip(mol.GetAtoms(), found)]


def aromatic_valences(mol: Mol) -> list[Quadruple]:
    """(element, charge, aromatic bonds, sum of the other orders) of each atom; implicit hydrogens do not count."""
    found = [[0, 0] for _ in range(mol.GetNumAtoms())]
    for bond in mol.GetBonds():
        aromatic = bond.GetIsAromatic()
        for k in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()):
            found[k][not aromatic] += 1 if aromatic else int(bond.GetBondTypeAsDouble())
    return [(a.GetSymbol(), a.GetFormalCharge(), *pair) for a, pair in zip(mol.GetAtoms(), found)]  # type: ignore[misc]


def observed(mols: Iterable[Mol]) -> tuple[frozenset[Triple], frozenset[Quadruple]]:
    """The two tables of other molecules than those that :data:`VALENCES` and :data:`AROMATIC` were counted on."""
    triples: set[Triple] = set()
    quadruples: set[Quadruple] = set()
    for mol in mols:
        triples.update(valences(mol))
        quadruples.update(aromatic_valences(mol))
    return frozenset(triples), frozenset(quadruples)


def stable_by_valence(
    items: Sequence[Mol | Failure], table: Collection[Quadruple] = AROMATIC
) -> list[NDArray[np.bool_] | None]:
    """(n,) for each molecule: which of its atoms are stable by the corrected protocol; None for a failure."""
    known = frozenset(table)
    return [
        None
        if isinstance(item, Failure)
        else np.array([key in known for key in aromatic_valences(item)], bool)
        for item in items
    ]
