"""Features of sounds for distances: any callable from a list of `Audio` to (N, F).

`MelStatistics` and `RandomConv` need no training and no weights. `Judge` (judge.py) gives the features of a classifier
that was trained on real sounds; `Clap` and `VGGish` (pretrained.py) read weights from local files only. A claim should
hold in two of them.

Sounds of any lengths: statistics are taken over time. All are brought to one rate and one channel first, so that
what a lower rate lacks counts as a difference.
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

from langevin.modalities.audio.bands import log_mel
from langevin.modalities.audio.sound import Audio

__all__ = ["Extractor", "MelStatistics", "RandomConv"]

Extractor = Callable[[Sequence[Audio]], NDArray[Any]]

UNIT = 20.0  # dB, in which levels are given so that features are about 1


def _each(sounds: Sequence[Audio], run: Callable[[Tensor], Tensor], rate: int, mels: int) -> NDArray[Any]:
    if len(sounds) == 0:
        raise ValueError("sounds must hold at least one; got none")
    with torch.no_grad():
        return np.stack([run(log_mel(s, rate, mels, 0.064) / UNIT + 3).numpy() for s in sounds])


class MelStatistics:
    """Mean and deviation over time of the level of every mel band, and the deviation of its changes between frames.

    F = 3 mels: what is loud, how it varies and how fast.

    Args:
        rate: Hz, to which sounds are brought.
        mels: bands.
    """

    def __init__(self, rate: int = 16_000, mels: int = 40) -> None:
        self.rate, self.mels = rate, mels

    def __call__(self, sounds: Sequence[Audio]) -> NDArray[Any]:
        def run(levels: Tensor) -> Tensor:
            steps = levels.diff(dim=1) if levels.shape[1] > 1 else torch.zeros_like(levels)
            return torch.cat([levels.mean(1), levels.std(1, correction=0), steps.std(1, correction=0)])

        return _each(sounds, run, self.rate, self.mels)


class RandomConv:
    """A fixed network of random convolutions over levels of mel bands, 3 layers of stride 2: the mean and deviation of
    every channel, F = 224 for width 16.

    The height of a band is a second channel of the input, so that pitch is not lost in the mean. The weights are
    drawn by numpy from the seed, so they are the same on every machine and version of torch.

    Args:
        seed: of the weights.
        rate: Hz, to which sounds are brought.
        mels: bands.
        width: channels of the first layer.
    """

    def __init__(self, seed: int = 0, rate: int = 16_000, mels: int = 40, width: int = 16) -> None:
        self.rate, self.mels = rate, mels
        rng = np.random.default_rng(seed)
        self._weights = [
            torch.from_numpy(rng.standard_normal((o, i, 3, 3)).astype(np.float32)) * math.sqrt(2 / (9 * i))
            for i, o in itertools.pairwise((2, width, 2 * width, 4 * width))
        ]

    def __call__(self, sounds: Sequence[Audio]) -> NDArray[Any]:
        def run(levels: Tensor) -> Tensor:
            height = torch.linspace(-1, 1, len(levels))[:, None].expand_as(levels)
            x, found = torch.stack([levels, height])[None], []
            for weight in self._weights:
                x = F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, stride=2))
                found += [x.mean((2, 3)), x.var((2, 3), correction=0).sqrt()]
            return torch.cat(found, 1)[0]

        return _each(sounds, run, self.rate, self.mels)
