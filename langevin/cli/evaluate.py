"""``langevin evaluate DIR [REFERENCE]``: measures anybody's files, with the modality's own metrics."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langevin.cli.arguments import Parser, one_of
from langevin.folders import member
from langevin.modalities.plugins import plugin, plugins
from langevin.modalities.samples import MANIFEST, Failure, read_manifest

if TYPE_CHECKING:
    from langevin.modalities.base import Modality

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Print the table of metrics, as text, JSON or CSV."""
    parser = Parser(
        prog="langevin evaluate",
        description="Measure a folder of files, alone or against another. A folder that langevin wrote says\n"
        "what it holds; for others the modality is given, and every file counts, readable or not.",
    )
    parser.add_argument("folder", metavar="DIR", help="what to measure")
    parser.add_argument(
        "reference", metavar="REFERENCE", nargs="?", help="what to compare with: a folder of files"
    )
    modalities = sorted(plugins())
    kind = one_of("modality", modalities)
    parser.add_argument("--modality", type=kind, metavar="NAME", help=", ".join(modalities))
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--csv", action="store_true", help="print comma-separated values")
    args = parser.parse(argv)
    for folder in filter(None, (args.folder, args.reference)):
        if not Path(folder).is_dir():
            parser.error(f"there is no folder {folder!r}")
    name = args.modality or _recorded(Path(args.folder))
    if name is None:
        parser.error(f"{args.folder} has no {MANIFEST} that says what it holds; add --modality NAME")

    modality = plugin(name).modality({})
    items = _items(Path(args.folder), modality)
    if not items:
        parser.error(f"{args.folder} holds no files that {name} reads ({', '.join(modality.suffixes)})")
    table = modality.evaluate(items, _items(Path(args.reference), modality) if args.reference else None)
    if table is None:
        parser.error(f"{name} measures nothing without a reference; add a folder to compare with")
    if args.json:
        print(json.dumps(table.plain(), ensure_ascii=False, indent=1))
    elif args.csv:
        print(table.csv(), end="")
        print(table.caption, end="\n" if table.caption else "", file=sys.stderr)
    else:
        width = min(100, shutil.get_terminal_size().columns)
        print(table.text(), *filter(None, [textwrap.fill(table.caption, width)]), sep="\n\n")
    return 0


def _recorded(folder: Path) -> str | None:
    """The modality that a samples.json names, if there is one."""
    if not (folder / MANIFEST).exists():
        return None
    return str(read_manifest(folder).get("modality") or "") or None


def _items(folder: Path, modality: Modality) -> list[Any]:
    """The objects of a folder; those that cannot be read count as failures."""
    files: Sequence[Path | Failure]
    if (folder / MANIFEST).exists():
        files = [
            Failure(str(entry.get("failure"))) if entry["file"] is None else member(folder, entry["file"])
            for entry in read_manifest(folder)["samples"]
        ]
    else:
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in modality.suffixes and path.is_file() and not path.name.startswith(".")
        )
    return [file if isinstance(file, Failure) else _read(modality, file) for file in files]


def _read(modality: Modality, path: Path) -> Any:
    try:
        return modality.read(path)
    except (ValueError, OSError) as error:
        print(f"langevin evaluate: {path}: {error}", file=sys.stderr)
        return Failure(str(error))
