from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from langevin.modalities.molecule.archives import Archive, read_archive
from langevin.modalities.molecule.atoms import MAX_ATOMS, Atoms, hidden_hydrogens, of_mol, smiles, to_mol
from langevin.modalities.molecule.conformers import of_smiles

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("LANGEVIN_DATA", ROOT.parent / "shared" / "data")) / "molecules"
ZOO = (
    "CCO",
    "c1ccc2[nH]ccc2c1",
    "C[N+](C)(C)CC(=O)[O-]",
    "C[C@H](N)C(=O)O",
    "F/C=C/Cl",
    "F/C=C\\Cl",
    "[H]/N=C(/C)CC",
    "O=[N+]([O-])c1ccccc1",
    "C#N",
    "O=C=O",
    "[C-]#[O+]",
    "CS(=O)(=O)C",
    "C[C@@H]1CC[C@H](O)C1",
    "[CH3]",
    "[O][O]",
    "[H][H]",
    "[Na+].[Cl-]",
    "BrC12CC3CC(CC(C3)C1)C2",
)


def embedded(text: str) -> Chem.Mol:
    return of_smiles(text, seed=7, relax=False)


@pytest.fixture(scope="module")
def qm9() -> Archive:
    if not (DATA / "qm9.npz").exists():
        pytest.skip(f"no qm9.npz in {DATA} (set LANGEVIN_DATA)")
    return read_archive(DATA / "qm9.npz")


def lost(archive: Archive, places: range) -> list[int]:
    """Molecules that do not come back: elements, charges, bonds, positions, or the stored SMILES."""
    out = []
    for k in places:
        atoms = archive[k]
        mol = to_mol(atoms, explicit=True)
        back = of_mol(mol)
        same = (
            np.array_equal(atoms.numbers, back.numbers)
            and np.array_equal(atoms.charges, back.charges)
            and np.abs(atoms.positions - back.positions).max() < 1e-4
            and archive.smiles[k] == smiles(mol) == smiles(to_mol(back, explicit=True))
        )
        if not same:
            out.append(k)
    return out


def test_a_sample_of_qm9_goes_to_mol_and_back_with_its_smiles(qm9: Archive) -> None:
    assert len(qm9) == 128_744
    assert lost(qm9, range(0, len(qm9), 97)) == []


@pytest.mark.slow
def test_a_quarter_of_qm9_goes_to_mol_and_back_with_its_smiles(qm9: Archive) -> None:
    """All of it does (2026-11-22), in 90 s, which are better spent elsewhere."""
    assert lost(qm9, range(0, len(qm9), 4)) == []


def test_the_order_of_bonds_matters_to_a_smiles_of_a_meso_cage_but_not_to_the_molecule(qm9: Archive) -> None:
    for k in (17451, 38515, 41212):
        atoms = qm9[k]
        turned = Atoms(
            atoms.numbers, atoms.positions, atoms.charges, atoms.bonds[np.lexsort(atoms.bonds.T[1::-1])]
        )
        one, other = to_mol(atoms, explicit=True), to_mol(turned, explicit=True)
        assert smiles(one) != smiles(other)
        assert Chem.MolToInchi(one) == Chem.MolToInchi(other)


@pytest.mark.parametrize("text", ZOO)
def test_molecules_come_back_with_stereo_radicals_and_charges(text: str) -> None:
    mol = embedded(text)
    back = to_mol(of_mol(mol), explicit=True)
    assert smiles(back) == smiles(mol)
    assert back.GetNumAtoms() == mol.GetNumAtoms()
    assert hidden_hydrogens(back) == 0
    radicals = [a.GetNumRadicalElectrons() for a in mol.GetAtoms()]
    assert [a.GetNumRadicalElectrons() for a in back.GetAtoms()] == radicals
    np.testing.assert_allclose(
        back.GetConformer().GetPositions(), mol.GetConformer().GetPositions(), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("text", [t for t in ZOO if t not in ("[CH3]", "[O][O]", "[H][H]", "[H]/N=C(/C)CC")])
def test_heavy_atoms_imply_the_hydrogens_that_were_left_out(text: str) -> None:
    mol = embedded(text)
    heavy = of_mol(mol).heavy()
    assert 1 not in heavy.numbers
    back = to_mol(heavy)
    assert smiles(back) == smiles(mol)
    assert hidden_hydrogens(back) == mol.GetNumAtoms() - mol.GetNumHeavyAtoms()


def test_bonds_are_kekule_and_the_molecule_is_left_as_it_was() -> None:
    mol = embedded("c1ccccc1")
    atoms = of_mol(mol)
    assert sorted(atoms.bonds[:, 2].tolist()) == [1] * 9 + [2] * 3
    assert (atoms.bonds[:, 0] < atoms.bonds[:, 1]).all()
    assert mol.GetBondWithIdx(0).GetIsAromatic()
    assert to_mol(atoms).GetBondWithIdx(0).GetIsAromatic()


def test_mirror_images_differ_by_their_coordinates_alone() -> None:
    atoms = of_mol(embedded("C[C@H](N)C(=O)O"))
    mirror = Atoms(atoms.numbers, atoms.positions * np.float32([-1, 1, 1]), atoms.charges, atoms.bonds)
    assert {smiles(to_mol(atoms)), smiles(to_mol(mirror))} == {"C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"}


def test_an_open_valence_is_a_radical_where_hydrogens_are_explicit_and_is_filled_where_not() -> None:
    carbon = Atoms(np.uint8([6]), np.zeros((1, 3), np.float32), np.int8([0]), np.zeros((0, 3), np.int16))
    assert to_mol(carbon, explicit=True).GetAtomWithIdx(0).GetNumRadicalElectrons() == 4
    assert hidden_hydrogens(to_mol(carbon, explicit=False)) == 4


def changed(mol: Chem.Mol, **what: float) -> Chem.Mol:
    mol = Chem.RWMol(mol)
    if "isotope" in what:
        mol.GetAtomWithIdx(0).SetIsotope(int(what["isotope"]))
    if "x" in what:
        mol.GetConformer().SetAtomPosition(1, (what["x"], 0.0, 0.0))
    if "flat" in what:
        mol.GetConformer().Set3D(False)
    return mol


def test_what_has_no_state_is_refused_with_its_reason() -> None:
    ethanol = embedded("CCO")
    point = Chem.Mol(ethanol)
    point.GetConformer().SetPositions(np.zeros((9, 3)))
    dative = Chem.RWMol(embedded("N.B"))
    dative.AddBond(0, 1, Chem.BondType.DATIVE)
    half = Chem.RemoveHs(ethanol)
    half = Chem.AddHs(half, addCoords=True, onlyOnAtoms=[2])
    radical = Chem.RemoveHs(embedded("C[CH]C"))
    large = Chem.RWMol()
    for _ in range(MAX_ATOMS + 1):
        large.AddAtom(Chem.Atom(6))
    cases = {
        "has no atoms": Chem.Mol(),
        "has 1001 atoms; at most 1000": large,
        "no conformer": Chem.MolFromSmiles("CCO"),
        "drawing": changed(ethanol, flat=1),
        "position of atom 1 is not a number": changed(ethanol, x=float("nan")),
        "at one point": point,
        "isotope 13C": changed(ethanol, isotope=13),
        "atoms 0 and 1 is dative": dative,
        "1 hydrogens are atoms and 5 are implicit": half,
        "atom 1 is a radical": radical,
    }
    for said, mol in cases.items():
        with pytest.raises(ValueError, match=said):
            of_mol(mol)
    assert len(of_mol(half, partial=True)) == 4


def test_arrays_that_are_no_molecule_are_refused_with_their_reason() -> None:
    good = of_mol(embedded("CCO"))
    n, x, q, b = good.numbers, good.positions, good.charges, good.bonds
    bad = x.copy()
    bad[2, 1] = np.inf
    nothing = Atoms(n[:0], x[:0], q[:0], b[:0])
    cases = [
        ("no atoms", nothing),
        (r"positions \(9, 3\)", Atoms(n, x[:4], q, b)),
        ("atom 2 is not a number", Atoms(n, bad, q, b)),
        ("i < j of 9", Atoms(n, x, q, np.int16([[1, 0, 1]]))),
        ("i < j of 9", Atoms(n, x, q, np.int16([[0, 9, 1]]))),
        ("i < j of 9", Atoms(n, x, q, np.int16([[-1, 2, 1]]))),
        ("orders of bonds must be 1, 2 or 3; got \\[4\\]", Atoms(n, x, q, np.int16([[0, 1, 4]]))),
        ("bonded twice", Atoms(n, x, q, np.int16([[0, 1, 1], [0, 1, 2]]))),
        (
            "cannot be sanitised: Explicit valence for atom # 0 C, 8, is greater than permitted",
            Atoms(n, x, q, b + np.int16([0, 0, 1])),
        ),
    ]
    for said, atoms in cases:
        with pytest.raises(ValueError, match=said):
            to_mol(atoms)
    assert to_mol(cases[-1][1], sanitize=False).GetNumBonds() == 8


def test_hydrogens_that_nothing_implies_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="no heavy atoms"):
        of_mol(embedded("[H][H]")).heavy()
    for text in ("[H+].C", "[H-].[Na+]"):
        with pytest.raises(ValueError, match="not held by one single bond"):
            of_mol(embedded(text)).heavy()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_arrays_give_a_molecule_or_a_reason(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 6))
    rows = data.draw(st.lists(st.tuples(*[st.integers(-1, 6)] * 2, st.integers(0, 4)), max_size=8))
    atoms = Atoms(
        np.array(
            data.draw(st.lists(st.sampled_from([0, 1, 6, 7, 8, 16, 92]), min_size=n, max_size=n)), np.uint8
        ),
        np.array(
            data.draw(
                st.lists(st.tuples(*[st.sampled_from([0.0, 1.1, -1.4, np.nan])] * 3), min_size=n, max_size=n)
            ),
            np.float32,
        ).reshape(-1, 3),
        np.array(data.draw(st.lists(st.integers(-2, 2), min_size=n, max_size=n)), np.int8),
        np.array(rows, np.int16).reshape(-1, 3),
    )
    try:
        mol = to_mol(atoms, explicit=data.draw(st.booleans()))
    except ValueError as error:
        assert str(error)
    else:
        assert mol.GetNumAtoms() == n


def test_a_reason_is_not_also_printed(capfd: pytest.CaptureFixture[str]) -> None:
    good = of_mol(embedded("CCO"))
    with pytest.raises(ValueError):
        to_mol(Atoms(good.numbers, good.positions, good.charges, good.bonds + np.int16([0, 0, 2])))
    assert capfd.readouterr() == ("", "")


def test_importing_the_package_leaves_rdkit_alone() -> None:
    code = (
        "import sys, langevin, langevin.modalities.molecule.atoms, langevin.modalities.molecule.files;"
        "assert 'rdkit' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
