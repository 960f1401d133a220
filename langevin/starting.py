"""Training that begins from the weights of another model: what its configuration and its weights give to the new one.

The new model has the start's network, objective, conditions and sampling, unless it is told otherwise, and from the
data what belongs to data (the modality's ``Plugin.own``) and conditions that the start does not have. Weights go over by
name and shape; what is new begins as it would in any training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from langevin.core.model import Model
from langevin.core.progress import note
from langevin.modalities.base import Plugin
from langevin.trees import merge

__all__ = ["descent", "inherited", "take_over"]

_INHERITED = ("modality", "network", "process", "parametrisation", "objective", "drop", "sampling")


def inherited(start: Model, plugin: Plugin, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a model's configuration: those of ``start``, with what is given in their place.

    Raises:
        ValueError: the start is a model of another modality.
    """
    tree = {key: start.config[key] for key in _INHERITED if start.config.get(key) is not None}
    modality = tree["modality"] if isinstance(tree["modality"], Mapping) else {"name": tree["modality"]}
    if modality.get("name") != plugin.name:
        raise ValueError(
            f"start: {start.name} is a model of {modality.get('name')}, and the data are of {plugin.name}"
        )
    # without its name, by which it would stand in the place of all that follows from the data
    tree["modality"] = {k: v for k, v in modality.items() if k != "name" and k not in plugin.own}
    return {**tree, **{key: merge(tree.get(key), value) for key, value in given.items()}}


def take_over(model: Model, start: Model) -> None:
    """Copies into ``model`` the weights of ``start`` that have a place there, and says on standard error what has none.

    Raises:
        ValueError: not one of them has.
    """
    own, theirs = model.network.state_dict(), start.network.state_dict()
    fits = {k: v for k, v in theirs.items() if k in own and own[k].shape == v.shape}
    if not fits:
        raise ValueError(f"start: no weight of {start.name} fits this network")
    with torch.no_grad():
        for name, value in fits.items():
            own[name].copy_(value)
    new = [name for name in own if name not in fits]
    if new:
        some = ", ".join(new[:4]) + (", …" if len(new) > 4 else "")
        note(f"{start.name} gives {len(fits)} of {len(own)} weights; the others begin anew: {some}")


def descent(start: Model) -> str:
    """The line of a card that says what a training began from."""
    licence, attribution = start.config.get("licence"), start.config.get("attribution")
    return (
        f"- began from: the weights of {start.source or start.name} "
        f"(licence: {licence or 'not stated'}; attribution: {attribution or 'not stated'})\n"
    )
