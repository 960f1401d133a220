"""Looking at clips: contact sheets, and a player for pages.

The player is a fragment of HTML that needs no network and no scripts: the browser's own, with the clip as H.264 in it,
which begins by itself, muted, and goes round. Clips of fewer than 128 pixels a side are enlarged by a whole number
without smoothing, before they are encoded: the codec keeps colour at half the resolution, which then loses little.
"""

from __future__ import annotations

import base64
import tempfile
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from langevin.modalities.base import Failure
from langevin.modalities.sheets import box, sheet
from langevin.modalities.video.clip import Video

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["contact", "picture", "to_html"]

SHOWN = 128  # pixels a side, at least
LARGE = 1280  # pixels a side, at most, of the clip in a page
WIDEST = 512  # pixels of a frame of a contact sheet, at most
QUALITY = 16  # H.264's constant rate factor


def contact(item: Any, frames: int = 8, columns: int | None = None) -> Image:
    """A contact sheet: frames at even distances, the first and the last among them, in rows from the left.

    Args:
        item: a `Video`; what cannot be shown, a :class:`Failure` among it, gives a box that says why.
        frames: how many at most.
        columns: frames of a row; all beside each other where that is at most 2048 pixels wide, four otherwise, when None.

    Raises:
        ValueError: fewer than one frame or column.
    """
    if frames < 1 or (columns is not None and columns < 1):
        raise ValueError(f"frames and columns must be at least 1; got {frames} and {columns}")
    if not isinstance(item, Video):
        return box(item.reason if isinstance(item, Failure) else "no clip", (192, 144))
    pictures = [_frame(item, k) for k in chosen(len(item), frames)]
    if columns is None:
        columns = len(pictures) if len(pictures) * pictures[0].width <= 2048 else min(4, len(pictures))
    made: Image = sheet(pictures, columns)
    return made


def chosen(count: int, frames: int) -> list[int]:
    """Numbers of up to so many frames of ``count``, at even distances, with both ends; of one, the middle."""
    if frames == 1:
        return [count // 2]
    return [int(k) for k in np.unique(np.linspace(0, count - 1, min(count, frames)).round())]


def picture(item: Any, size: tuple[int, int] | int = (192, 144)) -> Image:
    """The middle frame within so many pixels, on white.

    Args:
        item: as for :func:`contact`.
        size: width and height, or the width of a picture of 4 to 3.
    """
    from PIL import Image, ImageOps

    size = (size, size * 3 // 4) if isinstance(size, int) else size
    if not isinstance(item, Video):
        return box(item.reason if isinstance(item, Failure) else "no clip", size)
    frame = Image.fromarray(item.frames[len(item) // 2])
    method = Image.Resampling.NEAREST if max(item.size) < SHOWN else Image.Resampling.LANCZOS
    return ImageOps.pad(frame, size, method, color="white")


def _frame(clip: Video, place: int) -> Image:
    """A frame, enlarged without smoothing where it is small and reduced where it is large."""
    from PIL import Image

    frame = Image.fromarray(clip.frames[place])
    factor = _factor(clip)
    if factor > 1:
        return frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)
    frame.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    return frame


def _factor(clip: Video) -> int:
    """Whole number by which a clip is enlarged, so that its longer side has at least 128 pixels."""
    return max(1, -(-SHOWN // max(clip.size)))


def to_html(item: Any, *, alt: str = "") -> str:
    """A player that holds its clip, with the sound track; see the head of this module.

    Args:
        item: a `Video`; what cannot be shown gives its reason as text.
        alt: what it is, for those who do not see it.
    """
    if not isinstance(item, Video):
        reason = item.reason if isinstance(item, Failure) else str(item)
        return f'<span class="failure">{escape(reason)}</span>'
    factor = _factor(item)
    width, height = item.size[0] * factor, item.size[1] * factor
    clip = item
    if factor > 1:
        clip = replace(item, frames=item.frames.repeat(factor, 1).repeat(factor, 2))
    elif max(item.size) > LARGE:
        shrunk = LARGE / max(item.size)
        clip = item.resized(max(1, round(width * shrunk)), max(1, round(height * shrunk)))
    clip = _even(clip)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        clip.save(file, quality=QUALITY)
        data = base64.b64encode(file.read_bytes()).decode()
    label = alt or f"a clip of {item.seconds:.2f} s"
    smooth = "image-rendering:pixelated;" if factor > 1 else ""
    # a bar of controls would cover half of a tiny picture, where there is no sound to turn on
    bare = factor > 1 and item.audio is None
    handles = 'tabindex="0" onclick="this.paused?this.play():this.pause()"' if bare else "controls"
    return (
        f'<video {handles} autoplay loop muted playsinline width="{clip.size[0]}" height="{clip.size[1]}" '
        f'style="{smooth}min-width:{SHOWN}px;max-width:100%;height:auto" aria-label="{escape(label)}" '
        f'title="{escape(f"{item.size[0]} x {item.size[1]} pixels, {len(item)} frames at {item.fps:g} fps")}" '
        f'src="data:video/mp4;base64,{data}"></video>'
    )


def _even(clip: Video) -> Video:
    """The clip without its last row or column where their number is odd: a browser would show the padding."""
    width, height = clip.size
    if width % 2 == height % 2 == 0:
        return clip
    return replace(clip, frames=clip.frames[:, : max(1, height - height % 2), : max(1, width - width % 2)])
