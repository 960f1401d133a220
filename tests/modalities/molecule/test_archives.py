from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from langevin.modalities.molecule.archives import NEEDED, read_archive, write_archive
from langevin.modalities.molecule.atoms import Atoms, of_mol, smiles
from langevin.modalities.molecule.conformers import of_smiles
from langevin.modalities.molecule.files import read_records


@pytest.fixture(scope="module")
def molecules() -> list[Atoms]:
    return [of_mol(of_smiles(text)) for text in ("CCO", "C", "C[N+](C)(C)CC(=O)[O-]", "[Ar]")]


def test_molecules_come_back_centred(tmp_path: Path, molecules: list[Atoms]) -> None:
    write_archive(molecules, tmp_path / "x.npz", split=[0, 1, 0, 2])
    archive = read_archive(tmp_path / "x.npz")
    assert len(archive) == 4
    for one, other in zip(molecules, archive):
        assert (one.numbers == other.numbers).all() and (one.charges == other.charges).all()
        assert (one.bonds == other.bonds).all() and other.bonds.dtype == np.int16
        assert abs(one.positions - one.positions.mean(0) - other.positions).max() < 3e-4
    assert [len(a) for a in read_archive(tmp_path / "x.npz", "train")] == [9, 19]
    assert [smiles(m) for m in read_records(tmp_path / "x.npz")] == [
        "CCO",
        "C",
        "C[N+](C)(C)CC(=O)[O-]",
        "[Ar]",
    ]
    with pytest.raises(ValueError, match="unknown split 'valid'; did you mean 'validation'"):
        read_archive(tmp_path / "x.npz", "valid")


def test_records_of_an_archive_are_judged_one_by_one(tmp_path: Path, molecules: list[Atoms]) -> None:
    methane = molecules[1]
    wrong = Atoms(methane.numbers, methane.positions, methane.charges, methane.bonds + np.int16([0, 0, 1]))
    write_archive([methane, wrong, molecules[0]], tmp_path / "x.npz")
    records = read_records(tmp_path / "x.npz", elements=["C", "H"])
    assert [failure.reason[:48] for failure in records.failures] == [
        "molecule 2: cannot be sanitised: Explicit valenc",
        "molecule 3: atom 2 is of the unsupported element",
    ]


DAMAGE = {
    "lacks the arrays bonds": lambda a: a.pop("bonds"),
    "positions has the shape": lambda a: a.update(positions=a["positions"][:-1]),
    "offsets must rise from 0 to 9": lambda a: a.update(offsets=np.array([0, 12])),
    "bond_offsets must rise": lambda a: a.update(bond_offsets=np.array([0, 5, 4, 8])),
    "different numbers of molecules": lambda a: a.update(bond_offsets=np.array([0, 3, 8])),
    "molecule 1 has 0 atoms": lambda a: a.update(
        offsets=np.array([0, 9, 9]), bond_offsets=np.array([0, 8, 8])
    ),
    r"bond 7 is \[1, 1, 1\]": lambda a: a["bonds"].__setitem__(7, (1, 1, 1)),
    r"bond 0 is \[0, 9, 1\]": lambda a: a["bonds"].__setitem__(0, (0, 9, 1)),
    r"bond 0 is \[0, 1, 4\]": lambda a: a["bonds"].__setitem__(0, (0, 1, 4)),
    "position of atom 3 is not a number": lambda a: a.update(
        positions=np.where(np.arange(9)[:, None] == 3, np.nan, a["positions"])
    ),
    "smiles has 2 lines for 1 molecules": lambda a: a.update(smiles=np.frombuffer(b"C\nC", np.uint8)),
    "split has the shape": lambda a: a.update(split=np.zeros(3, np.uint8)),
    "allow_pickle": lambda a: a.update(numbers=np.array([object()])),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_a_damaged_archive_is_refused_with_its_reason(
    tmp_path: Path, molecules: list[Atoms], said: str
) -> None:
    write_archive(molecules[:1], tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as held:
        arrays = {name: held[name].copy() for name in held.files}
    DAMAGE[said](arrays)
    np.savez(tmp_path / "y.npz", **arrays)
    with pytest.raises(ValueError, match=f"y.npz: .*{said}"):
        read_archive(tmp_path / "y.npz", "train" if "split" in said else None)


def test_files_that_are_no_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes(b"PK not really")
    with pytest.raises(ValueError, match="x.npz: "):
        read_archive(tmp_path / "x.npz")
    with pytest.raises(ValueError, match="no molecules"):
        write_archive([], tmp_path / "y.npz")
    assert "positions" in NEEDED


def test_a_molecule_that_the_integers_cannot_hold_is_refused(tmp_path: Path) -> None:
    wide = Atoms(
        np.uint8([2, 2]),
        np.float32([[0, 0, 0], [40, 0, 0]]),
        np.zeros(2, np.int8),
        np.zeros((0, 3), np.int16),
    )
    with pytest.raises(ValueError, match="molecule 0 reaches further than 16.4 Å"):
        write_archive([wide], tmp_path / "x.npz")
