"""Clips against real ones, in one table with its floor and its controls (:mod:`langevin.modalities.comparison`).

The noise of the controls is white, of the lengths and sizes of real clips. Beside the rows of the first features stand the
mean motion, the flicker on the pixels that are static in all real clips (on each clip's own background, where no pixel is or
sizes differ), and the warp residual.

With fewer than 2 (k + 1) clips on a side distances between distributions say nothing: they are left out, and these last
figures are given of both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.comparison import METRICS, check, compare, judged
from langevin.modalities.statistics import Table, bootstrap
from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics.alone import MOST, describe, flicker, motion, static_pixels
from langevin.modalities.video.metrics.features import Extractor, Pixels, RandomConv3d
from langevin.modalities.video.metrics.judge import Judge
from langevin.modalities.video.metrics.warp import warp_error

__all__ = ["METRICS", "evaluate", "white_noise"]


def white_noise(n: int, rng: np.random.Generator, like: Sequence[Video]) -> list[Video]:
    """n clips of independent uniform values, with the lengths, sizes and frame rates of clips that they are drawn from."""
    few = [like[k] for k in rng.integers(0, len(like), n)]
    return [Video(rng.integers(0, 256, c.frames.shape, np.uint8), c.fps) for c in few]


def evaluate(
    samples: Sequence[Any],
    reference: Sequence[Video] | None = None,
    held_out: Sequence[Video] | None = None,
    *,
    features: Mapping[str, Extractor] | Extractor | None = None,
    labels: Sequence[Any] | None = None,
    real_labels: Sequence[Any] | None = None,
    judge: Judge | Callable[[Sequence[Video]], Sequence[Any]] | None = None,
    metrics: Sequence[str] = METRICS,
    k: int = 5,
    seed: int = 0,
) -> Table:
    """Judge samples against real clips.

    Args:
        samples: clips; entries that are none (failures to decode) are counted, stay in the denominator of the accuracy,
            and are left out of the rest.
        reference: real clips that the model was trained on; without them the table is that of :func:`describe`.
        held_out: real clips that it was not trained on.
        features: one extractor or a mapping from names to them; by default RandomConv3d, as random features, and Pixels.
        labels: the condition that each sample was made for; names of classes, with a `Judge`.
        real_labels: the conditions of the held-out clips (of the reference, when there are none).
        judge: a `Judge`, or clips to conditions; trained apart from the model or exact; needs labels.
        metrics: some of `METRICS`; c2st and frechet_extrapolated are the slow ones.
        k: neighbours, for precision, recall, density and coverage.
        seed: of the choice of real clips, the noise and the folds.

    Raises:
        ValueError: labels that do not fit, a judge without labels, no real clips, or an unknown metric.
    """
    if reference is None:
        return describe(samples, seed)
    names = judge.names if isinstance(judge, Judge) else judge
    check(metrics, len(samples), names, labels)
    for name, real in (("reference", reference), ("held_out", held_out)):
        if real is not None and (not real or not all(isinstance(c, Video) for c in real)):
            raise ValueError(f"{name} must hold clips and nothing else")
    usable = [i for i, c in enumerate(samples) if isinstance(c, Video)]
    made = [samples[i] for i in usable]
    real = reference if held_out is None else held_out
    static = _static([*reference, *(held_out or ())])
    if min(len(made), len(real)) < 2 * (k + 1):
        rows: list[Any] = [
            {"row": "samples", "n": len(made), "failed": len(samples) - len(made)},
            {"row": "real", "n": len(real)},
        ]
        rows = [row | _motions(clips, static, seed) for row, clips in zip(rows, (made, real), strict=True)]
        if names is not None and labels is not None and made:
            rng = np.random.default_rng(seed)
            noise = white_noise(len(made), rng, reference)
            rows += judged(names, made, usable, list(labels), real, real_labels, noise, rng)
        caption = (
            f"{len(samples)} samples, of which {len(samples) - len(made)} failed, and {len(real)} real clips. Distances "
            f"between distributions need {2 * (k + 1)} clips on each side and are left out. Intervals: 95 %."
        )
        return Table(rows, caption)
    extractors: Mapping[str, Extractor] = {
        "random features (3-D convolutions)": RandomConv3d(),
        "pixels": Pixels(),
    }
    if features is not None:
        extractors = features if isinstance(features, Mapping) else {"features": features}
    table = compare(
        made,
        reference,
        held_out,
        lambda n, rng: white_noise(n, rng, reference),
        extractors,
        total=len(samples),
        usable=usable,
        labels=labels,
        real_labels=real_labels,
        judge=names,
        metrics=metrics,
        k=k,
        seed=seed,
        noun="clips",
    )
    moving = {"samples": made, "real against real": real}
    first = table.rows[0]["features"]
    rows = [
        {**row, **_motions(moving[row["row"]], static, seed)}
        if row["row"] in moving and row["features"] == first
        else row
        for row in table.rows
    ]
    return Table(rows, table.caption)


def _static(real: Sequence[Video]) -> NDArray[np.bool_] | None:
    """The mask of real clips; None where their sizes differ or all of it moves."""
    if len({c.size for c in real}) > 1:
        return None
    mask = static_pixels(real)
    return mask if mask.any() else None


def _motions(clips: Sequence[Video], static: NDArray[np.bool_] | None, seed: int) -> dict[str, Any]:
    moving = [c for c in clips if len(c) > 1][:MOST]
    cells = {
        "motion": [motion(c) for c in moving],
        "flicker": [
            flicker(c, static if static is not None and static.shape == c.frames.shape[1:3] else None)
            for c in moving
        ],
        "warp residual": [warp_error(c).residual for c in moving],
    }
    there = {name: np.array([v for v in values if np.isfinite(v)]) for name, values in cells.items()}
    return {name: bootstrap(values, seed=seed) for name, values in there.items() if len(values)}
