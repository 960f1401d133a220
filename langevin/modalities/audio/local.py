"""Folders of ours with a network for sounds: :mod:`langevin.folders`, with its node under one key of config.yaml.

Those of other libraries are read by :mod:`langevin.foreign`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from langevin import folders
from langevin.core.registry import BuildError, Registry, build
from langevin.folders import FolderError

__all__ = ["network_of"]


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
