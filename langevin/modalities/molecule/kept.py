"""What an edit kept, written on the molecules that it gives, so that pages and tables can tell it.

    atom property ``kept``            on atoms that were given while others were drawn
    molecule property ``_reference``  where the graph was given and the geometry drawn: positions in Å, as JSON, of the
                                      geometry that the user's molecule had; empty where it had none

Where the user's molecule had no geometry, the drawn one is compared with that of ETKDG and MMFF.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from langevin.modalities.molecule.atoms import Atoms, of_mol, smiles

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from langevin.core.keep import Keep
else:
    Mol: TypeAlias = Any

__all__ = ["Comparison", "compared", "kept_atoms", "marked", "note"]

_GRAPH = {"elements", "charges", "bonds"}
_KEPT, _REFERENCE = "kept", "_reference"


@dataclass(frozen=True)
class Comparison:
    """A drawn geometry beside another one of its graph.

    Attributes:
        reference: the other geometry, laid on the drawn one.
        source: whose it is, in words.
        rmsd: root mean square distance of heavy atoms in Å, equivalent atoms matched in the way that fits best.
    """

    reference: Mol
    source: str
    rmsd: float


def marked(mol: Mol, original: Any, keep: Keep, hydrogens: bool) -> Mol:
    """The molecule, with what was kept written on it.

    Args:
        mol: has the atoms of the state, in its order.
        original: Mol or Atoms, of which parts were kept; positions that are all the same are none.
        keep: which parts.
        hydrogens: whether hydrogens are atoms of the state.
    """
    if keep.leaves and set(keep.leaves) != _GRAPH:
        return mol
    atoms = original if isinstance(original, Atoms) else of_mol(original)
    atoms = atoms if hydrogens else atoms.heavy()
    if keep.leaves:
        known = bool(np.ptp(atoms.positions, axis=0).any())
        mol.SetProp(_REFERENCE, json.dumps(atoms.positions.round(4).tolist()) if known else "")
        return mol
    for i in np.flatnonzero(keep((len(atoms),)).numpy()).tolist():
        mol.GetAtomWithIdx(i).SetBoolProp(_KEPT, True)
    return mol


def kept_atoms(mol: Mol) -> list[int]:
    """Indices of the atoms that were given; none where nothing was."""
    return [atom.GetIdx() for atom in mol.GetAtoms() if atom.HasProp(_KEPT)]


def compared(mol: Mol) -> Comparison | None:
    """A geometry that was drawn for a graph beside the one that it is judged by; None for other molecules.

    None as well where the user gave no geometry and ETKDG finds none.
    """
    from rdkit import Chem

    from langevin.modalities.molecule.view import superpose

    if not mol.HasProp(_REFERENCE):
        return None
    given = mol.GetProp(_REFERENCE)
    if given:
        reference, source = Chem.Mol(mol), "the given geometry"
        reference.GetConformer().SetPositions(np.array(json.loads(given), np.float64))
    else:
        found, source = _embedded(smiles(mol)), "ETKDG + MMFF"
        if found is None:
            return None
        reference = found
    laid, rmsd = superpose(reference, mol)
    return Comparison(laid, source, rmsd)


def note(mol: Mol) -> str:
    """What there is to say of a molecule that an edit gave, in a few words; nothing of others."""
    found = compared(mol)
    if found is not None:
        return f"RMSD {found.rmsd:.2f} Å to {found.source} (in colour)"
    kept = len(kept_atoms(mol))
    return f"{kept} atoms kept, {mol.GetNumAtoms() - kept} new (in colour)" if kept else ""


@functools.lru_cache(maxsize=64)
def _embedded(text: str) -> Mol | None:
    """The geometry of ETKDG and MMFF."""
    from langevin.modalities.molecule.conformers import of_smiles

    try:
        return of_smiles(text)
    except ValueError:
        return None
