"""Video autoencoders of diffusers with few random weights, in the layouts that their folders have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from langevin import optional

__all__ = ["TINY", "tiny"]


def _wan(library: Any) -> Any:
    return library.AutoencoderKLWan(
        base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )


def _wan_residual(library: Any) -> Any:
    """As Wan 2.2's of 5 B parameters: residual shortcuts, patches of 2 × 2 pixels."""
    return library.AutoencoderKLWan(
        base_dim=8, z_dim=48, in_channels=12, out_channels=12, is_residual=True, patch_size=2, num_res_blocks=1,
        latents_mean=[0.0] * 48, latents_std=[1.0] * 48, dim_mult=[1, 1, 1, 1], scale_factor_spatial=16,
        scale_factor_temporal=4, temperal_downsample=[False, True, True],
    )  # fmt: skip


def _ltx(library: Any) -> Any:
    return library.AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4, layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5, patch_size=2,
    )  # fmt: skip


def _cogvideox(library: Any) -> Any:
    return library.AutoencoderKLCogVideoX(
        block_out_channels=(8,) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=2
    )


def _hunyuan(library: Any) -> Any:
    return library.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4
    )


TINY: dict[str, Callable[[Any], Any]] = {
    "Wan 2.1": _wan,
    "Wan 2.2": _wan_residual,
    "LTX-Video": _ltx,
    "CogVideoX": _cogvideox,
    "HunyuanVideo": _hunyuan,
}


def tiny(name: str, seed: int = 0) -> Any:
    """An autoencoder of that layout, in evaluation mode; the seed alone decides its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TINY[name](optional.diffusers()).eval()
