"""What nearest neighbours in feature space say: are samples realistic, varied, and not copies?

Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020). With B(r) the
ball around a real item r that reaches to its k-th nearest other real item, and B(g) likewise among
generated items:
    precision   share of generated items inside some B(r)             recall      share of real items inside
                some B(g)
    density     mean over generated items of |{r : g in B(r)}| / k    coverage    share of balls B(r) with a
                generated item

Memorisation compares the distance from a generated item to the nearest training item with the same distance
of a real item that was not trained on. The ratio of the means is about 1 for a model that generalises, near
0 for copies, and far above 1 for noise. An item counts as copied if it is nearer to a training item than
all but the lowest 1 % of the held-out items are: of items from the true distribution 1 % count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist, pdist, squareform

from langevin.modalities.distances import pair, rows
from langevin.modalities.statistics import Estimate, median, wilson

__all__ = [
    "Neighbourhood",
    "diversity_ratio",
    "memorisation",
    "nearest",
    "neighbourhood",
    "share_copied",
    "spread",
]

Array = NDArray[np.float64]


class Neighbourhood(NamedTuple):
    """Precision, recall, density and coverage of a generated sample."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhood(generated: ArrayLike, real: ArrayLike, k: int = 5) -> Neighbourhood:
    """Precision, recall, density and coverage of (N, F) generated against (M, F) real features.

    Raises:
        ValueError: k is not positive, or a sample has not more than k items.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    g, r = pair(generated, real, k + 1)
    radius_r, radius_g = (
        np.partition(cdist(s, s), k, axis=1)[:, k] for s in (r, g)
    )  # entry 0 is the item itself
    apart = cdist(r, g)  # (M, N)
    inside_r, inside_g = apart <= radius_r[:, None], apart <= radius_g[None]
    return Neighbourhood(
        precision=float(inside_r.any(0).mean()),
        recall=float(inside_g.any(1).mean()),
        density=float(inside_r.sum() / (k * len(g))),
        coverage=float(inside_r.any(1).mean()),
    )


def nearest(x: ArrayLike, to: ArrayLike, skip_self: bool = False) -> Array:
    """(N,) distance from every item of x to its nearest item in `to`.

    Candidates are ranked by the inner-product form and the best eight measured exactly, so that copies have
    distance 0.

    Args:
        skip_self: x is `to`: leave each item itself out.
    """
    a, b = pair(x, to, 1)
    if skip_self and (len(a) != len(b) or len(b) < 2):
        raise ValueError("skip_self needs x and to to be one sample of at least 2 items")
    centre = b.mean(0)
    a, b = a - centre, b - centre
    squares = (b**2).sum(1)
    few = min(8, len(b) - skip_self)
    out = np.empty(len(a))
    for start in range(0, len(a), 256):
        block = a[start : start + 256]
        rank = squares[None] - 2 * block @ b.T
        if skip_self:
            rank[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        best = np.argpartition(rank, few - 1, axis=1)[:, :few]
        out[start : start + 256] = np.sqrt(((b[best] - block[:, None]) ** 2).sum(-1)).min(1)
    return out


def _held_out_distances(train: Array, held_out: ArrayLike | None) -> Array:
    return nearest(train, train, skip_self=True) if held_out is None else nearest(held_out, train)


def memorisation(
    generated: ArrayLike,
    train: ArrayLike,
    held_out: ArrayLike | None = None,
    repeats: int = 500,
    seed: int = 0,
) -> Estimate:
    """Mean nearest-training distance of generated items over that of held-out real items, with a bootstrap
    interval.

    Args:
        held_out: real items that were not trained on; None takes each training item against the others.

    Raises:
        ValueError: held-out items that all lie on training items.
    """
    t = rows("train", train)
    top, bottom = nearest(generated, t), _held_out_distances(t, held_out)
    if bottom.mean() <= 0:
        raise ValueError("held_out items coincide with training items: they cannot serve for comparison")
    rng = np.random.default_rng(seed)
    drawn = [
        top[rng.integers(0, len(top), len(top))].mean()
        / max(bottom[rng.integers(0, len(bottom), len(bottom))].mean(), 1e-300)
        for _ in range(repeats)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(top.mean() / bottom.mean()), float(low), float(high), len(top))


def share_copied(
    generated: ArrayLike, train: ArrayLike, held_out: ArrayLike | None = None, percentile: float = 1.0
) -> Estimate:
    """Share of generated items nearer to a training item than the given percentile of the held-out items is.

    Exact copies (distance 0) always count. The interval is Wilson's.
    """
    t = rows("train", train)
    threshold = np.percentile(_held_out_distances(t, held_out), percentile)
    distance = nearest(generated, t)
    return wilson(int(((distance < threshold) | (distance == 0)).sum()), len(distance))


def diversity_ratio(
    generated: ArrayLike,
    labels: Sequence[Any] | NDArray[Any],
    real: ArrayLike,
    real_labels: Sequence[Any] | NDArray[Any],
) -> float:
    """Mean distance between two generated items of one condition, over that between two real items of it.

    Averaged over the conditions that have at least two items on both sides. 1 is as varied as real; 0 is
    collapse.

    Raises:
        ValueError: labels that do not fit, or no condition with two items on both sides.
    """
    g, r = pair(generated, real)
    of_g, of_r = np.asarray(labels), np.asarray(real_labels)
    if len(of_g) != len(g) or len(of_r) != len(r):
        raise ValueError(
            f"labels must fit their items: {len(of_g)} for {len(g)} generated, {len(of_r)} for {len(r)} real"
        )
    ratios = []
    for label in np.unique(of_g):
        a, b = g[of_g == label], r[of_r == label]
        if len(a) > 1 and len(b) > 1:
            spread = [cdist(s, s).sum() / (len(s) * (len(s) - 1)) for s in (a, b)]
            if spread[1] > 0:
                ratios.append(spread[0] / spread[1])
    if not ratios:
        raise ValueError("no condition has two generated and two different real items")
    return float(np.mean(ratios))


def spread(x: ArrayLike) -> tuple[Estimate, Estimate | None]:
    """How varied items are by themselves: the mean distance of two of them, and the median distance to the nearest other
    one as a share of it (0 where half of them have a copy; None where all are the same).

    The interval of the mean is that of a U-statistic of two arguments, 4 Var(h) / n with h the mean distance of one item
    from the others (Hoeffding 1948).

    Raises:
        ValueError: fewer than 2 items.
    """
    apart = squareform(pdist(rows("x", x)))  # (N, N)
    n = len(apart)
    each = apart.sum(1) / (n - 1)
    mean = float(each.mean())
    half = 1.96 * 2 * float(each.std(ddof=1)) / n**0.5
    np.fill_diagonal(apart, np.inf)
    nearest_share = median(apart.min(1) / mean) if mean > 0 else None
    return Estimate(mean, max(0.0, mean - half), mean + half, n), nearest_share
