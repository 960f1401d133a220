"""Reference sounds: what is kept of one, which one an item gets, and what a model learns from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langevin.assembly import build_model
from langevin.cli.main import main
from langevin.core.registry import BuildError
from langevin.core.rng import Stream
from langevin.modalities.audio.data import open_data
from langevin.modalities.audio.modality import make
from langevin.modalities.audio.plugin import plugin
from langevin.modalities.audio.reference import SoundEmbedder
from langevin.modalities.audio.references import Referenced
from langevin.modalities.audio.sound import Audio

RATE = 4000


def hiss(high: bool, seed: int, seconds: float = 0.256) -> Audio:
    """Noise above or below 1 kHz."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    samples = np.fft.irfft(np.where((hertz > 1000) == high, spectrum, 0), count)
    return Audio(0.1 * samples / samples.std(), RATE)


def brightness(sound: Audio) -> float:
    """Share of the power that lies above 1 kHz."""
    power = np.abs(np.fft.rfft(sound.samples[0])) ** 2
    return float(power[len(power) // 2 :].sum() / power.sum())


class TestEmbedder:
    def test_level_rate_duration_and_pauses_hardly_count(self, tone: Callable[..., Audio]) -> None:
        embed = SoundEmbedder(8, RATE, mels=12)
        sound, other = hiss(True, 0, 2.0), hiss(False, 1, 2.0)
        given = embed.parse([sound, other])
        assert given.shape == (2, 6, 12)
        apart = (given[0] - given[1]).abs().mean()
        silence = np.zeros((1, RATE), np.float32)
        like = [
            sound.scaled(-20),
            sound.cropped(0.3, 0.7),
            hiss(True, 2, 1.0),
            sound.resampled(16000),
            Audio(np.concatenate([silence, sound.samples, silence], 1), RATE),
            Audio(np.repeat(sound.samples, 2, 0), RATE),
        ]
        near = (embed.parse(like) - given[0]).abs().mean((1, 2))
        assert float(near.max()) < 0.1 * float(apart)

    def test_silence_and_the_shortest_sound_have_statistics(self) -> None:
        embed = SoundEmbedder(8, RATE, mels=12, pieces=3)
        values = embed.parse([Audio(np.zeros(10, np.float32), RATE), Audio(np.ones(1, np.float32), RATE)])
        assert bool(torch.isfinite(values).all())
        out = embed(values)
        assert out.vector.shape == (2, 8) and out.context.shape == (2, 3, 8)

    def test_a_context_follows_the_course_of_the_sound(self) -> None:
        embed = SoundEmbedder(8, RATE, mels=12, pieces=2, context_width=4)
        low, high = hiss(False, 0).samples, hiss(True, 1).samples
        rising, falling = (Audio(np.concatenate(x, 1), RATE) for x in ((low, high), (high, low)))
        a, b = embed.parse([rising, falling])
        # the same statistics, in another order
        assert float((a[:5] - b[:5]).abs().max()) < 0.2 and float((a[6:] - b[6:].flip(0)).abs().max()) < 0.2
        assert float((a[6:] - b[6:]).abs().mean()) > 0.5

    def test_files_and_what_is_no_sound(self, tmp_path: Path) -> None:
        embed = SoundEmbedder(8, RATE)
        hiss(True, 0).save(tmp_path / "a.wav", bits=32)
        both = embed.parse([tmp_path / "a.wav", hiss(True, 0)])
        torch.testing.assert_close(both[0], both[1], atol=1e-3, rtol=0)
        (tmp_path / "b.wav").write_bytes(b"no sound")
        for wrong, says in (
            (tmp_path / "no.wav", "no.wav"),
            (str(tmp_path / "b.wav"), "b.wav"),
            (3, "got int"),
        ):
            with pytest.raises((ValueError, FileNotFoundError), match=re.escape(says)):
                embed.parse([wrong])
        with pytest.raises(ValueError, match="must be at least 1"):
            SoundEmbedder(8, 0)

    def test_it_has_a_name_in_configurations(self) -> None:
        settings = {"codec": {"name": "complex_stft", "rate": RATE, "n_fft": 64, "hop": 16}, "patch": [8, 4]}
        made = make({**settings, "conditions": {"style": {"name": "sound", "width": 16, "rate": RATE}}})
        assert isinstance(made.conditions["style"], SoundEmbedder)
        with pytest.raises(BuildError, match="rate"):
            make({**settings, "conditions": {"style": {"name": "sound", "width": 16}}})


class TestData:
    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        """Nine clips of 0.5 s and one of 2 s, of three speakers, the last of whom has a single clip."""
        speakers = [0, 1, 0, 1, 0, 1, 0, 1, 2, 0]
        clips = [hiss(bool(s % 2), k, 2.0 if k == 9 else 0.5).samples[0] for k, s in enumerate(speakers)]
        np.savez(
            tmp_path / "sounds.npz",
            samples=np.concatenate(clips).astype(np.float32),
            offsets=np.cumsum([0, *map(len, clips)]),
            sample_rate=RATE,
            speaker=np.array(speakers),
            speaker_names=np.array(["a", "b", "c"]),
        )
        return tmp_path / "sounds.npz"

    def test_a_reference_is_another_clip_of_the_same_class(self, archive: Path) -> None:
        data = Referenced(open_data(archive, seconds=0.5), {"style": "speaker"})
        assert data.conditions == {"speaker": "class", "style": "sound"}
        assert len(data) == 13  # the long clip gives four items
        speakers = data.data.source.columns["speaker"][data.data.rows]
        seen = set()
        for index in range(len(data)):
            other = data.reference("style", index)
            assert speakers[other] == speakers[index]
            if speakers[index] != 2:
                assert data.data.rows[other] != data.data.rows[index]
                seen.add(other)
        assert len(seen) > 5
        assert data.reference("style", 8) == 8  # the only clip of its speaker, too short for another crop
        sounds, values = data.batch([3, 0])
        for sound, index, reference in zip(sounds, (3, 0), values["style"], strict=True):
            same = data.data.batch([data.reference("style", index)])[0][0]
            assert np.array_equal(reference.samples, same.samples)
            assert not np.array_equal(reference.samples, sound.samples)
        again = data.batch([0])[1]["style"][0]
        assert np.array_equal(again.samples, values["style"][1].samples)

    def test_or_another_crop_of_the_same_clip(self, archive: Path) -> None:
        data = Referenced(open_data(archive, seconds=0.5), {"style": "clip"})
        for index in range(9, 13):
            other = data.reference("style", index)
            assert other != index and data.data.rows[other] == 9
        assert data.reference("style", 0) == 0  # there is no other

    def test_the_plugin_and_what_cannot_be(self, archive: Path) -> None:
        data = plugin.open(
            archive, references={"style": "speaker"}, seconds=0.5, phrasings=["{speaker} hisses"]
        )
        _, values = data.batch([1])
        assert values["prompt"] == ["b hisses"] and isinstance(values["style"][0], Audio)
        config = plugin.defaults(data, {})
        assert config["modality"]["conditions"]["style"]["name"] == "sound"
        assert build_model(config).conditions == ("speaker", "style", "prompt")
        for wrong, says in (
            ({"style": "speeker"}, r"unknown column 'speeker'; did you mean 'speaker'\?"),
            ({"speaker": "speaker"}, "has a condition 'speaker' already"),
            ("speaker", "must be a mapping"),
        ):
            with pytest.raises(ValueError, match=says):
                plugin.open(archive, references=wrong)


def trained(shuffled: bool) -> Any:
    """A small model of two kinds of noise, the kind of which stands in the reference, or does not."""
    torch.manual_seed(0)
    spec = {"rate": RATE, "n_fft": 128, "win": 128, "hop": 64, "mels": 16}
    modality = {
        "name": "audio",
        "codec": {"name": "log_mel", "spec": spec, "mean": [-4.0] * 16, "std": [3.0] * 16},
        "patch": [4, 4],
        "seconds": 0.256,
        "conditions": {"style": {"name": "sound", "width": 32, "rate": RATE, "mels": 12}},
    }
    network = {"name": "dit", "width": 32, "depth": 1, "heads": 2, "modulation": "shared"}
    model = build_model({"name": "hiss", "modality": modality, "network": network})
    items = [hiss(bool(k % 2), k) for k in range(32)]
    references = [hiss(bool(k % 2), 100 + k) for k in range(32)]
    if shuffled:
        references = [references[k] for k in np.random.default_rng(0).permutation(32)]
    optimiser = torch.optim.Adam(model.network.parameters(), lr=4e-3)
    model.network.train()
    for step in range(50):
        rows = np.random.default_rng(step).choice(32, 16, replace=False)
        loss, _ = model.loss(
            [items[k] for k in rows], {"style": [references[k] for k in rows]}, Stream.of(step, 16)
        )
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
    return model


def moved(model: Any) -> float:
    """How much brighter samples are after a bright reference than after a dark one."""
    dark, bright = (
        [brightness(s) for s in model.sample(8, style=hiss(high, 500), steps=6)] for high in (False, True)
    )
    return float(np.mean(bright) - np.mean(dark))


def test_the_reference_moves_the_sound_and_a_shuffled_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained(shuffled=False)
    assert moved(model) > 0.35
    assert abs(moved(trained(shuffled=True))) < 0.2
    # from the command line it is a file
    monkeypatch.chdir(tmp_path)
    model.save(tmp_path / "m")
    hiss(True, 500).save("bright.wav")
    argv = ["sample", "m", "-n", "2", "--steps", "6", "--device", "cpu", "--out", "o"]
    assert main([*argv, "--style", "bright.wav", "--preview", "now.png"]) == 0
    paths = capsys.readouterr().out.splitlines()
    assert paths == [f"o/000{k}_seed0_bright-wav.wav" for k in range(2)] and Path("now.png").is_file()
    made = [brightness(model.modality.read(Path(path))) for path in paths]
    dark = [brightness(sound) for sound in model.sample(2, style=hiss(False, 500), steps=6)]
    assert np.mean(made) > np.mean(dark) + 0.25
    assert main([*argv, "--style", "no.wav"]) == 2
    assert "--style: there is no file 'no.wav'" in capsys.readouterr().err
