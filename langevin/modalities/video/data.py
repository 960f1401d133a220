"""Sets of clips: a folder of files, or an npz archive.

Every set gives :class:`Video` objects and conditions as raw values, in batches:

    clips, conditions = data.batch([0, 5, 2])      # list of Video; {"prompt": ["a man walking", …]}

`data.conditions` names each condition and its kind: "text" (str), "class" (int, an index into `data.classes[name]`) or
"number" (float). Sets are read-only and hold no position: which items are drawn, and in which order, is the trainer's
matter.

**Crops.** With ``frames``, a clip that is longer gives ``crops`` items for every ``frames`` of it, each of them a stretch
that begins at a random place. With ``cycle``, clips are taken for whole cycles, as steps of a walk are, and every clip gives
``crops`` items that begin at a random frame and go round. Places follow from the seed and the item's number. With ``timing``
items carry the condition "begin", when an item begins in its clip in seconds, and where clips differ in it "total", how long
the clip is.

**Rates and sizes.** With several rates in ``fps``, every clip stands in the set once at each of them, and items carry the
condition "fps". With ``source`` they carry "source", the shorter side in pixels of the clip before it was scaled, so that
what was enlarged is told from what is sharp (Podell et al., 2023, SDXL, arXiv 2307.01952, §2.2).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.core.rng import Stream
from langevin.modalities.captions import Problem, report
from langevin.modalities.recordings import part_of
from langevin.modalities.video.clip import Video, shown_at
from langevin.modalities.video.codec import fitted
from langevin.modalities.video.files import EXTENSIONS, VideoError
from langevin.modalities.video.sets import Clip, Source, folder_source, npz_source

__all__ = ["ClipDataset", "VideoDataset", "open_data"]

Indices = Sequence[int] | NDArray[np.integer]


@runtime_checkable
class VideoDataset(Protocol):
    """What training and evaluation need of a set of clips."""

    conditions: dict[str, str]  # name -> "text" | "class" | "number"
    classes: dict[str, tuple[str, ...]]  # names of the classes of each "class" condition
    class_names: tuple[str, ...]  # those of "label"; empty without one
    licence: str | None
    attribution: str | None

    def __len__(self) -> int: ...

    def batch(self, indices: Indices) -> tuple[list[Video], dict[str, list[Any]]]:
        """Clips and, for every condition, the list of its raw values."""
        ...


class ClipDataset:
    """The clips of a source, prepared alike.

    Sets that fit into ``memory`` are decoded once, here, and files that cannot be used are named: all of them in one
    error, or, with errors="skip", in `problems` and one warning. Larger sets are decoded item by item.

    Args:
        source: clips and their columns.
        size: side, or (height, width), to which clips are brought: scaled to cover it, and the middle taken; None keeps
            each clip's own.
        fps: to which all are brought, or several; None keeps each clip's own.
        frames: longest item; None takes clips whole.
        crops: items for every ``frames`` of a clip; with ``cycle`` for every clip.
        cycle: clips are whole cycles, which items go round from a random frame on.
        source_size: whether items have the condition "source".
        timing: whether items have the condition "begin", and "total" where clips differ in it.
        captions: columns of texts, of which each item's prompt is drawn; a column that stands here twice comes twice as
            often. None for the usual one.
        seed: of what is random.
        conditions: condition to column of the source; the usual ones when None.
        errors: "raise" refuses the set if any clip cannot be used, "skip" leaves such clips out.
        memory: bytes up to which decoded clips are kept.
        licence, attribution: of the clips; those of the source when None.

    Attributes:
        lengths: frames of each item, by which batches are made; None where all items have the same number.
        problems: clips that cannot be used.

    Raises:
        ValueError: options that cannot be, clips that cannot be used with errors="raise", or none left.
    """

    def __init__(
        self,
        source: Source,
        *,
        size: int | tuple[int, int] | None = None,
        fps: float | Sequence[float] | None = None,
        frames: int | None = None,
        crops: int = 1,
        cycle: bool = False,
        source_size: bool = False,
        timing: bool = False,
        captions: Sequence[str] | None = None,
        seed: int = 0,
        conditions: Mapping[str, str] | None = None,
        errors: str = "raise",
        memory: int = 2 << 30,
        licence: str | None = None,
        attribution: str | None = None,
    ) -> None:
        _check(size, fps, frames, crops, errors)
        sides = (size, size) if isinstance(size, int) else size
        self.size = None if sides is None else (int(sides[0]), int(sides[1]))
        self.rates: tuple[float | None, ...] = tuple(fps) if isinstance(fps, Sequence) else (fps,)
        self.frames, self.crops, self.cycle, self.timing = frames, crops, cycle, timing
        self.source_size = source_size
        self.seed, self.errors = seed, errors
        self.problems: list[Problem] = list(source.problems)
        self._cache: list[Video] | None = None
        if self._bytes(source) <= memory:
            source = self._decode(source)
        if self.problems:
            text = report(source.path, self.problems)
            if errors == "raise":
                raise ValueError(f'{text}\nMend or remove them, or leave them out with errors="skip".')
            warnings.warn(text, stacklevel=2)
        if not source.clips:
            raise ValueError(f"{source.path}: no usable clips are left")
        self.source = source
        self._columns = source.conditions(conditions)
        self.captions = self._texts(captions)
        if self.captions:
            self._columns["prompt"] = self.captions[0]
        self.conditions = {name: source.kind(column) for name, column in self._columns.items()}
        self.classes = source.classes(self._columns)
        self.class_names = self.classes.get("label", ())
        if timing:
            self.conditions["begin"] = "number"
            if len({clip.frames / clip.fps for clip in source.clips}) > 1:
                self.conditions["total"] = "number"
        if len(self.rates) > 1:
            self.conditions["fps"] = "number"
        if source_size:
            self.conditions["source"] = "number"
        self.licence, self.attribution = licence or source.licence, attribution or source.attribution
        self._items = [
            (i, fps)
            for fps in self.rates
            for i, clip in enumerate(source.clips)
            for _ in range(self._items_of(clip, fps))
        ]
        lengths = [self._length(source.clips[i], fps) for i, fps in self._items]
        self.lengths = lengths if len(set(lengths)) > 1 else None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def rows(self) -> list[int]:
        """The clip of the source that each item is of."""
        return [row for row, _ in self._items]

    def batch(self, indices: Indices) -> tuple[list[Video], dict[str, list[Any]]]:
        """Clips and the conditions' raw values.

        Raises:
            IndexError: an index outside the set.
            ValueError: a damaged file.
        """
        wrong = [int(i) for i in indices if not -len(self) <= i < len(self)]
        if wrong:
            raise IndexError(f"index {wrong[0]} is out of range for a set of {len(self)} clips")
        places = [int(i) % len(self) for i in indices]
        found = [self._item(i) for i in places]
        rows = [self._items[i][0] for i in places]
        values: dict[str, list[Any]] = {
            name: self.source.columns[column][rows].tolist() for name, column in self._columns.items()
        }
        if self.captions:
            drawn = Stream.of(self.seed, places).fold("caption").integers(len(self.captions), (len(places),))
            values["prompt"] = [
                str(self.source.columns[self.captions[k]][row])
                for k, row in zip(drawn.tolist(), rows, strict=True)
            ]
        if self.timing:
            clips = [self.source.clips[i] for i in rows]
            values["begin"] = [begin for _, begin in found]
            if "total" in self.conditions:
                values["total"] = [clip.frames / clip.fps for clip in clips]
        if len(self.rates) > 1:
            values["fps"] = [self._items[i][1] for i in places]
        if self.source_size:
            values["source"] = [float(min(self.source.clips[i].size)) for i in rows]
        return [clip for clip, _ in found], values

    def _texts(self, columns: Sequence[str] | None) -> tuple[str, ...]:
        """Columns of texts.

        Raises:
            ValueError: not a list of them.
        """
        if columns is None:
            return ()
        if isinstance(columns, str) or not columns:
            raise ValueError(f"data.captions must be a list of columns, got {columns!r}")
        for column in self.source.conditions({name: name for name in columns}).values():
            if self.source.kind(column) != "text":
                raise ValueError(f"data.captions: {column!r} holds no texts")
        return tuple(columns)

    # --- clips --------------------------------------------------------------------------------------------

    @staticmethod
    def _count(clip: Clip, fps: float | None) -> int:
        """Frames of the clip at a rate."""
        return clip.frames if fps is None else max(1, round(clip.frames * fps / clip.fps))

    def _length(self, clip: Clip, fps: float | None) -> int:
        """Frames of an item."""
        return min(self._count(clip, fps), self.frames or self._count(clip, fps))

    def _items_of(self, clip: Clip, fps: float | None) -> int:
        if self.cycle:
            return self.crops
        length, total = self._length(clip, fps), self._count(clip, fps)
        return 1 if length == total else self.crops * -(-total // length)

    def _bytes(self, source: Source) -> float:
        sizes = [self.size or clip.size for clip in source.clips]
        return sum(3.0 * clip.frames * a * b for clip, (a, b) in zip(source.clips, sizes, strict=True))

    def _prepared(self, clip: Clip, first: int, count: int) -> Video:
        """Frames of a clip, at this set's size and the clip's own rate.

        Raises:
            ValueError, OSError: they cannot be read.
        """
        video = clip.read(first, count)
        return Video(fitted(video, self.size), video.fps) if self.size else Video(video.frames, video.fps)

    def _decode(self, source: Source) -> Source:
        """Fills the cache; the clips that are in it."""
        self._cache, rows = [], np.zeros(len(source.clips), dtype=bool)
        for row, clip in enumerate(source.clips):
            try:
                self._cache.append(self._prepared(clip, 0, clip.frames))
                rows[row] = True
            except (ValueError, OSError) as error:
                self.problems.append(
                    Problem(clip.file, error.reason if isinstance(error, VideoError) else str(error))
                )
        return source.kept(rows)

    # --- items --------------------------------------------------------------------------------------------

    def _item(self, index: int) -> tuple[Video, float]:
        """(clip, the time at which it begins in seconds) of an item."""
        row, fps = self._items[index]
        clip, rng = self.source.clips[row], Stream.of(self.seed, [index])
        length, total, rate = self._length(clip, fps), self._count(clip, fps), fps or clip.fps
        if not self.cycle and length == total:
            return self._whole(row).at(rate), 0.0
        first = int(rng.fold("crop").integers(total if self.cycle else total - length + 1, (1,)))
        begin = first / rate
        if self._cache is None and not self.cycle:
            shown = shown_at(clip.frames, clip.fps, rate)[first : first + length]
            low = int(shown[0])
            made = self._prepared(clip, low, int(shown[-1]) - low + 1)
            return Video(made.frames[shown - low], rate), begin
        whole = self._whole(row).at(rate)
        return Video(whole.frames[(first + np.arange(length)) % len(whole)], rate), begin

    def _whole(self, row: int) -> Video:
        clip = self.source.clips[row]
        return self._cache[row] if self._cache is not None else self._prepared(clip, 0, clip.frames)


def open_data(
    spec: Any,
    split: str | None = None,
    *,
    where: Mapping[str, Any] | None = None,
    leave_out: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> VideoDataset:
    """The data set that `spec` stands for.

    Args:
        spec: an .npz file of clips; a folder of files, or of the splits' folders (train/, test/, …); or a data set, which
            is returned as it is.
        split: which part; None takes everything there is.
        where, leave_out: which clips, by columns; see :meth:`langevin.modalities.recordings.Recordings.selected`.
        options: of :class:`ClipDataset`. For folders, ``conditions`` may also be "auto", "prompt", "label" or "none".

    Raises:
        FileNotFoundError: nothing is at this path.
        ValueError: it is there, but not a data set; or an option that it does not take.
    """
    if split is not None and not isinstance(split, str):
        raise ValueError(f"data.split must be a name, got {split!r}")
    if not isinstance(spec, str | Path):
        if isinstance(spec, VideoDataset):
            return spec
        raise ValueError(f"data must be a path or a data set; got {type(spec).__name__}")
    known = [n for n in inspect.signature(ClipDataset).parameters if n != "source"]
    for name in options:
        if name not in known:
            allowed = ["path", "split", "modality", "where", "leave_out", *known]
            raise ValueError(unknown("key of data", name, allowed))
    path = Path(spec).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"data {str(spec)!r}: there is no such file or folder")
    if path.is_dir():
        path, split = part_of(path, split)
        wanted = options.get("conditions")
        source = folder_source(path, wanted if isinstance(wanted, str) else "auto")
        options = {k: v for k, v in options.items() if k != "conditions" or not isinstance(v, str)}
    elif path.suffix.lower() == ".npz":
        source = npz_source(path)
    else:
        hint = "give the folder it is in" if path.suffix.lower() in EXTENSIONS else "unpack it or convert it"
        raise ValueError(
            f"data {str(spec)!r} is a single file, not an .npz archive or a folder of clips: {hint}"
        )
    return ClipDataset(source.selected(split, where, leave_out), **options)


def _check(size: Any, fps: Any, frames: Any, crops: Any, errors: str) -> None:
    if errors not in ("raise", "skip"):
        raise ValueError(unknown("value of errors", errors, ("raise", "skip")))
    for name, value in (("frames", frames), ("crops", crops)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"data.{name} must be a whole number from 1, got {value!r}")
    sides = [] if size is None else [size] if isinstance(size, int) else list(size)
    if (
        len(sides) not in (0, 1, 2)
        or (isinstance(size, list | tuple) and len(sides) != 2)
        or not all(isinstance(s, int) and s > 0 for s in sides)
    ):
        raise ValueError(f"data.size must be a side in pixels or (height, width), got {size!r}")
    for rate in fps if isinstance(fps, list | tuple) and fps else [fps]:
        number = isinstance(rate, int | float) and not isinstance(rate, bool)
        if rate is not None and (not number or not 0 < rate <= 1000):
            raise ValueError(
                f"data.fps must be above 0 and at most 1000, or a list of such rates; got {fps!r}"
            )
