"""Sets of recordings, as sounds and clips are: what can be read one by one, and columns of what is known about each.

A modality's source is a subclass that names its recordings and the columns its conditions are usually taken from. The
columns come from an npz archive (:func:`npz_columns`), or from what lies beside the files of a folder
(:func:`folder_columns`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.modalities.captions import Found, Problem

__all__ = ["KINDS", "Recordings", "folder_columns", "npz_arrays", "npz_columns", "part_of"]

Clip = TypeVar("Clip")
Column = NDArray[Any]

KINDS = {"U": "text", "i": "class", "u": "class", "f": "number"}  # of a column, by the kind of its dtype


@dataclass(frozen=True)
class Recordings(Generic[Clip]):
    """Recordings and what is known about them.

    Class attributes:
        what: they are called in messages.
        usual: condition to the columns that it is taken from, the first that is there.

    Attributes:
        path: of the set.
        clips: in order.
        columns: by name, one entry for each clip: strings, class indices or numbers.
        names: of the classes of columns that hold indices.
        problems: files that are not among the clips.
        licence, attribution: of the recordings, where the set says so.
    """

    what: ClassVar[str]
    usual: ClassVar[Mapping[str, tuple[str, ...]]]

    path: Path
    clips: list[Clip]
    columns: dict[str, Column] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    licence: str | None = None
    attribution: str | None = None

    def kept(self, rows: NDArray[np.bool_]) -> Self:
        """The clips of these rows."""
        clips = [clip for clip, keep in zip(self.clips, rows.tolist()) if keep]
        return replace(self, clips=clips, columns={k: v[rows] for k, v in self.columns.items()})

    def selected(
        self,
        split: str | None = None,
        where: Mapping[str, Any] | None = None,
        leave_out: Sequence[Mapping[str, Any]] = (),
    ) -> Self:
        """The clips of a split, and of them those whose columns have the values of ``where``.

        Args:
            split: value of the column "split".
            where: column to value, or to a list of allowed values; classes by index or name.
            leave_out: clips that agree with all of any of these are left out.

        Raises:
            ValueError: an unknown column, a value that no clip has, or nothing left.
        """
        if split is None and not where and not leave_out:
            return self
        rows = np.ones(len(self.clips), dtype=bool)
        if split is not None and "split" not in self.columns:
            raise ValueError(f"{self.path} has no splits, so split={split!r} cannot be chosen")
        asked = {**({} if split is None else {"split": split}), **(where or {})}
        for column, value in asked.items():
            rows &= self._matches(column, value)
        for pattern in leave_out:
            if not pattern:
                raise ValueError(
                    "leave_out holds a mapping without columns, which would leave out everything"
                )
            both = [self._matches(column, value) for column, value in pattern.items()]
            rows &= ~np.logical_and.reduce(both)
        if not rows.any():
            raise ValueError(f"{self.path}: no {self.what} are left for {asked}, leave_out={list(leave_out)}")
        return self.kept(rows)

    def _matches(self, column: str, value: Any) -> NDArray[np.bool_]:
        if column not in self.columns:
            raise ValueError(f"{self.path}: " + unknown("column", column, self.columns))
        values = list(value) if isinstance(value, list | tuple | set) else [value]
        names = self.names.get(column, ())
        for i, one in enumerate(values):
            if isinstance(one, str) and names:
                if one not in names:
                    raise ValueError(f"{self.path}: " + unknown(f"value of {column}", one, names))
                values[i] = names.index(one)
        hit = np.isin(self.columns[column], np.asarray(values))
        if not hit.any():
            present = np.unique(self.columns[column])[:12].tolist()
            one = self.what.removesuffix("s")
            raise ValueError(
                f"{self.path}: no {one} has {column} = {value!r}; it takes values such as {present}"
            )
        return np.asarray(hit)

    def conditions(self, asked: Mapping[str, str] | None) -> dict[str, str]:
        """Condition to column; the usual ones when None.

        Raises:
            ValueError: a column that is not there.
        """
        if asked is None:
            there = {
                name: next((c for c in columns if c in self.columns), None)
                for name, columns in self.usual.items()
            }
            return {name: column for name, column in there.items() if column is not None}
        for column in asked.values():
            if column not in self.columns:
                raise ValueError(f"{self.path}: " + unknown("column for a condition", column, self.columns))
        return dict(asked)

    def kind(self, column: str) -> str:
        """ "text", "class" or "number"."""
        return KINDS[self.columns[column].dtype.kind]

    def classes(self, columns: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """Names of the classes of each condition that has classes, of condition to column; the numbers where unnamed."""
        return {
            name: self.names.get(column) or tuple(map(str, range(int(self.columns[column].max()) + 1)))
            for name, column in columns.items()
            if self.kind(column) == "class"
        }


def folder_columns(
    found: Found, files: Sequence[Path]
) -> tuple[dict[str, Column], dict[str, tuple[str, ...]]]:
    """Columns of the files of a folder and names of classes: "caption", "label" or none."""
    columns: dict[str, Column] = {}
    names: dict[str, tuple[str, ...]] = {}
    if found.condition == "prompt":
        columns["caption"] = np.array([found.values[f] for f in files], dtype=str)
    elif found.condition == "label":
        names["label"] = tuple(sorted(set(found.values.values())))
        columns["label"] = np.array([names["label"].index(found.values[f]) for f in files], dtype=np.int64)
    return columns, names


def npz_arrays(path: Path) -> dict[str, Column]:
    """The arrays of an npz archive; pickled contents are refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such an archive, or a damaged one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it is a single array, not an npz archive")
        with archive:
            return {k: archive[k] for k in archive.files}
    except (
        Exception
    ) as error:  # zipfile.BadZipFile, zlib.error, EOFError, ValueError: all mean a damaged archive
        raise ValueError(f"{path} is not a readable npz archive: {error}") from None


def npz_columns(
    path: Path, arrays: Mapping[str, Column], count: int, aliases: Mapping[str, str] | None = None
) -> tuple[dict[str, Column], dict[str, tuple[str, ...]]]:
    """The arrays of ``count`` entries, and names of classes from arrays called k_names.

    Args:
        path: of the archive, for messages.
        arrays: of it.
        count: clips.
        aliases: column to the array that has its names, without one called k_names.

    Raises:
        ValueError: indices beyond the names.
    """
    columns = {k: v for k, v in arrays.items() if v.shape == (count,) and v.dtype.kind in KINDS}
    names = {}
    for column, values in columns.items():
        found = arrays.get(f"{column}_names", arrays.get((aliases or {}).get(column, "")))
        if values.dtype.kind in "iu" and found is not None and found.shape != (count,):
            if int(values.max()) >= len(found):
                raise ValueError(f"{path}: values of {column!r} do not index its names")
            names[column] = tuple(map(str, found))
    return columns, names


def part_of(path: Path, split: str | None) -> tuple[Path, None]:
    """The folder of a split: its sub-folder of that name; a folder without parts is all "train".

    Raises:
        ValueError: there is none.
    """
    if split is None:
        return path, None
    if (path / split).is_dir():
        return path / split, None
    if split != "train" or any((path / name).is_dir() for name in ("test", "validation")):
        parts = sorted(p.name for p in path.iterdir() if p.is_dir())
        raise ValueError(
            f"data {str(path)!r} has no folder {split!r} for that split; its folders: {parts or 'none'}"
        )
    return path, None
