"""Flow-warp error: how well each frame follows from the next one by moving its pixels (Lai et al. 2018).

The flow is found by exhaustive block matching: each pixel goes to the place, at most ``radius`` pixels away in either
direction, where the mean absolute difference of the blocks around both is least; half a grey level per pixel of
distance is added, so that noise on flat ground moves nothing. What appears or disappears cannot be matched: a pixel is
left out where the flow there and the flow back do not cancel, |w + w'|² > 0.01 (|w|² + |w'|²) + 0.5 (Sundaram et al. 2010).
The residual is the mean absolute difference over the remaining pixels, in grey levels of 255.

Clips larger than ``side`` pixels are reduced to it first, so that the radius spans the same share of a frame. The search
fits anything a little, noise too, and what it cannot fit it tends to mask: the residual belongs beside that of real clips,
and the masked share beside the residual.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from langevin.modalities.video.clip import Video

__all__ = ["Warp", "flow", "warp_error"]

PENALTY = 0.5  # grey levels per pixel of displacement


class Warp(NamedTuple):
    """What moving pixels leaves unexplained.

    Attributes:
        residual: mean absolute difference after warping, in grey levels; NaN where everything is masked.
        masked: share of pixels without a match.
    """

    residual: float
    masked: float


def _moves(radius: int) -> Tensor:
    """(M, 2) displacements (y, x), the shortest first."""
    reach = range(-radius, radius + 1)
    return torch.tensor(sorted(((y, x) for y in reach for x in reach), key=lambda d: (math.hypot(*d), d)))


def flow(a: Tensor, b: Tensor, radius: int = 4, block: int = 5) -> Tensor:
    """Displacements (N, H, W, 2), (y, x) in pixels, by which pixels of a (N, C, H, W) are found in b.

    Args:
        radius: of the search, pixels.
        block: side of the blocks that are compared, an odd number of pixels.
    """
    height, width = a.shape[2:]
    around = F.pad(b, (radius,) * 4, mode="replicate")
    best = torch.full((len(a), height, width), torch.inf)
    found = torch.zeros((len(a), height, width), dtype=torch.long)
    moves = _moves(radius)
    for k, (y, x) in enumerate(moves.tolist()):
        there = around[:, :, radius + y : radius + y + height, radius + x : radius + x + width]
        apart = (a - there).abs().mean(1, keepdim=True)
        apart = F.pad(apart, (block // 2,) * 4, mode="replicate")
        cost = F.avg_pool2d(F.avg_pool2d(apart, (block, 1), 1), (1, block), 1)[:, 0] + PENALTY * math.hypot(
            y, x
        )
        better = cost < best
        best, found = torch.where(better, cost, best), torch.where(better, k, found)
    return moves[found]


def _taken(values: Tensor, w: Tensor) -> Tensor:
    """values (N, C, H, W) at the places to which the flow w (N, H, W, 2) leads, the border repeated."""
    n, _, height, width = values.shape
    y = (torch.arange(height)[:, None] + w[..., 0]).clamp(0, height - 1)
    x = (torch.arange(width) + w[..., 1]).clamp(0, width - 1)
    return values[torch.arange(n)[:, None, None], :, y, x].movedim(-1, 1)


def warp_error(clip: Video, radius: int = 4, block: int = 5, side: int = 128) -> Warp:
    """The flow-warp error of a clip, averaged over its pairs of neighbouring frames.

    Args:
        radius: of the search, pixels.
        block: side of the blocks, odd.
        side: to which a longer side of the frames is reduced.

    Raises:
        ValueError: a single frame, a radius below 1, or a block that is even or not positive.
    """
    if len(clip) < 2:
        raise ValueError("a warp error needs two frames; got one")
    if radius < 1 or block < 1 or block % 2 == 0:
        raise ValueError(
            f"radius must be at least 1 and block an odd number of pixels; got {radius} and {block}"
        )
    scale = side / max(clip.size)
    size = [max(1, round(s * scale)) for s in clip.frames.shape[1:3]] if scale < 1 else None
    total, seen, pixels = 0.0, 0, 0
    for start in range(0, len(clip) - 1, 32):  # pairs at a time
        part = torch.from_numpy(np.array(clip.frames[start : start + 33])).permute(0, 3, 1, 2).float()
        if size is not None:
            part = F.interpolate(part, size, mode="area")
        a, b = part[:-1], part[1:]
        there, back = flow(a, b, radius, block), flow(b, a, radius, block)
        w = there.movedim(-1, 1).float()
        returned = _taken(back.movedim(-1, 1).float(), there)
        squares = w.square().sum(1) + returned.square().sum(1)
        matched = (w + returned).square().sum(1) <= 0.01 * squares + 0.5  # (N, H, W)
        left = (a - _taken(b, there)).abs().mean(1)
        total += float(left[matched].sum())
        seen += int(matched.sum())
        pixels += matched.numel()
    return Warp(total / seen if seen else math.nan, 1 - seen / pixels)
