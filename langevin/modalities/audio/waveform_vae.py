r"""A small convolutional autoencoder of waveforms, exact in pieces.

The encoder gives a Gaussian q(z | x) = N(mean(x), exp(log_var(x))) over latents z (B, latent, T), one frame for every
``hop`` samples; the decoder gives samples. Both are chains of convolutions: residual units with dilations, strided
convolutions on the way down, transposed ones on the way up, all with the snake activation (Ziyin et al., 2020,
arXiv 2006.08195)

    snake(x) = x + sin²(α x) / α,        α > 0 learned for each channel,

whose bias is towards periodic signals; the layout is that of Kumar et al. (2023, arXiv 2306.06546).

What diffusion sees is the *normalised* mean, (mean(x) − μ) / σ, with μ and σ of each latent channel over the data, set by
:meth:`WaveVAE.fit_statistics` and kept with the weights.

Every convolution takes zeros beyond the ends and there is no norm over time, so every output depends on a known
neighbourhood of the input (``encode_margin``, ``decode_margin``): a piece that is read with that margin gives what the whole
gives, up to rounding, at the ends of the sound as well as within.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin import folders
from langevin.core.registry import Registry, describe
from langevin.modalities.audio.codec import CODECS
from langevin.modalities.audio.latents import Latents
from langevin.modalities.trained import channel_statistics, network_of

__all__ = ["AUTOENCODERS", "WaveVAE", "WaveformVAE", "load_waveform_vae", "save_waveform_vae", "waveform_vae"]

DILATIONS = (1, 3)  # of the residual units at each resolution


class Snake(nn.Module):
    """x + sin²(α x) / α for (B, C, n), α = exp of a parameter of each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.log_alpha.exp()[:, None]
        return x + torch.sin(alpha * x).square() / alpha

    def reach(self, margin: int) -> int:
        """Neighbours of its input, on each side, that ``margin`` neighbours of its output depend on."""
        return margin


class Conv(nn.Conv1d):
    """A convolution of odd kernel, zero beyond the ends."""

    def __init__(self, inner: int, outer: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(inner, outer, kernel, padding=dilation * (kernel // 2), dilation=dilation)

    def reach(self, margin: int) -> int:
        return margin + int(self.padding[0])


class Down(nn.Conv1d):
    """1 / stride of the samples, each of them from 2 · stride."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__(inner, outer, 2 * stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        stride = self.stride[0]
        return super().forward(F.pad(x, (stride // 2, stride - stride // 2)))

    def reach(self, margin: int) -> int:
        stride = int(self.stride[0])
        return margin * stride + stride - stride // 2


class Up(nn.ConvTranspose1d):
    """``stride`` times the samples, each of them from two."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__(inner, outer, 2 * stride, stride)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        stride = self.stride[0]
        return super().forward(x)[..., stride // 2 : stride // 2 + x.shape[2] * stride]

    def reach(self, margin: int) -> int:
        return -(-margin // int(self.stride[0])) + 1


class Residual(nn.Module):
    """x + conv₁(snake(conv₇(snake(x)))); the identity at first."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv_in, self.conv_out = Conv(width, width, 7, dilation), Conv(width, width, 1)
        self.snake_in, self.snake_out = Snake(width), Snake(width)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_out(self.snake_out(self.conv_in(self.snake_in(x))))

    def reach(self, margin: int) -> int:
        return self.conv_in.reach(margin)


def _reach(chain: nn.Sequential) -> int:
    """Neighbours of the chain's input, on each side, that one element of its output depends on."""
    margin = 0
    for layer in reversed(list(chain)):
        margin = layer.reach(margin)  # type: ignore[operator]
    return margin


class WaveVAE(nn.Module):
    """A variational autoencoder of mono waveforms.

    Args:
        rate: of the sounds, Hz.
        latent: channels of the latents.
        strides: of the convolutions on the way down; their product is the hop.
        widths: feature channels at each resolution, the full one first; one more than strides.

    Attributes:
        hop: samples of one latent frame.
        fitted: bool (), whether the statistics have been set; until then they are 0 and 1.
        mean, std: (latent,), the statistics of raw latents.
        encode_margin: neighbouring frames, on each side, whose samples one frame can depend on.
        decode_margin: neighbouring frames, on each side, that the samples of one frame can depend on.

    Raises:
        ValueError: sizes that cannot be.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(
        self,
        rate: int,
        latent: int = 16,
        strides: tuple[int, ...] = (4, 4, 4),
        widths: tuple[int, ...] = (16, 32, 64, 128),
    ) -> None:
        super().__init__()
        if rate < 1 or latent < 1:
            raise ValueError(f"rate and latent must be positive; got {rate} and {latent}")
        if not 1 <= len(strides) <= 8 or min(strides) < 2 or math.prod(strides) > 1 << 16:
            raise ValueError(f"strides must hold 1 to 8 whole numbers from 2; got {tuple(strides)}")
        if len(widths) != len(strides) + 1 or min(widths) < 1:
            raise ValueError(
                f"widths must hold {len(strides) + 1} positive numbers, one more than strides; got {tuple(widths)}"
            )
        self.rate, self.latent, self.strides, self.widths = rate, latent, tuple(strides), tuple(widths)
        self.hop = math.prod(strides)
        down: list[nn.Module] = [Conv(1, widths[0], 7)]
        for stride, inner, outer in zip(strides, widths[:-1], widths[1:], strict=True):
            down += [*(Residual(inner, d) for d in DILATIONS), Snake(inner), Down(inner, outer, stride)]
        down += [*(Residual(widths[-1], d) for d in DILATIONS), Snake(widths[-1])]
        up: list[nn.Module] = [Conv(latent, widths[-1], 7)]
        for stride, outer, inner in zip(strides[::-1], widths[-2::-1], widths[:0:-1], strict=True):
            up += [*(Residual(inner, d) for d in DILATIONS), Snake(inner), Up(inner, outer, stride)]
        up += [*(Residual(widths[0], d) for d in DILATIONS), Snake(widths[0])]
        self.encoder = nn.Sequential(*down, Conv(widths[-1], 2 * latent, 3))
        self.decoder = nn.Sequential(*up, Conv(widths[0], 1, 7))
        self.encode_margin = -(-_reach(self.encoder) // self.hop)
        self.decode_margin = _reach(self.decoder)
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(latent))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.std.device

    def encode_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), raw, each (B, latent, T), of samples (B, T · hop).

        Raises:
            ValueError: another shape, or a number of samples that is no multiple of the hop.
        """
        if x.ndim != 2 or not x.shape[1] or x.shape[1] % self.hop:
            raise ValueError(
                f"samples must have shape (B, n) with n a multiple of {self.hop}; got {tuple(x.shape)}"
            )
        mean, log_var = self.encoder(x[:, None]).chunk(2, 1)
        return mean, log_var.clamp(-30, 20)

    def encode(self, x: Tensor) -> Tensor:
        """Samples (B, T · hop) to their normalised mean latents (B, latent, T); raw before :meth:`fit_statistics`."""
        return (self.encode_moments(x)[0] - self.mean[:, None]) / self.std[:, None]

    def decode(self, state: Tensor) -> Tensor:
        """Normalised latents (B, latent, T) to samples (B, T · hop)."""
        return self.decoder(state * self.std[:, None] + self.mean[:, None])[:, 0]

    def forward(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mean and log-variance; what training asks for.

        Args:
            x: samples (B, T · hop).
            noise: (B, latent, T) standard normal, with which z is drawn; None decodes the mean.
        """
        mean, log_var = self.encode_moments(x)
        z = mean if noise is None else mean + (0.5 * log_var).exp() * noise
        return self.decoder(z)[:, 0], mean, log_var

    @torch.no_grad()
    def fit_statistics(self, batches: Iterable[Tensor]) -> None:
        """Set ``mean`` and ``std`` to those of the mean latents of some sounds, channel by channel.

        Args:
            batches: samples (B, T · hop); T may differ between batches.

        Raises:
            ValueError: no sounds.
        """
        mean, std = channel_statistics(self.encode_moments(x.to(self.std))[0] for x in batches)
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.fitted.fill_(True)


AUTOENCODERS = Registry("autoencoder of waveforms", WaveVAE)
AUTOENCODERS.register("waveform_vae")(WaveVAE)


class WaveformVAE(Latents):
    """The latents of our own autoencoder as a codec.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: WaveVAE) -> None:
        super().__init__(
            network.rate, network.latent, network.hop, network.encode_margin, network.decode_margin
        )
        self.network = network

    def encode_tensor(self, x: Tensor) -> Tensor:
        self._fitted()
        return self.network.encode(x[:, 0].to(self.network.std)).float().cpu()

    def decode_tensor(self, state: Tensor) -> Tensor:
        self._fitted()
        return self.network.decode(state.to(self.network.std))[:, None].float().cpu()

    def _fitted(self) -> None:
        if not bool(self.network.fitted):
            raise ValueError("the autoencoder has no statistics of its latents: call fit_statistics")


@CODECS.register("waveform_vae")
def waveform_vae(folder: str, device: str = "cpu") -> WaveformVAE:
    """The codec of a folder that :func:`save_waveform_vae` wrote.

    Raises:
        FolderError: not a sound folder, or one of something else.
    """
    return WaveformVAE(load_waveform_vae(folder, device))


# --- folders ------------------------------------------------------------------------------------------------


def save_waveform_vae(
    network: WaveVAE, folder: str | Path, card: str, record: Mapping[str, Any] | None = None
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


def load_waveform_vae(folder: str | Path, device: str = "cpu") -> WaveVAE:
    """The autoencoder of a folder that :func:`save_waveform_vae` wrote.

    Raises:
        FolderError: not a sound folder, or one of something else.
    """
    network: WaveVAE = network_of(Path(folder).expanduser(), "autoencoder", AUTOENCODERS)
    return network.to(device)
