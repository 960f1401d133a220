"""What ``langevin sample`` refuses before it loads a model: other runs' folders, values that would be lost or misread."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from langevin.cli.main import main
from langevin.modalities import plugins
from tests import toy
from tests.cli import COLOURS, Model, install, shell


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    return install(tmp_path, monkeypatch)


def test_a_folder_with_other_samples_is_refused_before_any_work(
    model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", "toy-squares", "-n", "1", "--out", "o"]) == 0
    assert main(["sample", "toy-squares", "-n", "1", "--out", "o"]) == 0
    model.asked = {}
    assert main(["sample", "toy-squares", "-n", "1", "--seed", "1", "--out", "o"]) == 2
    assert "o holds 1 samples of toy-squares with seed 0" in capsys.readouterr().err and model.asked == {}
    assert main(["sample", "toy-squares", "-n", "1", "--seed", "1", "--out", "o", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("recorded", "flags"),
    [
        ({"negative": {"prompt": "x"}}, []),
        ({}, ["--negative", "x"]),
        ({"negative": {"prompt": "x"}}, ["--negative", "y"]),
        ({"spec": {"side": 4}}, []),
        ({"spec": {"side": 4}}, ["--side", "5"]),
        ({"steps": 5}, ["--steps", "6"]),
        ({"options": {"temperature": 0.5}}, ["--temperature", "0.6"]),
        ({"options": {"temperature": {"a": 0.5}}}, ["--temperature", "a=0.6"]),
        ({"options": {"lag": {"a": 0.5}}}, ["--lag", "none"]),
        ({"options": {"strength": 0.5}}, ["--strength", "0.6", "--start", "x.png"]),
        ({"samples": "a"}, ["--prompt", "b"]),
        ({"samples": "a"}, []),
    ],
)
def test_a_folder_of_a_run_that_was_asked_for_otherwise_is_refused(
    model: Model,
    capsys: pytest.CaptureFixture[str],
    recorded: dict[str, Any],
    flags: list[str],
) -> None:
    assert main(["sample", "toy-squares", "-n", "1", "--out", "o"]) == 0
    model.modality.save(model.modality.decode(COLOURS)[0], Path("x.png"))
    manifest = json.loads(Path("o/samples.json").read_text())
    if "samples" in recorded:
        manifest["samples"][0]["condition"] = {"prompt": recorded["samples"]}
    else:
        manifest |= recorded
    Path("o/samples.json").write_text(json.dumps(manifest))
    model.asked = {}
    assert main(["sample", "toy-squares", "-n", "1", "--out", "o", *flags]) == 2
    assert "o holds 1 samples" in capsys.readouterr().err and model.asked == {}


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--prompt", "a", "--prompt", "b"], "--prompt is given twice; give it once"),
        (["--seed", "1", "--seed=2"], "--seed is given twice"),
        (["--prompt", "caf\udce9"], "--prompt: the text is not UTF-8"),
        (["--negative", "caf\udce9"], "--negative: the text is not UTF-8"),
        (["--seed", str(2**64)], "expected a whole number from 0 to 2^64 - 1"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_what_would_be_lost_or_misread_is_refused(
    model: Model, capsys: pytest.CaptureFixture[str], argv: list[str], says: str
) -> None:
    assert main(["sample", "toy-squares", *argv]) == 2
    assert says in capsys.readouterr().err and model.asked == {}


def test_formats_are_those_of_the_modality(
    model: Model, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ["sample", "toy-squares", "-n", "1", "--out", "o"]
    assert main([*ask, "--format", "webp"]) == 2
    assert "have one format, so toy-squares takes no --format" in capsys.readouterr().err
    found = dataclasses.replace(toy.plugin, written=(".png", ".webp"))
    monkeypatch.setattr(plugins, "plugins", lambda: {"squares": found})
    monkeypatch.setattr(toy.Squares, "written", found.written)
    assert main([*ask, "--format", "wepb"]) == 2 and "did you mean 'webp'" in capsys.readouterr().err
    assert main([*ask, "--format", "webp"]) == 0 == main([*ask, "--format", "webp"])
    assert Path("o/0000_seed0.webp").is_file()
    model.asked = {}
    assert main(ask) == 2 and "o holds 1 samples" in capsys.readouterr().err and model.asked == {}
    assert main([*ask, "--overwrite"]) == 0 == main([*ask, "--format", "png"])


def test_a_class_that_is_none_is_refused_without_loading_a_model() -> None:
    cases = [
        (["--label", "eleven"], "--label: class 'eleven' is a name, but these classes are numbers 0 … 9"),
        (["--label", "10"], "--label: class 10 is out of range: there are 10 classes, 0 … 9"),
        (["--label", "3", "--label", "4"], "--label is given twice; give it once"),
    ]
    for (_, says), result in zip(cases, shell([["sample", "image-digits", *argv] for argv, _ in cases])):
        assert result["code"] == 2 and says in result["err"] and result["heavy"] == []
