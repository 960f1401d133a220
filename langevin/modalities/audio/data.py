"""Sets of sounds: a folder of files, an npz archive, or a tar with its table.

Every set gives :class:`Audio` objects and conditions as raw values, in batches:

    sounds, conditions = data.batch([0, 5, 2])      # list of Audio; {"prompt": ["a dog barking", …]}

`data.conditions` names each condition and its kind: "text" (str), "class" (int, an index into `data.classes[name]`) or
"number" (float). Sets are read-only and hold no position: which items are drawn, and in which order, is the trainer's
matter.

**Crops.** With ``seconds``, a clip that is longer gives ``crops`` items for every ``seconds`` of it, each of them a
stretch that begins at a random place; the place follows from the seed and the item's number. With ``timing`` they carry
the conditions "begin" and "total", in seconds: what the crop's beginning and the whole clip's length are (Evans et al.,
2024, arXiv 2402.04825).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.core.rng import Stream
from langevin.modalities.audio.files import EXTENSIONS, SoundError
from langevin.modalities.audio.sound import Audio, Samples, level
from langevin.modalities.audio.sources import Clip, Source, folder_source, npz_source, tar_source
from langevin.modalities.captions import Problem, report
from langevin.modalities.recordings import part_of

__all__ = ["AudioDataset", "SoundDataset", "clipped", "open_data"]

Indices = Sequence[int] | NDArray[np.integer]

PADS = ("none", "end", "random")
TRIES = 8  # places that a crop may begin at before a silent one is taken
FULL = 0.999  # of full scale
RUN = 3  # samples at full scale, one after another, that are clipping rather than a peak


@runtime_checkable
class AudioDataset(Protocol):
    """What training and evaluation need of a set of sounds."""

    conditions: dict[str, str]  # name -> "text" | "class" | "number" | "sound"
    classes: dict[str, tuple[str, ...]]  # names of the classes of each "class" condition
    class_names: tuple[str, ...]  # those of "label"; empty without one
    licence: str | None
    attribution: str | None

    def __len__(self) -> int: ...

    def batch(self, indices: Indices) -> tuple[list[Audio], dict[str, list[Any]]]:
        """Sounds and, for every condition, the list of its raw values."""
        ...


def clipped(samples: Samples) -> float:
    """Share of the samples (channels, n) that lie in runs of three or more at full scale."""
    share = 0
    for channel in samples:
        full = np.concatenate([[0], (np.abs(channel) >= FULL).astype(np.int8), [0]])
        steps = np.diff(full)
        lengths = np.flatnonzero(steps == -1) - np.flatnonzero(steps == 1)
        share += int(lengths[lengths >= RUN].sum())
    return share / samples.size


class SoundDataset:
    """The sounds of a source, prepared alike.

    Sets that fit into ``memory`` are decoded once, here, and files that cannot be used are named: all of them in one
    error, or, with errors="skip", in `problems` and one warning. Larger sets are decoded item by item, and then damage is
    only met there: with errors="skip" the next clip that can be read takes its place.

    Args:
        source: clips and their columns.
        rate: Hz, to which all are resampled; None keeps each clip's own.
        channels: 1 (mono) or 2 (stereo); None keeps each clip's own.
        seconds: longest duration of an item; None takes clips whole.
        crops: items for every ``seconds`` of a clip.
        pad: shorter items stay as they are ("none"), or are filled with silence to ``seconds``, at their end or on both
            sides in random parts.
        seed: of what is random.
        lufs: loudness to which every item is brought, in LUFS.
        peak: level to which every item's peak is brought, in dBFS; at most one of the two.
        silence: dBFS (:func:`~langevin.modalities.audio.sound.level`); quieter clips are left out, named in `silent`, and
            crops are drawn again. None keeps all.
        clipping: share of clipped samples above which a clip cannot be used; None allows any.
        timing: whether items have the conditions "begin" and "total".
        conditions: condition to column of the source; the usual ones when None.
        errors: "raise" refuses the set if any clip cannot be used, "skip" leaves such clips out.
        memory: bytes up to which decoded clips are kept.
        licence, attribution: of the sounds; those of the source when None.

    Attributes:
        lengths: samples of each item, by which batches are made; None where all items have the same number.
        problems: clips that cannot be used.
        silent: clips that were left out because they are silent.

    Raises:
        ValueError: options that cannot be, clips that cannot be used with errors="raise", or none left.
    """

    def __init__(
        self,
        source: Source,
        *,
        rate: int | None = None,
        channels: int | None = 1,
        seconds: float | None = None,
        crops: int = 1,
        pad: str = "none",
        seed: int = 0,
        lufs: float | None = None,
        peak: float | None = None,
        silence: float | None = -60.0,
        clipping: float | None = 0.01,
        timing: bool = False,
        conditions: Mapping[str, str] | None = None,
        errors: str = "raise",
        memory: int = 2 << 30,
        licence: str | None = None,
        attribution: str | None = None,
    ) -> None:
        _check(rate, channels, seconds, crops, pad, lufs, peak, errors)
        self.rate, self.channels, self.seconds, self.crops, self.pad = rate, channels, seconds, crops, pad
        self.seed, self.lufs, self.peak, self.silence, self.clipping = seed, lufs, peak, silence, clipping
        self.timing, self.errors = timing, errors
        self.problems: list[Problem] = list(source.problems)
        self.silent: list[Path] = []
        self._cache: list[Audio] | None = None
        needed = sum(self._samples(clip, clip.frames) for clip in source.clips) * (channels or 2) * 4
        if needed <= memory:
            source = self._decode(source)
        self._report(source)
        if not source.clips:
            raise ValueError(f"{source.path}: no usable sounds are left")
        self.source = source
        self._columns = source.conditions(conditions)
        self.conditions = {name: source.kind(column) for name, column in self._columns.items()}
        self.classes = source.classes(self._columns)
        self.class_names = self.classes.get("label", ())
        if timing:
            self.conditions |= {"begin": "number", "total": "number"}
        self.licence, self.attribution = licence or source.licence, attribution or source.attribution
        self._items = [i for i, clip in enumerate(source.clips) for _ in range(self._count(clip))]
        lengths = [self._length(source.clips[i]) for i in self._items]
        self.lengths = lengths if len(set(lengths)) > 1 else None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def rows(self) -> list[int]:
        """The clip of the source that each item is of."""
        return self._items

    def batch(self, indices: Indices) -> tuple[list[Audio], dict[str, list[Any]]]:
        """Sounds and the conditions' raw values.

        Raises:
            IndexError: an index outside the set.
            SoundError: a damaged file, with errors="raise".
        """
        wrong = [int(i) for i in indices if not -len(self) <= i < len(self)]
        if wrong:
            raise IndexError(f"index {wrong[0]} is out of range for a set of {len(self)} sounds")
        found = [self._readable(int(i) % len(self)) for i in indices]
        rows = [self._items[i] for i, _, _ in found]
        values: dict[str, list[Any]] = {
            name: self.source.columns[column][rows].tolist() for name, column in self._columns.items()
        }
        if self.timing:
            clips = [self.source.clips[i] for i in rows]
            values["begin"] = [start for _, _, start in found]
            values["total"] = [clip.frames / clip.rate for clip in clips]
        return [sound for _, sound, _ in found], values

    # --- clips --------------------------------------------------------------------------------------------

    def _samples(self, clip: Clip, frames: int) -> int:
        """Samples at this set's rate of so many of the clip's."""
        return -(-frames * (self.rate or clip.rate) // clip.rate)

    def _window(self, clip: Clip) -> int | None:
        """Samples of the clip that an item takes; None for all of it."""
        if self.seconds is None or clip.frames <= round(self.seconds * clip.rate):
            return None
        return round(self.seconds * clip.rate)

    def _count(self, clip: Clip) -> int:
        window = self._window(clip)
        return self.crops if window is None else self.crops * -(-clip.frames // window)

    def _length(self, clip: Clip) -> int:
        if self.seconds is not None and (self._window(clip) or self.pad != "none"):
            return round(self.seconds * (self.rate or clip.rate))
        return self._samples(clip, clip.frames)

    def _prepared(self, clip: Clip, first: int = 0, count: int | None = None) -> Audio:
        """A part of a clip, with this set's rate and channels.

        Raises:
            SoundError: it cannot be read, or is clipped.
        """
        sound = clip.read(first, count)
        share = clipped(sound.samples) if self.clipping is not None else 0.0
        if share > (self.clipping or 0.0):
            raise SoundError(
                clip.file, f"clipped: {100 * share:.1f} % of its samples are cut off at full scale"
            )
        if self.channels is not None:
            sound = sound.mono() if self.channels == 1 else sound.stereo()
        return sound.resampled(self.rate or sound.rate)

    def _decode(self, source: Source) -> Source:
        """Fills the cache; the clips that are in it."""
        self._cache, rows = [], np.zeros(len(source.clips), dtype=bool)
        for row, clip in enumerate(source.clips):
            try:
                sound = self._prepared(clip)
            except SoundError as error:
                self.problems.append(Problem(clip.file, error.reason))
                continue
            if self._too_quiet(sound):
                self.silent.append(clip.file)
                continue
            self._cache.append(sound)
            rows[row] = True
        return source.kept(rows)

    def _report(self, source: Source) -> None:
        if not self.problems:
            return
        text = report(source.path, self.problems)
        if self.errors == "raise":
            raise ValueError(f'{text}\nMend or remove them, or leave them out with errors="skip".')
        warnings.warn(text, stacklevel=4)

    def _too_quiet(self, sound: Audio) -> bool:
        return self.silence is not None and level(sound.samples, sound.rate) < self.silence

    # --- items --------------------------------------------------------------------------------------------

    def _readable(self, index: int) -> tuple[int, Audio, float]:
        """(index, sound, start) of an item, or with errors="skip" of the next one that can be read."""
        known = {p.file for p in self.problems}
        for step in range(len(self)):
            here = (index + step) % len(self)
            clip = self.source.clips[self._items[here]]
            if clip.file in known:
                continue
            try:
                return (here, *self._item(here))
            except SoundError as error:
                if self.errors == "raise":
                    raise
                self.problems.append(Problem(clip.file, error.reason))
                known.add(clip.file)
                warnings.warn(f"{error}; the next sound takes its place", stacklevel=3)
        raise ValueError(f"{self.source.path}: none of its sounds can be read")

    def _item(self, index: int) -> tuple[Audio, float]:
        """(sound, start in seconds) of an item."""
        row = self._items[index]
        clip = self.source.clips[row]
        rng = Stream.of(self.seed, [index])
        window = self._window(clip)
        if window is None:
            sound, start = self._cache[row] if self._cache is not None else self._prepared(clip), 0.0
        else:
            sound, start = self._crop(row, window, rng)
        if self.lufs is not None or self.peak is not None:
            sound = sound.normalised(self.lufs, self.peak)
        if self.seconds is not None and self.pad != "none":
            sound = self._padded(sound, rng)
        return sound, start

    def _crop(self, row: int, window: int, rng: Stream) -> tuple[Audio, float]:
        """The first place that is not silent among those drawn, else the loudest."""
        clip = self.source.clips[row]
        wanted = self._length(clip)
        best: tuple[float, Audio, float] | None = None
        for draw in range(TRIES):
            first = int(rng.fold("crop", draw).integers(clip.frames - window + 1, (1,)))
            if self._cache is not None:
                whole = self._cache[row]
                place = min(first * whole.rate // clip.rate, len(whole) - wanted)
                sound = Audio(whole.samples[:, place : place + wanted], whole.rate)
            else:
                sound = _exactly(self._prepared(clip, first, window), wanted)
            loud = level(sound.samples, sound.rate)
            if best is None or loud > best[0]:
                best = loud, sound, first / clip.rate
            if self.silence is None or loud >= self.silence:
                break
        assert best is not None
        return best[1], best[2]

    def _padded(self, sound: Audio, rng: Stream) -> Audio:
        assert self.seconds is not None
        missing = round(self.seconds * sound.rate) - len(sound)
        if missing <= 0:
            return sound
        before = int(rng.fold("pad").integers(missing + 1, (1,))) if self.pad == "random" else 0
        return Audio(np.pad(sound.samples, ((0, 0), (before, missing - before))), sound.rate)


def open_data(
    spec: Any,
    split: str | None = None,
    *,
    where: Mapping[str, Any] | None = None,
    leave_out: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> AudioDataset:
    """The data set that `spec` stands for.

    Args:
        spec: an .npz file of recordings; a .tar of sound files with its .csv beside it; a folder of sound files, or of
            the splits' folders (train/, test/, …); or a data set, which is returned as it is.
        split: which part; None takes everything there is.
        where, leave_out: which clips, by columns; see :meth:`Source.selected`.
        options: of :class:`SoundDataset`. For folders, ``conditions`` may also be "auto", "prompt", "label" or "none".

    Raises:
        FileNotFoundError: nothing is at this path.
        ValueError: it is there, but not a data set; or an option that it does not take.
    """
    if split is not None and not isinstance(split, str):
        raise ValueError(f"data.split must be a name, got {split!r}")
    if not isinstance(spec, str | Path):
        if isinstance(spec, AudioDataset):
            return spec
        raise ValueError(f"data must be a path or a data set; got {type(spec).__name__}")
    known = [n for n in inspect.signature(SoundDataset).parameters if n != "source"]
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
    else:
        makers: dict[str, Callable[[Path], Source]] = {".npz": npz_source, ".tar": tar_source}
        if path.suffix.lower() not in makers:
            lone = path.suffix.lower() in EXTENSIONS
            hint = "give the folder it is in" if lone else "unpack it or convert it"
            raise ValueError(
                f"data {str(spec)!r} is a single file, not an .npz archive, a .tar with its table or a folder of "
                f"sounds: {hint}"
            )
        source = makers[path.suffix.lower()](path)
    return SoundDataset(source.selected(split, where, leave_out), **options)


def _exactly(sound: Audio, count: int) -> Audio:
    """The sound with ``count`` samples: resampling may give one more or less."""
    samples = sound.samples[:, :count]
    return Audio(np.pad(samples, ((0, 0), (0, count - samples.shape[1]))), sound.rate)


def _check(
    rate: int | None,
    channels: int | None,
    seconds: float | None,
    crops: int,
    pad: str,
    lufs: float | None,
    peak: float | None,
    errors: str,
) -> None:
    if errors not in ("raise", "skip"):
        raise ValueError(unknown("value of errors", errors, ("raise", "skip")))
    if pad not in PADS:
        raise ValueError(unknown("value of pad", pad, PADS))
    for name, value in (("rate", rate), ("crops", crops)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"data.{name} must be a whole number from 1, got {value!r}")
    if channels not in (None, 1, 2):
        raise ValueError(f"data.channels must be 1 or 2, got {channels!r}")
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0
    ):
        raise ValueError(f"data.seconds must be a positive number, got {seconds!r}")
    if pad != "none" and seconds is None:
        raise ValueError(f"data.pad={pad!r} without seconds: say how long items are to be")
    if lufs is not None and peak is not None:
        raise ValueError("data takes either lufs or peak; got both")
