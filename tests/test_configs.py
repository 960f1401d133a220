"""Training configurations: every choice of every group composes into a model that can be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from langevin.assembly import build_model
from langevin.core.training.trainer import Settings
from langevin.modalities.plugins import plugin
from langevin.trees import merge

CONFIGS = Path(__file__).parents[1] / "langevin" / "configs"


def composed(*overrides: str) -> dict[str, Any]:
    """The tree that ``langevin train`` makes of these overrides."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        plain: Any = OmegaConf.to_container(compose("train", ["data.path=x", *overrides]), resolve=True)
    return plain


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


class Pictures:
    """Eight pictures of 16 × 16 with labels."""

    class_names = ("a", "b")

    def __len__(self) -> int:
        return 8

    def batch(self, indices: Any) -> tuple[Any, dict[str, list[Any]]]:
        return np.zeros((len(indices), 16, 16, 3), dtype=np.uint8), {"label": [i % 2 for i in indices]}


def built(*overrides: str) -> Any:
    node = plugin("image").defaults(Pictures(), composed(*overrides)["model"])
    return build_model(node)


def test_every_choice_composes_and_every_setting_is_known() -> None:
    for group in ("experiment", "process", "network", "data", "training", "model"):
        for name in names(group):
            tree = composed(f"{group}={name}")
            assert set(tree) - {"experiment"} == {
                "data",
                "training",
                "model",
                "start",
                "out",
                "resume",
                "device",
            }
            Settings(**{**tree["training"], "average": tuple(tree["training"]["average"])})


@pytest.mark.parametrize("name", names("process"))
def test_a_process_is_chosen_with_its_parametrisation_and_the_rest_follows_from_the_data(name: str) -> None:
    model = built(
        f"process={name}", "+model.network.depth=1", "+model.network.width=32", "+model.network.heads=2"
    )
    schedule = model.process.leaves[""].schedule
    assert (
        type(schedule).__name__
        == {"flow": "Linear", "cosine": "Cosine", "vp": "ZeroTerminal", "edm": "EDM"}[name]
    )
    assert model.denoiser.parametrisation == model.objective.target
    assert model.modality.codec.size == 16 and model.conditions == ("label",)
    samples = model.sample(2, steps=3, label="a")
    assert samples.state.isfinite().all()


def test_a_network_is_chosen_and_conditions_take_its_width() -> None:
    model = built("network=dit_tiny")
    assert model.network.backbone.width == 128
    assert model.network.conditions["label"].embedding.weight.shape == (2, 128)


def test_an_experiment_takes_the_process_that_is_chosen_with_it() -> None:
    tree = composed("experiment=image_shapes", "process=cosine")["model"]
    assert tree["modality"]["process"]["schedule"]["name"] == tree["parametrisation"].replace("v", "cosine")
    assert tree["network"] == composed("experiment=image_shapes")["model"]["network"]


def test_merging_goes_into_dicts_and_stops_at_nodes() -> None:
    own = {"a": {"name": "x", "size": 1, "part": {"k": 1, "l": 2}}, "b": 1}
    assert merge(own, {"a": {"size": 2, "part": {"l": 3}}}) == {
        "a": {"name": "x", "size": 2, "part": {"k": 1, "l": 3}},
        "b": 1,
    }
    assert merge(own, {"a": {"name": "y"}}) == {"a": {"name": "y"}, "b": 1}
    assert merge(own, {"c": None}) == {**own, "c": None}
    assert merge(None, {"c": 1}) == {"c": 1}
