"""Codecs of clips: what turns :class:`Video` objects into states (B, T, C, H, W) and back.

A state's element along time stands for ``stride`` frames (of a causal autoencoder the first one for a single frame), and
along the sides for ``factor`` pixels. Clips are brought to the codec's size as pictures are: scaled to cover it, and the
middle taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from langevin.core.registry import Registry
from langevin.modalities.base import Failure
from langevin.modalities.video.clip import Video

__all__ = ["CODECS", "Codec", "Pixels", "checked_size", "fitted", "lasting", "to_frames", "to_values"]

Frames = NDArray[np.uint8]
MAX_SIDE = 4096


@runtime_checkable
class Codec(Protocol):
    """Clips ↔ states.

    Attributes:
        channels: of a state's element.
        size: (height, width) in pixels to which clips are brought.
        factor: pixels of an element along a side.
        stride: frames of an element.
    """

    channels: int
    size: tuple[int, int]
    factor: int
    stride: int

    def elements(self, frames: int) -> int:
        """Elements along time for so many frames, rounded up."""
        ...

    def frames(self, elements: int) -> int:
        """Frames that so many elements stand for."""
        ...

    def encode(self, clips: Sequence[Frames]) -> Tensor:
        """Clips of one shape, each (frames, height, width, 3), to states (B, T, C, H, W) float32.

        Raises:
            ValueError: a number of frames that is not that of whole elements.
        """
        ...

    def decode(self, state: Tensor) -> list[Any]:
        """States to clips (frames, height, width, 3) uint8, or a :class:`Failure` where a state is not finite."""
        ...

    def decode_stream(self, states: Iterable[Tensor]) -> Iterator[list[Any]]:
        """States (B, t, C, H, W) that follow one another to clips that do, a list of B after the other."""
        ...


def fitted(video: Video, size: tuple[int, int]) -> Frames:
    """The frames of a clip at (height, width): scaled to cover it, and the middle taken."""
    (height, width), (own_width, own_height) = size, video.size
    scale = max(height / own_height, width / own_width)
    rows, columns = max(height, round(own_height * scale)), max(width, round(own_width * scale))
    frames = video.resized(columns, rows).frames
    top, left = (rows - height) // 2, (columns - width) // 2
    return frames[:, top : top + height, left : left + width]


def to_values(frames: Frames) -> Tensor:
    """Frames (T, H, W, 3) uint8 to values (T, 3, H, W) float32 in [−1, 1]."""
    return rearrange(torch.tensor(frames), "t h w c -> t c h w").float() / 127.5 - 1


def to_frames(values: Tensor) -> Frames:
    """Values (T, 3, H, W) to frames (T, H, W, 3) uint8; what is beyond [−1, 1] is clipped."""
    levels = ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return rearrange(levels, "t c h w -> t h w c").contiguous().numpy()


def lasting(clip: Frames, frames: int) -> Frames:
    """A clip of so many frames: its last one goes on."""
    missing = frames - len(clip)
    return np.concatenate([clip, np.repeat(clip[-1:], missing, 0)]) if missing > 0 else clip


def checked_size(size: Any) -> tuple[int, int]:
    """(height, width) of a side or of both.

    Raises:
        ValueError: a size that cannot be.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(s, int) and 1 <= s <= MAX_SIDE for s in sides):
        raise ValueError(f"size must be a side or (height, width), from 1 to {MAX_SIDE} pixels; got {size!r}")
    return sides[0], sides[1]


CODECS = Registry("video codec", Codec)  # type: ignore[type-abstract]


@CODECS.register("pixels")
class Pixels:
    """Pixels as they are, three channels in [−1, 1].

    Args:
        size: side of a square clip in pixels, or (height, width).

    Raises:
        ValueError: a size that cannot be.
    """

    channels, factor, stride = 3, 1, 1

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = checked_size(size)

    def elements(self, frames: int) -> int:
        return frames

    def frames(self, elements: int) -> int:
        return elements

    def encode(self, clips: Sequence[Frames]) -> Tensor:
        return torch.stack([to_values(clip) for clip in clips])

    def decode(self, state: Tensor) -> list[Any]:
        return [
            to_frames(x) if bool(torch.isfinite(x).all()) else Failure("the state holds NaN or infinity")
            for x in state.float().cpu()
        ]

    def decode_stream(self, states: Iterable[Tensor]) -> Iterator[list[Any]]:
        return map(self.decode, states)
