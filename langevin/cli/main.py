"""``langevin COMMAND …``: finds the command, and turns what can go wrong into messages and exit codes.

Exit codes: 0 done; 1 it could not be done; 2 wrong usage; 130 interrupted; 141 the reader of the output
went away. Results go to standard output; progress, notes and errors to standard error.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from langevin import __version__
from langevin.cli import extensions
from langevin.core.errors import unknown

__all__ = ["main"]

COMMANDS = {
    "sample": "draw samples from a model and write them to a folder",
    "train": "train a model on your data, or continue a run",
    "evaluate": "measure a folder of samples, alone or against another",
    "models": "list the models that ship with langevin",
    "demo": "sample every shipped model and write one page",
    "doctor": "check this installation",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: the arguments; those of the process when None.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    name = argv[0] if argv else ""
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        print(f"\nlangevin {name}: interrupted; what was finished is whole", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # what is left in the buffer has no reader: let the interpreter's own flush find the null device
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, LookupError, OSError, ImportError, RuntimeError) as error:
        if os.environ.get("LANGEVIN_TRACEBACK"):
            raise
        text = error.args[0] if isinstance(error, LookupError) and error.args else error
        print(f"langevin {name}: {text or type(error).__name__}", file=sys.stderr)
        print("(LANGEVIN_TRACEBACK=1 shows where)", file=sys.stderr)
        return 1


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"langevin {__version__}")
        return 0
    return _command(argv[0])(argv[1:])


def _command(name: str) -> Callable[[list[str]], int]:
    if name in COMMANDS:
        return importlib.import_module(f"langevin.cli.{name}").run
    if name in extensions.commands():
        return extensions.command(name)
    kind = "flag" if name.startswith("-") else "command"
    allowed = ["--help", "--version"] if kind == "flag" else [*COMMANDS, *extensions.commands()]
    print(f"langevin: error: {unknown(kind, name, allowed)}", file=sys.stderr)
    raise SystemExit(2)


def _help() -> str:
    rows = {**COMMANDS, **{name: extensions.summary(name) for name in extensions.commands()}}
    width = max(map(len, rows))
    return "\n".join(
        [
            "usage: langevin COMMAND …",
            "",
            "Diffusion models for pictures, sound, video, molecules and proteins on one core.",
            "",
            *(f"  {name:<{width}}  {summary}" for name, summary in rows.items()),
            "",
            "langevin COMMAND --help    what a command takes",
            "langevin --version         the version",
            "",
            "for example:",
            '  langevin sample image-shapes --prompt "a green star" -n 16 --seed 0 --out runs/star',
            "  langevin train experiment=image_digits training.steps=20000",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
