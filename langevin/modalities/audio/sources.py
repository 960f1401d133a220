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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from langevin.modalities import captions
from langevin.modalities.audio.files import EXTENSIONS, Reader, SoundError, read
from langevin.modalities.audio.sound import Audio
from langevin.modalities.captions import Problem
from langevin.modalities.recordings import Recordings, folder_columns, npz_arrays, npz_columns

__all__ = ["Clip", "Source", "folder_source", "npz_source", "tar_source"]

NAMES = {"digit": "word", "label": "class_name"}  # column -> where its names are, without an array k_names
MEMBER = 1 << 28  # bytes of one file of a tar


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
class Source(Recordings[Clip]):
    """Sounds and what is known about them; its columns have one entry for each clip."""

    what: ClassVar[str] = "sounds"
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "prompt": ("caption",),
        "label": ("label", "digit"),
        "speaker": ("speaker",),
    }


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
    columns, names = folder_columns(found, kept)
    return Source(path, clips, columns, names, tuple(problems))


def npz_source(path: str | Path) -> Source:
    """The recordings of an npz archive; pickled contents are refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an archive of recordings.
    """
    path = Path(path)
    arrays = npz_arrays(path)
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
    columns, names = npz_columns(path, arrays, count, NAMES)
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
