"""Models are found by name or folder, described without torch, and unknown names suggest the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from langevin import folders, hub

CONFIG = {
    "name": "image-dots",
    "summary": "dots",
    "modality": {"name": "image", "size": 8},
    "conditions": {"prompt": {"name": "text"}, "label": {"name": "class"}},
    "licence": "CC-BY-4.0",
    "attribution": ["A", "B"],
}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "weights"
    tensors = {"w": torch.zeros(3, 4, dtype=torch.float16), "steps": torch.tensor(3)}
    folders.write_model(root / "image-dots", CONFIG, tensors, "card")
    folders.write_model(root / "audio-beeps", {"modality": "audio", "conditions": ["label"]}, tensors, "card")
    (root / "not-a-model").mkdir()
    monkeypatch.setattr(hub, "SHIPPED", root)
    return root


def test_shipped_models_are_listed_with_what_their_folders_say(shipped: Path) -> None:
    assert hub.names() == ["audio-beeps", "image-dots"]
    audio, image = hub.models()
    assert image == hub.ModelInfo(
        "image-dots", "image", 12, "CC-BY-4.0", "A; B", ("prompt", "label"), "dots", shipped / "image-dots"
    )
    assert (audio.modality, audio.licence, audio.conditions) == ("audio", "not stated", ("label",))
    assert image.as_dict()["conditions"] == ["prompt", "label"] and isinstance(image.as_dict()["path"], str)


def test_a_model_that_cannot_be_read_is_left_out_with_a_warning(shipped: Path) -> None:
    (shipped / "audio-beeps" / "model.safetensors").write_bytes(b"x")
    with pytest.warns(UserWarning, match="'audio-beeps' cannot be read"):
        assert [model.name for model in hub.models()] == ["image-dots"]


def test_folders_are_found_by_path(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = folders.write_model(tmp_path / "mine", {**CONFIG, "name": "my-dots"}, {"w": torch.zeros(1)}, "")
    assert hub.find(mine) == mine and hub.info(mine).name == "my-dots"
    monkeypatch.chdir(tmp_path)
    assert hub.find("mine") == Path("mine")
    assert hub.find("image-dots") == shipped / "image-dots"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("image-dost", r"unknown model 'image-dost'; did you mean 'image-dots'\? .* nor is there a folder"),
        ("zzz", r"unknown model 'zzz'; \(allowed: audio-beeps, image-dots\)"),
        ("../weights/nothing", "unknown model"),
    ],
)
def test_unknown_names_suggest_the_nearest(shipped: Path, name: str, message: str) -> None:
    with pytest.raises(hub.UnknownModel, match=message):
        hub.find(name)
    with pytest.raises(hub.UnknownModel, match=message):
        hub.load(name)


def test_a_folder_without_a_model_says_so(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(hub.UnknownModel, match=r"holds no model: it has no config\.yaml"):
        hub.find(tmp_path)


def test_models_that_ship_are_sound() -> None:
    for model in hub.models():
        assert model.licence != "not stated" and model.modality and model.summary
        assert folders.read_weights(model.path) and folders.read_card(model.path)
