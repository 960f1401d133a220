"""Subcommands beside the command line's own: those of modalities, and those that other packages add.

A modality names its own in the ``commands`` of its plugin. Another package adds one by entry point; it is loaded when it is
called.

[project.entry-points."langevin.commands"]
draw = "langevin_draw:main"        # (the arguments after the subcommand: list[str]) -> exit code
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from langevin.cli.arguments import Parser, add_fields
from langevin.modalities.base import Command
from langevin.modalities.plugins import plugins

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "command", "commands", "summary"]

GROUP = "langevin.commands"


@functools.cache
def _found() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _of_modalities() -> dict[str, Command]:
    return {one.name: one for plugin in plugins().values() for one in getattr(plugin, "commands", ())}


def commands() -> list[str]:
    """Their names."""
    return sorted({**_found(), **_of_modalities()})


def summary(name: str) -> str:
    """One line about a name among :func:`commands`."""
    found = _of_modalities()
    return found[name].summary if name in found else "added by another package"


def command(name: str) -> Callable[[list[str]], int]:
    """What a name among :func:`commands` calls."""
    found = _of_modalities()
    return functools.partial(_run, found[name]) if name in found else _found()[name].load()


def _run(command: Command, argv: list[str]) -> int:
    """Read the flags of a modality's command, and print what it answers."""
    parser = Parser(prog=f"langevin {command.name}", description=command.summary, epilog=command.more)
    parser.add_argument("words", nargs="*", metavar=command.words)
    names = add_fields(parser, command.spec)
    args, extra = parser.parse_known_args(argv)
    for word in extra:  # words between and behind flags are words, too
        if word.startswith("-"):
            parser.refuse(word)
    flags = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    try:
        asked = command.read([*args.words, *extra], command.spec(**flags))
    except ValueError as error:
        parser.error(str(error))
    print(command.run(asked))
    return 0
