"""Autoencoders as users train them: from Python and from the command line, and latent diffusion on what they leave."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import langevin as lv
from langevin import training_cli
from langevin.modalities.image.data import ShapesDataset
from langevin.modalities.image.latents import VAECodec, vae_codec
from langevin.modalities.plugins import plugin

TINY = {"autoencoder": {"latent": 2, "widths": [4, 4, 4]}}
SMALL: dict[str, Any] = {"steps": 2, "batch": 4, "log": 1, "size": 32, "device": "cpu", "progress": False}


def test_an_autoencoder_of_the_command_line_is_the_codec_of_a_latent_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vae"
    overrides = [
        "experiment=image_vae", "data=shapes", f"out={out}", "device=cpu", "training.steps=2", "training.batch=4",
        "training.log=1", "training.show=2", "model.autoencoder.widths=[4,4,4]", "model.autoencoder.latent=2",
    ]  # fmt: skip
    assert training_cli.main(overrides) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out) and "step 2  loss" in printed.err
    assert len((out / "log.csv").read_text().splitlines()) == 3
    assert (out / "samples-0000002.png").is_file()
    assert "one for 4 × 4 pixels" in (out / "card.md").read_text() and "PSNR" in (out / "card.md").read_text()

    codec = vae_codec(str(out), size=32)
    pictures, _ = ShapesDataset(size=32).batch(range(8))
    state = codec.encode(list(pictures))
    assert state.shape == (8, 2, 8, 8) and codec.vae.blocks == 2
    fitted = codec.encode(list(ShapesDataset(size=32, split="train").batch(range(256))[0]))
    assert fitted.std() == pytest.approx(1, abs=0.1)  # the statistics were taken after training
    assert codec.decode(state)[0].size == (32, 32)

    node = {
        "modality": {"codec": {"name": "vae", "folder": str(out)}},
        "network": {"width": 16, "depth": 1, "heads": 2},
    }
    model = lv.train("shapes", out=tmp_path / "latent", model=node, **SMALL)
    assert model.modality.codec.factor == 4 and model.modality.patch == 2 and model.modality.codec.size == 32
    shutil.rmtree(out)  # the model has its own copy of the codec, and of nothing else that the run left
    copied = sorted(p.name for p in (tmp_path / "latent" / "parts" / "0-vae").iterdir())
    assert copied == ["card.md", "config.yaml", "model.safetensors"]
    again = lv.load(tmp_path / "latent", device="cpu")
    assert torch.equal(again.modality.codec.encode(list(pictures)), state)
    samples = again.sample(2, prompt="a red circle", steps=2)
    assert samples.state.shape == (2, 2, 8, 8) and samples[0].size == (32, 32)


def test_an_autoencoder_resumes_exactly(tmp_path: Path) -> None:
    settings = {**SMALL, "model": TINY, "decay": "constant", "save": 2}
    codecs = [lv.train_codec("shapes", out=tmp_path / "a", **{**settings, "steps": 4})]
    for steps in (2, 4):
        codec = lv.train_codec("shapes", out=tmp_path / "b", **{**settings, "steps": steps})
    codecs.append(codec)
    assert all(isinstance(codec, VAECodec) and codec.size == 32 for codec in codecs)
    one, other = (codec.vae.state_dict() for codec in codecs)
    assert all(torch.equal(one[k], other[k]) for k in one)
    logs = [[row["loss"] for row in csv.DictReader((tmp_path / x / "log.csv").open())] for x in "ab"]
    assert logs[0] == logs[1] and len(logs[0]) == 4
    with pytest.raises(lv.FolderError, match="holds an autoencoder, which a model uses as its codec"):
        lv.load(tmp_path / "a")


class Grey:
    """Eight grey pictures of 16 × 16."""

    def __init__(self, side: int = 16) -> None:
        self.side = side

    def __len__(self) -> int:
        return 8

    def batch(self, indices: Any) -> tuple[Any, dict[str, list[Any]]]:
        levels = np.arange(8, dtype=np.uint8)[list(indices), None, None] * 30
        return np.broadcast_to(levels, (len(levels), self.side, self.side)).copy(), {}


def test_channels_follow_from_the_data_and_wrong_settings_are_refused_at_once(tmp_path: Path) -> None:
    make = plugin("image").autoencoder
    assert make is not None
    found = make(Grey(), TINY, 0)
    assert found.network.channels == 1 and found.codec.size == 16 and found.name == "my-vae"
    for data, given, message in (
        (Grey(18), TINY, "size must be a multiple of 4"),
        (Grey(), {**TINY, "netwrk": 1}, "unknown key of an autoencoder's model 'netwrk'"),
        (Grey(), {"autoencoder": {"width": 3}}, "did you mean 'widths'"),
        (Grey(), {**TINY, "objective": {"l3": 1.0}}, "'l3'"),
    ):
        with pytest.raises(ValueError, match=message):
            make(data, given, 0)
    with pytest.raises(ValueError, match="lv.train_codec trains it"):
        lv.train("shapes", model=TINY, out=tmp_path / "m")
