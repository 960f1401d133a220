"""Parts of clips that are kept: which elements of a state that makes, and the user's own pixels put back.

A :class:`~langevin.core.keep.Keep` chooses on the grid (frames, rows, columns) of the clip at the model's size, whose first
axis has seconds as its unit:

    keep.frames(0)                    the first frame is kept: image-to-video
    keep.frames(0, -1)                the first and the last
    keep.seconds(0, 1)                what is shown in the first second
    keep.box(0, 0, 16, 32)            a rectangle of every frame

An element of the state is kept where all of its pixels are. Where whole frames are kept, a model that was trained with given
frames sees them clean; else elements follow the path to their known value. In the result kept pixels are the user's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langevin.core.keep import Grid, Keep
from langevin.modalities.video.codec import Codec

__all__ = ["chosen", "pixels", "put_back"]


def pixels(keep: Keep, frames: int, size: tuple[int, int], fps: float) -> Tensor:
    """Which pixels (T, H, W) of a clip are kept.

    Raises:
        ValueError: all of them.
    """
    shown = (torch.arange(frames, dtype=torch.float64) + 0.5) / fps  # the middle of each frame's time
    return keep(Grid((frames, *size), {"seconds": (0, shown)}))


def chosen(keep: Keep, codec: Codec, state: Tensor, clips: Sequence[tuple[int, float]]) -> Tensor:
    """Where a state (B, T, C, H, W) is kept: (B, T) where whole frames are, else in its own shape.

    Args:
        keep: chooses on the grid of a clip as the user knows it, before it was filled up to whole elements; what fills it
            is kept where its last frame is.
        codec: of the model.
        state: encoded clips.
        clips: (frames, frames per second) of each row.

    Raises:
        ValueError: all of a clip.
    """
    made = {clip: _elements(keep, codec, state, *clip) for clip in set(clips)}
    kept = torch.stack([made[clip] for clip in clips])  # (B, T, H, W)
    flat = kept.flatten(2)
    if bool((flat.all(2) | ~flat.any(2)).all()):
        return flat.all(2)
    return kept[:, :, None].expand(state.shape).clone()


def _elements(keep: Keep, codec: Codec, state: Tensor, length: int, fps: float) -> Tensor:
    """Which elements (T, H, W) of a row are kept, of a clip of so many frames."""
    _, elements, _, height, width = state.shape
    f, frames = codec.factor, codec.frames(elements)
    kept = pixels(keep, length, (height * f, width * f), fps)
    kept = torch.cat([kept, kept[-1:].expand(max(0, frames - length), -1, -1)])[:frames]
    kept = kept.reshape(frames, height, f, width, f).all(4).all(2)
    if frames == elements:
        return kept
    first = (
        frames - (elements - 1) * codec.stride
    )  # the first element may stand for fewer frames than the others
    return torch.cat([kept[:first].all(0)[None], kept[first:].unflatten(0, (elements - 1, -1)).all(1)])


def put_back(drawn: NDArray[np.uint8], own: NDArray[np.uint8], keep: Keep, fps: float) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) with the user's own pixels where they are kept."""
    where = pixels(keep, len(drawn), (drawn.shape[1], drawn.shape[2]), fps).numpy()[..., None]
    return np.where(where, own, drawn)
