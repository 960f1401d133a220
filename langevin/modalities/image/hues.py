"""Colour in captions: pictures whose hue is turned, captioned with the hue that leads in them.

A caption of a pictogram seldom says its colour. Here a share of the items is shown with its hue turned by a multiple of
60 degrees and the name of its leading hue before the caption, measured on the picture as it is shown, so that a prompt
that names a colour has something to learn from. This is recaptioning (Betker et al., 2023, DALL-E 3) with an exact
captioner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["HUES", "Hues", "leading_hue", "turn"]

# centre of each named hue in degrees; the nearest centre names a pixel
HUES = {
    "red": 0.0,
    "orange": 30.0,
    "yellow": 55.0,
    "green": 120.0,
    "blue": 215.0,
    "purple": 280.0,
    "pink": 325.0,
}


def _hsv(pixels: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Hue in degrees, saturation and value in [0, 1]; shape (…,)."""
    rgb = pixels.astype(np.float32) / 255
    high, low = rgb.max(-1), rgb.min(-1)
    span = np.maximum(high - low, 1e-6)
    r, g, b = (rgb[..., i] for i in range(3))
    hue = np.select([high == r, high == g], [(g - b) / span % 6, (b - r) / span + 2], (r - g) / span + 4) * 60
    return hue % 360, (high - low) / np.maximum(high, 1e-6), high


def leading_hue(pixels: NDArray[np.uint8], least: float = 0.04) -> str | None:
    """The name of the hue most common among the saturated pixels of a picture (H, W, 3).

    Args:
        pixels: uint8 RGB.
        least: share of pixels that must be saturated (S > 0.35, V > 0.3); None is given below it.
    """
    hue, saturation, value = _hsv(pixels)
    vivid = (saturation > 0.35) & (value > 0.3)
    if vivid.mean() < least:
        return None
    centres = np.array(list(HUES.values()), dtype=np.float32)
    distance = np.abs((hue[vivid][:, None] - centres + 180) % 360 - 180)
    votes = np.bincount(distance.argmin(1), minlength=len(centres))
    return list(HUES)[int(votes.argmax())]


def turn(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with the hue of every pixel turned; lightness range and saturation stay."""
    hue, saturation, value = _hsv(pixels)
    sector = ((hue + degrees) % 360) / 60
    chroma = (saturation * value)[..., None]
    offsets = np.array([5, 3, 1], dtype=np.float32)
    k = (offsets + sector[..., None]) % 6
    rgb = value[..., None] - chroma * np.clip(np.minimum(k, 4 - k), 0, 1)
    return np.rint(rgb * 255).astype(np.uint8)


class Hues:
    """A data set in which a share of the items shows its hue turned and says it.

    Items are numbered in rounds: in each of ten rounds every picture appears once, in ``share`` of the rounds with a
    named hue (turned by a different angle each time; the first time by none).

    Args:
        data: pictures with the condition ``prompt``.
        share: between 0 and 1, in tenths.
    """

    ROUNDS = 10

    def __init__(self, data: Any, share: float = 0.3) -> None:
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ValueError(f"the share of hues must lie in [0, 1], got {share!r}")
        self.data, self.named = data, round(share * self.ROUNDS)
        self.conditions = getattr(data, "conditions", {})
        self.licence, self.attribution = getattr(data, "licence", None), getattr(data, "attribution", None)

    def __len__(self) -> int:
        return len(self.data) * self.ROUNDS

    def batch(self, indices: Sequence[int]) -> tuple[NDArray[np.uint8], dict[str, list[Any]]]:
        """Pictures and conditions of these items."""
        size = len(self.data)
        images, conditions = self.data.batch([i % size for i in indices])
        images, prompts = np.array(images), list(conditions["prompt"])
        for row, index in enumerate(indices):
            item, turns = index % size, index // size
            if turns >= self.named:
                continue
            degrees = 0 if turns == 0 else 60 * (1 + (item + turns) % 5)
            shown = turn(images[row], degrees)
            name = leading_hue(shown)
            if name is not None:
                images[row] = shown
                prompts[row] = f"{name} {_uncoloured(prompts[row])}"
        return images, {**conditions, "prompt": prompts}


def _uncoloured(caption: str) -> str:
    """A caption without the colour words that the turned picture may belie."""
    words = [w for w in caption.split() if w.lower() not in HUES]
    return " ".join(words) or caption
