"""Modalities that a script registers at run time: trained, saved and loaded by name in that process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import langevin as lv
from langevin.core.tokens import Tokens
from langevin.modalities import plugins
from langevin.modalities.base import Plugin
from langevin.modalities.plugins import modality_of, plugin, register
from tests import toy


class Pairs(lv.Modality):
    """Two numbers a sample, as one token."""

    name, suffix = "pairs", ".txt"
    process = lv.processes.Gaussian()
    conditions: ClassVar[dict[str, Any]] = {}
    inputs: ClassVar[dict[str, int]] = {"": 2}
    outputs: ClassVar[dict[str, int]] = {"": 2}

    def __init__(self, settings: Any) -> None:
        self.scale = settings.get("scale", 1.0)

    def encode(self, items: Any) -> Any:
        return torch.tensor(np.array(items), dtype=torch.float32) / self.scale, None

    def decode(self, state: Any, mask: Any = None) -> Any:
        return list((state * self.scale).numpy())

    def blank(self, indices: Any, rng: Any, conditions: Any, spec: Any) -> Any:
        return torch.zeros(len(indices), 2), None

    def tokens(self, state: Any, mask: Any = None) -> Tokens:
        return Tokens({"": state[:, None]}, torch.zeros(1, 1, 1), mask)

    def untokens(self, values: Any, like: Any) -> Any:
        return values[""][:, 0]

    def save(self, item: Any, path: Path) -> None:
        np.savetxt(path, item)

    def read(self, path: Path) -> Any:
        return np.loadtxt(path)

    def picture(self, item: Any) -> Any:
        raise NotImplementedError


class Data(list):  # type: ignore[type-arg]
    def batch(self, indices: Any) -> Any:
        return [self[i] for i in indices], {}


def described(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    network = {"name": "dit", "width": 32, "depth": 1, "heads": 2, "axes": 1}
    return {"modality": {"name": "pairs", "scale": 2.0}, "network": network, **given}


PAIRS = Plugin("pairs", "two numbers", Pairs, open=Data, defaults=described)


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    yield


def test_a_registered_modality_trains_and_loads_by_name(tmp_path: Path) -> None:
    assert register(PAIRS) is PAIRS and plugin("pairs") is PAIRS
    assert modality_of({"name": "pairs", "scale": 3.0}).scale == 3.0  # type: ignore[attr-defined]
    data = [(4.0, -4.0)] * 32
    losses: list[float] = []
    trained = lv.train(
        data, modality="pairs", steps=60, batch=16, lr=1e-2, warmup=5, log=20, out=tmp_path / "m",
        device="cpu", watch=lambda line: losses.append(line.loss),
    )  # fmt: skip
    assert losses[-1] < losses[0]
    loaded = lv.load(tmp_path / "m", device="cpu")
    assert isinstance(loaded.modality, Pairs) and loaded.modality.scale == 2.0
    ours, theirs = (model.sample(3, steps=4, seed=1) for model in (trained, loaded))
    assert torch.allclose(ours.state, theirs.state, atol=0.05)  # weights are stored in half precision
    assert np.array(ours[0]) @ np.array([1, -1]) > 2
    assert len(theirs.save(tmp_path / "samples")) == 3


def test_the_folder_of_a_modality_that_is_not_registered_says_what_to_do(tmp_path: Path) -> None:
    register(PAIRS)
    lv.train([(1.0, 0.0)] * 4, "pairs", steps=1, batch=2, out=tmp_path / "m", device="cpu")
    plugins._REGISTERED.clear()
    with pytest.raises(ValueError, match=r"unknown modality 'pairs'.* registered first, with langevin\.mod"):
        lv.load(tmp_path / "m")


def test_a_name_is_taken_once() -> None:
    register(PAIRS)
    register(PAIRS)
    with pytest.raises(ValueError, match="'pairs' is taken by the modality 'two numbers'; choose one that"):
        register(Plugin("pairs", "other pairs", Pairs, open=Data, defaults=described))
    with pytest.raises(ValueError, match="'image' is taken by the modality 'pictures: PNG"):
        register(Plugin("image", "mine", Pairs, open=Data, defaults=described))
    assert plugin("pairs") is PAIRS and plugin("image") is not PAIRS
    assert set(plugins.plugins()) >= {"image", "pairs"}


def test_any_object_with_the_attributes_of_a_plugin_will_do() -> None:
    class Mine:
        name, summary, spec = "mine", "two numbers of mine", toy.Spec
        modality, open, defaults = Pairs, Data, staticmethod(described)

    assert register(Mine()) is plugin("mine")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"name": None}, "needs 'name', a text, and this Plugin has none"),
        ({"summary": 3}, "needs 'summary', a text, and this Plugin has 3"),
        ({"open": None}, "needs 'open', a function, and this Plugin has none"),
        ({"modality": "pairs"}, "needs 'modality', a function, and this Plugin has 'pairs'"),
        ({"defaults": {}}, "needs 'defaults', a function, and this Plugin has {}"),
        ({"spec": toy.Spec()}, "needs 'spec', a class, and this Plugin has Spec"),
    ],
    ids=str,
)
def test_what_a_plugin_must_have_is_said(missing: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"name": "p", "summary": "", "modality": Pairs, "open": Data}
    with pytest.raises(TypeError, match=message):
        register(Plugin(**{**given, "defaults": described, **missing}))
    with pytest.raises(
        TypeError, match="needs 'name', a text, and this type has 'pairs'|and this type has none"
    ):
        register(type("Bare", (), {}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a name that is not empty"):
        register(Plugin("", "", Pairs, open=Data, defaults=described))
