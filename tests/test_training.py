"""Training as users start it: from Python and from the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import langevin as lv
from langevin import training_cli
from langevin.cli.main import main
from langevin.modalities.image.hues import HUES, Hues, leading_hue, turn

SMALL = {
    "network": {"name": "dit", "width": 32, "depth": 2, "heads": 2, "modulation": "shared"},
    "modality": {
        "name": "image",
        "codec": {"name": "pixels", "size": 8},
        "patch": 2,
        "conditions": {"label": {"name": "class", "classes": ["dark", "light"], "width": 32}},
    },
}

TINY = ["training.steps=1", "training.batch=2", "+model.network={width: 16, depth: 1, heads: 2}"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of flat pictures in class folders."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 215)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(8):
            pixels = np.clip(level + rng.normal(0, 8, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


def test_a_folder_of_pictures_becomes_a_model_that_draws_them(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    model = lv.train(str(pictures), steps=400, batch=16, out=out, model=SMALL, lr=3e-3, log=100, seed=0)
    drawn = {
        name: np.mean([np.asarray(p) for p in model.sample(8, label=name, guidance=1.0)])
        for name in ("dark", "light")
    }
    assert drawn["dark"] < 90 < 165 < drawn["light"]
    again = lv.load(out, device="cpu")
    assert again.sample(1, label="light")[0].size == (8, 8)
    assert len(again.defaults["density"]) == 48  # the grid was measured on the model itself
    rows = list(csv.DictReader((out / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [100, 200, 300, 400]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert "2 items" not in (out / "card.md").read_text() and "16 items" in (out / "card.md").read_text()


def test_a_resumed_run_repeats_the_uninterrupted_one(pictures: Path, tmp_path: Path) -> None:
    settings = {"batch": 8, "model": SMALL, "log": 2, "save": 4, "decay": "constant"}
    whole: list[float] = []
    straight = lv.train(
        str(pictures), steps=8, out=tmp_path / "a", watch=lambda p: whole.append(p.loss), **settings
    )
    parts: list[float] = []
    lv.train(str(pictures), steps=4, out=tmp_path / "b", watch=lambda p: parts.append(p.loss), **settings)
    resumed = lv.train(
        str(pictures), steps=8, out=tmp_path / "b", watch=lambda p: parts.append(p.loss), **settings
    )
    assert parts == whole
    for a, b in zip(straight.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert len((tmp_path / "b" / "log.csv").read_text().splitlines()) == 5


def test_the_default_model_follows_from_the_data(pictures: Path, tmp_path: Path) -> None:
    model = lv.train(str(pictures), steps=1, batch=2, out=tmp_path / "m", size=16)
    assert model.conditions == ("label",)
    assert model.sample(1, label="dark", steps=1)[0].size == (16, 16)


def test_the_command_line_composes_the_same_run(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "run"
    network = "{name: dit, width: 32, depth: 1, heads: 2}"
    overrides = [f"data.path={pictures}", f"out={out}", "training.steps=2", "training.batch=4", "training.show=2",
                 "training.log=1", f"+model.network={network}"]  # fmt: skip
    assert training_cli.main(overrides) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert (out / "model.safetensors").is_file() and (out / "samples-0000002.png").is_file()
    assert lv.load(out, device="cpu").network.backbone.depth == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "no/such/folder"}, "no/such/folder"),
        ({"modality": "imag"}, "did you mean 'image'"),
        ({"batchsize": 3}, "did you mean 'batch'"),
        ({"optimizer": "adam"}, "did you mean 'adamw'"),
        ({"batch": 6, "accumulate": 4}, "multiple of accumulate"),
        ({"model": {"netwrk": {}}}, "did you mean 'network'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_computed(
    pictures: Path, tmp_path: Path, arguments: dict, message: str
) -> None:
    settings = {"data": str(pictures), "steps": 1, "out": tmp_path / "m", **arguments}
    with pytest.raises((ValueError, OSError), match=message):
        lv.train(**settings)
    assert not (tmp_path / "m" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.path=empty"], "empty holds no pictures"),
        (["data.path=data", "data.wher=1"], "Could not override 'data.wher'"),
        (["data.path=data", "+data.eror=skip"], "unknown key of data 'eror'; did you mean 'errors'?"),
        (["data.path=data", "+model.network.widht=3"], "unknown argument 'widht'; did you mean 'width'?"),
        (["data.path=data", "+model.network=3"], "model.network must be a mapping"),
        (["data.path=data", "+model.modality.patch=0"], "model.modality.patch must be a whole number from 1"),
        (["data.path=data", "+model.sampling={steps: x}"], "steps must be a whole number"),
        (["data.path=data", "device=gpu"], "unknown device 'gpu'"),
        (["data.path=data", "training.lr=${nothing}"], "nothing"),
        (["data.path=data", "training.lr=1,abc", "--multirun", *TINY], "training.lr must be a finite number"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, overrides: list, says: str
) -> None:
    monkeypatch.chdir(pictures.parent)
    (pictures.parent / "empty").mkdir()
    assert main(["train", *overrides]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("langevin train: error: ")] == said[-1:]
    assert says in said[-1] and not any("Traceback" in line or "HYDRA" in line for line in said)


def test_a_mistake_of_ours_keeps_its_traceback(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def broken(error: Exception) -> None:
        def run(*given: object, **settings: object) -> None:
            raise error

        monkeypatch.setattr("langevin.train_api.run", run)

    broken(TypeError("of ours"))
    with pytest.raises(TypeError, match="of ours"):
        main(["train", f"data.path={pictures}"])
    broken(RuntimeError("of ours"))
    assert main(["train", f"data.path={pictures}"]) == 1
    assert "Traceback" in capsys.readouterr().err
    broken(FloatingPointError("the loss is nan"))
    assert main(["train", f"data.path={pictures}"]) == 1
    assert capsys.readouterr().err == "langevin train: the loss is nan\n"


def test_ctrl_c_keeps_what_was_trained(pictures: Path, tmp_path: Path) -> None:
    def stop(line: object) -> None:
        raise KeyboardInterrupt

    settings = {"batch": 8, "model": SMALL, "log": 3, "save": 1000, "out": tmp_path / "m"}
    with pytest.raises(KeyboardInterrupt):
        lv.train(str(pictures), steps=6, watch=stop, **settings)
    seen: list[int] = []
    lv.train(str(pictures), steps=6, watch=lambda p: seen.append(p.step), **settings)
    assert seen == [6]


class TestHues:
    def test_turning_moves_the_leading_hue_and_a_full_turn_is_the_identity(self) -> None:
        red = np.zeros((8, 8, 3), dtype=np.uint8) + np.array([220, 20, 20], dtype=np.uint8)
        assert leading_hue(red) == "red"
        assert leading_hue(turn(red, 120)) == "green"
        assert np.array_equal(turn(red, 360), red)
        noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        assert np.abs(turn(turn(noise, 200), 160).astype(int) - noise).max() <= 2

    def test_grey_has_no_hue(self) -> None:
        assert leading_hue(np.full((8, 8, 3), 128, dtype=np.uint8)) is None

    def test_captions_say_what_is_shown(self) -> None:
        class Data:
            def __len__(self) -> int:
                return 4

            def batch(self, indices):  # type: ignore[no-untyped-def]
                images = np.zeros((len(indices), 8, 8, 3), dtype=np.uint8) + np.array(
                    [220, 20, 20], dtype=np.uint8
                )
                return images, {"prompt": [f"red thing {i}" for i in indices]}

        data = Hues(Data(), 0.3)
        assert len(data) == 40
        images, values = data.batch(list(range(40)))
        for image, prompt in zip(images[:12], values["prompt"][:12], strict=True):
            assert prompt.split()[0] == leading_hue(image) in HUES
            assert (
                sum(word in HUES for word in prompt.split()) == 1
            )  # the colour word of the caption is taken out
        assert {values["prompt"][i].split()[0] for i in range(4, 12)} != {"red"}
        assert values["prompt"][12:16] == [f"red thing {i}" for i in range(4)]
        for share in (1.5, "x", True):
            with pytest.raises(ValueError, match=rf"\[0, 1\], got {share!r}"):
                Hues(Data(), share)  # type: ignore[arg-type]


def test_learned_uncertainty_and_adaptive_times_train_and_resume(pictures: Path, tmp_path: Path) -> None:
    model = {**SMALL, "objective": {"uncertainty": True, "times": {"name": "loss-adaptive", "bins": 8}}}
    settings = {"batch": 8, "model": model, "log": 2, "save": 2, "decay": "constant", "lr": 3e-3}
    whole: list[float] = []
    straight = lv.train(
        str(pictures), steps=6, out=tmp_path / "a", watch=lambda p: whole.append(p.loss), **settings
    )
    parts: list[float] = []
    for steps in (2, 6):
        lv.train(
            str(pictures), steps=steps, out=tmp_path / "b", watch=lambda p: parts.append(p.loss), **settings
        )
    assert parts == whole
    assert straight.network.uncertainty.linear.weight.abs().max() > 0
    assert lv.load(tmp_path / "a", device="cpu").sample(1, label="dark", steps=2)[0].size == (8, 8)
