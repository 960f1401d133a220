"""Contact sheets: several pictures as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image

__all__ = ["sheet"]


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
