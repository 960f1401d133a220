"""Shapes and energies, against geometry and numbers worked out by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms
from scipy.spatial.transform import Rotation

from langevin.modalities.base import Failure
from langevin.modalities.molecule.geometry import BINS, divergence, shapes, strain, strains


def relaxed(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=0) == 0
    AllChem.MMFFOptimizeMolecule(mol, mmffVariant="MMFF94s", maxIters=5000)
    return mol


def at(mol: Chem.Mol, positions: np.ndarray) -> Chem.Mol:
    mol = Chem.Mol(mol)
    mol.GetConformer().SetPositions(np.ascontiguousarray(positions))
    return mol


def test_divergence_by_hand() -> None:
    assert divergence({"a": 3, "b": 1}, {"a": 6, "b": 2}) == pytest.approx(0, abs=1e-12)
    assert divergence({"a": 1}, {"b": 5}) == pytest.approx(1)
    # H(3/4, 1/4) - H(1/2, 1/2) / 2
    expected = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)) - 0.5
    assert divergence({"a": 1}, {"a": 1, "b": 1}) == pytest.approx(expected)
    assert divergence({"a": 1, "b": 1}, {"a": 1}) == pytest.approx(expected)
    with pytest.raises(ValueError, match="empty"):
        divergence(Counter(), {"a": 1})


def test_the_distance_obeys_the_triangle_inequality() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        p, q, r = (dict(enumerate(rng.dirichlet(np.full(6, 0.3)))) for _ in range(3))
        d = [math.sqrt(divergence(*pair)) for pair in ((p, q), (q, r), (p, r))]
        assert d[2] <= d[0] + d[1] + 1e-12


def test_shapes_of_a_known_molecule() -> None:
    """Hydrogen peroxide: 2 O–H, 1 O–O, 2 angles, 1 torsion, read off with rdkit's own functions."""
    mol = relaxed("OO")
    found = shapes([mol])
    assert [found[name].total() for name in ("lengths", "angles", "torsions")] == [3, 2, 1]
    held = mol.GetConformer()
    torsion = rdMolTransforms.GetDihedralDeg(held, 2, 0, 1, 3)
    assert [cell for _, cell in found["torsions"]] == [math.floor(torsion / BINS["torsions"])]
    angles = {
        math.floor(rdMolTransforms.GetAngleDeg(held, *ends) / BINS["angles"])
        for ends in ((2, 0, 1), (3, 1, 0))
    }
    assert {cell for _, cell in found["angles"]} == angles
    lengths = {
        math.floor(rdMolTransforms.GetBondLength(held, *ends) / BINS["lengths"])
        for ends in ((0, 1), (0, 2), (1, 3))
    }
    assert {cell for _, cell in found["lengths"]} == lengths


def test_all_angles_and_torsions_are_counted_once() -> None:
    ethane, neopentane = shapes([relaxed("CC")]), shapes([relaxed("CC(C)(C)C")])
    assert ethane["angles"].total() == 12 and ethane["torsions"].total() == 9
    assert neopentane["angles"].total() == 5 * 6 and neopentane["torsions"].total() == 4 * 9
    assert shapes([relaxed("C1CC1")])["torsions"].total() == 3 * (9 - 1)  # no torsion closes on its own atom
    assert shapes([relaxed("CC"), Failure("no"), relaxed("CC")])["torsions"].total() == 18


def test_kinds_do_not_depend_on_direction_or_kekule_form() -> None:
    kinds = {kind for kind, _ in shapes([relaxed("OCCN")])["torsions"]}
    turned = Chem.RenumberAtoms(relaxed("OCCN"), list(reversed(range(relaxed("OCCN").GetNumAtoms()))))
    assert {kind for kind, _ in shapes([turned])["torsions"]} == kinds
    pyridine = relaxed("c1ccncc1")
    literal = Chem.Mol(pyridine)
    Chem.Kekulize(literal, clearAromaticFlags=True)
    assert shapes([literal])["lengths"] == shapes([pyridine])["lengths"]
    assert pyridine.GetBondWithIdx(0).GetIsAromatic()


def test_a_turn_changes_nothing_and_a_mirror_changes_torsions_only() -> None:
    mol = relaxed("C[C@H](N)C(=O)O")
    positions = mol.GetConformer().GetPositions()
    turned = shapes([at(mol, positions @ Rotation.random(random_state=0).as_matrix())])
    mirror = shapes([at(mol, positions * [1, 1, -1])])
    for name, found in shapes([mol]).items():
        assert divergence(found, turned[name]) < 1e-9
        assert (divergence(found, mirror[name]) < 1e-9) == (name != "torsions")


def test_strain_is_none_where_relaxed_and_grows_with_noise() -> None:
    mol = relaxed("CCC(=O)OC")
    positions = mol.GetConformer().GetPositions()
    noise = np.random.default_rng(0).normal(size=positions.shape)
    found = [strain(at(mol, positions + scale * noise)) for scale in (0, 0.01, 0.05)]
    assert abs(found[0].energy) < 0.05 and found[0].rmsd < 0.05
    assert found[0].energy < found[1].energy < found[2].energy > 10
    assert np.allclose(mol.GetConformer().GetPositions(), positions)  # it stays as it is


def test_hydrogens_that_are_added_settle_first() -> None:
    """The strain of a skeleton is not that of hydrogens that rdkit placed by rule."""
    bare = Chem.RemoveHs(relaxed("CC(C)C(=O)NC"))
    assert abs(strain(bare).energy) < 1 and strain(bare).rmsd < 0.2
    noise = np.random.default_rng(0).normal(0, 0.1, (bare.GetNumAtoms(), 3))
    assert (
        strain(at(bare, bare.GetConformer().GetPositions() + noise)).energy > 10
    )  # the skeleton stayed meanwhile


def test_what_has_no_strain_says_why() -> None:
    boron = Chem.AddHs(Chem.MolFromSmiles("CB(C)C"))
    AllChem.EmbedMolecule(boron, randomSeed=0)
    assert math.isnan(strain(boron).energy) and "no parameters" in strain(boron).reason
    assert strain(Chem.MolFromSmiles("C")).reason == "no coordinates"
    five = Chem.RWMol(relaxed("CC"))
    five.GetBondBetweenAtoms(0, 1).SetBondType(Chem.BondType.DOUBLE)
    assert strains([five, Failure("no")])[0].energy == strains([Failure("no")])[0].energy == math.inf
    assert "sanitised" in strain(five).reason
