"""Frames that are given in training: which of them, and where cycles begin.

Half of the samples with given frames show the first ones, any number of them, as extension and image-to-video have them;
the others the last ones, both ends, or each frame with an even chance (the mask strategies of Zheng et al., 2024, Open-Sora,
arXiv 2412.20404, §4.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from langevin.core.parts import Part
from langevin.core.processes import Process
from langevin.core.rng import Stream

__all__ = ["given_frames", "parts"]


def parts(process: Process, x: Tensor, rng: Stream, mask: Tensor | None, share: float) -> Sequence[Part]:
    """A batch as one part, with given frames (B, T) in ``share`` of its samples."""
    given = given_frames(rng, x.shape[1])
    given &= (rng.fold("any").uniform((len(rng),)) < share)[:, None]
    given = given.to(x.device)
    return [Part(torch.arange(len(rng)), x, {"": given if mask is None else given & mask}, process)]


def given_frames(rng: Stream, frames: int) -> Tensor:
    """Which of T frames are given, (B, T); at least one of several is not.

    Args:
        rng: one row for each sample.
        frames: T.
    """
    rows = len(rng)
    if frames < 2:
        return torch.zeros(rows, frames, dtype=torch.bool)
    place = torch.arange(frames)
    count = 1 + rng.fold("count").integers(frames - 1, (rows,))[:, None]
    both = (1 + rng.fold("both").integers(max(1, frames // 2 - 1), (rows,)))[:, None]
    single = rng.fold("single").uniform((rows, frames)) < 0.5
    single[:, 0] &= ~single.all(1)
    kind = rng.fold("kind").uniform((rows,))[:, None]
    ends = (place < both) | (place >= frames - both)
    ends &= ~ends.all(1, keepdim=True) | (place < 1)
    return torch.where(
        kind < 0.5,
        place < count,
        torch.where(kind < 0.65, place >= frames - count, torch.where(kind < 0.8, ends, single)),
    )
