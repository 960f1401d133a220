"""What a run may go on from: its own data and its own model, and nothing is trained or lost in silence."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import langevin as lv
from langevin.core.training import checkpoint
from langevin.folders import read_config

SMALL: dict[str, Any] = {
    "model": {"network": {"width": 16, "depth": 1, "heads": 2}, "sampling": {"steps": 8}},
    "batch": 4, "log": 1, "save": 1, "device": "cpu", "progress": False,
}  # fmt: skip


def paint(folder: Path, colour: str, captions: str | None = None) -> Path:
    folder.mkdir(parents=True)
    for k in range(6):
        Image.new("RGB", (8, 8), colour).save(folder / f"{k}.png")
        if captions:
            (folder / f"{k}.txt").write_text(f"{captions} {k}")
    return folder


def digest(folder: Path, name: str = "checkpoint.safetensors") -> str:
    return hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_other_pictures_do_not_give_the_model_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paint(Path("red"), "red")
    paint(Path("blue"), "blue")
    lv.train("red", steps=2, **SMALL)
    before = digest(Path("runs/my-model")), digest(Path("runs/my-model"), "model.safetensors")
    with pytest.raises(
        ValueError, match=r"runs/my-model saw other data: red, and now blue; .*out=.*resume=false"
    ):
        lv.train("blue", steps=2, **SMALL)
    assert (digest(Path("runs/my-model")), digest(Path("runs/my-model"), "model.safetensors")) == before
    assert read_config("runs/my-model")["data"]["path"] == "red"
    lv.train("blue", steps=2, out="other", **SMALL)
    assert digest(Path("other"), "model.safetensors") != before[1]


def test_captions_are_a_part_of_the_data(tmp_path: Path) -> None:
    for word in ("one", "two"):
        paint(tmp_path / word, "red", captions=word)
    lv.train(str(tmp_path / "one"), steps=1, out=tmp_path / "m", **SMALL)
    with pytest.raises(ValueError, match="saw other data"):
        lv.train(str(tmp_path / "two"), steps=2, out=tmp_path / "m", **SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"network": {"width": 32, "depth": 1, "heads": 2}}}, r"model.network.width = 16, not 32"),
        ({"model": {**SMALL["model"], "modality": {"patch": 2}}}, "model.modality.patch = 4, not 2"),
        ({"model": {**SMALL["model"], "parametrisation": "v"}}, "model.parametrisation = velocity, not v"),
        ({"size": 4}, "data.size = unset, not 4"),
        ({"seed": 1}, "training.seed = 0, not 1"),
        ({"steps": 1, "lr": 0.5}, "training.lr = 0.001, not 0.5, and it has no step left to train"),
    ],
)
def test_another_configuration_is_named_and_nothing_is_lost(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    data, out = str(paint(tmp_path / "red", "red")), tmp_path / "m"
    lv.train(data, steps=1, out=out, **SMALL)
    before = digest(out)
    with pytest.raises(ValueError, match=message):
        lv.train(data, out=out, **{"steps": 2, **SMALL, **changes})
    assert digest(out) == before


def test_what_the_weights_do_not_follow_from_may_change(tmp_path: Path) -> None:
    data, out = paint(tmp_path / "red", "red"), tmp_path / "m"
    lv.train(str(data), steps=1, out=out, **SMALL)
    moved = data.rename(tmp_path / "moved")
    about = {"name": "new", "summary": "s", "sampling": {"steps": 5}}
    seen: list[int] = []
    settings = {**SMALL, "model": {**SMALL["model"], **about}}
    model = lv.train(str(moved), steps=3, out=out, lr=1e-2, watch=lambda p: seen.append(p.step), **settings)
    assert seen == [2, 3] and model.name == "new" and read_config(out)["data"]["path"] == str(moved)


def test_a_finished_run_says_that_nothing_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(paint(tmp_path / "red", "red")), tmp_path / "m"
    lv.train(data, steps=2, out=out, **SMALL)
    before = digest(out, "model.safetensors")
    assert "nothing is trained" not in capsys.readouterr().err
    for steps in (2, 1):
        lv.train(data, steps=steps, out=out, **SMALL)
        said = capsys.readouterr().err
        assert f"at step 2 of {steps}, so nothing is trained" in said and "resume=false" in said
        assert digest(out, "model.safetensors") == before
        assert read_config(out)["training"]["steps"] == 2  # what was done, not what was asked


def test_starting_anew_keeps_the_earlier_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(paint(tmp_path / "red", "red")), tmp_path / "m"
    lv.train(data, steps=2, out=out, snapshots=2, **SMALL)
    before = digest(out)
    for k in (1, 2):
        lv.train(data, steps=1, out=out, snapshots=2, resume=False, **SMALL)
        assert f"kept as checkpoint-{k}.safetensors" in capsys.readouterr().err
    assert digest(out, "checkpoint-1.safetensors") == before
    assert len(list((out / "snapshots-1").iterdir())) == 2 and len(list((out / "snapshots").iterdir())) == 1
    assert checkpoint.read(out)[1]["step"] == 1


class Shifting:
    """Six pictures with fresh noise at every reading, as sets have that augment."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return 6

    def batch(self, indices: Sequence[int]) -> tuple[Any, dict[str, list[Any]]]:
        return self.rng.integers(0, 256, (len(indices), 8, 8, 3), dtype=np.uint8), {}

    conditions: dict[str, str] = {}  # noqa: RUF012
    class_names: tuple[str, ...] = ()
    licence = attribution = None


def test_a_set_that_changes_at_every_reading_can_be_resumed(tmp_path: Path) -> None:
    seen: list[int] = []
    for steps in (1, 2):
        lv.train(Shifting(), steps=steps, out=tmp_path, watch=lambda p: seen.append(p.step), **SMALL)
    assert seen == [1, 2]


def test_an_autoencoder_keeps_to_its_data_and_its_shape(tmp_path: Path) -> None:
    settings = {**SMALL, "out": tmp_path / "m", "model": {"autoencoder": {"latent": 2, "widths": [4, 4]}}}
    red, blue = (str(paint(tmp_path / colour, colour)) for colour in ("red", "blue"))
    lv.train_codec(red, steps=1, **settings)
    with pytest.raises(ValueError, match="saw other data"):
        lv.train_codec(blue, steps=2, **settings)
    other = {**settings, "model": {"autoencoder": {"latent": 3, "widths": [4, 4]}}}
    with pytest.raises(ValueError, match="model.autoencoder.latent = 2, not 3"):
        lv.train_codec(red, steps=2, **other)


def test_the_bar_of_a_training_shows_loss_and_throughput(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(paint(tmp_path / "red", "red"))
    losses: list[float] = []
    lv.train(
        data,
        steps=3,
        out=tmp_path / "m",
        watch=lambda p: losses.append(p.loss),
        **{**SMALL, "progress": True},
    )
    shown = capsys.readouterr().err
    assert "training my-model: 100%" in shown and "3/3" in shown and "samples/s=" in shown
    assert all(f"loss={loss:.4f}" in shown for loss in losses)
