"""Pictures against real ones, in one table with its floor and its controls (:mod:`langevin.modalities.comparison`).

The noise of the controls is uniform in every pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from langevin.modalities.comparison import METRICS, check, compare
from langevin.modalities.image.metrics.features import Extractor, Pixels, RandomConv
from langevin.modalities.image.pixels import stack
from langevin.modalities.statistics import Table

__all__ = ["METRICS", "evaluate"]

Pictures = NDArray[np.uint8]


def evaluate(
    samples: Sequence[Any],
    reference: Sequence[Any],
    held_out: Sequence[Any] | None = None,
    *,
    features: Mapping[str, Extractor] | Extractor | None = None,
    labels: Sequence[Any] | None = None,
    real_labels: Sequence[Any] | None = None,
    judge: Callable[[Pictures], Sequence[Any]] | None = None,
    metrics: Sequence[str] = METRICS,
    k: int = 5,
    seed: int = 0,
) -> Table:
    """Judge samples against real pictures.

    Args:
        samples: pictures; entries that are none (failures to decode) are counted, stay in the denominator
            of the accuracy, and are left out of the rest.
        reference: real pictures that the model was trained on.
        held_out: real pictures that it was not trained on.
        features: one extractor or a mapping from names to them; by default RandomConv(0) and Pixels().
        labels: the condition that each sample was made for.
        real_labels: the conditions of the held-out pictures (of the reference, when there are none).
        judge: pictures to conditions, trained apart from the model or exact; needs labels.
        metrics: some of `METRICS`; c2st and frechet_extrapolated are the slow ones; the latter is
            only taken for the samples and for real against real.
        k: neighbours, for precision, recall, density and coverage.
        seed: of the choice of real pictures, the noise and the folds.

    Raises:
        ValueError: fewer than 2 (k + 1) usable samples or real pictures, pictures of different sizes or
            kinds, labels that do not fit, a judge without labels, or an unknown metric.
    """
    check(metrics, len(samples), judge, labels)
    usable = [i for i, s in enumerate(samples) if isinstance(s, np.ndarray | Image.Image | str | Path)]
    least = 2 * (k + 1)
    if len(usable) < least:
        raise ValueError(f"samples must hold at least {least} pictures for k = {k}; got {len(usable)}")
    made = stack([samples[i] for i in usable])
    size, channels = made.shape[1], made.shape[3]
    extractors: Mapping[str, Extractor] = {"random conv": RandomConv(0), "pixels": Pixels()}
    if features is not None:
        extractors = features if isinstance(features, Mapping) else {"features": features}
    return compare(
        made,
        _fitting("reference", reference, channels, size),
        None if held_out is None else _fitting("held_out", held_out, channels, size),
        lambda n, rng: rng.integers(0, 256, (n, *made.shape[1:]), dtype=np.uint8),
        extractors,
        total=len(samples),
        usable=usable,
        labels=labels,
        real_labels=real_labels,
        judge=judge,
        metrics=metrics,
        k=k,
        seed=seed,
        noun="pictures",
    )


def _fitting(name: str, pictures: Sequence[Any], channels: int, size: int) -> Pictures:
    if len(pictures) == 0:
        raise ValueError(f"{name} must hold pictures; got none")
    if isinstance(pictures, np.ndarray) and pictures.shape[1:] == (size, size, channels):
        return pictures
    return stack(pictures, channels, size)
