from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct

from langevin import optional
from langevin.modalities.audio.bands import band_power, banks, log_mel, transform
from langevin.modalities.audio.metrics import (
    chroma,
    chroma_similarity,
    log_spectral_distance,
    mel_cepstra,
    mel_cepstral_distortion,
    multi_resolution_stft,
    si_sdr,
    si_snr,
    spectral_convergence,
)
from langevin.modalities.audio.metrics.signal import warped_distance
from langevin.modalities.audio.sound import Audio

RATE = 8000
T = np.arange(RATE) / RATE


def noise(*shape: int, seed: int = 0, size: float = 0.1) -> np.ndarray:
    return size * np.random.default_rng(seed).standard_normal(shape)


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)


# --- bands ----------------------------------------------------------------------------------------------------


def test_white_noise_has_its_variance_in_every_band():
    power = band_power(torch.from_numpy(noise(60 * RATE)), RATE, 26, transform(RATE), 128).mean(1)
    assert torch.allclose(power, torch.full((26,), 0.01).double(), rtol=0.1)
    assert torch.allclose(banks(RATE, 256, 26).sum(0), torch.ones(26).double())


def test_log_mel_resamples_pads_and_has_a_floor():
    assert log_mel(Audio(np.zeros(10), RATE), 16_000, 40).shape[0] == 40
    assert (log_mel(Audio(np.zeros(RATE), RATE), RATE) == -100).all()
    level = log_mel(Audio(np.stack([tone(1000), tone(1000)]), RATE), 16_000)
    assert level[20:].mean() < level.max() - 40


# --- distances of spectra ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", [-12.0, 3.0, 20.0])
def test_the_log_spectral_distance_of_a_gain_is_the_gain(gain):
    x = noise(3, RATE)
    assert log_spectral_distance(10 ** (gain / 20) * x, x) == pytest.approx([abs(gain)] * 3)


def test_the_log_spectral_distance_of_a_filter_is_the_rms_of_its_response():
    """x[n] + x[n − 1] / 2 has |H|² = 1.25 + cos w."""
    x = noise(20 * RATE)
    y = x.copy()
    y[1:] += 0.5 * x[:-1]
    response = 10 * np.log10(1.25 + np.cos(np.linspace(0, np.pi, 257)))
    assert log_spectral_distance(y, x) == pytest.approx(np.sqrt((response**2).mean()), rel=0.02)


def test_distances_are_zero_for_equal_sounds_and_have_a_figure_for_each_row():
    x, y = noise(2, 3, RATE), noise(2, 3, RATE, seed=1)
    for distance in (log_spectral_distance, spectral_convergence, multi_resolution_stft):
        assert np.abs(distance(x, x)).max() == 0
        found = distance(x, y)
        assert found.shape == (2, 3)
        assert found[1, 2] == pytest.approx(distance(x[1, 2], y[1, 2]))
    sound = Audio(x[0, 0], RATE)
    assert isinstance(log_spectral_distance(sound, sound), float)
    assert log_spectral_distance(Audio(x[0], RATE), Audio(x[1], RATE)).shape == (3,)


def test_the_spectral_convergence_of_a_gain_is_known():
    x = noise(RATE)
    assert spectral_convergence(0.25 * x, x) == pytest.approx(0.75)
    assert multi_resolution_stft(2 * x, x) == pytest.approx(1 + math.log(2), rel=1e-6)


def test_multi_resolution_stft_equals_auraloss():
    auraloss = pytest.importorskip("auraloss")
    x, y = noise(4, 4000), noise(4, 4000, seed=1)
    loss = auraloss.freq.MultiResolutionSTFTLoss()
    wanted = [
        float(loss(torch.tensor(a)[None, None].float(), torch.tensor(b)[None, None].float()))
        for a, b in zip(x, y)
    ]
    assert multi_resolution_stft(x, y) == pytest.approx(wanted, rel=1e-4)


# --- ratios -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [-20.0, 0.0, 6.0, 40.0])
def test_si_sdr_of_orthogonal_noise_is_its_level(level):
    x, n = tone(440), tone(1000)  # whole periods: orthogonal
    n = n * np.linalg.norm(x) / np.linalg.norm(n) * 10 ** (-level / 20)
    for scale in (1.0, 0.1, -3.0):
        assert si_sdr(scale * (x + n), x) == pytest.approx(level, abs=1e-9)


def test_a_scaled_copy_is_capped_and_silence_defined():
    x = noise(2, 500)
    assert (si_snr(0.2 * x, x) == 100).all()
    assert si_sdr(np.zeros(500), x[0]) == -100
    assert math.isnan(si_sdr(x[0], np.zeros(500)))
    assert si_snr(x + 5, x) == pytest.approx(100)
    assert (si_sdr(x + 5, x) < 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_ratios_equal_torchmetrics(seed):
    optional.torchmetrics()
    from torchmetrics.functional import audio

    x, y = (torch.from_numpy(noise(3, 800, seed=s)) for s in (seed, seed + 10))
    x = x + y
    assert si_snr(x, y) == pytest.approx(audio.scale_invariant_signal_noise_ratio(x, y).numpy())
    assert si_sdr(x, y) == pytest.approx(audio.scale_invariant_signal_distortion_ratio(x, y).numpy())


# --- mel cepstra ------------------------------------------------------------------------------------------------


def test_mel_cepstra_rebuild_the_envelope_and_ignore_the_level():
    x = noise(RATE)
    cepstra = mel_cepstra(x, RATE, order=25, mels=26)
    power = band_power(torch.from_numpy(x), RATE, 26, transform(RATE), 40)
    level = 0.5 * power.log().numpy()
    back = dct(np.concatenate([np.zeros((1, cepstra.shape[1])), cepstra]), type=3, axis=0) / 2
    assert back == pytest.approx(level - level.mean(0), abs=1e-9)
    assert mel_cepstral_distortion(3 * x, x, RATE) == pytest.approx(0, abs=1e-9)


def test_the_distortion_is_the_rms_difference_of_the_envelopes_in_decibels():
    x, y = noise(RATE), noise(RATE, seed=1)
    power = [band_power(torch.from_numpy(s), RATE, 26, transform(RATE), 40) for s in (x, y)]
    apart = (10 * (power[0].log10() - power[1].log10())).numpy()
    wanted = np.sqrt(((apart - apart.mean(0)) ** 2).mean(0)).mean()
    assert mel_cepstral_distortion(x, y, RATE, order=25) == pytest.approx(wanted, rel=1e-6)


def test_alignment_undoes_a_change_of_tempo():
    slow = np.concatenate([tone(300 * 1.3**k, 0.2) for k in range(5)])
    fast = np.concatenate([tone(300 * 1.3**k, 0.1) for k in range(5)])
    same = mel_cepstral_distortion(slow, fast, RATE, align=True)
    other = mel_cepstral_distortion(slow, fast[::-1].copy(), RATE, align=True)
    assert same < other / 3
    assert mel_cepstral_distortion(slow, slow, RATE, align=True) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="one shape"):
        mel_cepstral_distortion(slow, fast, RATE)
    with pytest.raises(ValueError, match="align takes one"):
        mel_cepstral_distortion(noise(2, RATE), noise(RATE), RATE, align=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_the_warped_distance_equals_the_plain_recursion(rows, columns, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(rows, 2)), rng.normal(size=(columns, 2))
    apart = np.sqrt(((a[:, None] - b) ** 2).sum(-1))
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for i in range(rows):
        for j in range(columns):
            before = [best[p] for p in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if p in best]
            total, steps = min(before, key=lambda p: p[0]) if before else (0.0, 0)
            best[i, j] = total + apart[i, j], steps + 1
    total, steps = best[rows - 1, columns - 1]
    assert warped_distance(a, b) == pytest.approx(total / steps)


# --- chroma -----------------------------------------------------------------------------------------------------


def test_pitch_classes_are_found_in_every_octave():
    for frequency, pitch in ((220, 9), (440, 9), (1760, 9), (261.63, 0), (1244.5, 3)):
        energy = chroma(tone(frequency), RATE).sum(-1)
        assert energy.argmax() == pitch
        assert energy[pitch] > 0.9 * energy.sum()


def test_chroma_is_the_same_an_octave_up_and_another_a_semitone_up():
    assert chroma_similarity(tone(440), tone(880), RATE) > 0.99
    assert chroma_similarity(tone(440), 0.01 * tone(440), RATE) == pytest.approx(1)
    assert chroma_similarity(tone(440), tone(466.16), RATE) < 0.1
    assert chroma_similarity(np.zeros(RATE), tone(440), RATE) == 0
    assert math.isnan(chroma_similarity(tone(440), np.zeros(RATE), RATE))
    assert chroma(tone(440, 0.02), RATE).shape[0] == 12


# --- what is refused ----------------------------------------------------------------------------------------------


def test_sounds_that_do_not_fit_are_refused():
    x = noise(RATE)
    with pytest.raises(ValueError, match="one shape"):
        log_spectral_distance(x, x[:-1])
    with pytest.raises(ValueError, match="one rate; got 8000, 16000 Hz"):
        si_snr(Audio(x, RATE), Audio(x, 16_000))
    with pytest.raises(ValueError, match="rate is needed"):
        chroma(x)
    with pytest.raises(ValueError, match="smaller n_fft"):
        log_spectral_distance(x[:100], x[:100])
    with pytest.raises(ValueError, match="y holds samples that are not finite"):
        si_sdr(x, np.full(RATE, np.nan))
    with pytest.raises(ValueError, match="order must lie in 1 … 25"):
        mel_cepstra(x, RATE, order=26)
    with pytest.raises(ValueError, match="must hold samples"):
        si_sdr(np.zeros(0), np.zeros(0))
