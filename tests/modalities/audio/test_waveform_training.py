"""Autoencoders and vocoders as users train them, and models on what they leave."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import langevin as lv
from langevin.cli.main import main
from langevin.core.rng import Stream
from langevin.modalities.audio.data import open_data
from langevin.modalities.audio.mel import PRESETS
from langevin.modalities.audio.metrics.signal import multi_resolution_stft
from langevin.modalities.audio.plugin import plugin
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.vocoder_training import Resynthesis
from langevin.modalities.audio.waveform_training import Reconstruction, spectral, waves

SMALL: dict[str, Any] = {
    "steps": 2,
    "batch": 4,
    "log": 1,
    "device": "cpu",
    "progress": False,
    "optimizer": "adamw",
}
VAE = {"name": "waveform_vae", "latent": 3, "strides": [4, 4], "widths": [4, 4, 4]}
ISTFT = {"name": "istft", "spec": "speech-8k", "width": 8, "depth": 1}
NETWORK = {"name": "dit", "width": 32, "depth": 1, "heads": 2, "modulation": "shared"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight tones in noise, of 0.25 s and more."""
    rng = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    for k in range(8):
        t = np.arange(2048 + 300 * (k % 2)) / 8000
        wave = 0.4 * np.sin(2 * np.pi * 200 * (k + 1) * t) + 0.02 * rng.standard_normal(len(t))
        Audio(wave, 8000).save(tmp_path / "sounds" / f"{k}.wav")
    return tmp_path / "sounds"


def test_an_autoencoder_is_the_codec_of_a_latent_model(folder: Path, tmp_path: Path) -> None:
    codec = lv.train_codec(
        folder, "audio", out=tmp_path / "vae", model={"autoencoder": VAE, "name": "v"}, **SMALL
    )
    assert (codec.rate, codec.hop, codec.channels, codec.bins) == (8000, 16, 3, 1)
    text = (tmp_path / "vae" / "card.md").read_text()
    assert "3 channels, one frame for 16 samples" in text and "over 8 sounds of the training data" in text
    sounds, _ = open_data(folder).batch(range(8))
    states = torch.cat([codec.encode([sound])[0, :, 0] for sound in sounds], 1)
    assert states.mean(1).abs().max() < 1e-3 and (states.std(1) - 1).abs().max() < 1e-2
    with pytest.raises(lv.FolderError, match="holds an autoencoder, which a model uses as its codec"):
        lv.load(tmp_path / "vae")

    node = {
        "modality": {"codec": {"name": "waveform_vae", "folder": str(tmp_path / "vae")}},
        "network": NETWORK,
        "sampling": {"grid": "uniform"},
    }
    model = lv.train(folder, "audio", out=tmp_path / "latent", model=node, **SMALL)
    assert model.modality.patch == (1, 1) and model.modality.codec.hop == 16
    shutil.rmtree(tmp_path / "vae")  # the model has its own copy of the codec
    shutil.move(tmp_path / "latent", tmp_path / "elsewhere")
    again = lv.load(tmp_path / "elsewhere", device="cpu")
    assert torch.equal(again.modality.codec.encode(sounds[:1]), codec.encode(sounds[:1]))
    made = again.sample(2, seconds=0.2, steps=2, progress=False)
    assert [len(sound) for sound in made] == [1600, 1600]
    kept = again.sample(1, like=sounds[0], keep=lv.keep.seconds(0, 0.1), steps=2, progress=False)[0]
    assert np.array_equal(kept.samples[:, :800], sounds[0].samples[:, :800])


def test_a_vocoder_goes_with_the_model_that_uses_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line, with a model that is loaded from another directory."""
    monkeypatch.chdir(tmp_path)
    training = ["training.steps=2", "training.batch=4", "training.show=2", "training.log=1", "device=cpu"]
    part = [
        "experiment=audio_vocoder",
        "data=sounds",
        f"data.path={folder}",
        "data.split=null",
        "data.crops=1",
    ]
    part += ["model.autoencoder.width=8", "model.autoencoder.depth=1", "out=vocoder"]
    assert main(["train", *part, *training]) == 0
    assert (tmp_path / "vocoder" / "samples-0000002.png").is_file()
    with pytest.raises(lv.FolderError, match="holds a vocoder, which a model uses in its codec"):
        lv.load("vocoder")
    codec = "+model.modality.codec={name: log_mel, spec: speech-8k, vocoder: {name: istft, folder: vocoder}}"
    rest = ["+model.network={name: dit, width: 32, depth: 1, heads: 2, modulation: shared}", "out=model"]
    rest += ["+model.sampling.grid=uniform"]
    assert main(["train", "data=sounds", f"data.path={folder}", codec, *rest, *training[:2]]) == 0
    shutil.rmtree("vocoder")
    shutil.move("model", tmp_path / "folder")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    model = lv.load("../folder", device="cpu")
    vocoder = model.modality.codec.vocoder
    assert type(vocoder).__name__ == "IstftVocoder" and vocoder.network.width == 8
    copied = sorted(p.name for p in (tmp_path / "folder" / "parts" / "0-istft").iterdir())
    assert copied == ["card.md", "config.yaml", "model.safetensors"]
    made = model.sample(1, seconds=0.2, steps=2, progress=False)
    assert len(made[0]) == 1600
    model.save(tmp_path / "third")  # and from there to a third place
    assert lv.load(tmp_path / "third", device="cpu").modality.codec.vocoder.network.width == 8
    config = (tmp_path / "third" / "config.yaml").read_text()
    (tmp_path / "third" / "config.yaml").write_text(
        config.replace("parts/0-istft", "../folder/parts/0-istft")
    )
    with pytest.raises(lv.FolderError, match="names a part outside the folder"):
        lv.load(tmp_path / "third")


@pytest.mark.parametrize("node", [VAE, ISTFT], ids=["waveform_vae", "istft"])
def test_training_resumes_exactly(node: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "model": {"autoencoder": node}, "decay": "constant", "save": 2}
    whole = lv.train_codec(folder, "audio", out=tmp_path / "a", **{**settings, "steps": 4})
    for steps in (2, 4):
        parts = lv.train_codec(folder, "audio", out=tmp_path / "b", **{**settings, "steps": steps})
    one, other = (
        (codec.network if node is VAE else codec.vocoder.network).state_dict() for codec in (whole, parts)
    )
    assert all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("node", [VAE, ISTFT], ids=["waveform_vae", "istft"])
def test_the_loss_falls(node: dict[str, Any], folder: Path) -> None:
    assert plugin.autoencoder is not None
    model = plugin.autoencoder(open_data(folder), {"autoencoder": node}, 0)
    items, _ = open_data(folder).batch(range(8))
    optimizer = torch.optim.AdamW(model.network.parameters(), 1e-2)
    found = []
    for step in range(12):
        losses, parts = model.loss(items, {}, Stream.of(step, 8))
        assert losses.shape == (8,) and all(part.shape == (8,) for part in parts.values())
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        found.append(float(losses.detach().mean()))
    assert min(found[-3:]) < 0.9 * found[0]


def test_the_spectral_loss_is_the_metric_and_has_a_gradient_everywhere(noise: Any, tone: Any) -> None:
    x, y = (torch.from_numpy(s.samples).double() for s in (noise(0.5), tone(0.5)))
    windows = [(1024, 256, 1024), (256, 64, 256)]
    assert float(spectral(x, y, 8000, (0.128, 0.032))) == pytest.approx(
        multi_resolution_stft(x[0].numpy(), y[0].numpy(), windows)
    )
    latent = torch.zeros(1, 1, 1)
    for start in (torch.zeros(1, 4096), 0.1 * torch.randn(1, 4096)):
        guess = start.requires_grad_()
        one, _ = Reconstruction()(y[:, :4000].float(), guess[:, :4000], latent, latent, 8000)
        other, _ = Resynthesis()(torch.zeros(1, 4096), guess, PRESETS["speech-8k"])
        for loss in (one, other):
            (slope,) = torch.autograd.grad(loss.sum(), guess)
            assert bool(torch.isfinite(slope).all())
    short = waves([Audio(np.ones(20), 8000), Audio(np.ones(40), 16000)], 8000, 16)
    assert short.shape == (2, 32) and float(short[0, 20:].abs().max()) == 0
    assert bool(torch.isfinite(spectral(short, short, 8000)).all())


def test_wrong_settings_are_refused_at_once(folder: Path) -> None:
    make, data = plugin.autoencoder, open_data(folder)
    assert make is not None
    assert make(data, {"autoencoder": {}}, 0).network.rate == 8000
    assert make(data, {"autoencoder": {"name": "istft"}}, 0).network.spec == PRESETS["speech-8k"]
    changed = make(data, {"autoencoder": {"name": "istft", "spec": {"preset": "speech-8k", "mels": 40}}}, 0)
    assert changed.network.spec.mels == 40
    for given, message in (
        ({"autoencoder": {"name": "istf"}}, "did you mean 'istft'"),
        (
            {"autoencoder": {"name": "istft", "spec": {"preset": "speech-8k", "mel": 4}}},
            "did you mean 'mels'",
        ),
        ({"autoencoder": {"name": "istft", "spec": {"rate": 8000}}}, "missing"),
        ({"autoencoder": {"latents": 3}}, "did you mean 'latent'"),
        ({"autoencoder": {}, "network": 1}, "unknown key of an autoencoder's model 'network'"),
        ({"autoencoder": {}, "objective": {"mel": 1.0}}, "'mel'"),
        ({"autoencoder": {}, "objective": {"kl": -1.0}}, "must not be negative"),
        ({"autoencoder": {"name": "istft"}, "objective": {"windows": []}}, "positive seconds"),
    ):
        with pytest.raises(ValueError, match=message):
            make(data, given, 0)
