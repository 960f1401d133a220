"""What all kinds of video files have in common: an error, bounds on what strangers' files may claim, an open file.

An open file has its frames as they are stored, with the times at which they are shown, and its sound track.
:class:`langevin.modalities.video.reading.Reader` brings them to one frame rate.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.video.clip import Frames, Track

__all__ = [
    "MAX_FRAMES",
    "MAX_PIXELS",
    "MEMORY",
    "Opened",
    "VideoError",
    "check_size",
    "parse_remark",
    "remark",
]

MAX_PIXELS = 89_478_485  # of one frame: 256 MiB of RGB
MAX_FRAMES = 10_000_000  # of one file: 4.6 days at 25 fps
MEMORY = 4 << 30  # bytes of frames that one read takes at most
REMARK = re.compile(r"langevin: (\d{1,6}) x (\d{1,6}) pixels, (\d[0-9.e+-]{0,30}) fps")


class VideoError(ValueError):
    """A file that is not a usable clip. ``file`` names it, ``reason`` says why."""

    def __init__(self, file: Path | str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file, self.reason = Path(file), reason


class Opened(ABC):
    """An open file.

    Attributes:
        path: the file.
        size: width and height of a frame as it is given out, in pixels.
        starts: (n,) seconds from the beginning at which each stored frame is shown, not decreasing, the first 0.
        end: seconds at which the last one ends; above ``starts[-1]``.
        rates: frame rates that the file says or suggests, the surest first.
        sound: sample rate in Hz and number of channels of the sound track; None where there is none.
    """

    path: Path
    size: tuple[int, int]
    starts: NDArray[np.float64]
    end: float
    rates: tuple[float, ...] = ()
    sound: tuple[int, int] | None = None

    @abstractmethod
    def stored(self, first: int) -> Iterator[tuple[int, Frames]]:
        """Stored frames and their numbers, from number ``first`` or an earlier one on.

        Raises:
            VideoError: damaged.
        """

    def track(self, start: float, seconds: float) -> Track | None:
        """The sound of ``seconds`` seconds from ``start`` on, silent where there is none; None without a sound track.

        Raises:
            VideoError: damaged, or more than 4 GiB of samples.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Closes the file."""


def check_size(path: Path, width: int, height: int) -> None:
    """Refuses frames of no pixels, or of too many.

    Raises:
        VideoError: either.
    """
    if width < 1 or height < 1:
        raise VideoError(path, f"its frames have {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise VideoError(
            path, f"frames of {width} x {height} pixels are more than the allowed {MAX_PIXELS} pixels"
        )


def remark(size: tuple[int, int], fps: float) -> str:
    """The comment in a file, from which the reader learns the size before padding and the exact frame rate."""
    return f"langevin: {size[0]} x {size[1]} pixels, {fps!r} fps"


def parse_remark(text: object) -> tuple[tuple[int, int], float] | None:
    """Size and frame rate of a comment that :func:`remark` wrote; None of any other."""
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    found = REMARK.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        return None
    try:
        fps = float(found[3])
    except ValueError:
        return None
    return ((int(found[1]), int(found[2])), fps) if 0 < fps < 1e6 else None
