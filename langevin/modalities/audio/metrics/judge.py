"""A small convolutional judge of sounds: class probabilities, and features for the metrics.

The judge is trained on real sounds only, apart from every generator, and its own accuracy on held-out real sounds
belongs beside each figure it gives.

What it hears are levels of 40 mel bands (32 ms windows, 16 ms apart) of one window of some seconds: a longer sound is cut
to the stretch with the most energy, a shorter one is put into the middle of silence. Levels are taken relative to the
loudest band of the window and cut at 60 dB below, so the loudness of a sound says nothing to the judge. In training
the sound lies anywhere in the window, in noise 10 to 70 dB below it, with some bands and frames masked (SpecAugment;
Park et al. 2019).

    from langevin.modalities.audio.metrics import train_judge
    judge = train_judge(sounds, digits, class_names=words, rate=8000, seconds=1.024)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from langevin.modalities import judging
from langevin.modalities.audio.bands import FLOOR, band_power, transform
from langevin.modalities.audio.metrics.levels import silent
from langevin.modalities.audio.sound import Audio
from langevin.modalities.judging import JudgeNetwork, Progress

__all__ = ["Judge", "Progress", "load_judge", "save_judge", "train_judge"]

MELS = 40
RANGE = 60.0  # dB


class Judge(JudgeNetwork):
    """Five 3 x 3 convolutions with batch normalisation, mean and largest value over time, two linear layers.

    Ten classes and a width of 16 make 153,000 parameters.

    Args:
        classes: how many classes.
        rate: Hz, to which sounds are brought.
        seconds: of the window.
        width: channels of the first layer; the later ones have 2 and 4 times as many.
        class_names: what :meth:`__call__` answers; the class numbers when None.

    Raises:
        ValueError: fewer than 2 classes, names that do not fit them, or a window below 0.1 s.
    """

    stamp = "sound_judge"
    about = ("classes", "rate", "seconds", "width", "class_names")
    batch_size = 64

    def __init__(
        self,
        classes: int,
        rate: int = 16_000,
        seconds: float = 1.0,
        width: int = 16,
        class_names: Sequence[str] | None = None,
    ) -> None:
        if seconds < 0.1:
            raise ValueError(f"seconds must be at least 0.1; got {seconds:g}")
        super().__init__(classes, 1, width, class_names, (2, 2, 1, 2, 1), 2 * 4 * width * (MELS // 8))
        self.rate, self.seconds, self.length = rate, seconds, round(seconds * rate)

    def windows(self, sounds: Sequence[Audio]) -> Tensor:
        """(N, n) samples, each sound in the window of the judge."""
        return torch.stack([torch.from_numpy(_window(s, self.rate, self.length)) for s in sounds])

    def levels(self, x: Tensor) -> Tensor:
        """(B, n) samples -> (B, 40, frames) in [−1, 1]: from 60 dB below the loudest band to the loudest."""
        n_fft = transform(self.rate)
        found = 10 * torch.log10(band_power(x, self.rate, MELS, n_fft, n_fft // 2).clamp_min(FLOOR))
        return ((found - found.amax((1, 2), keepdim=True)) / (RANGE / 2) + 1).clamp_min(-1)

    def inputs(self, sounds: Sequence[Audio]) -> Tensor:
        """Levels (N, 40, frames) of the sounds in their windows."""
        return self.levels(self.windows(sounds))

    def features(self, levels: Tensor) -> Tensor:
        """(B, 40, frames) -> (B, 128), the penultimate layer."""
        if levels.ndim != 3 or levels.shape[1] != MELS:
            raise ValueError(f"levels must have shape (B, {MELS}, frames); got {tuple(levels.shape)}")
        x = self.body(levels[:, None])  # (B, C, 5, frames / 8)
        return F.relu(self.neck(torch.cat([x.mean(3), x.amax(3)], 1).flatten(1)))

    def names(self, sounds: Sequence[Audio]) -> list[str | None]:
        """The name of the most probable class; None of a silent sound, which never agrees with anything."""
        return [
            None if silent(s) else self.class_names[k]
            for s, k in zip(sounds, self.predict(sounds), strict=True)
        ]

    def embed(self, sounds: Sequence[Audio]) -> NDArray[np.float32]:
        """The 128 penultimate features, for distances."""
        return self.judge(sounds)[1]


def _window(sound: Audio, rate: int, length: int) -> NDArray[np.float32]:
    """(length,) samples: the stretch with the most energy, or the sound in the middle of silence."""
    x = sound.mono().resampled(rate).samples[0]
    if len(x) > length:
        sums = np.concatenate([[0.0], np.cumsum(x.astype(np.float64) ** 2)])
        start = int((sums[length:] - sums[:-length]).argmax())
        return x[start : start + length]
    before = (length - len(x)) // 2
    return np.pad(x, (before, length - len(x) - before))


def _varied(x: Tensor, rate: int, generator: torch.Generator) -> Tensor:
    """Each row (B, n) moved by as much as its silent ends allow or up to 0.05 s, in noise of its own level."""
    n = x.shape[1]
    loud = x != 0
    first = loud.float().argmax(1)
    last = n - 1 - loud.flip(1).float().argmax(1)
    reach = round(0.05 * rate)
    low, high = torch.minimum(-first, -torch.full_like(first, reach)), (n - 1 - last).clamp_min(reach)
    shift = low + (torch.rand(len(x), generator=generator) * (high - low + 1)).long()
    place = torch.arange(n) - shift[:, None]
    moved = torch.where((place >= 0) & (place < n), x.gather(1, place.clamp(0, n - 1)), 0.0)
    below = 10 + 60 * torch.rand(len(x), 1, generator=generator)  # dB
    size = (
        x.abs().amax(1, keepdim=True) / 4 * 10 ** (-below / 20)
    )  # a quarter of the peak: about the loudest rms
    return moved + size * torch.randn(x.shape, generator=generator)


def _masked(levels: Tensor, generator: torch.Generator) -> Tensor:
    """Up to an eighth of the bands and of the frames, each in one piece, set to the lowest level."""
    for axis in (1, 2):
        size = levels.shape[axis]
        width = (torch.rand(len(levels), 1, generator=generator) * size / 8).long()
        start = (torch.rand(len(levels), 1, generator=generator) * (size - width)).long()
        at = torch.arange(size)
        hidden = (at >= start) & (at < start + width)
        levels = levels.masked_fill(hidden.unsqueeze(2 if axis == 1 else 1), -1.0)
    return levels


def train_judge(
    sounds: Sequence[Audio],
    labels: Sequence[int] | NDArray[np.integer],
    *,
    class_names: Sequence[str] | None = None,
    rate: int | None = None,
    seconds: float | None = None,
    epochs: int = 12,
    batch_size: int = 64,
    peak: float = 4e-3,
    smoothing: float = 0.05,
    seed: int = 0,
    device: str = "cpu",
    width: int = 16,
    progress: Callable[[Progress], None] | None = None,
) -> Judge:
    """Train a judge with AdamW, a one-cycle learning rate and label smoothing.

    Args:
        sounds: real ones.
        labels: (N,) integers from 0.
        class_names: names of the classes; their number is taken from the labels when None.
        rate: Hz; that of the first sound when None.
        seconds: of the window; the 99th percentile of the durations when None.
        peak: largest learning rate.
        smoothing: share of the target spread evenly over the classes.
        seed: of the initial weights, the order and the augmentation.
        progress: called after every step.

    Returns:
        The judge, in evaluation mode.

    Raises:
        ValueError: no sounds, or labels that do not fit them.
    """
    target, classes = judging.checked(labels, len(sounds), class_names, "sound")
    durations = [s.seconds for s in sounds]
    rate = rate or sounds[0].rate
    seconds = seconds or max(0.1, math.ceil(100 * float(np.quantile(durations, 0.99))) / 100)
    net = judging.seeded(seed, lambda: Judge(classes, rate, seconds, width, class_names)).to(device)
    heard = net.windows(sounds)  # (N, n)

    def draw(rows: Tensor, generator: torch.Generator) -> Tensor:
        return _masked(net.levels(_varied(heard[rows], rate, generator)), generator)

    return judging.fit(
        net, draw, target, epochs=epochs, batch_size=batch_size, peak=peak, smoothing=smoothing, seed=seed,
        progress=progress,
    )  # fmt: skip


def save_judge(net: Judge, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights (by default in half precision) and description as one safetensors file."""
    judging.save(net, path, dtype)


def load_judge(path: str | Path) -> Judge:
    """The judge in a file of `save_judge`, in float32 and evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of `save_judge`.
    """
    return judging.load(path, Judge)
