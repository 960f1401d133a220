"""Whether a clip goes on smoothly at a place: the seam of a loop, the edge of kept frames.

The change at frame k is the mean absolute difference, in grey levels, between the frames k − 1 and k; at 0, the seam of a
loop, between the last frame and the first. It is compared with the changes elsewhere in the clip, or with those of real
clips where they are given: their percentiles say what is usual. A join is smooth if its change does not exceed the 95th.

A clip that stops has smooth joins, too, so motion is asked for beside it: a join moves if its change is at least half
of the mean change. Loops of real clips are a fair floor only where the action passes through the seam; one that begins and
ends with the same pose is closed by its frames, whatever the model does: rotate such clips in time first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics.alone import steps

__all__ = ["Join", "changes", "joins", "seam"]

Array = NDArray[np.float64]


class Join(NamedTuple):
    """The change of a clip at a place, and what is usual.

    Attributes:
        change: grey levels.
        percentile: share of the usual changes that are not larger, in percent.
        mean, high: of the usual changes; high is the 95th percentile.
    """

    change: float
    percentile: float
    mean: float
    high: float

    @property
    def smooth(self) -> bool:
        """Whether the change is within the 95th percentile."""
        return self.change <= self.high

    @property
    def moving(self) -> bool:
        """Whether the change is at least half of the mean."""
        return self.change >= self.mean / 2

    @property
    def seamless(self) -> bool:
        """Whether it is smooth and moving."""
        return self.smooth and self.moving


def changes(clip: Video) -> Array:
    """The change (T,) at every frame, the first being that of the seam."""
    around = Video(np.concatenate([clip.frames[-1:], clip.frames]), clip.fps)
    return steps(around)


def joins(clip: Video, at: Sequence[int], usual: Sequence[float] | Array | None = None) -> list[Join]:
    """How a clip goes on at frames, against how it does elsewhere.

    Args:
        at: numbers of frames, each from 1 to T − 1: the first frame after the join.
        usual: changes to compare with, such as ``steps`` of real clips, one after the other; those of this clip at other
            frames when None.

    Raises:
        ValueError: a frame outside, or fewer than two changes to compare with.
    """
    for k in at:
        if not 1 <= k < len(clip):
            raise ValueError(f"at must lie in 1 … {len(clip) - 1} for a clip of {len(clip)} frames; got {k}")
    found = changes(clip)
    if usual is None:
        usual = np.delete(found, [0, *at])
    return [_join(found[k], usual) for k in at]


def seam(clip: Video, usual: Sequence[float] | Array | None = None) -> Join:
    """How a clip goes on from its end to its beginning.

    Args:
        usual: as in :func:`joins`; the changes within the clip when None.

    Raises:
        ValueError: fewer than two changes to compare with.
    """
    found = changes(clip)
    return _join(found[0], found[1:] if usual is None else usual)


def _join(change: float, usual: Sequence[float] | Array) -> Join:
    values = np.asarray(usual, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"a join needs at least two changes to compare with; got {len(values)}")
    return Join(
        float(change),
        100 * float((values <= change).mean()),
        float(values.mean()),
        float(np.quantile(values, 0.95)),
    )
