"""Small convolutional judges: class probabilities, and features for the metrics. What those of all modalities share.

A judge is trained on real items only, apart from every generator, and its own accuracy on held-out real items belongs
beside each figure it gives. The judge of a modality says how items become the input of the body, and how places are
pooled; the body, the training and the file are here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["FEATURES", "JudgeNetwork", "Progress", "checked", "fit", "load", "save", "seeded"]

FEATURES = 128


class JudgeNetwork(nn.Module):
    """Five 3 x 3 convolutions with batch normalisation, pooling over places, and two linear layers.

    Class attributes:
        stamp: names the kind of judge in files.
        about: arguments of the class that a file keeps, each an attribute of the judge.
        batch_size: items that are judged at once by default.

    Args:
        classes: how many classes.
        channels: of the input.
        width: channels of the first layer; the later ones have 2 and 4 times as many.
        class_names: the class numbers when None.
        strides: of the five convolutions.
        pooled: channels after pooling.

    Raises:
        ValueError: fewer than 2 classes, or names that do not fit them.
    """

    stamp: ClassVar[str]
    about: ClassVar[tuple[str, ...]]
    batch_size: ClassVar[int]

    def __init__(
        self,
        classes: int,
        channels: int,
        width: int,
        class_names: Sequence[str] | None,
        strides: tuple[int, int, int, int, int],
        pooled: int,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes must be at least 2; got {classes}")
        names = tuple(map(str, class_names if class_names is not None else range(classes)))
        if len(names) != classes:
            raise ValueError(f"class_names must hold {classes} names; got {len(names)}")
        self.classes, self.channels, self.width, self.class_names = classes, channels, width, names
        widths = (channels, width, 2 * width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(widths[:-1], widths[1:], strides, strict=True):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.neck = nn.Linear(pooled, FEATURES)
        self.head = nn.Linear(FEATURES, classes)

    def inputs(self, items: Any) -> Tensor:
        """What :meth:`features` takes, of native objects."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """Inputs (B, …) -> (B, 128), the penultimate layer."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (B, …) -> logits (B, classes)."""
        return torch.as_tensor(self.head(self.features(x)))

    @torch.no_grad()
    def judge(
        self, items: Any, batch_size: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Class probabilities (N, classes) and features (N, 128).

        Runs in evaluation mode and leaves the mode as it was.
        """
        was, device, size = self.training, self.head.weight.device, batch_size or self.batch_size
        self.eval()
        try:
            rows = []
            for start in range(0, len(items), size):
                features = self.features(self.inputs(items[start : start + size]).to(device))
                rows.append((self.head(features).softmax(1).cpu().numpy(), features.cpu().numpy()))
        finally:
            self.train(was)
        if not rows:
            return np.zeros((0, self.classes), np.float32), np.zeros((0, FEATURES), np.float32)
        return np.concatenate([p for p, _ in rows]), np.concatenate([f for _, f in rows])

    def predict(self, items: Any) -> NDArray[np.int64]:
        """The most probable class of each item, (N,)."""
        return self.judge(items)[0].argmax(1)


Net = TypeVar("Net", bound=JudgeNetwork)


class Progress(NamedTuple):
    """State of a training run: steps done and planned, and the running mean of the loss."""

    step: int
    steps: int
    loss: float


def checked(
    labels: Sequence[int] | NDArray[np.integer], count: int, class_names: Sequence[str] | None, what: str
) -> tuple[Tensor, int]:
    """Labels (count,) as integers, and the number of classes: that of the names, else what the labels need.

    Args:
        what: one item is called in messages ("sound").

    Raises:
        ValueError: no items, or labels that do not fit them.
    """
    target = torch.as_tensor(np.asarray(labels, dtype=np.int64))
    if count == 0 or target.shape != (count,):
        raise ValueError(f"labels must have shape ({count},), one for each {what}; got {tuple(target.shape)}")
    classes = len(class_names) if class_names is not None else int(target.max()) + 1
    if target.min() < 0 or target.max() >= classes:
        raise ValueError(
            f"labels must lie in 0 … {classes - 1}; got {int(target.min())} … {int(target.max())}"
        )
    return target, classes


def seeded(seed: int, make: Callable[[], Net]) -> Net:
    """A judge whose initial weights follow from the seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def fit(
    net: Net,
    draw: Callable[[Tensor, torch.Generator], Tensor],
    target: Tensor,
    *,
    epochs: int,
    batch_size: int,
    peak: float,
    smoothing: float,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
) -> Net:
    """Train a judge with AdamW, a one-cycle learning rate and label smoothing.

    Args:
        net: trained in place, on its own device.
        draw: (places of items, generator) -> their augmented inputs.
        target: (N,) classes.
        peak: largest learning rate.
        smoothing: share of the target spread evenly over the classes.
        seed: of the order and the augmentation.
        progress: called after every step.

    Returns:
        The judge, in evaluation mode.
    """
    generator, device = torch.Generator().manual_seed(seed), net.head.weight.device
    each = max(1, len(target) // batch_size)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": 1e-2},
        {"params": [p for p in net.parameters() if p.ndim < 2]},
    ]
    optimizer = torch.optim.AdamW(groups, lr=peak, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, epochs * each, pct_start=0.2)
    net.train()
    mean, step = 0.0, 0
    for _ in range(epochs):
        order = torch.randperm(len(target), generator=generator)
        for k in range(each):
            rows = order[k * batch_size : (k + 1) * batch_size]
            x = draw(rows, generator).to(device)
            loss = F.cross_entropy(net(x), target[rows].to(device), label_smoothing=smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            mean += (float(loss.detach()) - mean) * max(0.02, 1 / step)
            if progress is not None:
                progress(Progress(step, epochs * each, mean))
    return net.eval()


def save(net: JudgeNetwork, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights (by default in half precision) and description as one safetensors file."""
    from safetensors.torch import save_file

    tensors = {
        k: (v.to(dtype) if v.is_floating_point() else v).contiguous()
        for k, v in net.state_dict().items()
        if not k.endswith("num_batches_tracked")
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata={net.stamp: json.dumps({k: getattr(net, k) for k in net.about})})
    part.replace(path)


def load(path: str | Path, kind: type[Net]) -> Net:
    """The judge in a file of :func:`save`, in float32 and evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no file of such a judge.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no judge at {str(path)!r}")
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads((file.metadata() or {})[kind.stamp])
            tensors = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118 (no mapping)
        net = kind(**{k: about[k] for k in kind.about})
        missing, unexpected = net.load_state_dict(tensors, strict=False)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold a judge: {error}") from None
    wrong = [k for k in missing if not k.endswith("num_batches_tracked")] + list(unexpected)
    if wrong:
        raise ValueError(f"{path} does not hold a judge: missing or unexpected {', '.join(wrong[:5])}")
    return net.eval()
