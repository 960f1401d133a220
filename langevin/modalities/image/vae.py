r"""A small convolutional autoencoder of pictures, exact in tiles.

The encoder gives a Gaussian q(z | x) = N(mean(x), exp(log_var(x))) over latents z (B, latent, H/f, W/f); the
decoder gives a picture. Both are chains of 3 × 3 convolutions: residual blocks, strided convolutions on the
way down, nearest neighbours and a convolution on the way up (Rombach et al., 2022, arXiv 2112.10752, without
its attention and discriminator).

What diffusion sees is the *normalised* mean,

    state = (mean(x) − μ) / σ,        picture = decoder(state · σ + μ),

with μ and σ of each latent channel over the data, set by :meth:`ConvVAE.fit_statistics` and kept with the
weights, so that no scaling factor has to travel beside a model.

The norm is an RMS norm over the channels of one pixel. A group norm takes statistics over the picture, and
would normalise a tile otherwise than the whole; here every output depends on a known neighbourhood of the
input alone (``encoder_margin``, ``decoder_margin``), and a tile that is read with that margin gives what the
whole picture gives, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin import folders
from langevin.core.registry import BuildError, Registry, build, describe
from langevin.core.rng import Stream
from langevin.modalities.convolutions import Activation, Conv, PixelNorm, Up, reach
from langevin.modalities.trained import channel_statistics

__all__ = ["AUTOENCODERS", "ConvVAE", "load_vae", "require_finite", "save_vae", "vae_of"]


def require_finite(x: Tensor, what: str) -> None:
    """Refuse tensors with NaN or infinity.

    Raises:
        ValueError: names ``what`` and the samples that are not finite.
    """
    bad = (~torch.isfinite(x)).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"{what} must be finite; NaN or infinity in sample {', '.join(map(str, bad[:8]))}")


class Residual(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))); the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_in, self.conv_in = PixelNorm(width), Conv(width, width)
        self.norm_out, self.conv_out = PixelNorm(width), Conv(width, width)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv_in(F.silu(self.norm_in(x)))
        return x + self.conv_out(F.silu(self.norm_out(hidden)))

    def reach(self, margin: int) -> int:
        return margin + 2


class ConvVAE(nn.Module):
    """A variational autoencoder whose sides shrink by ``factor`` = 2^(len(widths) − 1).

    Args:
        channels: of the pictures, 3 (RGB) or 1 (grey).
        latent: channels of the latents.
        widths: feature channels at each resolution, the full one first.
        blocks: residual blocks at each resolution, in the encoder and in the decoder.

    Attributes:
        factor: pixels per side of one latent.
        fitted: bool (), whether the statistics have been set; until then they are 0 and 1.
        mean, std: (latent,), the statistics of raw latents.
        encoder_margin: neighbouring latents, on each side, whose pixels one latent can depend on.
        decoder_margin: neighbouring latents, on each side, that the pixels of one latent can depend on.

    Raises:
        ValueError: sizes that cannot be.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(
        self, channels: int = 3, latent: int = 4, widths: tuple[int, ...] = (32, 64, 128), blocks: int = 1
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3; got {channels}")
        if not 1 <= len(widths) <= 8 or min(widths) < 1:
            raise ValueError(f"widths must hold 1 to 8 positive numbers; got {tuple(widths)}")
        if latent < 1 or not 1 <= blocks <= 16:
            raise ValueError(f"latent must be at least 1 and blocks 1 … 16; got {latent} and {blocks}")
        self.channels, self.latent, self.widths, self.blocks = channels, latent, tuple(widths), blocks
        self.factor = 2 ** (len(widths) - 1)
        down: list[nn.Module] = [Conv(channels, widths[0])]
        for level, width in enumerate(widths):
            down += [Conv(widths[level - 1], width, stride=2)] if level else []
            down += [Residual(width) for _ in range(blocks)]
        up: list[nn.Module] = [Conv(latent, widths[-1])]
        for level in reversed(range(len(widths))):
            up += [Residual(widths[level]) for _ in range(blocks)]
            up += [Up(widths[level], widths[level - 1])] if level else []
        self.encoder = nn.Sequential(*down, PixelNorm(widths[-1]), Activation(), Conv(widths[-1], 2 * latent))
        self.decoder = nn.Sequential(*up, PixelNorm(widths[0]), Activation(), Conv(widths[0], channels))
        self.encoder_margin = -(-reach(self.encoder) // self.factor)
        self.decoder_margin = reach(self.decoder)
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(latent))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.std.device

    # --- one picture at once ------------------------------------------------------------------------------

    def encode_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), raw, each (B, latent, H/f, W/f).

        Args:
            x: pictures (B, channels, H, W) in [−1, 1], their sides multiples of the factor.

        Raises:
            ValueError: another number of channels or sides that are no multiples, NaN or infinity.
        """
        self._check(x, self.channels, "pictures")
        if x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise ValueError(
                f"sides of pictures must be multiples of {self.factor}; "
                f"got {x.shape[3]} × {x.shape[2]}: crop or pad them"
            )
        mean, log_var = self.encoder(x).chunk(2, 1)
        return mean, log_var.clamp(-30, 20)

    def encode(self, x: Tensor) -> Tensor:
        """Pictures (B, channels, H, W) to their normalised mean latents (B, latent, H/f, W/f).

        Before :meth:`fit_statistics` the latents are the raw means.
        """
        return self._normalise(self.encode_moments(x)[0])

    def sample(self, x: Tensor, rng: Stream) -> Tensor:
        """Normalised latents drawn from q(z | x), one row of ``rng`` for each picture."""
        mean, log_var = self.encode_moments(x)
        noise = rng.fold("latent").normal(tuple(mean.shape)).to(mean)
        return self._normalise(mean + (0.5 * log_var).exp() * noise)

    def decode(self, state: Tensor) -> Tensor:
        """Normalised latents (B, latent, h, w) to pictures (B, channels, f h, f w), not clamped to [−1, 1].

        Raises:
            ValueError: another number of channels, NaN or infinity.
        """
        self._check(state, self.latent, "latents")
        return self.decoder(state * self.std[:, None, None] + self.mean[:, None, None])

    def forward(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mean and log-variance; what training asks for.

        Args:
            x: pictures (B, channels, H, W).
            noise: (B, latent, H/f, W/f) standard normal, with which z is drawn; None decodes the mean.
        """
        mean, log_var = self.encode_moments(x)
        z = mean if noise is None else mean + (0.5 * log_var).exp() * noise
        return self.decoder(z), mean, log_var

    # --- in tiles -----------------------------------------------------------------------------------------

    def encode_tiled(self, x: Tensor, tile: int = 256) -> Tensor:
        """:meth:`encode`, a square of ``tile`` pixels at a time, each read with its margin.

        Args:
            x: pictures (B, channels, H, W).
            tile: pixels, at least the factor; peak memory grows with its square.
        """
        self._check(x, self.channels, "pictures")
        return self._tiled(self.encode, x, tile, self.encoder_margin, self.factor, 1)

    def decode_tiled(self, state: Tensor, tile: int = 256) -> Tensor:
        """:meth:`decode`, a square of ``tile`` pixels at a time, each read with its margin."""
        self._check(state, self.latent, "latents")
        return self._tiled(self.decode, state, tile, self.decoder_margin, 1, self.factor)

    def _tiled(
        self, f: Callable[[Tensor], Tensor], x: Tensor, tile: int, margin: int, inner: int, outer: int
    ) -> Tensor:
        """f on tiles; one latent is ``inner`` elements of its input and ``outer`` of its output."""
        core = tile // self.factor  # latents
        if core < 1:
            raise ValueError(f"tile must be at least {self.factor} pixels; got {tile}")
        if x.shape[2] % inner or x.shape[3] % inner:
            return f(x)  # which says what is wrong with the sides
        height, width = x.shape[2] // inner, x.shape[3] // inner
        rows = []
        for top in range(0, height, core):
            above, below = max(0, top - margin), min(height, top + core + margin)
            y = (top - above) * outer
            row = []
            for left in range(0, width, core):
                before, after = max(0, left - margin), min(width, left + core + margin)
                z = (left - before) * outer
                out = f(x[:, :, above * inner : below * inner, before * inner : after * inner])
                row.append(out[:, :, y : y + core * outer, z : z + core * outer].clone())  # drops the margin
            rows.append(torch.cat(row, 3))
        return torch.cat(rows, 2)

    # --- statistics ---------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit_statistics(self, batches: Iterable[Tensor]) -> None:
        """Set ``mean`` and ``std`` to those of the mean latents of some pictures, channel by channel.

        Args:
            batches: pictures (B, channels, H, W) in [−1, 1]; sizes may differ between batches.

        Raises:
            ValueError: no pictures.
        """
        mean, std = channel_statistics(self.encode_moments(x.to(self.std))[0] for x in batches)
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.fitted.fill_(True)

    def _normalise(self, z: Tensor) -> Tensor:
        return (z - self.mean[:, None, None]) / self.std[:, None, None]

    def _check(self, x: Tensor, channels: int, what: str) -> None:
        if x.ndim != 4 or x.shape[1] != channels or 0 in x.shape:
            raise ValueError(f"{what} must have shape (B, {channels}, height, width); got {tuple(x.shape)}")
        require_finite(x, what)


AUTOENCODERS = Registry("image autoencoder", ConvVAE)
AUTOENCODERS.register("conv_vae")(ConvVAE)

# --- folders ----------------------------------------------------------------------------------------------


def vae_of(node: Any, tensors: dict[str, Tensor]) -> ConvVAE:
    """An autoencoder from its node and weights, in float32, ready to encode.

    Args:
        node: ``{name: conv_vae, channels: …, latent: …, widths: […], blocks: …}``.
        tensors: its state by name.

    Raises:
        ValueError: a node that cannot be built, or weights that do not fit it.
    """
    with torch.device("meta"):  # nothing is allocated before the weights are known to fit
        vae = build(AUTOENCODERS, node)
    try:
        vae.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:400]
        raise ValueError(f"the weights do not fit the autoencoder: {reason}") from None
    return vae.float().eval()


def save_vae(
    vae: ConvVAE, folder: str | Path, card: str, half: bool = False, record: Mapping[str, Any] | None = None
) -> Path:
    """Write an autoencoder as a folder of config.yaml, model.safetensors and card.md.

    Args:
        vae: any autoencoder that is registered.
        folder: made if it is not there.
        card: what it is, for people: data, licence, reconstruction error.
        half: store the weights in half precision (the statistics stay in float32).
        record: other keys of config.yaml, which say where it comes from; nothing reads them.
    """
    tensors = {
        name: value.half() if half and value.is_floating_point() and name not in ("mean", "std") else value
        for name, value in vae.state_dict().items()
    }
    return folders.write_model(
        folder, {**(record or {}), "autoencoder": describe(vae, AUTOENCODERS)}, tensors, card
    )


def load_vae(folder: str | Path, device: str = "cpu") -> ConvVAE:
    """The autoencoder of a folder that :func:`save_vae` wrote.

    Raises:
        FolderError: not a sound folder, or one of something else.
    """
    config = folders.read_config(folder)
    if "autoencoder" not in config:
        raise folders.FolderError(f"{folder} holds no autoencoder: {folders.CONFIG} has no `autoencoder`")
    try:
        return vae_of(config["autoencoder"], folders.read_weights(folder)).to(device)
    except folders.FolderError:
        raise
    except (BuildError, ValueError) as error:
        raise folders.FolderError(f"{folder}: {error}") from None
