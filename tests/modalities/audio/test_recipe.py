"""Training on sounds: what follows from the data, captions, and the way from a folder to files by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import langevin as lv
from langevin.assembly import build_model
from langevin.cli.main import main
from langevin.core.registry import BuildError
from langevin.modalities.audio.data import open_data
from langevin.modalities.audio.plugin import plugin
from langevin.modalities.audio.recipe import defaults
from langevin.modalities.audio.sound import Audio

TINY = {"name": "dit", "width": 32, "depth": 1, "heads": 2, "modulation": "shared"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes: a low and a high tone."""
    rng = np.random.default_rng(0)
    for name, hertz in (("low", 300), ("high", 1500)):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for k in range(4):
            t = np.arange(2048) / 8000
            wave = 0.4 * np.sin(2 * np.pi * hertz * t + k) + 0.01 * rng.standard_normal(2048)
            Audio(wave, 8000).save(tmp_path / "sounds" / name / f"{k}.wav")
    return tmp_path / "sounds"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Recordings with digit and speaker, of several lengths."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1000, 3000, 12)
    samples = (rng.standard_normal(lengths.sum()) * 3000).astype(np.int16)
    np.savez(
        tmp_path / "digits.npz",
        samples=samples,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        sample_rate=8000,
        digit=np.arange(12) % 3,
        word=np.array(["zero", "one", "two"]),
        speaker=np.arange(12) % 2,
        speaker_names=np.array(["ada", "ben"]),
    )
    return tmp_path / "digits.npz"


def test_a_configuration_follows_from_the_data(folder: Path) -> None:
    node = defaults(open_data(folder), {"network": TINY})
    modality = node["modality"]
    assert modality["codec"]["spec"]["rate"] == 8000 and modality["seconds"] == 0.256
    assert modality["conditions"] == {"label": {"name": "class", "classes": ["high", "low"], "width": 32}}
    assert node["sampling"] == {"sampler": "angle", "steps": 20, "guidance": 2.0}
    model = build_model(node)
    state, _ = model.modality.encode(open_data(folder).batch(range(8))[0])
    assert abs(float(state.mean())) < 0.05 and abs(float(state.std()) - 1) < 0.05


@pytest.mark.parametrize(
    "given",
    [
        {"codec": {"spec": "speech-8k", "vocoder": {"name": "griffin_lim", "iterations": 4}}},
        {"codec": {"spec": {"preset": "speech-8k", "mels": 32}}, "patch": [8, 8]},
        {"codec": {"name": "complex_stft", "rate": 8000, "n_fft": 128, "hop": 32}, "patch": [16, 4]},
        {"name": "audio", "codec": "log_mel", "places": 1},
    ],
)
def test_what_is_given_stands_and_the_rest_follows(folder: Path, given: dict[str, Any]) -> None:
    node = defaults(open_data(folder), {"network": TINY, "modality": given})
    model = build_model(node)
    assert "label" in model.conditions
    assert list(model.modality.patch) == given.get("patch", list(model.modality.patch))
    codec: Any = model.modality.codec
    assert len(codec.scale if given["codec"] != "log_mel" and "rate" in given["codec"] else codec.mean) > 1


def test_statistics_that_are_given_are_not_fitted(folder: Path) -> None:
    given = {"codec": {"name": "log_mel", "spec": "speech-8k", "mean": [1.0] * 64, "std": [2.0] * 64}}
    node = defaults(open_data(folder), {"modality": given})
    assert node["modality"]["codec"]["mean"] == [1.0] * 64


def test_a_wrong_codec_is_refused(folder: Path) -> None:
    with pytest.raises(BuildError, match="did you mean 'log_mel'"):
        defaults(open_data(folder), {"modality": {"codec": {"name": "logmel"}}})


def test_captions_in_several_phrasings_and_levels(archive: Path) -> None:
    phrasings = ["{label} by {speaker}", "{speaker} says {label}"]
    options = {"seconds": 0.5, "pad": "random", "crops": 8, "peak": -3.0}
    data = plugin.open(archive, phrasings=phrasings, gain=2.0, **options)
    sounds, values = data.batch(range(len(data)))
    assert set(values["prompt"][:8]) == {"zero by ada", "ada says zero"}
    levels = [20 * np.log10(sound.peak) for sound in sounds]
    assert -5 <= min(levels) < -4 and -2 < max(levels) <= -1
    again, same = data.batch([3])
    assert same["prompt"] == values["prompt"][3:4] and np.array_equal(again[0].samples, sounds[3].samples)
    with pytest.raises(ValueError, match="did you mean 'speaker'"):
        plugin.open(archive, phrasings=["{speakr}"])
    with pytest.raises(ValueError, match="data.gain"):
        plugin.open(archive, gain=-1.0)


def test_clips_of_several_lengths_are_trained_on_with_a_mask(archive: Path, tmp_path: Path) -> None:
    model = lv.train(
        archive,
        "audio",
        steps=3,
        batch=4,
        out=tmp_path / "run",
        model={"network": TINY, "sampling": {"grid": "uniform"}},
        progress=False,
    )
    assert set(model.conditions) == {"label", "speaker"}
    assert len(model.sample(2, label="two", speaker="ada", seconds=0.3, steps=2, progress=False)[0]) == 2400


def test_from_a_folder_to_files_by_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    network = "{name: dit, width: 48, depth: 2, heads: 2, modulation: shared}"
    settings = ["training.steps=30", "training.batch=8", "training.lr=0.01", "training.log=10"]
    run = [
        f"data.path={folder}",
        f"+model.network={network}",
        "+model.sampling.grid=uniform",
        "out=run",
        *settings,
    ]
    assert main(["train", "data=sounds", *run]) == 0
    losses = [
        float(line.split(",")[1]) for line in (tmp_path / "run" / "log.csv").read_text().splitlines()[1:]
    ]
    assert losses[-1] < losses[0]
    asked = ["-n", "2", "--label", "high", "--seconds", "0.2", "--steps", "2", "--out", "made"]
    assert main(["sample", "run", *asked]) == 0
    manifest = json.loads((tmp_path / "made" / "samples.json").read_text())
    assert manifest["modality"] == "audio" and len(manifest["samples"]) == 2
    for path in sorted((tmp_path / "made").glob("*.wav")):
        assert plugin.modality({}).read(path).seconds == 0.2
    capsys.readouterr()
    assert main(["evaluate", str(folder / "low" / "0.wav")]) == 0
    assert "loudness" in capsys.readouterr().out
    assert main(["evaluate", str(folder / "low" / "0.wav"), str(folder / "high" / "0.wav"), "--json"]) == 0
    rows = {row["measure"]: row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["log-spectral distance (dB)"] > 5 and rows["SI-SDR (dB)"] < -5
    assert main(["sample", "run", "-n", "1", "--label", "hihg"]) == 2
