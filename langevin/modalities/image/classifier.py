"""A small convolutional judge of pictures: class probabilities, and features for the metrics.

The judge is trained on real pictures only, apart from every generator, and its own accuracy on held-out
real pictures belongs beside each figure it gives. Ten classes and one channel make 79,000 parameters (160
KB in half precision); the network ends in an average over places, so it takes pictures of any size from 12
pixels on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from langevin.modalities import judging
from langevin.modalities.image.pixels import to_tensor
from langevin.modalities.judging import JudgeNetwork, Progress

__all__ = ["Progress", "SmallCNN", "affine_jitter", "load_classifier", "save_classifier", "train_classifier"]


class SmallCNN(JudgeNetwork):
    """Seven layers: five 3 x 3 convolutions with batch normalisation, two of them with stride 2, and two
    linear ones.

    Args:
        classes: how many classes.
        channels: 1 or 3.
        width: channels of the first layer; the later ones have 2 and 4 times as many.
        class_names: for reports; the class numbers when None.

    Raises:
        ValueError: fewer than 2 classes, or names that do not fit them.
    """

    stamp = "small_cnn"
    about = ("classes", "channels", "width", "class_names")
    batch_size = 256

    def __init__(
        self, classes: int, channels: int = 3, width: int = 16, class_names: Sequence[str] | None = None
    ) -> None:
        super().__init__(classes, channels, width, class_names, (1, 2, 1, 2, 1), 4 * width)

    def inputs(self, images: Any) -> Tensor:
        """Pictures, as `to_tensor` takes them -> (B, C, H, W) in [-1, 1]."""
        return to_tensor(images, self.channels)

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, 128), the penultimate layer."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(f"x must have shape (B, {self.channels}, H, W); got {tuple(x.shape)}")
        return F.relu(self.neck(self.body(x).mean((2, 3))))


def affine_jitter(
    x: Tensor, generator: torch.Generator, degrees: float = 10.0, scale: float = 0.12, shift: float = 0.08
) -> Tensor:
    """Turn, stretch and move each picture (B, C, H, W) a little; what comes in from outside repeats the
    border.

    Args:
        degrees: largest turn.
        scale: largest relative change of width and of height.
        shift: largest move, as a share of the side.
    """
    u = 2 * torch.rand(len(x), 5, generator=generator) - 1  # (B, 5)
    angle = u[:, 0] * math.radians(degrees)
    wide, high = 1 + scale * u[:, 1], 1 + scale * u[:, 2]
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [torch.stack([cos * wide, -sin * high, 2 * shift * u[:, 3]], 1),
         torch.stack([sin * wide, cos * high, 2 * shift * u[:, 4]], 1)], 1
    )  # fmt: skip
    grid = F.affine_grid(theta.to(x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def train_classifier(
    images: Any,
    labels: Sequence[int] | NDArray[np.integer],
    *,
    class_names: Sequence[str] | None = None,
    epochs: int = 6,
    batch_size: int = 128,
    peak: float = 4e-3,
    smoothing: float = 0.05,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = affine_jitter,
    seed: int = 0,
    device: str = "cpu",
    width: int = 16,
    progress: Callable[[Progress], None] | None = None,
) -> SmallCNN:
    """Train a judge with AdamW, a one-cycle learning rate and label smoothing.

    Args:
        images: uint8 (N, H, W, C), or pictures of one size.
        labels: (N,) integers from 0.
        class_names: names of the classes; their number is taken from the labels when None.
        peak: largest learning rate.
        smoothing: share of the target spread evenly over the classes.
        augment: (batch, generator) -> batch; None for none.
        seed: of the initial weights, the order and the augmentation.
        progress: called after every step.

    Returns:
        The judge, in evaluation mode.

    Raises:
        ValueError: no pictures, or labels that do not fit them.
    """
    target, classes = judging.checked(labels, len(images), class_names, "picture")
    first = to_tensor(images[:1], 1 if np.ndim(images) == 4 and np.shape(images)[-1] == 1 else 3)
    channels = first.shape[1]
    net = judging.seeded(seed, lambda: SmallCNN(classes, channels, width, class_names)).to(device)

    def draw(rows: Tensor, generator: torch.Generator) -> Tensor:
        at = rows.numpy()
        x = net.inputs(images[at] if isinstance(images, np.ndarray) else [images[i] for i in at])
        return x if augment is None else augment(x, generator)

    return judging.fit(
        net, draw, target, epochs=epochs, batch_size=batch_size, peak=peak, smoothing=smoothing, seed=seed,
        progress=progress,
    )  # fmt: skip


def save_classifier(net: SmallCNN, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights (by default in half precision) and description as one safetensors file."""
    judging.save(net, path, dtype)


def load_classifier(path: str | Path) -> SmallCNN:
    """The judge in a file of `save_classifier`, in float32 and evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of `save_classifier`.
    """
    return judging.load(path, SmallCNN)
