"""Which sounds to keep: conditions on measures.

    model.passing(100, "not silent and loudness > -30", label="seven")
    langevin sample audio-digits -n 100 --filter "not silent and loudness > -30" --label seven

The language of conditions is that of :mod:`langevin.modalities.expressions`, the measures are those of :data:`MEASURES`.
This module is read by the command line, so it imports numpy only where a sound is looked at.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from langevin.core.errors import unknown
from langevin.modalities.expressions import Expression, Name

if TYPE_CHECKING:
    from langevin.modalities.audio.sound import Audio

__all__ = ["MEASURES", "AudioFilter", "AudioTest", "measure"]

MEASURES: Mapping[str, Name] = {
    "silent": Name("no 50 ms of it reach −60 dBFS", True),
    "seconds": Name("duration"),
    "peak": Name("largest value, dBFS; unknown of digital silence"),
    "loudness": Name("integrated loudness by ITU-R BS.1770, LUFS; unknown below −70", cost=2),
    "silence_rate": Name("share of its windows of 50 ms below −60 dBFS"),
    "clipping_rate": Name("share of its samples that are cut off at full scale"),
}


@dataclass(frozen=True)
class AudioFilter:
    """What sounds may be asked to be; its field is a keyword of ``model.passing`` and a flag of the command line.

    Args:
        filter: a condition on :data:`MEASURES`.

    Raises:
        ValueError: a condition that is none.
    """

    filter: str = field(
        default="",
        metadata={"help": f"a condition, as 'not silent and loudness > -30', on {', '.join(MEASURES)}"},
    )

    measures: ClassVar[Mapping[str, Name]] = MEASURES

    def __post_init__(self) -> None:
        if self.filter:
            Expression(self.filter, MEASURES)


class AudioTest:
    """Whether sounds are what they are asked to be.

    Args:
        asked: what they are asked to be.
    """

    def __init__(self, asked: AudioFilter) -> None:
        self.record = {"filter": asked.filter} if asked.filter else {}
        self._condition = Expression(asked.filter, MEASURES) if asked.filter else None

    def __call__(self, item: Audio) -> tuple[bool, dict[str, Any]]:
        """Whether a sound passes, and what was measured to tell."""
        found: dict[str, Any] = {}

        def value(name: str) -> Any:
            if name not in found:
                found[name] = _measured(item, name)
            return found[name]

        return self._condition is None or self._condition(value) is True, found


def measure(items: Sequence[Any], names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Measures of each sound by name; nothing of what is no sound.

    Raises:
        ValueError: an unknown name.
    """
    from langevin.modalities.audio.sound import Audio

    for name in names:
        if name not in MEASURES:
            raise ValueError(unknown("measure", name, MEASURES))
    return [
        {name: _measured(item, name) for name in names} if isinstance(item, Audio) else {} for item in items
    ]


def _measured(item: Audio, name: str) -> Any:
    value = _measures()[name](item)
    return value if isinstance(value, bool) or math.isfinite(value) else None


@functools.cache
def _measures() -> dict[str, Callable[[Audio], Any]]:
    from langevin.modalities.audio.metrics.levels import clipping_rate, silence_rate, silent
    from langevin.modalities.audio.sound import decibels

    return {
        "silent": silent,
        "seconds": lambda sound: sound.seconds,
        "peak": lambda sound: decibels(sound.peak),
        "loudness": lambda sound: sound.loudness,
        "silence_rate": silence_rate,
        "clipping_rate": clipping_rate,
    }
