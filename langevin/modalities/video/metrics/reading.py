"""What a judge reads in clips, beside what was asked for: :mod:`langevin.modalities.reading`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langevin.modalities import reading
from langevin.modalities.reading import Reading, agreement, relative_accuracy
from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics.judge import Judge

__all__ = ["Reading", "agreement", "read", "relative_accuracy"]


def read(judge: Judge, clips: Sequence[Any], wanted: Sequence[str] | None = None, seed: int = 0) -> Reading:
    """What a judge reads in clips.

    Args:
        clips: whatever is no `Video` among them (a failure) is read as nothing.
        wanted: the name of the class that each was made for.
        seed: of the bootstrap.

    Raises:
        ValueError: another number of wanted names than of clips, or a name that the judge does not know.
    """
    return reading.read(judge, clips, wanted, seed, kind=Video)
