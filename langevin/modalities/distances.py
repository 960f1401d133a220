"""How far apart two samples of features are, x (N, F) and y (M, F).

Fréchet distance between the Gaussians with the samples' moments (Dowson and Landau 1982; FID: Heusel et al.
2017):
    d^2 = |mu_x - mu_y|^2 + tr(S_x) + tr(S_y) - 2 tr((S_x^1/2 S_y S_x^1/2)^1/2)
It is biased upwards: for samples of one distribution its mean is not 0 but falls like 1/N. Compare at equal
N only, print the value of real against real beside it, or extrapolate to 1/N -> 0 (Chong and Forsyth 2020).

Kernel distance (KID; Binkowski et al. 2018): the unbiased squared MMD with k(a, b) = (a.b / F + 1)^3, mean
0 on one distribution.

Classifier two-sample test (Lopez-Paz and Oquab 2017): accuracy of telling x from y on held-out items; 1/2 =
indistinguishable.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from langevin.modalities.statistics import Estimate, wilson

__all__ = ["C2ST", "c2st", "frechet", "frechet_distance", "frechet_extrapolated", "kid", "moments"]

Array = NDArray[np.float64]


def rows(name: str, x: ArrayLike, least: int = 2) -> Array:
    """(N, F) float64, checked: two axes, at least `least` rows, all finite."""
    array = np.asarray(x, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape (N, F); got {array.shape}")
    if len(array) < least:
        raise ValueError(f"{name} must hold at least {least} items; got {len(array)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array


def pair(x: ArrayLike, y: ArrayLike, least: int = 2) -> tuple[Array, Array]:
    """Two checked samples of features of one width."""
    a, b = rows("x", x, least), rows("y", y, least)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"x and y must have equally many features; got {a.shape[1]} and {b.shape[1]}")
    return a, b


def moments(x: ArrayLike) -> tuple[Array, Array]:
    """Mean (F,) and unbiased covariance (F, F), float64. Raises ValueError for fewer than 2 items."""
    array = rows("x", x)
    return array.mean(0), np.atleast_2d(np.cov(array, rowvar=False))


def frechet(mean_x: ArrayLike, cov_x: ArrayLike, mean_y: ArrayLike, cov_y: ArrayLike) -> float:
    """Squared Fréchet distance of two Gaussians, from their moments.

    Symmetric eigenvalue decompositions, with eigenvalues below 0 (rounding of singular covariances) taken
    as 0: no complex square roots and no added diagonal.
    """
    m_x, m_y = (np.asarray(m, dtype=np.float64).reshape(-1) for m in (mean_x, mean_y))
    s_x, s_y = (np.asarray(s, dtype=np.float64) for s in (cov_x, cov_y))
    if m_x.shape != m_y.shape or s_x.shape != s_y.shape or s_x.shape != (len(m_x), len(m_x)):
        raise ValueError(f"moments do not fit: {m_x.shape} {s_x.shape} and {m_y.shape} {s_y.shape}")
    values, vectors = np.linalg.eigh((s_x + s_x.T) / 2)
    half = vectors * np.sqrt(np.clip(values, 0, None))  # half half^T = S_x
    inner = half.T @ ((s_y + s_y.T) / 2) @ half
    cross = np.sqrt(np.clip(np.linalg.eigvalsh((inner + inner.T) / 2), 0, None)).sum()
    return float(max(0.0, ((m_x - m_y) ** 2).sum() + np.trace(s_x) + np.trace(s_y) - 2 * cross))


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Squared Fréchet distance of two samples of at least 2 items, biased upwards by O(1/N)."""
    a, b = pair(x, y)
    return frechet(*moments(a), *moments(b))


def frechet_extrapolated(x: ArrayLike, y: ArrayLike, groups: int = 10, seed: int = 0) -> Estimate:
    """The Fréchet distance extrapolated to infinitely many items of both samples.

    Both samples are cut to the shares 1, 1/2, 1/3 and 1/4 (for a share 1/k the mean over k disjoint parts);
    a line in 1/share is fitted by least squares and read off at 0. The interval is 1.96 standard errors of
    the delete-one-group jackknife. The bias is linear in 1/N only while N is several times F: with fewer
    items the figure is still too large.

    Raises:
        ValueError: fewer than 4 groups' worth of items: N or M below max(8, groups).
    """
    a, b = pair(x, y, max(8, groups))
    rng = np.random.default_rng(seed)
    a, b = a[rng.permutation(len(a))], b[rng.permutation(len(b))]

    def limit(p: Array, q: Array) -> float:
        parts = (1, 2, 3, 4)
        means = [np.mean([frechet_distance(p[i::k], q[i::k]) for i in range(k)]) for k in parts]
        return float(np.polynomial.polynomial.polyfit(parts, means, 1)[0])

    value = limit(a, b)
    in_a, in_b = np.arange(len(a)) % groups, np.arange(len(b)) % groups
    left_out = np.array([limit(a[in_a != g], b[in_b != g]) for g in range(groups)])
    error = math.sqrt((groups - 1) / groups * ((left_out - left_out.mean()) ** 2).sum())
    return Estimate(value, value - 1.96 * error, value + 1.96 * error, min(len(a), len(b)))


def kid(x: ArrayLike, y: ArrayLike, subsets: int = 50, subset_size: int = 1000, seed: int = 0) -> Estimate:
    """Kernel distance: mean over random subsets, with mean ± one standard deviation over the subsets as low
    and high.

    Args:
        subset_size: items of each sample in a subset; at most the smaller sample (then every subset repeats
            it, so the deviation says nothing and one subset is taken).

    Raises:
        ValueError: fewer than 2 items.
    """
    a, b = pair(x, y)
    size = min(subset_size, len(a), len(b))
    rng = np.random.default_rng(seed)
    whole = size == len(a) == len(b)
    values = []
    for _ in range(1 if whole else subsets):
        p, q = (s if whole else s[rng.choice(len(s), size, replace=False)] for s in (a, b))
        within = sum(_off_diagonal(_cubic(s, s)) for s in (p, q)) / (size * (size - 1))
        values.append(within - 2 * _cubic(p, q).mean())
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    value = float(np.mean(values))
    return Estimate(value, value - spread, value + spread, size)


def _cubic(a: Array, b: Array) -> Array:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


def _off_diagonal(k: Array) -> float:
    return float(k.sum() - np.trace(k))


class C2ST(NamedTuple):
    """Accuracy of telling the samples apart on held-out items, and the binomial p of guessing that well."""

    accuracy: Estimate
    p: float


def c2st(
    x: ArrayLike, y: ArrayLike, hidden: int = 0, folds: int = 5, seed: int = 0, steps: int = 200
) -> C2ST:
    """Classifier two-sample test by cross-validation, on equally many items of each sample.

    Features are standardised by the training folds; the classifier is logistic regression or, with `hidden`
    > 0, a network of one hidden layer, with weight decay. The p-value treats the held-out decisions as
    independent, which across folds they are only nearly.

    Args:
        hidden: units of the hidden layer; 0 is logistic regression.
        steps: full-batch steps of AdamW.

    Raises:
        ValueError: fewer than 2 items a fold.
    """
    a, b = pair(x, y, 2 * folds)
    n = min(len(a), len(b))
    rng = np.random.default_rng(seed)
    both = np.concatenate([a[rng.permutation(len(a))[:n]], b[rng.permutation(len(b))[:n]]])
    label = np.repeat([0, 1], n)
    fold = np.concatenate([np.arange(n) % folds] * 2)
    right = sum(_held_out(both, label, fold == k, hidden, seed, steps) for k in range(folds))
    p = float(stats.binom.sf(right - 1, 2 * n, 0.5))
    return C2ST(wilson(right, 2 * n), p)


def _held_out(
    x: Array, label: NDArray[Any], test: NDArray[np.bool_], hidden: int, seed: int, steps: int
) -> int:
    """How many of the held-out items are told right."""
    mean, scale = x[~test].mean(0), x[~test].std(0) + 1e-8
    z = torch.from_numpy((x - mean) / scale).float()
    target = torch.from_numpy(label).float()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        width = z.shape[1]
        layers: list[torch.nn.Module] = [torch.nn.Linear(width, hidden), torch.nn.ReLU()] if hidden else []
        net = torch.nn.Sequential(*layers, torch.nn.Linear(hidden or width, 1))
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.02, weight_decay=0.1)
        train = torch.from_numpy(~test)
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(z[train])[:, 0], target[train])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        held = torch.from_numpy(test)
        return int(((net(z[held])[:, 0] > 0).float() == target[held]).sum())
