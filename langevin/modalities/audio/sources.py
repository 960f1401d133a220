"""Where sounds lie: a folder of files, an npz archive of recordings, or a tar of files with a table beside it.

A :class:`Source` lists clips, each of which can be read in part, and columns of what is known about them. Nothing is
decoded before it is read.

    folder      :mod:`langevin.modalities.captions` says where captions and classes are looked for
    npz         samples (n,) int16 or float, offsets (N + 1,), sample_rate; further arrays of length N are columns, and
                names of a column k stand in k_names
    tar         files, and a csv of the same name beside the archive: file, and label with class_name, caption, split, …
"""

from __future__ import annotations

import csv
import functools
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.modalities import captions
from langevin.modalities.audio.files import EXTENSIONS, Reader, SoundError, read
from langevin.modalities.audio.sound import Audio
from langevin.modalities.captions import Problem

__all__ = ["Clip", "Source", "folder_source", "npz_source", "tar_source"]

USUAL = {"prompt": ("caption",), "label": ("label", "digit"), "speaker": ("speaker",)}  # condition -> columns
NAMES = {"digit": "word", "label": "class_name"}  # column -> where its names are, without an array k_names
MEMBER = 1 << 28  # bytes of one file of a tar
KINDS = {"U": "text", "i": "class", "u": "class", "f": "number"}


@dataclass(frozen=True)
class Clip:
    """A recording.

    Attributes:
        file: that names it.
        frames: samples of a channel.
        rate: Hz.
        read: (first sample, samples or None for all) to a sound; raises :class:`SoundError`.
    """

    file: Path
    frames: int
    rate: int
    read: Callable[[int, int | None], Audio]


@dataclass(frozen=True)
class Source:
    """Clips and what is known about them.

    Attributes:
        path: of the set.
        clips: in order.
        columns: by name, one entry for each clip: strings, class indices or numbers.
        names: of the classes of columns that hold indices.
        problems: files that are not among the clips.
        licence, attribution: of the recordings, where the set says so.
    """

    path: Path
    clips: list[Clip]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    licence: str | None = None
    attribution: str | None = None

    def kept(self, rows: NDArray[np.bool_]) -> Source:
        """The clips of these rows."""
        clips = [clip for clip, keep in zip(self.clips, rows.tolist()) if keep]
        return replace(self, clips=clips, columns={k: v[rows] for k, v in self.columns.items()})

    def selected(
        self,
        split: str | None = None,
        where: Mapping[str, Any] | None = None,
        leave_out: Sequence[Mapping[str, Any]] = (),
    ) -> Source:
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
            raise ValueError(f"{self.path}: no sounds are left for {asked}, leave_out={list(leave_out)}")
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
            raise ValueError(
                f"{self.path}: no sound has {column} = {value!r}; it takes values such as {present}"
            )
        return np.asarray(hit)

    def conditions(self, asked: Mapping[str, str] | None) -> dict[str, str]:
        """Condition to column; the usual ones when None.

        Raises:
            ValueError: a column that is not there.
        """
        if asked is None:
            usual = {
                name: next((c for c in columns if c in self.columns), None) for name, columns in USUAL.items()
            }
            return {name: column for name, column in usual.items() if column is not None}
        for column in asked.values():
            if column not in self.columns:
                raise ValueError(f"{self.path}: " + unknown("column for a condition", column, self.columns))
        return dict(asked)

    def kind(self, column: str) -> str:
        """ "text", "class" or "number"."""
        return KINDS[self.columns[column].dtype.kind]


def folder_source(path: str | Path, conditions: str = "auto") -> Source:
    """The sound files of a folder and its sub-folders, in the order of their names.

    Args:
        path: the folder.
        conditions: "auto", "prompt", "label" or "none".

    Raises:
        FileNotFoundError, NotADirectoryError: nothing there, or a file.
        ValueError: no sounds, or no such conditions.
    """
    path = Path(path)
    files = captions.listing(path, EXTENSIONS, "sounds")
    found = captions.find(path, files, conditions, "sounds")
    problems, clips, kept = list(found.problems), [], []
    bad = {p.file for p in problems}
    for file in files:
        if file not in bad:
            try:
                clips.append(_clip(file, None))
                kept.append(file)
            except (SoundError, OSError) as error:
                problems.append(Problem(file, getattr(error, "reason", str(error))))
    columns: dict[str, NDArray[Any]] = {}
    names: dict[str, tuple[str, ...]] = {}
    if found.condition == "prompt":
        columns["caption"] = np.array([found.values[f] for f in kept], dtype=str)
    elif found.condition == "label":
        names["label"] = tuple(sorted(set(found.values.values())))
        columns["label"] = np.array([names["label"].index(found.values[f]) for f in kept], dtype=np.int64)
    return Source(path, clips, columns, names, tuple(problems))


def npz_source(path: str | Path) -> Source:
    """The recordings of an npz archive; pickled contents are refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an archive of recordings.
    """
    path = Path(path)
    arrays = _npz(path)
    missing = [key for key in ("samples", "offsets", "sample_rate") if key not in arrays]
    if missing:
        raise ValueError(f"{path} has no array {missing[0]!r}; its arrays are {', '.join(arrays)}")
    samples, offsets = arrays.pop("samples"), arrays.pop("offsets")
    rate = int(arrays.pop("sample_rate"))
    if samples.ndim != 1 or not (samples.dtype == np.int16 or samples.dtype.kind == "f"):
        raise ValueError(f"{path}: samples must be int16 or float (n,); got {samples.dtype} {samples.shape}")
    if (
        offsets.ndim != 1
        or offsets.dtype.kind not in "iu"
        or len(offsets) < 2
        or offsets[0] != 0
        or offsets[-1] != len(samples)
        or (np.diff(offsets.astype(np.int64)) < 0).any()
    ):
        raise ValueError(f"{path}: offsets must rise from 0 to the {len(samples)} samples")
    count = len(offsets) - 1
    clips = []
    for i in range(count):
        low, high = int(offsets[i]), int(offsets[i + 1])
        name = path / str(i)
        clips.append(Clip(name, high - low, rate, functools.partial(_part, name, samples, low, high, rate)))
    columns = {k: v for k, v in arrays.items() if v.shape == (count,) and v.dtype.kind in KINDS}
    names = {}
    for column, values in columns.items():
        found = arrays.get(f"{column}_names", arrays.get(NAMES.get(column, "")))
        if values.dtype.kind in "iu" and found is not None and found.shape != (count,):
            if int(values.max()) >= len(found):
                raise ValueError(f"{path}: values of {column!r} do not index its names")
            names[column] = tuple(map(str, found))
    loose = {k: str(v) for k, v in arrays.items() if v.ndim == 0 and v.dtype.kind == "U"}
    return Source(
        path,
        clips,
        columns,
        names,
        (),
        loose.get("licence") or loose.get("license"),
        loose.get("attribution"),
    )


def tar_source(path: str | Path) -> Source:
    """The sound files of an uncompressed tar, as the csv beside it lists them.

    Raises:
        FileNotFoundError: no such file, or no csv beside it.
        ValueError: not a tar, or a table that does not fit it.
    """
    path = Path(path)
    table = path.with_suffix(".csv")
    for file in (path, table):
        if not file.is_file():
            raise FileNotFoundError(f"no file {str(file)!r}")
    try:
        with tarfile.open(path, "r:") as archive:
            places = {m.name: (m.offset_data, m.size) for m in archive if m.isreg() and not m.issparse()}
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{path} is not a readable tar: {error}") from None
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} is not a readable table: {error}") from None
    if not rows or "file" not in rows[0]:
        raise ValueError(f"{table} must have a column 'file' and a row for each sound")
    clips, kept, problems = [], [], []
    for row in rows:
        name = path / str(row["file"])
        try:
            if row["file"] not in places:
                raise SoundError(name, f"listed in {table.name}, but there is no such file")
            offset, size = places[row["file"]]
            if size > MEMBER:
                raise SoundError(name, f"larger than {MEMBER} bytes")
            clips.append(_clip(name, (path, offset, size)))
            kept.append(row)
        except SoundError as error:
            problems.append(Problem(name, error.reason))
    if not clips:
        raise ValueError(captions.report(path, problems))
    columns, names = _table(table, kept)
    licences = sorted({row["licence"] for row in kept if row.get("licence")})
    authors = f"authors as listed in {table.name}" if "author" in kept[0] else None
    return Source(path, clips, columns, names, tuple(problems), ", ".join(licences) or None, authors)


def _table(
    table: Path, rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[str, ...]]]:
    """Columns of a csv, whole numbers where all entries of "label" or "fold" are; and names of classes."""
    columns: dict[str, NDArray[Any]] = {}
    for column in rows[0]:
        if isinstance(column, str):  # csv puts what is beyond the last column under None
            columns[column] = np.array([str(row[column]) for row in rows])
    for column in ("label", "fold"):
        if column in columns:
            try:
                columns[column] = columns[column].astype(np.int64)
            except ValueError:
                raise ValueError(f"{table}: {column} must be a whole number in every row") from None
    names: dict[str, tuple[str, ...]] = {}
    if "label" in columns and "class_name" in columns:
        known = dict(zip(columns["label"].tolist(), columns["class_name"].tolist()))
        if sorted(known) == list(range(len(known))):
            names["label"] = tuple(known[i] for i in range(len(known)))
    return columns, names


def _part(
    name: Path, samples: NDArray[Any], low: int, high: int, rate: int, first: int, count: int | None
) -> Audio:
    last = high if count is None else min(high, low + first + count)
    try:
        return Audio(samples[low + first : last], rate)
    except ValueError as error:
        raise SoundError(name, "it holds no samples" if low == high else str(error)) from None


def _clip(file: Path, member: tuple[Path, int, int] | None) -> Clip:
    """A clip of a file, or of a part of a tar."""
    with Reader(file, _contents(member)) as reader:
        frames = reader.info.frames
        if frames is None:  # some containers do not say
            frames = sum(block.shape[1] for block in reader.blocks())
        rate = reader.rate

    def part(first: int, count: int | None) -> Audio:
        return read(
            file, first / rate if first else None, None if count is None else count / rate, _contents(member)
        )

    return Clip(file, frames, rate, part)


def _contents(member: tuple[Path, int, int] | None) -> bytes | None:
    if member is None:
        return None
    path, offset, size = member
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _npz(path: Path) -> dict[str, NDArray[Any]]:
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
