"""One table for a set of samples: every figure beside its floor and its controls.

Rows, for each feature extractor:
    samples                what is judged
    real against real      other real pictures in the place of the samples: the floor, or the ceiling, at
                           equal n
    copies of training     training pictures in the place of the samples: good distances, but ratio 0 and
                           all copied
    noise                  uniform noise in the place of the samples
    shuffled conditions    the samples with their conditions permuted (where conditions are given)

All rows compare n pictures with the same n real ones, because the distances depend on n. The real ones come
from `held_out` where it is given; otherwise from the reference, whose other half is then the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from langevin.core.errors import unknown
from langevin.modalities.image.metrics.distances import c2st, frechet_distance, frechet_extrapolated, kid
from langevin.modalities.image.metrics.features import Extractor, Pixels, RandomConv
from langevin.modalities.image.metrics.neighbours import (
    diversity_ratio,
    memorisation,
    neighbourhood,
    share_copied,
)
from langevin.modalities.image.pixels import stack
from langevin.modalities.statistics import Table, accuracy

__all__ = ["METRICS", "evaluate"]

METRICS = (
    "frechet",
    "frechet_extrapolated",
    "kid",
    "neighbourhood",
    "c2st",
    "memorisation",
    "copied",
    "diversity",
)

Pictures = NDArray[np.uint8]
Row = dict[str, Any]


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
    for name in metrics:
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))
    if judge is not None and labels is None:
        raise ValueError("judge needs labels: the condition that each sample was made for")
    if labels is not None and len(labels) != len(samples):
        raise ValueError(
            f"labels must have one entry for each of the {len(samples)} samples; got {len(labels)}"
        )
    usable = [i for i, s in enumerate(samples) if isinstance(s, np.ndarray | Image.Image | str | Path)]
    least = 2 * (k + 1)
    if len(usable) < least:
        raise ValueError(f"samples must hold at least {least} pictures for k = {k}; got {len(usable)}")
    made = stack([samples[i] for i in usable])
    size, channels = made.shape[1], made.shape[3]
    train = _fitting("reference", reference, channels, size)
    real = train if held_out is None else _fitting("held_out", held_out, channels, size)
    if len(real) < least:
        raise ValueError(
            f"{'reference' if held_out is None else 'held_out'} must hold at least {least} pictures"
        )
    if real_labels is not None and len(real_labels) != len(real):
        raise ValueError(f"real_labels must fit the {len(real)} real pictures; got {len(real_labels)}")

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(real))
    n = min(len(made), len(real) // 2)
    against, floor = order[:n], order[n : 2 * n]
    copied = rng.choice(len(train), n, replace=len(train) < n)
    noise = rng.integers(0, 256, (n, *made.shape[1:]), dtype=np.uint8)

    rows: list[Row] = []
    extractors = features if isinstance(features, Mapping) else {"features": features} if features else None
    for name, extract in (extractors or {"random conv": RandomConv(0), "pixels": Pixels()}).items():
        f_train = np.asarray(extract(train), dtype=np.float64)
        f_real = f_train if held_out is None else np.asarray(extract(real), dtype=np.float64)
        f_made = np.asarray(extract(made), dtype=np.float64)
        fresh = None if held_out is None else f_real
        sets = {
            "samples": f_made[:n],
            "real against real": f_real[floor],
            "copies of training": f_train[copied],
            "noise": np.asarray(extract(noise), dtype=np.float64),
        }
        for row, x in sets.items():
            # Real pictures of the reference itself are no copies: they are taken against the rest of it.
            own = held_out is None and row == "real against real"
            extrapolate = row in ("samples", "real against real")  # a hundred eigenvalue problems each
            cells = _figures(x, f_real[against], metrics, k, seed, extrapolate)
            cells |= _memory(x, np.delete(f_train, floor, axis=0) if own else f_train, fresh, metrics)
            lost = {"failed": len(samples) - len(usable)} if row == "samples" else {}
            rows.append({"row": row, "features": name, "n": n, **lost, **cells})
        if labels is not None and real_labels is not None and "diversity" in metrics:
            of_made, of_real = np.asarray(labels)[usable], np.asarray(real_labels)
            mixed = rng.permutation(of_made)
            for row, ours in (("samples", of_made), ("shuffled conditions", mixed)):
                target = next((r for r in rows if r["row"] == row and r["features"] == name), None)
                if target is None:
                    target = {"row": row, "features": name, "n": len(made)}
                    rows.append(target)
                target["diversity"] = diversity_ratio(f_made, ours, f_real, of_real)
    if judge is not None and labels is not None:
        rows += _judged(judge, made, usable, list(labels), real, real_labels, noise, rng)
    where = "of the reference" if held_out is None else "held out"
    caption = (
        f"{len(samples)} samples, of which {len(samples) - len(usable)} failed; {n} pictures in each row "
        f"against the same {n} real ones ({where}); {len(train)} training pictures; k = {k}; seed {seed}. "
        "frechet is biased by n: compare it with the row real against real. "
        "Intervals: kid ± one deviation over subsets, others 95 %."
    )
    return Table(rows, caption)


def _fitting(name: str, pictures: Sequence[Any], channels: int, size: int) -> Pictures:
    if len(pictures) == 0:
        raise ValueError(f"{name} must hold pictures; got none")
    if isinstance(pictures, np.ndarray) and pictures.shape[1:] == (size, size, channels):
        return pictures
    return stack(pictures, channels, size)


def _figures(
    x: NDArray[Any], real: NDArray[Any], metrics: Sequence[str], k: int, seed: int, extrapolate: bool
) -> Row:
    """Distances and neighbourhoods of one row, all against the same real features."""
    cells: Row = {}
    if "frechet" in metrics:
        cells["frechet"] = frechet_distance(x, real)
    if extrapolate and "frechet_extrapolated" in metrics and len(x) >= 10:
        cells["frechet ∞"] = frechet_extrapolated(x, real, seed=seed)
    if "kid" in metrics:
        cells["kid"] = kid(x, real, subset_size=max(2, min(1000, len(x) // 2)), seed=seed)
    if "neighbourhood" in metrics:
        cells |= neighbourhood(x, real, k)._asdict()
    if "c2st" in metrics and len(x) >= 10:
        cells["c2st"] = c2st(x, real, seed=seed).accuracy
    return cells


def _memory(x: NDArray[Any], train: NDArray[Any], fresh: NDArray[Any] | None, metrics: Sequence[str]) -> Row:
    """Nearest-training figures of one row."""
    cells: Row = {}
    if "memorisation" in metrics:
        cells["nearest ratio"] = memorisation(x, train, fresh)
    if "copied" in metrics:
        cells["copied"] = share_copied(x, train, fresh)
    return cells


def _judged(
    judge: Callable[[Pictures], Sequence[Any]],
    made: Pictures,
    usable: list[int],
    labels: list[Any],
    real: Pictures,
    real_labels: Sequence[Any] | None,
    noise: Pictures,
    rng: np.random.Generator,
) -> list[Row]:
    """Accuracy of the condition: samples (failures are wrong), the judge on real pictures, the controls."""
    found: list[Any] = [None] * len(labels)
    for i, answer in zip(usable, judge(made), strict=True):
        found[i] = answer
    mixed = [labels[i] for i in rng.permutation(len(labels))]
    rows: list[Row] = [
        {"row": "samples", "features": "judge", "n": len(labels), "accuracy": accuracy(found, labels)}
    ]
    if real_labels is not None:
        cell = accuracy(list(judge(real)), list(real_labels))
        rows.append({"row": "real against real", "features": "judge", "n": len(real), "accuracy": cell})
    answers = list(judge(noise))
    cell = accuracy(answers, [labels[i % len(labels)] for i in range(len(answers))])
    rows.append({"row": "noise", "features": "judge", "n": len(noise), "accuracy": cell})
    cell = accuracy(found, mixed)
    rows.append({"row": "shuffled conditions", "features": "judge", "n": len(labels), "accuracy": cell})
    return rows
