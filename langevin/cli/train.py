"""``langevin train group=choice key=value …``: hydra's overrides, checked before torch is imported.

What a user can mend is one line and exit code 2; what is a mistake of ours keeps its traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from langevin.cli import overrides
from langevin.cli.arguments import Parser
from langevin.core.errors import unknown

__all__ = ["run"]

CONFIGS = Path(__file__).parents[1] / "configs"
USERS = (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ImportError)


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
    args, given = parser.parse_known_args(list(argv))
    found = [_override(parser, text) for text in given]
    flags = [flag for flag, wanted in (("--multirun", args.multirun), ("--cfg=job", args.show)) if wanted]
    try:
        overrides.check(found, CONFIGS, whole=not args.show)

        from langevin.training_cli import main

        return main([*given, *flags]) or 0
    except USERS as error:
        if os.environ.get("LANGEVIN_TRACEBACK"):
            raise
        print(f"langevin train: error: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"langevin train: {error}", file=sys.stderr)
        return 1
    except (LookupError, RuntimeError):
        traceback.print_exc()
        return 1


def choices(group: str) -> list[str]:
    """The names of the files of a configuration group."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def _override(parser: Parser, text: str) -> overrides.Override:
    found = overrides.override(text)
    if text.startswith("--"):
        parser.refuse(text)
    if found is None:
        parser.error(f"expected key=value, got {text!r}")
    names = choices(found.group)
    if names and found.text:
        for name in found.text.split(","):
            if name.strip("'\"") not in (*names, "null"):
                parser.error(unknown(found.group, name, names))
    return found


def _listing() -> str:
    groups = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir()) if CONFIGS.is_dir() else []
    lines = [f"  {group}={'|'.join(choices(group))}" for group in groups if choices(group)]
    return "\n".join(["choices:", *lines]) if lines else ""
