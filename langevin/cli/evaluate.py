"""``langevin evaluate FILE|DIR [REFERENCE]``: measures anybody's files, with the modality's own metrics.

What may be said about measuring is the modality's own (``evaluation`` of its plugin); its fields are flags.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langevin.cli.arguments import Parser, add_fields, one_of
from langevin.folders import member
from langevin.modalities.base import NoSpec
from langevin.modalities.plugins import plugin, plugins
from langevin.modalities.samples import MANIFEST, Failure, read_manifest

if TYPE_CHECKING:
    from langevin.modalities.base import Modality

__all__ = ["run"]

SHOWN = 10  # failures that are told one by one


def run(argv: Sequence[str]) -> int:
    """Print the table of metrics, as text, JSON or CSV."""
    asks = any(a in ("-h", "--help") for a in argv)
    parser = _parser()
    known, extra = parser.parse_known_args([a for a in argv if a not in ("-h", "--help")])
    if known.folder is None:
        if asks:
            parser.parse(argv)
        if extra:
            parser.refuse(extra[0])
        parser.error("what shall be measured? a file or a folder")
    for path in map(Path, filter(None, (known.folder, known.reference))):
        if not path.exists():
            parser.error(f"there is no {'file' if path.suffix else 'folder'} {str(path)!r}")
    name = known.modality or _recorded(Path(known.folder)) or _by_suffix(Path(known.folder))
    if name is None and (asks or extra):
        parser.parse(argv)
    if name is None:
        why = (
            f"has no {MANIFEST} that says what it holds" if Path(known.folder).is_dir() else "may be anything"
        )
        parser.error(f"{known.folder} {why}; add --modality NAME")

    found = plugin(name)
    parser = _parser()
    group: Any = parser.add_argument_group(f"how ({name})")
    more = add_fields(group, getattr(found, "evaluation", NoSpec))
    args = parser.parse(argv)
    modality = found.modality({})
    paths = [Path(path) for path in (args.folder, args.reference) if path]
    sides = [_items(path, modality) for path in paths]
    for path, items in zip(paths, sides):
        if not items:
            parser.error(f"{path} holds nothing that {name} reads ({', '.join(modality.suffixes)})")
    lost = [_told(path, items) for path, items in zip(paths, sides)]
    given = {key: getattr(args, key) for key in more if getattr(args, key) is not None}
    table = modality.evaluate(sides[0], sides[1] if len(sides) > 1 else None, **given)
    if table is None:
        parser.error(f"{name} measures nothing without a reference; add a folder to compare with")
    caption = table.caption
    if len(sides) > 1:
        caption = f"samples: {paths[0]}; reference: {paths[1]}. {caption}"
    if args.json:
        failures = [failure for side in lost for failure in side]
        told = {**table.plain(), "caption": caption, "failures": failures}
        print(json.dumps(told, ensure_ascii=False, indent=1))
    elif args.csv:
        print(table.csv(), end="")
        print(caption, end="\n" if caption else "", file=sys.stderr)
    else:
        width = min(100, shutil.get_terminal_size().columns)
        print(table.text(), *filter(None, [textwrap.fill(caption, width)]), sep="\n\n")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="langevin evaluate",
        description="Measure a file or a folder of files, alone or beside another. A folder that langevin wrote\n"
        "says what it holds, and so do the names of some files; for others the modality is given. Every file and\n"
        "every record counts, readable or not.",
    )
    parser.add_argument("folder", metavar="FILE|DIR", nargs="?", help="what to measure")
    parser.add_argument(
        "reference", metavar="REFERENCE", nargs="?", help="what to compare with: a file or a folder of files"
    )
    modalities = sorted(plugins())
    kind = one_of("modality", modalities)
    parser.add_argument("--modality", type=kind, metavar="NAME", help=", ".join(modalities))
    form: Any = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--csv", action="store_true", help="print comma-separated values")
    return parser


def _recorded(folder: Path) -> str | None:
    """The modality that a samples.json names, if there is one."""
    if not (folder / MANIFEST).exists():
        return None
    return str(read_manifest(folder).get("modality") or "") or None


def _by_suffix(path: Path) -> str | None:
    """The one modality that the names of files say; None where they say none, or several."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    claimed = {
        name
        for name, found in plugins().items()
        for file in files
        if file.name.lower().endswith(tuple(getattr(found, "suffixes", ())))
    }
    return claimed.pop() if len(claimed) == 1 else None


def _items(path: Path, modality: Modality) -> list[Any]:
    """The objects of a file or a folder; those that cannot be read count as failures."""
    files: Sequence[Path | Failure]
    if path.is_file():
        files = [path]
    elif (path / MANIFEST).exists():
        files = [
            Failure(str(entry.get("failure"))) if entry["file"] is None else member(path, entry["file"])
            for entry in read_manifest(path)["samples"]
        ]
    else:
        files = sorted(
            file
            for file in path.rglob("*")
            if file.name.lower().endswith(tuple(modality.suffixes))
            and file.is_file()
            and not file.name.startswith(".")
        )
    return [
        item for file in files for item in ([file] if isinstance(file, Failure) else _read(modality, file))
    ]


def _read(modality: Modality, path: Path) -> list[Any]:
    try:
        items = modality.read_all(path)
    except (ValueError, OSError) as error:
        return [Failure(_placed(path, str(error)))]
    return [Failure(_placed(path, item.reason)) if isinstance(item, Failure) else item for item in items]


def _placed(path: Path, reason: str) -> str:
    """A reason with the file that it is about, unless it names it."""
    return reason if reason.startswith((str(path), path.name)) else f"{path}: {reason}"


def _told(path: Path, items: Sequence[Any]) -> list[dict[str, str]]:
    """What cannot be read of a side: the first ones on standard error, all of it as plain data."""
    reasons = [item.reason for item in items if isinstance(item, Failure)]
    for reason in reasons[:SHOWN]:
        print(f"langevin evaluate: {reason}", file=sys.stderr)
    if len(reasons) > SHOWN:
        print(f"langevin evaluate: {path}: and {len(reasons) - SHOWN} more", file=sys.stderr)
    return [{"of": str(path), "reason": reason} for reason in reasons]
