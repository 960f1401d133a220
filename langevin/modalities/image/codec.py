"""Codecs of pictures: native pictures ↔ the state that is diffused, (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image as PILImage
from torch import Tensor

from langevin.modalities.image.pixels import to_images, to_tensor

__all__ = ["Codec", "Pixels"]


class Codec(Protocol):
    """What a picture modality needs of its encoder and decoder.

    Attributes:
        channels: C of the state.
        size: side of the pictures, in pixels.
        factor: pixels per side of one element of the state.
    """

    channels: int
    size: int
    factor: int

    def encode(self, pictures: Sequence[Any]) -> Tensor:
        """Pictures to states (B, C, size / factor, size / factor), float32, about unit scale."""
        ...

    def decode(self, state: Tensor) -> list[PILImage.Image]:
        """States to pictures."""
        ...


@dataclass(frozen=True)
class Pixels:
    """No compression: pixel values in [−1, 1].

    Args:
        size: side in pixels; pictures are resized and centre-cropped to it.
        channels: 3 (RGB) or 1 (grey).
    """

    size: int
    channels: int = 3
    factor = 1

    def encode(self, pictures: Sequence[Any]) -> Tensor:
        return to_tensor(pictures, self.channels, self.size)

    def decode(self, state: Tensor) -> list[PILImage.Image]:
        return to_images(state.float().cpu().clamp(-1, 1))
