"""What can be said about pictures without others to compare them with: whether they can be read, how bright and how
varied they are, and whether some are the same.

With d(a, b) the distance of two pictures in the features of fixed random convolutions (`RandomConv`, no weights):
    pair distance      mean of d over all pairs; its interval is that of a U-statistic of two arguments, whose variance is
                       4 Var(h) / n with h the mean distance of one picture from the others (Hoeffding 1948)
    nearest neighbour  median distance to the nearest other picture over the pair distance: 0 where half of them have a
                       copy
    twins              share of pictures that equal another one, pixel by pixel

None of these says whether pictures are good: noise is varied. They find what has collapsed, and they compare runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from langevin.modalities.image.metrics.features import RandomConv
from langevin.modalities.image.pixels import to_array
from langevin.modalities.neighbours import spread
from langevin.modalities.statistics import Table, bootstrap, wilson

__all__ = ["describe"]

MOST = 2000  # pictures whose distances are taken
SIDE = 256  # larger ones are reduced to it for their features


def describe(samples: Sequence[Any], seed: int = 0) -> Table:
    """Measures of pictures by themselves.

    Args:
        samples: pictures as `to_array` takes them, of any sizes; what is none counts as failed.
        seed: of the choice of pictures where there are more than 2000, and of the intervals.

    Returns:
        One row per measure, with 95 % intervals; brightness and contrast are of values from 0 (black) to 1 (white).
    """
    pictures = [to_array(s) for s in samples if isinstance(s, np.ndarray | Image.Image | str | Path)]
    total, failed = len(samples), len(samples) - len(pictures)
    rows: list[dict[str, Any]] = []

    def add(measure: str, value: Any, n: int) -> None:
        rows.append({"measure": measure, "value": value, "n": n})

    if total:
        add("readable", wilson(len(pictures), total), total)
    add("failed", failed, total)
    sizes = Counter(f"{p.shape[1]} × {p.shape[0]}" for p in pictures)
    add("sizes", len(sizes), len(pictures))
    if pictures:
        for measure, values in (
            ("brightness", [p.mean() / 255 for p in pictures]),
            ("contrast", [p.std() / 255 for p in pictures]),
        ):
            add(measure, bootstrap(values, seed=seed) if len(values) > 1 else float(values[0]), len(values))
    if len(pictures) > 1:
        twins = Counter((p.shape, p.tobytes()) for p in pictures)
        add("twins", wilson(sum(k for k in twins.values() if k > 1), len(pictures)), len(pictures))
        few = pictures
        if len(pictures) > MOST:
            chosen = np.random.default_rng(seed).choice(len(pictures), MOST, replace=False)
            few = [pictures[i] for i in chosen]
        pairs, nearest = spread(_features(few))
        add("pair distance", pairs, len(few))
        if nearest is not None:
            add("nearest neighbour", nearest, len(few))
    listed = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(3))
    more = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
    caption = (
        f"{total} pictures, of which {failed} failed{f'; {listed}{more}' if sizes else ''}. "
        "Measured without a reference: variety and copies, not quality. Intervals: 95 %."
    )
    return Table(rows, caption)


def _features(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Random-convolution features (N, F) of pictures of any sizes, grey ones as RGB."""
    fitted = [to_array(_reduced(p), channels=3) for p in pictures]
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, p in enumerate(fitted):
        groups.setdefault(p.shape, []).append(i)
    extract: Any = RandomConv(0)
    out: dict[int, NDArray[Any]] = {}
    for places in groups.values():
        out |= dict(zip(places, extract(np.stack([fitted[i] for i in places]))))
    return np.stack([out[i] for i in range(len(fitted))]).astype(np.float64)


def _reduced(pixels: NDArray[np.uint8]) -> Any:
    if max(pixels.shape[:2]) <= SIDE:
        return pixels
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((SIDE, SIDE))
    return picture
