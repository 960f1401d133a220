"""Seamless loops: decoded on a circle, written to formats that keep the number of samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langevin.core.denoiser import Denoiser
from langevin.core.guidance import Cyclic
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import Multistep, sample
from langevin.modalities.audio.codec import ComplexSTFT, LogMel
from langevin.modalities.audio.files import read
from langevin.modalities.audio.framing import Circle, Framing
from langevin.modalities.audio.loops import decode_loop
from langevin.modalities.audio.mel import preset
from langevin.modalities.audio.metrics.joins import seam
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.vocoders import GriffinLim

RATE = 8000
FEW: dict[str, Any] = {"steps": 2, "progress": False}


def periodic(count: int = 8192) -> Audio:
    """Tones that have a whole number of periods in the sound."""
    t = np.arange(count) / count
    return Audio(sum(0.2 * np.sin(2 * np.pi * k * t + k) for k in (450, 733, 1201)), RATE)


def around(codec: Any, sound: Audio) -> torch.Tensor:
    """The state of a sound on a circle: of its second round of three."""
    count = len(sound) // codec.hop
    state = codec.encode([Audio(np.tile(sound.samples, 3), RATE)])
    return state[..., count : 2 * count]


def test_frames_on_a_circle_give_the_signal_back_and_turn_with_it() -> None:
    framing = Circle.of(Framing(256, 256, 64, 128))
    x = Stream.of(0, 2).normal((2, 1024), torch.float64)
    spectra = framing.analyse(x)
    assert spectra.shape == (2, 129, 16)
    assert torch.allclose(framing.synthesise(spectra), x)
    turned = framing.analyse(x.roll(3 * 64, 1))
    assert torch.allclose(turned, spectra.roll(3, 2))
    short = Stream.of(0, 1).normal((1, 128), torch.float64)  # shorter than a frame
    assert torch.allclose(framing.synthesise(framing.analyse(short)), short)
    with pytest.raises(ValueError, match="whole number of 64 samples, got 100"):
        framing.analyse(x[:, :100])


def test_a_periodic_tone_comes_back_without_a_seam() -> None:
    codec, sound = ComplexSTFT(RATE, 256, 64), periodic()
    (made,) = decode_loop(codec, around(codec, sound))
    assert made.loop and np.abs(made.samples - sound.samples).max() < 1e-4
    noisy = Stream.of(0, 1).normal((1, 2, 128, 32))  # of no sound, as what is drawn
    (whole,), (turned,) = decode_loop(codec, noisy), decode_loop(codec, noisy.roll(9, 3))
    peak = whole.peak
    assert np.abs(np.roll(whole.samples, 9 * 64, 1) - turned.samples).max() < 1e-4 * peak
    (ends,), (other,) = codec.decode(noisy), codec.decode(noisy.roll(9, 3))
    assert np.abs(np.roll(ends.samples, 9 * 64, 1) - other.samples).max() > 1e-2 * peak


def test_griffin_lim_goes_around() -> None:
    codec, sound = LogMel(preset("speech-8k")), periodic()
    state = around(codec, sound)
    (made,) = decode_loop(codec, state)
    (turned,) = decode_loop(codec, state.roll(5, 3))
    (ends,) = codec.decode(state)
    twice = Audio(np.tile(made.samples, 2), RATE)
    assert len(made) == len(sound) and seam(made).seamless
    assert abs(np.diff(twice.samples[0])[len(made) - 1]) <= np.abs(np.diff(made.samples[0])).max()
    assert seam(made).change < seam(ends).change
    assert abs(turned.peak / made.peak - 1) < 0.3


def test_learned_vocoders_and_autoencoders_see_the_first_frames_after_the_last() -> None:
    """Any codec whose samples depend on a few frames: what is decoded turns with the state."""

    class Smooth:
        rate, channels, bins, hop, encode_margin, decode_margin = RATE, 1, 1, 4, 2, 2

        def decode(self, state: torch.Tensor, start: int = 0) -> list[Audio]:
            kernel = torch.ones(1, 1, 5) / 5
            x = torch.nn.functional.conv1d(state[:, 0], kernel, padding=2)
            return [Audio(row.repeat_interleave(4).numpy(), RATE) for row in x[:, 0]]

    state = Stream.of(0, 2).normal((2, 1, 1, 12))
    whole, turned = decode_loop(Smooth(), state), decode_loop(Smooth(), state.roll(7, 3))  # type: ignore[arg-type]
    for a, b in zip(whole, turned, strict=True):
        assert np.allclose(np.roll(a.samples, 28, 1), b.samples, atol=1e-6)
    (tiny,) = decode_loop(Smooth(), state[:1, ..., :1])  # type: ignore[arg-type]  # shorter than the margin
    assert np.allclose(tiny.samples, float(state[0, 0, 0, 0]))


def test_a_model_draws_loops_of_whole_patches_and_says_so(
    small: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model = small()
    with torch.no_grad():
        torch.nn.init.normal_(model.network.heads["state"].linear.weight)
    loops = model.sample(2, seconds=0.5, loop=True, **FEW)
    assert "a loop of 0.5 s is 0.512 s long: whole patches of 0.032 s" in capsys.readouterr().err
    assert all(item.loop and len(item) == 4096 for item in loops) and loops.run.spec["loop"] is True
    ends = model.sample(2, seconds=0.5, **FEW)
    assert not ends[0].loop and not torch.allclose(loops.state, ends.state)
    model.sample(1, seconds=0.512, loop=True, **FEW)
    assert capsys.readouterr().err == ""
    again = model.sample(2, seconds=0.5, loop=True, batch_size=1, **FEW)
    assert torch.allclose(again.state, loops.state, atol=1e-5)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_loop_keeps_its_samples_in_a_file_and_has_no_seam_there(tmp_path: Path, suffix: str) -> None:
    codec, sound = ComplexSTFT(RATE, 256, 64), periodic(16384)
    (made,) = decode_loop(codec, around(codec, sound))
    made.save(tmp_path / f"loop{suffix}")
    back = read(tmp_path / f"loop{suffix}")
    assert len(back) == len(made) and seam(back).energy >= 0.5
    assert np.abs(back.samples - made.samples).max() < 0.05


def test_formats_that_pad_are_refused_for_a_loop(tmp_path: Path) -> None:
    loop = Audio(periodic().samples, RATE, loop=True)
    for suffix in (".mp3", ".m4a"):
        with pytest.raises(ValueError, match=rf"players pad {suffix}; write .wav, .flac, .ogg"):
            loop.save(tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_loop_stays_one_at_another_rate_and_level() -> None:
    sound = periodic(8000)
    loop = Audio(sound.samples, RATE, loop=True)
    for other in (
        loop.stereo(),
        loop.mono(),
        loop.scaled(-3),
        loop.normalised(peak=-6),
        loop.resampled(16000),
    ):
        assert other.loop
    assert not loop.cropped(0.1).loop and "loop" in repr(loop)
    fine, ends = loop.resampled(16000), sound.resampled(16000)
    real = np.interp(np.arange(8) / 2, np.arange(8), sound.samples[0, :8])
    assert np.abs(fine.samples[0, ::2] - sound.samples[0]).max() < 1e-3
    assert np.abs(ends.samples[0, ::2] - sound.samples[0]).max() > 1e-3 or real is None
    odd = Audio(sound.samples[:, :7999], RATE, loop=True).resampled(44100)
    assert not odd.loop  # its length is no whole number of samples there


class Sustained(Denoiser):
    """The exact denoiser of stretches of a sustained sound, whose levels of bands wander: correlation 0.95 per frame."""

    def __init__(self, frames: int) -> None:
        at = torch.arange(frames, dtype=torch.float64)
        self.covariance = 0.95 ** (at[:, None] - at[None]).abs()
        self.process = Gaussian()

    def __call__(
        self, x_t: Any, t: Any, condition: Any = None, mask: Any = None, memory: Any = None
    ) -> tuple[Any, Any]:
        alpha, sigma = self.process.schedule.at(float(t))
        noisy = alpha**2 * self.covariance + sigma**2 * torch.eye(len(self.covariance))
        gain = (alpha * self.covariance @ torch.linalg.inv(noisy)).float()
        return self.process.posterior(torch.einsum("ts,bscf->btcf", gain, x_t), x_t, t, "x"), memory


def test_a_sustained_sound_has_no_seam_in_its_file(tmp_path: Path) -> None:
    """Drawn and decoded on a circle, and read from a file: the change across the seam is one that is usual inside."""
    mel, frames, rows = preset("speech-8k"), 128, 4
    codec = LogMel(mel, (-3.0,) * 64, (0.7,) * 64, GriffinLim(mel, iterations=16))
    times = [k / 20 for k in range(20, -1, -1)]
    inner, found = Sustained(frames), {}
    for name, denoiser in {"circle": Cyclic(4, times)(inner), "ends": inner}.items():
        like = torch.zeros(rows, frames, 1, 64)
        steps = list(sample(denoiser, Multistep(2, of="v"), times, Stream.of(0, rows), like=like))
        found[name] = []
        for loop in decode_loop(codec, steps[-1].x.permute(0, 2, 3, 1)):
            loop.save(tmp_path / "loop.wav")
            found[name].append(seam(read(tmp_path / "loop.wav")))
    assert sum(join.seamless for join in found["circle"]) >= rows - 1
    assert all(join.energy >= 0.5 for join in found["circle"])
    mean = {name: sum(join.change for join in joins) / rows for name, joins in found.items()}
    assert mean["circle"] < 0.8 * mean["ends"]
