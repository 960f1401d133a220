"""How alike backbones are: TM-scores, clusters, and superposition.

TM-score of two chains, for the alignment and superposition that TM-align finds (Zhang & Skoltnick 2004, Proteins 57, 702;
2005, Nucleic Acids Res. 33, 2302):

    TM = 1/n Σ_aligned 1 / (1 + (d_i / d0)²),      d0 = 1.24 (n − 15)^(1/3) − 1.8 Å

with n the length of one of the chains: there are two scores. Unrelated chains have about 0.2 to 0.3, and above 0.5 two
chains mostly have the same fold (Xu & Zhang 2010, Bioinformatics 26, 889). The score depends on the lengths, so pairs are
compared at like lengths, the shorter at least 0.9 of the longer, and a pair has the mean of its two scores.

Clusters are those of average linkage on 1 − TM over all pairs, cut at 0.5: two clusters stay apart if the mean TM between
their members is below 0.5. Their number grows slower than that of designs, so it is compared at equal numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from langevin import optional
from langevin.core.progress import bar
from langevin.modalities.statistics import Estimate

__all__ = ["ALIKE", "FOLD", "Diversity", "clusters", "diversity", "pair_scores", "superposed", "tm_score"]

Array = NDArray[np.float64]
ALIKE = 0.9  # the shorter of two chains over the longer
FOLD = 0.5  # TM
LEAST = 5  # residues, for an alignment


def superposed(moving: ArrayLike, fixed: ArrayLike) -> tuple[Array, Array, float]:
    """Rotation (3, 3), shift (3,) and RMSD (Å) of the best superposition x R^T + t of points on others of the same order.

    The determinant is 1: a mirror image is not superposed (Kabsch 1978, Acta Cryst. A34, 827).

    Args:
        moving, fixed: (n, 3).

    Raises:
        ValueError: other shapes, or no points.
    """
    x, y = np.asarray(moving, np.float64), np.asarray(fixed, np.float64)
    if x.shape != y.shape or x.ndim != 2 or x.shape[1] != 3 or not len(x):
        raise ValueError(f"two sets of as many points (n, 3) are superposed; got {x.shape} and {y.shape}")
    a, b = x.mean(0), y.mean(0)
    u, _, vt = np.linalg.svd((x - a).T @ (y - b))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
    rotation = (u @ flip @ vt).T
    shift = b - rotation @ a
    rest = x @ rotation.T + shift - y
    return rotation, shift, float(np.sqrt((rest**2).sum(1).mean()))


def tm_score(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """TM-scores of two CA traces (n, 3) and (m, 3), Å, by the length of the first and by that of the second.

    Raises:
        MissingPackage: tmtools is not installed.
        ValueError: fewer than 5 residues.
    """
    x, y = (np.ascontiguousarray(v, np.float64) for v in (a, b))
    if min(len(x), len(y)) < LEAST:
        raise ValueError(f"a TM-score needs {LEAST} residues at least; got {len(x)} and {len(y)}")
    found = optional.tmtools().tm_align(x, y, "A" * len(x), "A" * len(y))
    return float(found.tm_norm_chain1), float(found.tm_norm_chain2)


def pair_scores(traces: Sequence[ArrayLike], *, alike: float = 0.0, show: bool | None = None) -> Array:
    """(N, N) TM-scores of all pairs of CA traces, the mean of both normalisations; 1 on the diagonal.

    Args:
        traces: (n, 3) each, Å.
        alike: pairs whose lengths are less alike are left out, as NaN.
        show: a bar on standard error; None asks whether that is a terminal.
    """
    lengths = [len(np.asarray(trace)) for trace in traces]
    found = np.full((len(traces),) * 2, np.nan)
    np.fill_diagonal(found, 1.0)
    pairs = [
        (i, j)
        for i in range(len(traces))
        for j in range(i)
        if min(lengths[i], lengths[j]) >= alike * max(lengths[i], lengths[j])
    ]
    for i, j in bar(pairs, len(pairs), "TM-scores", show):
        found[i, j] = found[j, i] = float(np.mean(tm_score(traces[i], traces[j])))
    return found


def clusters(scores: ArrayLike, threshold: float = FOLD) -> NDArray[np.int64]:
    """(N,) number of the cluster of each of N chains, from their (N, N) pair scores."""
    tm = np.asarray(scores, np.float64)
    if len(tm) < 2:
        return np.ones(len(tm), np.int64)
    return fcluster(linkage(squareform(1 - tm, checks=False), "average"), 1 - threshold, "distance").astype(
        np.int64
    )


@dataclass(frozen=True)
class Diversity:
    """How varied chains are.

    Attributes:
        median: TM of pairs at like lengths; None where there are none.
        same: share of these pairs above 0.5.
        clusters: how many there are over the number of chains.
    """

    median: Estimate | None
    same: Estimate | None
    clusters: Estimate


def diversity(
    scores: ArrayLike, lengths: Sequence[int], n: int | None = None, *, repeats: int = 200, seed: int = 0
) -> Diversity:
    """Diversity of chains from all their pair scores.

    Intervals of pairs are a bootstrap over chains, since the pairs of one chain are not independent; that of clusters is
    where 95 % of the draws of n chains lie, or none where all are taken.

    Args:
        scores: (N, N), of :func:`pair_scores`, without gaps.
        lengths: (N,) residues.
        n: of how many chains, drawn without replacement, clusters are counted; all when None.

    Raises:
        ValueError: no chains, or more asked for than there are.
    """
    tm, size = np.asarray(scores, np.float64), np.asarray(lengths)
    total = len(tm)
    n = total if n is None else n
    if not 0 < n <= total:
        raise ValueError(f"n must lie in 1 … {total}; got {n}")
    rng = np.random.default_rng(seed)
    alike = np.minimum.outer(size, size) >= ALIKE * np.maximum.outer(size, size)
    np.fill_diagonal(alike, False)

    def pairs(rows: NDArray[np.int64]) -> Array:
        grid = np.ix_(rows, rows)
        return tm[grid][np.triu(alike[grid], 1)]

    whole = pairs(np.arange(total))
    median = same = None
    if len(whole):
        drawn = [pairs(rng.integers(0, total, total)) for _ in range(repeats)]
        drawn = [values for values in drawn if len(values)]
        median = _interval(float(np.median(whole)), [float(np.median(v)) for v in drawn], len(whole))
        same = _interval(float((whole > FOLD).mean()), [float((v > FOLD).mean()) for v in drawn], len(whole))
    counts = []
    for _ in range(1 if n == total else repeats):
        rows = rng.permutation(total)[:n]
        counts.append(len(set(clusters(tm[np.ix_(rows, rows)]).tolist())) / n)
    return Diversity(median, same, _interval(float(np.mean(counts)), counts, n))


def _interval(value: float, drawn: Sequence[float], n: int) -> Estimate:
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (value, value)
    return Estimate(value, float(low), float(high), n)
