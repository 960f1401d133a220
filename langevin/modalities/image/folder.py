"""A folder of picture files, with captions or classes beside them.

Conditions are found as :mod:`langevin.modalities.captions` says.

Files that are no usable pictures (empty, damaged, too large, captionless) are named: all of them in one
error, or, with errors="skip", in `problems` and one warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.modalities import captions
from langevin.modalities.captions import Problem
from langevin.modalities.image.pixels import EXTENSIONS, MAX_PIXELS, PictureError, read_picture

__all__ = ["FolderDataset"]


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
        conditions: "auto", or insist on "prompt", "label" or "none".
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
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3; got {channels}")
        if size is not None and size < 1:
            raise ValueError(f"size must be at least 1; got {size}")
        self.path, self.size, self.channels, self.errors = Path(path), size, channels, errors
        self.max_pixels, self.licence, self.attribution = max_pixels, licence, attribution
        self.problems: list[Problem] = []
        self._cache: list[NDArray[np.uint8]] | None = None
        files = captions.listing(self.path, EXTENSIONS, "pictures")
        found = captions.find(self.path, files, conditions, "pictures")
        name, values = found.condition, found.values
        self.problems += found.problems
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
        text = captions.report(self.path, self.problems)
        if self.errors == "raise":
            raise ValueError(f'{text}\nMend or remove them, or leave them out with errors="skip".')
        warnings.warn(text, stacklevel=3)

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
