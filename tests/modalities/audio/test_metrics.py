from __future__ import annotations

import math

import numpy as np
import pytest

from langevin.modalities.audio.metrics import (
    MelStatistics,
    RandomConv,
    describe,
    distances,
    evaluate,
    frechet_infinity,
    white_noise,
)
from langevin.modalities.audio.sound import Audio
from langevin.modalities.base import Failure
from langevin.modalities.distances import frechet_distance, moments

RATE = 4000


def buzz(n: int, seed: int = 0, low: float = 200, high: float = 800, seconds: float = 0.25) -> list[Audio]:
    """Tones with a few overtones, each with a pitch, a level and a length of its own."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        t = np.arange(round(RATE * seconds * rng.uniform(0.8, 1.2))) / RATE
        f = rng.uniform(low, high)
        x = sum(
            rng.uniform(0.2, 1) / k * np.sin(2 * np.pi * k * f * t) for k in (1, 2, 3) if k * f < RATE / 2
        )
        out.append(Audio(rng.uniform(0.1, 0.4) * (x + 0.01 * rng.standard_normal(len(t))), RATE))
    return out


# --- features ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extract", [MelStatistics(RATE), RandomConv(rate=RATE)])
def test_features_belong_to_a_sound_whatever_else_is_in_the_batch(extract):
    sounds = buzz(4)
    found = extract(sounds)
    assert found.shape == (4, 120 if isinstance(extract, MelStatistics) else 224)
    assert np.array_equal(extract(sounds[2:3])[0], found[2])
    stereo = Audio(np.repeat(sounds[0].samples, 2, 0), RATE)
    assert extract([stereo])[0] == pytest.approx(found[0], abs=1e-4)
    assert np.isfinite(extract([Audio(np.zeros(3), RATE)])).all()
    with pytest.raises(ValueError, match="at least one"):
        extract([])


def test_random_features_tell_pitches_apart():
    low, high = buzz(20, low=200, high=250), buzz(20, 1, low=400, high=500)
    x = RandomConv(rate=RATE)(low + high)
    inner, outer = (
        np.linalg.norm(x[:20] - x[:20].mean(0), axis=1).mean(),
        np.linalg.norm(x[:20].mean(0) - x[20:].mean(0)),
    )
    assert outer > 0.5 * inner


# --- distances --------------------------------------------------------------------------------------------------


def test_the_extrapolated_distance_loses_the_bias_in_n():
    rng = np.random.default_rng(0)
    shift = 0.5
    mean, covariance = np.zeros(8), np.eye(8)
    values, plain = [], []
    for _ in range(8):
        x = rng.normal(shift, 1, (400, 8))
        plain.append(frechet_distance(x, rng.normal(0, 1, (400, 8))))
        values.append(frechet_infinity(x, (mean, covariance)))
    wanted = 8 * shift**2
    assert np.mean([v.value.value for v in values]) == pytest.approx(wanted, abs=0.12)
    assert np.mean(plain) > wanted
    same = [frechet_infinity(rng.normal(0, 1, (400, 8)), (mean, covariance)) for _ in range(4)]
    assert all(v.slope > 0 and 0.9 < v.fit <= 1 for v in same)
    assert np.mean([v.value.value for v in same]) == pytest.approx(0, abs=0.02)
    covered = sum(v.value.low <= wanted <= v.value.high for v in values)
    assert covered >= 6


def test_features_and_moments_of_the_reference_are_the_same():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(80, 3))
    assert frechet_infinity(x, y).value.value == pytest.approx(frechet_infinity(x, moments(y)).value.value)
    assert frechet_infinity(x, y, seed=1) != frechet_infinity(x, y)
    with pytest.raises(ValueError, match="at least 20"):
        frechet_infinity(x[:19], y)
    with pytest.raises(ValueError, match="least must lie"):
        frechet_infinity(x, y, least=40)


def test_distances_carry_their_floor_and_controls():
    table = distances(buzz(40, 1), buzz(120), {"mel": MelStatistics(RATE, 8)})
    rows = {row["row"]: row for row in table.rows}
    assert list(rows) == ["samples", "real against real", "copies of training", "noise"]
    assert rows["samples"]["n"] == 40
    floor = rows["real against real"]["frechet"]
    assert rows["samples"]["frechet"] < 3 * floor
    assert rows["noise"]["frechet"] > 5 * floor
    assert rows["noise"]["kernel"].value > 10 * abs(rows["samples"]["kernel"].value)
    assert rows["samples"]["frechet ∞"].value < rows["samples"]["frechet"]
    wide = distances(buzz(40, 1), buzz(120), {"mel": MelStatistics(RATE)})
    assert "frechet ∞" not in wide.columns
    with pytest.raises(ValueError, match="40 of the reference"):
        distances(buzz(20), buzz(30), {"mel": MelStatistics(RATE)})


def test_noise_is_as_long_and_loud_as_what_it_stands_for():
    like = buzz(3)
    found = white_noise(20, np.random.default_rng(0), like)
    assert {len(s) for s in found} <= {len(s) for s in like}
    size = {len(s): np.sqrt((s.samples**2).mean()) for s in like}
    assert all(np.sqrt((s.samples**2).mean()) == pytest.approx(size[len(s)], rel=0.15) for s in found)


# --- everything at once -------------------------------------------------------------------------------------------


def test_evaluate_carries_floor_controls_silence_and_failures():
    def judge(sounds):
        spectra = [np.abs(np.fft.rfft(s.samples[0], 4000)) for s in sounds]
        return ["low" if a[1:400].sum() > a[400:].sum() else "high" for a in spectra]

    real, made, fresh = buzz(40), buzz(20, 1), buzz(40, 2)
    labels = judge(made)
    samples = [*made, Failure("nothing"), Audio(np.zeros(1000), RATE)]
    table = evaluate(
        samples,
        real,
        fresh,
        features={"mel": MelStatistics(RATE, 8)},
        labels=[*labels, "low", "low"],
        real_labels=judge(fresh),
        judge=judge,
        metrics=("frechet", "kid", "neighbourhood", "memorisation", "copied", "diversity"),
        k=3,
    )
    row = table.row(row="samples", features="mel")
    assert row["failed"] == 1
    assert row["silent"].value == pytest.approx(1 / 21)
    assert row["silence rate"].n == 21
    assert table.row(row="copies of training", features="mel")["copied"].value == 1
    assert (
        table.row(row="noise", features="mel")["frechet"]
        > 5 * table.row(row="real against real", features="mel")["frechet"]
    )
    judged = table.row(row="samples", features="judge")["accuracy"]
    assert judged.n == 22
    assert judged.value >= 20 / 22
    assert table.row(row="shuffled conditions", features="judge")["accuracy"].value < judged.value
    assert "silent" not in table.row(row="noise", features="mel")


def test_evaluate_has_defaults_and_does_without_a_reference():
    table = evaluate(buzz(14, 1), buzz(30), metrics=("frechet",), k=2)
    assert {row["features"] for row in table.rows} == {"mel statistics", "random conv"}
    assert str(evaluate(buzz(3))) == str(describe(buzz(3)))


def test_evaluate_checks_its_input():
    with pytest.raises(ValueError, match="unknown metric"):
        evaluate(buzz(12), buzz(12), metrics=("frechett",))
    with pytest.raises(ValueError, match="at least 12 sounds"):
        evaluate(buzz(3), buzz(24))
    with pytest.raises(ValueError, match="reference must hold sounds"):
        evaluate(buzz(12), [*buzz(12), Failure("x")])
    with pytest.raises(ValueError, match="judge needs labels"):
        evaluate(buzz(12), buzz(12), judge=lambda sounds: [])


# --- alone --------------------------------------------------------------------------------------------------------


def test_sounds_alone_are_counted_and_their_levels_measured():
    sounds = buzz(5)
    loud = Audio(np.clip(50 * sounds[0].samples, -1, 1), RATE)
    table = describe([*sounds, sounds[1], loud, Audio(np.zeros((2, 900)), RATE), Failure("no")])
    value = {row["measure"]: row["value"] for row in table.rows}
    assert value["failed"] == 1
    assert value["readable"].value == pytest.approx(8 / 9)
    assert value["silent"].value == pytest.approx(1 / 8)
    assert value["with clipping"].value == pytest.approx(1 / 8)
    assert value["twins"].value == pytest.approx(2 / 8)
    assert value["pair distance"].value > 0
    assert -40 < value["loudness (LUFS)"].value < 0
    assert value["seconds"].value == pytest.approx(0.25, abs=0.05)
    assert "4000 Hz (7), 4000 Hz × 2 (1)" in table.caption


@pytest.mark.parametrize(
    "samples", [[], [Failure("a")], [Audio(np.zeros(10), RATE)], [Audio(np.ones(1), 8000)] * 2]
)
def test_little_is_described_too(samples):
    table = describe(samples)
    assert table.row(measure="failed")["value"] == sum(isinstance(s, Failure) for s in samples)
    assert all(not isinstance(r["value"], float) or math.isfinite(r["value"]) for r in table.rows)
