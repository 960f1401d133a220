"""The image modality as the command line finds it, without importing what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langevin.modalities.base import Autoencoder, Modality, Plugin

__all__ = ["WRITTEN", "ImageSpec", "plugin"]

WRITTEN = (".png", ".jpg", ".webp")


@dataclass(frozen=True)
class ImageSpec:
    """What may be said about new pictures.

    Args:
        height, width: in pixels; the size the model was trained on by default.
    """

    height: int | None = field(default=None, metadata={"help": "height in pixels (default: as trained)"})
    width: int | None = field(default=None, metadata={"help": "width in pixels (default: as trained)"})


def _modality(settings: Mapping[str, Any] | None = None) -> Modality:
    from langevin.modalities.image.modality import make

    return make(settings or {})


def _open(path: Any, hues: float = 0.0, **options: Any) -> Any:
    from langevin.modalities.image.data import open_data
    from langevin.modalities.image.hues import Hues

    data = open_data(path, **options)
    return Hues(data, hues) if hues else data


def _defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    from langevin.modalities.image.recipe import defaults

    return defaults(data, given)


def _autoencoder(data: Any, given: dict[str, Any], seed: int) -> Autoencoder:
    from langevin.modalities.image.vae_training import vae_of_config

    return vae_of_config(data, given, seed)


plugin = Plugin(
    "image",
    "pictures: PNG, JPEG, WebP",
    _modality,
    _open,
    _defaults,
    ImageSpec,
    _autoencoder,
    written=WRITTEN,
)
