"""Codecs whose state is the latent of an autoencoder: ours, or one from a folder of diffusers.

Whatever an autoencoder wants done to its latents (statistics, scaling, shift) happens inside ``encode`` and
``decode``, so that diffusion always sees a state of about zero mean and unit variance:

    AutoencoderKL, AutoencoderTiny, AutoencoderDC      state = (z − shift) · scale
    with latents_mean and latents_std                  state = (z − mean) · scale / std

where z is the mode of q(z | x). These are the formulas of the pipelines of diffusers (Stable Diffusion 1 to
3, SDXL, FLUX, Sana), which keep them outside the autoencoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PILImage
from torch import Tensor

from langevin import foreign, optional
from langevin.core.errors import unknown
from langevin.folders import FolderError
from langevin.modalities.image.pixels import to_images, to_tensor
from langevin.modalities.image.vae import ConvVAE, load_vae, require_finite

__all__ = ["CLASSES", "DiffusersCodec", "VAECodec", "vae_codec"]

CLASSES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC")
WEIGHTS = "diffusion_pytorch_model"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LatentCodec:
    """What both codecs share: sizes, and pictures in chunks, so that memory does not grow with their number.

    Args:
        channels: of the state.
        factor: pixels per side of one latent.
        pixels: channels of the pictures.
        size: side of the pictures; must be a multiple of the factor.
        chunk: pictures that pass through the autoencoder at once.

    Raises:
        ValueError: a size that is no multiple of the factor; the nearest ones are named.
    """

    def __init__(self, channels: int, factor: int, pixels: int, size: int, chunk: int) -> None:
        if size < 1 or size % factor:
            low = max(factor, size // factor * factor)
            raise ValueError(
                f"size must be a multiple of {factor}, the pixels per side of one latent; got {size}, "
                f"near which are {low} and {low + factor}"
            )
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1; got {chunk}")
        self.channels, self.factor, self.pixels, self.size, self.chunk = channels, factor, pixels, size, chunk

    def encode_tensor(self, x: Tensor) -> Tensor:
        """Pictures (B, C, H, W) in [−1, 1] to states (B, channels, H/factor, W/factor); differentiable."""
        raise NotImplementedError

    def decode_tensor(self, state: Tensor) -> Tensor:
        """States to pictures (B, C, H, W), not clamped to [−1, 1]; differentiable."""
        raise NotImplementedError

    @torch.no_grad()
    def encode(self, pictures: Sequence[Any]) -> Tensor:
        """Pictures to states (B, channels, size / factor, size / factor), float32 on the CPU."""
        x = to_tensor(pictures, self.pixels, self.size)
        return torch.cat([self.encode_tensor(part).float().cpu() for part in x.split(self.chunk)])

    @torch.no_grad()
    def decode(self, state: Tensor) -> list[PILImage.Image]:
        """States to pictures."""
        return [image for part in state.split(self.chunk) for image in to_images(self.decode_tensor(part))]


class VAECodec(LatentCodec):
    """The latents of our own autoencoder.

    Args:
        vae: with fitted statistics.
        size: side of the pictures, a multiple of ``vae.factor``.
        tile: larger pictures pass through in tiles of so many pixels a side, which gives the same result.
        chunk: pictures at once.

    Raises:
        ValueError: a size that is no multiple of the factor; on use, an autoencoder without statistics.
    """

    def __init__(self, vae: ConvVAE, size: int, *, tile: int = 512, chunk: int = 16) -> None:
        super().__init__(vae.latent, vae.factor, vae.channels, size, chunk)
        self.vae, self.tile = vae, tile

    def encode_tensor(self, x: Tensor) -> Tensor:
        self._fitted()
        x = x.to(self.vae.std)
        return self.vae.encode_tiled(x, self.tile) if max(x.shape[2:]) > self.tile else self.vae.encode(x)

    def decode_tensor(self, state: Tensor) -> Tensor:
        self._fitted()
        state = state.to(self.vae.std)
        tiled = max(state.shape[2:]) * self.factor > self.tile
        return self.vae.decode_tiled(state, self.tile) if tiled else self.vae.decode(state)

    def _fitted(self) -> None:
        if not bool(self.vae.fitted):
            raise ValueError("the autoencoder has no statistics of its latents: call vae.fit_statistics")


def vae_codec(folder: str, size: int, tile: int = 512, chunk: int = 16, device: str = "cpu") -> VAECodec:
    """The codec of a folder that :func:`langevin.modalities.image.vae.save_vae` wrote.

    Raises:
        FolderError: not a sound folder, or one of something else.
        ValueError: a size that is no multiple of the factor.
    """
    return VAECodec(load_vae(folder, device), size, tile=tile, chunk=chunk)


class DiffusersCodec(LatentCodec):
    """The latents of an autoencoder in a folder of diffusers.

    Args:
        folder: holds config.json and diffusion_pytorch_model.safetensors; of a pipeline's, vae/ is taken.
        size: side of the pictures, a multiple of the factor.
        device: of the autoencoder.
        dtype: of the autoencoder; states are float32 always. Some of them, as SDXL's, overflow in float16.
        tile: diffusers' own tiling, for large pictures; it blends overlaps and is not equal to the whole.
        chunk: pictures at once.

    Raises:
        FolderError: no such folder, another class, pickled or sharded weights, weights that do not fit.
        MissingPackage: diffusers is not installed.
        ValueError: a size that is no multiple of the factor, or an unknown dtype.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        tile: bool = False,
        chunk: int = 8,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(unknown("dtype", dtype, DTYPES))
        self.vae: Any = _read(foreign.part(folder, "vae"), DTYPES[dtype]).to(device)
        config = self.vae.config
        levels = config.get("encoder_block_out_channels") or config["block_out_channels"]
        factor = 2 ** (len(levels) - 1)
        super().__init__(config["latent_channels"], factor, config["in_channels"], size, chunk)
        if tile:
            self.vae.enable_tiling()
        self.scale = float(config.get("scaling_factor") or 1.0)
        self.shift: float | Tensor = float(config.get("shift_factor") or 0.0)
        if config.get("latents_mean") is not None and config.get("latents_std") is not None:
            self.shift = torch.tensor(config["latents_mean"], device=device)[:, None, None]
            self.spread: float | Tensor = torch.tensor(config["latents_std"], device=device)[:, None, None]
        else:
            self.spread = 1.0

    def encode_tensor(self, x: Tensor) -> Tensor:
        require_finite(x, "pictures")
        out = self.vae.encode(x.to(self.vae.device, self.vae.dtype))
        if hasattr(out, "latent_dist"):
            z = out.latent_dist.mode()
        else:
            z = out.latents if hasattr(out, "latents") else out.latent
        return self._whole((z.float() - self.shift) * self.scale / self.spread)

    def decode_tensor(self, state: Tensor) -> Tensor:
        require_finite(state, "latents")
        z = state.to(self.vae.device).float() * self.spread / self.scale + self.shift
        return self._whole(self.vae.decode(z.to(self.vae.dtype)).sample.float())

    def _whole(self, x: Tensor) -> Tensor:
        if not bool(torch.isfinite(x).all()):
            hint = "; use dtype='float32'" if self.vae.dtype != torch.float32 else ""
            raise ValueError(f"the autoencoder gave NaN or infinity in {self.vae.dtype}{hint}")
        return x


def _read(folder: Path, dtype: torch.dtype) -> Any:
    """The autoencoder of a folder, every weight of it read."""
    name = foreign.require_class(folder, foreign.read_config(folder), "autoencoder class", CLASSES)
    vae = foreign.network(folder, getattr(optional.diffusers(), name), WEIGHTS, torch_dtype=dtype)
    given = vae.config["in_channels"]
    back = vae.config.get("out_channels", given)
    if given not in (1, 3) or given != back:
        raise FolderError(f"{folder}: pictures have 1 or 3 channels; got {given} in and {back} out")
    return vae
