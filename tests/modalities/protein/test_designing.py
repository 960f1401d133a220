"""``langevin design``: into a folder that can be continued, from a contig or a command line of RFdiffusion."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langevin.assembly import save_model
from langevin.cli.main import main
from langevin.core import keep
from langevin.folders import FolderError
from langevin.modalities.protein import records
from langevin.modalities.protein.design import design
from langevin.modalities.protein.designing import DesignFlags, _Asked, _options, _read
from langevin.modalities.protein.files import read_protein, write_cif, write_pdb
from langevin.modalities.protein.protein import of_structure
from langevin.modalities.protein.rereading import reread
from tests.modalities.protein.backbones import protein
from tests.modalities.protein.test_protein_modality import model

HOW = ("--model", "net", "--steps", "3")


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(model(), Path("net"))
    write_pdb(protein(30), "in.pdb")


def alike(one: dict[str, bytes], two: dict[str, bytes]) -> bool:
    """Whether two folders have the same files; rounding in batches of other sizes may move atoms by up to a tenth of an
    Å where the bonds of an untrained network are closed from afar."""

    def coordinates(data: bytes) -> np.ndarray:
        rows = [line for line in data.decode().splitlines() if line.startswith("ATOM")]
        return np.array([[float(line[k : k + 8]) for k in (30, 38, 46)] for line in rows])

    def rest(name: str, data: bytes) -> list[str]:
        lines = data.decode().splitlines()
        return [line[:30] + line[54:] for line in lines] if name.endswith(".pdb") else lines

    designs = [name for name in one if name.endswith(".pdb")]
    return (
        {name: rest(name, data) for name, data in one.items() if name != "scores.csv"}
        == {name: rest(name, data) for name, data in two.items() if name != "scores.csv"}
        and [line.split(b",")[0] for line in one["scores.csv"].splitlines()]
        == [line.split(b",")[0] for line in two["scores.csv"].splitlines()]
        and all(np.allclose(coordinates(one[name]), coordinates(two[name]), atol=0.1) for name in designs)
    )


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
    assert alike(files("parts"), files("whole"))
    done = files("parts")
    assert all(files("parts")[name] == text for name, text in first.items() if name.endswith(".pdb"))
    assert main([*ask, "-n", "5", "--out", "parts", "--json"]) == 0  # nothing is left to do
    assert files("parts") == done
    again = [Path(name).name for name in json.loads(capsys.readouterr().out)["files"]]
    assert sorted(again) == sorted(Path(name).name for name in told["files"])


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
    words = ["diffuser.T=1", "inference.num_designs=1", "inference.output_prefix=more"]
    assert main(["design", "--fold", "in.pdb", "--model", "net", *words]) == 0
    assert json.loads(Path("more/samples.json").read_text())["steps"] == 1


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
        (["design", "4/A8-15/5", *HOW, "--input", "nothing.pdb"], "there is no file 'nothing.pdb'"),
        (["design", "4/A8-15/5", *HOW], "keeps A8-15 of an input; name its file with --input"),
        (["design", "12", *HOW, "--partial", "0.5"], "begins with an input; name its file with --input"),
        (["design", "12", *HOW, "--noise-scale", "1", "denoiser.noise_scale_ca=1"], "are the same; give one"),
        (["design", "12", "--steps", "3", "diffuser.T=5"], "--steps and diffuser.T are the same"),
        (
            ["design", "12", "--guide-scale", "3", "potentials.guide_scale=4"],
            "--guide-scale and potentials.g",
        ),
        (
            ["design", "A1-30", "--partial", "0.4", "diffuser.partial_T=4", "--input", "in.pdb"],
            "--partial and",
        ),
        (["design", "--fold", "in.pdb", "--symmetry", "C3"], "--symmetry does not go with --fold"),
        (["design", "--fold", "in.pdb", "--hotspots", "A3"], "--hotspots does not go with --fold"),
        (["design", "--fold", "in.pdb", "--config-name", "base"], "--config-name does not go with --fold"),
        (
            ["design", "--fold", "in.pdb", "contigmap.inpaint_seq=A3"],
            "contigmap.inpaint_seq does not go with",
        ),
        (["design", "--fold", "in.pdb", "5/A8-15"], "a contig that keeps A8-15 does not go with --fold"),
        (["design", "--fold", "in.pdb", "--seed", "-1"], "argument --seed: expected a whole number"),
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


def test_a_request_that_fails_leaves_the_folder_free(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["design", "12", *HOW, "--secondary", "HHH", "--out", "out"]) == 1
    assert not Path("out").exists()
    assert main(["design", "12", *HOW, "-n", "1", "--out", "out"]) == 0


def test_repulsion_is_no_shape() -> None:
    net = model()
    plain, apart = (design(net, "60", steps=2, progress=False, repulsion=r)[0] for r in (None, 9.0))
    moved = abs(of_structure(apart).backbone - of_structure(plain).backbone).max()
    assert moved > 1e-3
    with pytest.raises(ValueError, match="like says what shape the samples have; leave out length, or"):
        net.sample(like=plain, keep=keep.leaves("residues"), length=12, repulsion=9.0)
    assert main(["design", "12", *HOW, "-n", "1", "--repulsion", "1", "--out", "out"]) == 0


def test_what_is_the_same_request() -> None:
    ask = ["4/A8-15/5"]
    one = _read(ask, DesignFlags(model="net", input="in.pdb")).plain()
    same = _read(ask, DesignFlags(model="net", input="./in.pdb", seed=0, format="cif")).plain()
    written = _read(
        ["contigmap.contigs=4/A8-15/5", "inference.input_pdb=in.pdb", "contigmap.length=null"],
        DesignFlags(model="net"),
    ).plain()
    assert written == one
    assert {name for name in one if one[name] != same[name]} == {"input"}
    net = model()
    next(net.network.parameters()).data.add_(1.0)
    save_model(net, Path("net"))
    other = _read(ask, DesignFlags(model="net", input="in.pdb")).plain()
    assert {name for name in one if one[name] != other[name]} == {"model_sha256"}


def test_a_folder_begun_from_another_path_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["design", "4/A8-15/5", *HOW, "--out", "out"]
    assert main([*ask, "--input", "in.pdb", "-n", "1", "--format", "cif"]) == 0
    assert main([*ask, "--input", "./in.pdb", "--seed", "0", "-n", "2"]) == 0
    assert {"0000_seed0.cif", "0001_seed0.cif"} < {*files("out")} and "0001_seed0.pdb" not in files("out")
    assert main([*ask, "--input", "in.pdb", "-n", "3", "--format", "pdb"]) == 1
    assert "holds designs as .cif files; leave out --format" in capsys.readouterr().err
    write_pdb(protein(30, seed=2), "in.pdb")
    assert main([*ask, "--input", "in.pdb", "-n", "3"]) == 1
    assert "holds designs of another request" in capsys.readouterr().err


def test_chains_that_a_pdb_file_cannot_name_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_cif(protein(12, chain="AA"), "two.cif")
    ask = ["design", "12", *HOW, "--input", "two.cif", "--partial", "0.5", "-n", "1", "--out", "out"]
    assert main(ask) == 1
    assert "the chain 'AA' cannot be named in a PDB file" in capsys.readouterr().err
    assert not Path("out").exists()
    assert main([*ask, "--format", "cif"]) == 0


def test_a_file_that_no_list_has_stands_in_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["design", "12", *HOW, "--out", "out"]
    assert main([*ask, "-n", "1"]) == 0
    left = Path("out/0001_seed0.pdb")
    left.write_text("half a design")
    before = files("out")
    assert main([*ask, "-n", "2"]) == 1
    said = capsys.readouterr().err
    assert f"{left} is there already" in said and "delete it" in said and files("out") == before
    left.unlink()
    assert main([*ask, "-n", "2"]) == 0


@pytest.mark.parametrize("text", ["[]", "{}", "[1]", "broken", '[{"name": "0000_seed0"}]'])
def test_a_list_that_is_not_whole_is_refused(text: str) -> None:
    net = model()
    made = design(net, "4/A8-15/5", "in.pdb", 2, steps=1, progress=False)
    made.save("out")
    Path("out/designs.json").write_text(text)
    with pytest.raises(FolderError, match=r"no entry for 000[01]_seed0|lists that cannot be read"):
        reread(net.modality, Path("out"))


def test_each_design_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scored, count = records.scored, [0]

    def counted(one: Any) -> Any:
        count[0] += 1
        return scored(one)

    monkeypatch.setattr(records, "scored", counted)
    ask = ["design", "12", *HOW, "--batch-size", "1", "--out", "out"]
    assert main([*ask, "-n", "3"]) == 0 and count == [3]
    held = reread(model().modality, Path("out"))
    held.save("out", overwrite=True)
    assert count == [6]
    next(held[1].get_atoms()).coord[0] += 5.0  # what was changed is scored anew
    held.save("out", overwrite=True)
    assert count == [7]


def test_options_are_of_flags_and_settings() -> None:
    net, flags = model(), DesignFlags(model="net", potential=("type:monomer_ROG",))
    found = _options(net, _read(["12", "potentials.guide_scale=4"], flags))
    assert found == {"potentials": ("type:monomer_ROG",), "guide_scale": 4.0}
    words = ["12", 'potentials.guiding_potentials=["type:monomer_ROG"]']
    found = _options(net, _read(words, DesignFlags(model="net", guide_scale=3.0)))
    assert (found["guide_scale"], found["guide_decay"], found["olig_inter_all"]) == (3.0, "constant", False)
    words = ["30", "diffuser.partial_T=10", "diffuser.T=20"]
    asked = _read(words, DesignFlags(model="net", input="in.pdb"))
    assert _options(net, asked) == {"steps": 10} and asked.time == 0.5
    asked = _read(["30", "diffuser.T=null"], DesignFlags(model="net"))
    assert _options(net, asked) == {} and "diffuser.T" not in asked.request.given


def test_noise_of_leaves_that_a_model_does_not_have() -> None:
    trace = model(modality={"name": "protein-trace"}, parametrisation={"positions": "velocity"})
    both = ["12", "denoiser.noise_scale_ca=0.5", "denoiser.noise_scale_frame=0.2"]
    asked = _read(both, DesignFlags(model="net"))
    assert _options(trace, asked)["sampler"].noise_scale == {"positions": 0.5}
    assert _options(model(), asked)["sampler"].noise_scale == {"positions": 0.5, "frames": 0.2}
    alone = replace(asked, request=_read(both[::2], asked.flags).request)
    with pytest.raises(ValueError, match="denoiser.noise_scale_frame: net is a model without frames"):
        _options(trace, alone)
