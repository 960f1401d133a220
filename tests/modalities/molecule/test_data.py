from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

import langevin as lv
from langevin.modalities.molecule.archives import write_archive
from langevin.modalities.molecule.atoms import of_mol
from langevin.modalities.molecule.data import MoleculeDataset, open_data
from langevin.modalities.molecule.files import write_sdf
from langevin.modalities.molecule.modality import make
from langevin.modalities.molecule.recipe import defaults


@pytest.fixture
def sdf(mols: list[Chem.Mol], tmp_path: Path) -> Path:
    path = tmp_path / "some.sdf"
    write_sdf(mols, path)
    return path


def test_a_file_and_an_archive_give_the_same_molecules(
    mols: list[Chem.Mol], sdf: Path, tmp_path: Path
) -> None:
    write_archive([of_mol(mol) for mol in mols], tmp_path / "some.npz", split=[0, 1] * 4)
    file, archive = open_data(sdf), open_data(tmp_path / "some.npz")
    assert len(file) == len(archive) == len(mols)
    for a, b in zip(file.molecules, archive.molecules):
        np.testing.assert_array_equal(a.numbers, b.numbers)
        np.testing.assert_array_equal(a.bonds, b.bonds)
        np.testing.assert_allclose(a.positions - a.positions.mean(0), b.positions, atol=1e-3)
    assert file.lengths == [mol.GetNumAtoms() for mol in mols]
    assert len(open_data(tmp_path / "some.npz", split="validation")) == 4
    assert all((m.numbers != 1).all() for m in open_data(sdf, hydrogens=False).molecules)
    with pytest.raises(ValueError, match="has no splits"):
        open_data(sdf, split="train")


def test_bad_records_are_named_or_left_out(sdf: Path) -> None:
    text = sdf.read_text().replace("V2000", "V9999", 1)
    sdf.write_text(text)
    with pytest.raises(ValueError, match=r"7 of 8 records read(.|\n)*record 1(.|\n)*errors='skip'"):
        open_data(sdf)
    with pytest.warns(UserWarning, match="7 of 8"):
        assert len(open_data(sdf, errors="skip")) == 7
    with pytest.raises(ValueError, match="there are no molecules"):
        MoleculeDataset([])


def test_a_model_follows_from_the_molecules(mols: list[Chem.Mol]) -> None:
    config = defaults(MoleculeDataset([of_mol(mol) for mol in mols]), {"network": {"depth": 2}})
    modality = config["modality"]
    assert modality["elements"] == ["H", "C", "N", "O"] and modality["charges"] == [-1, 0, 1]
    assert modality["hydrogens"] and sum(modality["sizes"].values()) == len(mols)
    assert config["network"]["depth"] == 2 and config["network"]["pair_width"] == 32


def test_an_sdf_becomes_a_model_that_draws_molecules(sdf: Path, tmp_path: Path) -> None:
    network = {"width": 32, "depth": 1, "heads": 4, "pair_width": 8}
    lv.train(
        sdf, "molecule", steps=4, batch=4, out=tmp_path / "model", model={"network": network}, progress=False
    )
    model = lv.load(tmp_path / "model", device="cpu")
    drawn = model.sample(3, steps=4, atoms=6)
    assert len(drawn) == 3 and drawn.state["positions"].shape == (3, 6, 3)


def test_molecules_of_one_element_can_be_trained_on(tmp_path: Path) -> None:
    (tmp_path / "some.smi").write_text("CCC\nC1CC1\nCC=C\nC#CC\n")
    data = open_data(tmp_path / "some.smi", hydrogens=False, descriptors=["formula"])
    network = {"width": 32, "depth": 1, "heads": 4, "pair_width": 8}
    model = lv.train(
        data,
        "molecule",
        steps=2,
        batch=4,
        out=tmp_path / "model",
        model={"network": network},
        progress=False,
        device="cpu",
    )
    assert model.modality.elements == ("C", "N")
    assert len(model.sample(2, formula="C3", steps=2, progress=False)) == 2
    for what in ({"elements": ["C"]}, {"charges": [0]}):
        with pytest.raises(ValueError, match="at least 2, got .*need not have"):
            make(what)
