"""What 3-D pictures share, of atoms and of ribbons: which side is seen, the light, and the fragment that turns.

Pictures are orthographic: x to the right, y up, z towards the reader. A still picture is drawn here; ``turning.js``
is the frame of the elements that draw the same picture in a browser once a pointer or the keyboard's focus is there.
"""

from __future__ import annotations

import functools
import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FADE", "HALF", "LIGHT", "contour", "element", "middle", "oriented", "rgb", "script", "shrunk"]

Floats: TypeAlias = NDArray[np.float32]

LIGHT = np.array([-0.42, 0.58, 0.70], dtype=np.float32)
HALF = np.array([-0.23, 0.31, 0.92], dtype=np.float32)  # between the light and the reader
FADE = 0.3  # of what is far
TILT = (-0.42, 0.30)  # turns about x and y, radians: what is flat is seen from a little above and aside


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def oriented(
    places: NDArray[Any],
    judged: NDArray[Any],
    weights: NDArray[Any],
    tilt: tuple[float, float] = TILT,
) -> NDArray[Any]:
    """Positions with the longest axis of ``judged`` across and the shortest towards the reader, then tilted.

    A rotation, so that handedness stays; the signs of the axes go by skewness, so that a thing looks the same
    wherever it lies.

    Args:
        places: (n, 3) to turn.
        judged: (m, 3) whose axes count.
        weights: (m,) of these.
        tilt: turns about x and y, radians.
    """
    centred = judged - np.average(judged, axis=0, weights=weights)
    _, axes = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    axes = axes[:, ::-1]  # longest first
    skew = weights @ (centred @ axes) ** 3
    axes = axes * np.where(skew < -1e-6, -1, 1)
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    (sx, cx), (sy, cy) = ((np.sin(angle), np.cos(angle)) for angle in tilt)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return (places - places.mean(0)) @ axes @ (about_x @ about_y).T


def middle(places: NDArray[Any]) -> NDArray[Any]:
    """About the centre of the smallest sphere around all (M. Bădoiu, K. Clarkson, 2003: steps to the farthest)."""
    centre = (places.min(0) + places.max(0)) / 2
    for step in range(2, 60):
        away = places - centre
        centre = centre + away[np.einsum("ij,ij->i", away, away).argmax()] / step
    return centre


def contour(depth: Floats, width: int, jump: float = 0.25) -> Floats:
    """How much something in front stands out around each pixel, 0 to 1.

    Args:
        depth: (h, w) towards the reader, Å; -inf where there is nothing.
        width: samples of a pixel along a side.
        jump: Å from which on a step counts; at three times as much it counts in full.
    """
    step = max(1, round(width * 0.7))
    front = depth
    for axis in (0, 1):
        for shift in (-step, step):
            front = np.maximum(front, np.roll(depth, shift, axis))
    with np.errstate(invalid="ignore"):
        return ((front - depth - jump) / (2 * jump)).clip(0, 1)  # NaN far from all


def shrunk(samples: Floats, detail: int) -> Image:
    """Samples (h, w, 4), colour times opacity and opacity, as a picture with a transparent ground."""
    from PIL import Image

    rgba = np.zeros((samples.shape[0] // detail, samples.shape[1] // detail, 4), dtype=np.float32)
    for i, j in np.ndindex(detail, detail):
        rgba += samples[i::detail, j::detail] / detail**2
    rgba[..., :3] /= np.maximum(rgba[..., 3:], 1e-6)
    return Image.fromarray((rgba.clip(0, 1) * 255 + 0.5).astype(np.uint8), "RGBA")


def element(tag: str, label: str, scene: Any, still: str, scripts: str) -> str:
    """A fragment that turns: an element of ``tag`` with its geometry, and the still picture inside.

    Args:
        tag: name of the custom element that one of the scripts defines.
        label: what it shows and how it is turned, for those who do not see it.
        scene: the geometry, plain data.
        still: ``<img>``, all that is seen without scripts.
        scripts: of :func:`script`.
    """
    data = json.dumps(scene, ensure_ascii=False, separators=(",", ":"))
    data = data.replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;")
    return (
        f'{scripts}<{tag} style="display:block;width:100%" aria-label="{escape(label)}" data-scene=\'{data}\'>'
        f"{still}</{tag}>"
    )


@functools.cache
def script(name: str, file: Path, frame: bool = True) -> str:
    """A script of which a page keeps one (:class:`langevin.report.Page`).

    Args:
        name: of the element that it defines.
        file: its source.
        frame: with ``turning.js`` before it; not for what extends an element whose script has it.
    """
    sources = [Path(__file__).with_name("turning.js")] if frame else []
    source = "".join(each.read_text(encoding="utf-8") for each in (*sources, file))
    return f'<script data-once="{name}">{source}</script>'
