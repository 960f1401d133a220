"""What a call asks for: how many samples follow from what it begins with, and which plan from a budget."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import langevin as lv
from langevin.assembly import build_model
from langevin.core.request import resolve

CONFIG = {
    "name": "tiny",
    "modality": {"name": "image", "codec": {"name": "pixels", "size": 8}, "patch": 4},
    "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2},
    "sampling": {"steps": 2},
}


@pytest.fixture(scope="module")
def model() -> lv.Model:
    return build_model(CONFIG)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]


def test_there_are_as_many_samples_as_objects_or_noises_to_begin_from(
    model: lv.Model, pictures: list[Image.Image]
) -> None:
    keep = lv.keep.box(0, 0, 4, 8)
    assert len(model.sample(start=pictures)) == 3
    assert len(model.sample(like=pictures, keep=keep)) == 3
    assert len(model.sample(noise=model.invert(pictures, steps=2))) == 3
    assert len(model.sample(start=pictures[0])) == len(model.sample(start=pictures[:1])) == 1
    assert len(model.sample(2, start=pictures[0])) == len(model.sample(2, start=pictures[:1])) == 2
    with pytest.raises(ValueError, match="3 objects for 2 samples"):
        model.sample(2, start=pictures)


def test_samples_can_be_given_where_objects_are(model: lv.Model) -> None:
    drawn = model.sample(2, seed=1)
    again = model.sample(start=drawn, strength=0.5)
    assert torch.equal(again.state, model.sample(2, start=list(drawn), strength=0.5).state)
    assert model.score(drawn, steps=2, probes=1).shape == (2,)
    kept = model.sample(like=drawn, keep=lv.keep.box(0, 0, 4, 8))
    for made, original in zip(kept, drawn):
        assert made.crop((0, 0, 8, 4)).tobytes() == original.crop((0, 0, 8, 4)).tobytes()


@pytest.mark.parametrize("budget", [20, 47, 80])
def test_a_budget_buys_the_longest_plan_that_fits(budget: int) -> None:
    process = lv.processes.Gaussian()
    for name in ("restart", "heun", "dpm++2m"):
        settings = {"grid": None, "guidance": None, "negative": None, "defaults": {}, "sampler": name}
        run = resolve(process, steps=None, evaluations=budget, **settings)  # type: ignore[arg-type]
        longer = resolve(process, steps=len(run.times), evaluations=None, **settings)  # type: ignore[arg-type]
        costs = [r.sampler.evaluations(r.sampler.plan(process, r.times), process) for r in (run, longer)]
        assert costs[0] <= budget < costs[1]


def test_a_budget_that_no_plan_fits_says_why() -> None:
    process, settings = lv.processes.Discrete(3), {"guidance": None, "negative": None, "defaults": {}}
    with pytest.raises(ValueError, match="the clock of a Gaussian leaf; this process has none"):
        resolve(process, steps=None, evaluations=3, sampler="restart", grid=None, **settings)  # type: ignore[arg-type]


def test_a_start_is_left_once_and_an_inversion_has_no_passages(model: lv.Model) -> None:
    """What a model's own restarts would add to a strength is not asked for; a sampler that is named is as it is."""
    defaults = {"sampler": "angle-restart", "grid": "uniform", "steps": 10}
    told = {
        "steps": None,
        "evaluations": None,
        "grid": None,
        "guidance": None,
        "negative": None,
        "defaults": defaults,
    }
    plain = resolve(model.process, sampler=None, **told)
    assert isinstance(plain.sampler, lv.samplers.Restart)
    for settings in ({"strength": 0.5}, {"rising": True}):
        once = resolve(model.process, sampler=None, **told, **settings)
        assert isinstance(once.sampler, lv.samplers.Multistep) and once.about["sampler"] == "angle"
    named = resolve(model.process, sampler="angle-restart", **told, strength=0.5)
    assert isinstance(named.sampler, lv.samplers.Restart)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_restart_of_few_steps_gives_a_sample(model: lv.Model, steps: int) -> None:
    drawn = model.sample(2, steps=steps, sampler="restart")
    assert drawn.state.isfinite().all() and drawn.run.steps == steps
    if steps == 1:  # no time between t = 0.4 and 0.1 to go back to
        plain = model.sample(2, steps=1, sampler="heun")
        assert torch.equal(drawn.state, plain.state)


@pytest.mark.parametrize("name", ["height", "seed", "guidance"])
def test_a_condition_cannot_hide_an_argument_of_sample(name: str) -> None:
    number = {"name": "number", "width": 16}
    with pytest.raises(ValueError, match=f"cannot be called '{name}'"):
        build_model({**CONFIG, "modality": {**CONFIG["modality"], "conditions": {name: number}}})  # type: ignore[dict-item]
