"""What of a molecule's graph models are conditioned on: measures of the filters, and its formula.

A descriptor looks at no coordinates, so that what was asked can be compared with what was obtained, exactly. The formula
has the atoms of the state, hydrogens among them where they are atoms: "C6N1O2".
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from langevin.core.errors import unknown
from langevin.modalities.molecule.filters import Measured

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["DESCRIPTORS", "FORMULA", "check", "describe", "formula_of"]

FORMULA = "formula"
DESCRIPTORS = (
    FORMULA, "qed", "sa", "logp", "tpsa", "weight", "charge", "heavy_atoms", "rings", "aromatic_rings", "largest_ring",
    "rotatable", "donors", "acceptors", "stereocentres",
)  # fmt: skip


def check(names: Any) -> tuple[str, ...]:
    """Names of descriptors, as a tuple.

    Raises:
        ValueError: one that there is not, or one twice.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in DESCRIPTORS:
            raise ValueError(unknown("descriptor", name, DESCRIPTORS))
    if len(set(names)) < len(names):
        raise ValueError(f"a descriptor stands twice among {list(names)}")
    return names


def describe(mol: Mol, names: Any, hydrogens: bool = True) -> dict[str, Any]:
    """Descriptors of a molecule that rdkit could sanitise, by name: a text for the formula, numbers otherwise.

    Args:
        mol: with or without explicit hydrogens.
        names: of :data:`DESCRIPTORS`.
        hydrogens: whether hydrogens are meant to be atoms.

    Raises:
        ValueError: an unknown name.
    """
    found = Measured(mol, hydrogens)
    return {name: formula_of(mol) if name == FORMULA else found.value(name) for name in check(names)}


def formula_of(mol: Mol) -> str:
    """Elements and counts of the atoms that are there, carbon first, then by symbol: "C6N1O2"."""
    counts = Counter(atom.GetSymbol() for atom in mol.GetAtoms())
    order = sorted(counts, key=lambda symbol: (symbol != "C", symbol))
    return "".join(f"{symbol}{counts[symbol]}" for symbol in order)
