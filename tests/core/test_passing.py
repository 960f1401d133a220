"""Samples that pass a test: the first of a seed, whatever the batches; what was drawn for them is on record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import langevin as lv
from langevin.assembly import build_model
from langevin.core.passing import passing
from langevin.modalities.recipes import recipe
from langevin.modalities.samples import Run, Samples
from tests.toy import Squares

TREE = {
    "modality": {"name": "image", "codec": {"name": "pixels", "size": 8}, "patch": 4},
    "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2},
    "sampling": {"steps": 2},
}


class Model:
    """Sample i of a seed is the colour (i % 7) / 8, and cannot be decoded where i % 10 is 3."""

    conditions = ("prompt",)
    passing = passing

    def __init__(self) -> None:
        self.modality = Squares()
        self.asked: list[tuple[int, int]] = []
        self.at_batch = -1

    def sample(self, n: int, *, seed: int, first: int, **options: Any) -> Samples:
        if len(self.asked) == self.at_batch:
            raise KeyboardInterrupt
        self.asked.append((first, n))
        numbers = torch.arange(first, first + n)
        state = torch.zeros(n, 3)
        state[:, 0] = torch.where(numbers % 10 == 3, torch.tensor(0.95), (numbers % 7) / 8)
        run = Run("toy", "squares", seed=seed, evaluations=2, network_rows=2 * n)
        conditions = [{k: v for k, v in options.items() if k == "prompt"}] * n
        return Samples(
            self.modality.decode(state), self.modality, run, state, None, conditions, numbers.tolist()
        )


def red(item: Any) -> bool:
    return bool(item.getpixel((0, 0))[0] > 130)  # i % 7 in (5, 6), unless i % 10 == 3


@pytest.mark.parametrize("batch", [None, 1, 3, 50])
def test_the_first_that_pass_whatever_the_batches(batch: int | None) -> None:
    model = Model()
    samples = model.passing(5, red, seed=4, batch_size=batch, prompt="x")
    assert samples.indices == (5, 6, 12, 19, 20) and all(map(red, samples))
    assert samples.state[:, 0].tolist() == pytest.approx([5 / 8, 6 / 8, 5 / 8, 5 / 8, 6 / 8])
    assert set(samples.conditions[0]) == {"prompt"}
    record = samples.manifest()["options"]["passing"]
    assert record["drawn"] == 21 and record["passed"] == record["wanted"] == 5 and record["stopped"] is None
    assert record["function"]["given"].endswith("red")
    assert record["failures"] == [{"index": k, "failure": "too <red>"} for k in (3, 13)]
    assert [first for first, _ in model.asked] == [
        sum(n for _, n in model.asked[:k]) for k in range(len(model.asked))
    ]
    assert samples.run.network_rows == 2 * sum(n for _, n in model.asked)


def test_the_limit_of_draws_is_kept_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    model = Model()
    samples = model.passing(50, red, draws=30)
    assert len(samples) == 7 and samples.run.options["passing"]["drawn"] == 30
    assert samples.run.options["passing"]["stopped"] == "draws" and sum(n for _, n in model.asked) == 30
    assert "7 of the 50 samples asked for passed, of 30 drawn: the limit of draws" in capsys.readouterr().err
    none = Model().passing(3, lambda item: False, draws=12)
    assert len(none) == 0 and none.state.shape == (0, 3) and none.run.options["passing"]["passed"] == 0
    model = Model()
    model.passing(2, lambda item: False)
    assert sum(n for _, n in model.asked) == 1000


def test_an_interruption_keeps_what_has_passed(capsys: pytest.CaptureFixture[str]) -> None:
    model = Model()
    model.at_batch = 2
    samples = model.passing(50, red, batch_size=10)
    assert samples.indices == (5, 6, 12, 19) and samples.run.options["passing"]["stopped"] == "interrupted"
    assert "of 20 drawn: interrupted" in capsys.readouterr().err

    seen: list[Any] = []

    def stops(item: Any) -> bool:
        seen.append(item)
        if len(seen) == 9:
            raise KeyboardInterrupt
        return red(item)

    assert Model().passing(50, stops, batch_size=40).indices == (5, 6)
    model.asked, model.at_batch = [], 0
    with pytest.raises(KeyboardInterrupt):
        model.passing(50, red)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((0, red), {}, "n must be a whole number of at least 1, got 0"),
        ((1, red), {"draws": 0}, "draws must be a whole number of at least 1"),
        ((1,), {}, "passing needs a test: a condition as text, or a function of a squares"),
        ((1, "sound"), {}, "samples of squares have no measures to filter by; give a function"),
        ((1, red), {"first": 3}, "first does not go with a test"),
        ((1, red), {"noise": torch.zeros(1)}, "noise does not go with a test"),
        (
            (2, red),
            {"prompt": ["a", "b"]},
            "prompt has 2 values, and how many samples are drawn is not known",
        ),
        ((2, red), {"start": [1, 2]}, "start has 2 values"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: Any, options: Any, says: str) -> None:
    model = Model()
    with pytest.raises(ValueError, match=says):
        model.passing(*arguments, **options)
    assert model.asked == []


def test_the_page_and_the_recipe_say_what_was_asked() -> None:
    samples = Model().passing(5, red)
    html = samples.page().html()
    assert "5 of 21 drawn" in html and "that passed a test" in html
    code, whole = recipe(samples)
    assert "samples = model.passing(5, seed=0, test=test, draws=1000)" in code and not whole
    assert "test is yours to fill in" in code and "shown here" not in code
    assert "# shown here: those numbered 5, 6" in recipe(samples[:2])[0]


def test_samples_from_a_number_on_are_those_of_the_longer_run() -> None:
    model = build_model(TREE, seed=0)
    whole, part = model.sample(6, seed=3), model.sample(3, seed=3, first=2, batch_size=2)
    assert part.indices == (2, 3, 4) and whole.indices == tuple(range(6))
    torch.testing.assert_close(part.state, whole.state[2:5])
    assert not torch.equal(model.sample(3, seed=3).state, part.state)
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValueError, match="first must be a whole number of at least 0"):
            model.sample(1, first=wrong)


def test_a_model_draws_what_sample_would_have() -> None:
    model = build_model(TREE, seed=0)
    bright = sorted(
        k for k, item in enumerate(model.sample(12)) if lv.Failure is not type(item) and _mean(item) > 127
    )
    found = model.passing(3, lambda item: _mean(item) > 127, batch_size=4)
    assert list(found.indices) == bright[:3]


def _mean(item: Any) -> float:
    return float(np.asarray(item.convert("L")).mean())
