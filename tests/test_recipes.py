"""The code in a report makes the same samples again, to the bit; what it cannot hold is a variable that it describes."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import langevin as lv
from langevin import hub
from langevin.assembly import build_model
from langevin.modalities.recipes import recipe
from langevin.modalities.samples import Samples, read_manifest

CONFIG = {
    "name": "tiny",
    "modality": {
        "name": "image",
        "codec": {"name": "pixels", "size": 8, "channels": 3},
        "patch": 4,
        "conditions": {
            "label": {"name": "class", "classes": 3, "width": 16},
            "prompt": {"name": "text", "width": 16, "depth": 1, "length": 32, "heads": 2, "vector_width": 16},
            "picture": {"name": "image", "width": 16, "channels": 3, "size": 8, "patch": 4, "heads": 2},
        },
    },
    "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2, "context_width": 16},
    "sampling": {"steps": 3, "guidance": 2.0, "density": [1.0, 2.0, 1.5, 0.123456789]},
}
S, G, T = lv.samplers, lv.guidance, lv.grids


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = build_model(CONFIG)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    path = tmp_path_factory.mktemp("recipes") / "tiny"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> lv.Model:
    return hub.load(folder, device="cpu")


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lv, "load", CACHED, raising=False)


CACHED = functools.cache(hub.load)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8))


def again(samples: Samples, **given: Any) -> Samples:
    """What the recipe of a run makes, in an empty folder, where the reader fills in what it asks for."""
    code, whole = recipe(samples)
    assert whole == (not given), code
    for name in given:
        assert f"# {name} is yours to fill in: " in code
    code = code.replace("samples.save('out/')", "")
    space: dict[str, Any] = dict(given)
    exec(code, space)  # noqa: S102
    return space["samples"]


def same(a: Samples, b: Samples) -> None:
    assert torch.equal(a.state, b.state)
    assert a.manifest() == b.manifest()


RUNS: dict[str, dict[str, Any]] = {
    "the model's own": {},
    "a preset": {"sampler": "dpm++2m-sde", "steps": 4},
    "a budget": {"sampler": "heun", "evaluations": 6},
    "an object": {"sampler": S.Multistep(3), "steps": 4},
    "objects in objects": {"sampler": S.Restart(S.Heun(of="sigma"), times=1), "steps": 5},
    "churn": {"sampler": S.Churn(amount=3.0, low=0.1), "grid": "karras", "steps": 3},
    "apg": {"guidance": G.apg(3.0, norm=2.5, momentum=-0.5)},
    "cfg": {"guidance": G.cfg(3.0, interval=(0.2, 0.8), rescale=0.3, names=["label"])},
    "a number of numpy's": {"guidance": np.float64(2.5)},
    "rules in a chain": {"guidance": G.chain(G.cfg(4.0), G.dynamic_threshold(0.9))},
    "named conditions": {"guidance": G.compose({"label": 2.0, "prompt": 1.5})},
    "a grid's name": {"grid": "karras", "steps": 4},
    "a grid": {"grid": T.karras(4, rho=5.0, high=20.0)},
    "another grid": {"grid": T.exponential(4), "sampler": S.Single(0.5)},
    "a density": {"grid": T.curvature(4, [0.1 + 0.2, 1.0, 2 / 3])},
    "listed times": {"grid": [1.0, 0.7, 1 / 3, 0.0]},
    "a listed grid": {"grid": T.listed([1.0, 0.9, 0.2, 0.0])},
    "a negative": {"negative": 'a "blue" circle'},
    "negatives": {"negative": {"label": [0, 1, 2], "prompt": "x"}},
    "a size": {"height": 12, "width": 8},
    "texts": {"prompt": ["a", "b'\"", "c\n"]},
    "tensors": {"label": torch.tensor([0, 1, 2])},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_recipe_makes_the_same_bits(model: lv.Model, name: str) -> None:
    settings = {"label": 1, "prompt": "a red star", "seed": 2**63 + 5} | RUNS[name]
    made = model.sample(3, **settings)
    same(again(made), made)


def test_a_model_in_another_dtype_is_loaded_in_it(tmp_path: Path) -> None:
    built = build_model({**CONFIG, "modality": {**CONFIG["modality"], "places": False}})  # type: ignore[dict-item]
    built.save(tmp_path / "tiny")
    made = lv.load(tmp_path / "tiny", dtype="bfloat16").sample(1, label=1)
    assert "dtype='bfloat16'" in recipe(made)[0]
    same(again(made), made)


def test_a_selection_says_which(model: lv.Model) -> None:
    made = model.sample(4, label=[0, 1, 2, 0], negative={"label": [1, 2, 0, 1]})
    chosen = made[1:3]
    assert "those numbered 1, 2" in recipe(chosen)[0]
    torch.testing.assert_close(again(chosen)[1:].state, chosen.state)


def brightness(items: list[Any]) -> list[float]:
    return [float(np.asarray(item).mean()) / 255 for item in items]


FILLED: dict[str, Callable[[lv.Model], tuple[Samples, dict[str, Any]]]] = {}


def filled(run: Callable[[lv.Model], tuple[Samples, dict[str, Any]]]) -> None:
    FILLED[run.__name__] = run


@filled
def begun(model: lv.Model) -> tuple[Samples, dict[str, Any]]:
    start = picture(0)
    return model.sample(2, start=start, strength=0.5, steps=4, label=1), {"start": start}


@filled
def kept(model: lv.Model) -> tuple[Samples, dict[str, Any]]:
    like, keep = [picture(0), picture(1)], lv.keep.box(0, 0, 4, 8)
    return model.sample(like=like, keep=keep), {"like": like, "keep": keep}


@filled
def noise(model: lv.Model) -> tuple[Samples, dict[str, Any]]:
    states = model.invert([picture(0), picture(1)], steps=3)
    return model.sample(noise=states, guidance=1.0), {"noise": states}


@filled
def path(model: lv.Model) -> tuple[Samples, dict[str, Any]]:
    seen: list[Any] = []

    class Spy:
        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

        def sample(self, *args: Any, **given: Any) -> Samples:
            seen.append(given["noise"])
            return model.sample(*args, **given)

    made = lv.Model.interpolate(Spy(), picture(0), picture(1), 3, steps=3, label=[0, 1])  # type: ignore[arg-type]
    return made, {"noise": seen[0]}


@filled
def steered(model: lv.Model) -> tuple[Samples, dict[str, Any]]:
    made = model.steer(brightness, 3, particles=3, strength=5.0, steps=4, label=[0, 1, 2], seed=3, height=12)
    return made, {"reward": brightness}


@filled
def steered_otherwise(model: lv.Model) -> tuple[Samples, dict[str, Any]]:
    how = {
        "sampler": "dpm++2m-sde",
        "negative": {"label": 2},
        "guidance": 3.0,
        "grid": "uniform",
        "begin": 0.6,
        "strength": 2.0,
        "rounds": 1,
        "back": 0.7,
        "choose": "best",
        "floor": None,
    }
    return model.steer(brightness, 2, particles=2, label=1, **how), {"reward": brightness}


@filled
def conditioned(model: lv.Model) -> tuple[Samples, dict[str, Any]]:
    pictures = [picture(2), picture(3)]
    return model.sample(2, picture=pictures, label=1), {"picture": pictures}


@filled
def guided(model: lv.Model) -> tuple[Samples, dict[str, Any]]:
    guidance = G.compose([(model.embed(label=1), 2.0), ("prompt", 1.5)])
    return model.sample(2, prompt="x", guidance=guidance), {"guidance": guidance}


@filled
def of_another_package(model: lv.Model) -> tuple[Samples, dict[str, Any]]:
    class Mine(S.Single):
        pass

    sampler = Mine(0.3)
    return model.sample(2, sampler=sampler), {"sampler": sampler}


@pytest.mark.parametrize("name", FILLED)
def test_what_only_the_caller_had_is_a_variable(model: lv.Model, name: str) -> None:
    made, given = FILLED[name](model)
    same(again(made, **given), made)


def test_a_model_that_was_never_saved_is_a_variable() -> None:
    model = build_model(CONFIG)
    made = model.sample(1, label=1)
    same(again(made, model=model), made)
    assert "lv.load" not in recipe(made)[0]


def test_the_words_name_what_it_was(model: lv.Model) -> None:
    made = model.sample(1, start=picture(0), guidance=G.cfg(2.0, negative=model.embed(label=1)))
    code = recipe(made)[0]
    assert re.search(r"# start is yours to fill in: PIL\.Image\.Image, sha256 [0-9a-f]{12}…\n", code)
    assert (
        "cfg(weight=2.0, negative={'label': …}), … for langevin.core.conditioning.embedded.Embedded" in code
    )
    html = made.page().html()
    assert "The same samples, from Python, given what the comments name." in html
    assert "cfg(weight=2.0, negative={&#x27;label&#x27;: …})" in html


def test_a_report_of_picture_conditions(model: lv.Model, tmp_path: Path) -> None:
    tensors = [torch.zeros(3, 8, 8), torch.ones(3, 8, 8)]
    made = model.sample(2, picture=tensors, prompt="p")
    assert "tensor(" not in made.report(tmp_path / "a.html").read_text()
    assert [figure.caption for figure in made.figures()] == ["p", "p"]
    assert model.sample(2, picture=picture(0)).report(tmp_path / "b.html").exists()


DIFFERENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"negative": "a blue circle"}, {}),
    ({"negative": "a blue circle"}, {"negative": "a red circle"}),
    ({"height": 12}, {}),
    ({"start": picture(0)}, {"start": picture(1)}),
    ({"start": picture(0)}, {}),
    ({"picture": picture(0)}, {"picture": picture(1)}),
    ({"noise": torch.zeros(2, 3, 8, 8)}, {"noise": torch.ones(2, 3, 8, 8)}),
    ({"noise": torch.zeros(2, 3, 8, 8)}, {}),
    (
        {"like": picture(0), "keep": lv.keep.mask(np.eye(8) > 0)},
        {"like": picture(0), "keep": lv.keep.mask(np.eye(8)[::-1] > 0)},
    ),
    ({"grid": [1.0, 0.5, 0.0]}, {"grid": [1.0, 0.4, 0.0]}),
    ({"sampler": S.Single(0.5)}, {"sampler": S.Single(0.4)}),
]


@pytest.mark.parametrize(("a", "b"), DIFFERENT, ids=[f"{list(a)}-{k}" for k, (a, _) in enumerate(DIFFERENT)])
def test_different_runs_do_not_replace_each_other(
    model: lv.Model, tmp_path: Path, a: dict[str, Any], b: dict[str, Any]
) -> None:
    one, other = (model.sample(2, prompt="a cat", guidance=3.0, **given) for given in (a, b))
    one.save(tmp_path)
    one.save(tmp_path)
    before = read_manifest(tmp_path)
    with pytest.raises(FileExistsError, match="holds 2 samples"):
        other.save(tmp_path)
    assert read_manifest(tmp_path) == before == one.manifest()


def test_lists_of_before_are_read(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text('{"format": 1, "model": "m", "seed": 1, "samples": []}')
    assert read_manifest(tmp_path)["model"] == "m"
