"""Ligands for a pocket of one's own: in the file's frame, around what is kept, and asked for in three ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

import langevin as lv
from langevin.assembly import build_model
from langevin.cli.main import main
from langevin.core.model import Model
from langevin.modalities.molecule.atoms import to_mol
from langevin.modalities.molecule.binding import Placed
from langevin.modalities.molecule.binding_data import PocketDataset, defaults
from langevin.modalities.molecule.complexes import Complex
from langevin.modalities.molecule.design import design
from langevin.modalities.molecule.pockets import Pocket, read_pocket
from tests.modalities.molecule.pocket_files import ala, ring, write
from tests.modalities.molecule.test_binding import SMALL, ligand

CENTRE = (40.0, -25.0, 10.0)  # far from the origin: what comes back there has been moved back


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    x, y, z = CENTRE
    names = ("ALA", "LYS", "ASP", "PHE", "GLY", "SER")
    lines = [line for k, name in enumerate(names) for line in ala(k, 3.8 * k - 9 + x, y - 4.5, residue=name)]
    lines += ring(x=x, y=y)
    held = [line[:46] + f"{float(line[46:54]) + z:8.3f}" + line[54:] for line in lines]
    return write(tmp_path_factory.mktemp("design"), held)


@pytest.fixture(scope="module")
def pocket(file: Path) -> Pocket:
    return read_pocket(file, "A:LIG:401")


@pytest.fixture(scope="module")
def model(pocket: Pocket) -> Model:
    """Untrained; of few atoms something can be decoded."""
    data = PocketDataset([Complex("a", "a", pocket, ligand(9), 0, "train")], views=1)
    return build_model(defaults(data, {"network": SMALL, "modality": {"pocket_atoms": 16, "unit": 3.0}}))


def placed(model: Model, samples: Any, pocket: Pocket) -> list[np.ndarray]:
    """Coordinates of every drawn ligand, decodable or not, in the frame of the file."""
    modality: Any = model.modality
    origin = modality.origin(Placed(pocket, ligand()))
    return [atoms.positions + origin for atoms in modality.atoms(samples.state, samples.mask)]


def test_ligands_lie_in_the_frame_of_the_file_and_the_pocket_stays(model: Model, pocket: Pocket) -> None:
    samples = design(model, pocket, 4, 3, seed=3, steps=4)
    modality: Any = model.modality
    own = modality.of_pocket(samples.state)
    assert own.sum(1).tolist() == [16] * 4 and samples.mask.sum(1).tolist() == [19] * 4
    like, _ = modality.encode([Placed(pocket, ligand(3))])
    for name in ("positions", "elements", "charges"):
        assert np.allclose(samples.state[name][:, :16], like[name][:, :16])
    assert not samples.state["bonds"][:, :16, 16:].any()
    assert np.array_equal(samples.state["bonds"][0, :16, :16], like["bonds"][0, :16, :16])
    for mol, positions in zip(samples, placed(model, samples, pocket)):
        assert np.linalg.norm(positions.mean(0) - CENTRE) < 15
        if not isinstance(mol, lv.Failure):
            assert np.allclose(mol.GetConformer().GetPositions(), positions, atol=1e-3)
            assert not any(atom.HasProp("kept") for atom in mol.GetAtoms())
    assert samples.run.options["pocket"]["atoms"] == len(pocket)


def test_samples_do_not_depend_on_how_many_there_are(model: Model, pocket: Pocket) -> None:
    many, one = (design(model, pocket, n, (2, 5), seed=1, steps=3) for n in (3, 1))
    first, second = (placed(model, s, pocket)[0] for s in (many, one))
    assert len(first) == len(second) and np.allclose(first, second, atol=1e-4)


def test_a_fragment_keeps_its_very_coordinates(model: Model, pocket: Pocket) -> None:
    piece = Chem.MolFromSmiles("C[*:1]")
    piece.AddConformer(Chem.Conformer(2))
    there = np.array([CENTRE, np.array(CENTRE) + [0, 0, 1.5]])
    piece.GetConformer().SetPositions(there)
    piece.GetConformer().Set3D(True)
    samples = design(model, pocket, 6, (2, 3), fragment=piece, seed=0, steps=3)
    for mol, positions in zip(samples, placed(model, samples, pocket)):
        assert np.allclose(positions[0], CENTRE, atol=1e-4) and len(positions) in (2, 3)
        if not isinstance(mol, lv.Failure):
            assert np.array_equal(mol.GetConformer().GetPositions()[0], np.float32(CENTRE))
            assert mol.GetAtomWithIdx(0).HasProp("kept") and not mol.GetAtomWithIdx(1).HasProp("kept")
    elements = samples.state["elements"][:, 16]
    assert (elements == model.modality.elements.index("C")).all()
    ends = to_mol(ligand(9))  # none of its atoms but two may have new bonds
    ends.GetConformer().SetPositions(ligand(9).positions + np.array(CENTRE) - [0, 4.5, 0])
    closed = design(model, pocket, 4, 12, fragment=ends, at=[0, 7], seed=0, steps=3)
    bonds = closed.state["bonds"][:, 16:, 16:]
    for k in range(9):
        assert k in (0, 7) or not bonds[:, k, 9:].any()
    assert bonds[0, :9, :9].sum() == 2 * sum(b[2] for b in ligand(9).bonds.tolist())


def test_a_file_can_be_asked_for_in_three_ways(model: Model, file: Path, tmp_path: Path, capsys: Any) -> None:
    by_name = model.sample(2, pocket=str(file), ligand="A:LIG:401", atoms=2, seed=5, steps=2)
    assert "a pocket of 25 atoms" in capsys.readouterr().err
    by_verb = design(model, file, 2, 2, ligand="A:LIG:401", seed=5, steps=2)
    assert np.allclose(by_name.state["positions"], by_verb.state["positions"])
    assert by_name.run.spec == {"pocket": str(file), "ligand": "A:LIG:401", "atoms": 2}
    assert "keep" not in by_name.run.options and "like" not in by_name.run.options
    point = model.sample(1, pocket=str(file), centre=CENTRE, radius=7.0, steps=2)
    assert any("A:LIG:401" in note for note in point.run.options["pocket"]["notes"])
    reference = Chem.SDWriter(str(tmp_path / "ref.sdf"))
    mol = to_mol(ligand(9))
    mol.GetConformer().SetPositions(ligand(9).positions + np.array(CENTRE) - [0, 4.5, 0])
    reference.write(mol)
    reference.close()
    assert len(model.sample(1, pocket=str(file), ligand=str(tmp_path / "ref.sdf"), steps=2)) == 1


def test_the_command_line_draws_for_a_pocket(model: Model, file: Path, tmp_path: Path, capsys: Any) -> None:
    model.save(tmp_path / "m")
    asked = ["--pocket", str(file), "--ligand", "A:LIG:401", "--atoms", "1", "--out", str(tmp_path / "out")]
    assert main(["sample", str(tmp_path / "m"), "-n", "8", "--steps", "2", *asked]) == 0
    capsys.readouterr()
    told = json.loads((tmp_path / "out" / "samples.json").read_text())
    assert told["spec"] == {"pocket": str(file), "ligand": "A:LIG:401", "atoms": 1}
    assert told["options"]["pocket"]["source"] == "a.pdb"
    paths = sorted((tmp_path / "out").glob("*.sdf"))
    assert paths, "an atom by itself can always be decoded"
    positions = Chem.MolFromMolFile(str(paths[0])).GetConformer().GetPositions()
    assert np.linalg.norm(positions[0] - CENTRE) < 15


def test_what_cannot_be_drawn_is_said(model: Model, pocket: Pocket, file: Path, tmp_path: Path) -> None:
    far = to_mol(ligand(3))  # near the origin
    one = Chem.MolFromSmiles("[*:1]")
    one.AddConformer(Chem.Conformer(1))
    one.GetConformer().Set3D(True)
    cases: list[tuple[Any, str]] = [
        (lambda: model.sample(2), "give pocket, a PDB or mmCIF file"),
        (lambda: model.sample(2, ligand="A:LIG:401"), "give pocket"),
        (lambda: model.sample(2, pocket=str(file)), "give either ligand"),
        (lambda: model.sample(2, pocket=str(file), ligand="A:LIX:401"), "A:LIX:401"),
        (lambda: model.sample(2, pocket=str(file), centre=(0.0, 0.0, 900.0)), "the nearest atom is"),
        (lambda: design(model, pocket, 2, 65), "at most 64"),
        (lambda: design(model, pocket, 2, (5, 4)), "a range that rises"),
        (lambda: design(model, pocket, 2, at=[0]), "give fragment as well"),
        (lambda: design(model, pocket, 2, fragment=far), "from the nearest atom of the pocket"),
        (lambda: design(model, pocket, 2, fragment=one), "no heavy atoms"),
        (lambda: design(model, pocket, 2, fragment=far, at=[7]), "at: 7 is no heavy atom"),
        (lambda: design(model, pocket, 2, centre=CENTRE), "has been cut already"),
        (lambda: model.sample(2, start=Placed(pocket, ligand(3))), "not drawn from a start"),
        (
            lambda: model.sample(1, like=Placed(pocket, ligand(3)), keep=lv.keep.leaves("bonds")),
            "atoms are kept",
        ),
    ]
    for ask, message in cases:
        with pytest.raises(ValueError, match=message):
            ask()
    with pytest.raises(FileNotFoundError):
        model.sample(2, pocket=str(tmp_path / "none.pdb"), centre=CENTRE)


def test_a_model_of_molecules_sees_no_pockets(pocket: Pocket) -> None:
    other = build_model({"modality": {"name": "molecule"}, "network": SMALL})
    with pytest.raises(ValueError, match="sees no pockets; train one"):
        design(other, pocket)
