"""Subcommands that other packages add, found by entry point and loaded when they are called.

[project.entry-points."langevin.commands"]
plan = "langevin_plan:main"        # (the arguments after the subcommand: list[str]) -> exit code
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "command", "commands"]

GROUP = "langevin.commands"


@functools.cache
def _found() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def commands() -> list[str]:
    """Their names."""
    return sorted(_found())


def command(name: str) -> Callable[[list[str]], int]:
    """What a name among :func:`commands` calls."""
    return _found()[name].load()
