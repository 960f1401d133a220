"""``langevin design``: into a folder that can be continued, from a contig or a command line of RFdiffusion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from langevin.assembly import save_model
from langevin.cli.main import main
from langevin.modalities.protein.designing import DesignFlags, _Asked, _read
from langevin.modalities.protein.files import read_protein, write_pdb
from langevin.modalities.protein.rereading import reread
from tests.modalities.protein.backbones import protein
from tests.modalities.protein.test_protein_modality import model

HOW = ("--model", "net", "--steps", "3")


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(model(), Path("net"))
    write_pdb(protein(30), "in.pdb")


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_a_folder_is_continued_and_is_that_of_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ("design", "4-8/A8-15/5", "--input", "in.pdb", *HOW, "--seed", "3")
    assert main([*ask, "-n", "3", "--out", "parts", "--batch-size", "2"]) == 0
    first = files("parts")
    assert main([*ask, "-n", "5", "--out", "parts"]) == 0
    assert main([*ask, "-n", "5", "--out", "whole", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(told["files"]) >= 7 and not told["failures"]
    assert files("parts") == files("whole")
    assert all(files("parts")[name] == text for name, text in first.items() if name.endswith(".pdb"))
    assert main([*ask, "-n", "5", "--out", "parts"]) == 0  # nothing is left to do
    assert files("parts") == files("whole")


def test_another_request_does_not_touch_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["design", "12", *HOW, "-n", "1", "--out", "out"]) == 0
    before = files("out")
    for words in (["design", "13", *HOW], ["design", "12", *HOW, "--seed", "1"]):
        assert main([*words, "-n", "2", "--out", "out"]) == 1
        assert "holds designs of another request" in capsys.readouterr().err
    assert files("out") == before


def test_a_command_line_of_rfdiffusion_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "contigmap.contigs=[6-6/A8-15/5-5]",
        "inference.input_pdb=in.pdb",
        "inference.num_designs=2",
        "inference.design_startnum=4",
        "inference.output_prefix=made/motif",
        "denoiser.noise_scale_ca=0.25",
        "diffuser.T=4",
        'potentials.guiding_potentials=["type:monomer_ROG,weight:1"]',
    ]
    assert main(["design", "--model", "net", *words]) == 0
    manifest = json.loads(Path("made/motif/samples.json").read_text())
    assert [entry["index"] for entry in manifest["samples"]] == [4, 5] and manifest["steps"] == 4
    assert manifest["sampler"] == {"name": "Single", "eta": 1.0, "noise_scale": {"positions": 0.25}}
    designs = json.loads(Path("made/motif/designs.json").read_text())
    assert designs[0]["config"]["potentials"] == ["type:monomer_ROG,weight:1"]
    assert (designs[0]["config"]["guide_scale"], designs[0]["config"]["guide_decay"]) == (10.0, "constant")
    found = read_protein("made/motif/0004_seed0.pdb")
    places = designs[0]["con_hal_idx0"]
    assert abs(found.backbone[places, :3] - protein(30).backbone[7:15, :3]).max() < 2e-3


def test_a_fold_is_its_own_contig() -> None:
    assert main(["design", "--fold", "in.pdb", *HOW, "-n", "2", "--out", "folds"]) == 0
    assert len(read_protein("folds/0001_seed0.pdb")) == 30
    told = json.loads(Path("folds/request.json").read_text())
    assert told["fold"] == "in.pdb" and len(told["fold_sha256"]) == 64


def test_partial_diffusion_of_a_command_line_starts_at_its_time() -> None:
    words = [
        "contigmap.contigs=[30-30]",
        "inference.input_pdb=in.pdb",
        "diffuser.T=50",
        "diffuser.partial_T=10",
    ]
    assert _read(words, DesignFlags(model="net")).time == 0.2
    asked = _read(["A1-30"], DesignFlags(model="net", input="in.pdb", partial=0.4))
    assert isinstance(asked, _Asked) and asked.time == 0.4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["design"], "which contig?"),
        (["design", "12", "--model", "nowhere"], "--model: "),
        (["design", "12", *HOW, "--partial", "2"], "--partial is a time above 0"),
        (["design", "12", *HOW, "--secondary", "HHQ"], "letters H, E, - and X"),
        (["design", *HOW, "--fold", "nothing.json"], "--fold: there is no file 'nothing.json'"),
        (["design", "12", *HOW, "-n", "0"], "--n: expected a whole number from 1"),
        (["design", "12", *HOW, "--noise-scale", "-1"], "--noise-scale: expected a number from 0"),
        (["design", *HOW, "contigmap.contigs=[12]", "inference.cyclic=True"], "inference.cyclic: "),
        (["design", "12", *HOW, "--noise-scale", "1", "denoiser.noise_scale_ca=1"], "both scale"),
        (["design", "4/A8-15/5", *HOW, "--input", "nothing.pdb"], "there is no file 'nothing.pdb'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_drawn(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--out", "none"]) == 2
    assert said in capsys.readouterr().err and not Path("none").exists()


def test_samples_of_a_folder_are_read_back_as_they_were_saved() -> None:
    net = model()
    net.sample(3, length=12, steps=2, progress=False).save("free")
    again = reread(net.modality, Path("free"))
    assert len(again) == 3 and again.indices == (0, 1, 2)
    again.save("again")
    assert files("again") == files("free")
