"""Contact sheets: several pictures as one, and a box with a reason for what has none."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from PIL import Image

__all__ = ["box", "sheet"]

INK, FAINT = "#5c5c66", "#c9c9cf"


def sheet(pictures: Sequence[Any], columns: int | None = None, gap: int = 2) -> Any:
    """Pictures in rows on a grey ground; None leaves its place empty; an empty list gives a small blank picture.

    Args:
        pictures: PIL images, of any sizes; the largest sets the cell.
        columns: by default about as many as rows.
        gap: pixels between cells.
    """
    there = [p for p in pictures if p is not None]
    if not there:
        return Image.new("RGB", (16, 16), (128, 128, 128))
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    width, height = max(p.width for p in there), max(p.height for p in there)
    rows = math.ceil(len(pictures) / columns)
    out = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), (128, 128, 128))
    for i, picture in enumerate(pictures):
        if picture is not None:
            out.paste(
                picture.convert("RGB"),
                (gap + i % columns * (width + gap), gap + i // columns * (height + gap)),
            )
    return out


def box(text: str, size: tuple[int, int], background: str | None = "white", caption: str = "") -> Any:
    """A dashed frame with a reason in it, its beginning where it is long; no text below 48 pixels a side.

    Args:
        text: the reason.
        size: width and height in pixels.
        background: a colour; None for a transparent RGBA picture.
        caption: a line at the foot, cut where it is too long.
    """
    from PIL import ImageDraw, ImageFont

    out = Image.new("RGBA", size, background or (0, 0, 0, 0))
    draw, (width, height) = ImageDraw.Draw(out), size
    for x in range(6, width - 8, 8):
        draw.line([(x, 5), (x + 3, 5)], FAINT)
        draw.line([(x, height - 6), (x + 3, height - 6)], FAINT)
    for y in range(6, height - 8, 8):
        draw.line([(5, y), (5, y + 3)], FAINT)
        draw.line([(width - 6, y), (width - 6, y + 3)], FAINT)
    if min(size) >= 48:
        font, most = ImageFont.load_default(11), (height - 20) // 14 - (2 if caption else 0)
        lines = textwrap.wrap(text, max(6, (width - 24) // 6), max_lines=max(1, most), placeholder=" …")
        draw.multiline_text((width / 2, height / 2), "\n".join(lines), INK, font, "mm", align="center")
        while caption and draw.textlength(caption, font) > width - 20:
            caption = caption[:-2] + "…"
        draw.text((width / 2, height - 16), caption, INK, font, "mm")
    return out if background is None else out.convert("RGB")
