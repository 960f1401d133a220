r"""The latents of diffusers' AutoencoderOobleck, the waveform autoencoder of Stable Audio (Evans et al., 2024).

    state = (z · scale − mean) / std,        z the mode of q(z | x)

The pipelines of diffusers use z as it is; ``scale``, ``mean`` and ``std`` of each channel bring it to about unit scale, and
:meth:`Oobleck.fitted` takes the latter two from sounds.

**Margins.** The autoencoder is a chain of convolutions without norms over time, so what an output depends on follows from
its configuration: 7 samples of the first convolution, 7 with dilations 1, 3 and 9 of the residual units at each resolution,
twice the stride of the convolutions between them. With these margins pieces give what the whole gives, up to rounding;
:func:`langevin.modalities.audio.chunks.difference` shows it for a folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from langevin import foreign, optional
from langevin.folders import FolderError
from langevin.modalities.audio.codec import CODECS, SMALLEST_STD, sums
from langevin.modalities.audio.latents import Latents
from langevin.modalities.audio.sound import Audio

__all__ = ["Oobleck", "margins"]

LARGEST = 1 << 20  # of any number in a configuration
UNITS = 3 * (1 + 3 + 9)  # samples on each side of the three residual units


def margins(strides: Sequence[int]) -> tuple[int, int]:
    """Frames on each side that a frame and the samples of a frame depend on.

    Args:
        strides: of the encoder, the first at full rate.
    """
    reach = 1  # of the last convolution, in frames
    for stride in reversed(strides):
        reach = reach * stride + -(-stride // 2) + UNITS
    back = 3
    for stride in strides:
        back = -(-(back + UNITS) // stride) + 1
    return -(-(reach + 3) // math.prod(strides)), back + 3


@CODECS.register("oobleck")
class Oobleck(Latents):
    """An AutoencoderOobleck in a folder of config.json and diffusion_pytorch_model.safetensors.

    Args:
        folder: on this machine; of a pipeline's, vae/ is taken.
        scale: of the latents.
        mean, std: (C,), of scaled latents; 0 and 1 when empty.
        device: of the autoencoder.

    Raises:
        FolderError: no such folder, another class, pickled weights, weights that do not fit.
        MissingPackage: diffusers is not installed.
        ValueError: statistics of another length, or numbers that are not positive.
    """

    def __init__(
        self,
        folder: str,
        scale: float = 1.0,
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        device: str = "cpu",
    ) -> None:
        home = foreign.part(folder, "vae")
        self._set(_load(home).to(device), str(home), scale, mean, std, device)

    def _set(
        self,
        network: Any,
        folder: str,
        scale: float,
        mean: Sequence[float],
        std: Sequence[float],
        device: str,
    ) -> None:
        config = network.config
        strides, latent = list(config.downsampling_ratios), int(config.decoder_input_channels)
        super().__init__(
            int(config.sampling_rate), latent, math.prod(strides), *margins(strides), config.audio_channels
        )
        if not scale > 0:
            raise ValueError(f"scale must be positive; got {scale}")
        for name, values in (("mean", mean), ("std", std)):
            if len(values) not in (0, latent):
                raise ValueError(
                    f"{name} must have one value for each of {latent} channels; got {len(values)}"
                )
        self.network, self.folder, self.scale, self.device = network, folder, scale, device
        self.mean = tuple(float(v) for v in mean) or (0.0,) * latent
        self.std = tuple(float(v) for v in std) or (1.0,) * latent
        if not min(self.std) > 0:
            raise ValueError(f"std must be positive in every channel; got {min(self.std)}")

    def encode_tensor(self, x: Tensor) -> Tensor:
        z = self.network.encode(x.to(self.network.device)).latent_dist.mode().float().cpu()
        return (z * self.scale - torch.tensor(self.mean)[:, None]) / torch.tensor(self.std)[:, None]

    def decode_tensor(self, state: Tensor) -> Tensor:
        z = state.cpu() * torch.tensor(self.std)[:, None] + torch.tensor(self.mean)[:, None]
        x = self.network.decode((z / self.scale).to(self.network.device)).sample.float().cpu()
        count = state.shape[2] * self.hop
        return F.pad(x, (0, max(0, count - x.shape[2])))[..., :count]  # odd strides lose samples at the end

    def fitted(self, sounds: Iterable[Audio]) -> Oobleck:
        """The codec with the mean and standard deviation of each channel over all frames of some sounds.

        Raises:
            ValueError: no sounds.
        """
        raw = self._with((), ())
        count, total, square = sums(raw, sounds)
        mean = total[:, 0] / count
        std = (square[:, 0] / count - mean.square()).clamp(min=0).sqrt().clamp(min=SMALLEST_STD)
        return self._with(mean.tolist(), std.tolist())

    def _with(self, mean: Sequence[float], std: Sequence[float]) -> Oobleck:
        """The same network under other statistics."""
        other = Oobleck.__new__(Oobleck)
        other._set(self.network, self.folder, self.scale, mean, std, self.device)
        return other


def _load(home: Path) -> Any:
    config = foreign.read_config(home)
    foreign.require_class(home, config, "autoencoder class", ["AutoencoderOobleck"])
    if config.get("audio_channels", 2) not in (1, 2):
        raise FolderError(f"{home}: sounds have 1 or 2 channels; got {config['audio_channels']}")
    sizes = ("encoder_hidden_size", "decoder_input_channels", "decoder_channels", "sampling_rate")
    lists = ("downsampling_ratios", "channel_multiples")
    wrong = [name for name in sizes if name in config and not _size(config[name])]
    wrong += [name for name in lists if name in config and not _sizes(config[name])]
    if wrong:
        raise FolderError(f"{home}: config.json: {', '.join(wrong)} must be whole numbers from 1")
    if len(config.get("downsampling_ratios", [0] * 5)) != len(config.get("channel_multiples", [0] * 5)):
        raise FolderError(f"{home}: config.json has not as many channel_multiples as downsampling_ratios")
    given, taken = config.get("encoder_hidden_size", 128), config.get("decoder_input_channels", 64)
    if given != 2 * taken:  # the encoder's last convolution gives mean and scale
        raise FolderError(
            f"{home}: an encoder of {given} gives latents of half as many channels, not {taken}"
        )
    return foreign.network(home, optional.diffusers().AutoencoderOobleck, "diffusion_pytorch_model")


def _size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 16 and all(map(_size, value))
