"""Looking at pictures: contact sheets, denoising strips, and pictures inside an HTML page."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from langevin.modalities.image.pixels import to_array, to_images

__all__ = ["grid", "strip", "to_html"]

WHITE, INK, FAINT = (255, 255, 255), (40, 40, 40), (190, 190, 190)
SHOWN = 96  # pictures smaller than this are enlarged to about it


def _picture(item: Any) -> Image.Image | None:
    """An RGB picture, or None for what is none (a failure)."""
    if isinstance(item, Image.Image):
        return Image.fromarray(to_array(item, 3))
    try:
        return Image.fromarray(to_array(item, 3))
    except ValueError:
        return None


def _factor(width: int, height: int, scale: int | None) -> int:
    if scale is not None:
        if scale < 1:
            raise ValueError(f"scale must be at least 1; got {scale}")
        return scale
    return max(1, SHOWN // max(width, height, 1))


def _placeholder(width: int = SHOWN, height: int = SHOWN, text: str = "no pictures") -> Image.Image:
    """A framed box with a word in it."""
    image = Image.new("RGB", (width, height), WHITE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width - 1, height - 1), outline=FAINT)
    if width >= 48:
        draw.text((width / 2, height / 2), text, fill=FAINT, anchor="mm", font=ImageFont.load_default(10))
    return image


def grid(
    images: Sequence[Any],
    columns: int | None = None,
    captions: Sequence[str] | None = None,
    scale: int | None = None,
    gap: int = 4,
) -> Image.Image:
    """A contact sheet.

    Args:
        images: pictures (PIL images or uint8 arrays) of any sizes; whatever else is in the list becomes a
            box that says "failed". An empty list gives a box that says "no pictures".
        columns: how many beside each other; about the square root when None.
        captions: one for each picture, cut to the width of its cell.
        scale: whole-number enlargement without smoothing; None brings small pictures to about 96 pixels.
        gap: pixels between cells.

    Raises:
        ValueError: captions that do not fit, or columns or scale below 1.
    """
    if captions is not None and len(captions) != len(images):
        raise ValueError(
            f"captions must have one entry for each of the {len(images)} pictures; got {len(captions)}"
        )
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1; got {columns}")
    if len(images) == 0:
        return _placeholder()
    pictures = [_picture(item) for item in images]
    sizes = [p.size for p in pictures if p is not None] or [(SHOWN, SHOWN)]
    factor = _factor(max(w for w, _ in sizes), max(h for _, h in sizes), scale)
    width, height = factor * max(w for w, _ in sizes), factor * max(h for _, h in sizes)
    line = 14 if captions is not None else 0
    wide = columns or math.ceil(math.sqrt(len(pictures)))
    wide = min(wide, len(pictures))
    high = math.ceil(len(pictures) / wide)
    sheet = Image.new("RGB", (wide * (width + gap) + gap, high * (height + line + gap) + gap), WHITE)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for k, picture in enumerate(pictures):
        x, y = gap + (k % wide) * (width + gap), gap + (k // wide) * (height + line + gap)
        if picture is None:
            shown = _placeholder(width, height, "failed")
        else:
            shown = picture.resize(
                (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
            )
        sheet.paste(shown, (x + (width - shown.width) // 2, y + (height - shown.height) // 2))
        if captions is not None:
            draw.text((x, y + height + 1), _cut(str(captions[k]), width, draw, font), fill=INK, font=font)
    return sheet


def _cut(text: str, width: int, draw: ImageDraw.ImageDraw, font: Any) -> str:
    """The caption on one line, cut with an ellipsis where it is too wide."""
    text = " ".join(text.split())
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def strip(
    states: Sequence[Tensor], index: int | None = None, scale: int | None = None, most: int = 12
) -> Image.Image:
    """Denoising from left to right, one row for each sample.

    Args:
        states: the states (B, C, H, W) of one run in order, or clean estimates of them; values outside [-1,
            1] are clamped.
        index: show one sample only.
        scale: as in `grid`.
        most: at most this many states, evenly chosen and always with the first and the last.
    """
    if len(states) == 0:
        return _placeholder(text="no states")
    if most < 1:
        raise ValueError(f"most must be at least 1; got {most}")
    count = min(most, len(states))
    chosen = (
        [states[round(k * (len(states) - 1) / max(1, count - 1))] for k in range(count)]
        if count > 1
        else [states[-1]]
    )
    chosen = [s if index is None else s[index : index + 1 or None] for s in chosen]
    columns = [to_images(s) for s in chosen]
    pictures = [column[row] for row in range(len(columns[0])) for column in columns]
    return grid(pictures, columns=count, scale=scale, gap=2)


def to_html(image: Any, alt: str = "", scale: int | None = None) -> str:
    """An <img> element that holds the picture itself (PNG, data URI); small ones appear enlarged."""
    picture = _picture(image)
    if picture is None:
        return f'<span class="failure">{html.escape(str(image))}</span>'
    original = image if isinstance(image, Image.Image) and image.mode in ("L", "RGB", "RGBA") else picture
    buffer = io.BytesIO()
    original.save(buffer, "PNG", optimize=True)
    factor = _factor(*picture.size, scale)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img alt="{html.escape(alt, quote=True)}" '
        f'width="{picture.width * factor}" height="{picture.height * factor}" '
        f'style="image-rendering:pixelated" src="data:image/png;base64,{data}">'
    )
