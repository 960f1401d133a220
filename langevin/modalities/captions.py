"""What is known about the files of a folder: captions or classes that lie beside them.

Conditions are found in this order:
    metadata.jsonl      one object a line: {"file_name": "a/b.wav", "text": "a dog barking"}
    metadata.csv        a table with the columns file_name and text; in both, caption is another name of text
    sidecar files       a.wav and a.txt
    class folders       no files at the top, every one in a sub-folder: the sub-folder's name is its class
    none                unconditional
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from langevin.core.errors import unknown

__all__ = ["SOURCES", "Found", "Problem", "find", "listing", "report"]

SOURCES = ("auto", "prompt", "label", "none")
SHOWN = 10  # problems that a message names


class Problem(NamedTuple):
    """A file that was left out, and why."""

    file: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """What lies beside the files.

    Attributes:
        condition: "prompt", "label" or None.
        values: by file.
        problems: files without a value, and entries without a file.
    """

    condition: str | None = None
    values: dict[Path, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def listing(folder: str | Path, extensions: Sequence[str], what: str) -> list[Path]:
    """The files with these endings under a folder, by name; hidden ones are passed over, linked folders not followed.

    Args:
        folder: a folder.
        extensions: lower case, with dots.
        what: the files are called in messages ("sounds").

    Raises:
        FileNotFoundError, NotADirectoryError: nothing there, or a file.
        ValueError: no such files.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"no folder {str(folder)!r}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; a folder of {what} was expected")
    found, others = [], 0
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(d for d in folders if not d.startswith("."))
        for name in sorted(n for n in names if not n.startswith(".")):
            if Path(name).suffix.lower() in extensions:
                found.append(Path(os.path.normpath(Path(base) / name)))
            else:
                others += 1
    if not found:
        held = f"its {others} files have other endings" if others else "it is empty"
        raise ValueError(f"{folder} holds no {what} ({', '.join(extensions)}): {held}")
    return found


def find(folder: Path, files: Sequence[Path], wanted: str, what: str) -> Found:
    """The condition of the files of a folder.

    Args:
        folder: holds ``files``.
        files: from :func:`listing`.
        wanted: "auto", or what is insisted on: "prompt", "label" or "none".
        what: as for :func:`listing`.

    Raises:
        ValueError: what is insisted on is not there, a table that cannot be read, or files both in class folders and
            outside.
    """
    if wanted not in SOURCES:
        raise ValueError(unknown("value of conditions", wanted, SOURCES))
    if wanted == "none":
        return Found()
    if wanted != "label":
        found = _captions(folder, files)
        if found.values:
            return found
        if wanted == "prompt":
            raise ValueError(
                f"{folder} has no captions: add metadata.jsonl, metadata.csv, or one .txt file beside each file"
            )
    home = Path(os.path.normpath(folder))
    classes = {f: f.relative_to(home).parts[0] for f in files if f.parent != home}
    if len(classes) == len(files):
        return Found("label", classes)
    if wanted == "label":
        raise ValueError(
            f"{folder} has no class folders: all {what} must lie in folders named after their class"
        )
    if classes:
        raise ValueError(
            f"{folder} holds {what} both at the top and in sub-folders, and no captions: "
            'sort all of them into class folders, or ignore the folders with conditions="none"'
        )
    return Found()


def report(folder: Path, problems: Sequence[Problem]) -> str:
    """What is said about files that cannot be used."""
    shown = "".join(f"\n  {p.file}: {p.reason}" for p in problems[:SHOWN])
    more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return f"{folder}: {len(problems)} of its files cannot be used:{shown}{more}"


def _captions(folder: Path, files: Sequence[Path]) -> Found:
    table = next((folder / n for n in ("metadata.jsonl", "metadata.csv") if (folder / n).is_file()), None)
    problems: list[Problem] = []
    if table is not None:
        captions, where = _metadata(table, set(files), problems), f"no entry in {table.name}"
    else:
        captions, where = _sidecars(files), "no caption: its .txt file is missing or empty"
    problems += [Problem(f, where) for f in files if f not in captions]
    return Found("prompt", captions, tuple(problems))


def _metadata(table: Path, files: set[Path], problems: list[Problem]) -> dict[Path, str]:
    captions = {}
    home = Path(os.path.normpath(table.parent))
    for number, row in enumerate(_rows(table), 1):
        held = row if isinstance(row, dict) else {}
        name, text = held.get("file_name"), held.get("text", held.get("caption"))
        if not isinstance(name, str) or not isinstance(text, str):
            raise ValueError(
                f"{table}, entry {number}: needs file_name and text (or caption), both strings; got {row!r:.120}"
            )
        file = Path(os.path.normpath(home / name))
        if file not in files:
            found = "it lies outside the folder" if home not in file.parents else "there is no such file"
            problems.append(Problem(file, f"listed in {table.name}, but {found}"))
        elif text.strip():
            captions[file] = text.strip()
    return captions


def _sidecars(files: Sequence[Path]) -> dict[Path, str]:
    captions = {}
    for file in files:
        note = file.with_suffix(".txt")
        if note.is_file():
            try:
                text = note.read_text(encoding="utf-8-sig").strip()
            except UnicodeDecodeError:
                raise ValueError(f"{note}: captions must be UTF-8 text") from None
            if text:
                captions[file] = text
    return captions


def _rows(table: Path) -> list[Any]:
    """The entries of a JSON-lines or csv file; a bad line is named by its number."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{table}: must be UTF-8 text") from None
    if table.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"{table}, line {number}: not JSON: {error}") from None
    return rows
