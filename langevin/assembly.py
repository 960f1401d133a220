"""Models from configurations and back: the one place where plain trees become modality, network and model.

name, summary, licence, attribution        what it is and whose
modality: {name, …}                        its codec, process and conditions
network: {name: dit, …}                    the backbone
parametrisation, objective, drop           what it is trained for
sampling: {sampler, steps, guidance, density}    defaults of model.sample
training: {…}                              how it was trained, for the record
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from langevin import folders
from langevin.core import catalogue
from langevin.core.errors import unknown
from langevin.core.losses import Objective
from langevin.core.model import Model
from langevin.core.network import Network
from langevin.core.registry import BuildError, Registry, build
from langevin.modalities.plugins import modality_of

__all__ = ["build_model", "load_model", "pick_device", "save_model"]

_KEYS = (
    "format", "weights", "name", "summary", "licence", "attribution", "conditions", "modality", "network",
    "parametrisation", "objective", "drop", "sampling", "training", "data",
)  # fmt: skip
_SAMPLING = ("sampler", "steps", "guidance", "density")

OBJECTIVES = Registry("objective", Objective)
OBJECTIVES.register("objective")(Objective)


def build_model(config: Mapping[str, Any], seed: int = 0) -> Model:
    """An untrained model from a plain tree.

    Args:
        config: as this module's page lists.
        seed: of the initial weights.

    Raises:
        BuildError: a key or name that is not known, with the nearest that is, or an argument that is refused.
    """
    for key in config:
        if key not in _KEYS:
            raise BuildError(unknown("key of a model", key, _KEYS))
    for key in ("modality", "network"):
        if key not in config:
            raise BuildError(f"a model needs {key!r}")
    sampling = dict(config.get("sampling") or {})
    for key in sampling:
        if key not in _SAMPLING:
            raise BuildError(unknown("key of sampling", key, _SAMPLING))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modality = modality_of(config["modality"])
        network = Network(modality, build(catalogue.BACKBONES, config["network"]), modality.conditions)
    return Model(
        modality,
        network,
        modality.process,
        config.get("parametrisation", "velocity"),
        build(OBJECTIVES, {"name": "objective", **(config.get("objective") or {})}),
        config.get("drop"),
        sampling,
        {**config, "conditions": list(modality.conditions)},
    )


def load_model(path: Path, device: str | None = None, dtype: Any = None) -> Model:
    """The model of a folder, on a device.

    Args:
        path: holds config.yaml and model.safetensors.
        device: the best there is when None.
        dtype: in which the network computes ("float32", "bfloat16" or a torch dtype); float32 when None.

    Raises:
        FolderError: not a sound folder, or weights that do not fit the configuration.
    """
    config = folders.read_config(path)
    try:
        model = build_model({"name": path.name, **config})
    except BuildError as error:
        raise folders.FolderError(f"{path / folders.CONFIG}: {error}") from error
    weights = {k: v.float() if v.is_floating_point() else v for k, v in folders.read_weights(path).items()}
    own = model.network.state_dict()
    wrong = sorted(set(own) ^ set(weights)) + [
        k for k in own if k in weights and own[k].shape != weights[k].shape
    ]
    if wrong:
        raise folders.FolderError(f"the weights in {path} do not fit its config.yaml: {', '.join(wrong[:4])}")
    model.network.load_state_dict(weights)
    model.network.eval().requires_grad_(False)
    return model.to(pick_device(device)).cast(dtype)


def pick_device(name: str | None) -> str:
    """The device asked for, or the best there is.

    Raises:
        ValueError: it is not there.
    """
    if name is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = str(name).split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in there:
        raise ValueError(unknown("device", name, there))
    if not there[kind]:
        raise ValueError(
            f"device {name!r} is not available here; available: {[k for k, ok in there.items() if ok]}"
        )
    return str(name)


def save_model(model: Model, path: Path, card: str | None = None) -> Path:
    """Writes a model folder with the weights in half precision.

    Raises:
        ValueError: the model was not built from a configuration, so that it could not be read back.
    """
    if not model.config:
        raise ValueError(
            "this model has no configuration to save; build it with langevin.assembly.build_model"
        )
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in model.network.state_dict().items()}
    text = card if card is not None else _card(model)
    folders.write_model(path, {k: v for k, v in model.config.items() if v is not None}, tensors, text)
    return path


def _card(model: Model) -> str:
    """A card with what is known without being told: to be completed by whoever publishes the model."""
    config = model.config
    owed = {key: config.get(key, "not stated") for key in ("licence", "attribution")}
    return (
        f"# {model.name}\n\n{config.get('summary', '')}\n\n"
        f"- parameters: {model.parameters:,}\n- conditions: {', '.join(model.conditions) or 'none'}\n"
        f"- licence: {owed['licence']}\n- attribution: {owed['attribution']}\n"
    )
