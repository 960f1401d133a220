"""Forecasts of long runs: told once, and only where a run is long."""

from __future__ import annotations

import pytest
import torch

from langevin.core import forecast
from langevin.core.forecast import Forecast, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows its first entry."""
    now = [0.0]
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: now[0])
    return now


def play(clock: list[float], seconds: list[float], samples: int = 192, steps: int = 20) -> Forecast:
    """Steps of the first batch of 64, one evaluation each."""
    told = Forecast(samples, torch.device("cpu"))
    told.begin()
    for k, taken in enumerate(seconds, 1):
        clock[0] += taken
        told.step(k, steps, 64, steps)
    return told


def test_a_long_run_is_told_by_a_warm_step(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    play(clock, [4.0, 2.0, 2.0, 2.0])
    # 4 s, and 59 evaluations of 2 s: not 60 of 4 s
    assert capsys.readouterr().err == "about 2 min: 3 batches of 64, 20 steps\n"


def test_a_slow_first_step_is_enough(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    play(clock, [6.0], samples=64)
    assert capsys.readouterr().err == "about 2 min: 1 batch of 64, 20 steps\n"


@pytest.mark.parametrize("seconds", [[0.4] * 20, [4.0, 0.4, 4.0, 4.0]])
def test_a_short_run_says_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str], seconds: list[float]
) -> None:
    play(clock, seconds)
    assert capsys.readouterr().err == ""


def test_moves_without_evaluations_are_waited_for(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    told = Forecast(64, torch.device("cpu"))
    told.begin()
    for taken, evaluations in ((0.0, 0), (3.0, 2), (2.0, 4)):
        clock[0] += taken
        told.step(evaluations, 40, 64, 20)
    assert capsys.readouterr().err == "about 40 s: 1 batch of 64, 20 steps\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(31, "30 s"), (44, "45 s"), (88, "90 s"), (120, "2 min"), (3000, "50 min"), (6000, "1 h 40 min")],
)
def test_durations_are_round(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_run_is_timed_unless_it_is_to_be_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.test_prompts import model

    made = model()
    monkeypatch.setattr(forecast, "WORTH", 0.0)
    quiet = made.sample(3, prompt="a", steps=3, batch_size=2, progress=False)
    assert capsys.readouterr().err == ""
    told = made.sample(3, prompt="a", steps=3, batch_size=2)
    assert capsys.readouterr().err.count(": 2 batches of 2, 3 steps\n") == 1
    assert torch.equal(quiet.state, told.state)
