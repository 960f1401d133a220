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

from langevin.modalities.audio.bands import FLOOR, band_power, transform
from langevin.modalities.audio.metrics.levels import silent
from langevin.modalities.audio.sound import Audio

__all__ = ["Judge", "Progress", "load_judge", "save_judge", "train_judge"]

FEATURES = 128
MELS = 40
RANGE = 60.0  # dB


class Judge(nn.Module):
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

    def __init__(
        self,
        classes: int,
        rate: int = 16_000,
        seconds: float = 1.0,
        width: int = 16,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes must be at least 2; got {classes}")
        if seconds < 0.1:
            raise ValueError(f"seconds must be at least 0.1; got {seconds:g}")
        names = tuple(map(str, class_names if class_names is not None else range(classes)))
        if len(names) != classes:
            raise ValueError(f"class_names must hold {classes} names; got {len(names)}")
        self.classes, self.rate, self.seconds, self.width, self.class_names = (
            classes,
            rate,
            seconds,
            width,
            names,
        )
        self.length = round(seconds * rate)
        widths, strides = (1, width, 2 * width, 2 * width, 4 * width, 4 * width), (2, 2, 1, 2, 1)
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(widths[:-1], widths[1:], strides, strict=True):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.neck = nn.Linear(2 * 4 * width * (MELS // 8), FEATURES)
        self.head = nn.Linear(FEATURES, classes)

    def windows(self, sounds: Sequence[Audio]) -> Tensor:
        """(N, n) samples, each sound in the window of the judge."""
        return torch.stack([torch.from_numpy(_window(s, self.rate, self.length)) for s in sounds])

    def levels(self, x: Tensor) -> Tensor:
        """(B, n) samples -> (B, 40, frames) in [−1, 1]: from 60 dB below the loudest band to the loudest."""
        n_fft = transform(self.rate)
        found = 10 * torch.log10(band_power(x, self.rate, MELS, n_fft, n_fft // 2).clamp_min(FLOOR))
        return ((found - found.amax((1, 2), keepdim=True)) / (RANGE / 2) + 1).clamp_min(-1)

    def features(self, levels: Tensor) -> Tensor:
        """(B, 40, frames) -> (B, 128), the penultimate layer."""
        if levels.ndim != 3 or levels.shape[1] != MELS:
            raise ValueError(f"levels must have shape (B, {MELS}, frames); got {tuple(levels.shape)}")
        x = self.body(levels[:, None])  # (B, C, 5, frames / 8)
        return F.relu(self.neck(torch.cat([x.mean(3), x.amax(3)], 1).flatten(1)))

    def forward(self, levels: Tensor) -> Tensor:
        """(B, 40, frames) -> logits (B, classes)."""
        return torch.as_tensor(self.head(self.features(levels)))

    @torch.no_grad()
    def judge(
        self, sounds: Sequence[Audio], batch_size: int = 64
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Class probabilities (N, classes) and features (N, 128).

        Runs in evaluation mode and leaves the mode as it was.
        """
        was, device = self.training, self.head.weight.device
        self.eval()
        try:
            rows = []
            for start in range(0, len(sounds), batch_size):
                features = self.features(
                    self.levels(self.windows(sounds[start : start + batch_size])).to(device)
                )
                rows.append((self.head(features).softmax(1).cpu().numpy(), features.cpu().numpy()))
        finally:
            self.train(was)
        if not rows:
            return np.zeros((0, self.classes), np.float32), np.zeros((0, FEATURES), np.float32)
        return np.concatenate([p for p, _ in rows]), np.concatenate([f for _, f in rows])

    def predict(self, sounds: Sequence[Audio]) -> NDArray[np.int64]:
        """The most probable class of each sound, (N,)."""
        return self.judge(sounds)[0].argmax(1)

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


class Progress(NamedTuple):
    """State of a training run: steps done and planned, and the running mean of the loss."""

    step: int
    steps: int
    loss: float


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
    target = torch.as_tensor(np.asarray(labels, dtype=np.int64))
    if len(sounds) == 0 or target.shape != (len(sounds),):
        raise ValueError(
            f"labels must have shape ({len(sounds)},), one for each sound; got {tuple(target.shape)}"
        )
    classes = len(class_names) if class_names is not None else int(target.max()) + 1
    if target.min() < 0 or target.max() >= classes:
        raise ValueError(
            f"labels must lie in 0 … {classes - 1}; got {int(target.min())} … {int(target.max())}"
        )
    durations = [s.seconds for s in sounds]
    rate = rate or sounds[0].rate
    seconds = seconds or max(0.1, math.ceil(100 * float(np.quantile(durations, 0.99))) / 100)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Judge(classes, rate, seconds, width, class_names).to(device)
    heard = net.windows(sounds)  # (N, n)
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
            levels = _masked(net.levels(_varied(heard[rows], rate, generator)), generator)
            loss = F.cross_entropy(net(levels.to(device)), target[rows].to(device), label_smoothing=smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            mean += (float(loss.detach()) - mean) * max(0.02, 1 / step)
            if progress is not None:
                progress(Progress(step, epochs * each, mean))
    return net.eval()


_ABOUT = ("classes", "rate", "seconds", "width", "class_names")


def save_judge(net: Judge, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
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
    save_file(tensors, part, metadata={"sound_judge": json.dumps({k: getattr(net, k) for k in _ABOUT})})
    part.replace(path)


def load_judge(path: str | Path) -> Judge:
    """The judge in a file of `save_judge`, in float32 and evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of `save_judge`.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no judge at {str(path)!r}")
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads((file.metadata() or {})["sound_judge"])
            tensors = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118 (no mapping)
        net = Judge(*(about[k] for k in _ABOUT))
        missing, unexpected = net.load_state_dict(tensors, strict=False)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold a judge: {error}") from None
    wrong = [k for k in missing if not k.endswith("num_batches_tracked")] + list(unexpected)
    if wrong:
        raise ValueError(f"{path} does not hold a judge: missing or unexpected {', '.join(wrong[:5])}")
    return net.eval()
