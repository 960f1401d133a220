"""One table for a set of samples against real items: every figure beside its floor and its controls.

Rows, for each feature extractor:
    samples                what is judged
    real against real      other real items in the place of the samples: the floor, or the ceiling, at equal n
    copies of training     training items in the place of the samples: good distances, but ratio 0 and all copied
    noise                  noise in the place of the samples
    shuffled conditions    the samples with their conditions permuted (where conditions are given)

All rows compare n items with the same n real ones, because the distances depend on n. The real ones come from
those held out of training where there are any; otherwise from the reference, whose other half is then the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.modalities.distances import c2st, frechet_distance, frechet_extrapolated, kid
from langevin.modalities.neighbours import diversity_ratio, memorisation, neighbourhood, share_copied
from langevin.modalities.statistics import Table, accuracy

__all__ = ["METRICS", "Extractors", "check", "compare", "judged"]

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

Extractors = Mapping[str, Callable[[Any], NDArray[Any]]]  # items to features (N, F), by name
Judge = Callable[[Any], Sequence[Any]]
Row = dict[str, Any]


def check(metrics: Sequence[str], total: int, judge: Judge | None, labels: Sequence[Any] | None) -> None:
    """Refuses what cannot be measured, before anything is.

    Args:
        metrics: some of `METRICS`.
        total: how many samples there are, failures included.
        judge, labels: as in :func:`compare`.

    Raises:
        ValueError: an unknown metric, a judge without labels, or labels that do not fit the samples.
    """
    for name in metrics:
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))
    if judge is not None and labels is None:
        raise ValueError("judge needs labels: the condition that each sample was made for")
    if labels is not None and len(labels) != total:
        raise ValueError(f"labels must have one entry for each of the {total} samples; got {len(labels)}")


def compare(
    made: Any,
    train: Any,
    held_out: Any | None,
    noise: Callable[[int, np.random.Generator], Any],
    features: Extractors,
    *,
    total: int,
    usable: Sequence[int],
    labels: Sequence[Any] | None = None,
    real_labels: Sequence[Any] | None = None,
    judge: Judge | None = None,
    metrics: Sequence[str] = METRICS,
    k: int = 5,
    seed: int = 0,
    noun: str = "items",
) -> Table:
    """Judges samples against real items.

    Items are whatever the extractors and the judge take; here they are only counted.

    Args:
        made: the samples that are there.
        train: real items that the model was trained on.
        held_out: real items that it was not trained on; None where there are none.
        noise: (n, random numbers) -> n items of noise.
        total: how many samples there are with those that failed.
        usable: the places of ``made`` among them.
        labels: the condition that each of the ``total`` samples was made for.
        real_labels: the conditions of the real items.
        judge: items to conditions, trained apart from the model or exact; needs labels.
        metrics: some of `METRICS`.
        k: neighbours, for precision, recall, density and coverage.
        seed: of the choice of real items, the noise and the folds.
        noun: of the items, for messages and the caption.

    Raises:
        ValueError: fewer than 2 (k + 1) samples or real items, or real labels that do not fit.
    """
    least = 2 * (k + 1)
    if len(made) < least:
        raise ValueError(f"samples must hold at least {least} {noun} for k = {k}; got {len(made)}")
    real = train if held_out is None else held_out
    if len(real) < least:
        raise ValueError(
            f"{'reference' if held_out is None else 'held_out'} must hold at least {least} {noun}"
        )
    if real_labels is not None and len(real_labels) != len(real):
        raise ValueError(f"real_labels must fit the {len(real)} real {noun}; got {len(real_labels)}")

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(real))
    n = min(len(made), len(real) // 2)
    against, floor = order[:n], order[n : 2 * n]
    copied = rng.choice(len(train), n, replace=len(train) < n)
    random = noise(n, rng)

    rows: list[Row] = []
    for name, extract in features.items():
        f_train = np.asarray(extract(train), dtype=np.float64)
        f_real = f_train if held_out is None else np.asarray(extract(real), dtype=np.float64)
        f_made = np.asarray(extract(made), dtype=np.float64)
        fresh = None if held_out is None else f_real
        sets = {
            "samples": f_made[:n],
            "real against real": f_real[floor],
            "copies of training": f_train[copied],
            "noise": np.asarray(extract(random), dtype=np.float64),
        }
        for row, x in sets.items():
            # Real items of the reference itself are no copies: they are taken against the rest of it.
            own = held_out is None and row == "real against real"
            extrapolate = row in ("samples", "real against real")  # a hundred eigenvalue problems each
            cells = _figures(x, f_real[against], metrics, k, seed, extrapolate)
            cells |= _memory(x, np.delete(f_train, floor, axis=0) if own else f_train, fresh, metrics)
            lost = {"failed": total - len(usable)} if row == "samples" else {}
            rows.append({"row": row, "features": name, "n": n, **lost, **cells})
        if labels is not None and real_labels is not None and "diversity" in metrics:
            of_made, of_real = np.asarray(labels)[list(usable)], np.asarray(real_labels)
            mixed = rng.permutation(of_made)
            for row, ours in (("samples", of_made), ("shuffled conditions", mixed)):
                target = next((r for r in rows if r["row"] == row and r["features"] == name), None)
                if target is None:
                    target = {"row": row, "features": name, "n": len(made)}
                    rows.append(target)
                target["diversity"] = diversity_ratio(f_made, ours, f_real, of_real)
    if judge is not None and labels is not None:
        rows += judged(judge, made, usable, list(labels), real, real_labels, random, rng)
    where = "of the reference" if held_out is None else "held out"
    caption = (
        f"{total} samples, of which {total - len(usable)} failed; {n} {noun} in each row "
        f"against the same {n} real ones ({where}); {len(train)} training {noun}; k = {k}; seed {seed}. "
        "frechet is biased by n: compare it with the row real against real. "
        "Intervals: kid ± one deviation over subsets, others 95 %."
    )
    return Table(rows, caption)


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


def judged(
    judge: Judge,
    made: Any,
    usable: Sequence[int],
    labels: list[Any],
    real: Any,
    real_labels: Sequence[Any] | None,
    noise: Any,
    rng: np.random.Generator,
) -> list[Row]:
    """Accuracy of the condition: samples (failures are wrong), the judge on real items, the controls."""
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
