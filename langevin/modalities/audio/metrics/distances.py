"""Distances between sets of sounds, in any features of them; the distances of features themselves are
:mod:`langevin.modalities.distances`.

Fréchet audio distance (Kilgour et al. 2019): the Fréchet distance of Gaussians with the moments of the features. Its
bias falls like 1 / N. As in FAD∞ (Gui et al. 2023, after Chong and Forsyth 2020) it is taken for samples of several sizes
against the whole reference, a line is fitted in 1 / N and read off at 0; the share of the variance that the line
explains says whether there was a line. The reference stays as it is, so real against real, the floor, is not 0.

Kernel distance: the unbiased squared MMD with the cubic kernel of KID (Binkowski et al. 2018), which has no such bias.

The line holds for more sounds than features have values; with fewer the covariance is singular, and :func:`distances`
leaves the extrapolation out. A figure of samples says little without the floor, other real sounds at an equal number:
:func:`distances` puts it beside, with noise and copies of the reference as controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langevin.modalities.audio.metrics.features import Extractor
from langevin.modalities.audio.sound import Audio
from langevin.modalities.distances import frechet, frechet_distance, kid, moments, pair
from langevin.modalities.statistics import Estimate, Table

__all__ = ["Extrapolated", "distances", "frechet_infinity", "white_noise"]


class Extrapolated(NamedTuple):
    """A distance at infinitely many samples.

    Attributes:
        value: with 95 % by the jackknife over groups of samples.
        slope: of the distance in 1 / N: its bias at N is about slope / N.
        fit: share of the variance over sizes that the line explains.
    """

    value: Estimate
    slope: float
    fit: float


def frechet_infinity(
    x: ArrayLike,
    reference: ArrayLike | tuple[ArrayLike, ArrayLike],
    *,
    sizes: int = 10,
    least: int | None = None,
    groups: int = 10,
    seed: int = 0,
) -> Extrapolated:
    """The Fréchet distance of features (N, F) from a reference, extrapolated to infinite N.

    Args:
        x: of the samples.
        reference: features (M, F), or their mean (F,) and covariance (F, F), as published ones are.
        sizes: how many sizes from ``least`` to N, evenly spaced; for each the mean over disjoint random
            subsets.
        least: the smallest size; a fifth of N, at least 4, when None.
        groups: of the jackknife.
        seed: of the subsets and groups.

    Raises:
        ValueError: fewer than 20 samples, or sizes that do not fit them.
    """
    if isinstance(reference, tuple):
        mean, covariance = (np.asarray(m, dtype=np.float64) for m in reference)
        a, _ = pair(x, np.stack([mean, mean]), 2)
    else:
        a, b = pair(x, reference)
        mean, covariance = moments(b)
    if len(a) < 20:
        raise ValueError(f"x must hold at least 20 items to be extrapolated; got {len(a)}")
    least = least or max(4, len(a) // 5)
    if not 2 <= least < len(a) // 2 or sizes < 3:
        raise ValueError(
            f"least must lie in 2 … {len(a) // 2 - 1} and sizes be at least 3; got {least} and {sizes}"
        )
    rng = np.random.default_rng(seed)
    a = a[rng.permutation(len(a))]

    def line(rows: NDArray[np.float64]) -> tuple[float, float, float]:
        counts = np.linspace(least, len(rows), sizes).round().astype(int)
        order = rows[np.random.default_rng(seed).permutation(len(rows))]
        # As many parts of a size as there is room for, for figures that scatter less.
        found = [
            np.mean(
                [
                    frechet(*moments(order[k * n : (k + 1) * n]), mean, covariance)
                    for k in range(len(rows) // n)
                ]
            )
            for n in counts
        ]
        inverse, y = 1 / counts, np.asarray(found)
        intercept, slope = np.polynomial.polynomial.polyfit(inverse, y, 1)
        left = ((y - intercept - slope * inverse) ** 2).sum()
        spread = ((y - y.mean()) ** 2).sum()
        return float(intercept), float(slope), float(1 - left / spread) if spread > 0 else 1.0

    value, slope, fit = line(a)
    group = np.arange(len(a)) % groups
    out = np.array([line(a[group != g])[0] for g in range(groups)])
    half = 1.96 * float(np.sqrt((groups - 1) / groups * ((out - out.mean()) ** 2).sum()))
    return Extrapolated(Estimate(value, value - half, value + half, len(a)), slope, fit)


def white_noise(n: int, rng: np.random.Generator, like: Sequence[Audio]) -> list[Audio]:
    """n sounds of white noise with the durations, rates, channels and root mean squares of sounds that they are
    drawn from."""
    out = []
    for k in rng.integers(0, len(like), n):
        shape, size = like[k].samples.shape, np.sqrt(np.square(like[k].samples, dtype=np.float64).mean())
        out.append(Audio((size * rng.standard_normal(shape)).astype(np.float32), like[k].rate))
    return out


def distances(
    sounds: Sequence[Audio],
    reference: Sequence[Audio],
    features: Mapping[str, Extractor],
    *,
    seed: int = 0,
) -> Table:
    """Fréchet distance, its extrapolation and kernel distance of sounds from real ones, with floor and controls.

    Half of the reference is what all rows are measured against, the other half is the floor. Rows have n sounds, as
    many as the samples and that half allow.

    Args:
        features: extractors by name.
        seed: of the halves, the subsets and the noise.

    Raises:
        ValueError: fewer than 20 sounds, or 40 of the reference.
    """
    if len(sounds) < 20 or len(reference) < 40:
        raise ValueError(
            f"20 sounds and 40 of the reference are needed; got {len(sounds)} and {len(reference)}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(reference))
    against, floor = order[::2], order[1::2]
    n = min(len(sounds), len(floor))
    few = rng.permutation(len(sounds))[:n]
    noise = white_noise(n, rng, reference)
    rows: list[dict[str, Any]] = []
    for name, extract in features.items():
        f_real, f_made = np.asarray(extract(reference)), np.asarray(extract(sounds))
        real = f_real[against]
        sets = {
            "samples": f_made[few],
            "real against real": f_real[floor[:n]],
            "copies of training": real[rng.integers(0, len(real), n)],
            "noise": np.asarray(extract(noise)),
        }
        for row, x in sets.items():
            cells: dict[str, Any] = {
                "row": row,
                "features": name,
                "n": n,
                "frechet": frechet_distance(x, real),
            }
            if n > x.shape[1]:
                limit = frechet_infinity(x, real, seed=seed)
                cells |= {"frechet ∞": limit.value, "fit": limit.fit}
            rows.append({**cells, "kernel": kid(x, real, subset_size=max(2, min(1000, n // 2)), seed=seed)})
    caption = (
        f"{n} sounds in each row against {len(against)} real ones; seed {seed}. frechet ∞: extrapolated in 1 / n with "
        "the reference as it is, 95 % by the jackknife, where there are more sounds than features have values; "
        "kernel ± one deviation over subsets."
    )
    return Table(rows, caption)
