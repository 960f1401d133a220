"""A folder of picture files, with captions or classes beside them.

Conditions are found in this order:
    metadata.jsonl      one object a line: {"file_name": "a/b.png", "text": "a red apple"}
    metadata.csv        a table with the columns file_name and text; in both, caption is another name of text
    sidecar files       a.png and a.txt
    class folders       no pictures at the top, every picture in a sub-folder: the sub-folder's name is its
                        class
    none                unconditional

Files that are no usable pictures (empty, damaged, too large, captionless) are named: all of them in one
error, or, with errors="skip", in `problems` and one warning.
"""

from __future__ import annotations

import csv
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.modalities.image.pixels import EXTENSIONS, MAX_PIXELS, PictureError, read_picture

__all__ = ["FolderDataset", "Problem"]

SOURCES = ("auto", "prompt", "label", "none")


class Problem(NamedTuple):
    """A file that was left out, and why."""

    file: Path
    reason: str


class FolderDataset:
    """The picture files (.png .jpg .jpeg .webp .bmp .gif) of a folder and its sub-folders, in the order of
    their names.

    Files are read with their EXIF orientation, laid over white where transparent, scaled and
    centre-cropped. Sets that fit into `memory` are decoded once, here; larger ones are decoded batch by
    batch, and then a damaged file is only met there: with errors="skip" the next readable picture takes its
    place and the file is added to `problems`.

    Args:
        path: the folder.
        size: side of the pictures; None keeps each file's own.
        conditions: "auto" (see the module's docstring), or insist on "prompt", "label" or "none".
        errors: "raise" refuses the folder if any file is unusable, "skip" leaves such files out.
        channels: 1 (grey) or 3 (RGB).
        max_pixels: larger files are refused before decoding.
        memory: bytes up to which decoded pictures are kept.
        licence, attribution: of the pictures.

    Raises:
        FileNotFoundError, NotADirectoryError: nothing there, or a file.
        ValueError: no (usable) pictures, unusable files with errors="raise", or missing captions or classes.
    """

    def __init__(
        self,
        path: str | Path,
        size: int | None = None,
        *,
        conditions: str = "auto",
        errors: str = "raise",
        channels: int = 3,
        max_pixels: int = MAX_PIXELS,
        memory: int = 2 << 30,
        licence: str | None = None,
        attribution: str | None = None,
    ) -> None:
        if errors not in ("raise", "skip"):
            raise ValueError(unknown("value of errors", errors, ("raise", "skip")))
        if conditions not in SOURCES:
            raise ValueError(unknown("value of conditions", conditions, SOURCES))
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3; got {channels}")
        if size is not None and size < 1:
            raise ValueError(f"size must be at least 1; got {size}")
        self.path, self.size, self.channels, self.errors = Path(path), size, channels, errors
        self.max_pixels, self.licence, self.attribution = max_pixels, licence, attribution
        self.problems: list[Problem] = []
        self._cache: list[NDArray[np.uint8]] | None = None
        files = _pictures(self.path)
        name, values = self._values(files, conditions)
        self.conditions: dict[str, str] = (
            {} if name is None else {name: {"prompt": "text", "label": "class"}[name]}
        )
        self.class_names: tuple[str, ...] = tuple(sorted(set(values.values()))) if name == "label" else ()
        self._name = name
        self.files = [f for f in files if f not in {p.file for p in self.problems}]
        if size is not None and len(self.files) * size * size * channels <= memory:
            self._decode()
        self._report()
        if not self.files:
            raise ValueError(f"{self.path}: no usable pictures are left of {len(files)} files")
        index = {c: i for i, c in enumerate(self.class_names)}
        self._value: list[Any] = [index[values[f]] if name == "label" else values.get(f) for f in self.files]

    def _decode(self) -> None:
        self._cache, kept = [], []
        for file in self.files:
            try:
                self._cache.append(read_picture(file, self.size, self.channels, self.max_pixels))
                kept.append(file)
            except PictureError as error:
                self.problems.append(Problem(file, error.reason))
        self.files = kept

    def _report(self) -> None:
        if not self.problems:
            return
        shown = "".join(f"\n  {p.file}: {p.reason}" for p in self.problems[:10])
        more = f"\n  and {len(self.problems) - 10} more" if len(self.problems) > 10 else ""
        text = f"{self.path}: {len(self.problems)} of its files cannot be used:{shown}{more}"
        if self.errors == "raise":
            raise ValueError(f'{text}\nMend or remove them, or leave them out with errors="skip".')
        warnings.warn(text, stacklevel=3)

    def _values(self, files: list[Path], wanted: str) -> tuple[str | None, dict[Path, str]]:
        """Name of the condition, if any, and its value for every file; captionless files become problems."""
        if wanted == "none":
            return None, {}
        table = next(
            (self.path / n for n in ("metadata.jsonl", "metadata.csv") if (self.path / n).is_file()), None
        )
        captions: dict[Path, str] = {}
        if wanted != "label":
            if table is not None:
                captions, where = self._metadata(table, set(files)), f"no entry in {table.name}"
            else:
                captions, where = self._sidecars(files), "no caption: its .txt file is missing or empty"
            if captions:
                missing = [f for f in files if f not in captions]
                self.problems += [Problem(f, where) for f in missing]
                return "prompt", captions
            if wanted == "prompt":
                raise ValueError(
                    f"{self.path} has no captions: add metadata.jsonl, metadata.csv, "
                    "or one .txt file beside each picture"
                )
        folders = {f: f.relative_to(self.path).parts[0] for f in files if f.parent != self.path}
        if len(folders) == len(files):
            return "label", folders
        if wanted == "label":
            raise ValueError(
                f"{self.path} has no class folders: every picture must lie in a folder named after its class"
            )
        if folders:
            raise ValueError(
                f"{self.path} holds pictures both at the top and in sub-folders, and no captions: "
                'sort all of them into class folders, or ignore the folders with conditions="none"'
            )
        return None, {}

    def _metadata(self, table: Path, files: set[Path]) -> dict[Path, str]:
        captions = {}
        for number, row in enumerate(_rows(table), 1):
            held = row if isinstance(row, dict) else {}
            name, text = held.get("file_name"), held.get("text", held.get("caption"))
            if not isinstance(name, str) or not isinstance(text, str):
                raise ValueError(
                    f"{table}, entry {number}: needs file_name and text (or caption), both strings; got {row!r:.120}"
                )
            file = Path(os.path.normpath(self.path / name))
            if file not in files:
                found = (
                    "it lies outside the folder"
                    if self.path not in file.parents
                    else "there is no such picture"
                )
                self.problems.append(Problem(file, f"listed in {table.name}, but {found}"))
            elif text.strip():
                captions[file] = text.strip()
        return captions

    def _sidecars(self, files: list[Path]) -> dict[Path, str]:
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

    def __len__(self) -> int:
        return len(self.files)

    def _read(self, index: int) -> NDArray[np.uint8]:
        if self._cache is not None:
            return self._cache[index]
        return read_picture(self.files[index], self.size, self.channels, self.max_pixels)

    def _readable(self, index: int) -> tuple[int, NDArray[np.uint8]]:
        """The picture at `index`, or with errors="skip" the next one that can be read."""
        known = {p.file for p in self.problems}
        for step in range(len(self)):
            here = (index + step) % len(self)
            if self.files[here] in known:
                continue
            try:
                return here, self._read(here)
            except PictureError as error:
                if self.errors == "raise":
                    raise
                self.problems.append(Problem(self.files[here], error.reason))
                warnings.warn(f"{error}; the next picture takes its place", stacklevel=3)
        raise ValueError(f"{self.path}: none of its {len(self)} pictures can be read")

    def batch(
        self, indices: Sequence[int] | NDArray[np.integer]
    ) -> tuple[list[NDArray[np.uint8]], dict[str, list[Any]]]:
        """A list of pictures (H, W, C) uint8 and the conditions' raw values.

        Raises:
            IndexError: an index outside the set.
            PictureError: a damaged file, with errors="raise".
        """
        wrong = [int(i) for i in indices if not -len(self) <= i < len(self)]
        if wrong:
            raise IndexError(f"index {wrong[0]} is out of range for a set of {len(self)} pictures")
        found = [self._readable(int(i) % len(self)) for i in indices]
        values = {self._name: [self._value[i] for i, _ in found]} if self._name else {}
        return [picture for _, picture in found], values


def _pictures(folder: Path) -> list[Path]:
    """Picture files under a folder, by name; hidden ones are passed over, linked folders not followed."""
    if not folder.exists():
        raise FileNotFoundError(f"no folder {str(folder)!r}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; a folder of pictures was expected")
    found, others = [], 0
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(d for d in folders if not d.startswith("."))
        for name in sorted(n for n in names if not n.startswith(".")):
            if Path(name).suffix.lower() in EXTENSIONS:
                found.append(Path(os.path.normpath(Path(base) / name)))
            else:
                others += 1
    if not found:
        what = f"its {others} files have other endings" if others else "it is empty"
        raise ValueError(f"{folder} holds no pictures ({', '.join(EXTENSIONS)}): {what}")
    return found


def _rows(table: Path) -> list[Any]:
    """The entries of a JSON-lines or csv file; a bad line is named by its number."""
    text = table.read_text(encoding="utf-8-sig")
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
