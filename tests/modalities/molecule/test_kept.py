"""What an edit kept can be told from the molecule: on pages, in tables, by colour."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdMolAlign

import langevin as lv
from langevin.core.keep import elements, leaves
from langevin.modalities.molecule import edits
from langevin.modalities.molecule.atoms import of_mol
from langevin.modalities.molecule.conformers import of_smiles
from langevin.modalities.molecule.kept import compared, kept_atoms, marked, note
from langevin.modalities.molecule.scene import COLOURS, TINTS, Scene, _rgb
from langevin.modalities.molecule.view import picture, to_html
from tests.modalities.molecule.test_edits import make

GRAPH = leaves("elements", "charges", "bonds")


@pytest.fixture(scope="module")
def full() -> lv.Model:
    return make(True)


def other(mol: Chem.Mol, seed: int) -> Chem.Mol:
    """Another conformer, with the atoms in the same order."""
    found = Chem.Mol(mol)
    found.GetConformer().SetPositions(of_smiles("CCCC(N)=O", seed).GetConformer().GetPositions())
    return found


def test_a_geometry_is_compared_with_the_one_that_was_given() -> None:
    given = of_smiles("CCCC(N)=O", seed=1)
    item = marked(other(given, 5), given, GRAPH, True)
    found = compared(item)
    assert found is not None and found.source == "the given geometry"
    heavy = [Chem.RemoveHs(mol) for mol in (item, given)]
    assert found.rmsd == pytest.approx(rdMolAlign.GetBestRMS(*heavy), abs=1e-3) and found.rmsd > 0.1
    near = np.linalg.norm(
        found.reference.GetConformer().GetPositions() - item.GetConformer().GetPositions(), axis=1
    )
    hydrogens = np.array([a.GetAtomicNum() == 1 for a in item.GetAtoms()])
    assert np.sqrt((near[~hydrogens] ** 2).mean()) == pytest.approx(
        found.rmsd, abs=1e-3
    )  # it lies on the item
    assert note(item) == f"RMSD {found.rmsd:.2f} Å to the given geometry (in colour)"
    same = compared(marked(Chem.Mol(given), of_mol(given), GRAPH, True))
    assert same is not None and same.rmsd < 1e-3


def test_equivalent_atoms_do_not_count() -> None:
    benzene = of_smiles("Cc1ccccc1")
    turned = Chem.RenumberAtoms(benzene, [0, 1, 6, 5, 4, 3, 2, *range(7, 15)])
    item = Chem.Mol(benzene)
    item.GetConformer().SetPositions(turned.GetConformer().GetPositions())
    found = compared(marked(item, benzene, GRAPH, True))
    assert found is not None and found.rmsd < 0.05


def test_what_is_no_edit_has_no_note() -> None:
    mol = of_smiles("CCO")
    assert note(mol) == "" and compared(mol) is None and kept_atoms(mol) == []
    assert note(marked(Chem.Mol(mol), mol, leaves("positions", "elements"), True)) == ""


def test_new_atoms_stand_out_from_kept_ones() -> None:
    mol = of_smiles("NCCO")
    item = marked(Chem.Mol(mol), mol, elements(0, 1), True)
    assert kept_atoms(item) == kept_atoms(Chem.Mol(item)) == [0, 1]
    assert note(item) == f"2 atoms kept, {mol.GetNumAtoms() - 2} new (in colour)"
    plain, told = Scene.of([mol]).colours, Scene.of([item]).colours
    assert tuple(told[2]) == _rgb(TINTS[0]) and tuple(told[3]) == _rgb(
        COLOURS[8]
    )  # a new carbon, a new oxygen
    assert tuple(told[1]) != tuple(told[2])
    saturation = [np.ptp(colours[0].astype(int)) for colours in (plain, told)]
    assert saturation[1] < 0.7 * saturation[0]  # the nitrogen that was kept is faint
    assert np.abs(np.asarray(picture(item), int) - np.asarray(picture(mol), int)).max() > 50
    bare = Scene.of([item], hydrogens=False)
    assert tuple(bare.colours[2]) == _rgb(TINTS[0])


def test_the_samples_of_an_edit_tell_it(full: lv.Model, tmp_path: Path) -> None:
    given = of_smiles("CCO", seed=3)
    for graph, source in ((given, "the given geometry"), ("CCO", "ETKDG + MMFF")):
        out: Any = edits.geometry(full, graph, n=2, seed=1)
        for item, card in zip(out, out.figures(), strict=True):
            found = compared(item)
            assert found is not None and found.source == source
            assert card.note.endswith(f": RMSD {found.rmsd:.2f} Å to {source} (in colour)")
            assert card.html == to_html(item, over=[found.reference]) and "C2H6O over C2H6O" in card.html
        out.save(tmp_path / source.split()[0])
        with (tmp_path / source.split()[0] / "scores.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["reference"] for row in rows] == [source] * 2
        assert float(rows[0]["rmsd"]) == pytest.approx(compared(out[0]).rmsd, abs=1e-3)  # type: ignore[union-attr]
    first, second = (edits.geometry(full, graph, n=1, seed=4)[0] for graph in (given, "CCO"))
    places = [mol.GetConformer().GetPositions() for mol in (first, second)]
    np.testing.assert_allclose(
        places[0], places[1], atol=1e-4
    )  # coordinates are compared with, not looked at

    like = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    like.AddConformer(given.GetConformer())
    grown = full.sample(3, like=like, keep=lv.keep.elements(*range(7)), seed=0)
    told = [note(item) for item in grown if not isinstance(item, lv.Failure)]
    assert set(told) <= {"7 atoms kept, 2 new (in colour)"}
    assert len(grown.figures()) == 3


def test_without_a_conformer_of_its_own_a_geometry_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from langevin.modalities.molecule import kept

    monkeypatch.setattr(kept, "_embedded", lambda text: None)
    mol = of_smiles("CCO")
    mol.SetProp("_reference", "")
    assert compared(mol) is None and note(mol) == ""
