"""Long clips: windows of frames, played while they are drawn, and clips that are continued.

A window begins with the last ``overlap`` frames of the one before, or of the user's clip. A model that was trained with
given frames is shown them clean. The result of a continuation begins with the user's own frames at the model's size and
rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image
from torch import Tensor

from langevin.core.streaming import Windows
from langevin.modalities.base import Failure
from langevin.modalities.video.clip import Frames, Video
from langevin.modalities.video.codec import Codec

if TYPE_CHECKING:
    from langevin.modalities.video.modality import VideoModality

__all__ = ["windows"]


def windows(
    modality: VideoModality,
    spec: Any,
    frames: int,
    window: int,
    overlap: int | None,
    after: Sequence[Any] | None,
) -> Windows:
    """The windows of clips.

    Args:
        modality: of the model.
        spec: the user's, which the windows have but for their length.
        frames: that are new.
        window: frames of a window.
        overlap: frames that it has of the window before; half of it when None.
        after: a clip for each sample, which it continues.

    Raises:
        ValueError: lengths that cannot be, clips that cannot be continued, or a size beside clips, which have their own.
    """
    if window < 2:
        raise ValueError(f"window must be at least 2 frames, some seen and some drawn; got {window}")
    asked = max(1, window // 2) if overlap is None else overlap
    if not 0 < asked < window:
        raise ValueError(
            f"overlap must be at least 1 and less than the window of {window} frames, got {asked}"
        )
    codec, patch = modality.codec, modality.patch[0]
    length, shared, new = (modality.elements(n) for n in (window, asked, frames))
    if shared >= length:
        raise ValueError(
            f"overlap must be shorter than the window: in whole patches of {patch * codec.stride} frames both have "
            f"{length} elements"
        )
    context, before, own = None, 0, []
    size: dict[str, int] = {}
    if after is not None:
        _sizeless(spec)
        own = [modality.shown(_still(item, modality.fps), place) for place, item in enumerate(after)]
        sizes = sorted({clip.shape[1:3] for clip in own})
        if len(sizes) > 1:
            named = ", ".join(f"{height} x {width}" for height, width in sizes[:4])
            raise ValueError(
                f"clips of {named} pixels (height x width) cannot be continued together; bring them to one size"
            )
        context = _context(codec, own, max(shared, length - new), patch)
        before = context.shape[1]
        rows, columns = context.shape[-2:]
        size = {"height": rows * codec.factor, "width": columns * codec.factor}
    total = before + new
    if total < length:
        length = total  # one window, of which none is shared

    def play(states: Iterable[Tensor]) -> Iterator[list[Video]]:
        if after is not None:
            yield [
                Video(clip, modality.rate(item), getattr(item, "audio", None))
                for clip, item in zip(own, after, strict=True)
            ]
        for row in _within(codec.decode_stream(states), codec.frames(before) if before else 0, frames):
            yield [Video(clip, modality.fps) for clip in row]

    one = replace(
        spec, frames=codec.frames(length), seconds=None, window=None, overlap=None, rolling=False, **size
    )
    said = {"window": window, "overlap": asked}
    return Windows(
        one, length, min(shared, length - 1), total, play, said, context, rolling=spec.rolling, unit=patch
    )


def _sizeless(spec: Any) -> None:
    """Raises a ValueError where ``spec`` asks for a size beside clips that are continued."""
    sized = [name for name in ("height", "width") if getattr(spec, name, None) is not None]
    if sized:
        raise ValueError(
            f"what follows a clip has the clip's size at the model; leave out {' and '.join(sized)}, or draw a new clip"
        )


def _still(item: Any, fps: float) -> Any:
    """A picture as a clip of one frame."""
    return Video.of([item], fps) if isinstance(item, Image) else item


def _context(codec: Codec, clips: Sequence[Frames], elements: int, patch: int) -> Tensor:
    """The states (n, L, C, H, W) of the ends of clips, at most ``elements`` long, in whole patches.

    A clip that is shorter than a patch is preceded by its first frame.

    Raises:
        ValueError: one of several clips is too short to be seen as far as the others.
    """

    def reach(frames: int) -> int:
        held = patch
        while held + patch <= elements and codec.frames(held + patch) <= frames:
            held += patch
        return held

    if len({reach(len(clip)) for clip in clips}) > 1:
        raise ValueError(
            f"of clips that are continued together the same number of frames is seen, here {codec.frames(elements)}; "
            f"these have {', '.join(str(len(clip)) for clip in clips)}: continue them one after another"
        )
    count = codec.frames(reach(len(clips[0])))
    ends = [
        np.concatenate([np.repeat(clip[:1], max(0, count - len(clip)), 0), clip[-count:]]) for clip in clips
    ]
    return codec.encode(ends)


def _within(rows: Iterable[list[Any]], skipped: int, count: int) -> Iterator[list[Frames]]:
    """Pieces of clips without their first ``skipped`` frames, ``count`` frames in all.

    Raises:
        ValueError: a piece that cannot be decoded.
    """
    for row in rows:
        for piece in row:
            if isinstance(piece, Failure):
                raise ValueError(piece.reason)
        low = min(skipped, len(row[0]))
        high = min(len(row[0]), low + count)
        skipped, count = skipped - low, count - (high - low)
        if high > low:
            yield [piece[low:high] for piece in row]
        if not count:
            return
