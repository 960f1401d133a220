"""What a judge reads in items, beside what was asked for.

    accuracy     share read as asked, with Wilson's interval; failures and blank items stay in the denominator as wrong
    entropy      −Σ p log2 p of the judge's answer, averaged over items, in bits: 0 where it is sure. Mixtures and noise
                 that a judge is unsure of raise it
    variety      the entropy of the averaged answer, in bits: log2 of the classes where all come equally often, 0 where
                 every item is of one class (the two are what the Inception score is made of; Salimans et al. 2016)

A judge can be sure and wrong: the same figures on held-out real items, and its accuracy on shuffled conditions, belong in
the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.judging import JudgeNetwork
from langevin.modalities.statistics import Estimate, Table, accuracy, bootstrap

__all__ = ["Reading", "agreement", "read", "relative_accuracy"]


class Reading(NamedTuple):
    """What a judge reads in a set of items.

    Attributes:
        found: the name of a class for each entry; None for failures and blank items.
        accuracy: None where nothing was asked.
        entropy: bits, of the items that are there; None where there are none.
        variety: bits.
    """

    found: list[str | None]
    accuracy: Estimate | None
    entropy: Estimate | None
    variety: Estimate | None

    def cells(self) -> dict[str, Any]:
        """The figures as cells of a table."""
        found = {"accuracy": self.accuracy, "entropy": self.entropy, "variety": self.variety}
        return {k: v for k, v in found.items() if v is not None}


def read(
    judge: JudgeNetwork,
    items: Sequence[Any],
    wanted: Sequence[str] | None = None,
    seed: int = 0,
    *,
    kind: type,
    blank: Callable[[Any], bool] = lambda item: False,
) -> Reading:
    """What a judge reads in items.

    Args:
        items: whatever is not of the ``kind`` among them (a failure) is read as nothing.
        wanted: the name of the class that each was made for.
        seed: of the bootstrap.
        kind: class of the native objects.
        blank: of an object, whether there is nothing in it to read.

    Raises:
        ValueError: another number of wanted names than of items, or a name that the judge does not know.
    """
    if wanted is not None:
        for name in wanted:
            if name not in judge.class_names:
                raise ValueError(f"the judge does not know {name!r}; it tells {', '.join(judge.class_names)}")
    places = [i for i, item in enumerate(items) if isinstance(item, kind)]
    there = [items[i] for i in places]
    answers = judge.judge(there)[0].astype(np.float64)
    found: list[str | None] = [None] * len(items)
    for i, item, p in zip(places, there, answers, strict=True):
        found[i] = None if blank(item) else judge.class_names[int(p.argmax())]
    right = None if wanted is None else accuracy(found, list(wanted))
    if not there:
        return Reading(found, right, None, None)
    return Reading(found, right, bootstrap(_entropy(answers), seed=seed), _variety(answers))


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bits, over the last axis."""
    return np.asarray(-(p * np.log2(np.maximum(p, 1e-12))).sum(-1))


def _variety(p: NDArray[np.float64]) -> Estimate:
    """Entropy of the mean answer, with its interval by the delta method: at the largest entropy, where resampled
    answers are always less even, it has no width."""
    mean = p.mean(0)
    value, most = float(_entropy(mean)), float(np.log2(p.shape[1]))
    parts = -(p * np.log2(np.maximum(mean, 1e-12))).sum(1)  # whose mean is the entropy
    half = 1.96 * float(parts.std(ddof=1)) / len(p) ** 0.5 if len(p) > 1 else most
    return Estimate(value, max(0.0, value - half), min(most, value + half), len(p))


def agreement(found: Sequence[str | None], wanted: Sequence[str]) -> Table:
    """Accuracy for each label that was asked for, what it is most often taken for, and accuracy over all.

    Raises:
        ValueError: empty, or of different lengths.
    """
    rows: list[dict[str, Any]] = []
    whole = accuracy(list(found), list(wanted))
    for name in dict.fromkeys(wanted):
        mine = [f for f, w in zip(found, wanted, strict=True) if w == name]
        wrong = Counter("nothing" if f is None else f for f in mine if f != name).most_common(1)
        taken = f"{wrong[0][0]} ({wrong[0][1]})" if wrong else None
        rows.append(
            {
                "label": name,
                "n": len(mine),
                "accuracy": accuracy(mine, [name] * len(mine)),
                "taken for": taken,
            }
        )
    rows.append({"label": "all", "n": len(wanted), "accuracy": whole})
    return Table(rows, "Share read as asked; failures and blank items count as nothing. Intervals: 95 %.")


def relative_accuracy(
    found: Sequence[str | None],
    wanted: Sequence[str],
    real_found: Sequence[str | None],
    real_wanted: Sequence[str],
    repeats: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Accuracy on samples over that of the same judge on held-out real items, with a bootstrap interval over both.

    Raises:
        ValueError: empty, of different lengths, or a judge that reads no real item right.
    """
    for f, w in ((found, wanted), (real_found, real_wanted)):
        accuracy(list(f), list(w))
    ours, real = (
        np.array([f == w for f, w in zip(a, b, strict=True)], dtype=np.float64)
        for a, b in ((found, wanted), (real_found, real_wanted))
    )
    if real.mean() == 0:
        raise ValueError("the judge reads no real item right: it cannot judge")
    rng = np.random.default_rng(seed)
    top, bottom = (s[rng.integers(0, len(s), (repeats, len(s)))].mean(1) for s in (ours, real))
    low, high = np.quantile(top / np.maximum(bottom, 1 / len(real)), [0.025, 0.975])
    return Estimate(float(ours.mean() / real.mean()), float(low), float(high), len(ours))
