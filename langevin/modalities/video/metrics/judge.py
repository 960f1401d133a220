"""A small convolutional judge of clips: class probabilities, and features for the metrics.

The judge is trained on real clips only, apart from every generator, and its own accuracy on held-out real clips belongs
beside each figure it gives.

What it sees are `frames` frames at even distances over a clip, brought to side x side pixels by averaging areas. Each
frame enters with its difference from the next one, so every pair of neighbours passes the same two-dimensional
convolutions; the mean and the largest value over places and over pairs are what the linear layers get. The order of the
pairs is lost and motion within a pair is not, so a clip may begin at any phase of its action: in training the clips are
rolled in time by a random number of frames (they should be cyclic, or nearly so), moved by up to a pixel, and seen in noise.

    from langevin.modalities.video.metrics import train_judge
    judge = train_judge(clips, actions, class_names=("walk", "slash"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from langevin.modalities import judging
from langevin.modalities.judging import JudgeNetwork, Progress
from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics.features import looked_at

__all__ = ["Judge", "Progress", "load_judge", "save_judge", "train_judge"]

NOISE = 0.04  # largest deviation in training, where [-1, 1] is the range of pixels


class Judge(JudgeNetwork):
    """Five 3 x 3 convolutions with batch normalisation over pairs of frames, pooling over places and pairs, two linear
    layers.

    Five classes and a width of 16 make 104,000 parameters.

    Args:
        classes: how many classes.
        frames: that are looked at, at least 2.
        side: pixels, to which frames are brought.
        width: channels of the first layer; the later ones have 2 and 4 times as many.
        class_names: what :meth:`names` answers; the class numbers when None.

    Raises:
        ValueError: fewer than 2 classes or frames, a side below 8, or names that do not fit the classes.
    """

    stamp = "video_judge"
    about = ("classes", "frames", "side", "width", "class_names")
    batch_size = 64

    def __init__(
        self,
        classes: int,
        frames: int = 8,
        side: int = 32,
        width: int = 16,
        class_names: Sequence[str] | None = None,
    ) -> None:
        if frames < 2 or side < 8:
            raise ValueError(f"frames must be at least 2 and side at least 8; got {frames} and {side}")
        super().__init__(classes, 6, width, class_names, (2, 1, 2, 1, 2), 16 * width)
        self.frames, self.side = frames, side

    def inputs(self, clips: Sequence[Video]) -> Tensor:
        """(N, frames, 3, side, side) in [-1, 1], frames at even distances over each clip."""
        return looked_at(clips, self.frames, self.side)

    def features(self, x: Tensor) -> Tensor:
        """(B, T, 3, side, side) in [-1, 1] -> (B, 128), the penultimate layer; T is at least 2."""
        if x.ndim != 5 or x.shape[1] < 2 or tuple(x.shape[2:]) != (3, self.side, self.side):
            raise ValueError(
                f"x must have shape (B, T, 3, {self.side}, {self.side}) with T at least 2; got {tuple(x.shape)}"
            )
        pairs = torch.cat([x[:, :-1], x.diff(dim=1)], 2)  # (B, T - 1, 6, side, side)
        y = self.body(pairs.flatten(0, 1))  # (B (T - 1), C, side / 8, side / 8)
        y = torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1).unflatten(0, (len(x), -1))  # (B, T - 1, 2 C)
        return F.relu(self.neck(torch.cat([y.mean(1), y.amax(1)], 1)))

    def names(self, clips: Sequence[Video]) -> list[str]:
        """The name of the most probable class of each clip."""
        return [self.class_names[k] for k in self.predict(clips)]

    def embed(self, clips: Sequence[Video]) -> NDArray[np.float32]:
        """The 128 penultimate features, for distances."""
        return self.judge(clips)[1]


def _varied(x: Tensor, generator: torch.Generator) -> Tensor:
    """Clips (B, T, 3, H, W), each rolled in time, moved by up to a pixel (its border repeated) and seen in noise."""
    count, frames, _, height, width = x.shape
    roll = torch.randint(frames, (count, 1), generator=generator)
    move = torch.randint(-1, 2, (2, count, 1), generator=generator)
    time = (torch.arange(frames) + roll) % frames  # (B, T)
    row = (torch.arange(height) + move[0]).clamp(0, height - 1)  # (B, H)
    column = (torch.arange(width) + move[1]).clamp(0, width - 1)
    clip = torch.arange(count)
    x = x.permute(0, 1, 3, 4, 2)[
        clip[:, None, None, None], time[:, :, None, None], row[:, None, :, None], column[:, None, None, :]
    ].permute(0, 1, 4, 2, 3)
    size = NOISE * torch.rand(count, 1, 1, 1, 1, generator=generator)
    return x + size * torch.randn(x.shape, generator=generator)


def train_judge(
    clips: Sequence[Video],
    labels: Sequence[int] | NDArray[np.integer],
    *,
    class_names: Sequence[str] | None = None,
    frames: int = 8,
    side: int = 32,
    epochs: int = 8,
    batch_size: int = 32,
    peak: float = 4e-3,
    smoothing: float = 0.05,
    seed: int = 0,
    device: str = "cpu",
    width: int = 16,
    progress: Callable[[Progress], None] | None = None,
) -> Judge:
    """Train a judge with AdamW, a one-cycle learning rate and label smoothing.

    Args:
        clips: real ones.
        labels: (N,) integers from 0.
        class_names: names of the classes; their number is taken from the labels when None.
        frames: that are looked at.
        side: pixels.
        peak: largest learning rate.
        smoothing: share of the target spread evenly over the classes.
        seed: of the initial weights, the order and the augmentation.
        progress: called after every step.

    Returns:
        The judge, in evaluation mode.

    Raises:
        ValueError: no clips, or labels that do not fit them.
    """
    target, classes = judging.checked(labels, len(clips), class_names, "clip")
    net = judging.seeded(seed, lambda: Judge(classes, frames, side, width, class_names)).to(device)
    seen = net.inputs(clips)  # (N, T, 3, side, side)
    return judging.fit(
        net, lambda rows, generator: _varied(seen[rows], generator), target, epochs=epochs,
        batch_size=batch_size, peak=peak, smoothing=smoothing, seed=seed, progress=progress,
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
