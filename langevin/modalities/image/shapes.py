"""A procedural set of captioned pictures: shape x colour x count x position, with a compositional hold-out.

Every picture shows one to four equal objects on a light background. Its caption names exactly what is there
("two red circles on the left"), so a text-to-image model trained on the set can be judged without a learned
judge: `probe` (see `probe.py`) reads the attributes back from the pixels.

Conventions
    size        side of the picture in pixels; lengths below are stated at 32 pixels and scale with it.
    object      lies in a box of diameter d: 10-14 px alone, 9-11 px in pairs, 8.2-9.2 px in threes and
                fours; boxes of neighbours are at least 1.5 px apart, so objects never touch.
    position    where the bounding box of the whole group sits: near one edge, or within 1 px of the middle.
    randomness  a counter-based hash (splitmix64) of (seed, split, index, purpose). Item i is the same in
                every batch, order and process, and no two purposes share a number.
    anti-alias  coverage is counted on a 4 x 4 grid of points in every pixel.

Hold-out (independent of the seed)
    Of the 800 compositions, the three (shape, colour) pairs in `HELD_OUT_PAIRS` are never trained on (60
    compositions), nor are 96 further compositions (12 %) drawn by a fixed hash. `split="train"` draws
    uniformly from the other 644, `split="test"` uniformly from the 156. Every shape, colour, count and
    position occurs in both.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown

__all__ = [
    "COLOURS", "COUNTS", "HELD_OUT_PAIRS", "POSITIONS", "SHAPES", "Attributes", "Shapes", "caption",
    "compositions", "parse", "render",
]  # fmt: skip

SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS = {
    "red": (214, 34, 40),
    "orange": (247, 140, 16),
    "yellow": (242, 212, 24),
    "green": (38, 156, 62),
    "blue": (38, 92, 220),
    "purple": (126, 44, 176),
    "pink": (246, 122, 196),
    "black": (24, 24, 28),
}
COUNTS = (1, 2, 3, 4)
POSITIONS = ("left", "right", "top", "bottom", "centre")
HELD_OUT_PAIRS = (("star", "blue"), ("triangle", "yellow"), ("circle", "purple"))

HELD_OUT_SHARE = 0.12  # of all compositions, beside those of the held-out pairs
SMALLEST = 28  # at this side the smallest object is 7 pixels
SUPERSAMPLE = 4

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Attributes(NamedTuple):
    """What a picture shows; the probe writes None for what it cannot tell."""

    shape: str | None
    colour: str | None
    count: int | None  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    position: str | None


# --- random numbers by index --------------------------------------------------------------------------------


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection of 64-bit words."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _fold(key: NDArray[np.uint64], word: NDArray[np.uint64] | int) -> NDArray[np.uint64]:
    """A new key from a key and a word; both broadcast."""
    with np.errstate(over="ignore"):
        return _mix(_mix(key + np.uint64(0x9E3779B97F4A7C15)) ^ np.asarray(word, dtype=np.uint64))


def _uniform(keys: NDArray[np.uint64], count: int) -> Floats:
    """(B,) keys -> (B, count) numbers in [0, 1)."""
    words = _fold(keys[:, None], np.arange(1, count + 1, dtype=np.uint64)[None])
    return ((words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).astype(np.float32)


# --- compositions and captions ------------------------------------------------------------------------------


def _code(attributes: Attributes) -> int:
    shape, colour, count, position = attributes
    if shape not in SHAPES:
        raise ValueError(unknown("shape", shape, SHAPES))
    if colour not in COLOURS:
        raise ValueError(unknown("colour", colour, COLOURS))
    if count not in COUNTS:
        raise ValueError(f"count must be one of 1, 2, 3, 4; got {count!r}")
    if position not in POSITIONS:
        raise ValueError(unknown("position", position, POSITIONS))
    index = SHAPES.index(shape) * len(COLOURS) + list(COLOURS).index(colour)
    return (index * len(COUNTS) + count - 1) * len(POSITIONS) + POSITIONS.index(position)


@functools.cache
def compositions(split: str) -> tuple[Attributes, ...]:
    """All attribute combinations of a split: "train" (644), "test" (156) or "all" (800), in a fixed order."""
    everything = [Attributes(s, c, n, p) for s in SHAPES for c in COLOURS for n in COUNTS for p in POSITIONS]
    if split == "all":
        return tuple(everything)
    if split not in ("train", "test"):
        raise ValueError(unknown("split", split, ("train", "test", "all")))
    others = [a for a in everything if (a.shape, a.colour) not in HELD_OUT_PAIRS]
    ranks = _mix(np.array([_code(a) for a in others], dtype=np.uint64) + np.uint64(20_011))
    held = {others[i] for i in np.argsort(ranks)[: round(HELD_OUT_SHARE * len(everything))]}
    unseen = [a for a in everything if a in held or (a.shape, a.colour) in HELD_OUT_PAIRS]
    return tuple(unseen) if split == "test" else tuple(a for a in everything if a not in set(unseen))


_WHERE = {
    "left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom",
    "centre": "in the centre",
}  # fmt: skip
_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
_PLURAL = {"cross": "crosses"}
TEMPLATES = (
    "{objects} {where}",
    "{where}, {objects}",
    "there {is_are} {objects} {where}",
    "a picture of {objects} {where}",
)


def caption(attributes: Attributes, template: int = 0) -> str:
    """The sentence that says exactly what the picture shows.

    Args:
        attributes: complete attributes.
        template: which paraphrase, modulo their number; 0 is the plain one ("two red circles on the left").
    """
    _code(attributes)
    shape, colour, count, position = attributes
    noun = shape if count == 1 else _PLURAL.get(str(shape), f"{shape}s")
    number = ("an" if str(colour)[0] in "aeiou" else "a") if count == 1 else _NUMBERS[int(count or 0)]
    is_are = "is" if count == 1 else "are"
    return TEMPLATES[template % len(TEMPLATES)].format(
        objects=f"{number} {colour} {noun}", where=_WHERE[str(position)], is_are=is_are
    )


_OBJECTS = re.compile(
    rf"\b(an?|one|two|three|four) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})(?:e?s)?\b", re.IGNORECASE
)
_PLACES = re.compile(r"\b(?:on|at|in) the (left|right|top|bottom|cent(?:re|er)|middle)\b", re.IGNORECASE)


def parse(text: str) -> Attributes:
    """The attributes a caption names: the inverse of `caption` for every template.

    Raises:
        ValueError: the text does not name exactly one group of objects and one position.
    """
    objects, places = _OBJECTS.findall(text), _PLACES.findall(text)
    if len(objects) != 1 or len(places) != 1:
        raise ValueError(
            f"{text!r} does not read as a caption such as {caption(compositions('train')[0])!r}: "
            f"found {len(objects)} groups of objects and {len(places)} positions"
        )
    number, colour, shape = (word.lower() for word in objects[0])
    place = places[0].lower()
    count = {"a": 1, "an": 1, **{word: n for n, word in _NUMBERS.items()}}[number]
    return Attributes(shape, colour, count, "centre" if place in ("center", "middle") else place)


# --- drawing ------------------------------------------------------------------------------------------------


def _inside(shape: str, u: Floats, v: Floats) -> NDArray[np.bool_]:
    """Membership in a shape drawn in the box [-1, 1]^2; u points right, v down."""
    if shape == "circle":
        return np.asarray(u * u + v * v <= 0.98**2)
    if shape == "square":
        return np.asarray((abs(u) <= 0.92) & (abs(v) <= 0.92))
    if shape == "triangle":
        return np.asarray((v <= 0.9) & (abs(u) * 1.9 <= v + 1.0))
    if shape == "cross":
        a, b = abs(u), abs(v)
        return np.asarray((np.minimum(a, b) <= 0.34) & (np.maximum(a, b) <= 0.98))
    # A five-pointed star: fold the angle into one sector, bounded by the edge from tip to notch.
    w = v + np.float32(0.05)
    sector = np.float32(2 * np.pi / 5)
    angle = abs((np.arctan2(u, -w) + sector / 2) % sector - sector / 2)
    radius = np.sqrt(u * u + w * w)
    tip, notch = 1.05, 0.46
    nx, ny = notch * np.sin(sector / 2), tip - notch * np.cos(sector / 2)  # the edge's normal
    return np.asarray(radius * (np.sin(angle) * ny + np.cos(angle) * nx) <= tip * nx)


def coverage(shape: NDArray[np.integer], x: Floats, y: Floats, diameter: Floats, window: int) -> Floats:
    """Share of every pixel that an object covers.

    Args:
        shape: (N,) indices into `SHAPES`.
        x, y: (N,) centre of the object's box in pixels, from the corner of the window.
        diameter: (N,) side of the box in pixels.
        window: side of the window in pixels.

    Returns:
        (N, window, window) float32 in [0, 1].
    """
    fine: Floats = ((np.arange(window * SUPERSAMPLE) + 0.5) / SUPERSAMPLE).astype(np.float32)
    out = np.empty((len(shape), window, window), np.float32)
    for index, name in enumerate(SHAPES):
        rows = np.flatnonzero(shape == index)
        for chunk in np.array_split(rows, max(1, len(rows) // 64)):
            scale: Floats = (2 / diameter[chunk, None]).astype(np.float32)
            u, v = (((fine - c[chunk, None]) * scale).astype(np.float32, copy=False) for c in (x, y))
            hit = _inside(name, u[:, None, :], v[:, :, None])  # (n, 4W, 4W)
            hit = np.broadcast_to(hit, (len(chunk), len(fine), len(fine)))
            blocks = hit.reshape(len(chunk), window, SUPERSAMPLE, window, SUPERSAMPLE)
            out[chunk] = blocks.sum((2, 4), dtype=np.float32) / SUPERSAMPLE**2
    return out


# Offsets of the objects from the middle of the group, in units of the pitch; two arrangements for each count.
_ARRANGEMENTS = {
    1: (((0.0, 0.0),), ((0.0, 0.0),)),
    2: (((-0.5, 0.0), (0.5, 0.0)), ((0.0, -0.5), (0.0, 0.5))),
    3: (((0.0, -0.5), (-0.5, 0.5), (0.5, 0.5)), ((-0.5, -0.5), (0.5, -0.5), (0.0, 0.5))),
    4: (((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)),) * 2,
}
_DIAMETERS = {1: (10.0, 14.0), 2: (9.0, 11.0), 3: (8.2, 9.2), 4: (8.2, 9.2)}  # pixels at size 32
_SIDE = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1), "centre": (0, 0)}


def render(
    attributes: Sequence[Attributes], keys: NDArray[np.uint64] | None = None, size: int = 32
) -> NDArray[np.uint8]:
    """Draw a batch of pictures.

    Args:
        attributes: B complete attributes.
        keys: (B,) uint64, what the jitter of each picture is derived from; 0 … B-1 when None.
        size: side in pixels, at least 28.

    Returns:
        (B, size, size, 3) uint8.

    Raises:
        ValueError: size below 28, wrong number of keys, or attributes outside the set.
    """
    if size < SMALLEST:
        raise ValueError(
            f"size must be at least {SMALLEST} pixels, so that objects can be recognised; got {size}"
        )
    batch = len(attributes)
    keys = np.arange(batch, dtype=np.uint64) if keys is None else np.asarray(keys, dtype=np.uint64)
    if keys.shape != (batch,):
        raise ValueError(f"keys must have shape ({batch},), one for each picture; got {keys.shape}")
    codes = np.array([_code(a) for a in attributes], dtype=np.int64)
    rest, position = np.divmod(codes, len(POSITIONS))
    rest, count = np.divmod(rest, len(COUNTS))
    shape, colour = np.divmod(rest, len(COLOURS))
    count += 1
    pixel = np.float32(size / 32)
    u = _uniform(keys, 20)

    low, high = np.array([_DIAMETERS[n] for n in COUNTS], np.float32)[count - 1].T
    diameter = (low + (high - low) * u[:, 0]) * pixel
    pitch = diameter + (1.5 + 0.5 * u[:, 1]) * pixel
    side = np.array([_SIDE[p] for p in POSITIONS], np.float32)[position]  # (B, 2): -1, 0 or 1 along x and y
    # Pairs lie along the edge they are near, so that they fit; elsewhere the arrangement is drawn.
    second = np.where((count == 2) & (position < 4), side[:, 0] != 0, u[:, 2] < 0.5)
    offsets = np.full((len(COUNTS), 2, 4, 2), np.nan, np.float32)
    for n, pair in _ARRANGEMENTS.items():
        for k, arrangement in enumerate(pair):
            offsets[n - 1, k, :n] = arrangement
    offset = offsets[count - 1, second.astype(int)] * pitch[:, None, None]  # (B, 4, 2)
    span = np.nanmax(offset, 1) - np.nanmin(offset, 1) + diameter[:, None]  # (B, 2)
    margin = (0.5 + u[:, 3] * np.where(count == 1, 2.0, 1.0).astype(np.float32)) * pixel
    reach = size / 2 - margin[:, None] - span / 2
    wobble = (2 * u[:, 4:6] - 1) * pixel
    centre = size / 2 + np.where(side != 0, side * reach, wobble)
    where = centre[:, None] + offset  # (B, 4, 2)
    diameters = diameter[:, None] * (0.97 + 0.03 * u[:, 6:10])  # (B, 4)

    alpha = _paste(shape, where, diameters, count, size, pixel)[..., None]
    palette = np.array(list(COLOURS.values()), np.float32)[colour] + 16 * (u[:, 10:13] - 0.5)
    ground = 238 + 12 * u[:, 13:14] + 4 * (u[:, 14:17] - 0.5)
    picture = ground[:, None, None] * (1 - alpha) + palette[:, None, None] * alpha
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _paste(
    shape: Ints, where: Floats, diameters: Floats, count: Ints, size: int, pixel: np.float32
) -> Floats:
    """Coverage (B, size, size) from the places (B, 4, 2) and diameters (B, 4) of the objects."""
    pad = 4  # a window reaches at most 3 pixels past the picture
    canvas = np.zeros((len(shape), size + 2 * pad, size + 2 * pad), np.float32)
    for n in COUNTS:
        rows = np.flatnonzero(count == n)
        window = int(np.ceil(_DIAMETERS[n][1] * pixel)) + 2
        step = np.arange(window) + pad
        for k in range(n):
            centre = where[rows, k]
            corner = np.floor(centre - window / 2).astype(np.int64)
            x, y = (centre - corner).T.astype(np.float32)
            x_pixels, y_pixels = (corner[:, None] + step[:, None]).transpose(2, 0, 1)  # two of (b, window)
            canvas[rows[:, None, None], y_pixels[:, :, None], x_pixels[:, None, :]] += coverage(
                shape[rows], x, y, diameters[rows, k].astype(np.float32), window
            )
    return np.minimum(canvas[:, pad:-pad, pad:-pad], 1)


# --- the set ------------------------------------------------------------------------------------------------


class Shapes:
    """The captioned pictures of one split, made on demand.

    Args:
        size: side in pixels.
        split: "train" or "test" (held-out compositions only). Another seed of "train" gives fresh pictures
            of seen compositions.
        seed: any integer; changes every picture and caption, never the hold-out.
        length: how many items the set has. Nothing is stored, so a long set costs nothing.
        paraphrase: draw the caption's template; the plain one when False.

    Raises:
        ValueError: unknown split, or a size below 28.
    """

    def __init__(
        self,
        size: int = 32,
        split: str = "train",
        seed: int = 0,
        *,
        length: int = 1_000_000,
        paraphrase: bool = True,
    ) -> None:
        if split not in ("train", "test"):
            raise ValueError(unknown("split", split, ("train", "test")))
        if size < SMALLEST:
            raise ValueError(f"size must be at least {SMALLEST} pixels; got {size}")
        if length < 1:
            raise ValueError(f"length must be at least 1; got {length}")
        self.size, self.split, self.seed, self.length, self.paraphrase = size, split, seed, length, paraphrase
        self.compositions = compositions(split)
        root = np.array([seed % 2**64], dtype=np.uint64)
        self._root = _fold(root, ("train", "test").index(split))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], str, Attributes]:
        """Picture (size, size, 3) uint8, caption, attributes. Negative indices count from the end."""
        pictures, captions = self.batch([index])
        return pictures[0], captions[0], self.attributes([index])[0]

    def _keys(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint64]:
        rows = np.asarray(indices, dtype=np.int64).reshape(-1)
        wrong = rows[(rows < -self.length) | (rows >= self.length)]
        if len(wrong):
            raise IndexError(f"index {wrong[0]} is out of range for a set of {self.length} pictures")
        return _fold(self._root, (rows % self.length).astype(np.uint64))

    def attributes(self, indices: Sequence[int] | NDArray[np.integer]) -> list[Attributes]:
        """What the pictures at `indices` show."""
        chosen = _fold(self._keys(indices), 1) % np.uint64(len(self.compositions))
        return [self.compositions[int(i)] for i in chosen]

    def batch(self, indices: Sequence[int] | NDArray[np.integer]) -> tuple[NDArray[np.uint8], list[str]]:
        """Pictures (B, size, size, 3) uint8 and their captions."""
        keys, attributes = self._keys(indices), self.attributes(indices)
        templates = (
            _fold(keys, 2) % np.uint64(len(TEMPLATES)) if self.paraphrase else np.zeros(len(keys), np.uint64)
        )
        captions = [caption(a, int(k)) for a, k in zip(attributes, templates, strict=True)]
        return render(attributes, _fold(keys, 3), self.size), captions
