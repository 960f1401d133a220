"""Video files as clips: whole, in part, or block by block; see :mod:`langevin.modalities.video.files`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.core.progress import note
from langevin.modalities.video.clip import Frames, Track, Video
from langevin.modalities.video.containers import Container
from langevin.modalities.video.opened import MAX_FRAMES, MEMORY, Opened, VideoError
from langevin.modalities.video.stored import Animation, Archive, Folder

__all__ = ["EXTENSIONS", "Info", "Reader", "VideoError", "info", "read"]

CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
ANIMATIONS = (".gif", ".apng", ".webp")
STILLS = (".png", ".jpg", ".jpeg", ".bmp")
EXTENSIONS = (".mp4", ".m4v", ".webm", ".mkv", ".mov", ".avi", ".gif", ".apng", ".webp", ".npz")
BLOCK = 16  # frames


@dataclass(frozen=True)
class Info:
    """What is in a file, as :func:`read` gives it.

    Attributes:
        size: width and height in pixels, rotated and without padding.
        fps: frames per second.
        frames: how many there are.
        sound: whether there is a sound track.
        uneven: whether the file's frames are not shown equally long, so that some are repeated or left out.
    """

    size: tuple[int, int]
    fps: float
    frames: int
    sound: bool
    uneven: bool = False

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.fps


class Reader:
    """An open video file; memory does not grow with its length.

        with Reader("long.mp4") as reader:
            for frames in reader.blocks(16):
                ...

    Frames that are not shown equally long are brought to one rate, that of the commonest duration, by taking the frame
    that is shown in the middle of each new one.

    Args:
        path: a file, or a folder of numbered PNGs.
        fps: frames per second of a folder that does not say.

    Attributes:
        info: size, frame rate and length.

    Raises:
        FileNotFoundError: no such file.
        VideoError: not a video file that can be read.
    """

    def __init__(self, path: str | Path, fps: float | None = None) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(f"no file {str(path)!r}")
        self._source = _open(self.path, fps)
        try:
            rate, self._shown, self._even = _timetable(self._source)
        except BaseException:
            self._source.close()
            raise
        self.info = Info(
            self._source.size, rate, len(self._shown), self._source.sound is not None, not self._even
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._source.close()

    def blocks(self, size: int = BLOCK, start: int = 0, frames: int | None = None) -> Iterator[Frames]:
        """Frames (≤ size, H, W, 3), one block after the other.

        Args:
            size: frames of a block; the last one may be shorter.
            start: first frame.
            frames: how many in all; to the end when None.

        Raises:
            VideoError: the file is damaged.
        """
        shown = self._shown[start : None if frames is None else start + frames]
        if not len(shown):
            return
        width, height = self.info.size
        block, held = np.empty((min(size, len(shown)), height, width, 3), np.uint8), 0
        source = self._source.stored(int(shown[0]))
        number, picture = next(source)
        ahead: tuple[int, Frames] | None = None
        for place, wanted in enumerate(shown):
            while number < wanted:  # the last one that is not beyond; numbers may have gaps
                ahead = ahead or next(source, None)
                if ahead is None or ahead[0] > wanted:
                    break
                (number, picture), ahead = ahead, None
            block[held] = picture
            held += 1
            if held == len(block):
                yield block
                left = len(shown) - place - 1
                block, held = np.empty((min(size, left), height, width, 3), np.uint8), 0

    def track(self, start: float = 0.0, seconds: float | None = None) -> Track | None:
        """The sound that plays with a part of the frames, silent where there is none; None without a sound track.

        Args:
            start: in seconds.
            seconds: duration; to the end of the frames when None.

        Raises:
            VideoError: the sound track is damaged, or takes more than 4 GiB.
        """
        return self._source.track(start, self.info.seconds - start if seconds is None else seconds)


def info(path: str | Path, fps: float | None = None) -> Info:
    """Size, frame rate, length and whether there is sound; at most one frame is decoded (of WebP, all).

    Args:
        path, fps: as for :class:`Reader`.

    Raises:
        FileNotFoundError: no such file.
        VideoError: not a video file that can be read.
    """
    with Reader(path, fps) as reader:
        return reader.info


def read(
    path: str | Path, start: float | None = None, seconds: float | None = None, fps: float | None = None
) -> Video:
    """The clip in a file, with its sound for as long as there are frames.

    Frames that are not shown equally long are brought to one rate (see :class:`Reader`), and a line on standard error
    says so.

    Args:
        path: a file, or a folder of numbered PNGs.
        start: in seconds; from the beginning when None.
        seconds: duration; to the end when None.
        fps: frames per second of a folder that does not say.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a beginning, duration or rate that is no finite number.
        VideoError: not a video file that can be read, a part that is not in it, or more than 4 GiB of frames.
    """
    for name, value in (("start", start), ("seconds", seconds)):
        if value is not None and not _finite(value):
            raise ValueError(f"{name} must be a finite number of seconds; got {value!r}")
    with Reader(path, fps) as reader:
        about = reader.info
        first = round((start or 0.0) * about.fps)
        count = about.frames - first if seconds is None else round(seconds * about.fps)
        if first < 0 or count < 1 or first + count > about.frames:
            asked = f"{start or 0:g} s to " + (
                "the end" if seconds is None else f"{(start or 0) + seconds:g} s"
            )
            raise VideoError(path, f"{asked} is no part of a clip of {about.seconds:g} s")
        width, height = about.size
        if count * width * height * 3 > MEMORY:
            raise VideoError(
                path,
                f"{count} frames of {width} x {height} pixels take more than 4 GiB; read a part of it, or use files.Reader",
            )
        if about.uneven:
            note(f"{path}: its frames are not shown equally long; they were brought to {about.fps:.5g} fps")
        frames, place = np.empty((count, height, width, 3), np.uint8), 0
        for block in reader.blocks(start=first, frames=count):
            frames[place : place + len(block)] = block
            place += len(block)
        return Video(frames, about.fps, reader.track(first / about.fps, count / about.fps))


def _finite(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _open(path: Path, fps: float | None) -> Opened:
    if fps is not None and not (_finite(fps) and 0 < fps < 1e6):
        raise ValueError(f"fps must be finite and positive; got {fps!r}")
    if path.is_dir():
        return Folder(path, fps)
    if not path.is_file():
        raise VideoError(path, "it is no regular file")
    if not path.stat().st_size:
        raise VideoError(path, "the file is empty")
    suffix = path.suffix.lower()
    if suffix in CONTAINERS:
        return Container(path)
    if suffix in (*ANIMATIONS, *STILLS):
        return Animation(path)
    if suffix == ".npz":
        return Archive(path)
    raise VideoError(path, unknown("suffix of a video file", suffix, (*EXTENSIONS, *STILLS)))


def _timetable(source: Opened) -> tuple[float, NDArray[np.int64], bool]:
    """Frame rate, the stored frame for each frame, and whether that is each of them once.

    Jitter of less than half a frame is none: the first rate at which every stored frame is shown once is taken.
    """
    starts, end = source.starts, source.end
    durations = np.diff(np.append(starts, end))
    usual = 1 / float(np.median(durations))
    for rate in (*source.rates, len(starts) / end, usual):
        if not 0 < rate < 1e6 or end * rate > MAX_FRAMES:
            continue
        shown = _shown(starts, end, rate)
        if len(shown) == len(starts) and (shown == np.arange(len(starts))).all():
            return rate, shown, True
    if end * usual > MAX_FRAMES:
        raise VideoError(source.path, f"{end:.6g} s at {usual:.6g} fps are more than {MAX_FRAMES} frames")
    return usual, _shown(starts, end, usual), False


def _shown(starts: NDArray[np.float64], end: float, rate: float) -> NDArray[np.int64]:
    """The stored frame that is shown in the middle of each frame of a rate."""
    middles = (np.arange(max(1, round(end * rate))) + 0.5) / rate
    return np.clip(np.searchsorted(starts, middles, "right") - 1, 0, len(starts) - 1).astype(np.int64)
