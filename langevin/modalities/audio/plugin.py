"""The sound modality as the command line finds it, without importing what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langevin.modalities.audio.filters import AudioFilter
from langevin.modalities.base import Autoencoder, Modality, Plugin

__all__ = ["SUFFIXES", "AudioSpec", "plugin"]

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a")


@dataclass(frozen=True)
class AudioSpec:
    """What may be said about new sounds.

    Args:
        seconds: duration; that of the training data by default.
        window: duration of the windows in which a long sound is drawn; None to draw it at once.
        overlap: of what a window is shown of the one before; a quarter of the window by default.
        loop: whether the beginning follows the end, without a seam. The duration is then a whole number of patches.
    """

    seconds: float | None = field(
        default=None, metadata={"help": "duration in seconds (default: as trained)"}
    )
    window: float | None = field(
        default=None,
        metadata={"help": "draw in windows of so many seconds, straight to files (for long sounds)"},
    )
    overlap: float | None = field(
        default=None,
        metadata={"help": "with --window: seconds seen of the window before (default: a quarter of it)"},
    )
    loop: bool = field(default=False, metadata={"help": "a seamless loop"})


def _modality(settings: Mapping[str, Any] | None = None) -> Modality:
    from langevin.modalities.audio.modality import make

    return make(settings or {})


def _open(path: Any, phrasings: Any = (), gain: float = 0.0, references: Any = None, **options: Any) -> Any:
    from langevin.modalities.audio.data import open_data
    from langevin.modalities.audio.references import Referenced
    from langevin.modalities.audio.variations import Varied

    data: Any = open_data(path, **options)
    if references:
        data = Referenced(data, references)
    return Varied(data, phrasings, gain) if phrasings or gain else data


def _defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    from langevin.modalities.audio.recipe import defaults

    return defaults(data, given)


def _autoencoder(data: Any, given: dict[str, Any], seed: int) -> Autoencoder:
    from langevin.modalities.audio.trainable import autoencoder_of

    return autoencoder_of(data, given, seed)


plugin = Plugin(
    "audio",
    "sounds: WAV, FLAC, Ogg, MP3",
    _modality,
    _open,
    _defaults,
    AudioSpec,
    _autoencoder,
    filter=AudioFilter,
    suffixes=SUFFIXES,
    written=SUFFIXES,
    own=("seconds",),
)
