"""What clips are asked for beside the verbs of the core, each a use of *keep*: see :mod:`langevin.core.keep`.

    connect(model, first, second, 4)        the first clip, four new frames that lead over, the second clip
    close(model, clip, 4)                   the clip, and four frames that lead back to its beginning: it loops
    precede(model, clip, 16)                sixteen frames that come before the clip, then the clip
    slow(model, clip, 2)                    every frame of the clip, and a new one after each

The user's frames are in the result as they are, at the model's size and rate. The model sees the nearest of them, or of what
it drew before, in windows as long as its clips, so that memory does not grow with the clip's length; the frames between two
clips are drawn at once. Further arguments (``prompt``, ``steps``, ``guidance``, ``seed`` …) are those of ``model.sample``.
Nothing is cross-faded at the joins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from langevin.core import keep
from langevin.modalities.base import Failure
from langevin.modalities.video.clip import Frames, Video

if TYPE_CHECKING:
    from langevin.core.model import Model

__all__ = ["close", "connect", "precede", "slow"]


def connect(
    model: Model, first: Any, second: Any, frames: int, *, context: int | None = None, **options: Any
) -> Video:
    """Two clips with new frames between them that lead from one to the other.

    Args:
        model: of clips.
        first, second: clips.
        frames: new ones, at least 1.
        context: frames of each clip that the model sees; as many as fit into its clips when None, at least 1.
        options: of ``model.sample``.

    Raises:
        ValueError: numbers of frames that cannot be, or what ``sample`` refuses.
    """
    before, after = model.modality.shown(first), model.modality.shown(second)
    if before.shape[1:] != after.shape[1:]:
        sizes = " and ".join(f"{part.shape[1]} x {part.shape[2]}" for part in (before, after))
        raise ValueError(
            f"clips of {sizes} pixels (height x width) cannot be connected; bring them to one size"
        )
    room = max(1, (model.modality.frames - _whole("frames", frames)) // 2)
    seen = room if context is None else _whole("context", context)
    left, right = before[-seen:], after[:seen]
    window = np.concatenate([left, np.repeat(left[-1:], frames, 0), right])
    drawn = _drawn(model, window, [*range(len(left)), *range(len(left) + frames, len(window))], 0, options)
    made = np.concatenate([before, drawn[len(left) : len(left) + frames], after])
    return Video(made, _rate(model, first, options), getattr(first, "audio", None))


def close(model: Model, clip: Any, frames: int, *, context: int | None = None, **options: Any) -> Video:
    """A clip with new frames after its end that lead back to its beginning; arguments and errors as of :func:`connect`."""
    own = model.modality.shown(clip)
    both = connect(model, clip, clip, frames, context=context, **options)
    return Video(both.frames[: len(own) + frames], both.fps, both.audio)


def precede(model: Model, clip: Any, frames: int, *, overlap: int | None = None, **options: Any) -> Video:
    """A clip with new frames before its beginning, window before window.

    The sound of the clip is left out, since it would begin too early.

    Args:
        model: of clips.
        clip: what comes after.
        frames: new ones, at least 1.
        overlap: frames of what comes after that a window sees; half of the model's clips when None.
        options: of ``model.sample``; window k is sample number k under the seed.

    Raises:
        ValueError: numbers of frames that cannot be, or what ``sample`` refuses.
    """
    made, length = model.modality.shown(clip), model.modality.frames
    seen = max(1, length // 2) if overlap is None else _whole("overlap", overlap)
    if seen >= length:
        raise ValueError(f"overlap must be less than the {length} frames of the model's clips, got {seen}")
    parts, head, left, number = [made], made[:seen], _whole("frames", frames), 0
    while left:
        new = min(left, length - len(head))
        window = np.concatenate([np.repeat(head[:1], new, 0), head])
        drawn = _drawn(model, window, list(range(new, len(window))), number, options)[:new]
        parts.append(drawn)
        head, left, number = np.concatenate([drawn, head])[:seen], left - new, number + 1
    return Video(np.concatenate(parts[::-1]), _rate(model, clip, options))


def slow(model: Model, clip: Any, factor: int, **options: Any) -> Video:
    """Slow motion: ``factor`` frames for each of the clip's, all but the first of them new. The sound is left out.

    Args:
        model: of clips.
        clip: at least two frames.
        factor: at least 2, and less than the number of frames of the model's clips.
        options: of ``model.sample``; window k is sample number k under the seed.

    Raises:
        ValueError: a factor or a clip that cannot be, or what ``sample`` refuses.
    """
    own, length = model.modality.shown(clip), model.modality.frames
    if _whole("factor", factor) < 2 or factor >= length:
        raise ValueError(f"factor must lie between 2 and {length - 1} for this model, got {factor}")
    if len(own) < 2:
        raise ValueError("a clip of one frame has no motion; give at least two frames")
    per = (length - 1) // factor  # of the clip's own frames in a window, after the first
    parts = []
    for number, low in enumerate(range(0, len(own) - 1, per)):
        part = own[low : low + per + 1]
        window = np.repeat(part, factor, 0)[: (len(part) - 1) * factor + 1]
        parts.append(_drawn(model, window, list(range(0, len(window), factor)), number, options)[:-1])
    return Video(np.concatenate([*parts, own[-1:]]), _rate(model, clip, options))


def _drawn(model: Model, window: Frames, kept: list[int], number: int, options: dict[str, Any]) -> Frames:
    """The frames of a window with those that are not kept drawn."""
    if "n" in options:
        raise ValueError("one clip is made at a time; leave out n, and give another seed for another one")
    like = Video(window, float(options.get("fps", model.modality.fps)))
    number += options.get("first", 0)
    made = model.sample(1, like=like, keep=keep.frames(*kept), **{**options, "first": number})[0]
    if isinstance(made, Failure):
        raise ValueError(made.reason)
    frames: Frames = made.frames
    return frames


def _rate(model: Model, clip: Any, options: dict[str, Any]) -> float:
    """Frames per second of what is made of a clip."""
    return float(options.get("fps", model.modality.rate(clip)))


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    return value
