from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from langevin import optional
from langevin.core.registry import build
from langevin.folders import FolderError
from langevin.modalities.audio import chunks
from langevin.modalities.audio.catalogue import CODECS
from langevin.modalities.audio.codec import LogMel
from langevin.modalities.audio.mel import PRESETS
from langevin.modalities.audio.modality import AudioModality
from langevin.modalities.audio.oobleck import Oobleck, margins
from langevin.modalities.audio.recipe import defaults


def saved(path, channels=2, strides=(2, 4), seed=0):
    """A small autoencoder with random weights, large enough that neighbours are heard."""
    torch.manual_seed(seed)
    network = optional.diffusers().AutoencoderOobleck(
        encoder_hidden_size=8, downsampling_ratios=list(strides), channel_multiples=[1, 2][: len(strides)],
        decoder_channels=8, decoder_input_channels=4, audio_channels=channels, sampling_rate=8000,
    )  # fmt: skip
    network.save_pretrained(path)
    return network.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("oobleck")
    return path, saved(path)


def test_it_gives_what_diffusers_gives(folder, noise):
    path, network = folder
    codec = build(CODECS, {"name": "oobleck", "folder": str(path), "scale": 2.0})
    assert (codec.rate, codec.channels, codec.bins, codec.hop, codec.sound_channels) == (8000, 4, 1, 8, 2)
    sound = noise(0.2, channels=2)
    state = codec.encode([sound])
    x = torch.from_numpy(sound.samples)[None]
    with torch.no_grad():
        z = network.encode(x).latent_dist.mode()
        back = network.decode(z).sample
    assert torch.allclose(state, 2 * z[:, :, None], atol=1e-6)
    assert np.abs(codec.decode(state)[0].samples - back[0].numpy()).max() < 1e-6


def test_mono_sounds_go_to_both_channels_and_stereo_comes_back(folder, tone):
    codec = Oobleck(str(folder[0]))
    mono = tone(0.2)
    assert torch.equal(codec.encode([mono]), codec.encode([mono.stereo()]))
    assert codec.decode(codec.encode([mono]))[0].channels == 2
    modality = AudioModality(codec, (1, 4), seconds=0.2)
    state, mask = modality.encode([tone(0.2, channels=2)])
    assert mask is None and not torch.equal(state, modality.encode([tone(0.2, channels=2).mono()])[0])
    for sound, channels in ((tone(0.2), 1), (tone(0.2, channels=2), 2), (tone(0.2, channels=3), 3)):
        state, _ = modality.encode([sound])
        item = modality.collect(state, None, {}, {}, like=[sound])[0]
        assert item.samples.shape == (channels, 1600)
    both = modality.collect(
        modality.encode([tone(0.2, channels=2)])[0], None, {}, {}, like=[tone(0.2, channels=2)]
    )
    assert np.abs(both[0].samples[0] - both[0].samples[1]).max() > 1e-4


@pytest.mark.parametrize("strides", [(2, 4), (3, 2), (8, 8)])
def test_pieces_equal_the_whole(strides, tmp_path, noise):
    saved(tmp_path, strides=strides)
    codec = Oobleck(str(tmp_path))
    sound = noise(1.3, channels=2)
    assert max(chunks.difference(codec, sound, 0.25)) < 1e-5
    piece = np.zeros_like(sound.samples)
    piece[:] = sound.samples
    middle = len(sound) // codec.hop // 2
    piece[:, : (middle - codec.encode_margin) * codec.hop] = 0.5
    piece[:, (middle + 1 + codec.encode_margin) * codec.hop :] = -0.5
    other = type(sound)(piece, 8000)
    assert (codec.encode([sound]) - codec.encode([other]))[..., middle].abs().max() < 1e-6


def test_margins_are_no_larger_than_a_frame_more_than_needed(tmp_path):
    """By the gradient of one frame with respect to all samples, and of one frame's samples with respect to all frames."""
    network = saved(tmp_path, strides=(2, 4))
    codec = Oobleck(str(tmp_path))
    hop, frames = codec.hop, 121
    x = torch.randn(1, 2, frames * hop, requires_grad=True)
    network.encode(x).latent_dist.mode()[..., frames // 2].sum().backward()
    seen = (x.grad.abs().sum((0, 1)) > 0).nonzero().flatten() // hop - frames // 2
    assert codec.encode_margin - 1 <= max(-int(seen[0]), int(seen[-1])) <= codec.encode_margin
    z = torch.randn(1, 4, frames, requires_grad=True)
    network.decode(z).sample[..., frames // 2 * hop : (frames // 2 + 1) * hop].sum().backward()
    seen = (z.grad.abs().sum((0, 1)) > 0).nonzero().flatten() - frames // 2
    assert codec.decode_margin - 1 <= max(-int(seen[0]), int(seen[-1])) <= codec.decode_margin
    assert margins([2, 4, 4, 8, 8])[1] < 20  # of the autoencoder of Stable Audio


def test_statistics_bring_states_to_unit_scale(folder, noise, tone):
    sounds = [noise(0.3), tone(0.2)]
    codec = Oobleck(str(folder[0]))
    fitted = codec.fitted(sounds)
    states = torch.cat([fitted.encode([sound])[0, :, 0] for sound in sounds], 1)
    assert states.mean(1).abs().max() < 1e-4
    assert (states.std(1, unbiased=False) - 1).abs().max() < 1e-2
    a, b = codec.decode(codec.encode(sounds[:1]))[0], fitted.decode(fitted.encode(sounds[:1]))[0]
    assert np.abs(a.samples - b.samples).max() < 1e-5
    with pytest.raises(ValueError, match="one value for each of 4 channels"):
        Oobleck(str(folder[0]), mean=(1.0,))
    with pytest.raises(ValueError, match="scale must be positive"):
        Oobleck(str(folder[0]), scale=0.0)


def test_folders_that_hold_no_such_autoencoder(folder, tmp_path):
    with pytest.raises(FolderError, match="no folder"):
        Oobleck(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(FolderError, match="holds no mapping"):
        Oobleck(str(tmp_path))
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(FolderError, match="unknown autoencoder class 'AutoencoderKL'"):
        Oobleck(str(tmp_path))
    text = (folder[0] / "config.json").read_text()
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(FolderError, match="pickled weights are not read"):
        Oobleck(str(tmp_path))
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.symlink_to(folder[0] / weights.name)
    with pytest.raises(FolderError, match="leads out of the folder"):
        Oobleck(str(tmp_path))
    weights.unlink()
    shutil.copy(folder[0] / weights.name, weights)
    for before, after, message in (
        ('"encoder_hidden_size": 8', '"encoder_hidden_size": 16', "an encoder of 16 gives latents of half"),
        ('"decoder_channels": 8', '"decoder_channels": 16', "weights do not fit"),
        ('"audio_channels": 2', '"audio_channels": 3', "1 or 2 channels; got 3"),
    ):
        (tmp_path / "config.json").write_text(text.replace(before, after))
        with pytest.raises(FolderError, match=message):
            Oobleck(str(tmp_path))
    pipeline = tmp_path / "pipeline"
    shutil.copytree(folder[0], pipeline / "vae")
    assert Oobleck(str(pipeline)).folder == str(pipeline / "vae")


def test_the_spectrum_of_a_codec_has_one_channel_of_sound():
    assert getattr(LogMel(PRESETS["speech-8k"]), "sound_channels", 1) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel_multiples": [1]}, "not as many channel_multiples"),
        ({"encoder_hidden_size": None, "decoder_input_channels": None}, "encoder_hidden_size"),
        ({"sampling_rate": 1e400}, "sampling_rate must be whole numbers"),
        ({"sampling_rate": 0}, "sampling_rate must be whole numbers"),
        ({"encoder_hidden_size": 1 << 40}, "encoder_hidden_size must be whole numbers"),
        ({"quantization_config": {"quant_method": "x"}}, "quantised"),
    ],
)
def test_hostile_configurations_are_refused(folder, tmp_path, change, message):
    home = tmp_path / "h"
    shutil.copytree(folder[0], home)
    config = json.loads((home / "config.json").read_text())
    (home / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(FolderError, match=message):
        Oobleck(str(home))


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors.index.json", "adapter_config.json"])
def test_nothing_leads_to_other_files(folder, tmp_path, name):
    home = tmp_path / "h"
    shutil.copytree(folder[0], home)
    (home / name).write_text("{}")
    with pytest.raises(FolderError, match="weights are read from"):
        Oobleck(str(home))


def test_its_statistics_follow_from_data(folder, noise):
    class Two:
        conditions, classes, seconds = {}, {}, 0.2

        def __len__(self):
            return 2

        def batch(self, rows):
            return [noise(0.2, channels=2) for _ in rows], {}

    for scale in ({}, {"scale": 2.0}):
        node = {"name": "oobleck", "folder": str(folder[0]), **scale}
        codec = defaults(Two(), {"modality": {"codec": node}})["modality"]["codec"]
        assert len(codec["mean"]) == len(codec["std"]) == 4 and codec["scale"] == scale.get("scale", 1.0)
