"""Ions that are made of neutral molecules."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from benchmarks.molecule_charge import CHARGES, Judged, charge_of, dealt, ion
from langevin.modalities.molecule.archives import read_archive, write_archive
from langevin.modalities.molecule.atoms import Atoms, of_mol, to_mol
from langevin.modalities.molecule.conformers import of_smiles
from langevin.modalities.molecule.data import open_data
from langevin.modalities.molecule.writing import write_sdf
from langevin.modalities.samples import Failure


def heavy(text: str) -> Atoms:
    return of_mol(of_smiles(text, 0)).heavy()


@pytest.mark.parametrize(
    ("text", "change", "wanted"),
    [
        ("CCN", 1, "CC[NH3+]"),
        ("CN(C)C1CC1", 1, "C[NH+](C)C1CC1"),
        ("NCC(N)=O", 1, "[NH3+]CC(N)=O"),
        ("CC(N)=O", 1, None),
        ("CC#N", 1, None),
        ("Nc1ccoc1", 1, None),
        ("C1=CNC=C1", 1, None),
        ("CC(=N)N", 1, None),
        ("CNO", 1, None),
        ("C[NH2+]CC[O-]", 1, None),
        ("OCC(=O)O", -1, "O=C([O-])CO"),
        ("OCc1cc(O)co1", -1, "[O-]c1coc(CO)c1"),
        ("ON=CCO", -1, "[O-]N=CCO"),
        ("CC(O)C", -1, "CC(C)[O-]"),
        ("COC", -1, None),
        ("NC=O", -1, None),
    ],
)
def test_protons_come_and_go_where_they_should(text: str, change: int, wanted: str | None) -> None:
    atoms = heavy(text)
    made = ion(atoms, change, np.random.default_rng(0))
    if wanted is None:
        assert made is None
        return
    assert made is not None
    mol = to_mol(made[0], explicit=False)
    assert Chem.MolToSmiles(mol, isomericSmiles=False) == Chem.CanonSmiles(wanted)
    assert charge_of(mol) == change
    np.testing.assert_array_equal(made[0].positions, atoms.positions)


def test_as_many_of_each_charge_survive_the_file(tmp_path) -> None:
    texts = ["CCN", "CCO", "CCC", "NCCO", "CC(N)C", "OC1CC1"] * 4
    write_archive([of_mol(of_smiles(text, 0)) for text in texts], tmp_path / "some.npz")
    archive = read_archive(tmp_path / "some.npz")
    atoms, charges, kinds = dealt(archive, 4, seed=0)
    assert sorted(charges) == [c for c in CHARGES for _ in range(4)]
    assert kinds == {"neutral": 4, "amine": 4, "alcohol": 4}
    write_sdf([to_mol(one, explicit=False) for one in atoms], tmp_path / "ions.sdf")
    data = open_data(tmp_path / "ions.sdf", hydrogens=False, descriptors=["charge", "formula"])
    assert data.values["charge"] == charges
    with pytest.raises(ValueError, match="too few molecules"):
        dealt(archive, 20, seed=0)


def test_what_could_not_be_decoded_has_no_charge_that_was_asked() -> None:
    mols = [to_mol(heavy(text), explicit=False) for text in ("CC[NH3+]", "CCO", "CCO")]
    judged = Judged.of([*mols, Failure("no graph")])
    assert judged.against([1, 0, 1, 0]).tolist() == [True, True, False, False]
    cells = judged.cells([1, 0, 1, 0])
    assert (cells["as asked"].value, cells["strict"].value, cells["unique of sound"]) == (0.5, 0.75, 2 / 3)
    assert judged.part(slice(1, 3)).cells([0, 0])["as asked"].value == 1
