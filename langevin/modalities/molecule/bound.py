"""Ligands that are bound in a structure file, as molecules.

A structure file has the ligand's heavy atoms and no bond orders. With a template, which is the same molecule with
its bonds, the atoms are joined by their distances (covalent radii times 1.3, the rule of rdkit's DetermineConnectivity),
matched to the template's, and take its bond orders and charges; R/S and E/Z are those of the coordinates. Without one
the atoms have no bonds: guessing orders without hydrogens is wrong too often.

Of atoms that are alike in the template but for their bond orders, such as the oxygens of a phosphate, any may take the
double bond; the R/S of such a phosphorus means nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from langevin.modalities.molecule.atoms import assign_stereo, quiet, reason
from langevin.modalities.molecule.structures import Residue, find, read_structure

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["read_ligand"]


def read_ligand(path: str | Path, selector: str, template: Mol | str | Path | None = None) -> Mol:
    """The ligand of a structure file, heavy atoms only.

    Args:
        path: PDB or mmCIF, ``.gz`` too.
        selector: the residue, ``A:LIG:401``.
        template: the same molecule with bond orders: a ``Mol``, a file of one (SDF, mol), or a SMILES. None gives atoms
            without bonds.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such residue, a template that cannot be read, or one that the atoms do not fit.
    """
    structure = read_structure(path)
    residue = find(structure, selector)
    if template is None:
        return _bare(residue)
    from rdkit import Chem
    from rdkit.Chem import AllChem, rdDetermineBonds

    wanted = _template(template)
    mol = _bare(residue)
    try:
        with quiet():
            rdDetermineBonds.DetermineConnectivity(mol, useVdw=True)
            for atom in mol.GetAtoms():
                atom.SetNoImplicit(False)
            mol.UpdatePropertyCache(strict=False)
            mol = AllChem.AssignBondOrdersFromTemplate(wanted, mol)
            Chem.SanitizeMol(mol)
            assign_stereo(mol)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{residue.label} of {structure.source} does not fit the template: {_formula(mol)} and {_formula(wanted)} "
            f"without hydrogens ({reason(error)})"
        ) from None
    if mol.GetNumAtoms() != wanted.GetNumAtoms():
        raise ValueError(
            f"{residue.label} of {structure.source} has {mol.GetNumAtoms()} heavy atoms and the template "
            f"{wanted.GetNumAtoms()}"
        )
    return mol


def _bare(residue: Residue) -> Mol:
    """The atoms with their names, and no bonds."""
    from rdkit import Chem

    mol = Chem.RWMol()
    for name, number in zip(residue.names, residue.numbers.tolist()):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        atom.SetProp("atomLabel", name)
        mol.AddAtom(atom)
    conformer = Chem.Conformer(len(residue.names))
    conformer.SetPositions(residue.positions.astype(np.float64))
    conformer.Set3D(True)
    mol.AddConformer(conformer, assignId=True)
    built = mol.GetMol()
    built.SetProp("_Name", residue.label)
    return built


def _template(template: Mol | str | Path) -> Mol:
    """Without hydrogens and conformers."""
    from rdkit import Chem

    from langevin.modalities.molecule.conformers import graph
    from langevin.modalities.molecule.files import SUFFIXES, read_one

    if isinstance(template, Path) or (isinstance(template, str) and template.lower().endswith(SUFFIXES)):
        template = read_one(template, flat="embed")
    elif isinstance(template, str):
        template = graph(template)
    with quiet():
        bare = Chem.RemoveAllHs(Chem.Mol(template))
    bare.RemoveAllConformers()
    return bare


def _formula(mol: Mol) -> str:
    """Elements and numbers of the heavy atoms."""
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    return "".join(f"{symbol}{symbols.count(symbol)}" for symbol in sorted(set(symbols)))
