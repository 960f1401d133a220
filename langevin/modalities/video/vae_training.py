r"""Training the autoencoder of clips.

The loss of one clip, all means over its T 3 H W values:

    l1 |x̂ − x|  +  l2 (x̂ − x)²  +  edge |∇x̂ − ∇x|  +  motion |∂x̂ − ∂x|  +  kl Σ KL(q(z | x) ‖ N(0, 1)) / (T 3 H W)

with x̂ decoded from one draw of z, KL = (mean² + e^log_var − log_var − 1) / 2, ∇ the differences of neighbouring pixels,
which sharpen outlines, and ∂ those of neighbouring frames, in which flicker is. These two are weak: an outline at the wrong
place costs them twice as much as none, so that with large weights blurred pictures last long. Squares move what is far off,
absolute errors what is near. The KL term is so weak that it only keeps
latents from drifting (Rombach et al., 2022, arXiv 2112.10752, App. G); unit variance is the matter of the statistics, taken
with the averaged weights after training.

A clip whose frames are no whole number of elements goes on with its last frame, as in a model that uses the codec; in a
batch of several lengths the frames after a clip's own elements do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.training.data import Dataset
from langevin.modalities.sheets import sheet
from langevin.modalities.trained import card, checked_keys, drawn
from langevin.modalities.video.causal_vae import AUTOENCODERS, CausalVAE
from langevin.modalities.video.clip import Video
from langevin.modalities.video.codec import fitted, lasting, to_values
from langevin.modalities.video.latents import VideoVAE, save_video_vae
from langevin.modalities.video.metrics.pairs import psnr

__all__ = ["Reconstruction", "VideoVAEModel", "padded", "rebuilt", "video_vae_of"]

MEASURED = 64  # clips of the data on which a card's figures are measured
FITTED = 512  # clips of the data from which the statistics are taken
LONGEST = 129  # frames of a clip that are looked at then


@dataclass(frozen=True)
class Reconstruction:
    """Weights of the terms of the loss.

    Args:
        l1: of absolute errors.
        l2: of squared errors.
        edge: of absolute errors of the differences between neighbouring pixels.
        motion: of absolute errors of the differences between neighbouring frames.
        kl: of the KL divergence from the standard normal.
    """

    l1: float = 1.0
    l2: float = 2.0
    edge: float = 0.1
    motion: float = 0.1
    kl: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("l1", "l2", "edge", "motion", "kl"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")

    def __call__(
        self, x: Tensor, guess: Tensor, mean: Tensor, log_var: Tensor, frames: Tensor, elements: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each clip (B,) and its terms, unweighted.

        Args:
            x, guess: clips and their reconstructions (B, T, 3, H, W).
            mean, log_var: of q(z | x), (B, L, latent, h, w).
            frames, elements: how many of them are each clip's own, (B,).
        """
        error = guess - x
        change = error.diff(dim=1)
        kl = (mean.square() + log_var.exp() - log_var - 1).sum((2, 3, 4)) / 2
        terms = {
            "l1": _mean(error.abs(), frames),
            "l2": _mean(error.square(), frames),
            "edge": _mean(error.diff(dim=3).abs(), frames) + _mean(error.diff(dim=4).abs(), frames),
            "motion": _mean(change.abs(), frames - 1),
            "kl": (kl * _own(kl, elements)).sum(1) / (frames * x[0, 0].numel()),
        }
        return sum((getattr(self, name) * term for name, term in terms.items()), torch.zeros(())), terms


def _own(x: Tensor, count: Tensor) -> Tensor:
    """1 at the first instants (B, T) of each clip, 0 after them."""
    return (torch.arange(x.shape[1], device=x.device) < count[:, None]).to(x)


def _mean(x: Tensor, count: Tensor) -> Tensor:
    """Mean (B,) over the first instants of (B, T, …); 0 where there are none."""
    rows = x.mean((2, 3, 4))
    return (rows * _own(rows, count)).sum(1) / count.clamp(min=1)


LOSSES = Registry("loss of an autoencoder of clips", Reconstruction)
LOSSES.register("reconstruction")(Reconstruction)


def padded(items: Sequence[Video], size: tuple[int, int], network: CausalVAE) -> tuple[Tensor, Tensor]:
    """Clips (B, T, 3, H, W) at (height, width) that go on with their last frame, and the elements (B,) of each."""
    clips = [fitted(item, size) for item in items]
    elements = [network.elements(len(clip)) for clip in clips]
    frames = network.frames(max(elements))
    return torch.stack([to_values(lasting(clip, frames)) for clip in clips]), torch.tensor(elements)


@dataclass
class VideoVAEModel:
    """An autoencoder as the trainer sees it.

    Args:
        network: what is trained.
        objective: weights of the loss.
        size: (height, width) to which clips are brought.
        about: name, summary, licence, attribution and settings of the loss, for its folder.
    """

    network: CausalVAE
    objective: Reconstruction
    size: tuple[int, int]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.about.get("name", "my-video-vae"))

    @property
    def codec(self) -> VideoVAE:
        """The codec with the weights as they are."""
        return VideoVAE(self.network, self.size)

    def loss(
        self, items: Any, conditions: Any, rng: Stream, rows: tuple[int, int] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each clip (B,) and its terms; conditions are not used."""
        network = self.network
        x, elements = (value.to(network.device) for value in padded(items, self.size, network))
        sides = [side // network.factor for side in self.size]
        noise = rng.fold("latent").normal((len(x), network.elements(x.shape[1]), network.latent, *sides))
        # under autocast the terms would be sums in half precision
        guess, mean, log_var = (value.float() for value in network(x, noise.to(x)))
        frames = 1 + (elements - 1) * network.stride
        return self.objective(x, guess, mean, log_var, frames, elements)

    def sheet(self, data: Dataset) -> Any:
        """Up to eight frames of four clips, each row above that of its reconstruction."""
        real, made = rebuilt(self._rough(), data, 4)
        columns = min(8, max(len(clip) for clip in real))
        rows = [clip for pair in zip(real, made, strict=True) for clip in pair]
        places = [np.linspace(0, len(clip) - 1, columns).round().astype(int) for clip in rows]
        frames = [clip.frames[k] for clip, row in zip(rows, places, strict=True) for k in row]
        return sheet([Image.fromarray(frame) for frame in frames], columns)

    def complete(self, data: Dataset, seed: int) -> None:
        """Set the statistics of the latents; the network is left in evaluation mode, without gradients."""
        network = self.network.eval().requires_grad_(False)

        def clips() -> Iterator[Tensor]:
            for (item,) in drawn(data, FITTED, 1, seed):
                yield padded([Video(item.frames[:LONGEST], item.fps)], self.size, network)[0]

        network.fit_statistics(clips())

    def _rough(self) -> VideoVAE:
        """Before :meth:`complete` the statistics are 0 and 1, which is enough to look at reconstructions."""
        self.network.eval()
        self.network.fitted.fill_(True)
        return self.codec

    def save(self, folder: Path, record: Mapping[str, Any], trained: str, data: Dataset) -> VideoVAE:
        """Write the folder that ``{name: video_vae, folder: …}`` names as a codec, with the error of reconstruction."""
        network = self.network
        real, made = rebuilt(self.codec, data, MEASURED)
        decibels = float(np.median([psnr(a, b) for a, b in zip(made, real, strict=True)]))
        lines = [
            f"latents: {network.latent} channels, one for {network.factor} × {network.factor} pixels of {network.stride} "
            "frames (the first: of one)",
            f"sees {network.encode_past} earlier frames to encode, {network.decode_past} earlier elements to decode",
        ]
        measured = [
            f"reconstruction: PSNR {decibels:.1f} dB, the median over {len(real)} clips of the training data"
        ]
        text = card(self, "An autoencoder of clips trained with langevin.", lines, trained, measured, data)
        save_video_vae(network, folder, text, record={**self.about, **record})
        return self.codec


def rebuilt(codec: Any, data: Dataset, count: int) -> tuple[list[Video], list[Video]]:
    """The first clips of the data at the codec's size, and what becomes of them through it, of the same lengths."""
    items, _ = data.batch(list(range(min(count, len(data)))))
    real = [Video(fitted(item, codec.size)[:LONGEST], item.fps) for item in items]
    made = []
    for clip in real:
        frames = codec.frames(codec.elements(len(clip)))
        (back,) = codec.decode(codec.encode([lasting(clip.frames, frames)]))
        made.append(Video(back[: len(clip)], clip.fps))
    return real, made


def video_vae_of(data: Dataset, given: Mapping[str, Any], seed: int = 0) -> VideoVAEModel:
    """A fresh autoencoder for clips like those of the data, from the ``model`` of a training configuration.

    Args:
        data: items are clips; one side of theirs is brought down to a multiple of the factor, the other is cut.
        given: ``autoencoder`` (a node), ``objective`` (fields of :class:`Reconstruction`), ``name``, ``summary``,
            ``licence``, ``attribution``.
        seed: of the weights.

    Raises:
        BuildError: a key or name that is not known, with the nearest that is, or sizes that cannot be.
        ValueError: clips of different sizes, or smaller than one element.
    """
    about = checked_keys(given)
    objective = build(LOSSES, {"name": "reconstruction", **(given.get("objective") or {})})
    node = given.get("autoencoder") or {}
    node = {"name": node} if isinstance(node, str) else node
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: CausalVAE = build(AUTOENCODERS, {"name": "video_vae", **node})
    sizes = {item.size for item in data.batch(list(range(min(32, len(data)))))[0]}
    if len(sizes) > 1:
        raise ValueError(
            f"the clips have different sizes {sorted(sizes)[:4]}; give data.size=… to bring them to one"
        )
    width, height = (side // network.factor * network.factor for side in sizes.pop())
    if not width or not height:
        raise ValueError(f"clips must have at least {network.factor} pixels a side, one element's")
    return VideoVAEModel(network, objective, (height, width), about)
