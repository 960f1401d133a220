"""The sound modality as the command line finds it, without importing what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langevin.modalities.audio.filters import AudioFilter
from langevin.modalities.base import Modality, Plugin

__all__ = ["SUFFIXES", "AudioSpec", "plugin"]

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a")


@dataclass(frozen=True)
class AudioSpec:
    """What may be said about new sounds.

    Args:
        seconds: duration; that of the training data by default.
    """

    seconds: float | None = field(
        default=None, metadata={"help": "duration in seconds (default: as trained)"}
    )


def _modality(settings: Mapping[str, Any] | None = None) -> Modality:
    from langevin.modalities.audio.modality import make

    return make(settings or {})


def _open(path: Any, phrasings: Any = (), gain: float = 0.0, **options: Any) -> Any:
    from langevin.modalities.audio.data import open_data
    from langevin.modalities.audio.variations import Varied

    data = open_data(path, **options)
    return Varied(data, phrasings, gain) if phrasings or gain else data


def _defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    from langevin.modalities.audio.recipe import defaults

    return defaults(data, given)


plugin = Plugin(
    "audio",
    "sounds: WAV, FLAC, Ogg, MP3",
    _modality,
    _open,
    _defaults,
    AudioSpec,
    filter=AudioFilter,
    suffixes=SUFFIXES,
    own=("seconds",),
)
