"""What a judge reads in sounds, beside what was asked for: :mod:`langevin.modalities.reading` with silence as nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langevin.modalities import reading
from langevin.modalities.audio.metrics.judge import Judge
from langevin.modalities.audio.metrics.levels import silent
from langevin.modalities.audio.sound import Audio
from langevin.modalities.reading import Reading, agreement, relative_accuracy

__all__ = ["Reading", "agreement", "read", "relative_accuracy"]


def read(judge: Judge, sounds: Sequence[Any], wanted: Sequence[str] | None = None, seed: int = 0) -> Reading:
    """What a judge reads in sounds.

    Args:
        sounds: whatever is no `Audio` among them (a failure), and silence, is read as nothing.
        wanted: the name of the class that each was made for.
        seed: of the bootstrap.

    Raises:
        ValueError: another number of wanted names than of sounds, or a name that the judge does not know.
    """
    return reading.read(judge, sounds, wanted, seed, kind=Audio, blank=silent)
