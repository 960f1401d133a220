"""Each way of not being sound is seen, and is the only one seen."""

from __future__ import annotations

import contextlib
import io
from importlib.metadata import version

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from langevin.modalities.base import Failure
from langevin.modalities.molecule.atoms import Atoms, of_mol, to_mol
from langevin.modalities.molecule.soundness import (
    Soundness,
    agrees,
    inspect,
    perceived,
    posebusters,
    posebusters_version,
    strict,
)


def relaxed(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=0) == 0
    AllChem.MMFFOptimizeMolecule(mol, maxIters=2000)
    return mol


def without(mol: Chem.Mol, atom: int, literal: bool) -> Chem.Mol:
    """An atom taken away; literal: no hydrogen may fill the gap."""
    edited = Chem.RWMol(mol)
    edited.RemoveAtom(atom)
    for one in edited.GetAtoms():
        one.SetNoImplicit(literal)
        one.SetNumExplicitHs(0)
    Chem.SanitizeMol(edited)
    return edited.GetMol()


def changed(mol: Chem.Mol, **parts: np.ndarray) -> Chem.Mol:
    atoms = of_mol(mol)
    return to_mol(Atoms(**{**atoms.__dict__, **parts}), sanitize=False)


def moved(mol: Chem.Mol, atom: int, by: float) -> Chem.Mol:
    mol = Chem.Mol(mol)
    positions = mol.GetConformer().GetPositions()
    positions[atom, 0] += by
    mol.GetConformer().SetPositions(positions)
    return mol


GOOD = ("CC(=O)N", "c1ccncc1", "C[N+](C)(C)CC(=O)[O-]", "C#CC1CC1", "c1ccc2[nH]ccc2c1", "FC(F)(F)S(=O)(=O)C")


@pytest.mark.parametrize("smiles", GOOD)
def test_real_molecules_are_sound(smiles: str) -> None:
    found = inspect([relaxed(smiles)], busted=None)[0]
    assert found.strict and found.agrees and found.passes and found.sound, found


@pytest.mark.parametrize("smiles", ["CC(=O)N", "c1ccncc1", "C#CC1CC1", "N#CC=O"])
def test_and_so_without_their_hydrogens(smiles: str) -> None:
    heavy = Chem.RemoveHs(relaxed(smiles))
    assert inspect([heavy], hydrogens=False, busted=None)[0].sound
    assert strict(heavy, hydrogens=True) == ("hidden hydrogen",)


def test_each_reason_is_named() -> None:
    ethanol = relaxed("CCO")
    assert strict(ethanol) == ()
    assert strict(Failure("no")) == ("not decoded",)
    assert strict(Chem.AddHs(Chem.MolFromSmiles("CCO"))) == ("no coordinates",)
    assert strict(without(ethanol, 8, literal=True)) == ("radical", "unknown valence")
    assert strict(without(ethanol, 8, literal=False)) == ("hidden hydrogen",)
    assert strict(relaxed("C.O")) == ("in pieces",)
    assert strict(relaxed("C[CH2+]")) == ("unknown valence",)
    assert strict(relaxed("C[CH2+]"), table={("H", 0, 1), ("C", 0, 4), ("C", 1, 3)}) == ()
    five = of_mol(ethanol).bonds.copy()
    five[0, 2] = 2
    assert strict(changed(ethanol, bonds=five)) == ("cannot be sanitised", "unknown valence")


def test_coordinates_of_another_graph_do_not_agree() -> None:
    ethanol = relaxed("CCO")
    assert agrees(ethanol)
    assert not agrees(moved(ethanol, 2, 1.5))
    # acetaldehyde's bonds, vinyl alcohol's coordinates: same atoms, another graph
    enol = of_mol(relaxed("C=CO"))
    bonds = enol.bonds.copy()
    bonds[:, 2] = 1
    assert not inspect([changed(relaxed("C=CO"), bonds=bonds)])[0].agrees


def test_two_kekule_forms_and_two_ends_of_a_zwitterion_agree() -> None:
    benzene = of_mol(relaxed("c1ccccc1"))
    other = benzene.bonds.copy()
    ring = other[:, 1] < 6
    other[ring, 2] = 3 - other[ring, 2]
    swapped = to_mol(Atoms(benzene.numbers, benzene.positions, benzene.charges, other))
    assert agrees(swapped) and inspect([swapped])[0].strict
    nitro = relaxed("C[N+](=O)[O-]")
    found = perceived(nitro)
    assert found is not None and Chem.MolToSmiles(Chem.RemoveHs(found)) == "C[N+](=O)[O-]"
    assert agrees(nitro)


def test_the_order_of_atoms_matters_to_agreement() -> None:
    """The same molecule with two hydrogens of different groups swapped in space."""
    methanol = relaxed("CO")
    positions = methanol.GetConformer().GetPositions()
    positions[[2, 5]] = positions[[5, 2]]
    mixed = Chem.Mol(methanol)
    mixed.GetConformer().SetPositions(positions)
    assert not agrees(mixed)


def test_without_hydrogens_lengths_stand_for_orders() -> None:
    ketone = Chem.RemoveHs(relaxed("CC(=O)C"))
    assert agrees(ketone, hydrogens=False)
    triple = Chem.RWMol(ketone)
    triple.GetBondBetweenAtoms(0, 1).SetBondType(Chem.BondType.TRIPLE)
    assert not agrees(triple.GetMol(), hydrogens=False)
    assert not agrees(moved(ketone, 2, 0.7), hydrogens=False)
    assert not agrees(moved(Chem.RemoveHs(relaxed("CCCC")), 3, -1.6), hydrogens=False)


def test_posebusters_sees_a_clash_and_counts_a_failure() -> None:
    hexane = relaxed("CCCCCC")
    positions = hexane.GetConformer().GetPositions()
    positions[5] = positions[0] + 0.3
    clash = Chem.Mol(hexane)
    clash.GetConformer().SetPositions(positions)
    good, bad, none = posebusters([hexane, clash, Failure("no")])
    assert all(good.values()) and len(good) >= 9
    assert not bad["internal_steric_clash"] and good.keys() == bad.keys() and none == {}
    assert posebusters_version() == version("posebusters")
    with pytest.raises(ValueError, match="did you mean 'mol_fast'"):
        posebusters([], config="mol_fats")


def test_only_the_first_are_busted() -> None:
    found = inspect([relaxed("CCO"), relaxed("CC"), Failure("no")], busted=1)
    assert [one.passes for one in found] == [True, None, None]
    assert [one.sound for one in found] == [True, None, False]
    assert Soundness((), True, {}).passes is False


def test_a_closed_standard_error_makes_no_molecule_unsound() -> None:
    with io.StringIO() as stream, contextlib.redirect_stderr(stream):
        posebusters([relaxed("CCO")])
    assert all(posebusters([relaxed("CCO")])[0].values())
