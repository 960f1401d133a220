"""What codecs of video latents share, and the codec of our own autoencoder.

Whatever an autoencoder wants done to its latents (statistics, scaling) happens inside ``encode`` and ``decode``, so that
diffusion sees states (B, T, C, H, W) of about zero mean and unit variance. Of an autoencoder with a stride of s in time the
first element stands for the first frame and each further one for s frames: 1 + k elements are 1 + k s frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langevin import folders
from langevin.core.registry import describe
from langevin.modalities.base import Failure
from langevin.modalities.trained import network_of
from langevin.modalities.video.causal_vae import AUTOENCODERS, CausalVAE
from langevin.modalities.video.codec import CODECS, checked_size, to_frames, to_values

__all__ = ["Latents", "VideoVAE", "load_video_vae", "save_video_vae", "video_vae"]

Frames = NDArray[np.uint8]


class Latents:
    """A codec around ``encode_tensor``, ``decode_tensor`` and ``decode_pieces``.

    Args:
        channels: of the latents.
        factor: pixels per side of one element.
        stride: frames of one element but the first.
        size: side of a square clip in pixels, or (height, width); multiples of the factor.

    Raises:
        ValueError: a size that is no multiple of the factor; the nearest ones are named.
    """

    def __init__(self, channels: int, factor: int, stride: int, size: int | tuple[int, int]) -> None:
        self.channels, self.factor, self.stride, self.size = channels, factor, stride, checked_size(size)
        for side in self.size:
            if side % factor:
                low = max(factor, side // factor * factor)
                raise ValueError(
                    f"size must be a multiple of {factor}, the pixels per side of one element; got {side}, near which "
                    f"are {low} and {low + factor}"
                )

    def encode_tensor(self, x: Tensor) -> Tensor:
        """Clips (B, frames, 3, H, W) in [−1, 1] to states (B, T, channels, H/factor, W/factor), float32 on the CPU."""
        raise NotImplementedError

    def decode_tensor(self, state: Tensor) -> Tensor:
        """States to clips (B, frames, 3, H, W), not clamped to [−1, 1], float32 on the CPU."""
        return torch.cat(list(self.decode_pieces(iter([state]))), 1)

    def decode_pieces(self, states: Iterable[Tensor]) -> Iterator[Tensor]:
        """States (B, t, …) that follow one another to pieces of clips that do; memory does not grow with their number."""
        raise NotImplementedError

    def elements(self, frames: int) -> int:
        return 1 + -(-(frames - 1) // self.stride)

    def frames(self, elements: int) -> int:
        return 1 + (elements - 1) * self.stride

    @torch.no_grad()
    def encode(self, clips: Sequence[Frames]) -> Tensor:
        """States (B, T, C, H, W) of clips of one shape, each encoded by itself.

        Raises:
            ValueError: a number of frames that is not that of whole elements.
        """
        for clip in clips:
            if (len(clip) - 1) % self.stride:
                raise ValueError(f"clips must have 1 + k · {self.stride} frames; got {len(clip)}")
        return torch.cat([self.encode_tensor(to_values(clip)[None]) for clip in clips])

    @torch.no_grad()
    def decode(self, state: Tensor) -> list[Any]:
        """Clips (frames, height, width, 3) uint8, each decoded by itself; a failure where a state is not finite."""
        return [
            to_frames(self.decode_tensor(x[None])[0])
            if bool(torch.isfinite(x).all())
            else Failure("the state holds NaN or infinity")
            for x in state
        ]

    @torch.no_grad()
    def decode_stream(self, states: Iterable[Tensor]) -> Iterator[list[Any]]:
        """Pieces of clips, a list of B after the other; failures from where a state is not finite."""
        failed: set[int] = set()

        def sound() -> Iterator[Tensor]:
            for state in states:
                bad = ~torch.isfinite(state).flatten(1).all(1)
                failed.update(bad.nonzero().flatten().tolist())
                yield state.nan_to_num(0, 0, 0) if bool(bad.any()) else state

        for piece in self.decode_pieces(sound()):
            yield [
                Failure("the state holds NaN or infinity") if row in failed else to_frames(x)
                for row, x in enumerate(piece)
            ]


class VideoVAE(Latents):
    """The latents of our own autoencoder as a codec; long clips go through it in pieces, which gives the same.

    Args:
        network: in evaluation mode.
        size: side of a square clip in pixels, or (height, width).
        chunk: frames that pass through the autoencoder at once.

    Raises:
        ValueError: a size that is no multiple of the factor, or a chunk below 1; on use, an autoencoder without statistics.
    """

    def __init__(self, network: CausalVAE, size: int | tuple[int, int], chunk: int = 32) -> None:
        super().__init__(network.latent, network.factor, network.stride, size)
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1; got {chunk}")
        self.network, self.chunk = network, chunk

    def encode_tensor(self, x: Tensor) -> Tensor:
        self._fitted()
        pieces = (piece.to(self.network.std) for piece in x.split(self.chunk, 1))
        return torch.cat([state.float().cpu() for state in self.network.encode_stream(pieces)], 1)

    def decode_pieces(self, states: Iterable[Tensor]) -> Iterator[Tensor]:
        self._fitted()
        at_once = max(1, self.chunk // self.stride)
        parts = (part.to(self.network.std) for state in states for part in state.split(at_once, 1))
        for piece in self.network.decode_stream(parts):
            yield piece.float().cpu()

    def _fitted(self) -> None:
        if not bool(self.network.fitted):
            raise ValueError("the autoencoder has no statistics of its latents: call fit_statistics")


@CODECS.register("video_vae")
def video_vae(folder: str, size: int | tuple[int, int], chunk: int = 32, device: str = "cpu") -> VideoVAE:
    """The codec of a folder that :func:`save_video_vae` wrote.

    Raises:
        FolderError: not a sound folder, or one of something else.
        ValueError: a size that is no multiple of the factor.
    """
    return VideoVAE(load_video_vae(folder, device), size, chunk)


# --- folders ------------------------------------------------------------------------------------------------


def save_video_vae(
    network: CausalVAE, folder: str | Path, card: str, record: Mapping[str, Any] | None = None
) -> Path:
    """Write an autoencoder as a folder of config.yaml, model.safetensors and card.md.

    Args:
        network: to be stored in float32.
        folder: made if it is not there.
        card: what it is, for people.
        record: other keys of config.yaml, which say where it comes from; nothing reads them.
    """
    config = {**(record or {}), "autoencoder": describe(network, AUTOENCODERS)}
    return folders.write_model(folder, config, network.state_dict(), card)


def load_video_vae(folder: str | Path, device: str = "cpu") -> CausalVAE:
    """The autoencoder of a folder that :func:`save_video_vae` wrote.

    Raises:
        FolderError: not a sound folder, or one of something else.
    """
    network: CausalVAE = network_of(Path(folder).expanduser(), "autoencoder", AUTOENCODERS)
    return network.to(device)
