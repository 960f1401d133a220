from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from langevin import optional
from langevin.folders import FolderError
from langevin.modalities.audio.metrics import Clap, VGGish
from langevin.modalities.audio.metrics.pretrained import _vggish_input
from langevin.modalities.audio.sound import Audio


def noise(seconds: float, seed: int = 0, rate: int = 16_000) -> Audio:
    return Audio(0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate)), rate)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "fusion"])
def clap(request, tmp_path_factory) -> Clap:
    """A random CLAP model that hears 1 s at 8 kHz."""
    transformers = optional.transformers()
    folder = tmp_path_factory.mktemp("clap")
    text = transformers.ClapTextConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, projection_dim=8,
    )  # fmt: skip
    audio = transformers.ClapAudioConfig(
        spec_size=32, window_size=4, num_mel_bins=32, depths=[1, 1], num_attention_heads=[2, 2], num_hidden_layers=2,
        hidden_size=32, patch_embeds_hidden_size=16, patch_size=2, patch_stride=2, projection_dim=8,
        enable_fusion=request.param,
    )  # fmt: skip
    config = transformers.ClapConfig(
        text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=8
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.ClapModel(config).save_pretrained(folder)
    transformers.ClapFeatureExtractor(
        feature_size=32, sampling_rate=8000, hop_length=256, max_length_s=1, fft_window_size=512,
        frequency_max=4000, truncation="fusion" if request.param else "rand_trunc",
    ).save_pretrained(folder)  # fmt: skip
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    transformers.RobertaTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[]).save_pretrained(
        folder
    )
    return Clap(folder, batch_size=2)


def test_clap_embeds_sounds_one_by_one_and_always_alike(clap):
    sounds = [noise(0.4), noise(1.0, 1), noise(2.6, 2), Audio(np.zeros((2, 900)), 44_100)]
    found = clap(sounds)
    assert found.shape == (4, 8)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert clap(sounds) == pytest.approx(found, abs=1e-6)
    assert clap(sounds[2:3])[0] == pytest.approx(found[2], abs=1e-5)
    with pytest.raises(ValueError, match="at least one"):
        clap([])


def test_the_clap_score_is_the_cosine_of_sound_and_text(clap):
    sounds, texts = [noise(0.5, s) for s in range(3)], ["a dog", "rain", "the digit seven"]
    scores = clap.scores(sounds, texts)
    assert scores == pytest.approx((clap(sounds) * clap.texts(texts)).sum(1), abs=1e-6)
    score = clap.score(sounds, texts)
    assert score.value == pytest.approx(scores.mean(), abs=1e-6)
    assert score.n == 3
    with pytest.raises(ValueError, match="each of the 3 sounds"):
        clap.scores(sounds, texts[:2])


def test_clap_equals_the_model_called_by_hand(clap):
    sound = noise(0.7, rate=8000)
    inputs = clap.extract(sound.samples[0], sampling_rate=8000, return_tensors="pt")
    inputs["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)
    text = clap._tokenizer or optional.transformers().AutoTokenizer.from_pretrained(str(clap._folder))
    with torch.no_grad():
        out = clap.net(**inputs, **text(["rain"], return_tensors="pt"))
    assert clap([sound]) == pytest.approx(out.audio_embeds.numpy(), abs=1e-5)
    assert clap.texts(["rain"]) == pytest.approx(out.text_embeds.numpy(), abs=1e-5)


@pytest.mark.parametrize(("measure", "command"), [(Clap, "hf download"), (VGGish, "curl -LO")])
def test_weights_are_local_or_the_command_is_named(measure, command, tmp_path):
    with pytest.raises(FileNotFoundError, match=command):
        measure(tmp_path / "nothing")


def test_clap_is_read_from_safetensors_alone_and_whole(clap, tmp_path):
    home = tmp_path / "clap"
    shutil.copytree(clap._folder, home)
    kept = load_file(home / "model.safetensors")
    gone = "audio_projection.linear1.weight"
    save_file({k: v for k, v in kept.items() if k != gone}, home / "model.safetensors", {"format": "pt"})
    with pytest.raises(FolderError, match=f"weights do not fit config.json: {gone}"):
        Clap(home)
    (home / "model.safetensors").unlink()
    torch.save(kept, home / "pytorch_model.bin")
    with pytest.raises(FolderError, match=r"pytorch_model\.bin is a pickle"):
        Clap(home)
    (tmp_path / "vocab.json").write_text("{}")
    (home / "vocab.json").symlink_to(tmp_path / "vocab.json")
    with pytest.raises(FolderError, match="leads out of the folder"):
        Clap(home)


def test_vggish_hears_windows_of_96_frames():
    assert _vggish_input(noise(0.2).samples[0].astype(float)).shape == (1, 96, 64)
    assert _vggish_input(noise(1.935).samples[0].astype(float)).shape == (2, 96, 64)
    assert _vggish_input(noise(1.934).samples[0].astype(float)).shape == (1, 96, 64)
    t = np.arange(16_000) / 16_000
    level = _vggish_input(np.sin(2 * np.pi * 1000 * t))[0]
    # 64 bands between mel(125) and mel(7500); 1000 Hz lies at mel 1000 of 185 … 2774.
    assert level.mean(0).argmax() == round((1000 - 185) / (2774 - 185) * 65) - 1
    assert level.min() >= np.log(0.01) - 1e-6


def test_vggish_bands_equal_those_of_transformers():
    optional.transformers()
    from transformers.audio_utils import mel_filter_bank

    banks = mel_filter_bank(257, 64, 125, 7500, 16_000, mel_scale="kaldi", triangularize_in_mel_space=True)
    x = noise(1).samples[0].astype(float)
    frames = np.lib.stride_tricks.sliding_window_view(x, 400)[::160][:96]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    wanted = np.log(np.abs(np.fft.rfft(frames * hann, 512)) @ banks + 0.01)
    assert _vggish_input(x)[0] == pytest.approx(wanted, abs=1e-4)


def test_vggish_reads_the_state_of_the_port_and_nothing_else(tmp_path):
    state, half = {}, torch.float16
    for k, (i, o) in zip(
        (0, 3, 6, 8, 11, 13), ((1, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512))
    ):
        weight = torch.randn(o, i, 3, 3, generator=torch.Generator().manual_seed(k)) * (2 / (9 * i)) ** 0.5
        state |= {f"features.{k}.weight": weight.to(half), f"features.{k}.bias": torch.zeros(o, dtype=half)}
    for k, (i, o) in zip((0, 2, 4), ((12288, 4096), (4096, 4096), (4096, 128))):
        state |= {f"embeddings.{k}.weight": torch.zeros(o, i, dtype=half)}
        state |= {f"embeddings.{k}.bias": torch.ones(o, dtype=half)}
    path = tmp_path / "vggish.safetensors"
    save_file(state, path)
    net = VGGish(path)
    sounds = [noise(2.0), noise(0.5, 1)]
    assert [w.shape for w in net.windows(sounds)] == [(2, 128), (1, 128)]
    assert net(sounds) == pytest.approx(np.ones((2, 128)))
    places = net.net["features"](torch.from_numpy(_vggish_input(sounds[1].samples[0].astype(float)))[:, None])
    net.net["embeddings"] = torch.nn.Identity()
    flat = net.windows(sounds[1:])[0][0]  # as TensorFlow flattens: rows, columns, channels
    assert flat[(3 * 4 + 2) * 512 + 7] == pytest.approx(float(places[0, 7, 3, 2].detach()))
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="does not hold VGGish"):
        VGGish(path)
