"""Sounds as a modality: states, tokens, masks, durations, and parts that are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langevin.core import keep
from langevin.core.registry import BuildError
from langevin.core.rng import Stream
from langevin.modalities.audio.codec import ComplexSTFT, LogMel
from langevin.modalities.audio.filters import AudioFilter
from langevin.modalities.audio.mel import preset
from langevin.modalities.audio.modality import AudioModality, make
from langevin.modalities.audio.plugin import AudioSpec
from langevin.modalities.audio.sound import Audio
from langevin.modalities.base import Failure

RATE = 8000


@pytest.fixture
def exact() -> AudioModality:
    return AudioModality(ComplexSTFT(RATE, 256, 64), (16, 4))


@pytest.fixture
def mel() -> AudioModality:
    return AudioModality(LogMel(preset("speech-8k")), (8, 4), seconds=1.024)


def test_a_sound_comes_back_and_its_reflection_fills_its_last_patch(exact: AudioModality, noise: Any) -> None:
    sound = noise(0.5)
    state, mask = exact.encode([sound])
    assert mask is None and state.shape == (1, 64, 2, 128)
    (made,) = exact.decode(state)
    assert len(made) == 4096 and np.abs(made.samples[:, :4000] - sound.samples).max() < 1e-5
    assert np.abs(made.samples[:, 4000:] - sound.samples[:, -2:-98:-1]).max() < 1e-5
    whole = Audio(made.samples, RATE)
    assert torch.equal(exact.encode([whole])[0], exact.codec.encode([whole]).permute(0, 3, 1, 2))


def _hiss(count: int, seed: int) -> Audio:
    """A tone that dies away over a steady noise of −40 dBFS."""
    t = np.arange(count) / RATE
    x = 0.01 * np.random.default_rng(seed).standard_normal(count)
    return Audio(x + 0.2 * np.exp(-3 * t) * np.sin(2 * np.pi * 440 * t), RATE)


@pytest.mark.parametrize("count", [300, 3333, 4100, 4700])
def test_what_fills_the_last_patch_lies_within_the_statistics_of_the_sound(count: int) -> None:
    """Silence would be at −22 standard deviations of the sound of 4100 samples."""
    codec = LogMel(preset("speech-8k")).fitted([_hiss(8192, seed) for seed in range(4)])
    modality = AudioModality(codec, (8, 4))
    state, mask = modality.encode([_hiss(count, 7), _hiss(6000, 8)])
    assert mask is not None
    for row, ended in ((0, count), (1, 6000)):
        filled = state[row, mask[row]][ended // codec.hop - 1 :]
        assert filled.abs().max() < 7 and filled.mean((1, 2)).abs().max() < 2
    assert torch.equal(state[0, mask[0]], modality.encode([_hiss(count, 7)])[0][0])


def test_a_sound_of_one_sample_fills_a_patch(mel: AudioModality) -> None:
    state, mask = mel.encode([Audio(np.full(1, 0.5), RATE)])
    assert mask is None and state.shape == (1, 4, 1, 64) and bool(torch.isfinite(state).all())


def test_sounds_of_several_durations_are_masked_and_do_not_know_their_batch(
    exact: AudioModality, noise: Any
) -> None:
    short, long = noise(0.2, seed=1), noise(0.5, seed=2)
    state, mask = exact.encode([short, long])
    assert mask is not None and mask.sum(1).tolist() == [28, 64]
    alone, none = exact.encode([short])
    assert none is None and torch.equal(state[:1, :28], alone)
    made = exact.decode(state, mask)
    assert [len(m) for m in made] == [28 * 64, 64 * 64]
    assert np.array_equal(made[0].samples, exact.decode(alone)[0].samples)


def test_tokens_are_masked_by_time_and_stand_at_frequency_and_time(exact: AudioModality, noise: Any) -> None:
    state, mask = exact.encode([noise(0.2), noise(0.5)])
    tokens = exact.tokens(state, mask)
    assert tokens.values[""].shape == (2, 8 * 16, exact.inputs[""])
    assert tokens.mask is not None and tokens.mask[0].reshape(8, 16).sum(1).tolist() == [7] * 8
    assert tokens.positions[0, 17].tolist() == [1, 1]
    assert torch.equal(exact.untokens(tokens.values, state), state)
    value = tokens.values[""][0, 17].reshape(16, 4, 2)  # frequencies, frames, channels of one patch
    assert torch.equal(value, state[0, 4:8, :, 16:32].permute(2, 0, 1))


def test_stereo_at_another_rate_is_resampled_and_mixed(mel: AudioModality, tone: Any) -> None:
    state, _ = mel.encode([tone(1.0, 44100, channels=2)])
    assert state.shape == (1, 64, 1, 64)


def test_blank_has_the_duration_that_is_asked_for(mel: AudioModality) -> None:
    rng = Stream.of(0, 3)
    assert mel.blank([0, 1, 2], rng, {}, AudioSpec())[0].shape == (3, 64, 1, 64)
    assert mel.blank([0], rng, {}, AudioSpec(seconds=0.5))[0].shape == (1, 32, 1, 64)
    for wrong in (0, -1.0, float("nan"), 1e9):
        with pytest.raises(ValueError, match="seconds must be above 0"):
            mel.blank([0], rng, {}, AudioSpec(seconds=wrong))


def test_samples_are_as_long_as_asked_for(mel: AudioModality) -> None:
    state, _ = mel.blank([0, 1], Stream.of(0, 2), {}, AudioSpec(seconds=0.3))
    made = mel.collect(state, None, {"spec": {"seconds": 0.3}}, {})
    assert [len(item) for item in made] == [2400, 2400]


def test_what_began_from_a_sound_has_its_rate_channels_and_length(mel: AudioModality, tone: Any) -> None:
    original = tone(0.7, 22050, channels=2)
    state, mask = mel.encode([original])
    made = mel.collect(state, mask, {}, {}, [original])[0]
    assert (made.rate, made.samples.shape) == (22050, original.samples.shape)


def test_states_that_cannot_be_decoded_are_failures(exact: AudioModality, noise: Any) -> None:
    state, _ = exact.encode([noise(0.2), noise(0.2)])
    state[1, 0] = torch.nan
    good, bad = exact.decode(state)
    assert isinstance(good, Audio) and isinstance(bad, Failure) and "finite" in bad.reason


def test_what_is_no_sound_is_refused(mel: AudioModality) -> None:
    with pytest.raises(ValueError, match="item 0 is no sound but a ndarray"):
        mel.encode([np.zeros(100)])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"patch": (7, 4)}, "a divisor of 64"),
        ({"places": 3}, "places must be"),
        ({"seconds": 0}, "seconds must"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        AudioModality(LogMel(preset("speech-8k")), **options)


def test_a_configuration_makes_the_modality(tmp_path: Path, tone: Any) -> None:
    node = {
        "codec": {"name": "complex_stft", "rate": 8000, "n_fft": 256, "hop": 64},
        "patch": [16, 4],
        "places": 1,
    }
    made = make(node)
    assert made.places == 1 and made.codec == ComplexSTFT(8000, 256, 64)
    with pytest.raises(BuildError, match="hopp"):
        make({"codec": {**node["codec"], "hopp": 1}})  # type: ignore[dict-item]
    plain = make({})
    plain.save(tone(), tmp_path / "a.wav")
    assert plain.read(tmp_path / "a.wav").rate == 8000
    assert plain.picture(tone()).size[0] > 100 and "<audio" in plain.html(tone())
    assert plain.sheet([tone(), Failure("no sound")]).size[0] > 200


def test_sounds_are_filtered_by_measures(small: Callable[..., Any], tone: Any) -> None:
    modality = small().modality
    (found,) = modality.measure([tone(1.0, peak=0.5)], ["silent", "seconds", "peak", "loudness"])
    assert found["silent"] is False and found["seconds"] == 1.0 and abs(found["peak"] + 6.02) < 0.01
    assert modality.measure([Failure("none"), Audio(np.zeros(800), RATE)], ["peak"]) == [{}, {"peak": None}]
    test = modality.test(AudioFilter("not silent and peak < -3"))
    assert test(tone(1.0)) == (True, {"silent": False, "peak": found["peak"]})
    assert not test(tone(1.0, peak=1.0))[0] and not test(Audio(np.zeros(800), RATE))[0]
    with pytest.raises(ValueError, match="did you mean 'loudness'"):
        AudioFilter("loudnes > -20")
    with pytest.raises(ValueError, match="did you mean 'peak'"):
        modality.measure([], ["peek"])
    passed = small().passing(2, "seconds > 0.1", steps=1, progress=False)
    assert len(passed) == 2


def test_a_model_that_computes_in_half_precision(small: Callable[..., Any]) -> None:
    made = small().cast("bfloat16").sample(2, seconds=0.2, steps=2, progress=False)
    assert [len(sound) for sound in made] == [1600, 1600] and made.state.dtype == torch.float32


# --- kept parts ---------------------------------------------------------------------------------------------


def edited(modality: AudioModality, original: Audio, chosen: keep.Keep, other: Audio) -> Audio:
    """What an edit gives whose generated part is another sound."""
    known, _ = modality.encode([original])
    drawn, _ = modality.encode([other])
    state = torch.where(modality.chosen(chosen, known), known, drawn[:, : known.shape[1]])
    return modality.collect(state, None, {}, {}, [original], chosen)[0]


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (11025, 1)])
def test_outside_the_span_the_samples_are_the_users_own(
    mel: AudioModality, noise: Any, rate: int, channels: int
) -> None:
    original, other = noise(1.0, rate, 1, channels), noise(1.0, rate, 2, channels)
    made = edited(mel, original, ~keep.seconds(0.3, 0.55), other)
    assert made.rate == rate and made.samples.shape == original.samples.shape
    at = np.arange(rate) / rate
    outside = (at < 0.3) | (at >= 0.55)
    assert np.array_equal(made.samples[:, outside], original.samples[:, outside])
    inner = (at > 0.32) & (at < 0.53)
    assert np.abs(made.samples - original.samples)[:, inner].max() > 0.1


def test_the_crossfade_lies_inside_the_span_and_takes_ten_milliseconds() -> None:
    modality = AudioModality(ComplexSTFT(RATE, 256, 64), (16, 4))
    ones, none = Audio(np.full(8000, 0.5), RATE), Audio(np.zeros(8000), RATE)
    made = modality.restore(none, ones, ~keep.seconds(0.25, 0.5)).samples[0]
    assert (made[:2000] == 0.5).all() and (made[4000:] == 0.5).all()
    assert (made[2080:3920] == 0).all()
    assert (np.diff(made[2000:2080]) < 0).all() and np.abs(np.diff(made)).max() < 0.02


def test_frames_that_look_at_edited_samples_are_drawn_anew(mel: AudioModality, noise: Any) -> None:
    """Nothing that is kept of a state depends on what is replaced."""
    one, two = noise(1.024, seed=1), noise(1.024, seed=2)
    span = ~keep.seconds(0.4, 0.6)
    low, high = round(0.4 * RATE), round(0.6 * RATE)
    mixed = one.samples.copy()
    mixed[:, low:high] = two.samples[:, low:high]
    a, _ = mel.encode([one])
    b, _ = mel.encode([Audio(mixed, RATE)])
    chosen = mel.chosen(span, a)
    assert torch.equal(a[chosen], b[chosen])
    assert 0.6 < chosen.float().mean() < 0.8


@pytest.mark.parametrize("low", [0.35, 0.44, 0.49])
def test_the_reflection_of_what_is_replaced_is_not_kept(mel: AudioModality, noise: Any, low: float) -> None:
    """The end of a sound of 4000 samples is drawn anew; the last 96 samples of its state mirror it."""
    one, two = noise(0.5, seed=1), noise(0.5, seed=2)
    mixed = one.samples.copy()
    mixed[:, round(low * RATE) :] = two.samples[:, round(low * RATE) :]
    a, b = (mel.encode([sound])[0] for sound in (one, Audio(mixed, RATE)))
    kept = mel.chosen(~keep.seconds(low, 0.5), a)
    assert torch.equal(a[kept], b[kept]) and kept[:, :20].all() and not kept[:, -4:].any()
    high = mel.chosen(~(keep.seconds(low, 0.5) & keep.hertz(2000)), a)
    assert high[:, -4:, :, :20].all() and not high[:, -4:, :, -10:].any()


def test_a_band_is_kept_and_the_rest_of_the_span_is_the_users_own(exact: AudioModality, tone: Any) -> None:
    low, high = tone(1.0, hertz=500.0, peak=0.3), tone(1.0, hertz=2500.0, peak=0.3)
    original = Audio(low.samples + high.samples, RATE)
    other = tone(1.0, hertz=3300.0, peak=0.3)
    made = edited(exact, original, ~(keep.seconds(0.3, 0.7) & keep.hertz(1500)), other)
    at = np.arange(RATE) / RATE
    outside = (at < 0.3) | (at >= 0.7)
    assert np.array_equal(made.samples[:, outside], original.samples[:, outside])
    middle = made.samples[0, 3200:4800]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(1600))) / 400
    hertz = np.fft.rfftfreq(1600, 1 / RATE)
    level = {f: spectrum[np.abs(hertz - f) < 20].max() for f in (500, 2500, 3300)}
    assert abs(level[500] - 0.3) < 0.02 and level[2500] < 0.02 and abs(level[3300] - 0.3) < 0.03


def test_a_mask_of_frames_serves_as_well(exact: AudioModality, noise: Any) -> None:
    original, other = noise(0.512, seed=1), noise(0.512, seed=2)
    frames = torch.zeros(64, 128, dtype=torch.bool)
    frames[:32] = True
    made = edited(exact, original, keep.mask(frames), other)
    assert np.array_equal(made.samples[:, : 32 * 64], original.samples[:, : 32 * 64])
    assert not np.array_equal(made.samples[:, 33 * 64 :], original.samples[:, 33 * 64 :])


def test_keeping_everything_is_refused(mel: AudioModality, noise: Any) -> None:
    known, _ = mel.encode([noise(1.0)])
    with pytest.raises(ValueError, match="nothing is left to generate"):
        mel.chosen(keep.seconds(0, 5), known)


def test_an_edit_with_a_model_keeps_what_it_is_told(
    small: Callable[..., Any], noise: Callable[..., Audio]
) -> None:
    model = small()
    original = noise(0.5, 16000, channels=2)
    (made,) = model.sample(1, like=original, keep=~keep.seconds(0.2, 0.3), steps=2, progress=False)
    at = np.arange(8000) / 16000
    outside = (at < 0.2) | (at >= 0.3)
    assert np.array_equal(made.samples[:, outside], original.samples[:, outside])
    assert not np.array_equal(made.samples[:, ~outside], original.samples[:, ~outside])
    (varied,) = model.sample(1, start=original, strength=0.3, steps=2, progress=False)
    assert varied.rate == 16000 and varied.samples.shape == original.samples.shape


def test_padding_changes_no_answer_of_a_model(small: Callable[..., Any], noise: Callable[..., Audio]) -> None:
    """A masked frame is never attended to."""
    model = small()
    x, mask = model.modality.encode([noise(0.2), noise(0.5)])
    alone, _ = model.modality.encode([noise(0.2)])
    torch.nn.init.normal_(model.network.heads["state"].linear.weight)
    with torch.no_grad():
        both = model.network(x, 0.5, mask=mask)
        one = model.network(alone, 0.5)
    frames = int(mask.sum(1)[0])
    assert one.abs().max() > 0 and torch.allclose(both[:1, :frames], one, atol=1e-5)


def test_previews_of_mel_states_need_no_vocoder(
    mel: AudioModality, noise: Any, tone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(mel.codec), "decode", lambda *_: pytest.fail("a vocoder is asked"))
    state, mask = mel.encode([tone(1.0, hertz=300.0), noise(0.5)])
    assert mask is not None
    picture = mel.preview(state, mask)
    shown = np.asarray(picture.convert("L"), float)
    assert shown.shape == (100, 390)
    first = shown[2:98, 2:194]
    assert first[60:].mean() > 2 * first[:40].mean()  # the tone lies low
    state[0, 3, 0, 5] = torch.nan
    assert mel.preview(state).size == (390, 100)


def test_previews_of_other_states_are_decoded(exact: AudioModality, noise: Any) -> None:
    state, _ = exact.encode([noise(0.2)])
    assert np.array_equal(np.asarray(exact.preview(state)), np.asarray(exact.sheet(exact.decode(state))))
