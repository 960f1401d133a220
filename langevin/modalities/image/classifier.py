"""A small convolutional judge of pictures: class probabilities, and features for the metrics.

The judge is trained on real pictures only, apart from every generator, and its own accuracy on held-out
real pictures belongs beside each figure it gives. Ten classes and one channel make 79,000 parameters (160
KB in half precision); the network ends in an average over places, so it takes pictures of any size from 12
pixels on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from langevin.modalities.image.pixels import to_tensor

__all__ = ["Progress", "SmallCNN", "affine_jitter", "load_classifier", "save_classifier", "train_classifier"]

FEATURES = 128


class SmallCNN(nn.Module):
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

    def __init__(
        self, classes: int, channels: int = 3, width: int = 16, class_names: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes must be at least 2; got {classes}")
        names = tuple(map(str, class_names if class_names is not None else range(classes)))
        if len(names) != classes:
            raise ValueError(f"class_names must hold {classes} names; got {len(names)}")
        self.classes, self.channels, self.width, self.class_names = classes, channels, width, names
        widths, strides = (channels, width, 2 * width, 2 * width, 4 * width, 4 * width), (1, 2, 1, 2, 1)
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(widths[:-1], widths[1:], strides, strict=True):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.neck = nn.Linear(4 * width, FEATURES)
        self.head = nn.Linear(FEATURES, classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, 128), the penultimate layer."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(f"x must have shape (B, {self.channels}, H, W); got {tuple(x.shape)}")
        return F.relu(self.neck(self.body(x).mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> logits (B, classes)."""
        return torch.as_tensor(self.head(self.features(x)))

    @torch.no_grad()
    def judge(self, images: Any, batch_size: int = 256) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Class probabilities (N, classes) and features (N, 128) of pictures (as `to_tensor` takes them).

        Runs in evaluation mode and leaves the mode as it was.
        """
        was, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            rows = []
            for start in range(0, len(images), batch_size):
                features = self.features(
                    to_tensor(images[start : start + batch_size], self.channels).to(device)
                )
                rows.append((self.head(features).softmax(1).cpu().numpy(), features.cpu().numpy()))
        finally:
            self.train(was)
        if not rows:
            return np.zeros((0, self.classes), np.float32), np.zeros((0, FEATURES), np.float32)
        return np.concatenate([p for p, _ in rows]), np.concatenate([f for _, f in rows])

    def predict(self, images: Any) -> NDArray[np.int64]:
        """The most probable class of each picture, (N,)."""
        return self.judge(images)[0].argmax(1)


class Progress(NamedTuple):
    """State of a training run: steps done and planned, and the running mean of the loss."""

    step: int
    steps: int
    loss: float


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
    target = torch.as_tensor(np.asarray(labels, dtype=np.int64))
    if len(images) == 0 or target.shape != (len(images),):
        raise ValueError(
            f"labels must have shape ({len(images)},), one for each picture; got {tuple(target.shape)}"
        )
    classes = len(class_names) if class_names is not None else int(target.max()) + 1
    if target.min() < 0 or target.max() >= classes:
        raise ValueError(
            f"labels must lie in 0 … {classes - 1}; got {int(target.min())} … {int(target.max())}"
        )
    first = to_tensor(images[:1], 1 if np.ndim(images) == 4 and np.shape(images)[-1] == 1 else 3)
    channels = first.shape[1]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SmallCNN(classes, channels, width, class_names).to(device)
    steps = epochs * max(1, len(target) // batch_size)
    decay = [p for p in net.parameters() if p.ndim > 1]
    groups: list[dict[str, Any]] = [
        {"params": decay, "weight_decay": 1e-2},
        {"params": [p for p in net.parameters() if p.ndim < 2]},
    ]
    optimizer = torch.optim.AdamW(groups, lr=peak, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, steps, pct_start=0.2)
    net.train()
    mean, step = 0.0, 0
    for _ in range(epochs):
        order = torch.randperm(len(target), generator=generator)
        for k in range(steps // epochs):
            rows = order[k * batch_size : (k + 1) * batch_size].numpy()
            x = to_tensor(
                images[rows] if isinstance(images, np.ndarray) else [images[i] for i in rows], channels
            )
            x = augment(x, generator) if augment is not None else x
            loss = F.cross_entropy(net(x.to(device)), target[rows].to(device), label_smoothing=smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            mean += (float(loss.detach()) - mean) * max(0.02, 1 / step)
            if progress is not None:
                progress(Progress(step, steps, mean))
    return net.eval()


def save_classifier(net: SmallCNN, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights (by default in half precision) and description as one safetensors file."""
    from safetensors.torch import save_file

    about = {
        "classes": net.classes,
        "channels": net.channels,
        "width": net.width,
        "class_names": net.class_names,
    }
    tensors = {
        k: (v.to(dtype) if v.is_floating_point() else v).contiguous()
        for k, v in net.state_dict().items()
        if not k.endswith("num_batches_tracked")
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata={"small_cnn": json.dumps(about)})
    part.replace(path)


def load_classifier(path: str | Path) -> SmallCNN:
    """The judge in a file of `save_classifier`, in float32 and evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of `save_classifier`.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no judge at {str(path)!r}")
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads((file.metadata() or {})["small_cnn"])
            tensors = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118 (no mapping)
        net = SmallCNN(about["classes"], about["channels"], about["width"], about["class_names"])
        missing, unexpected = net.load_state_dict(tensors, strict=False)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold a judge: {error}") from None
    wrong = [k for k in missing if not k.endswith("num_batches_tracked")] + list(unexpected)
    if wrong:
        raise ValueError(f"{path} does not hold a judge: missing or unexpected {', '.join(wrong[:5])}")
    return net.eval()
