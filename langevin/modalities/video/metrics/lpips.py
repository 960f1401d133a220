"""LPIPS, from local weights only; nothing is ever downloaded.

The distance of two frames is Σ_l mean over places of w_l · (φ̂_l(x) − φ̂_l(y))², with φ̂_l the features of layer l of VGG-16,
scaled to length 1 at each place, and w_l ≥ 0 weights that were fitted to human judgements (Zhang et al., 2018, "The
unreasonable effectiveness of deep features as a perceptual metric", arXiv 1801.03924, version 0.1, ``net="vgg"``). The w_l
are those of its authors (BSD-2-Clause; their notice is in the file's metadata); the features are those of ImageNet:

    hf download timm/vgg16.tv_in1k --local-dir vgg16

    from langevin.modalities.video.metrics import LPIPS
    LPIPS("vgg16")(clip, other)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from langevin import foreign, optional
from langevin.folders import FolderError
from langevin.modalities.video.clip import Video
from langevin.modalities.video.codec import to_values

__all__ = ["GET_VGG", "LPIPS"]

GET_VGG = "hf download timm/vgg16.tv_in1k --local-dir vgg16"
# places of the convolutions among the layers of VGG-16 ("features"), by block; features are taken after the last of each
_BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_CHANNELS = (64, 128, 256, 512, 512)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of values in [−1, 1]
_LEAST = 16  # pixels a side, which four halvings leave one of


class LPIPS:
    """The perceptual distance of clips, frame by frame.

    Args:
        folder: with model.safetensors, whose names begin with "features.".
        device: to compute on.
        batch_size: frames at a time.

    Raises:
        FileNotFoundError: no such folder; the message has the command that fetches one.
        FolderError: pickled weights, or those of another network.
        MissingPackage: safetensors is not installed.
    """

    def __init__(self, folder: str | Path, device: str = "cpu", batch_size: int = 16) -> None:
        home = Path(folder).expanduser()
        if not home.is_dir():
            raise FileNotFoundError(
                f"no folder {str(folder)!r}; nothing is downloaded: run `{GET_VGG}` and give that folder"
            )
        foreign.require_inside(home)
        optional.safetensors()  # a clear error where it is not installed
        from safetensors.torch import load_file

        tensors = load_file(foreign.weights(home, "model"))
        self.device, self.batch_size = device, batch_size
        self.layers = [[_layer(tensors, place, home, device) for place in block] for block in _BLOCKS]
        self.weights = [w.to(device) for w in _fitted()]

    @torch.no_grad()
    def __call__(self, x: Video, y: Video) -> float:
        """The mean over frames; 0 of equal clips.

        Raises:
            ValueError: clips of different shapes, or frames below 16 × 16 pixels.
        """
        if x.frames.shape != y.frames.shape:
            raise ValueError(
                f"two clips must have the same frames and size; got {x.frames.shape} and {y.frames.shape}"
            )
        if min(x.size) < _LEAST:
            raise ValueError(
                f"frames must have at least {_LEAST} x {_LEAST} pixels; got {x.size[0]} x {x.size[1]}"
            )
        found = []
        for start in range(0, len(x), self.batch_size):
            pair = [
                to_values(clip.frames[start : start + self.batch_size]).to(self.device) for clip in (x, y)
            ]
            found.append(self.distances(*pair).cpu().numpy())
        return float(np.concatenate(found).mean())

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        """(B,) of frames (B, 3, H, W) in [−1, 1]."""
        total = x.new_zeros(len(x))
        for a, b, w in zip(self.features(x), self.features(y), self.weights, strict=True):
            total = total + F.conv2d((a - b).square(), w).mean((1, 2, 3))
        return total

    def features(self, x: Tensor) -> list[Tensor]:
        """Of five layers, scaled to length 1 at each place."""
        shift, scale = (torch.tensor(v, device=x.device)[:, None, None] for v in (_SHIFT, _SCALE))
        x = (x - shift) / scale
        out = []
        for k, block in enumerate(self.layers):
            x = F.max_pool2d(x, 2) if k else x
            for weight, bias in block:
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            out.append(x / (1e-8 + x.square().sum(1, keepdim=True)).sqrt())
        return out


def _layer(tensors: dict[str, Tensor], place: int, home: Path, device: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution."""
    names = [f"features.{place}.{part}" for part in ("weight", "bias")]
    if any(name not in tensors for name in names):
        raise FolderError(f"{home} has no {names[0]}, so it is not VGG-16; fetch it with `{GET_VGG}`")
    weight, bias = (tensors[name].float().to(device) for name in names)
    wanted = _CHANNELS[next(k for k, block in enumerate(_BLOCKS) if place in block)]
    if weight.ndim != 4 or weight.shape[0] != wanted or weight.shape[2:] != (3, 3):
        raise FolderError(
            f"{home}: {names[0]} has the shape {tuple(weight.shape)}, which is not that of VGG-16"
        )
    return weight, bias


def _fitted() -> list[Tensor]:
    """The weights w_l (1, C, 1, 1) beside this file."""
    from safetensors.torch import load_file

    held = load_file(Path(__file__).with_name("lpips_vgg.safetensors"))
    return [held[f"lin{k}"][None, :, None, None] for k in range(len(_BLOCKS))]
