"""Features of clips for distances: any callable from a list of `Video` to (N, F).

`Pixels` and `RandomConv3d` need no training and no weights; distances in the latter are those of random features, and are
to be named so. `Judge` (judge.py) gives the features of a classifier that was trained on real clips, `VideoMAE`
(pretrained.py) reads weights from local files only. A claim should hold in two of them.

Clips of any length and size: they are looked at in some frames, at even distances over the clip and brought to one size by
averaging areas. So the frame rate, and what only a larger frame shows, count for nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from langevin.modalities.video.clip import Video

__all__ = ["Extractor", "Pixels", "RandomConv3d", "looked_at"]

Extractor = Callable[[Sequence[Video]], NDArray[Any]]


def looked_at(clips: Sequence[Video], frames: int, side: int) -> Tensor:
    """(N, frames, 3, side, side) in [−1, 1]: frames at even distances over each clip, repeated in shorter ones.

    Raises:
        ValueError: no clips.
    """
    if len(clips) == 0:
        raise ValueError("clips must hold at least one; got none")

    def seen(clip: Video) -> Tensor:
        places = ((np.arange(frames) + 0.5) * len(clip) / frames).astype(int)
        x = torch.from_numpy(clip.frames[places]).permute(0, 3, 1, 2).float()
        return F.interpolate(x, (side, side), mode="area") / 127.5 - 1

    return torch.stack([seen(clip) for clip in clips])


class Pixels:
    """Mean colours of a side x side grid of cells in a few frames, in [−1, 1]: F = 3 frames side².

    Near neighbours in it are what a viewer calls copies.
    """

    def __init__(self, frames: int = 4, side: int = 8) -> None:
        if frames < 1 or side < 1:
            raise ValueError(f"frames and side must be at least 1; got {frames} and {side}")
        self.frames, self.side = frames, side

    def __call__(self, clips: Sequence[Video]) -> NDArray[Any]:
        return looked_at(clips, self.frames, self.side).flatten(1).numpy()


class RandomConv3d:
    """A fixed network of random convolutions over time and place, 3 layers of stride 2: the mean and deviation of every
    channel, F = 224 for width 16.

    The weights are drawn by numpy from the seed, so they are the same on every machine and version of torch.

    Args:
        seed: of the weights.
        frames: that are looked at.
        side: pixels, to which frames are brought.
        width: channels of the first layer.
    """

    def __init__(self, seed: int = 0, frames: int = 8, side: int = 32, width: int = 16) -> None:
        self.frames, self.side = frames, side
        rng = np.random.default_rng(seed)
        self._weights = [
            torch.from_numpy(rng.standard_normal((o, i, 3, 3, 3)).astype(np.float32))
            * math.sqrt(2 / (27 * i))
            for i, o in itertools.pairwise((3, width, 2 * width, 4 * width))
        ]

    def __call__(self, clips: Sequence[Video]) -> NDArray[Any]:
        with torch.no_grad():
            parts = [self._run(clips[k : k + 64]).numpy() for k in range(0, max(1, len(clips)), 64)]
        return np.concatenate(parts)

    def _run(self, clips: Sequence[Video]) -> Tensor:
        x, found = looked_at(clips, self.frames, self.side).transpose(1, 2), []  # (N, 3, T, H, W)
        for weight in self._weights:
            x = F.relu(F.conv3d(F.pad(x, (1,) * 6, mode="replicate"), weight, stride=2))
            found += [x.mean((2, 3, 4)), x.var((2, 3, 4), correction=0).sqrt()]
        return torch.cat(found, 1)
