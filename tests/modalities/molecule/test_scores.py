"""What a folder of sampled molecules holds: one SDF with how they were made, one table of scores, failures with reasons."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageChops
from rdkit import Chem

import langevin as lv
from langevin.modalities.base import Run, Samples
from langevin.modalities.molecule.filters import SCORES
from langevin.modalities.molecule.modality import MoleculeModality
from langevin.modalities.molecule.scores import provenance

RUN = Run(
    model="models/molecule-toy",
    modality="molecule",
    sampler="angle",
    steps=7,
    seed=5,
    evaluations=7,
    guidance=1.0,
    options={"temperature": {"bonds": 0.3}},
    licence="CC0-1.0",
)


def made(items: list[Any], run: Run = RUN, **more: Any) -> Samples:
    return Samples(items, MoleculeModality(), run, indices=range(10, 10 + len(items)), **more)


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "scores.csv").read_text(encoding="utf-8"))))


def test_one_sdf_says_how_each_molecule_was_made(mols: list[Chem.Mol], tmp_path: Path) -> None:
    conditions = [{"gap": 0.5 * k} for k in range(4)]
    samples = made([*mols[:3], lv.Failure("no, <such>\nthing")], conditions=conditions)
    paths = samples.save(tmp_path)
    singles = ["0010_seed5_gap-0.0.sdf", "0011_seed5_gap-0.5.sdf", "0012_seed5_gap-1.0.sdf"]
    assert [path.name for path in paths] == [*singles, "molecules.sdf", "scores.csv"]
    records = [*Chem.SDMolSupplier(str(tmp_path / "molecules.sdf"), removeHs=False)]
    assert [Chem.MolToSmiles(mol) for mol in records] == [Chem.MolToSmiles(mol) for mol in mols[:3]]
    for k, mol in enumerate(records):
        held = mol.GetPropsAsDict()
        assert held == {
            "model": "models/molecule-toy",
            "seed": 5,
            "sample": 10 + k,
            "sampler": "angle",
            "steps": 7,
            "evaluations": 7,
            "guidance": 1.0,
            "temperature": '{"bonds": 0.3}',
            "langevin": lv.__version__,
            "licence": "CC0-1.0",
            "gap": 0.5 * k,
        }
        assert mol.GetProp("_Name") == f"molecule-toy-5-{10 + k}"
    assert not mols[0].HasProp("_Name"), "the caller's molecules stay as they are"
    assert json.loads((tmp_path / "samples.json").read_text())["files"] == ["molecules.sdf", "scores.csv"]


def test_every_sample_has_a_line_of_scores(mols: list[Chem.Mol], tmp_path: Path) -> None:
    pieces = Chem.CombineMols(mols[0], mols[4])
    samples = made([mols[2], lv.Failure("cannot be sanitised, it says"), pieces])
    samples.save(tmp_path)
    good, bad, odd = table(tmp_path)
    assert set(SCORES) <= set(good) and "strain" not in good
    assert good["smiles"] == Chem.MolToSmiles(Chem.RemoveHs(mols[2])) and good["sample"] == "10"
    assert good["strict"] == "True" and float(good["logp"]) == samples.measured("logp").scores[0]["logp"]
    assert bad["failure"] == "cannot be sanitised, it says" and bad["sample"] == "11" and bad["qed"] == ""
    assert odd["reasons"] == "in pieces" and odd["strict"] == "False" and odd["failure"] == ""


def test_what_was_measured_on_the_way_is_written_and_not_measured_again(
    mols: list[Chem.Mol], tmp_path: Path
) -> None:
    samples = made(mols[:2], scores=[{"strain": 3.5, "qed": 0.25, "sound": True}, {}]).measured("rings", "C")
    samples.save(tmp_path)
    first, second = table(tmp_path)
    assert first["strain"] == "3.5" and first["qed"] == "0.25" and first["sound"] == "True"
    assert second["strain"] == "" and second["C"] == "2" and "rings" in samples.scores[0]


def test_failures_alone_have_no_sdf(tmp_path: Path) -> None:
    paths = made([lv.Failure("a"), lv.Failure("b")]).save(tmp_path)
    assert [path.name for path in paths] == ["scores.csv"]
    assert [row["failure"] for row in table(tmp_path)] == ["a", "b"]
    assert [p.name for p in made([]).save(tmp_path / "none")] == []


def test_a_folder_is_written_again_and_cleaned_when_overwritten(mols: list[Chem.Mol], tmp_path: Path) -> None:
    samples = made(mols[:2])
    assert samples.save(tmp_path) == samples.save(tmp_path)
    made([lv.Failure("a")]).save(tmp_path, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["samples.json", "scores.csv"]
    (tmp_path / "molecules.sdf").write_text("mine")
    with pytest.raises(FileExistsError, match=r"molecules\.sdf is there already"):
        samples.save(tmp_path, overwrite=True)
    assert (tmp_path / "molecules.sdf").read_text() == "mine"


def test_what_was_not_said_is_no_property() -> None:
    assert set(provenance(made([], Run(modality="molecule", seed=1)))) == {"seed", "langevin"}


def test_a_sheet_shows_why_a_sample_failed(mols: list[Chem.Mol]) -> None:
    sheet = MoleculeModality().sheet([mols[1], lv.Failure("an oxygen of three bonds")])
    other = MoleculeModality().sheet([mols[1], lv.Failure("something else")])
    blank = MoleculeModality().sheet([mols[1]])
    assert sheet.width == 2 * blank.width - 2 and sheet.height == blank.height
    assert ImageChops.difference(sheet, other).getbbox()[0] >= blank.width - 2


def test_a_notebook_gets_the_viewer_once(mols: list[Chem.Mol]) -> None:
    html = made([*mols[:4], lv.Failure("a <reason>")])._repr_html_()
    assert html.count("</molecule-view>") == 4 and html.count("<script") == 1 and "a &lt;reason&gt;" in html
