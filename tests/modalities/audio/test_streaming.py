"""Long sounds: pieces without joins, files while sampling, and sounds that are continued."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langevin.cli.main import main
from langevin.core.rng import Stream
from langevin.modalities.audio.codec import ComplexSTFT, LogMel
from langevin.modalities.audio.files import read
from langevin.modalities.audio.mel import preset
from langevin.modalities.audio.metrics.joins import joins
from langevin.modalities.audio.modality import AudioModality
from langevin.modalities.audio.plugin import AudioSpec
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.streaming import extrapolated
from langevin.modalities.audio.vocoders import GriffinLim
from langevin.modalities.audio.writing import PEAK
from langevin.modalities.samples import read_manifest

RATE = 8000
MEL = preset("speech-8k")
FEW: dict[str, Any] = {"steps": 1, "progress": False}
IN_WINDOWS: dict[str, Any] = {"window": 0.512, "overlap": 0.128}


@pytest.fixture
def model(small: Callable[..., Any]) -> Any:
    return small()


@pytest.mark.parametrize(
    "codec",
    [ComplexSTFT(RATE, 256, 64), LogMel(MEL, vocoder=GriffinLim(MEL, iterations=4))],
    ids=["stft", "mel"],
)
def test_pieces_are_what_the_whole_state_decodes_to(codec: Any) -> None:
    modality = AudioModality(codec, (8, 4), seconds=0.512)
    windows = modality.windows(AudioSpec(seconds=7.0))
    state = 0.5 * Stream.of(0, 2).normal((2, codec.frames(7.2), codec.channels, codec.bins))
    pieces = list(windows.play(part for part in state.split(windows.length, 1)))
    assert len(pieces) > 1
    whole = modality.decode(state)
    for row in range(2):
        made = modality.joined([piece[row] for piece in pieces])
        assert len(made) == 7 * RATE
        inside = slice(0, len(made) - codec.decode_margin * codec.hop)  # the whole goes on, the pieces do not
        peak = whole[row].peak
        assert (
            np.abs(made.samples[:, inside] - whole[row].samples[:, : len(made)][:, inside]).max()
            < 1e-4 * peak
        )


def test_a_long_sound_is_as_long_as_asked_and_begins_like_a_longer_one(model: Any) -> None:
    long = model.sample(seconds=2.0, **IN_WINDOWS, **FEW)
    short = model.sample(seconds=1.1, **IN_WINDOWS, **FEW)
    assert len(long[0]) == 16000 and len(short[0]) == 8800
    assert np.array_equal(long[0].samples[:, :8600], short[0].samples[:, :8600])
    assert long.run.spec == {"seconds": 2.0, **IN_WINDOWS} and long.run.options["windows"] == 5


def test_a_window_that_is_longer_than_the_sound_changes_nothing(model: Any) -> None:
    (one,), (two,) = (model.sample(seconds=0.3, window=window, **FEW) for window in (None, 5.0))
    assert np.array_equal(one.samples, two.samples)


def test_memory_does_not_grow_with_the_duration(model: Any) -> None:
    def peak(seconds: float) -> int:
        tracemalloc.start()
        for _ in model.stream(seconds=seconds, **IN_WINDOWS, **FEW):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1.0)
    short, long = peak(3.0), peak(9.0)
    assert long - short < 6 * RATE * 4 / 2  # half of the samples that there are more


def test_an_hour_is_begun_and_left(model: Any) -> None:
    stream = model.stream(seconds=3600.0, **IN_WINDOWS, **FEW)
    assert stream.windows.count > 9000
    (piece,) = next(iter(stream))
    assert 0 < piece.seconds < 1


def test_a_stream_is_written_to_a_file_while_it_is_drawn(model: Any, tmp_path: Path) -> None:
    with torch.no_grad():  # loud
        model.network.heads["state"].linear.bias.fill_(-2.0)
    stream = model.stream(seconds=1.5, **IN_WINDOWS, **FEW)
    assert stream.collect()[0].peak > 1
    assert stream.save(tmp_path / "long.flac") == [tmp_path / "long.flac"]
    made = read(tmp_path / "long.flac")
    assert len(made) == 12000 and 0.8 * PEAK < made.peak <= PEAK
    with pytest.raises(FileExistsError, match=r"long\.flac is there already"):
        stream.save(tmp_path / "long.flac")
    stream.save(tmp_path / "long.flac", overwrite=True)
    with pytest.raises(ValueError, match="one file, for 2 samples"):
        model.stream(2, seconds=1.5, **IN_WINDOWS, **FEW).save(tmp_path / "two.wav")
    with pytest.raises(ValueError, match=r"unknown suffix of audio files '\.aac'.*\.flac"):
        stream.save(tmp_path / "long.aac")
    assert not (tmp_path / "long.aac").exists()
    (path,) = stream.save(tmp_path / "folder", suffix=".flac")
    assert path.suffix == ".flac" and len(read(path)) == 12000


def test_a_folder_of_streams_is_one_of_samples(model: Any, tmp_path: Path) -> None:
    stream = model.stream(2, seconds=1.0, seed=3, **IN_WINDOWS, **FEW)
    paths = stream.save(tmp_path / "many")
    assert [path.suffix for path in paths] == [".wav", ".wav"]
    assert [len(read(path)) for path in paths] == [8000, 8000]
    listed = read_manifest(tmp_path / "many")
    assert [entry["file"] for entry in listed["samples"]] == [path.name for path in paths]
    assert listed["evaluations"] == 3 and listed["spec"]["window"] == 0.512
    gathered = model.sample(2, seconds=1.0, seed=3, **IN_WINDOWS, **FEW)
    for path, item in zip(paths, gathered, strict=True):
        assert np.abs(read(path).samples - item.samples * min(1, PEAK / item.peak)).max() < 1e-3
    assert stream.save(tmp_path / "many") == paths  # the same again
    with pytest.raises(FileExistsError, match="holds 2 samples"):
        model.stream(2, seconds=1.0, seed=4, **IN_WINDOWS, **FEW).save(tmp_path / "many")


def test_an_interrupted_stream_leaves_nothing(model: Any, tmp_path: Path) -> None:
    seen = []

    def stop(step: Any) -> None:
        seen.append(step)
        if len(seen) == 3:
            raise KeyboardInterrupt

    for path in (tmp_path / "folder", tmp_path / "file.wav"):
        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            model.stream(seconds=2.0, watch=stop, **IN_WINDOWS, **FEW).save(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"window": 0.5, "overlap": 0.5}, "shorter than the window of 0.5 s, got 0.5"),
        ({"window": 0.5, "overlap": 0.49}, "in whole patches of 0.032 s both have"),
        ({"window": -1.0}, "window must be above 0"),
        ({"window": 0.5, "overlap": 0.0}, "overlap must be above 0"),
        ({"window": 0.5, "loop": True}, "a loop is drawn at once"),
    ],
)
def test_windows_that_cannot_be_are_refused(model: Any, options: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        model.sample(seconds=2.0, **options, **FEW)


# --- continuation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (11025, 1)])
def test_a_continued_sound_begins_with_the_users_own_samples(
    model: Any, noise: Callable[..., Audio], rate: int, channels: int
) -> None:
    item = noise(0.9, rate, channels=channels)
    (made,) = model.extend(item, seconds=0.8, **FEW)
    assert made.rate == rate and made.channels == channels and len(made) == len(item) + round(0.8 * rate)
    assert np.array_equal(made.samples[:, : len(item)], item.samples)
    assert np.abs(made.samples[:, len(item) + round(0.02 * rate) :]).max() > 0


def test_what_follows_is_placed_where_the_sound_ends(tone: Callable[..., Audio]) -> None:
    """Frames of a longer sound, in the place of those that a model would draw, give that sound."""
    modality = AudioModality(ComplexSTFT(RATE, 256, 64), (16, 4), seconds=1.0)
    for rate in (8000, 22050):
        whole = tone(1.5, rate, hertz=300.0)
        item = whole.cropped(0, 0.7)
        windows = modality.windows(AudioSpec(seconds=0.6, window=5.0), [item])
        assert windows.context is not None and windows.chosen is not None and windows.count == 1
        held = windows.context.shape[1]
        at_rate = whole.resampled(RATE).samples
        end = round(0.7 * RATE)
        stretch = Audio(at_rate[:, end - held * 64 : end - held * 64 + windows.length * 64], RATE)
        state, _ = modality.encode([stretch])
        kept = windows.chosen[0, :, 0, 0]
        late = int((~kept).sum())
        assert 0 < late < 4
        assert torch.allclose(state[:, 4 : held - late], windows.context[:, 4 : held - late], atol=2e-2)
        made = modality.joined([piece[0] for piece in windows.play([state])])
        assert len(made) == round(1.3 * rate)
        assert np.abs(made.samples - whole.samples[:, : len(made)])[:, : -rate // 20].max() < 0.04


def test_a_short_sound_is_context_as_a_whole_and_a_shorter_one_is_refused(
    model: Any, noise: Callable[..., Audio]
) -> None:
    item = noise(0.2)
    windows = model.modality.windows(AudioSpec(seconds=0.3), [item])
    assert windows.count == 1 and windows.context.shape[1] == 50  # of 32 samples each
    with pytest.raises(ValueError, match="too short to be continued; give at least"):
        model.extend(noise(0.005), seconds=1.0, **FEW)
    with pytest.raises(ValueError, match="must have one rate, got 8000, 16000"):
        model.extend([item, noise(0.2, 16000)], seconds=1.0, **FEW)
    with pytest.raises(ValueError, match="item 0 is no sound"):
        model.extend("a.wav", seconds=1.0, **FEW)


def test_a_prediction_goes_on_where_a_sound_ends(tone: Callable[..., Audio]) -> None:
    item = tone(1.3, hertz=310.0)
    past = item.cropped(0, 1.0)
    ahead = extrapolated(past, 80)
    real = item.samples[:, 8000:8080]
    assert np.abs(ahead[:, :20] - real[:, :20]).max() < 0.1 * item.peak
    assert np.abs(ahead).max() < 1.1 * item.peak
    assert not extrapolated(Audio(np.zeros(800), RATE), 80).any()


def test_the_join_of_a_continuation_is_smooth() -> None:
    """A codec that turns every phase leaves no click: noise is continued by its own negative."""
    modality = AudioModality(ComplexSTFT(RATE, 256, 64), (16, 4), seconds=1.0)
    rng = np.random.default_rng(0)
    whole = Audio(np.convolve(0.1 * rng.standard_normal(16200), np.ones(12), "valid")[:16000], RATE)
    item = whole.cropped(0, 1.0)
    windows = modality.windows(AudioSpec(seconds=0.9), [item])
    assert windows.context is not None
    held = windows.context.shape[1]
    begin = RATE - held * 64
    state, _ = modality.encode([Audio(-whole.samples[:, begin : begin + windows.length * 64], RATE)])
    made = modality.joined([piece[0] for piece in windows.play([state])])
    step = abs(float(made.samples[0, 8000] - made.samples[0, 7999]))
    usual = np.abs(np.diff(whole.samples[0]))
    assert step < np.quantile(usual, 0.99) and joins(made, [1.0])[0].percentile < 99.5


# --- the command line ---------------------------------------------------------------------------------------


def test_windows_and_loops_from_the_command_line(
    model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save(tmp_path / "small")
    common = ["sample", str(tmp_path / "small"), "-n", "2", "--steps", "1", "--seed", "3"]
    long = ["--seconds", "1.2", "--window", "0.512", "--out", str(tmp_path / "long")]
    assert main([*common, *long]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(read(path)) for path in paths] == [9600, 9600]
    assert read_manifest(tmp_path / "long")["options"]["windows"] == 3
    assert main([*common, *long]) == 0  # the same again
    assert main([*common, "--loop", "--out", str(tmp_path / "loops")]) == 0
    assert read_manifest(tmp_path / "loops")["spec"] == {"loop": True}
    capsys.readouterr()
    assert main([*common, *long, "--overlap", "0.6", "--overwrite"]) != 0
    assert "overlap must be above 0 and shorter than the window of 0.512 s" in capsys.readouterr().err


def test_another_run_in_the_folder_is_met_before_anything_is_drawn(model: Any, tmp_path: Path) -> None:
    seen: list[Any] = []
    windows: dict[str, Any] = {"seconds": 1, "window": 0.512, "overlap": 0.128, "progress": False}
    model.stream(steps=1, **windows).save(tmp_path / "o")
    with pytest.raises(FileExistsError, match="choose another folder"):
        model.stream(steps=2, watch=seen.append, **windows).save(tmp_path / "o")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.stream(steps=1, watch=seen.append, **windows).save(tmp_path / "no" / "x.wav")
    assert not seen
    model.stream(steps=1, **windows).save(tmp_path / "o")  # the same run again


def test_an_overlap_needs_windows_and_what_is_short_has_a_sample(model: Any) -> None:
    with pytest.raises(ValueError, match="overlap is that of windows"):
        model.sample(seconds=0.5, overlap=0.1, steps=1)
    made = model.stream(seconds=1e-5, window=0.512, steps=1, progress=False).collect()[0]
    assert made.samples.shape[1] == 1
