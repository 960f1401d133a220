from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from langevin.modalities.molecule.atoms import Atoms, of_mol, smiles, to_mol
from langevin.modalities.molecule.conformers import of_smiles
from langevin.modalities.molecule.files import read_one, read_records, write_sdf, write_smiles, write_xyz
from langevin.modalities.molecule.writing import sdf_record
from langevin.modalities.samples import Failure


def unassigned(text: str) -> Chem.Mol:
    """A molecule whose stereo rdkit was never asked to assign."""
    mol = to_mol(of_mol(of_smiles(text)), sanitize=False)
    Chem.SanitizeMol(mol)
    return mol


def row_of_carbons(n: int) -> Chem.Mol:
    positions = np.stack([np.arange(n) * 1.3, np.arange(n) % 2 * 0.8, np.zeros(n)], 1).astype(np.float32)
    bonds = np.stack([np.arange(n - 1), np.arange(1, n), np.ones(n - 1)], 1).astype(np.int16)
    return to_mol(Atoms(np.full(n, 6, np.uint8), positions, np.zeros(n, np.int8), bonds))


@pytest.mark.parametrize("text", ["F/C=C/Cl", "F/C=C\\Cl", "C/C=N/O", "C[C@H](N)C(=O)O"])
def test_stereo_is_assigned_before_it_is_written(tmp_path: Path, text: str) -> None:
    mol = unassigned(text)
    assert smiles(mol) != Chem.CanonSmiles(text)
    write_sdf([mol], tmp_path / "x.sdf")
    assert smiles(read_one(tmp_path / "x.sdf")) == Chem.CanonSmiles(text)
    with Chem.SDMolSupplier(str(tmp_path / "x.sdf")) as supplier:
        assert smiles(next(supplier)) == Chem.CanonSmiles(text)
    write_smiles([mol], tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == f"{Chem.CanonSmiles(text)},,"


def test_every_record_tells_how_it_was_made(tmp_path: Path) -> None:
    mols = [of_smiles("CCO"), of_smiles("CC")]
    mols[1].SetDoubleProp("own", 0.5)
    made = {
        "seed": 7,
        "model": "molecule-qm9",
        "settings": {"steps": 50, "guidance": None},
        "card": "a\n\nb",
        "bad": "$$$$",
    }
    write_sdf(mols, tmp_path / "x.sdf", made, rows=[{"index": 0, "qed": np.float32(0.25)}, {"index": 1}])
    text = (tmp_path / "x.sdf").read_text()
    assert text.count("$$$$\n") == 2
    assert text.count("V2000") == 2
    one, two = read_records(tmp_path / "x.sdf")
    assert one.GetPropsAsDict(autoConvertStrings=False) == {
        "seed": "7", "model": "molecule-qm9", "settings": '{"steps": 50, "guidance": null}',
        "card": '"a\\n\\nb"', "bad": '"$$$$"', "index": "0", "qed": "0.25",
    }  # fmt: skip
    assert two.GetProp("own") == "0.5"
    with pytest.raises(ValueError, match="'a>b' cannot name a property"):
        write_sdf(mols, tmp_path / "y.sdf", {"a>b": 1})
    assert not (tmp_path / "y.sdf").exists()


def test_from_a_thousand_atoms_on_an_sdf_is_v3000(tmp_path: Path) -> None:
    assert "V2000" in sdf_record(row_of_carbons(999))
    large = row_of_carbons(1000)
    assert "V3000" in sdf_record(large)
    write_sdf([large], tmp_path / "x.sdf")
    assert read_one(tmp_path / "x.sdf").GetNumAtoms() == 1000


def test_positions_and_radicals_survive_the_file(tmp_path: Path) -> None:
    mol = of_smiles("C[CH]O", relax=False)
    write_sdf([mol], tmp_path / "x.sdf")
    back = read_one(tmp_path / "x.sdf")
    assert smiles(back) == smiles(mol) == "C[CH]O"
    assert abs(of_mol(back).positions - of_mol(mol).positions).max() < 1e-4


UNWRITABLE = {
    "a failure": (Failure("no graph"), "no graph"),
    "no conformer": (Chem.MolFromSmiles("C"), "no conformer"),
    "no atoms": (Chem.Mol(), "0 atoms"),
}


@pytest.mark.parametrize("name", UNWRITABLE)
@pytest.mark.parametrize("write", [write_sdf, write_xyz])
def test_what_cannot_be_written_is_an_error_or_is_told(tmp_path: Path, name: str, write) -> None:  # type: ignore[no-untyped-def]
    item, said = UNWRITABLE[name]
    path = tmp_path / ("x.sdf" if write is write_sdf else "x.xyz")
    with pytest.raises(ValueError, match=f"item 2 cannot be written: .*{said}"):
        write([of_smiles("C"), item], path)
    assert not path.exists()
    with pytest.warns(UserWarning, match="1 of 2 items were left out; the first: item 2"):
        lost = write([of_smiles("C"), item], path, errors="skip")
    assert [failure.reason[:6] for failure in lost] == ["item 2"]
    assert len(read_records(path)) == 1
    with pytest.raises(ValueError, match="none of the 1 items"), warnings.catch_warnings():
        warnings.simplefilter("error")
        write([item], path, errors="skip")
    assert len(read_records(path)) == 1, "the earlier file stays"


def test_arguments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    mol = of_smiles("C")
    with pytest.raises(ValueError, match="no molecules to write"):
        write_sdf([], tmp_path / "x.sdf")
    with pytest.raises(ValueError, match="rows has 2 entries for 1 molecules"):
        write_smiles([mol], tmp_path / "x.csv", rows=[{}, {}])
    with pytest.raises(ValueError, match="must not name the columns smiles"):
        write_smiles([mol], tmp_path / "x.csv", rows=[{"smiles": 1}])
    with pytest.raises(ValueError, match="did you mean 'skip'"):
        write_sdf([mol], tmp_path / "x.sdf", errors="skp")
    with pytest.raises(ValueError, match="4 of its hydrogens are not atoms"):
        write_xyz([to_mol(of_mol(mol).heavy())], tmp_path / "x.xyz")
    assert list(tmp_path.iterdir()) == []
