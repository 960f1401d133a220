from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from langevin.core.registry import BuildError, build, describe
from langevin.modalities.audio import chunks
from langevin.modalities.audio.codec import CODECS, ComplexSTFT, LogMel
from langevin.modalities.audio.files import Reader, read, write
from langevin.modalities.audio.mel import PRESETS, preset
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.vocoders import GriffinLim

STFTS = [
    ComplexSTFT(8000, 256, 64),
    ComplexSTFT(8000, 510, 128, 0.3, (0.2,)),
    ComplexSTFT(8000, 256, 100, 1.0),
]
SPEECH = LogMel(PRESETS["speech-8k"], vocoder=GriffinLim(PRESETS["speech-8k"], 2))
BIGVGAN = LogMel(preset("bigvgan-24k", rate=8000, fmax=4000, mels=40), vocoder=None)


@pytest.mark.parametrize("codec", STFTS, ids=["256/64", "510/128", "256/100"])
@pytest.mark.parametrize("length", [1, 63, 64, 65, 300, 4000, 12345])
def test_complex_spectra_are_exactly_invertible(codec, length, tone, noise):
    for sound in (tone(2.0, peak=0.9), noise(2.0)):
        part = Audio(sound.samples[:, :length], 8000)
        state = codec.encode([part])
        assert state.shape == (1, 2, codec.n_fft // 2, -(-length // codec.hop))
        back = codec.decode(state)[0]
        assert len(back) == state.shape[3] * codec.hop
        assert np.abs(back.samples[:, :length] - part.samples).max() < 1e-5
        assert np.abs(back.samples[:, length:]).max(initial=0) < 1e-5


def test_the_highest_frequency_is_not_lost():
    alternating = Audio(np.tile([0.5, -0.5], 500), 8000)
    back = STFTS[0].decode(STFTS[0].encode([alternating]))[0]
    assert np.abs(back.samples[:, :1000] - alternating.samples).max() < 1e-5


@pytest.mark.parametrize("codec", [*STFTS, SPEECH])
def test_states_depend_neither_on_the_batch_nor_on_what_follows(codec, tone, noise):
    sounds = [tone(0.5), noise(0.9), tone(0.5, hertz=700)]
    state = codec.encode(sounds)
    for k, sound in enumerate(sounds):
        alone = codec.encode([sound])
        assert (state[k, ..., : alone.shape[3]] - alone[0]).abs().max() < 1e-5
    silence = codec.encode([Audio(np.zeros(8000), 8000)])
    assert torch.allclose(state[0, ..., -5:], silence[0, ..., -5:])


@pytest.mark.parametrize("name", [name for name, spec in PRESETS.items() if spec.centre])
def test_states_of_tones_are_exact_log_mels(name, tone):
    """Between the lines of a tone energies are far below float32's rounding of the loudest."""
    spec = PRESETS[name]
    sound = tone(0.5, spec.rate)
    reference = spec.spectrogram(torch.from_numpy(sound.samples).double())
    state = LogMel(spec).encode([sound])[0]
    whole = (
        len(sound) // spec.hop - spec.framing.margin
    )  # later frames see the silence that fills the last hop
    assert (state[0, :, :whole] - reference[0, :, :whole]).abs().max() < 1e-5


def test_durations(tone):
    assert SPEECH.frames(1.024) == 64
    assert SPEECH.seconds(64) == 1.024
    assert SPEECH.encode([tone(1.024)]).shape == (1, 1, 64, 64)
    assert [len(s) for s in SPEECH.decode(torch.zeros(2, 1, 64, 10))] == [1280, 1280]


def test_other_rates_and_channels_are_brought_to_the_codecs(tone):
    state = SPEECH.encode([tone(0.5, 16000, channels=2)])
    assert torch.equal(state, SPEECH.encode([tone(0.5, 16000, channels=2).mono().resampled(8000)]))


def test_statistics_bring_states_to_unit_scale(tone, noise):
    sounds = [noise(0.7), tone(0.5, hertz=700), noise(0.2, seed=1)]
    mel = SPEECH.fitted(iter(sounds))
    states = torch.cat([mel.encode([sound])[0, 0] for sound in sounds], 1)
    assert states.mean(1).abs().max() < 1e-4
    assert (states.std(1, unbiased=False) - 1).abs().max() < 1e-3
    stft = STFTS[1].fitted(sounds)
    states = torch.cat([stft.encode([sound])[0] for sound in sounds], 2)
    assert (states.square().mean((0, 2)).sqrt() - 1).abs().max() < 1e-3
    back = stft.decode(stft.encode([sounds[0]]))[0]
    assert np.abs(back.samples[:, :5600] - sounds[0].samples).max() < 1e-5
    with pytest.raises(ValueError, match="at least one sound"):
        SPEECH.fitted([])


@pytest.mark.parametrize("codec", [*STFTS, SPEECH.fitted([Audio(np.ones(800), 8000)]), BIGVGAN])
def test_codecs_are_plain_trees(codec):
    assert build(CODECS, describe(codec)) == codec


def test_a_tree_with_another_vocoder_is_refused():
    tree = describe(SPEECH)
    tree["vocoder"]["spec"]["hop"] = 64
    with pytest.raises(BuildError, match="made for another spectrogram than the codec's: hop 64 and 128"):
        build(CODECS, tree)


def test_what_is_no_state(tone):
    for codec, shape in ((SPEECH, (1, 2, 64, 3)), (STFTS[0], (1, 2, 129, 3)), (SPEECH, (1, 1, 64, 0))):
        with pytest.raises(ValueError, match="states must have shape"):
            codec.decode(torch.zeros(shape))
    with pytest.raises(ValueError, match="NaN or infinity in sample 1"):
        SPEECH.decode(torch.stack([torch.zeros(1, 64, 3), torch.full((1, 64, 3), torch.nan)]))
    with pytest.raises(ValueError, match="no sounds"):
        SPEECH.encode([])
    for arguments, message in [
        ({"mean": (0.0,) * 3}, "one value for each of 64 mels"),
        ({"std": (0.0,) * 64}, "std must be positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            LogMel(PRESETS["speech-8k"], **arguments)
    for arguments, message in [
        ((8000, 256, 200), "hop 1 … n_fft / 2"),
        ((8000, 256, 64, 0.0), "exponent"),
        ((8000, 256, 64, 0.5, (1.0, 2.0)), "one positive number, or 128"),
    ]:
        with pytest.raises(ValueError, match=message):
            ComplexSTFT(*arguments)


# --- in pieces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.02, 0.25, 3.0])
@pytest.mark.parametrize(
    "codec", [*STFTS, SPEECH, BIGVGAN], ids=["256/64", "510/128", "256/100", "mel", "bigvgan"]
)
def test_pieces_equal_the_whole(codec, seconds, tone, noise):
    if codec is BIGVGAN:
        codec = LogMel(codec.spec, vocoder=GriffinLim(codec.spec, 1))
    for sound in (noise(1.9), tone(1.9, hertz=333)):
        encoded, decoded = chunks.difference(codec, sound, seconds)
        assert encoded < 1e-5
        assert decoded < 1e-5


def test_the_default_griffin_lim_is_exact_in_pieces(noise):
    codec = LogMel(PRESETS["speech-8k"])
    assert codec.decode_margin == 132
    assert max(chunks.difference(codec, noise(6.0), 1.0)) < 1e-5


def test_margins_are_needed(noise):
    class Narrow(ComplexSTFT):
        encode_margin = 0
        decode_margin = 0

    assert min(chunks.difference(Narrow(8000, 256, 64), noise(1.0), 0.2)) > 1e-3


def test_files_of_any_length_are_encoded_from_blocks(tmp_path, noise):
    for rate in (8000, 11025, 44100):
        write(noise(2.3, rate, channels=2), tmp_path / "a.wav")
        codec = STFTS[0]
        with Reader(tmp_path / "a.wav") as reader:
            parts = list(chunks.encode_chunks(codec, reader, 0.3))
        whole = codec.encode([read(tmp_path / "a.wav")])
        assert len(parts) > 5
        assert (torch.cat(parts, -1) - whole).abs().max() < 5e-4  # the root lifts differences of rounding
        assert torch.cat(parts, -1).shape == whole.shape


@pytest.mark.parametrize(("old", "new"), [(44100, 16000), (8000, 44100), (22050, 22050), (16000, 8000)])
def test_blocks_are_resampled_as_the_whole(noise, old, new):
    sound = noise(1.7, old, channels=2)
    x = torch.from_numpy(sound.samples)
    parts = list(chunks.resample_blocks(iter(x.split(1234, 1)), old, new, 0.2))
    whole = torch.from_numpy(sound.resampled(new).samples)
    assert torch.cat(parts, 1).shape == whole.shape
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-6


def test_states_are_decoded_as_they_become_known(noise):
    state = SPEECH.encode([noise(2.0), noise(2.0, seed=1)])
    whole = SPEECH.decode(state)
    stretches = list(chunks.decode_chunks(SPEECH, iter(state.split(7, 3)), 0.3))
    for row in (0, 1):
        joined = np.concatenate([sounds[row].samples for sounds in stretches], 1)
        assert np.abs(joined - whole[row].samples).max() < 1e-5


def test_overlapping_pieces_cover_everything_once():
    x = torch.arange(23)
    for part, count, margin in itertools.product((1, 5, 23), (1, 4, 30), (0, 3, 40)):
        pieces = list(chunks.overlapping(iter(x.split(part)), count, margin))
        kept = [p.values[p.lead : p.lead + p.count] for p in pieces]
        assert torch.equal(torch.cat(kept), x)
        for p in pieces:
            low, high = max(0, p.place - margin), min(23, p.place + p.count + margin)
            assert torch.equal(p.values, x[low:high])
    assert list(chunks.overlapping(iter([]), 3, 1)) == []
