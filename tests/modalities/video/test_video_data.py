"""Sets of clips: folders and archives, crops, cycles, rates and what they are conditioned on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import langevin as lv
from langevin.assembly import build_model
from langevin.modalities.video.clip import Video
from langevin.modalities.video.data import open_data
from langevin.modalities.video.recipe import defaults
from langevin.modalities.video.verbs import precede


def numbered(frames: int, tint: int = 0, size: int = 16) -> np.ndarray[Any, Any]:
    """Frames whose red says which they are."""
    out = np.full((frames, size, size, 3), tint, np.uint8)
    out[..., 0] = 10 * np.arange(frames)[:, None, None]
    return out


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "clips.npz"
    np.savez(
        path, video=np.stack([numbered(8, k) for k in range(6)]), fps=8.0, caption=[f"number {k}" for k in range(6)],
        short=[f"n{k}" for k in range(6)], action=np.arange(6) % 2, action_names=["walk", "run"],
        split=["train"] * 4 + ["test"] * 2,
    )  # fmt: skip
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, name in enumerate(("left", "right")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(2):
            Video(numbered(6 + 6 * i, k), 12.0).save(tmp_path / "set" / name / f"{i}.npz")
    return tmp_path / "set"


def reds(clip: Video) -> list[int]:
    return (clip.frames[:, 0, 0, 0] // 10).tolist()


def test_an_archive_and_its_columns(archive: Path) -> None:
    data = open_data(archive, "train", conditions={"prompt": "caption", "label": "action"})
    assert len(data) == 4 and data.conditions == {"prompt": "text", "label": "class"}
    clips, values = data.batch([2, 0])
    assert values == {"prompt": ["number 2", "number 0"], "label": [0, 0]} and data.class_names == (
        "walk",
        "run",
    )
    assert reds(clips[0]) == list(range(8)) and clips[0].fps == 8 and clips[0].frames[0, 0, 0, 1] == 2
    assert len(open_data(archive, where={"action": "run"})) == 3
    with pytest.raises(ValueError, match="no clip has action"):
        open_data(archive, where={"action": 7})
    with pytest.raises(IndexError, match="set of 4 clips"):
        data.batch([4])


def test_a_folder_by_class(folder: Path) -> None:
    data = open_data(folder, size=8, fps=6.0)
    assert data.class_names == ("left", "right") and getattr(data, "lengths", None) == [3, 6, 3, 6]
    clips, values = data.batch([1])
    assert values["label"] == [0] and clips[0].size == (8, 8) and clips[0].fps == 6


def test_crops_begin_anywhere_and_cycles_go_round(archive: Path, folder: Path) -> None:
    data = open_data(folder, frames=4, crops=3, timing=True)
    assert len(data) == 2 * (3 * 2 + 3 * 3) and data.conditions["total"] == "number"
    clips, values = data.batch(range(len(data)))
    for clip, begin in zip(clips, values["begin"], strict=True):
        first = reds(clip)[0]
        assert reds(clip) == list(range(first, first + 4)) and begin == pytest.approx(first / 12)
    assert len(set(values["begin"])) > 3
    cycles = open_data(archive, cycle=True, crops=16, timing=True)
    clips, values = cycles.batch(range(len(cycles)))
    assert {reds(clip)[0] for clip in clips} == set(range(8)) and "total" not in cycles.conditions
    for clip, begin in zip(clips, values["begin"], strict=True):
        assert reds(clip) == [(round(8 * begin) + k) % 8 for k in range(8)]
    again, _ = cycles.batch(range(len(cycles)))
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(clips, again, strict=True))


def test_a_set_that_is_not_held_in_memory_gives_the_same(folder: Path) -> None:
    for options in ({}, {"frames": 4, "crops": 2}, {"cycle": True, "frames": 5}, {"fps": 6.0, "frames": 3}):
        held = open_data(folder, size=8, **options)
        read = open_data(folder, size=8, memory=0, **options)
        for a, b in zip(held.batch(range(len(held)))[0], read.batch(range(len(read)))[0], strict=True):
            assert a.frames.shape == b.frames.shape and a.fps == b.fps
            assert np.array_equal(a.frames, b.frames)


@pytest.mark.parametrize(("rate", "fps"), [(25.0, 8.0), (8.0, 25.0), (24.0, 23.976), (30.0, [7.0, 12.0])])
def test_items_of_another_rate_are_the_same_from_memory_and_from_files(
    tmp_path: Path, rate: float, fps: Any
) -> None:
    for k in range(2):
        Video(numbered(25, k), rate).save(tmp_path / f"{k}.npz")
    options: dict[str, Any] = {"fps": fps, "frames": 4, "crops": 5, "timing": True}
    (held, told), (read, also) = (
        data.batch(range(len(data)))
        for data in (open_data(tmp_path, memory=m, **options) for m in (1 << 30, 0))
    )
    assert told == also and len(held) > 10
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(held, read, strict=True))


def test_several_rates_and_the_size_of_the_source(folder: Path) -> None:
    data = open_data(folder, size=8, fps=[6.0, 12.0], frames=3, source_size=True)
    clips, values = data.batch(range(len(data)))
    assert {clip.fps for clip in clips} == {6.0, 12.0} and set(values["source"]) == {16.0}
    assert values["fps"] == [clip.fps for clip in clips]
    steps = {clip.fps: np.diff(reds(clip)).tolist() for clip in clips}
    assert steps == {6.0: [2, 2], 12.0: [1, 1]}
    model = build_model(defaults(data, {"network": {"width": 32, "depth": 1, "heads": 2}}))
    assert set(model.conditions) == {"label", "fps", "source"}
    slow, fast = (model.sample(1, steps=1, frames=3, label="left", fps=fps)[0] for fps in (6.0, 12.0))
    assert (slow.fps, fast.fps) == (6.0, 12.0)
    assert len(model.sample(1, steps=1, seconds=1.5, fps=6.0)[0]) == 9
    own = Video(numbered(12, size=8), 12.0)
    (again,) = model.sample(1, steps=1, start=own, strength=0.5)
    assert (len(again), again.fps) == (12, 12.0)
    (kept,) = model.sample(1, steps=1, like=own, keep=lv.keep.seconds(0, 0.5), fps=12.0)
    assert np.array_equal(kept.frames[:6], own.frames[:6]) and (kept.frames[6:] != own.frames[6:]).any()
    assert precede(model, own, 2, steps=1, fps=12.0).fps == 12.0


def test_prompts_of_several_columns(archive: Path) -> None:
    data = open_data(archive, crops=20, cycle=True, captions=["caption", "short"])
    _, values = data.batch(range(len(data)))
    kinds = [text.startswith("number") for text in values["prompt"]]
    assert 0.3 < np.mean(kinds) < 0.7
    assert all(text.endswith(str(row)) for text, row in zip(values["prompt"], data.rows, strict=True))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="holds no texts"):
        open_data(archive, captions=["action"])
    with pytest.raises(ValueError, match="list of columns"):
        open_data(archive, captions="caption")


def test_damaged_files_are_named(folder: Path) -> None:
    (folder / "left" / "bad.npz").write_bytes(b"no clip")
    with pytest.raises(ValueError, match=r"bad\.npz: not a readable npz file") as caught:
        open_data(folder)
    assert str(caught.value).count("bad.npz") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(open_data(folder, errors="skip")) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frames": 0}, "data.frames"),
        ({"crops": True}, "data.crops"),
        ({"fps": -1}, "data.fps"),
        ({"fps": [8, "x"]}, "data.fps"),
        ({"size": [1, 2, 3]}, "data.size"),
        ({"errors": "hide"}, "raise, skip"),
        ({"frame": 3}, "did you mean 'frames'"),
    ],
)
def test_options_that_cannot_be(archive: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_data(archive, **options)


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        open_data(tmp_path / "nothing")
    lone = tmp_path / "clip.webp"
    Video(numbered(2), 8.0).save(lone)
    with pytest.raises(ValueError, match="give the folder it is in"):
        open_data(lone)
    np.savez(tmp_path / "other.npz", sound=np.zeros(3))
    with pytest.raises(ValueError, match="no array 'video'"):
        open_data(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="no splits"):
        open_data(_plain(tmp_path), "test")


def _plain(folder: Path) -> Path:
    np.savez(folder / "plain.npz", video=numbered(4)[None])
    return folder / "plain.npz"
