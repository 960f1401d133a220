"""Feature extractors: any callable from pictures, uint8 (N, H, W, C), to (N, F).

`Pixels` and `RandomConv` need no training and no weights. `Classifier` takes a judge trained on real
pictures (`classifier.py`). `Inception` and `CLIP` read weights from local files only; nothing is ever
downloaded. A claim should hold in two of them: a classifier's features ignore backgrounds, random ones
meanings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from langevin import foreign, optional
from langevin.modalities.image.classifier import SmallCNN, load_classifier
from langevin.modalities.image.pixels import to_tensor

__all__ = ["CLIP", "Classifier", "Extractor", "Inception", "Pixels", "RandomConv"]

Extractor = Callable[[NDArray[np.uint8]], NDArray[Any]]


def _batched(
    images: NDArray[np.uint8], run: Callable[[Tensor], Tensor], channels: int, size: int = 128
) -> NDArray[Any]:
    """Run a network over pictures as [-1, 1] tensors, without gradients."""
    with torch.no_grad():
        parts = [
            run(to_tensor(images[i : i + size], channels)).cpu().numpy() for i in range(0, len(images), size)
        ]
    if not parts:
        raise ValueError("images must hold at least one picture; got none")
    return np.concatenate(parts)


class Pixels:
    """Mean colours of a side x side grid of cells, in [0, 1]: F = side^2 C.

    Near neighbours in it are what a viewer calls copies.
    """

    def __init__(self, side: int = 8) -> None:
        if side < 1:
            raise ValueError(f"side must be at least 1; got {side}")
        self.side = side

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        return _batched(
            images, lambda x: (F.adaptive_avg_pool2d(x, self.side).flatten(1) + 1) / 2, images.shape[-1]
        )


class RandomConv:
    """A fixed network of random convolutions, 3 layers of stride 2: the mean and deviation of every
    channel, F = 224 for width 16.

    The weights are drawn by numpy from the seed, so they are the same on every machine and version of torch.
    """

    def __init__(self, seed: int = 0, width: int = 16) -> None:
        self.seed, self.width = seed, width

    def _weights(self, channels: int) -> list[Tensor]:
        rng = np.random.default_rng(self.seed)
        widths = [channels, self.width, 2 * self.width, 4 * self.width]
        return [
            torch.from_numpy(rng.standard_normal((o, i, 3, 3)).astype(np.float32)) * math.sqrt(2 / (9 * i))
            for i, o in itertools.pairwise(widths)
        ]

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        weights = self._weights(images.shape[-1])

        def run(x: Tensor) -> Tensor:
            found = []
            for weight in weights:
                x = F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, stride=2))
                found += [x.mean((2, 3)), x.var((2, 3), correction=0).sqrt()]
            return torch.cat(found, 1)

        return _batched(images, run, images.shape[-1])


class Classifier:
    """The 128 penultimate features of a judge: a `SmallCNN`, or the path of a saved one."""

    def __init__(self, net: SmallCNN | str | Path) -> None:
        self.net = net if isinstance(net, SmallCNN) else load_classifier(net)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        return self.net.judge(images)[1]

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The most probable class of each picture."""
        return self.net.predict(images)


class Inception:
    """The 2048 pooled features of the Inception network that published FIDs use, through torchmetrics and
    torch-fidelity.

    Args:
        weights: local file of the network (`weights-inception-2015-12-05-6726825d.pth` of torch-fidelity).

    Raises:
        FileNotFoundError: no such file; it is not downloaded.
        ImportError: torchmetrics or torch-fidelity is not installed.
    """

    def __init__(self, weights: str | Path, device: str = "cpu") -> None:
        path = _local(weights, "Inception weights")
        optional.torchmetrics()
        optional.Package("torch_fidelity", "torch-fidelity", "Inception features")()
        from torchmetrics.image.fid import NoTrainInceptionV3

        self.device = device
        self.net = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path)).to(device).eval()

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        def run(x: Tensor) -> Tensor:
            return (
                torch.as_tensor(self.net(((x + 1) * 127.5).round().to(torch.uint8).to(self.device)))
                .flatten(1)
                .float()
            )

        return _batched(images, run, 3, 32)


class CLIP:
    """Image embeddings of a CLIP model, normalised to length 1.

    Args:
        folder: a local folder written by transformers' `save_pretrained`.

    Raises:
        FileNotFoundError: no such folder; nothing is downloaded.
        FolderError: pickled weights, links out of the folder, or weights that do not fit; see :mod:`langevin.foreign`.
        ImportError: transformers is not installed.
    """

    _MEAN, _STD = (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    )  # of CLIP's training data

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        path = _local(folder, "a CLIP model")
        transformers = optional.transformers()
        self.device = device
        kind = transformers.CLIPVisionModelWithProjection
        self.net = foreign.network(path, kind, "model", others=True).to(device)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        mean, std = (torch.tensor(v)[:, None, None] for v in (self._MEAN, self._STD))
        side = int(self.net.config.image_size)

        def run(x: Tensor) -> Tensor:
            x = F.interpolate((x + 1) / 2, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
            embedded = self.net(pixel_values=((x - mean) / std).to(self.device)).image_embeds
            return F.normalize(embedded.float(), dim=1)

        return _batched(images, run, 3, 32)


def _local(path: str | Path, what: str) -> Path:
    if not Path(path).exists():
        raise FileNotFoundError(f"{what}: nothing at {str(path)!r}; give a local path, nothing is downloaded")
    return Path(path)
