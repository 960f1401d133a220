from __future__ import annotations

import math
import sys
import types

import numpy as np
import pytest
import torch

from langevin import optional
from langevin.modalities.audio.sound import Audio, decibels, filter_reach, level


def test_arrays_tensors_and_pcm_become_float_rows():
    assert Audio(np.zeros(5), 8000).samples.shape == (1, 5)
    assert Audio(torch.zeros(2, 5), 8000).channels == 2
    pcm = np.array([-32768, -1, 0, 1, 32767], dtype=np.int16)
    sound = Audio(pcm, 8000)
    assert sound.samples.dtype == np.float32
    assert np.array_equal(np.rint(sound.samples[0] * 32768), pcm)
    assert repr(sound) == "Audio(0.001 s, 8000 Hz, mono, peak 0.0 dBFS)"


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((1, 0)), 8000, "none of them 0"),
        (np.zeros((1, 2, 3)), 8000, "shape"),
        (np.array([0.0, np.nan]), 8000, "NaN"),
        (np.array([0.0, np.inf]), 8000, "infinity"),
        (np.array([1, 2]), 8000, "floats in .* or int16; got int64"),
        (np.zeros(3), 0, "positive whole number"),
        (np.zeros(3), 8000.5, "positive whole number"),
    ],
)
def test_what_is_no_sound_is_refused(samples, rate, message):
    with pytest.raises(ValueError, match=message):
        Audio(samples, rate)


def test_channels(noise):
    stereo = noise(channels=2)
    assert np.allclose(stereo.mono().samples[0], stereo.samples.mean(0))
    both = noise().stereo().samples
    assert np.array_equal(both[0], both[1])
    assert stereo.stereo() is stereo
    assert noise(channels=3).stereo().channels == 2


@pytest.mark.parametrize(("old", "new"), [(44100, 16000), (16000, 44100), (8000, 11127), (48000, 8000)])
def test_resampling_keeps_tones_and_removes_what_would_fold(tone, old, new):
    there = tone(0.3, old, 440).resampled(new)
    assert len(there) == math.ceil(round(0.3 * old) * new / old)
    assert np.abs(there.samples - tone(1, new, 440).samples[:, : len(there)])[:, 300:-300].max() < 1e-4
    if new < old:
        folded = tone(0.3, old, 0.55 * new).resampled(new)
        assert decibels(np.abs(folded.samples[:, 300:-300]).max()) < -80


def test_resampling_equals_that_of_torchaudio(noise):
    sound = noise(0.3, 44100)
    reference = optional.torchaudio().functional.resample(
        torch.from_numpy(sound.samples).double(), 44100, 16000, lowpass_filter_width=64,
        rolloff=0.9475937167399596, resampling_method="sinc_interp_kaiser", beta=14.769656459379492,
    )  # fmt: skip
    ours = sound.resampled(16000).samples
    assert ours.shape == tuple(reference.shape)
    assert np.abs(ours - reference.numpy()).max() < 2e-5


def test_a_resampled_sample_depends_on_its_reach_alone(noise):
    sound, reach = noise(0.5, 44100), filter_reach(44100, 16000)
    changed = sound.samples.copy()
    place = 8820  # = 3200 at 16 kHz
    changed[:, place + reach :] = 0
    changed[:, : place - reach] = 0
    a, b = sound.resampled(16000), Audio(changed, 44100).resampled(16000)
    assert abs(a.samples[0, 3200] - b.samples[0, 3200]) < 1e-7


def test_parts(tone):
    sound = tone(1.0)
    assert np.array_equal(sound.cropped(0.25, 0.5).samples, sound.samples[:, 2000:6000])
    assert len(sound.cropped(0.5)) == 4000
    for start, seconds in [(-0.1, 0.2), (0.9, 0.2), (0, 0), (1, None)]:
        with pytest.raises(ValueError, match="no part of a sound of 1 s"):
            sound.cropped(start, seconds)


def test_loudness_is_that_of_the_standard(tone):
    # ITU-R BS.1770-4: a full-scale sine of 997 Hz in one channel is −3.01 LUFS
    assert tone(3, 48000, 997, peak=1.0).loudness == pytest.approx(-3.01, abs=0.05)
    assert tone(0.1, 48000, 997, peak=1.0).loudness == pytest.approx(-3.01, abs=0.3)  # shorter than a block
    assert Audio(np.zeros(8000), 8000).loudness == -math.inf
    with pytest.raises(ValueError, match="5 channels"):
        _ = Audio(np.zeros((6, 8000)), 8000).loudness


def test_normalising(tone):
    assert tone().normalised(lufs=-23).loudness == pytest.approx(-23, abs=1e-3)
    assert tone().normalised(peak=-1).peak == pytest.approx(10 ** (-1 / 20), abs=1e-6)
    silence = Audio(np.zeros(8000), 8000)
    assert silence.normalised(lufs=-23) is silence
    assert silence.normalised(peak=-1) is silence
    for given in ({}, {"lufs": -23, "peak": -1}):
        with pytest.raises(ValueError, match="either"):
            tone().normalised(**given)


def test_the_level_is_that_of_the_loudest_stretch(tone):
    event = tone(0.1, peak=0.5)
    padded = Audio(np.pad(event.samples, ((0, 0), (0, 80000))), 8000)
    assert level(padded.samples, 8000) == pytest.approx(decibels(0.5 / math.sqrt(2)), abs=0.1)
    assert level(np.zeros((1, 100), np.float32), 8000) == -math.inf
    assert level(event.samples[:, :3], 8000) < 0


def test_a_player_gets_audible_samples(tone, monkeypatch):
    seen = {}
    display = types.SimpleNamespace(
        Audio=lambda data, rate, normalize: seen.update(data=data, rate=rate, n=normalize)
    )
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=display))
    tone(0.1, peak=2.0).play()
    assert np.abs(seen["data"]).max() == pytest.approx(1.0)
    assert (seen["rate"], seen["n"]) == (8000, False)
