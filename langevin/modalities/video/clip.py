"""A clip: frames, how many of them there are in a second, and a sound track where it has one.

    frames      uint8 (T, H, W, 3), RGB, each shown for 1 / fps seconds: frame k from k / fps to (k + 1) / fps
    fps         frames per second
    audio       float32 (channels, n) and its rate in Hz; it begins with the first frame

A picture is a clip of one frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Frames", "Track", "Video"]

Frames = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Track:
    """A sound track.

    Args:
        samples: (channels, n), or (n,) for one channel; floats with full scale [−1, 1], or int16, which is divided by
            32768. An array or a tensor.
        rate: samples per second of one channel, Hz.

    Raises:
        ValueError: no samples, NaN or infinity, another shape or type, or a rate that is no positive whole number.
    """

    samples: NDArray[np.float32]
    rate: int

    def __post_init__(self) -> None:
        given: NDArray[Any] = np.asarray(self.samples)
        if given.dtype == np.int16:
            given = given.astype(np.float32) / 32768
        if given.dtype.kind != "f":
            raise ValueError(f"samples must be floats in [−1, 1] or int16; got {given.dtype}")
        samples = np.ascontiguousarray(np.atleast_2d(given), dtype=np.float32)
        if samples.ndim != 2 or 0 in samples.shape:
            raise ValueError(f"samples must have shape (channels, n), none of them 0; got {given.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("samples must be finite; they hold NaN or infinity")
        if isinstance(self.rate, bool) or int(self.rate) != self.rate or self.rate < 1:
            raise ValueError(f"rate must be a positive whole number of Hz; got {self.rate!r}")
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "rate", int(self.rate))

    def __len__(self) -> int:
        return int(self.samples.shape[1])

    def __repr__(self) -> str:
        return f"Track({self.seconds:.3f} s, {self.rate} Hz, {len(self.samples)} channels)"

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self) / self.rate

    def lasting(self, seconds: float) -> Track:
        """The track cut, or silent at its end, so that it lasts so long: round(seconds · rate) samples, at least one."""
        n = max(1, round(seconds * self.rate))
        missing = max(0, n - len(self))
        return Track(np.pad(self.samples[:, :n], ((0, 0), (0, missing))), self.rate)


@dataclass(frozen=True, eq=False)
class Video:
    """Frames and their rate.

    Args:
        frames: uint8 (T, H, W, 3), RGB; an array or a tensor, kept as it is and seen as read-only. Other kinds go
            through :meth:`of`.
        fps: frames per second.
        audio: a :class:`Track`, or anything else that has ``samples`` (channels, n) and a ``rate`` in Hz; None for a
            silent clip. It may be shorter or longer than the frames.

    Raises:
        ValueError: no frames, another shape or type, or a frame rate that is not finite and positive.
    """

    frames: Frames
    fps: float
    audio: Track | None = None

    def __post_init__(self) -> None:
        frames = np.asarray(self.frames)
        if frames.dtype != np.uint8:
            raise ValueError(f"frames must hold uint8 values 0 … 255; got dtype {frames.dtype}")
        if frames.ndim != 4 or frames.shape[-1] != 3:
            raise ValueError(
                f"frames must have shape (T, H, W, 3); got {frames.shape}: Video.of takes grey and RGBA"
            )
        if 0 in frames.shape:
            raise ValueError(f"a clip must have at least one frame of one pixel; got {frames.shape}")
        frames = np.ascontiguousarray(frames).view()
        frames.flags.writeable = False
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "fps", _fps(self.fps))
        if self.audio is not None and not isinstance(self.audio, Track):
            sound: Any = self.audio
            if not hasattr(sound, "samples") or not hasattr(sound, "rate"):
                raise ValueError(f"audio must have samples and a rate; got {type(sound).__name__}")
            object.__setattr__(self, "audio", Track(sound.samples, sound.rate))

    @classmethod
    def of(cls, frames: Any, fps: float, audio: Any = None) -> Video:
        """A clip of frames of any kind; grey becomes RGB, and what is transparent is laid over white.

        Args:
            frames: uint8 (T, H, W), (T, H, W, 1), (T, H, W, 3) or (T, H, W, 4); or a sequence of pictures of one size:
                PIL images, or uint8 arrays (H, W), (H, W, 1 | 3 | 4). One PIL image is a clip of one frame.
            fps: frames per second.
            audio: as for the class.

        Raises:
            ValueError: as the class does; frames of different sizes.
        """
        return cls(_rgb(frames), fps, audio)

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    def __repr__(self) -> str:
        width, height = self.size
        count = f"{len(self)} frame" + ("s" if len(self) > 1 else "")
        sound = "" if self.audio is None else f", sound {self.audio.seconds:.3f} s at {self.audio.rate} Hz"
        return f"Video({count}, {width} x {height}, {self.fps:g} fps, {self.seconds:.3f} s{sound})"

    def _repr_html_(self) -> str:
        from langevin.modalities.video.view import to_html

        return to_html(self)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.frames.shape[2]), int(self.frames.shape[1])

    @property
    def seconds(self) -> float:
        """Duration of the frames."""
        return len(self) / self.fps

    def resized(self, width: int, height: int) -> Video:
        """The clip at another size; the ratio of the sides may change.

        Whole-number reductions are box averages, rounded; everything else is resampled with Lanczos's filter.

        Raises:
            ValueError: a side below one pixel.
        """
        if width < 1 or height < 1:
            raise ValueError(f"a clip must be at least 1 x 1 pixels; got {width} x {height}")
        if (width, height) == self.size:
            return self
        from PIL import Image

        whole = self.size[0] % width == 0 and self.size[1] % height == 0
        method = Image.Resampling.BOX if whole else Image.Resampling.LANCZOS
        frames = np.empty((len(self), height, width, 3), np.uint8)
        for k, frame in enumerate(self.frames):
            frames[k] = np.asarray(Image.fromarray(frame).resize((width, height), method))
        return replace(self, frames=frames)

    def at(self, fps: float) -> Video:
        """The clip at another frame rate: at each time the frame that is shown then, none mixed; the sound is kept.

        It has round(T · fps / old fps) frames, at least one, and frame k shows what the old clip does in the middle of it.

        Raises:
            ValueError: a frame rate that is not finite and positive.
        """
        fps = _fps(fps)
        if fps == self.fps:
            return self
        return replace(self, frames=self.frames[shown_at(len(self), self.fps, fps)], fps=fps)

    def cropped(self, start: float = 0.0, seconds: float | None = None) -> Video:
        """A part of the clip in time, with the sound of that part.

        Args:
            start: in seconds; the first frame is that with the nearest beginning.
            seconds: duration; to the end when None.

        Raises:
            ValueError: it does not lie within the clip.
        """
        first = round(start * self.fps)
        last = len(self) if seconds is None else first + round(seconds * self.fps)
        if not 0 <= first < last <= len(self):
            asked = f"{start:g} s to " + ("the end" if seconds is None else f"{start + seconds:g} s")
            raise ValueError(f"{asked} is no part of a clip of {self.seconds:g} s")
        audio = self.audio
        if audio is not None:
            ends = (round(k / self.fps * audio.rate) for k in (first, last))
            samples = audio.samples[:, slice(*ends)]
            audio = Track(samples, audio.rate) if samples.shape[1] else None
        return Video(self.frames[first:last], self.fps, audio)

    def picture(self) -> Image:
        """A contact sheet: up to eight frames beside each other."""
        from langevin.modalities.video.view import contact

        return contact(self)

    def save(self, path: str | Path, quality: int | None = None, codec: str | None = None) -> str:
        """Writes a file; see :func:`langevin.modalities.video.files.write`."""
        from langevin.modalities.video.files import write

        return write(self, path, quality=quality, codec=codec)


def shown_at(count: int, fps: float, rate: float) -> NDArray[np.int64]:
    """The frame of ``count`` at ``fps`` that is shown in the middle of each frame at ``rate``, as by :meth:`Video.at`."""
    frames = max(1, round(count * rate / fps))
    shown = np.floor((np.arange(frames) + 0.5) * (fps / rate)).astype(np.int64)
    return shown.clip(0, count - 1)


def _fps(value: Any) -> float:
    try:
        fps = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"fps must be a number of frames per second; got {value!r}") from None
    if isinstance(value, bool) or not math.isfinite(fps) or fps <= 0:
        raise ValueError(f"fps must be finite and positive; got {value!r}")
    return fps


def _rgb(frames: Any) -> Frames:
    """(T, H, W, 3) of frames as :meth:`Video.of` takes them."""
    from PIL.Image import Image

    if isinstance(frames, Image):
        frames = [frames]
    if isinstance(frames, Sequence):
        pictures = [
            np.asarray(f.convert("RGBA" if f.has_transparency_data else "RGB")) if isinstance(f, Image) else f
            for f in frames
        ]
        frames = [_flat(np.asarray(p)) for p in pictures]
        if not frames:
            raise ValueError("a clip must have at least one frame")
        if len({f.shape for f in frames}) > 1:
            sizes = ", ".join(f"{w} x {h}" for h, w, _ in sorted({f.shape for f in frames})[:4])
            raise ValueError(f"frames of one clip must have one size; got {sizes}")
        return np.stack(frames)
    array = np.asarray(frames)
    return _flat(array[..., None] if array.ndim == 3 else array)


def _flat(array: NDArray[Any]) -> Frames:
    """RGB of grey (…, 1), or (H, W), of RGB, and of RGBA over white."""
    if array.dtype != np.uint8:
        raise ValueError(f"frames must hold uint8 values 0 … 255; got dtype {array.dtype}")
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim not in (3, 4) or array.shape[-1] not in (1, 3, 4):
        raise ValueError(f"frames must have 1, 3 or 4 channels last; got shape {array.shape}")
    if array.shape[-1] == 1:
        return np.repeat(array, 3, -1)
    if array.shape[-1] == 3:
        return array
    alpha = array[..., 3:].astype(np.uint32)
    return ((array[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
