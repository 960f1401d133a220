"""A still picture of strips (:mod:`langevin.modalities.protein.ribbon`), without a graphics library.

Sections become rings of points, neighbouring rings triangles; each sample of the picture keeps the nearest triangle
and the normal interpolated on it. The light is that of :mod:`langevin.modalities.turning`: soft, from above left, with
contours where the depth jumps and distance fading out. Near residues shade as balls of radius R about their CA atoms,

    occlusion = max(0, n · d / |d|) (R / |d|)²

(I. Quilez, "Sphere ambient occlusion", 2007). ``viewer.js`` draws the same picture in a browser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.protein.ribbon import Strips, exponents
from langevin.modalities.turning import FADE, HALF, LIGHT, contour, shrunk

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Surface", "render", "surface"]

Floats: TypeAlias = NDArray[np.float32]

AROUND = 16  # points of a section
REACH, NEAR, SHADE = 12.0, 24, 2.3  # Å within which residues shade, how many of them, their radius R in Å
SELF = 2  # residues along the chain that do not shade each other
JUMP = 0.9  # Å of depth from which on there is a contour
SAMPLES = 4_000_000  # that are tested against triangles at a time


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles.

    Attributes:
        points: (v, 3) Å.
        normals: (v, 3) of length 1, outwards.
        open: (v,) 1 where nothing shades, less elsewhere.
        triangles: (t, 3) points, counter-clockwise from outside.
        rungs: (t,) the rung that each belongs to.
    """

    points: Floats
    normals: Floats
    open: Floats
    triangles: NDArray[np.int32]
    rungs: NDArray[np.int32]


def surface(strips: Strips, places: NDArray[Any]) -> Surface:
    """The skin of strips.

    Args:
        strips: at least one.
        places: (n, 3) of the residues, which shade.
    """
    first = np.zeros(len(strips.centres), bool)
    first[strips.starts[:-1]] = True
    last = np.roll(first, -1)
    index = np.arange(len(first))
    before, after = np.where(first, index, index - 1), np.where(last, index, index + 1)
    tangents = _unit(strips.centres[after] - strips.centres[before])
    ups = _unit(np.cross(tangents, strips.sides))
    sides = np.cross(ups, tangents)

    angles = (np.arange(AROUND) + 0.5) * (2 * np.pi / AROUND)
    powers = exponents(strips.halves)[:, None]
    cos, sin = np.cos(angles), np.sin(angles)
    x, y = (np.sign(a) * np.abs(a) ** powers for a in (cos, sin))
    nx, ny = (np.sign(a) * np.abs(a) ** (2 - powers) for a in (cos, sin))
    w, h = strips.halves.T[:, :, None]
    points = strips.centres[:, None] + (w * x)[..., None] * sides[:, None] + (h * y)[..., None] * ups[:, None]
    wide = np.maximum(strips.halves, 0.02).T[:, :, None]
    normals = _unit((nx / wide[0])[..., None] * sides[:, None] + (ny / wide[1])[..., None] * ups[:, None])
    slope = _unit(points[after] - points[before])  # a normal is across it, where a strip widens too
    normals = _unit(normals - (normals * slope).sum(-1, keepdims=True) * slope)
    tip = strips.halves.max(1) < 1e-3  # of a round end
    normals[tip] = np.where(first, -1, 1)[tip, None, None] * tangents[tip, None]

    k = index[~last][:, None]
    j = np.arange(AROUND)
    a, b = k * AROUND + j, k * AROUND + (j + 1) % AROUND
    triangles = np.stack([np.stack([a, b, b + AROUND], -1), np.stack([a, b + AROUND, a + AROUND], -1)], 2)
    return Surface(
        points.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        _openness(points, normals, strips, np.asarray(places, np.float32)).ravel(),
        triangles.reshape(-1, 3).astype(np.int32),
        np.repeat(k.ravel(), 2 * AROUND).astype(np.int32),
    )


def render(
    skin: Surface, colours: NDArray[np.uint8], radius: float, size: int = 160, detail: int = 2
) -> Image:
    """A picture with a transparent ground.

    Args:
        skin: what is drawn, about the origin.
        colours: (r, 3) of each rung.
        radius: from the centre to the edge of the picture, Å.
        size: pixels of a side.
        detail: samples of a pixel along each side.
    """
    side = size * detail
    depth, part, weights = _nearest(skin, side, side / (2 * radius))
    seen = part >= 0
    which = part[seen]
    corners = skin.triangles[which]
    share = np.concatenate([1 - weights[seen].sum(1, keepdims=True), weights[seen]], 1)
    normal = _unit(np.einsum("ij,ijk->ik", share, skin.normals[corners]))
    clear = np.einsum("ij,ij->i", share, skin.open[corners])
    edge = contour(depth, detail, JUMP)[seen]
    soft = 0.5 + 0.5 * normal @ LIGHT
    glint = np.maximum(0, normal @ HALF) ** 30
    base = (colours[skin.rungs[which]] / np.float32(255)) ** 1.25
    light = (0.30 + 0.86 * soft**1.5) * clear * (1 - 0.5 * edge)
    colour = base * light[:, None] + (0.22 * glint * clear)[:, None]
    alpha = 1 - FADE * (0.15 - depth[seen] / radius).clip(0, 1)
    samples = np.zeros((side, side, 4), dtype=np.float32)
    samples[seen] = np.concatenate([colour.clip(0, 1) * alpha[:, None], alpha[:, None]], 1)
    return shrunk(samples, detail)


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def _openness(points: NDArray[Any], normals: NDArray[Any], strips: Strips, places: Floats) -> Floats:
    """(r, AROUND) how little the points are shaded."""
    from scipy.spatial import cKDTree

    count = min(NEAR + 2 * SELF + 1, len(places))
    away, near = cKDTree(places).query(strips.centres, k=[*range(1, count + 1)], distance_upper_bound=REACH)
    near = np.where(np.isfinite(away), near, 0)
    counts = np.isfinite(away) & (np.abs(near - strips.residues[:, None]) > SELF)
    shade = np.zeros(points.shape[:2], dtype=np.float32)
    for column in range(count):
        rows = np.flatnonzero(counts[:, column])
        to = places[near[rows, column]][:, None] - points[rows]
        square = np.maximum((to * to).sum(-1), 1e-4)
        facing = np.maximum(0, (to * normals[rows]).sum(-1)) / np.sqrt(square)
        shade[rows] += facing * np.minimum(1, SHADE**2 / square)
    return np.asarray(np.maximum(0.4, 1 - 0.42 * shade), dtype=np.float32)


def _nearest(skin: Surface, side: int, scale: float) -> tuple[Floats, NDArray[np.int32], Floats]:
    """Depth (side, side) in Å, the triangle that is seen (-1 for none) and the shares of its second and third corner."""
    x, y = side / 2 + skin.points[:, 0] * scale - 0.5, side / 2 - skin.points[:, 1] * scale - 0.5
    z = skin.points[:, 2]
    a, b, c = skin.triangles.T
    area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a])
    low = [np.ceil(np.minimum(np.minimum(v[a], v[b]), v[c])).clip(0, side) for v in (x, y)]
    high = [np.floor(np.maximum(np.maximum(v[a], v[b]), v[c])).clip(-1, side - 1) for v in (x, y)]
    spans = np.maximum(high[0] - low[0], high[1] - low[1]) + 1
    shown = np.flatnonzero((area < -1e-6) & (high[0] >= low[0]) & (high[1] >= low[1]))  # y is down here
    sizes = 2 ** np.ceil(np.log2(spans[shown])).astype(int)
    found = []
    for span in np.unique(sizes).tolist():
        rows, columns = (grid.ravel() for grid in np.mgrid[:span, :span])
        members = shown[sizes == span]
        for start in range(0, len(members), max(1, SAMPLES // span**2)):
            k = members[start : start + max(1, SAMPLES // span**2)]
            col, row = low[0][k][:, None] + columns, low[1][k][:, None] + rows
            p, q, r = (corner[k][:, None] for corner in (a, b, c))
            dx, dy = col - x[p], row - y[p]
            second = (dx * (y[r] - y[p]) - dy * (x[r] - x[p])) / area[k][:, None]
            third = (dy * (x[q] - x[p]) - dx * (y[q] - y[p])) / area[k][:, None]
            inside = (second >= -1e-6) & (third >= -1e-6) & (second + third <= 1 + 1e-6)
            inside &= (col < side) & (row < side)
            height = z[p] + second * (z[q] - z[p]) + third * (z[r] - z[p])
            at = (row * side + col)[inside].astype(np.int64)
            who = np.broadcast_to(k[:, None], inside.shape)[inside]
            found.append((at, height[inside], who, second[inside], third[inside]))
    depth = np.full(side * side, -np.inf, dtype=np.float32)
    part = np.full(side * side, -1, dtype=np.int32)
    weights = np.zeros((side * side, 2), dtype=np.float32)
    if found:
        at, height, who, second, third = (np.concatenate(columns) for columns in zip(*found))
        order = np.lexsort((height, at))
        top = order[np.append(np.diff(at[order]) > 0, True)]  # the last of each sample
        depth[at[top]], part[at[top]] = height[top], who[top]
        weights[at[top], 0], weights[at[top], 1] = second[top], third[top]
    return depth.reshape(side, side), part.reshape(side, side), weights.reshape(side, side, 2)
