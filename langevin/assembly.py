"""Models from configurations and back: the one place where plain trees become modality, network and model.

name, summary, licence, attribution        what it is and whose
modality: {name, …}                        its codec, process and conditions
network: {name: dit, …}                    the backbone
parametrisation, objective, drop           what it is trained for
sampling: {sampler, steps, guidance, density}    defaults of model.sample
training: {…}                              how it was trained, for the record
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping
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

# what a run of training leaves beside the part that it made
_LEFT = shutil.ignore_patterns(
    "checkpoint.safetensors", "snapshots", "log.csv", "tensorboard", "samples-*.png", ".*"
)

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
    config = {"name": path.name, **folders.read_config(path)}
    if "autoencoder" in config:
        raise folders.FolderError(
            f"{path} holds an autoencoder, which a model uses as its codec: {{name: vae, folder: {path}}}"
        )
    _affordable(config, folders.read_header(path), path)
    try:
        model = build_model(_parts_inside(config, path))
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
    if not {"modality", "network"} <= set(model.config):
        raise ValueError(
            "this model has no configuration to save; build it with langevin.assembly.build_model"
        )
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in model.network.state_dict().items()}
    text = card if card is not None else _card(model)
    config = _parts_copied({k: v for k, v in model.config.items() if v is not None}, path)
    folders.write_model(path, config, tensors, text)
    return path


def _affordable(config: Mapping[str, Any], entries: Mapping[str, folders.Entry], path: Path) -> None:
    """Refuses a network that is larger than the weights beside it, before any memory is asked for.

    Raises:
        FolderError: it is larger.
    """
    stored = sum(entry.numel for entry in entries.values())
    network = config.get("network")
    depth = network.get("depth", 0) if isinstance(network, dict) else 0
    wanted = 0
    if isinstance(depth, int) and depth <= len(entries):
        try:
            with torch.device("meta"):
                wanted = sum(p.numel() for p in build(catalogue.BACKBONES, network).parameters())
        except BuildError:
            return  # named with its path when the model is built
    else:
        wanted = stored + 1
    for node in ((config.get("modality") or {}).get("conditions") or {}).values():
        sizes = [v for v in node.values() if isinstance(v, int)] if isinstance(node, dict) else []
        if any(size > stored for size in sizes):
            wanted = stored + 1
    if wanted > stored:
        raise folders.FolderError(
            f"{path / folders.CONFIG} describes a larger network than there are weights for"
        )


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every dict of a plain tree."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _parts_inside(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration with the folders of its parts (autoencoder, text encoder) found below its own.

    Raises:
        FolderError: a part that lies elsewhere: a model from a stranger does not choose what is read here.
    """
    out = copy.deepcopy(dict(config))
    for node in _nodes(out.get("modality")):
        if isinstance(node.get("folder"), str):
            part = (path / node["folder"]).resolve()
            if Path(node["folder"]).is_absolute() or not part.is_relative_to(path.resolve()):
                raise folders.FolderError(
                    f"{path / folders.CONFIG} names a part outside the folder: {node['folder']!r}"
                )
            node["folder"] = str(part)
    return out


def _parts_copied(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration with its parts' folders copied below ``path`` and named relative to it."""
    out = copy.deepcopy(dict(config))
    for i, node in enumerate(
        node for node in _nodes(out.get("modality")) if isinstance(node.get("folder"), str)
    ):
        source, target = Path(node["folder"]), path / "parts" / f"{i}-{node.get('name', 'part')}"
        if source.resolve() != target.resolve() and source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=_LEFT)
        node["folder"] = target.relative_to(path).as_posix()
    return out


def _card(model: Model) -> str:
    """A card with what is known without being told: to be completed by whoever publishes the model."""
    config = model.config
    owed = {key: config.get(key, "not stated") for key in ("licence", "attribution")}
    return (
        f"# {model.name}\n\n{config.get('summary', '')}\n\n"
        f"- parameters: {model.parameters:,}\n- conditions: {', '.join(model.conditions) or 'none'}\n"
        f"- licence: {owed['licence']}\n- attribution: {owed['attribution']}\n"
    )
