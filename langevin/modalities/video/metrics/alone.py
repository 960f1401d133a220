"""What can be said about clips without others to compare them with: whether they are there, how much and how evenly they
move, what flickers, whether the subject stays the same, how varied they are, and whether some are the same.

Grey levels are of 255, means over pixels and channels. With f_t the frames of a clip:

    motion         mean of |f_{t+1} − f_t|
    flicker        the same over static pixels alone: those of a mask, which :func:`static_pixels` takes from real clips,
                   or else those of the clip's own background (:func:`background`). By the mask it is exactly 0 for
                   the real clips; a background may hold a few pixels of a figure of nearly its colour
    smoothness     1 − |f_{t−1} − 2 f_t + f_{t+1}| / (|f_t − f_{t−1}| + |f_{t+1} − f_t|), numerator and denominator summed
                   over pixels and triples: 1 for a steady drift, 0 where every frame takes back what the one before did,
                   0.13 for independent Gaussian noise
    warp residual  what motion leaves unexplained (:mod:`langevin.modalities.video.metrics.warp`)
    constancy      intersection of the colour histograms of the figure in the first and in the last frame
    drift          distance of the first frame from the last, in features, over that of first frames of two different
                   clips: 0 for the same picture, 1 where it could as well be another clip's

A frozen clip has no flicker, is constant and does not drift, so motion belongs beside them. None of these says whether
clips are good: noise is varied. They find what has collapsed, and they compare runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter
from scipy.spatial.distance import pdist

from langevin.modalities.neighbours import spread
from langevin.modalities.statistics import Estimate, Table, bootstrap, median, wilson
from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics.colours import border_colour, histogram, intersection
from langevin.modalities.video.metrics.features import Extractor, RandomConv3d
from langevin.modalities.video.metrics.warp import warp_error

__all__ = [
    "background",
    "constancy",
    "describe",
    "drift",
    "flicker",
    "motion",
    "smoothness",
    "static_pixels",
    "steps",
]

MOST = 500  # clips whose distances and warp residuals are taken
TOLERANCE = 24  # grey levels within which a pixel has the border's colour


def steps(clip: Video, mask: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Mean change (T − 1,) between neighbouring frames, in grey levels.

    Args:
        mask: (H, W); the pixels over which the mean is taken, all of them when None.

    Raises:
        ValueError: a mask of another size than the frames, or without a pixel.
    """
    change = np.abs(np.diff(clip.frames.astype(np.int16), axis=0))  # (T − 1, H, W, 3)
    if mask is None:
        return np.asarray(change.mean((1, 2, 3)))
    if mask.shape != clip.frames.shape[1:3] or not mask.any():
        raise ValueError(
            f"mask must select pixels of {clip.frames.shape[1:3]}; got {mask.shape}, {int(mask.sum())} selected"
        )
    return np.asarray(change[:, mask].mean((1, 2)))


def motion(clip: Video) -> float:
    """Mean change between neighbouring frames, in grey levels; 0 for a single frame."""
    return float(steps(clip).mean()) if len(clip) > 1 else 0.0


def static_pixels(clips: Sequence[Video]) -> NDArray[np.bool_]:
    """Pixels (H, W) that change in none of the clips: what stands still in a data set of one layout.

    Raises:
        ValueError: no clips, or frames of different sizes.
    """
    if not clips or len({c.frames.shape[1:3] for c in clips}) > 1:
        raise ValueError(
            f"clips must be there and of one size; got {sorted({c.size for c in clips}) or 'none'}"
        )
    still = np.ones(clips[0].frames.shape[1:3], bool)
    for clip in clips:
        still &= (clip.frames == clip.frames[:1]).all((0, 3))
    return still


def background(clip: Video) -> NDArray[np.bool_]:
    """Pixels (H, W) that, with all others up to two pixels away, are in every frame within 24 grey levels of the border's
    colour.

    Nothing where the border has no one colour. What differs by more than the tolerance counts as a thing in front of the
    background, not as flicker of it: a mask of real clips has no such limit.
    """
    far = np.abs(clip.frames.astype(np.int16) - np.rint(border_colour(clip)).astype(np.int16))
    near = (far <= TOLERANCE).all((0, 3))
    return np.asarray(minimum_filter(near, 5, mode="nearest"))


def flicker(clip: Video, static: NDArray[np.bool_] | None = None) -> float:
    """Mean change between neighbouring frames on static pixels, in grey levels; 0 for a single frame.

    Args:
        static: (H, W), as :func:`static_pixels` finds it in real clips; :func:`background` when None, and NaN where
            that holds no pixel.

    Raises:
        ValueError: a mask of another size, or without a pixel.
    """
    if static is None:
        static = background(clip)
        if not static.any():
            return math.nan
    return float(steps(clip, static).mean()) if len(clip) > 1 else 0.0


def smoothness(clip: Video) -> float:
    """How steadily a clip changes, in [0, 1]; NaN for fewer than three frames and for clips that do not move."""
    change = np.diff(clip.frames.astype(np.int16), axis=0)
    turns = np.abs(np.diff(change, axis=0)).sum(dtype=np.int64)
    size = np.abs(change).sum((1, 2, 3), dtype=np.int64)
    total = int(size[:-1].sum() + size[1:].sum())
    return 1 - float(turns) / total if total else math.nan


def constancy(clip: Video, other: Video | None = None, whole: bool = False) -> float:
    """Intersection, in [0, 1], of the colour histograms of the first frame and of the last.

    Args:
        other: the clip of the last frame; this one when None.
        whole: of whole frames, not of the figure before the border's colour.
    """
    ground = None if whole else border_colour(Video(clip.frames[:1], clip.fps))
    first = histogram(clip.frames[0], ground)
    return intersection(first, histogram((other or clip).frames[-1], ground))


def drift(clips: Sequence[Video], extract: Extractor | None = None) -> Estimate:
    """Mean distance of the first frame from the last of its clip, over that of first frames of different clips.

    Args:
        clips: at least two, of different subjects.
        extract: features of one-frame clips; random ones by default.

    Raises:
        ValueError: fewer than two clips, or first frames that are all the same.
    """
    if len(clips) < 2:
        raise ValueError(f"drift needs at least two clips to compare; got {len(clips)}")
    extract = extract or RandomConv3d(frames=1)
    first, last = (
        np.asarray(extract([Video(c.frames[k][None], c.fps) for c in clips]), np.float64) for k in (0, -1)
    )
    strangers = float(pdist(first).mean())
    if strangers == 0:
        raise ValueError("all clips begin with the same frame: there is nothing to compare with")
    return bootstrap(np.linalg.norm(first - last, axis=1) / strangers)


def describe(samples: Sequence[Any], seed: int = 0) -> Table:
    """Measures of clips by themselves.

    Args:
        samples: clips; whatever is no `Video` counts as failed.
        seed: of the choice of clips where there are more than 500, and of the intervals.

    Returns:
        One row per measure, with 95 % intervals. Flicker is that of the clips' own backgrounds.
    """
    clips = [c for c in samples if isinstance(c, Video)]
    total, failed = len(samples), len(samples) - len(clips)
    rows: list[dict[str, Any]] = []

    def add(measure: str, value: Any, n: int) -> None:
        rows.append({"measure": measure, "value": value, "n": n})

    if total:
        add("readable", wilson(len(clips), total), total)
    add("failed", failed, total)
    few = clips
    if len(clips) > MOST:
        few = [clips[i] for i in np.random.default_rng(seed).choice(len(clips), MOST, replace=False)]
    moving = [c for c in few if len(c) > 1]
    if clips:
        add("frozen", wilson(sum(motion(c) == 0 for c in clips), len(clips)), len(clips))
    for measure, values, average in (
        ("seconds", [c.seconds for c in clips], median),
        ("motion (grey levels)", [motion(c) for c in moving], None),
        ("flicker of the background (grey levels)", [flicker(c) for c in moving], None),
        ("motion smoothness", [smoothness(c) for c in moving], None),
        ("warp residual (grey levels)", [warp_error(c).residual for c in moving], None),
        ("constancy of colours, first to last", [constancy(c) for c in moving], None),
    ):
        there = [v for v in values if np.isfinite(v)]
        if there:
            lone = there[0] if len(there) == 1 else None
            value = lone if lone is not None else average(there) if average else bootstrap(there, seed=seed)
            add(measure, value, len(there))
    if len(clips) > 1:
        twins = Counter((c.frames.shape, c.frames.tobytes()) for c in clips)
        add("twins", wilson(sum(k for k in twins.values() if k > 1), len(clips)), len(clips))
        pairs, nearest = spread(RandomConv3d()(few))
        add("pair distance", pairs, len(few))
        if nearest is not None:
            add("nearest neighbour", nearest, len(few))
    kinds = Counter(f"{len(c)} frames of {c.size[0]} x {c.size[1]} at {c.fps:g} fps" for c in clips)
    listed = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common(3))
    more = f" and {len(kinds) - 3} other kinds" if len(kinds) > 3 else ""
    caption = (
        f"{total} clips, of which {failed} failed{f'; {listed}{more}' if kinds else ''}. "
        "Measured without a reference: motion, variety and copies, not quality. Intervals: 95 %."
    )
    return Table(rows, caption)
