"""The autoencoder of clips as users train it, and a model on what it leaves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import langevin as lv
from langevin.core.rng import Stream
from langevin.modalities.video.clip import Video
from langevin.modalities.video.data import open_data
from langevin.modalities.video.plugin import plugin
from langevin.modalities.video.vae_training import Reconstruction, rebuilt

SMALL: dict[str, Any] = {
    "steps": 2,
    "batch": 4,
    "log": 1,
    "device": "cpu",
    "progress": False,
    "optimizer": "adamw",
}
VAE = {"name": "video_vae", "latent": 3, "widths": [4, 6], "time": [4], "space": [2], "patch": 2}
NETWORK = {"name": "dit", "width": 24, "depth": 1, "heads": 2, "axes": 3, "modulation": "shared"}
FIELDS = ("l1", "l2", "edge", "motion", "kl")


@pytest.fixture
def archive(tmp_path: Path, moving: Any) -> Path:
    """Six clips of 8 frames, 16 × 24 pixels."""
    clips = [moving(14, 16, 24).frames[k : k + 8] for k in range(6)]
    np.savez(tmp_path / "clips.npz", video=np.stack(clips), fps=8.0)
    return tmp_path / "clips.npz"


def fresh(archive: Path, **given: Any) -> Any:
    assert plugin.autoencoder is not None
    return plugin.autoencoder(open_data(archive), {"autoencoder": VAE, **given}, 0)


def test_an_autoencoder_is_the_codec_of_a_latent_model(archive: Path, tmp_path: Path) -> None:
    codec = lv.train_codec(
        archive, "video", out=tmp_path / "vae", model={"autoencoder": VAE, "name": "v"}, **SMALL
    )
    assert (codec.channels, codec.factor, codec.stride, codec.size) == (3, 4, 4, (16, 24))
    text = (tmp_path / "vae" / "card.md").read_text()
    assert (
        "3 channels, one for 4 × 4 pixels of 4 frames" in text
        and "the median over 6 clips of the training data" in text
    )
    with pytest.raises(lv.FolderError, match="holds an autoencoder, which a model uses as its codec"):
        lv.load(tmp_path / "vae")

    node = {
        "modality": {"codec": {"name": "video_vae", "folder": str(tmp_path / "vae")}},
        "network": NETWORK,
        "sampling": {"grid": "uniform"},
    }
    model = lv.train(archive, "video", out=tmp_path / "latent", model=node, **SMALL)
    assert model.modality.codec.size == (16, 24) and model.modality.frames == 8
    assert model.modality._patches.seconds == 0.5 and model.modality._patches.pixels == 4
    shutil.rmtree(tmp_path / "vae")  # the model has its own copy of the codec
    shutil.move(tmp_path / "latent", tmp_path / "elsewhere")
    again = lv.load(tmp_path / "elsewhere", device="cpu")
    own = open_data(archive).batch([0])[0][0]
    assert torch.equal(again.modality.encode([own])[0], model.modality.encode([own])[0])


class TestVerbs:
    """With an untrained network: what is kept, how long clips are, and that streams are what they would be at once."""

    @pytest.fixture
    def model(self, archive: Path, tmp_path: Path) -> Any:
        lv.train_codec(archive, "video", out=tmp_path / "vae", model={"autoencoder": VAE}, **SMALL)
        node = {
            "modality": {"codec": {"name": "video_vae", "folder": str(tmp_path / "vae")}},
            "network": NETWORK,
        }
        model = lv.train(archive, "video", out=tmp_path / "m", model=node, **{**SMALL, "steps": 1})
        for parameter in model.network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        return model

    def test_a_loop_is_refused_with_what_to_do(self, model: Any) -> None:
        with pytest.raises(ValueError, match=r"stand for 4 frames, .*verbs\.close\(model"):
            model.sample(1, steps=2, loop=True)

    def test_lengths(self, model: Any) -> None:
        made = model.sample(2, steps=2, progress=False)
        assert [len(clip) for clip in made] == [8, 8] and made.state.shape == (2, 3, 3, 4, 6)
        for frames, elements in ((1, 1), (2, 2), (5, 2), (6, 3)):
            made = model.sample(1, frames=frames, steps=1, progress=False)
            assert len(made[0]) == frames and made.state.shape[1] == elements

    def test_a_first_frame_is_kept(self, model: Any, archive: Path) -> None:
        own = open_data(archive).batch([1])[0][0]
        made = model.sample(1, like=own, keep=lv.keep.frames(0), steps=3, progress=False)
        assert np.array_equal(made[0].frames[0], own.frames[0]) and len(made[0]) == 8
        known = model.modality.codec.encode([own.frames[:1]])
        assert torch.allclose(made.state[:, :1], known, atol=1e-4)
        assert (made.state[:, 1:] - model.modality.encode([own])[0][:, 1:]).abs().max() > 0.1

    def test_clips_are_extended_and_streamed(self, model: Any, archive: Path) -> None:
        own = open_data(archive).batch([1])[0][0]
        made = model.extend(own, frames=20, steps=2, progress=False)
        assert len(made[0]) == 28 and np.array_equal(made[0].frames[:8], own.frames)
        stream = model.stream(1, frames=30, window=9, overlap=4, steps=2, progress=False)
        pieces = np.concatenate([piece.frames for (piece,) in stream])
        whole = stream.collect()
        assert len(pieces) == 30 and np.array_equal(pieces, whole[0].frames)
        at_once = model.modality.codec.decode(whole.state)[0][:30]
        assert np.abs(at_once.astype(int) - pieces).max() <= 1


def test_training_resumes_exactly(archive: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "model": {"autoencoder": VAE}, "decay": "constant", "save": 2}
    whole = lv.train_codec(archive, "video", out=tmp_path / "a", **{**settings, "steps": 4})
    for steps in (2, 4):
        parts = lv.train_codec(archive, "video", out=tmp_path / "b", **{**settings, "steps": steps})
    one, other = (codec.network.state_dict() for codec in (whole, parts))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_the_loss_falls(archive: Path) -> None:
    model, data = fresh(archive), open_data(archive)
    items, _ = data.batch(range(6))
    optimizer = torch.optim.AdamW(model.network.parameters(), 1e-2)
    found = []
    for step in range(15):
        losses, parts = model.loss(items, {}, Stream.of(step, 6))
        assert losses.shape == (6,) and set(parts) == set(FIELDS)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        found.append(float(losses.detach().mean()))
    assert min(found[-3:]) < 0.8 * found[0]


def test_the_loss_is_what_the_module_says() -> None:
    x, guess = (torch.randn(2, 5, 3, 4, 6, dtype=torch.float64) for _ in range(2))
    mean, log_var = (torch.randn(2, 2, 3, 1, 1, dtype=torch.float64) for _ in range(2))
    count = torch.tensor([5, 1]), torch.tensor([2, 1])
    total, _ = Reconstruction(l1=0.3, l2=0.6, edge=0.2, motion=0.7, kl=0.01)(x, guess, mean, log_var, *count)
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mean, (0.5 * log_var).exp()), normal(0.0, 1.0)).sum(
        (2, 3, 4)
    )
    wanted = []
    for row, (frames, elements) in enumerate(((5, 2), (1, 1))):
        e = (guess - x)[row, :frames].numpy()
        edge = np.abs(np.diff(e, axis=2)).mean() + np.abs(np.diff(e, axis=3)).mean()
        motion = np.abs(np.diff(e, axis=0)).mean() if frames > 1 else 0.0
        drift = float(kl[row, :elements].sum()) / (frames * 3 * 4 * 6)
        wanted.append(
            0.3 * np.abs(e).mean() + 0.6 * np.square(e).mean() + 0.2 * edge + 0.7 * motion + 0.01 * drift
        )
    torch.testing.assert_close(total, torch.tensor(wanted, dtype=torch.float64))


def test_a_clips_loss_does_not_depend_on_its_batch(archive: Path, moving: Any) -> None:
    model = fresh(archive)
    items = [moving(n, 16, 24) for n in (8, 3, 1)]
    whole, _ = model.loss(items, {}, Stream.of(0, 3))
    for k, item in enumerate(items):
        alone, _ = model.loss([item], {}, Stream.of(0, [k]))
        torch.testing.assert_close(whole[k], alone[0], atol=1e-5, rtol=1e-4)


def test_statistics_are_those_of_the_data(archive: Path) -> None:
    model, data = fresh(archive), open_data(archive)
    model.complete(data, 0)
    clips, _ = data.batch(range(6))
    states = model.codec.encode([np.concatenate([c.frames, c.frames[-1:]]) for c in clips])
    assert states.mean((0, 1, 3, 4)).abs().max() < 1e-3
    assert (states.std((0, 1, 3, 4), unbiased=False) - 1).abs().max() < 1e-3
    assert not any(p.requires_grad for p in model.network.parameters())
    real, made = rebuilt(model.codec, data, 3)
    assert [len(c) for c in made] == [8, 8, 8] and made[0].size == real[0].size == (24, 16)


def test_pictures_are_clips_of_one_frame(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 1, 18, 21, 3), dtype=np.uint8)
    np.savez(tmp_path / "pictures.npz", video=frames)
    model = fresh(tmp_path / "pictures.npz")
    assert model.size == (16, 20)  # down to multiples of the factor
    losses, parts = model.loss([Video(f, 8.0) for f in frames], {}, Stream.of(0, 4))
    assert bool(torch.isfinite(losses).all()) and float(parts["motion"].detach().abs().max()) == 0
    assert model.sheet(open_data(tmp_path / "pictures.npz")).size[0] > 0


def test_wrong_settings_are_refused_at_once(archive: Path, tmp_path: Path) -> None:
    for given, message in (
        ({"autoencoder": {"name": "video_va"}}, "did you mean 'video_vae'"),
        ({"autoencoder": {"latents": 3}}, "did you mean 'latent'"),
        ({"network": 1}, "unknown key of an autoencoder's model 'network'"),
        ({"objective": {"motions": 1.0}}, "did you mean 'motion'"),
        ({"objective": {"kl": -1.0}}, "must not be negative"),
        ({"autoencoder": {**VAE, "patch": 16, "space": [4]}}, "at least 64 pixels"),
    ):
        with pytest.raises(ValueError, match=message):
            fresh(archive, **given)
    assert fresh(archive, autoencoder={"widths": [4], "time": [], "space": []}).network.factor == 2
