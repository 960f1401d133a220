"""Folders of networks on this machine: foreign ones as their libraries wrote them, and ours. Nothing is downloaded.

A foreign folder has a config.json and safetensors; its files must be regular and lie inside it (in a cache of the hub,
snapshots/ may link to the blobs/ beside it), and pickles are not read. A folder of ours is that of
:mod:`langevin.folders`, with the network's node under one key of config.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from langevin import folders
from langevin.core.registry import BuildError, Registry, build
from langevin.folders import FolderError

__all__ = ["foreign_config", "foreign_network", "inside", "network_of"]

CONFIG_BYTES = 1 << 20


def inside(folder: Path, name: str) -> Path:
    """A regular file of a foreign folder.

    Raises:
        FolderError: there is none, or it is a link that leads out of the folder.
    """
    path, home = (folder / name).resolve(), folder.resolve()
    blobs = [parent.parent / "blobs" for parent in home.parents if parent.name == "snapshots"]
    if not path.is_file():
        raise FolderError(f"{folder} has no {name}")
    if not any(path.is_relative_to(place) for place in (home, *blobs)):
        raise FolderError(f"{folder / name} is a link that leads out of the folder")
    return path


def foreign_config(folder: Path) -> dict[str, Any]:
    """What config.json of a foreign folder says.

    Raises:
        FolderError: no such folder, no such file, no mapping in it, or quantised weights.
    """
    if not folder.is_dir():
        raise FolderError(f"there is no folder {str(folder)!r}")
    path = inside(folder, "config.json")
    if path.stat().st_size > CONFIG_BYTES:
        raise FolderError(f"{path} is larger than {CONFIG_BYTES} bytes")
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FolderError(f"{folder}: config.json cannot be read: {str(error)[:120]}") from None
    if not isinstance(config, dict):
        raise FolderError(f"{folder}: config.json holds no mapping but a {type(config).__name__}")
    if "quantization_config" in config:
        raise FolderError(f"{folder}: the weights are quantised, which is not read: save them whole")
    return config


def foreign_network(folder: Path, weights: str, load: Callable[..., tuple[Any, dict[str, Any]]]) -> Any:
    """The network of a foreign folder, every weight of it read, in evaluation mode and without gradients.

    Args:
        folder: whose config.json has been looked at.
        weights: name of its file of weights, which must be there.
        load: ``from_pretrained`` of its class.

    Raises:
        FolderError: no safetensors, or weights that do not fit config.json.
    """
    if not (folder / weights).exists():
        raise FolderError(f"{folder} has no {weights}; pickled weights are not read: convert them")
    inside(folder, weights)
    for other in folder.iterdir():  # each of these would lead the library to files that nobody has looked at
        if other.name.endswith(".index.json") or other.name == "adapter_config.json":
            raise FolderError(f"{folder} has {other.name}; weights are read from {weights} alone")
    try:
        network, report = load(
            str(folder),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report names them
        )
    except Exception as error:  # of foreign code, which may raise anything at what a file says
        raise FolderError(f"{folder}: {' '.join(str(error).split())[:400]}") from None
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    wrong = [str(name) for kind in kinds for name in report[kind]]
    if wrong:
        raise FolderError(f"{folder}: the weights do not fit config.json: {', '.join(wrong[:5])}")
    return network.requires_grad_(False).eval()


def network_of(folder: str | Path, key: str, registry: Registry) -> Any:
    """The network of a folder of ours, in float32 and evaluation mode, without gradients.

    Args:
        folder: of config.yaml and model.safetensors.
        key: of config.yaml, under which the network's node stands.
        registry: of networks of that kind.

    Raises:
        FolderError: not a sound folder, or one of something else.
    """
    config = folders.read_config(folder)
    if key not in config:
        raise FolderError(f"{folder} holds no {key}: {folders.CONFIG} has no `{key}`")
    try:
        with torch.device("meta"):  # nothing is allocated before the weights are known to fit
            network = build(registry, config[key])
        network.load_state_dict(folders.read_weights(folder), assign=True)
    except FolderError:
        raise
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:400]
        raise FolderError(f"{folder}: the weights do not fit the {key}: {reason}") from None
    except (BuildError, ValueError) as error:
        raise FolderError(f"{folder}: {error}") from None
    return network.float().requires_grad_(False).eval()
