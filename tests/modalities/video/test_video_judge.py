from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from langevin.modalities.base import Failure
from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics import (
    Judge,
    agreement,
    load_judge,
    read,
    relative_accuracy,
    save_judge,
    train_judge,
)

ROOT = Path(__file__).parents[3]
JUDGES = ROOT / "tests" / "data" / "judges"
SPRITES = (
    Path(os.environ.get("LANGEVIN_DATA", ROOT.parent / "shared" / "data")) / "video" / "lpc_sprites_64.npz"
)
NAMES = ("left", "right")
FPS = 8.0


def walks(n: int, seed: int, frames: int = 8, side: int = 16) -> tuple[list[Video], np.ndarray]:
    """A spot that goes to the left or to the right and round, from anywhere; every other one."""
    rng = np.random.default_rng(seed)
    clips = []
    for i in range(n):
        x = np.full((frames, side, side, 3), rng.integers(0, 100), np.uint8)
        row, start, colour = rng.integers(2, side - 4), rng.integers(side), rng.integers(150, 256, 3)
        for t in range(frames):
            at = (start + (1 if i % 2 else -1) * 2 * t + np.arange(2)) % side
            x[t, row : row + 2, at] = colour
        clips.append(Video(x, FPS))
    return clips, np.arange(n) % 2


@pytest.fixture(scope="module")
def judge() -> Judge:
    clips, labels = walks(128, 0)
    return train_judge(clips, labels, class_names=NAMES, side=16, epochs=8, batch_size=16, width=8)


def test_a_judge_of_motion_learns_and_is_reproducible(judge):
    clips, wanted = walks(60, 1)
    assert (judge.predict(clips) == wanted).mean() > 0.95  # single frames of both classes are alike
    backwards = [Video(c.frames[::-1], FPS) for c in clips]
    assert (judge.predict(backwards) == wanted).mean() < 0.05
    few, labels = walks(32, 0)
    seen: list = []
    state = torch.random.get_rng_state()
    runs = [
        train_judge(few, labels, side=16, epochs=2, batch_size=16, width=4, progress=seen.append)
        for _ in range(2)
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(runs[0].head.weight, runs[1].head.weight) and not runs[0].training
    assert (seen[-1].step, seen[-1].steps) == (4, 4) and runs[0].class_names == ("0", "1")


def test_clips_may_begin_anywhere_and_have_any_size_and_rate(judge):
    clips, wanted = walks(40, 2)
    rolled = [Video(np.roll(c.frames, k % 8, 0), FPS) for k, c in enumerate(clips)]
    assert (judge.predict(rolled) == wanted).mean() > 0.9
    large = [Video(c.frames.repeat(4, 1).repeat(4, 2), FPS) for c in clips]
    assert np.allclose(judge.judge(large)[0], judge.judge(clips)[0], atol=1e-5)
    slow = [Video(c.frames.repeat(3, 0), 3 * FPS) for c in clips]
    assert np.allclose(judge.judge(slow)[0], judge.judge(clips)[0], atol=1e-5)
    assert judge.judge([Video(clips[0].frames[:1], FPS)])[0].shape == (1, 2)


def test_features_are_the_penultimate_layer(judge):
    clips, _ = walks(3, 3)
    p, f = judge.judge(clips)
    assert f.shape == (3, 128) and p.sum(1) == pytest.approx(1)
    assert np.array_equal(judge.embed(clips), f) and judge.judge([])[1].shape == (0, 128)
    x = judge.inputs(clips)
    assert x.shape == (3, 8, 3, 16, 16) and -1 <= x.min() < x.max() <= 1
    with pytest.raises(ValueError, match="T at least 2"):
        judge.features(x[:, :1])


def test_a_judge_is_written_and_read(judge, tmp_path):
    clips, _ = walks(20, 4)
    path = tmp_path / "a" / "judge.safetensors"
    save_judge(judge, path, torch.float32)
    again = load_judge(path)
    assert np.array_equal(again.judge(clips)[0], judge.judge(clips)[0])
    assert (again.class_names, again.frames, again.side) == (NAMES, 8, 16)
    save_judge(judge, path)
    assert (load_judge(path).predict(clips) == judge.predict(clips)).all()
    with pytest.raises(FileNotFoundError, match="no judge"):
        load_judge(tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "at least 2"),
        ({"classes": 3, "class_names": ("a",)}, "3 names"),
        ({"classes": 2, "frames": 1}, "frames must be at least 2"),
    ],
)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Judge(**options)


def test_reading_counts_failures_as_wrong(judge):
    clips, labels = walks(20, 5)
    wanted = [NAMES[k] for k in labels]
    reading = read(judge, [*clips, Failure("no")], [*wanted, "left"])
    assert reading.found[-1] is None and reading.accuracy.n == 21
    assert 18 / 21 <= reading.accuracy.value <= 20 / 21
    assert agreement(reading.found, [*wanted, "left"]).row(label="left")["n"] == 11
    share = relative_accuracy(reading.found, [*wanted, "left"], wanted, wanted)
    assert share.value == pytest.approx(reading.accuracy.value)
    with pytest.raises(ValueError, match="does not know 'up'"):
        read(judge, clips[:1], ["up"])


@pytest.mark.parametrize("name", ["action", "direction"])
def test_the_judges_of_sprites_read_characters_that_they_have_not_seen(name):
    path = JUDGES / f"sprite_{name}.safetensors"
    assert path.stat().st_size < 300_000
    if not SPRITES.is_file():
        pytest.skip(f"no {SPRITES.name} in {SPRITES.parent} (set LANGEVIN_DATA)")
    with np.load(SPRITES, allow_pickle=False) as archive:
        test = archive["split"] == "test"
        clips = [Video(x, FPS).resized(32, 32) for x in archive["video"][test]]
        wanted = archive[f"{name}_names"][archive[name][test]].tolist()
    judge = load_judge(path)
    late = [Video(np.roll(c.frames, 1 + k % 7, 0), FPS) for k, c in enumerate(clips)]
    assert read(judge, clips, wanted).accuracy.value >= 0.97
    assert read(judge, late, wanted).accuracy.value >= 0.97
    assert read(judge, clips, wanted[1:] + wanted[:1]).accuracy.value < 0.5
