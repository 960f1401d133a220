from __future__ import annotations

import numpy as np
import pytest

from langevin.modalities.audio.metrics import clipping_rate, joins, seam, silence_rate, silent
from langevin.modalities.audio.sound import Audio

RATE = 8000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def sustained(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise of one colour, whose beginning follows on its end: filtered round and round."""
    x = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    frequency = np.fft.rfftfreq(len(x), 1 / RATE)
    return 0.1 * np.fft.irfft(np.fft.rfft(x) / (1 + (frequency / 300) ** 2), len(x)) * 3


# --- levels -----------------------------------------------------------------------------------------------------


def test_silence_is_counted_in_windows():
    x = noise(1.0)
    x[: RATE // 4] = 0
    assert silence_rate(Audio(x, RATE)) == 0.25
    assert silence_rate(Audio(np.zeros(RATE), RATE)) == 1
    assert silence_rate(Audio(1e-4 * noise(1), RATE)) == 1
    assert silence_rate(Audio(np.ones(10), RATE)) == 0
    assert not silent(Audio(x, RATE))
    assert silent(Audio(1e-4 * noise(1), RATE))
    event = np.zeros(5 * RATE)
    event[:200] = 0.5
    assert not silent(Audio(event, RATE))


def test_clipping_is_runs_at_full_scale():
    x = np.zeros((2, 1000))
    x[0, 10:15], x[1, 20:22], x[0, 100], x[1, 40:43] = 1.0, -1.0, 1.0, -1.0
    assert clipping_rate(Audio(x, RATE)) == 8 / 2000
    x[1, 500] = 1.5
    assert clipping_rate(Audio(x, RATE)) == 9 / 2000
    x[0, 0], x[1, -1] = -1.5, 1.5
    assert clipping_rate(Audio(x, RATE)) == 11 / 2000
    assert clipping_rate(Audio(0.5 * np.sign(noise(1)), RATE)) == 0
    loud = np.sin(np.arange(RATE) * 0.05) * 3
    assert clipping_rate(Audio(np.clip(loud, -1, 1), RATE)) == pytest.approx(
        1 - 2 / np.pi * np.arcsin(1 / 3), rel=0.02
    )


# --- joins ------------------------------------------------------------------------------------------------------


def test_a_sound_that_goes_round_has_an_ordinary_seam():
    found = [seam(Audio(sustained(3, seed), RATE)) for seed in range(20)]
    assert sum(j.smooth for j in found) >= 17  # 95 % of them on average
    assert all(j.energy >= 0.5 for j in found)
    assert np.mean([j.percentile for j in found]) == pytest.approx(50, abs=20)


def test_a_whole_number_of_periods_is_seamless_and_a_cut_is_not():
    x = 0.3 * np.sin(2 * np.pi * 220 * np.arange(2 * RATE) / RATE)
    assert seam(Audio(x, RATE)).seamless
    cut = seam(Audio(x[:-17], RATE))
    assert not cut.smooth
    assert cut.percentile == 100
    assert cut.change > 10 > cut.high


def test_a_fade_and_another_sound_are_no_loop():
    x = sustained(3)
    fade = np.minimum(1, np.minimum(np.arange(len(x)), np.arange(len(x))[::-1]) / (0.2 * RATE))
    faded = seam(Audio(x * fade, RATE))
    assert faded.energy < 0.1
    assert not faded.seamless
    other = np.concatenate([sustained(1.5), noise(1.5)])
    assert not seam(Audio(other, RATE)).smooth


def test_the_seam_does_not_depend_on_gain():
    x = np.stack([sustained(2), sustained(2, 1)])
    a, b = seam(Audio(x, RATE)), seam(Audio(0.05 * x, RATE))
    assert a == pytest.approx(b, rel=1e-3)


def test_an_edit_is_found_where_it_is():
    x = sustained(4)
    edited = x.copy()
    edited[RATE : 2 * RATE] = sustained(1, 5) + 0.2
    clean = joins(Audio(x, RATE), [1.0, 2.0])
    # Only the step is wrong: the spectrum of the insert is the same above 0 Hz.
    rough = joins(Audio(edited, RATE), [1.0, 2.0])
    assert all(j.smooth for j in clean)
    assert all(not j.smooth for j in rough)


def test_places_and_sounds_that_cannot_be_measured_are_refused():
    with pytest.raises(ValueError, match="frame of 0.064 s from both ends"):
        joins(Audio(noise(2), RATE), [0.01])
    with pytest.raises(ValueError, match="places to compare"):
        seam(Audio(noise(0.15), RATE))
    assert seam(Audio(noise(0.15), RATE), frame=0.016).change > 0
    assert seam(Audio(np.zeros(RATE), RATE)).energy == 0
