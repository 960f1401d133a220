from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest
import torch

from langevin import optional
from langevin.core.registry import build
from langevin.modalities.audio.codec import CODECS
from langevin.modalities.audio.framing import Framing
from langevin.modalities.audio.mel import PRESETS, MelSpec, preset

SOUND = np.random.default_rng(0).standard_normal((2, 12345)) * 0.2


@pytest.fixture(scope="module")
def reference():
    optional.transformers()
    return importlib.import_module("transformers.audio_utils")


@pytest.mark.parametrize("name", PRESETS)
def test_filters_equal_those_of_transformers(reference, name):
    spec = PRESETS[name]
    theirs = reference.mel_filter_bank(
        num_frequency_bins=spec.n_fft // 2 + 1, num_mel_filters=spec.mels, min_frequency=spec.fmin,
        max_frequency=spec.fmax, sampling_rate=spec.rate, norm=spec.norm, mel_scale=spec.scale,
    )  # fmt: skip
    assert np.abs(spec.filterbank.numpy() - theirs.T).max() < 1e-10


@pytest.mark.parametrize("name", [name for name, spec in PRESETS.items() if spec.centre])
def test_log_mels_equal_those_of_transformers(reference, name):
    spec = PRESETS[name]
    window = reference.window_function(spec.win, "hann", periodic=True)
    for row in SOUND:
        theirs = reference.spectrogram(
            row, window, spec.win, spec.hop, fft_length=spec.n_fft, power=1.0, center=True, pad_mode="reflect",
            mel_filters=spec.filterbank.numpy().T, mel_floor=spec.floor, log_mel="log10", dtype=np.float64,
        )  # fmt: skip
        theirs = theirs if spec.log == "log10" else theirs * np.log(10)
        ours = spec.spectrogram(torch.from_numpy(row)[None])[0].numpy()
        assert ours.shape == theirs.shape == (spec.mels, spec.frames_of(len(row)))
        assert np.abs(ours - theirs).max() < 1e-5
        single = spec.spectrogram(torch.from_numpy(row).float()[None])[0].numpy()
        assert np.abs(single - theirs).max() < 2e-4


def test_hifigan_16k_is_what_speecht5_takes(reference):
    extractor = optional.transformers().SpeechT5FeatureExtractor()
    theirs = extractor(audio_target=SOUND[0], sampling_rate=16000, return_tensors="np")["input_values"][0]
    ours = PRESETS["hifigan-16k"].spectrogram(torch.from_numpy(SOUND[:1]))[0].T.numpy()
    assert np.abs(ours - theirs).max() < 1e-4  # theirs is in float32


def test_bigvgan_24k_is_its_own_formula():
    """meldataset.mel_spectrogram of BigVGAN, written out."""
    spec = PRESETS["bigvgan-24k"]
    x = torch.from_numpy(SOUND)
    padded = torch.nn.functional.pad(x[:, None], (384, 384), mode="reflect")[:, 0]
    window = torch.hann_window(1024, dtype=torch.float64)
    z = torch.stft(padded, 1024, 256, 1024, window, center=False, return_complex=True)
    magnitude = torch.sqrt(torch.view_as_real(z).pow(2).sum(-1) + 1e-9)
    theirs = torch.log(torch.clamp(spec.filterbank @ magnitude, min=1e-5))
    ours = spec.spectrogram(x)
    assert ours.shape == theirs.shape == (2, 100, 12345 // 256)
    assert (ours - theirs).abs().max() < 1e-10


def test_vocos_24k_is_torchaudios():
    transform = optional.torchaudio().transforms.MelSpectrogram(
        sample_rate=24000, n_fft=1024, hop_length=256, n_mels=100, center=True, power=1
    )
    x = torch.from_numpy(SOUND).float()
    theirs = torch.log(torch.clip(transform(x), min=1e-7))
    assert (PRESETS["vocos-24k"].spectrogram(x) - theirs).abs().max() < 1e-3  # both in float32


def test_silence_is_the_floor_and_short_sounds_have_frames():
    for spec in PRESETS.values():
        silent = spec.spectrogram(torch.zeros(1, 4 * spec.n_fft))
        assert torch.allclose(silent, torch.full_like(silent, spec.lowest)) or spec.epsilon
        short = spec.spectrogram(torch.ones(1, spec.hop))
        assert short.shape[2] == spec.frames_of(spec.hop)
        assert torch.isfinite(short).all()
        for frames in (1, 7):
            assert spec.frames_of(max(1, spec.samples_of(frames))) == frames


@pytest.mark.parametrize("power", [1, 2])
def test_the_filterbank_is_inverted_by_least_squares(power):
    spec = preset("speech-8k", power=power)
    magnitude = torch.rand(1, 1, 20, dtype=torch.float64) * spec.inverse.sum(1)[None, :, None].clamp(min=0)
    energy = magnitude**power
    log_mel = (spec.filterbank @ energy).clamp(min=1e-12).log()
    again = spec.filterbank @ spec.magnitudes(log_mel) ** power
    assert (again - log_mel.exp()).abs().max() / log_mel.exp().max() < 0.05


def test_differences_are_named():
    spec = PRESETS["speech-8k"]
    assert spec.differences(preset("speech-8k")) == []
    assert spec.differences(preset("speech-8k", fmax=3800, log="log10")) == [
        "fmax 4000.0 and 3800.0",
        "log ln and log10",
    ]
    with pytest.raises(ValueError, match="did you mean 'speech-8k'"):
        preset("speech8k")
    with pytest.raises(ValueError, match="did you mean 'fmax'"):
        preset("speech-8k", fmx=1)


def test_specifications_are_plain():
    tree = dataclasses.asdict(PRESETS["bigvgan-24k"])
    assert build(CODECS, {"name": "log_mel", "spec": tree}).spec == PRESETS["bigvgan-24k"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"win": 600}, "at most n_fft"),
        ({"hop": 300}, "twice hop"),
        ({"fmax": 5000}, "fmin < fmax ≤ 4000"),
        ({"mels": 400}, "filters are narrower"),
        ({"scale": "slany"}, "did you mean 'slaney'"),
        ({"floor": 0.0}, "floor must be above 0"),
        ({"n_fft": 513}, "n_fft even"),
    ],
)
def test_impossible_specifications(changes, message):
    with pytest.raises(ValueError, match=message):
        preset("speech-8k", **changes)


@pytest.mark.parametrize(
    "framing", [Framing(64, 64, 16, 32), Framing(64, 48, 16, 24), Framing(64, 64, 20, 22, "constant")]
)
@pytest.mark.parametrize("frames", [1, 2, 3, 40])
def test_frames_and_back(framing, frames):
    x = torch.randn(2, frames * framing.hop, dtype=torch.float64)
    spectra = framing.analyse(x)
    assert spectra.shape == (2, framing.bins, frames)
    assert (framing.synthesise(spectra) - x).abs().max() < 1e-10


def test_centred_frames_are_those_of_torch():
    x = torch.randn(1, 640)
    theirs = torch.stft(x, 64, 16, 64, torch.hann_window(64), return_complex=True)
    assert torch.allclose(Framing(64, 64, 16, 32).analyse(x, 41), theirs, atol=1e-5)
    assert MelSpec(8000, 64, 64, 16, 8).frames_of(640) == 41


def test_a_filterbank_is_made_where_networks_are_built_without_memory() -> None:
    with torch.device("meta"):
        spec = preset("audioldm-16k", mels=47)
    assert spec.filterbank.device.type == "cpu" and float(spec.filterbank.sum()) > 0


def test_half_precision_around_it_does_not_reach_the_mel_scale() -> None:
    spec = preset("speech-8k")
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2048)).astype(np.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = spec.spectrogram(x)
        back = spec.magnitudes(found)
    assert torch.equal(found, spec.spectrogram(x)) and torch.equal(back, spec.magnitudes(found))
