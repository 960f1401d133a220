"""Reading shape, colour, count and position back from the pixels of a `shapes` picture: by geometry, not by
learning.

    background   median colour of the picture
    foreground   pixels whose distance from the background exceeds half of the 98.5th percentile D of that
                 distance
    objects      8-connected regions of the foreground, smaller specks left out
    alpha        (p - background) . (f - background) / |f - background|^2, clamped: how much of pixel p the
                 object covers, with f the colour of the foreground's core
    shape        each of the five shapes is drawn with the area and centroid that the object's alpha has;
                 the drawing with the least squared difference names the shape, if that difference is below
                 `TOLERANCE` of the object's area
    colour       nearest palette colour of the core pixels, if nearer than `COLOUR_REACH`
    position     the middle of the box around all objects

The probe is strict: objects that disagree, or that match no shape, give None, and a picture without any
recognised object gives None everywhere, so that noise and smears count as wrong and not as a lucky guess.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from langevin.modalities.image.shapes import COLOURS, SHAPES, Attributes, coverage

__all__ = ["accuracy", "probe"]

NOTHING = Attributes(None, None, None, None)
CONTRAST = 40.0  # least distance in RGB of a foreground from its background
SPECK = 10.0  # regions of less area (pixels at size 32) are not objects; the smallest object has 19
TOLERANCE = 0.16  # residual of a shape, as a share of the object's area
COLOUR_REACH = 70.0  # farthest distance in RGB of an object's colour from its palette colour
CENTRAL = 0.085  # share of the side within which the group counts as central

Floats = NDArray[np.float32]


@functools.cache
def _moments() -> Floats:
    """(5, 3): area and centroid (x, y) of every shape of diameter 1, relative to the middle of its box."""
    n = 128
    middle, size = np.full(5, n / 2, np.float32), np.full(5, n - 8.0, np.float32)
    alpha = coverage(np.arange(5), middle, middle, size, n).astype(np.float64)
    grid = np.arange(n) + 0.5 - n / 2
    area = alpha.sum((1, 2))
    x, y = (alpha.sum(1) @ grid) / area, (alpha.sum(2) @ grid) / area
    d = n - 8
    return np.stack([area / d**2, x / d, y / d], 1).astype(np.float32)


def probe(images: NDArray[np.uint8]) -> list[Attributes]:
    """What each picture shows, with None for whatever cannot be told.

    Args:
        images: (B, H, W, 3) uint8, square.

    Raises:
        ValueError: another shape or dtype.
    """
    images = np.asarray(images)
    if (
        images.ndim != 4
        or images.shape[-1] != 3
        or images.dtype != np.uint8
        or images.shape[1] != images.shape[2]
    ):
        raise ValueError(f"images must be uint8 (B, H, H, 3); got {images.dtype} {images.shape}")
    return [a for i in range(0, len(images), 256) for a in _probe(images[i : i + 256].astype(np.float32))]


def _probe(pictures: Floats) -> list[Attributes]:
    batch, size = pictures.shape[:2]
    pixel = size / 32
    ground = np.median(pictures.reshape(batch, -1, 3), axis=1)  # (B, 3)
    away = pictures - ground[:, None, None]
    distance = np.sqrt((away**2).sum(-1))  # (B, H, W)
    reach = np.percentile(distance.reshape(batch, -1), 98.5, axis=1)
    mask = (distance > 0.5 * reach[:, None, None]) & (reach[:, None, None] > CONTRAST)

    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 2)
    labels, total = ndimage.label(mask, in_plane)
    if not total:
        return [NOTHING] * batch
    # The rim, partly covered pixels next to a region, belongs to the region.
    region = np.where(labels > 0, labels, ndimage.maximum_filter(labels, (1, 3, 3)))  # (B, H, W)

    # Projection on the colour of the core gives the coverage.
    core = mask & (distance > 0.8 * reach[:, None, None])
    weight = np.maximum(core.sum((1, 2)), 1)[:, None]
    tint = (away * core[..., None]).sum((1, 2)) / weight  # (B, 3)
    alpha = np.einsum("bhwc,bc->bhw", away, tint) / np.maximum((tint**2).sum(-1), 1)[:, None, None]
    alpha = np.clip(alpha, 0, 1).astype(np.float32)

    mass = np.bincount(region.ravel(), alpha.ravel(), total + 1)[1:].astype(np.float64)
    kept = np.flatnonzero(mass >= SPECK * pixel**2) + 1
    if not len(kept):
        return [NOTHING] * batch
    boxes = ndimage.find_objects(labels)
    spans = [boxes[k - 1] for k in kept]
    owner = np.array([s[0].start for s in spans])
    shape = _shapes(alpha, region, kept, owner, mass[kept - 1])
    colour = _colours(pictures, core, labels, kept)
    edges = np.array([(s[2].start, s[2].stop, s[1].start, s[1].stop) for s in spans], np.float64) / size

    found = []
    for b in range(batch):
        mine = np.flatnonzero(owner == b)
        shapes, colours = set(shape[mine].tolist()), set(colour[mine].tolist())
        if not shapes - {-1}:
            found.append(NOTHING)
            continue
        x = (edges[mine, 0].min() + edges[mine, 1].max()) / 2 - 0.5
        y = (edges[mine, 2].min() + edges[mine, 3].max()) / 2 - 0.5
        found.append(
            Attributes(
                SHAPES[shapes.pop()] if len(shapes) == 1 else None,
                list(COLOURS)[colours.pop()] if len(colours) == 1 and -1 not in colours else None,
                len(mine),
                _place(x, y),
            )
        )
    return found


def _place(x: float, y: float) -> str:
    if max(abs(x), abs(y)) < CENTRAL:
        return "centre"
    if abs(x) > abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"


def _shapes(
    alpha: Floats, region: NDArray[Any], kept: NDArray[Any], owner: NDArray[Any], mass: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(N,) index of the best shape of every region, -1 where none fits."""
    size = alpha.shape[1]
    grid = np.arange(size) + 0.5
    mine = np.where(region[owner] == kept[:, None, None], alpha[owner], 0)  # (N, H, W)
    x, y = mine.sum(1) @ grid / mass, mine.sum(2) @ grid / mass
    window = int(np.ceil(20 * size / 32))
    corner_x, corner_y = (np.floor(c - window / 2).astype(int) for c in (x, y))
    step = np.arange(window)
    padded = np.pad(mine, ((0, 0), (window, window), (window, window)))
    rows = np.arange(len(mine))[:, None, None]
    patch = padded[
        rows, (corner_y[:, None] + step + window)[:, :, None], (corner_x[:, None] + step + window)[:, None, :]
    ]

    residual = np.empty((len(mine), len(SHAPES)), np.float32)
    for index, (area, off_x, off_y) in enumerate(_moments()):
        d = np.sqrt(mass / area)
        fits = d < window  # larger ones are no objects of this set
        drawn = coverage(
            np.full(len(mine), index),
            (x - corner_x - off_x * d).astype(np.float32),
            (y - corner_y - off_y * d).astype(np.float32),
            d.astype(np.float32),
            window,
        )
        residual[:, index] = np.where(fits, ((drawn - patch) ** 2).sum((1, 2)) / mass, np.inf)
    best = residual.argmin(1)
    return np.where(residual.min(1) < TOLERANCE, best, -1)


def _colours(
    pictures: Floats, core: NDArray[np.bool_], labels: NDArray[Any], kept: NDArray[Any]
) -> NDArray[np.int64]:
    """(N,) index of the palette colour of every region, -1 where none is near."""
    inner = np.where(core, labels, 0).ravel()
    count = np.maximum(np.bincount(inner, minlength=kept.max() + 1)[kept], 1)
    flat = pictures.reshape(-1, 3)
    mean = np.stack([np.bincount(inner, flat[:, c], kept.max() + 1)[kept] / count for c in range(3)], 1)
    apart = np.sqrt(((mean[:, None] - np.array(list(COLOURS.values()))[None]) ** 2).sum(-1))
    return np.where(apart.min(1) < COLOUR_REACH, apart.argmin(1), -1)


def accuracy(found: Sequence[Attributes], wanted: Sequence[Attributes]) -> dict[str, tuple[int, int]]:
    """(right, total) for every attribute, and for "all" four at once. None is never right.

    Raises:
        ValueError: lists of different lengths.
    """
    if len(found) != len(wanted):
        raise ValueError(f"{len(found)} pictures were probed for {len(wanted)} wanted attributes")
    hits = {
        name: sum(f[k] is not None and f[k] == w[k] for f, w in zip(found, wanted, strict=True))
        for k, name in enumerate(Attributes._fields)
    }
    hits["all"] = sum(None not in f and f == w for f, w in zip(found, wanted, strict=True))
    return {name: (right, len(wanted)) for name, right in hits.items()}
