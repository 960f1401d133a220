from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from langevin.modalities.audio.metrics import (
    Judge,
    agreement,
    load_judge,
    read,
    relative_accuracy,
    save_judge,
    train_judge,
)
from langevin.modalities.audio.sound import Audio
from langevin.modalities.base import Failure

ROOT = Path(__file__).parents[3]
DIGITS = Path(os.environ.get("LANGEVIN_DATA", ROOT.parent / "shared" / "data")) / "audio" / "fsdd_8k.npz"
RATE = 4000
NAMES = ("falling", "rising")


def glides(n: int, seed: int) -> tuple[list[Audio], np.ndarray]:
    """Tones that rise or fall; every other one."""
    rng = np.random.default_rng(seed)
    sounds = []
    for i in range(n):
        t = np.arange(round(RATE * rng.uniform(0.25, 0.4))) / RATE
        low, high = rng.uniform(200, 500), rng.uniform(800, 1500)
        a, b = (low, high) if i % 2 else (high, low)
        phase = 2 * np.pi * (a * t + (b - a) * t**2 / 2 / t[-1])
        sounds.append(Audio(rng.uniform(0.05, 0.8) * np.sin(phase), RATE))
    return sounds, np.arange(n) % 2


@pytest.fixture(scope="module")
def judge() -> Judge:
    sounds, labels = glides(96, 0)
    return train_judge(sounds, labels, class_names=NAMES, epochs=8, batch_size=16, width=8, seconds=0.5)


def test_a_judge_learns_is_reproducible_and_reports_progress(judge):
    test, wanted = glides(60, 1)
    assert (judge.predict(test) == wanted).mean() > 0.95
    assert not judge.training
    sounds, labels = glides(32, 0)
    seen: list = []
    state = torch.random.get_rng_state()
    runs = [
        train_judge(sounds, labels, epochs=2, batch_size=16, width=4, progress=seen.append) for _ in range(2)
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(runs[0].head.weight, runs[1].head.weight)
    assert (seen[-1].step, seen[-1].steps) == (4, 4)
    assert (runs[0].rate, runs[0].class_names) == (RATE, ("0", "1"))
    assert 0.35 < runs[0].seconds < 0.42


def test_level_place_rate_and_channels_change_little(judge):
    sounds, wanted = glides(30, 2)
    changed = [
        Audio(np.pad(0.01 * s.samples, ((0, 0), (3000, 500))).repeat(2, 0), RATE).resampled(6000)
        for s in sounds
    ]
    assert (judge.predict(changed) == wanted).mean() > 0.9
    quiet = judge.judge([Audio(0.1 * s.samples, RATE) for s in sounds])[0]
    assert quiet == pytest.approx(judge.judge(sounds)[0], abs=1e-3)


def test_the_window_holds_the_loudest_stretch():
    net = Judge(2, RATE, 0.1)
    x = np.zeros(4000)
    x[2000:2400] = 0.5
    assert net.windows([Audio(x, RATE)])[0].min() == 0.5
    assert net.windows([Audio(np.ones(100), RATE)])[0].tolist() == [0.0] * 150 + [1.0] * 100 + [0.0] * 150


def test_features_are_the_penultimate_layer(judge):
    sounds, _ = glides(3, 3)
    p, f = judge.judge(sounds)
    assert f.shape == (3, 128)
    assert p.sum(1) == pytest.approx(1)
    assert np.array_equal(judge.embed(sounds), f)
    assert judge.judge([])[1].shape == (0, 128)
    levels = judge.levels(judge.windows(sounds))
    assert levels.shape[:2] == (3, 40)
    assert levels.min() == -1
    assert levels.max() == 1
    with pytest.raises(ValueError, match=r"\(B, 40, frames\)"):
        judge.features(torch.zeros(2, 39, 8))


def test_a_judge_is_written_and_read(judge, tmp_path):
    sounds, _ = glides(20, 4)
    path = tmp_path / "a" / "judge.safetensors"
    save_judge(judge, path, torch.float32)
    again = load_judge(path)
    assert np.array_equal(again.judge(sounds)[0], judge.judge(sounds)[0])
    assert (again.class_names, again.rate, again.seconds) == (NAMES, RATE, 0.5)
    save_judge(judge, path)
    assert (load_judge(path).predict(sounds) == judge.predict(sounds)).all()
    with pytest.raises(FileNotFoundError, match="no judge"):
        load_judge(tmp_path / "other")
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="does not hold a judge"):
        load_judge(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "at least 2"),
        ({"classes": 3, "class_names": ("a",)}, "3 names"),
        ({"classes": 2, "seconds": 0.01}, "at least 0.1"),
    ],
)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Judge(**options)


def test_labels_that_do_not_fit_are_refused():
    sounds, _ = glides(4, 0)
    with pytest.raises(ValueError, match="one for each sound"):
        train_judge(sounds, [0, 1])
    with pytest.raises(ValueError, match="0 … 1"):
        train_judge(sounds, [0, 1, 2, 1], class_names=NAMES)


# --- reading ----------------------------------------------------------------------------------------------------


def test_reading_counts_failures_and_silence_as_wrong(judge):
    sounds, labels = glides(20, 5)
    wanted = [NAMES[k] for k in labels]
    reading = read(
        judge, [*sounds, Failure("no"), Audio(np.zeros(2000), RATE)], [*wanted, "rising", "falling"]
    )
    assert reading.found[-2:] == [None, None]
    assert reading.accuracy is not None
    assert reading.accuracy.n == 22
    assert reading.accuracy.value >= 18 / 22
    assert set(reading.cells()) == {"accuracy", "entropy", "variety"}
    assert reading.entropy.value < 0.7
    assert reading.variety.value == pytest.approx(1, abs=0.1)
    assert reading.variety.low <= reading.variety.value <= reading.variety.high <= 1
    assert read(judge, sounds[::2]).variety.value < 0.7
    assert read(judge, [Failure("no")]).entropy is None
    with pytest.raises(ValueError, match="does not know 'up'"):
        read(judge, sounds[:1], ["up"])


def test_agreement_says_what_labels_are_taken_for():
    table = agreement(["a", "b", "b", None, "c", "c"], ["a", "a", "a", "b", "c", "c"])
    assert table.row(label="a")["taken for"] == "b (2)"
    assert table.row(label="b")["taken for"] == "nothing (1)"
    assert table.row(label="c")["taken for"] is None
    assert table.row(label="all")["accuracy"].value == pytest.approx(0.5)


def test_relative_accuracy_is_a_ratio_with_the_doubt_of_both():
    found = relative_accuracy(["a"] * 40, ["a"] * 20 + ["b"] * 20, ["a"] * 50, ["a"] * 40 + ["b"] * 10)
    assert found.value == pytest.approx(0.5 / 0.8)
    assert found.low < 0.55
    assert found.high > 0.7
    with pytest.raises(ValueError, match="cannot judge"):
        relative_accuracy(["a"], ["a"], ["b"], ["a"])


@pytest.mark.slow
@pytest.mark.parametrize("key", ["digit", "speaker"])
def test_spoken_digits_are_read(key):
    if not DIGITS.is_file():
        pytest.skip(f"no fsdd_8k.npz in {DIGITS.parent} (set LANGEVIN_DATA)")
    with np.load(DIGITS, allow_pickle=False) as data:
        samples, offsets, labels = data["samples"], data["offsets"], data[key].astype(int)
        test = data["split"] == "test"
        sounds = [Audio(samples[a:b], 8000) for a, b in zip(offsets[:-1], offsets[1:])]
    names = [str(k) for k in range(labels.max() + 1)]
    here, there = np.flatnonzero(~test), np.flatnonzero(test)
    net = train_judge([sounds[i] for i in here], labels[here], class_names=names, seconds=1.024, epochs=8)
    reading = read(net, [sounds[i] for i in there], [names[labels[i]] for i in there])
    assert reading.accuracy is not None
    assert reading.accuracy.value >= 0.97
