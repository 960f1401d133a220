"""What a folder of saved designs holds: scores, marks of what was kept, files for ProteinMPNN, and targets as they were."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langevin.modalities.base import Failure, Samples
from langevin.modalities.protein import metrics
from langevin.modalities.protein.design import design
from langevin.modalities.protein.files import read_protein, write_pdb
from langevin.modalities.protein.metrics.plausible import measure
from langevin.modalities.protein.metrics.similarity import superposed
from langevin.modalities.protein.modality import make
from langevin.modalities.protein.protein import Protein, SideChains, join, of_structure, to_structure
from langevin.modalities.protein.records import SCORES, scored
from langevin.modalities.protein.secondary import secondary
from langevin.modalities.samples import Run
from tests.modalities.protein.backbones import HELIX, LOOP, protein
from tests.modalities.protein.test_protein_modality import model

HOW: dict[str, Any] = {"steps": 3, "progress": False}
MPNN = {"fixed_positions.jsonl", "assigned_chains.jsonl"}


@pytest.fixture(scope="module")
def net() -> Any:
    return model()


def target() -> Protein:
    """Chain T with a broken gap from 9 to 15 and the residues 8 and 8A, far from the origin, with some side chains."""
    item = protein(30)
    backbone = np.array(item.backbone) + np.float32([40.0, -60.0, 25.0])
    backbone[12:] += np.float32([30.0, 0, 0])
    owner = np.array([3, 12, 12], np.int32)
    return Protein(
        backbone,
        item.types,
        np.full(30, "T"),
        np.array([*range(-1, 9), 8, 9, *range(15, 33)], np.int32),
        np.array([*[""] * 10, "A", *[""] * 19]),
        SideChains(owner, ["CB", "CB", "CG"], backbone[owner, 1] + np.float32([[1.5, 0, 0], [1.5, 0, 0], [2.5, 1, 0]])),
    )  # fmt: skip


def folder_of(items: list[Any], path: Path) -> list[dict[str, str]]:
    """Saves hand-made designs; the rows of their scores."""
    Samples(items, make({}), Run("protein", 0)).save(path)
    return rows(path)


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def atoms(path: Path, chain: str) -> list[str]:
    """Its records: name, residue, chain, number and position, without serial numbers and marks."""
    return [
        row[12:54] for row in path.read_text().splitlines() if row.startswith("ATOM") and row[21] == chain
    ]


def marks(path: Path) -> list[float]:
    """The B-factor of each residue of a file, which all of its atoms have."""
    residues = read(path).get_residues()
    held = [{float(atom.bfactor) for atom in residue} for residue in residues]
    assert all(len(one) == 1 for one in held)
    return [one.pop() for one in held]


def read(path: Path) -> Any:
    return make({}).read(path)


def plain(path: Path, name: str) -> Any:
    (line,) = (path / name).read_text().splitlines()  # ProteinMPNN reads the last line only
    return json.loads(line)


class TestScores:
    def test_a_line_for_each_design_by_the_name_of_its_file(self, tmp_path: Path) -> None:
        helix = protein([HELIX] * 24 + [LOOP] * 3 + [HELIX] * 24)
        items = [to_structure(helix), Failure("the state holds NaN"), to_structure(join([helix, replace(
            helix, chains=np.full(51, "B"), backbone=helix.backbone + np.float32(60))]))]  # fmt: skip
        one, two = folder_of(items, tmp_path / "out")
        told = json.loads((tmp_path / "out" / "designs.json").read_text())
        assert [one["name"], two["name"]] == [entry["name"] for entry in told]
        assert all((tmp_path / "out" / f"{row['name']}.pdb").exists() for row in (one, two))
        assert list(one) == ["name", *SCORES]
        assert (one["length"], one["chains"], two["length"], two["chains"]) == ("51", "1", "102", "2")
        assert one["motif_rmsd"] == "" and not MPNN & {path.name for path in (tmp_path / "out").iterdir()}

    def test_figures_are_those_of_the_measures_rounded(self, tmp_path: Path) -> None:
        item = protein(60, seed=3)
        (row,) = folder_of([to_structure(item)], tmp_path / "out")
        found = measure(replace(item, backbone=np.round(item.backbone, 3)))
        expected = {
            "helix": round(found.structure.helix, 3),
            "strand": round(found.structure.strand, 3),
            "radius": round(found.radius, 2),
            "clashes": round(100 * found.clashes / 60, 2),
            "breaks": found.broken,
            "outside": round(found.outside / found.torsions, 3),
            "phi_positive": round(found.positive / found.phis, 3),
            "contacts": round(found.long_range, 3),
            "contact_order": round(found.contact_order, 3),
        }
        assert {name: float(row[name]) for name in expected} == expected and found.clashes > 0
        assert row["plausible"] == str(found.plausible) and row["reasons"] == "; ".join(found.reasons)

    def test_they_are_measured_of_what_the_file_holds(self, tmp_path: Path) -> None:
        (row,) = folder_of([to_structure(protein(60, seed=4))], tmp_path / "out")
        again = scored(read_protein(tmp_path / "out" / f"{row['name']}.pdb"))
        assert {name: "" if value is None else str(value) for name, value in again.items()} == {
            name: row[name] for name in SCORES
        }

    def test_an_ideal_helix(self, tmp_path: Path) -> None:
        (row,) = folder_of([to_structure(metrics.helix(30))], tmp_path / "out")
        assert float(row["helix"]) > 0.8 and row["strand"] == "0.0" and row["breaks"] == "0"
        assert (
            row["clashes"] == "0.0" and row["plausible"] == "False" and row["reasons"] == "radius of gyration"
        )

    def test_structure_that_was_asked_for_is_not_what_is_measured(self, net: Any) -> None:
        (item,) = design(net, "4/T15-24/4", target(), inpaint_str="T15-20", helix="T15-20", **HOW)
        made = of_structure(item)
        assert made.note["secondary"][4:10] == ["H"] * 6
        bare = secondary(replace(made, note={}))
        assert secondary(made) == bare and scored(made)["helix"] == round(bare.count("H") / 18, 3)

    def test_chains_of_a_single_residue(self) -> None:
        item = join([protein(5), replace(protein(1, seed=1), chains=np.array(["B"]))])
        assert scored(item)["length"] == 6

    def test_only_failures_write_nothing(self, tmp_path: Path) -> None:
        Samples([Failure("no")], make({}), Run("protein", 0)).save(tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["samples.json"]


class TestMarks:
    @pytest.mark.parametrize("suffix", [".pdb", ".cif"])
    def test_types_of_the_user_are_1_and_designed_ones_0(self, net: Any, tmp_path: Path, suffix: str) -> None:
        how = {"inpaint_seq": "T16", "inpaint_str": "T18-19"}
        design(net, "4/T15-22/5", target(), **how, **HOW).save(tmp_path / "out", suffix=suffix)
        (told,) = json.loads((tmp_path / "out" / "designs.json").read_text())
        assert told["kept"] == [4, 5, 6, 9, 10, 11] and told["kept_types"] == [4, 6, 7, 8, 9, 10, 11]
        expected = [float(k in told["kept_types"]) for k in range(17)]
        assert marks(tmp_path / "out" / (told["name"] + suffix)) == expected
        assert told["inpaint_seq"] == [bool(mark) for mark in expected]

    def test_designs_without_an_input_and_variations_are_0(self, net: Any, tmp_path: Path) -> None:
        for name, samples in {
            "free": net.sample(1, length=12, **HOW),
            "contig": design(net, "12", **HOW),
            "partial": design(net, str(len(target())), target(), partial=0.5, **HOW),
        }.items():
            samples.save(tmp_path / name)
            (path,) = (tmp_path / name).glob("*.pdb")
            assert set(marks(path)) == {0.0}
            assert {one.name for one in path.parent.iterdir()} >= MPNN or name == "free"


class TestDesigns:
    def test_a_target_stays_atom_by_atom(self, net: Any, tmp_path: Path) -> None:
        given = read_protein(write_pdb(target(), tmp_path / "target.pdb"))
        samples = design(net, "12/0 T-1-9/T15-32", given, n=2, hotspots="T8,T8A", **HOW)
        samples.save(tmp_path / "out")
        for row in rows(tmp_path / "out"):
            path = tmp_path / "out" / f"{row['name']}.pdb"
            assert atoms(path, "T") == atoms(tmp_path / "target.pdb", "T") and len(atoms(path, "T")) == 123
            made = read_protein(path)
            assert made.chain_ids == ["A", "T"] and made.numbers[:12].tolist() == list(range(1, 13))
            assert marks(path) == [0.0] * 12 + [1.0] * 30
            assert row["motif_rmsd"] == "0.0"
            assert plain(tmp_path / "out", "assigned_chains.jsonl")[row["name"]] == [["A"], ["T"]]
            assert plain(tmp_path / "out", "fixed_positions.jsonl")[row["name"]] == {"A": [], "T": []}

    def test_places_of_a_motif_count_the_gaps_of_its_numbers(self, net: Any, tmp_path: Path) -> None:
        design(net, "T7-9/T15-20/3", target(), inpaint_seq="T15", n=1, **HOW).save(tmp_path / "out")
        (row,) = rows(tmp_path / "out")
        made = read_protein(tmp_path / "out" / f"{row['name']}.pdb")
        assert made.listing() == "T7-8, T8A, T9, T15-23"
        # 7, 8, 8A and 9, places 5 to 9 for 10 to 14, then 15, whose type is designed, and 16 to 20
        assert plain(tmp_path / "out", "fixed_positions.jsonl") == {
            row["name"]: {"T": [1, 2, 3, 4, 11, 12, 13, 14, 15]}
        }
        assert plain(tmp_path / "out", "assigned_chains.jsonl") == {row["name"]: [["T"], []]}

    def test_chains_of_an_assembly_are_all_designed(self, net: Any, tmp_path: Path) -> None:
        design(net, "24", symmetry="C3", **HOW).save(tmp_path / "out")
        (name,) = (row["name"] for row in rows(tmp_path / "out"))
        assert plain(tmp_path / "out", "assigned_chains.jsonl") == {name: [["A", "B", "C"], []]}

    def test_how_far_a_motif_went_whose_places_were_open(self, net: Any) -> None:
        given = target()
        (item,) = design(net, "4/T15-22/5", given, inpaint_str="T18-19", **HOW)
        made, rows = of_structure(item), np.arange(4, 12)
        ours, theirs = (part[:, :3].reshape(-1, 3) for part in (made.backbone[rows], given.backbone[12:20]))
        moved = superposed(ours, theirs)[2]  # without oxygens
        assert made.note["motif_rmsd"] > 0.5
        assert made.note["motif_rmsd"] == pytest.approx(moved, abs=2e-3)
        (item,) = design(net, "4/T15-22/5", given, inpaint_seq="T15-22", **HOW)
        assert of_structure(item).note["motif_rmsd"] == 0.0
