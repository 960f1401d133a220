"""Between pictures and tensors: reading files, fitting to a size, channels, and the [-1, 1] convention.

Outside, a picture is a PIL image or a uint8 array (H, W, C) with C = 1 (grey) or 3 (RGB). Inside, a batch
is a float32 tensor (B, C, H, W) with x = v / 127.5 - 1, so that black is -1 and white is 1.
`to_images(to_tensor(v))` returns every byte unchanged; the way back clamps and rounds half to even.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

__all__ = [
    "EXTENSIONS",
    "PictureError",
    "box_average",
    "fit",
    "read_picture",
    "to_array",
    "to_images",
    "to_tensor",
]

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # decoders that never start another program
MAX_PIXELS = 89_478_485  # 256 MiB of RGB

Pixels = NDArray[np.uint8]


class PictureError(ValueError):
    """A file that is not a usable picture. `file` names it, `reason` says why."""

    def __init__(self, file: Path | str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file, self.reason = Path(file), reason


def _flat(picture: Image.Image, channels: int) -> Image.Image:
    """Grey or RGB, transparency over white, 16-bit depth scaled to 8."""
    mode = "L" if channels == 1 else "RGB"
    if picture.mode.startswith("I"):
        deep = np.asarray(picture).astype(np.float64)
        scaled = np.rint(deep / (257.0 if deep.max(initial=0) > 255 else 1.0))
        picture = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over)
    return picture if picture.mode == mode else picture.convert(mode)


def box_average(pixels: Pixels, factor: int) -> Pixels:
    """Mean over factor x factor blocks, rounded half to even: (…, H, W, C) -> (…, H/factor, W/factor, C)."""
    *batch, height, width, channels = pixels.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"factor must divide both sides of a {height} x {width} picture; got {factor}")
    blocks = pixels.reshape(*batch, height // factor, factor, width // factor, factor, channels)
    return np.rint(blocks.mean((-4, -2), dtype=np.float32)).astype(np.uint8)


def fit(picture: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to `size` and cut out the middle square.

    Whole-number reductions of square pictures are box averages; everything else is resampled with Lanczos's
    filter.
    """
    width, height = picture.size
    if (width, height) == (size, size):
        return picture
    whole = width == height and width % size == 0
    method = Image.Resampling.BOX if whole else Image.Resampling.LANCZOS
    return ImageOps.fit(picture, (size, size), method=method)


def read_picture(
    path: Path | str, size: int | None = None, channels: int = 3, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """Read a picture file into (H, W, channels) uint8.

    The first frame of an animation is taken, the EXIF orientation applied, and transparency laid over white.

    Args:
        path: a .png, .jpg, .jpeg, .webp, .bmp or .gif file.
        size: scale and centre-crop to this side; None keeps the size of the file.
        channels: 1 (grey) or 3 (RGB).
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        PictureError: the file is empty, not a picture, damaged, or larger than `max_pixels`.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise PictureError(path, "the file is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below, by our own limit
            with Image.open(path, formats=_FORMATS) as picture:
                if picture.width * picture.height > max_pixels:
                    raise PictureError(
                        path,
                        f"{picture.width} x {picture.height} pixels are more than the allowed {max_pixels}",
                    )
                if size is not None:
                    picture.draft(
                        "RGB" if channels == 3 else "L", (2 * size, 2 * size)
                    )  # JPEG only: decodes faster
                picture.load()
                flat = _flat(ImageOps.exif_transpose(picture), channels)
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(path, f"too many pixels: {error}") from None
    except Image.UnidentifiedImageError:
        raise PictureError(path, "not a PNG, JPEG, WebP, BMP or GIF picture") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise PictureError(path, f"cannot be read: {error}") from None
    return to_array(flat if size is None else fit(flat, size), channels)


def to_array(picture: Any, channels: int | None = None, size: int | None = None) -> Pixels:
    """One picture as (H, W, C) uint8.

    Args:
        picture: a PIL image, a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or the path of a
            picture file.
        channels: 1, 3, or None to keep grey pictures grey and everything else RGB.
        size: scale and centre-crop to this side; None keeps the size.

    Raises:
        ValueError: another dtype, shape or number of channels.
    """
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 or 3; got {channels}")
    if isinstance(picture, str | Path):
        return read_picture(picture, size, channels or 3)
    if not isinstance(picture, Image.Image):
        array = np.asarray(picture)
        if array.dtype != np.uint8:
            raise ValueError(f"a picture array must hold uint8 values 0 … 255; got dtype {array.dtype}")
        grey = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
        if not (grey.ndim == 2 or (grey.ndim == 3 and grey.shape[-1] in (3, 4))) or 0 in grey.shape:
            raise ValueError(
                f"a picture array must have shape (H, W) or (H, W, 1 | 3 | 4); got {array.shape}"
            )
        picture = Image.fromarray(np.ascontiguousarray(grey))
    if channels is None:
        channels = 1 if picture.mode in ("1", "L", "LA", "I", "I;16", "F") else 3
    flat = _flat(picture, channels)
    out = np.array(flat if size is None else fit(flat, size))
    return out[..., None] if out.ndim == 2 else out


def to_tensor(images: Any, channels: int = 3, size: int | None = None) -> Tensor:
    """A batch of pictures as float32 (B, channels, H, W) in [-1, 1].

    Args:
        images: a sequence of pictures as `to_array` takes them, or one uint8 array (B, H, W, C) or (B, H, W).
        channels: 1 or 3.
        size: side to scale and crop to; None requires that all pictures have one size.

    Raises:
        ValueError: no pictures, sizes that differ, or a wrong dtype or shape.
    """
    if isinstance(images, Image.Image | str | Path):
        raise ValueError("images must be a sequence of pictures; put a single one into a list")
    if isinstance(images, np.ndarray) and images.ndim == 4 and images.dtype == np.uint8 and len(images):
        same = size is None or images.shape[1:3] == (size, size)
        if same and images.shape[-1] == channels and channels in (1, 3):
            return _centred(images)
    arrays = [to_array(image, channels, size) for image in images]
    if not arrays:
        raise ValueError("images must hold at least one picture; got none")
    shapes = {a.shape[:2] for a in arrays}
    if len(shapes) > 1:
        sides = ", ".join(f"{w} x {h}" for h, w in sorted(shapes)[:4])
        raise ValueError(f"pictures of one batch must have one size; got {sides}: give size=")
    return _centred(np.stack(arrays))


def _centred(pixels: Pixels) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))  # (B, C, H, W)
    return x.to(torch.float32) / 127.5 - 1


def to_images(tensor: Tensor) -> list[Image.Image]:
    """Pictures from a state (B, C, H, W) with C = 1 or 3: values are clamped to [-1, 1] and rounded half to
    even.

    Raises:
        ValueError: a wrong shape, or NaN or infinite values (the samples that hold them are named).
    """
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3):
        raise ValueError(f"tensor must have shape (B, 1 | 3, H, W); got {tuple(tensor.shape)}")
    x = tensor.detach().to("cpu", torch.float32)
    bad = (~torch.isfinite(x)).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"values of sample {', '.join(map(str, bad[:8]))} are NaN or infinite: no picture can be made"
        )
    pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(np.ascontiguousarray(p[..., 0] if p.shape[-1] == 1 else p)) for p in pixels]


def stack(images: Sequence[Any], channels: int | None = None, size: int | None = None) -> Pixels:
    """Pictures of one size as a uint8 array (B, H, W, C); sizes are brought to `size` where it is given."""
    arrays = [to_array(image, channels, size) for image in images]
    if len({a.shape for a in arrays}) != 1:
        raise ValueError(
            f"expected pictures of one size and kind; got {sorted({a.shape for a in arrays}) or 'none'}"
        )
    return np.stack(arrays)
