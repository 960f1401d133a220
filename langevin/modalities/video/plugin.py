"""The video modality as the command line finds it, without importing what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langevin.modalities.base import Autoencoder, Modality, Plugin

__all__ = ["SUFFIXES", "WRITTEN", "VideoSpec", "plugin"]

SUFFIXES = (".mp4", ".m4v", ".webm", ".mkv", ".mov", ".avi", ".apng")

WRITTEN = (".mp4", ".mov", ".mkv", ".webm", ".gif", ".apng", ".png", ".webp", ".npz")


@dataclass(frozen=True)
class VideoSpec:
    """What may be said about new clips.

    Args:
        frames: how many; as the training data have by default.
        seconds: the duration, in place of ``frames``.
        height, width: in pixels; the size the model was trained on by default.
        window: frames of the windows in which a long clip is drawn; None to draw it at once.
        overlap: frames that a window is shown of the one before; half the window by default.
        rolling: with ``window``: draw frame after frame under a noise level that rises along the clip.
        loop: whether the first frame follows the last, without a seam.
    """

    frames: int | None = field(default=None, metadata={"help": "frames (default: as trained)"})
    seconds: float | None = field(
        default=None, metadata={"help": "duration in seconds, in place of --frames"}
    )
    height: int | None = field(default=None, metadata={"help": "height in pixels (default: as trained)"})
    width: int | None = field(default=None, metadata={"help": "width in pixels (default: as trained)"})
    window: int | None = field(
        default=None,
        metadata={"help": "draw in windows of so many frames, straight to files (for long clips)"},
    )
    overlap: int | None = field(
        default=None,
        metadata={"help": "with --window: frames seen of the window before (default: half of it)"},
    )
    rolling: bool = field(
        default=False,
        metadata={"help": "with --window: frame after frame, under noise that rises along the clip"},
    )
    loop: bool = field(default=False, metadata={"help": "a seamless loop"})


def _modality(settings: Mapping[str, Any] | None = None) -> Modality:
    from langevin.modalities.video.modality import make

    return make(settings or {})


def _open(path: Any, **options: Any) -> Any:
    from langevin.modalities.video.data import open_data

    return open_data(path, **options)


def _defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    from langevin.modalities.video.recipe import defaults

    return defaults(data, given)


def _autoencoder(data: Any, given: dict[str, Any], seed: int) -> Autoencoder:
    from langevin.modalities.video.vae_training import video_vae_of

    return video_vae_of(data, given, seed)


plugin = Plugin(
    "video",
    "clips: MP4, WebM, GIF, APNG",
    _modality,
    _open,
    _defaults,
    VideoSpec,
    _autoencoder,
    suffixes=SUFFIXES,
    written=WRITTEN,
    own=("frames", "fps"),
)
