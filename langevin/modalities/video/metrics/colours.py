"""Colours of clips: that of the border, differences as the eye sees them, histograms.

CIELAB (CIE 15:2004) of sRGB values (IEC 61966-2-1) under D65 with the 2° observer. The difference ΔE is that of 1976, the
Euclidean distance in CIELAB: 2.3 is just noticeable (Mahy et al. 1994).

Histograms have 8 x 8 x 8 bins of RGB; a value between two centres counts in both, in proportion, so that a small change of a
colour is a small change of its histogram. Their intersection (Swain and Ballard 1991) is the sum of the smaller entries of
two histograms of sum 1: 1 for equal ones, 0 for colours without anything in common. The figure of a frame is what differs
from the ground by more than ΔE 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langevin.modalities.video.clip import Video

__all__ = ["border_colour", "border_difference", "delta_e", "histogram", "intersection", "lab"]

Array = NDArray[np.float64]

BINS = 8
APART = 5.0  # ΔE from which a pixel is not of the ground

_XYZ = np.array(
    [
        [0.4123907993, 0.3575843394, 0.1804807884],
        [0.2126390059, 0.7151686788, 0.0721923154],
        [0.0193308187, 0.1191947798, 0.9505321522],
    ]
)
_WHITE = _XYZ.sum(1)  # sRGB's own white, D65, so that greys have a = b = 0


def lab(rgb: ArrayLike) -> Array:
    """CIELAB (…, 3) of sRGB values (…, 3) of 255."""
    v = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    t = linear @ _XYZ.T / _WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def delta_e(a: ArrayLike, b: ArrayLike) -> Array:
    """ΔE of 1976 between sRGB values (…, 3) of 255."""
    return np.asarray(np.linalg.norm(lab(a) - lab(b), axis=-1))


def border_colour(clip: Video, width: int = 1) -> Array:
    """The median (3,) of every channel over the outermost pixels of all frames.

    Args:
        width: pixels of the border.
    """
    ring = np.ones(clip.frames.shape[1:3], bool)
    ring[width:-width, width:-width] = False
    return np.asarray(np.median(clip.frames[:, ring].reshape(-1, 3), axis=0), dtype=np.float64)


def border_difference(clip: Video, rgb: ArrayLike) -> float:
    """ΔE between the border's colour and one that was asked for, sRGB of 255."""
    return float(delta_e(border_colour(clip), rgb))


def histogram(frame: NDArray[np.uint8], ground: ArrayLike | None = None) -> Array:
    """Histogram (512,) of the colours of a frame (H, W, 3), of sum 1.

    Args:
        ground: sRGB of 255; pixels of this colour are left out, unless all are of it.
    """
    pixels = frame.reshape(-1, 3)
    if ground is not None:
        figure = delta_e(pixels, ground) > APART
        pixels = pixels[figure] if figure.any() else pixels
    place = pixels * ((BINS - 1) / 255)  # centres of the bins are at whole numbers
    low = np.minimum(place.astype(int), BINS - 2)
    high_share = place - low  # (N, 3)
    out = np.zeros(BINS**3)
    for corner in np.ndindex(2, 2, 2):
        bins = (low + corner) @ np.array([BINS * BINS, BINS, 1])
        share = np.where(np.array(corner) == 1, high_share, 1 - high_share).prod(-1)
        out += np.bincount(bins, share, BINS**3)
    return out / len(pixels)


def intersection(a: Array, b: Array) -> float:
    """Sum of the smaller entries of two histograms of sum 1, in [0, 1]."""
    return float(np.minimum(a, b).sum())
