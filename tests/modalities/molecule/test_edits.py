from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

import langevin as lv
from langevin.assembly import build_model
from langevin.modalities.molecule import edits
from langevin.modalities.molecule.atoms import of_mol
from langevin.modalities.molecule.conformers import of_smiles

NETWORK = {"name": "dit", "width": 32, "depth": 2, "heads": 4, "axes": 0, "pair_width": 8}


def make(hydrogens: bool, given: float = 0.5) -> lv.Model:
    symbols = ["H", "C", "N", "O"] if hydrogens else ["C", "N", "O"]
    node = {"name": "molecule", "sizes": {"7": 1}, "elements": symbols, "hydrogens": hydrogens}
    tree = {"modality": node, "network": NETWORK, "objective": {"given": given}, "sampling": {"steps": 3}}
    model = build_model(tree, seed=1)
    with torch.no_grad():  # a new network has zeros at its ends, which would hide what flows through it
        for p in model.network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.manual_seed(p.numel())))
    return model


@pytest.fixture(scope="module")
def heavy() -> lv.Model:
    return make(False)


@pytest.fixture(scope="module")
def full() -> lv.Model:
    return make(True)


def graph(atoms: Any) -> tuple[list[int], set[tuple[int, int, int]]]:
    return atoms.numbers.tolist(), {tuple(sorted(b[:2])) + (b[2],) for b in atoms.bonds.tolist()}


def drawn(samples: Any) -> list[Any]:
    return samples.modality.atoms(samples.state, samples.mask)


@pytest.mark.parametrize("hydrogens", [True, False])
def test_a_geometry_has_the_graph_that_was_asked_for(
    hydrogens: bool, full: lv.Model, heavy: lv.Model
) -> None:
    model = full if hydrogens else heavy
    mol = Chem.MolFromSmiles("OC(=O)[C@H](N)C")
    out = edits.geometry(model, "OC(=O)[C@H](N)C", n=3, seed=2)
    atoms = drawn(out)
    asked = Chem.AddHs(mol) if hydrogens else mol
    assert [a.numbers.tolist() for a in atoms] == [[x.GetAtomicNum() for x in asked.GetAtoms()]] * 3
    assert all(not isinstance(m, lv.Failure) and m.GetNumConformers() for m in out)
    flat = Chem.MolToSmiles(mol, isomericSmiles=False)
    assert {Chem.MolToSmiles(Chem.RemoveHs(m), isomericSmiles=False) for m in out} == {flat}
    assert not np.allclose(atoms[0].positions, atoms[1].positions)
    again = edits.geometry(model, mol, n=3, seed=2)
    np.testing.assert_allclose(drawn(again)[1].positions, atoms[1].positions, atol=1e-5)


def test_bonds_and_elements_are_drawn_around_what_is_given(full: lv.Model, mols: list[Chem.Mol]) -> None:
    found = drawn(edits.bonds(full, mols[1:3], seed=1))
    for mol, atoms in zip(mols[1:3], found):
        own = of_mol(mol)
        assert np.array_equal(atoms.numbers, own.numbers)
        np.testing.assert_allclose(atoms.positions, own.positions - own.positions.mean(0), atol=1e-4)
    found = drawn(edits.elements(full, mols[1], 3, seed=1))
    assert len(found) == 3
    for atoms in found:
        assert graph(atoms)[1] == graph(of_mol(mols[1]))[1]
    assert len({tuple(atoms.numbers.tolist()) for atoms in found}) > 1


def test_a_fragment_grows_at_its_attachment_point_only(heavy: lv.Model) -> None:
    ring = Chem.RemoveHs(of_smiles("c1ccoc1"))
    out = edits.grow(heavy, ring, atoms=(2, 4), n=16, at=[1], seed=3)
    own = of_mol(ring)
    sizes = set()
    for atoms in drawn(out):
        sizes.add(len(atoms))
        numbers, bonds = graph(atoms)
        assert numbers[:5] == own.numbers.tolist()
        assert {b for b in bonds if b[1] < 5} == graph(own)[1]
        crossing = {b for b in bonds if b[0] < 5 <= b[1]}
        assert (1, 5, 1) in crossing and all(b[0] == 1 for b in crossing)
    assert sizes == {7, 8, 9}


def test_dummy_atoms_are_attachment_points_and_link_two_fragments(heavy: lv.Model) -> None:
    pair = Chem.RWMol(Chem.RemoveHs(of_smiles("CCCCCC")))
    pair.GetAtomWithIdx(2).SetAtomicNum(0)
    pair.GetAtomWithIdx(3).SetAtomicNum(0)
    pair.RemoveBond(2, 3)
    pair.GetAtomWithIdx(2).SetAtomMapNum(2)
    pair.GetAtomWithIdx(3).SetAtomMapNum(1)
    for mol in (pair.GetMol(), Chem.GetMolFrags(pair.GetMol(), asMols=True, sanitizeFrags=False)):
        out = edits.link(heavy, mol, atoms=2, n=4, seed=0)
        for atoms in drawn(out):
            _, bonds = graph(atoms)
            assert {b for b in bonds if b[1] < 4} == {(0, 1, 1), (2, 3, 1)}
            crossing = {b for b in bonds if b[0] < 4 <= b[1]}
            assert {(2, 4, 1), (1, 5, 1)} <= crossing and {b[0] for b in crossing} == {1, 2}
    (atoms,) = drawn(edits.link(heavy, pair.GetMol(), atoms=1))
    assert {(2, 4, 1), (1, 4, 1)} <= graph(atoms)[1]  # one new atom takes both places


def test_a_hydrogen_gives_way_where_hydrogens_are_atoms(full: lv.Model) -> None:
    mol = of_smiles("CO")
    (atoms,) = drawn(edits.grow(full, mol, atoms=4, at=[0]))
    assert len(atoms) == 6 - 1 + 4
    (atoms,) = drawn(edits.grow(full, Chem.RemoveHs(mol), atoms=4, at=[0]))
    assert len(atoms) == 6 - 1 + 4
    with pytest.raises(ValueError, match="atom 0 has no hydrogen to give up"):
        edits.grow(full, of_smiles("O=C=O"), at=[0])


def test_atoms_are_replaced_and_the_rest_stays_where_it_was(heavy: lv.Model) -> None:
    mol = Chem.RemoveHs(of_smiles("CC(=O)c1ccccc1"))
    conformer = mol.GetConformer()
    conformer.SetPositions(conformer.GetPositions() + [4.0, 0.0, 9.0])
    out = edits.replace(heavy, mol, [0], n=8, seed=1)
    own = of_mol(mol)
    assert {len(atoms) for atoms in drawn(out)} == {9}
    for made in out:
        if not isinstance(made, lv.Failure):
            assert np.array_equal(made.GetConformer().GetPositions()[:8], own.positions[1:].astype(float))
    longer = edits.replace(heavy, mol, [2], atoms=(1, 3), n=5)
    for atoms in drawn(longer):
        assert (1, 8, 2) in graph(atoms)[1]  # the bond that was cut was a double one


def test_what_cannot_be_is_refused(heavy: lv.Model) -> None:
    mol = Chem.RemoveHs(of_smiles("CCO"))
    with pytest.raises(ValueError, match="not trained with given parts"):
        edits.geometry(make(False, given=0.0), "CCO")
    with pytest.raises(ValueError, match="atom 7 is not among the 3 atoms"):
        edits.grow(heavy, mol, at=[7])
    with pytest.raises(ValueError, match="drop needs indices"):
        edits.replace(heavy, mol, [3])
    with pytest.raises(ValueError, match="names all atoms"):
        edits.replace(heavy, mol, [0, 1, 2])
    with pytest.raises(ValueError, match="is not a SMILES"):
        edits.geometry(heavy, "C(((")
    with pytest.raises(ValueError, match=r"has atoms of numbers \[16\]"):
        edits.geometry(heavy, "CCS")
    with pytest.raises(ValueError, match="a range that rises"):
        edits.grow(heavy, mol, atoms=(4, 2))
