"""Modalities by name: those of installed packages, found by the entry point group ``langevin.modalities``."""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import entry_points
from typing import Any

from langevin.core.errors import unknown
from langevin.modalities.base import Modality, Plugin

__all__ = ["GROUP", "modality_of", "plugin", "plugins"]

GROUP = "langevin.modalities"
OWN = {"image": "langevin.modalities.image.plugin"}


@functools.cache
def plugins() -> dict[str, Plugin]:
    """Plugins by name: our own, which need no installation, and those that other packages announce."""
    found: dict[str, Plugin] = {}
    for name, where in OWN.items():
        found[name] = importlib.import_module(where).plugin
    for entry in entry_points(group=GROUP):
        if entry.name not in found:
            found[entry.name] = entry.load()
    return found


def plugin(name: str) -> Plugin:
    """The plugin of a modality.

    Raises:
        ValueError: no modality of that name; the nearest is suggested.
    """
    known = plugins()
    if name not in known:
        raise ValueError(unknown("modality", name, known))
    return known[name]


def modality_of(node: Any) -> Modality:
    """The modality that a node ``{name, **settings}`` describes; a name alone gives its default."""
    settings = {"name": node} if isinstance(node, str) else dict(node)
    name = settings.pop("name", None)
    return plugin(str(name)).modality(settings)
