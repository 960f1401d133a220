"""``langevin train group=choice key=value …``: hydra's overrides, checked before torch is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from langevin.cli.arguments import Parser
from langevin.core.errors import unknown

__all__ = ["run"]

CONFIGS = Path(__file__).parents[1] / "configs"
OVERRIDE = re.compile(r"(?P<add>\+{0,2}|~)(?P<key>[\w./@-]+)(=(?P<value>.*))?", re.DOTALL)


def run(argv: Sequence[str]) -> int:
    """Check the overrides and hand them to the trainer."""
    parser = Parser(
        prog="langevin train",
        usage="langevin train [experiment=NAME] [key=value …] [--multirun]",
        description="Train a model. Settings are hydra overrides: group=choice or key=value.",
        epilog=_listing(),
    )
    parser.add_argument(
        "--multirun", "-m", action="store_true", help="one run for every combination of key=a,b,c"
    )
    parser.add_argument(
        "--print", dest="show", action="store_true", help="print the composed configuration and stop"
    )
    args, overrides = parser.parse_known_args(list(argv))
    for override in overrides:
        _check(parser, override)

    from langevin.training_cli import main

    flags = [flag for flag, given in (("--multirun", args.multirun), ("--cfg=job", args.show)) if given]
    return main([*overrides, *flags]) or 0


def choices(group: str) -> list[str]:
    """The names of the files of a configuration group."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def _check(parser: Parser, override: str) -> None:
    match = OVERRIDE.fullmatch(override)
    if override.startswith("--"):
        parser.refuse(override)
    if match is None or (match["value"] is None and match["add"] != "~"):
        parser.error(f"expected key=value, got {override!r}")
    group = match["key"].partition("@")[0]
    names = choices(group)
    if names and match["value"]:
        for name in match["value"].split(","):
            if name.strip("'\"") not in (*names, "null"):
                parser.error(unknown(group, name, names))


def _listing() -> str:
    groups = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir()) if CONFIGS.is_dir() else []
    lines = [f"  {group}={'|'.join(choices(group))}" for group in groups if choices(group)]
    return "\n".join(["choices:", *lines]) if lines else ""
