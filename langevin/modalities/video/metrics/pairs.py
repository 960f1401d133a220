"""Clips beside as many others, the first with the first: how far each is from its partner.

    PSNR    10 log10(255² / mean squared difference), dB, over the whole clip; infinite for equal ones
    SSIM    structural similarity (Wang et al. 2004): windows of 11 x 11 pixels with Gaussian weights of deviation 1.5, taken
            where they lie inside a frame; K = (0.01, 0.03) of 255; mean over windows, channels and frames

Partners are compared over the frames that both have, the second at the size of the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from langevin.modalities.statistics import Table, median
from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics.colours import border_colour, delta_e, histogram, intersection

__all__ = ["compare_pairs", "psnr", "ssim"]

WINDOW, DEVIATION = 11, 1.5


def _same(x: Video, y: Video) -> None:
    if x.frames.shape != y.frames.shape:
        raise ValueError(
            f"two clips must have the same frames and size; got {x.frames.shape} and {y.frames.shape}"
        )


def psnr(x: Video, y: Video) -> float:
    """Peak signal-to-noise ratio in dB.

    Raises:
        ValueError: clips of different shapes.
    """
    _same(x, y)
    square = float(np.mean([np.square(a - b.astype(np.float64)).mean() for a, b in zip(x.frames, y.frames)]))
    return 10 * math.log10(255**2 / square) if square else math.inf


def ssim(x: Video, y: Video) -> float:
    """Structural similarity, at most 1.

    Raises:
        ValueError: clips of different shapes, or frames below 11 x 11 pixels.
    """
    _same(x, y)
    if min(x.size) < WINDOW:
        raise ValueError(
            f"frames must have at least {WINDOW} x {WINDOW} pixels; got {x.size[0]} x {x.size[1]}"
        )
    line = torch.exp(-((torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2) ** 2) / (2 * DEVIATION**2))
    line = line / line.sum()

    def smooth(values: torch.Tensor) -> torch.Tensor:
        rows = F.conv2d(values, line[None, None, :, None])
        return F.conv2d(rows, line[None, None, None, :])

    c_1, c_2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = []
    for pair in zip(x.frames, y.frames, strict=True):
        a, b = (torch.from_numpy(np.array(f)).movedim(-1, 0)[:, None].double() for f in pair)
        mean_a, mean_b = smooth(a), smooth(b)
        var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
        both = smooth(a * b) - mean_a * mean_b
        top = (2 * mean_a * mean_b + c_1) * (2 * both + c_2)
        found.append(float((top / ((mean_a**2 + mean_b**2 + c_1) * (var_a + var_b + c_2))).mean()))
    return float(np.mean(found))


def _colours(x: Video, y: Video) -> float:
    return float(np.mean([intersection(histogram(a), histogram(b)) for a, b in zip(x.frames, y.frames)]))


MEASURES: Mapping[str, Callable[[Video, Video], float]] = {
    "PSNR (dB)": psnr,
    "SSIM": lambda x, y: ssim(x, y) if min(x.size) >= WINDOW else math.nan,
    "colour histogram intersection": _colours,
    "border ΔE": lambda x, y: float(delta_e(border_colour(x), border_colour(y))),
}


def compare_pairs(clips: Sequence[Video], others: Sequence[Video]) -> Table:
    """One row per measure: its median over the pairs with a 95 % interval; the value itself of a lone pair.

    Raises:
        ValueError: none, or another number of clips than of others.
    """
    if not len(clips) or len(clips) != len(others):
        raise ValueError(f"pairs need as many clips as others, got {len(clips)} and {len(others)}")
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for x, y in zip(clips, others, strict=True):
        count = min(len(x), len(y))
        a, b = (Video(v.frames[:count], v.fps) for v in (x, y.resized(*x.size)))
        for name, measure in MEASURES.items():
            value = measure(a, b)
            if not math.isnan(value):
                found[name].append(value)
    rows = [
        {"measure": name, "value": values[0] if len(values) == 1 else median(values), "n": len(values)}
        for name, values in found.items()
        if values
    ]
    caption = (
        f"{len(clips)} pair{'s' * (len(clips) > 1)} of clips, compared frame by frame"
        f"{'; medians with 95 % intervals' * (len(clips) > 1)}."
    )
    return Table(rows, caption)
