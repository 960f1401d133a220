"""Sounds against real ones, in one table with its floor and its controls (:mod:`langevin.modalities.comparison`).

The noise of the controls is white, with the durations and levels of real sounds. Beside each row of the first features
stand the share of silent sounds and the mean silence rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from langevin.modalities.audio.metrics.alone import describe, usual_rate
from langevin.modalities.audio.metrics.distances import white_noise
from langevin.modalities.audio.metrics.features import Extractor, MelStatistics, RandomConv
from langevin.modalities.audio.metrics.judge import Judge
from langevin.modalities.audio.metrics.levels import silence_rate, silent
from langevin.modalities.audio.sound import Audio
from langevin.modalities.comparison import METRICS, check, compare
from langevin.modalities.statistics import Table, bootstrap, wilson

__all__ = ["METRICS", "evaluate"]


def evaluate(
    samples: Sequence[Any],
    reference: Sequence[Audio] | None = None,
    held_out: Sequence[Audio] | None = None,
    *,
    features: Mapping[str, Extractor] | Extractor | None = None,
    labels: Sequence[Any] | None = None,
    real_labels: Sequence[Any] | None = None,
    judge: Judge | Callable[[Sequence[Audio]], Sequence[Any]] | None = None,
    metrics: Sequence[str] = METRICS,
    k: int = 5,
    seed: int = 0,
) -> Table:
    """Judge samples against real sounds.

    Args:
        samples: sounds; entries that are none (failures to decode) are counted, stay in the denominator of the
            accuracy, and are left out of the rest.
        reference: real sounds that the model was trained on; without them the table is that of :func:`describe`.
        held_out: real sounds that it was not trained on.
        features: one extractor or a mapping from names to them; by default MelStatistics and RandomConv at the
            usual rate of the reference.
        labels: the condition that each sample was made for; names of classes, with a `Judge`.
        real_labels: the conditions of the held-out sounds (of the reference, when there are none).
        judge: a `Judge`, or sounds to conditions; trained apart from the model or exact; needs labels.
        metrics: some of `METRICS`; c2st and frechet_extrapolated are the slow ones; the latter is only taken for the
            samples and for real against real.
        k: neighbours, for precision, recall, density and coverage.
        seed: of the choice of real sounds, the noise and the folds.

    Raises:
        ValueError: fewer than 2 (k + 1) usable samples or real sounds, labels that do not fit, a judge without labels, or
            an unknown metric.
    """
    if reference is None:
        return describe(samples, seed)
    names = judge.names if isinstance(judge, Judge) else judge
    check(metrics, len(samples), names, labels)
    for name, real in (("reference", reference), ("held_out", held_out)):
        if real is not None and (not real or not all(isinstance(s, Audio) for s in real)):
            raise ValueError(f"{name} must hold sounds and nothing else")
    usable = [i for i, s in enumerate(samples) if isinstance(s, Audio)]
    made = [samples[i] for i in usable]
    rate = usual_rate(reference)
    extractors: Mapping[str, Extractor] = {
        "mel statistics": MelStatistics(rate),
        "random conv": RandomConv(rate=rate),
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
        noun="sounds",
    )
    real = reference if held_out is None else held_out
    quiet = {"samples": made, "real against real": real}
    rows = [
        {**row, **_levels(quiet[row["row"]], seed)}
        if row["row"] in quiet and row["features"] == first
        else row
        for first in [table.rows[0]["features"]]
        for row in table.rows
    ]
    return Table(rows, table.caption)


def _levels(sounds: Sequence[Audio], seed: int) -> dict[str, Any]:
    return {
        "silent": wilson(sum(map(silent, sounds)), len(sounds)),
        "silence rate": bootstrap(np.array([silence_rate(s) for s in sounds]), seed=seed),
    }
