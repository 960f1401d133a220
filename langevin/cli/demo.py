"""``langevin demo``: every shipped model on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langevin.cli.arguments import Parser, device

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Make the page and print its path."""
    parser = Parser(prog="langevin demo", description="Sample every shipped model and write one page.")
    parser.add_argument("--out", default="demo-report", metavar="DIR", help="where to write (demo-report)")
    parser.add_argument("--device", type=device, help="cpu, cuda, cuda:N or mps (the best there is)")
    args = parser.parse(argv)
    if Path(args.out).exists() and not Path(args.out).is_dir():
        parser.error(f"--out: {args.out} is a file")

    from langevin.demo import build

    print(build(Path(args.out), device=args.device))
    return 0
