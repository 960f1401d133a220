"""Molecules at the command line: draw until enough pass; measure anybody's files, alone and side by side."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem
from rdkit.Chem import AllChem
from rdkit.Geometry import Point3D

import langevin
from langevin import folders, hub
from langevin.cli.main import main
from langevin.core.passing import passing
from langevin.modalities.base import Failure, Run, Samples
from langevin.modalities.molecule.modality import MoleculeModality
from tests.cli import shell

SMILES = ("CCO", "c1ccoc1", "CC=O", "CCN", "C1CC1", "CC(=O)N")


def relaxed(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=0) == 0
    AllChem.MMFFOptimizeMolecule(mol, "MMFF94s", maxIters=2000)
    return mol


@pytest.fixture(scope="module")
def mols() -> list[Chem.Mol]:
    return [relaxed(smiles) for smiles in SMILES]


class Model:
    """Sample i is the molecule i % 6; each seventh cannot be decoded, and the coordinates of each fifth are off."""

    conditions = ()
    passing = passing

    def __init__(self, mols: list[Chem.Mol]) -> None:
        self.modality, self.mols, self.drawn = MoleculeModality(), mols, 0
        self.stop_at = -1

    def sample(self, n: int = 16, *, seed: int = 0, first: int = 0, **options: Any) -> Samples:
        if 0 <= self.stop_at <= first:
            raise KeyboardInterrupt
        self.drawn += n
        items: list[Any] = []
        for k in range(first, first + n):
            mol = Chem.Mol(self.mols[k % len(self.mols)])
            if k % 5 == 4:
                mol.GetConformer().SetAtomPosition(0, Point3D(3.0, 3.0, 3.0))
            items.append(Failure("five bonds, it says") if k % 7 == 6 else mol)
        run = Run("toy-molecules", "molecule", seed=seed, sampler="angle", steps=3, network_rows=n)
        return Samples(items, self.modality, run, indices=range(first, first + n))


@pytest.fixture
def model(mols: list[Chem.Mol], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    import torch

    folders.write_model(
        tmp_path / "weights" / "toy-molecules",
        {"modality": {"name": "molecule"}},
        {"w": torch.zeros(9)},
        "card",
    )
    fake = Model(mols)
    monkeypatch.setattr(hub, "SHIPPED", tmp_path / "weights")
    monkeypatch.setattr(langevin, "load", lambda name, device=None: fake, raising=False)
    monkeypatch.chdir(tmp_path)
    return fake


class TestFilter:
    def test_draws_until_enough_pass(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        argv = [
            "sample",
            "toy-molecules",
            "-n",
            "4",
            "--filter",
            "sound and strain < 20",
            "--must",
            "[#6]~[#8]",
        ]
        assert main([*argv, "--must-not", "[#7]", "--out", "o"]) == 0
        out, err = capsys.readouterr()
        manifest = json.loads(Path("o/samples.json").read_text())
        numbers = [0, 1, 2, 7]  # 3 and 4 lack an oxygen, 5 has a nitrogen, 6 fails
        assert [entry["index"] for entry in manifest["samples"]] == numbers
        names = [*(f"{k:04d}_seed0.sdf" for k in numbers), "molecules.sdf", "scores.csv"]
        assert out.splitlines() == [f"o/{name}" for name in names]
        about = manifest["options"]["passing"]
        assert about["filter"] == "sound and strain < 20" and about["must"] == ["[#6]~[#8]"]
        assert about["must_not"] == ["[#7]"] and (about["drawn"], about["passed"]) == (8, 4)
        assert about["failures"] == [{"index": 6, "failure": "five bonds, it says"}]
        assert "4 of 8 drawn passed (50.0%, 95 % interval 21.5% to 78.5%); 1 could not be decoded" in err
        rows = list(csv.DictReader(io.StringIO(Path("o/scores.csv").read_text())))
        assert [row["sound"] for row in rows] == ["True"] * 4 and float(rows[0]["strain"]) < 20

    def test_the_same_again_is_taken_and_another_is_not(
        self, model: Model, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = ["sample", "toy-molecules", "-n", "2", "--must", "O", "--out", "o"]
        assert main(argv) == 0 and main(argv) == 0
        for other in (["--must", "N"], ["--must", "O", "--must", "C"], ["--filter", "valid"], []):
            assert main(["sample", "toy-molecules", "-n", "2", *other, "--out", "o"]) == 2
        assert "o holds 2 samples of toy-molecules" in capsys.readouterr().err

    def test_json_says_the_yield(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["sample", "toy-molecules", "-n", "2", "--filter", "N == 1", "--out", "o", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["passing"]
        assert told["drawn"] == 6 and told["yield"]["value"] == pytest.approx(1 / 3)
        assert 0 < told["yield"]["low"] < told["yield"]["value"] < told["yield"]["high"] < 1

    def test_the_limit_of_draws(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        argv = ["sample", "toy-molecules", "-n", "3", "--filter", "N == 1", "--draws", "5", "--out", "o"]
        assert main(argv) == 1
        out, err = capsys.readouterr()
        assert out.splitlines()[0] == "o/0003_seed0.sdf" and "--draws raises the limit of 5" in err
        assert "1 of 5 drawn passed" in err and model.drawn == 5

    def test_ctrl_c_keeps_what_has_passed(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        model.stop_at = 8
        argv = ["sample", "toy-molecules", "-n", "99", "--must", "O", "--batch-size", "8", "--out", "o"]
        assert main(argv) == 130
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == 5 and Path("o/molecules.sdf").is_file() and "interrupted" in err
        assert (
            json.loads(Path("o/samples.json").read_text())["options"]["passing"]["stopped"] == "interrupted"
        )
        model.stop_at = 0
        assert main([*argv[:-1], "p"]) == 130 and not Path("p").exists()

    def test_more_scores(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        argv = [
            "sample",
            "toy-molecules",
            "-n",
            "2",
            "--measure",
            "strain",
            "--measure",
            "rings",
            "--out",
            "o",
        ]
        assert main(argv) == 0
        rows = list(csv.DictReader(io.StringIO(Path("o/scores.csv").read_text())))
        assert all(float(row["strain"]) < 1 for row in rows) and [row["rings"] for row in rows] == ["0", "1"]

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (["--filter", "sond"], "unknown measure 'sond'; did you mean 'sound'?"),
            (["--filter", "__import__('os')"], "it is made of names of measures, numbers"),
            (["--filter", "strain"], "is a number; compare it with another"),
            (["--filter", "x" * 2000], "has 2000 letters; at most 1000 are taken"),
            (["--must", "C1CC("], "'C1CC(' is not a SMARTS"),
            (["--must", "C", "--must-not", "[["], "'[[' is not a SMARTS"),
            (["--measure", "strian"], "--measure: unknown measure 'strian'; did you mean 'strain'?"),
            (["--draws", "9"], "say with --filter what passes"),
            (["--filter", "valid", "--draws", "0"], "expected a whole number from 1, got '0'"),
            (["--filter", "valid", "--filter", "sound"], "--filter is given twice"),
        ],
    )
    def test_mistakes(
        self, model: Model, capsys: pytest.CaptureFixture[str], argv: list[str], says: str
    ) -> None:
        assert main(["sample", "toy-molecules", *argv]) == 2
        assert says in capsys.readouterr().err and model.drawn == 0

    def test_help_lists_the_measures(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["sample", "toy-molecules", "--help"]) == 0
        out = capsys.readouterr().out
        assert "--must-not SMARTS" in out and "strain" in out and "--draws" in out


def test_models_without_measures_refuse_filters_before_anything_heavy() -> None:
    cases = [["--filter", "sound"], ["--must", "C"], ["--draws", "3"], ["--measure", "qed"]]
    for argv, result in zip(cases, shell([["sample", "image-digits", *argv] for argv in cases])):
        assert result["code"] == 2 and result["heavy"] == []
        assert f"samples of image have no measures, so image-digits takes no {argv[0]}" in result["err"]


def write(path: Path, mols: list[Chem.Mol]) -> Path:
    with Chem.SDWriter(str(path)) as writer:
        for mol in mols:
            writer.write(mol)
    return path


def measured(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Samples' cells by measure, and the whole object."""
    capsys.readouterr()
    assert main(["evaluate", *argv, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    return {row["measure"]: row.get("samples") for row in told["rows"]}, told


class TestEvaluate:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_an_sdf_of_anybody(self, mols: list[Chem.Mol], capsys: pytest.CaptureFixture[str]) -> None:
        write(Path("a.sdf"), mols)
        assert main(["evaluate", "a.sdf"]) == 0
        text = capsys.readouterr().out
        assert (
            "sound  " in text
            and "hydrogens are atoms" in text
            and "strain of all 6" in " ".join(text.split())
        )
        assert main(["evaluate", "a.sdf", "--csv"]) == 0
        rows = {row["measure"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
        assert float(rows["sound"]["samples"]) == 1 and float(rows["sound"]["samples_low"]) < 0.7
        Path("a.sdf.gz").write_bytes(gzip.compress(Path("a.sdf").read_bytes()))
        assert measured(capsys, "a.sdf.gz")[0] == measured(capsys, "a.sdf")[0]

    def test_hydrogens_are_found_out_from_the_file(
        self, mols: list[Chem.Mol], capsys: pytest.CaptureFixture[str]
    ) -> None:
        heavy = [Chem.RemoveHs(mol) for mol in mols]
        write(Path("heavy.sdf"), heavy)
        cells, told = measured(capsys, "heavy.sdf")
        assert cells["sound"]["value"] == 1 and "EDM validity" not in cells
        assert "hydrogens are no atoms;" in told["caption"]
        write(Path("most.sdf"), [*heavy[:4], *mols[4:]])
        cells, told = measured(capsys, "most.sdf")
        assert cells["strict"]["value"] == 1
        assert "hydrogens are no atoms (they are in 2 molecules, and in 4 they are not)" in told["caption"]
        write(Path("few.sdf"), [*mols[:4], *heavy[4:]])
        cells, told = measured(capsys, "few.sdf")
        assert cells["not strict: hidden hydrogen"]["value"] == pytest.approx(1 / 3)
        assert "hydrogens are atoms (they are in 4 molecules, and in 2 they are not)" in told["caption"]
        cells, _ = measured(capsys, "few.sdf", "--no-hydrogens")
        assert cells["strict"]["value"] == 1 and "EDM validity" not in cells

    def test_corrupt_records_count_and_are_named(
        self, mols: list[Chem.Mol], capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(Path("a.sdf"), mols)
        records = Path("a.sdf").read_text().split("$$$$\n")
        records[2] = "rubbish\n\n\nrubbish\n"
        Path("a.sdf").write_text("$$$$\n".join(records))
        cells, told = measured(capsys, "a.sdf")
        assert cells["decoded"]["value"] == pytest.approx(5 / 6) and cells["sound"]["n"] == 6
        assert "6 samples, of which 1 could not be decoded" in told["caption"]
        assert len(told["failures"]) == 1 and "a.sdf: record 3 (rubbish)" in told["failures"][0]["reason"]
        Path("b.sdf").write_text("rubbish\n\n\nrubbish\n$$$$\n" * 14)
        assert main(["evaluate", "b.sdf"]) == 0
        err = capsys.readouterr().err
        assert "b.sdf: record 10" in err and "record 11" not in err and "b.sdf: and 4 more" in err

    @pytest.mark.parametrize("kind", ["smiles", "drawn", "bare"])
    def test_without_coordinates_only_graphs_are_measured(
        self, mols: list[Chem.Mol], capsys: pytest.CaptureFixture[str], kind: str
    ) -> None:
        graphs = [Chem.RemoveHs(mol) for mol in mols]
        for graph in graphs:
            graph.RemoveAllConformers()
            if kind == "drawn":
                AllChem.Compute2DCoords(graph)
        name = "a.smi" if kind == "smiles" else "a.sdf"
        if kind == "smiles":
            Path(name).write_text("".join(f"{smiles} name\n" for smiles in SMILES) + "C1CC( broken\n")
        else:
            write(Path(name), graphs)
        cells, told = measured(capsys, name)
        assert cells["strict"]["value"] == pytest.approx(6 / 7 if kind == "smiles" else 1)
        assert "there are no coordinates in the samples, so soundness, PoseBusters" in told["caption"]
        assert cells["QED, mean"]["value"] > 0 and cells["unique of strict"]["value"] == 1
        assert not {"sound", "PoseBusters mol_fast", "strain, median (kcal/mol)", "EDM validity"} & set(cells)
        write(Path("both.sdf"), [*mols, *graphs[:2]])
        if kind == "drawn":
            cells, _ = measured(capsys, "both.sdf")
            assert cells["not strict: no coordinates"]["value"] == 0.25 and cells["sound"]["value"] == 0.75

    def test_two_files_side_by_side(self, mols: list[Chem.Mol], capsys: pytest.CaptureFixture[str]) -> None:
        write(Path("a.sdf"), [*mols, *mols])
        write(Path("b.sdf"), mols)
        _, told = measured(capsys, "b.sdf", "a.sdf")
        rows = {row["measure"]: row for row in told["rows"]}
        assert (
            rows["unique of sound"]["samples"]["value"] == 1 > rows["unique of sound"]["reference"]["value"]
        )
        assert rows["sound"]["samples"]["low"] < 1 == rows["sound"]["reference"]["value"]
        assert rows["lengths: Jensen–Shannon distance"]["reference"] < 0.9
        assert told["caption"].startswith("samples: b.sdf; reference: a.sdf. 6 samples")
        write(Path("heavy.sdf"), [Chem.RemoveHs(mol) for mol in mols])
        _, told = measured(capsys, "a.sdf", "heavy.sdf")
        rows = {row["measure"]: row for row in told["rows"]}
        assert rows["strict"]["samples"]["value"] == rows["strict"]["reference"]["value"] == 1
        assert "hydrogens are no atoms of the reference, so distances leave them out" in told["caption"]
        Path("c.smi").write_text("".join(f"{smiles}\n" for smiles in SMILES))
        _, told = measured(capsys, "a.sdf", "c.smi")
        rows = {row["measure"]: row for row in told["rows"]}
        assert rows["sound"]["reference"] is None and rows["strict"]["reference"]["value"] == 1
        assert "no coordinates in the reference" in told["caption"]
        assert "lengths: Jensen–Shannon distance" not in rows and "elements: Jensen–Shannon distance" in rows

    def test_how_much_is_looked_at(self, mols: list[Chem.Mol], capsys: pytest.CaptureFixture[str]) -> None:
        write(Path("a.sdf"), mols)
        cells, told = measured(capsys, "a.sdf", "--subsample", "2", "--full")
        assert cells["sound"]["n"] == cells["PoseBusters mol, with the energy ratio"]["n"] == 2
        assert "(mol) and strain of 2 taken at random (seed 0)" in told["caption"]
        assert cells["strict"]["n"] == 6

    def test_folders(self, mols: list[Chem.Mol], capsys: pytest.CaptureFixture[str]) -> None:
        Path("d/e").mkdir(parents=True)
        write(Path("d/a.sdf"), mols[:2])
        write(Path("d/e/b.SDF"), mols[2:])
        Path("d/notes.txt").write_text("x")
        assert measured(capsys, "d")[0]["sound"]["n"] == 6
        Samples([*mols, Failure("no")], MoleculeModality(), Run(modality="molecule")).save("o")
        cells, told = measured(capsys, "o")
        assert cells["sound"]["n"] == 7 and told["failures"] == [{"of": "o", "reason": "no"}]

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (["nothing.sdf"], "there is no file 'nothing.sdf'"),
            (["empty.sdf"], "empty.sdf holds nothing that molecule reads"),
            (["x.unknown"], "x.unknown may be anything; add --modality NAME"),
            (["a.sdf", "--ful"], "unknown flag '--ful'; did you mean '--full'?"),
            (["a.sdf", "nothing"], "there is no folder 'nothing'"),
            ([], "what shall be measured?"),
        ],
    )
    def test_mistakes(
        self, mols: list[Chem.Mol], capsys: pytest.CaptureFixture[str], argv: list[str], says: str
    ) -> None:
        write(Path("a.sdf"), mols[:1])
        Path("empty.sdf").write_text("")
        Path("x.unknown").write_text("x")
        assert main(["evaluate", *argv]) == 2
        assert says in capsys.readouterr().err

    def test_help_has_the_modalitys_flags(
        self, mols: list[Chem.Mol], capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(Path("a.sdf"), mols[:1])
        assert main(["evaluate", "a.sdf", "--help"]) == 0
        assert "--subsample" in capsys.readouterr().out
        assert main(["evaluate", "--modality", "image", "--help"]) == 0
        assert "--subsample" not in capsys.readouterr().out
