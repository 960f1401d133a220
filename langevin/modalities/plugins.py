"""Modalities by name: our own, those of installed packages, and those that a script registers for its own process.

Installed packages announce theirs by the entry point group ``langevin.modalities``. A script needs none:

    register(Plugin("rings", "rings of points", modality=make, open=open_data, defaults=describe))
    model = lv.train(data, modality="rings", out="my-rings")
    lv.load("my-rings")                            # wherever "rings" has been registered
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import entry_points
from typing import Any

from langevin.core.errors import unknown
from langevin.modalities.base import Modality, Plugin

__all__ = ["GROUP", "modality_of", "plugin", "plugins", "register"]

GROUP = "langevin.modalities"
OWN = {
    "audio": "langevin.modalities.audio.plugin",
    "image": "langevin.modalities.image.plugin",
    "molecule": "langevin.modalities.molecule.plugin",
    "pocket": "langevin.modalities.molecule.binding_plugin",
    "protein": "langevin.modalities.protein.plugin",
    "protein-sidechains": "langevin.modalities.protein.sidechain_plugin",
    "protein-trace": "langevin.modalities.protein.trace_plugin",
    "video": "langevin.modalities.video.plugin",
}

_REGISTERED: dict[str, Plugin] = {}


@functools.cache
def _installed() -> dict[str, Plugin]:
    """Our own plugins, which need no installation, and those that other packages announce."""
    found: dict[str, Plugin] = {}
    for name, where in OWN.items():
        found[name] = importlib.import_module(where).plugin
    for entry in entry_points(group=GROUP):
        if entry.name not in found:
            found[entry.name] = entry.load()
    return found


def plugins() -> dict[str, Plugin]:
    """Plugins by name: installed ones and those registered in this process."""
    return {**_installed(), **_REGISTERED}


def register(plugin: Plugin) -> Plugin:
    """Makes a modality known by name in this process: to ``lv.train(…, modality=name)``, ``lv.load`` and the rest.

    A model folder names its modality and holds no code: another process that loads the folder registers it too.

    Args:
        plugin: a :class:`Plugin`, or an object with its attributes: ``name`` and ``summary`` (texts), the functions
            ``modality(settings)``, ``open(data, **options)`` and ``defaults(data, given)``, and the class ``spec``.

    Returns:
        The plugin, so that this serves in an assignment. Registering the same object again changes nothing.

    Raises:
        TypeError: an attribute is missing or of another kind.
        ValueError: another modality has the name.
    """
    kinds = {"name": str, "summary": str, "modality": None, "open": None, "defaults": None, "spec": type}
    for attribute, kind in kinds.items():
        value = getattr(plugin, attribute, None)
        if callable(value) if kind is None else isinstance(value, kind):
            continue
        wanted = "a function" if kind is None else "a text" if kind is str else "a class"
        found = "has none" if value is None else f"has {value!r}"
        raise TypeError(
            f"a plugin needs {attribute!r}, {wanted}, and this {type(plugin).__name__} {found}; "
            f"build it with langevin.modalities.base.Plugin({', '.join(kinds)})"
        )
    if not plugin.name:
        raise ValueError("a plugin needs a name that is not empty")
    holder = plugins().get(plugin.name)
    if holder is not None and holder is not plugin:
        raise ValueError(
            f"the name {plugin.name!r} is taken by the modality {holder.summary!r}; "
            f"choose one that is not among {', '.join(sorted(plugins()))}"
        )
    _REGISTERED[plugin.name] = plugin
    return plugin


def plugin(name: str) -> Plugin:
    """The plugin of a modality.

    Raises:
        ValueError: no modality of that name; the nearest is suggested.
    """
    known = plugins()
    if name not in known:
        raise ValueError(
            f"{unknown('modality', name, known)}; a modality of your own is registered first, "
            "with langevin.modalities.plugins.register"
        )
    return known[name]


def modality_of(node: Any) -> Modality:
    """The modality that a node ``{name, **settings}`` describes; a name alone gives its default."""
    settings = {"name": node} if isinstance(node, str) else dict(node)
    name = settings.pop("name", None)
    return plugin(str(name)).modality(settings)
