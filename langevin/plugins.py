"""What packages add: modalities and subcommands, found by entry point and loaded when they are used.

    [project.entry-points."langevin.modalities"]
    image = "langevin.modalities.image:plugin"       a langevin.modalities.base.Plugin

    [project.entry-points."langevin.commands"]
    plan = "langevin_plan:main"                      (arguments after the subcommand: list[str]) -> exit code

A name is looked up among what is installed; it is never imported because a file says so. langevin's own
modalities are found without an entry point too, so that a checkout that was not installed works.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from langevin.core.errors import unknown

if TYPE_CHECKING:
    from langevin.modalities.base import Plugin

__all__ = ["command", "commands", "modalities", "modality"]


@functools.cache
def _found(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def modalities() -> list[str]:
    """The names of all modalities that are installed."""
    own = {path.parent.name for path in (Path(__file__).parent / "modalities").glob("*/__init__.py")}
    return sorted(own | set(_found("langevin.modalities")))


def modality(name: str) -> Plugin:
    """The plugin of a modality.

    Raises:
        ValueError: no such modality is installed; the nearest is suggested.
    """
    if name not in modalities():
        raise ValueError(f"{unknown('modality', name, modalities())}; other packages can add modalities")
    points = _found("langevin.modalities")
    if name in points:
        return points[name].load()
    return importlib.import_module(f"langevin.modalities.{name}").plugin


def commands() -> list[str]:
    """The names of the subcommands that other packages, or modalities, add."""
    return sorted(_found("langevin.commands"))


def command(name: str) -> Callable[[list[str]], int]:
    """An added subcommand.

    Raises:
        KeyError: not among :func:`commands`.
    """
    return _found("langevin.commands")[name].load()
