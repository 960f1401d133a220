"""Codecs whose state is the latent of a video autoencoder in a folder of diffusers, as it is.

    AutoencoderKLWan                                   state = (z − mean) / std
    AutoencoderKLLTXVideo                              state = (z − mean) · scale / std
    AutoencoderKLCogVideoX, AutoencoderKLHunyuanVideo  state = z · scale

where z is the mode of q(z | x). These are the formulas of the pipelines of diffusers, which keep them outside the
autoencoder.

**Streams.** How a clip is decoded in pieces depends on the autoencoder:

    Wan          element after element through its own caches, as diffusers decodes whole clips: the same
    CogVideoX    three elements, then pairs, through its own caches, as diffusers decodes clips of an odd number of them:
                 the same. Clips of an even number end with their last element again, which is cut off.
    LTX, Hunyuan their decoders look ahead or take statistics over the clip and have no caches: overlapping windows, of
                 the lengths of diffusers' own tiling in time, cross-faded: near the whole, not equal to it

:func:`langevin.modalities.video.causality.measured` shows for any folder what is causal and what is exact.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from langevin import foreign, optional
from langevin.core.errors import unknown
from langevin.folders import FolderError
from langevin.modalities.video.codec import CODECS
from langevin.modalities.video.latents import Latents

__all__ = ["CLASSES", "DiffusersVideo"]

WEIGHTS = "diffusion_pytorch_model"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Pieces = Iterable[Tensor]  # (B, C, t, h, w) that follow one another, raw
Played = Iterator[Tensor]  # (B, 3, t, H, W)


@dataclass(frozen=True)
class Layout:
    """What a configuration says of an autoencoder.

    Args:
        channels: of the latents.
        factor: pixels per side of one element.
        stride: frames of one element but the first.
        pixels: channels of the frames, in and out.
        mean, std: of raw latents, one for each channel or one for all.
        scale: of the latents.
        play: raw latents in pieces to frames in pieces, with memory that does not grow.
        odd: the rule of frames holds for odd numbers of elements alone.
    """

    channels: int
    factor: int
    stride: int
    pixels: tuple[int, int]
    mean: Any
    std: Any
    scale: float
    play: Callable[[Any, Pieces], Played]
    odd: bool = False


@CODECS.register("diffusers")
class DiffusersVideo(Latents):
    """The latents of a video autoencoder in a folder of config.json and diffusion_pytorch_model.safetensors.

    Args:
        folder: on this machine; of a pipeline's, vae/ is taken.
        size: side of a square clip in pixels, or (height, width); multiples of the factor.
        device: of the autoencoder.
        dtype: of the autoencoder; states are float32 always.
        tile: diffusers' own tiling in space, for large clips; it blends overlaps and is not equal to the whole. Streams of
            Wan and CogVideoX are not tiled.

    Raises:
        FolderError: no such folder, another class, pickled or sharded weights, weights that do not fit, or frames that are
            not RGB.
        MissingPackage: diffusers is not installed.
        ValueError: a size that is no multiple of the factor, or an unknown dtype.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int | tuple[int, int],
        device: str = "cpu",
        dtype: str = "float32",
        tile: bool = False,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(unknown("dtype", dtype, DTYPES))
        home = foreign.part(folder, "vae")
        name = foreign.require_class(
            home, foreign.read_config(home), "class of video autoencoder", list(CLASSES)
        )
        kind = getattr(optional.diffusers(), name)
        self.vae: Any = foreign.network(home, kind, WEIGHTS, torch_dtype=DTYPES[dtype]).to(device)
        self.layout = layout = CLASSES[name](self.vae, home)
        if layout.pixels != (3, 3):
            raise FolderError(
                f"{home}: frames have 3 channels; got {layout.pixels[0]} in and {layout.pixels[1]} out"
            )
        super().__init__(layout.channels, layout.factor, layout.stride, size)
        for side in ("use_framewise_encoding", "use_framewise_decoding"):
            if hasattr(self.vae, side):
                setattr(self.vae, side, False)  # windows in time are those of decode_pieces
        if tile:
            self.vae.enable_tiling()
        self.mean, self.std = (
            torch.as_tensor(value, dtype=torch.float32).reshape(-1, 1, 1).to(device)
            for value in (layout.mean, layout.std)
        )

    def encode_tensor(self, x: Tensor) -> Tensor:
        x = x.to(self.vae.device, self.vae.dtype).movedim(2, 1)
        z = self.vae.encode(x).latent_dist.mode().movedim(2, 1).float()
        return self._whole((z - self.mean) * self.layout.scale / self.std).cpu()

    def decode_tensor(self, state: Tensor) -> Tensor:
        count = state.shape[1]
        if self.layout.odd and count % 2 == 0:
            state = torch.cat([state, state[:, -1:]], 1)
        with _settled():
            x = self.vae.decode(*_timed(self.vae, self._raw(state))).sample
        return self._whole(x[:, :, : self.frames(count)].movedim(1, 2).float()).cpu()

    def decode_pieces(self, states: Iterable[Tensor]) -> Iterator[Tensor]:
        played = self.layout.play(self.vae, map(self._raw, states))
        while True:
            with _settled():  # between the pieces the caller may draw
                x = next(played, None)
            if x is None:
                return
            yield self._whole(x.movedim(1, 2).float()).cpu()

    def _raw(self, state: Tensor) -> Tensor:
        """States (B, T, C, h, w) to what the decoder takes, (B, C, T, h, w)."""
        z = state.to(self.vae.device).float() * self.std / self.layout.scale + self.mean
        return z.to(self.vae.dtype).movedim(2, 1)

    def _whole(self, x: Tensor) -> Tensor:
        if not bool(torch.isfinite(x).all()):
            hint = "; use dtype='float32'" if self.vae.dtype != torch.float32 else ""
            raise ValueError(f"the autoencoder gave NaN or infinity in {self.vae.dtype}{hint}")
        return x


@contextmanager
def _settled() -> Iterator[None]:
    """Decoders of LTX may add noise of torch's own generator: the same noise always, and the generator left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _timed(vae: Any, z: Tensor) -> tuple[Tensor, ...]:
    """The arguments of a decoder; of LTX from 0.9.1 on with the time 0, at which latents are clean."""
    if vae.config.get("timestep_conditioning"):
        return z, torch.zeros(len(z), device=z.device, dtype=z.dtype)
    return (z,)


# --- Wan ----------------------------------------------------------------------------------------------------


def _wan(vae: Any, home: Path) -> Layout:
    config = vae.config
    patch = config["patch_size"] or 1
    stride = 2 ** sum(map(bool, config["temperal_downsample"]))
    if stride != 4:  # diffusers encodes 1 + 4 k frames, whatever the configuration says
        raise FolderError(f"{home}: an AutoencoderKLWan has a stride of 4 frames; got {stride}")
    return Layout(
        config["z_dim"],
        patch * 2 ** (len(config["dim_mult"]) - 1),
        stride,
        (config["in_channels"] // patch**2, config["out_channels"] // patch**2),
        config["latents_mean"],
        config["latents_std"],
        1.0,
        _play_wan,
    )


def _play_wan(vae: Any, pieces: Pieces) -> Played:
    wan = sys.modules[type(vae).__module__]
    caches = sum(isinstance(layer, wan.WanCausalConv3d) for layer in vae.decoder.modules())
    cache: list[Any] = [None] * caches
    first = True
    for piece in pieces:
        for z in piece.split(1, 2):
            x = vae.decoder(vae.post_quant_conv(z), feat_cache=cache, feat_idx=[0], first_chunk=first)
            first = False
            if vae.config.patch_size is not None:
                x = wan.unpatchify(x, patch_size=vae.config.patch_size)
            yield x.clamp(-1, 1)


# --- CogVideoX ----------------------------------------------------------------------------------------------


def _cogvideox(vae: Any, home: Path) -> Layout:
    config = vae.config
    return Layout(
        config["latent_channels"],
        2 ** (len(config["block_out_channels"]) - 1),
        int(config["temporal_compression_ratio"]),
        (config["in_channels"], config["out_channels"]),
        0.0,
        1.0,
        float(config["scaling_factor"]),
        _play_cogvideox,
        odd=True,
    )


def _play_cogvideox(vae: Any, pieces: Pieces) -> Played:
    """Three elements, then pairs; what is missing of them at the end is the last element again, cut off afterwards."""
    stride, wanted, cache = int(vae.config.temporal_compression_ratio), 3, None
    held: Tensor | None = None

    def decoded(z: Tensor, missing: int = 0) -> Tensor:
        nonlocal cache
        z = torch.cat([z, *[z[:, :, -1:]] * missing], 2)
        if vae.post_quant_conv is not None:
            z = vae.post_quant_conv(z)
        x, cache = vae.decoder(z, conv_cache=cache)
        return x[:, :, : x.shape[2] - missing * stride]

    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece], 2)
        while held.shape[2] >= wanted:
            yield decoded(held[:, :, :wanted])
            held, wanted = held[:, :, wanted:], 2
    if held is not None and held.shape[2]:
        alone = wanted == 3 and held.shape[2] == 1  # a picture
        yield decoded(held, 0 if alone else wanted - held.shape[2])


# --- LTX and Hunyuan ----------------------------------------------------------------------------------------


def _ltx(vae: Any, home: Path) -> Layout:
    config = vae.config
    return Layout(
        config["latent_channels"],
        int(vae.spatial_compression_ratio),
        int(vae.temporal_compression_ratio),
        (config["in_channels"], config["out_channels"]),
        vae.latents_mean,
        vae.latents_std,
        float(config["scaling_factor"]),
        _play_blended,
    )


def _hunyuan(vae: Any, home: Path) -> Layout:
    config = vae.config
    return Layout(
        config["latent_channels"],
        int(config["spatial_compression_ratio"]),
        int(config["temporal_compression_ratio"]),
        (config["in_channels"], config["out_channels"]),
        0.0,
        1.0,
        float(config["scaling_factor"]),
        _play_blended,
    )


def _play_blended(vae: Any, pieces: Pieces) -> Played:
    """Windows of elements, the frames that two of them have in common cross-faded.

    Window k begins with element k · hop, whose single frame the window before has already; the last window ends the clip.
    """
    stride = int(vae.temporal_compression_ratio)
    length = max(2, int(vae.tile_sample_min_num_frames) // stride)  # elements after the first
    hop = min(max(1, int(vae.tile_sample_stride_num_frames) // stride), length)
    tail: Tensor | None = None  # frames of the window before that the next one has, too
    held: Tensor | None = None
    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece], 2)
        while held.shape[2] > length + 1:  # there is more after this window
            x = _faded(tail, _window(vae, held[:, :, : length + 1], tail))
            keep = x.shape[2] - (length - hop) * stride
            tail, held = x[:, :, keep:], held[:, :, hop:]
            yield x[:, :, :keep]
    if held is not None:
        yield _faded(tail, _window(vae, held, tail))


def _window(vae: Any, z: Tensor, tail: Tensor | None) -> Tensor:
    x: Tensor = vae.decode(*_timed(vae, z)).sample
    return x if tail is None else x[:, :, 1:]


def _faded(tail: Tensor | None, x: Tensor) -> Tensor:
    """A window whose first frames go over from those of the window before to its own."""
    count = 0 if tail is None else min(tail.shape[2], x.shape[2])
    if tail is None or not count:
        return x
    weight = (torch.arange(count, device=x.device, dtype=x.dtype) / count)[:, None, None]
    return torch.cat([tail[:, :, :count] * (1 - weight) + x[:, :, :count] * weight, x[:, :, count:]], 2)


CLASSES: dict[str, Callable[[Any, Path], Layout]] = {
    "AutoencoderKLWan": _wan,
    "AutoencoderKLLTXVideo": _ltx,
    "AutoencoderKLCogVideoX": _cogvideox,
    "AutoencoderKLHunyuanVideo": _hunyuan,
}
