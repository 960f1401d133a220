"""How many atoms a new molecule has: as in the training data, given the numbers that are asked for.

With n the number of atoms and b_k the bin in which the k-th asked number lies,

    p(n | b_1, b_2, …)  ∝  p(n) Π_k p(b_k | n),        p(b | n) = (c_nb + p(b)) / (c_n + 1),

where c_nb counts the training molecules of n atoms with a number in b, c_n those with any number, and p(b) is the share of b
among all. The numbers are taken as independent given n. A size of which no molecule has the number counts as all of
them do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from langevin.core.rng import Stream
from langevin.core.values import finite

__all__ = ["SizesBy", "draw", "rounded", "sizes_by"]

LEVELS = (0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 0.999)  # tails are what is asked for
LEAST = 10  # molecules in a bin at either end
DISTINCT = 12  # up to as many values have a bin each


@dataclass(frozen=True)
class SizesBy:
    """Training molecules by number of atoms and by a number that they have.

    Attributes:
        edges: rising; bin i holds edges[i - 1] <= value < edges[i], the first and the last are open.
        counts: molecules in each bin, by number of atoms (as text).

    Raises:
        ValueError: edges that do not rise, or counts that are not as many as there are bins.
    """

    edges: Sequence[float]
    counts: Mapping[str, Sequence[int]]

    def __post_init__(self) -> None:
        if any(not a < b for a, b in zip(self.edges, self.edges[1:])):
            raise ValueError(f"edges must rise; got {list(self.edges)}")
        for size, row in self.counts.items():
            if len(row) != len(self.edges) + 1 or min(row) < 0:
                raise ValueError(
                    f"{len(self.edges)} edges make {len(self.edges) + 1} bins; size {size} has the counts {list(row)}"
                )

    def likelihood(self, sizes: Sequence[int], values: Sequence[Any]) -> Tensor:
        """p(bin of value | size), (values, sizes), float64.

        Raises:
            ValueError: a value that is not a number.
        """
        none = [0] * (len(self.edges) + 1)
        table = torch.tensor([list(self.counts.get(str(n), none)) for n in sizes], dtype=torch.float64)
        share = table.sum(0) / table.sum().clamp(min=1)
        given = (table + share) / (table.sum(1, keepdim=True) + 1)  # (sizes, bins)
        places = np.searchsorted(np.asarray(self.edges), [finite(value) for value in values], side="right")
        return given[:, torch.from_numpy(places)].T


def sizes_by(lengths: Sequence[int], values: Sequence[float | None]) -> dict[str, Any]:
    """The tree of :class:`SizesBy` for molecules with these numbers of atoms; those without the number are left out.

    Up to DISTINCT values have a bin each; more are cut at the quantiles LEVELS.
    """
    pairs = [(n, value) for n, value in zip(lengths, values, strict=True) if value is not None]
    size, number = np.array([n for n, _ in pairs]), np.array([value for _, value in pairs], np.float64)
    distinct = np.unique(number)
    if len(distinct) <= DISTINCT:
        cuts = (distinct[1:] + distinct[:-1]) / 2
    else:
        levels = [level for level in LEVELS if min(level, 1 - level) * len(number) >= LEAST]
        cuts = np.unique(np.quantile(number, levels or [0.5]))
        cuts = cuts[cuts > number.min()]
    gap = float(np.diff(cuts).min() if len(cuts) > 1 else number.std()) if len(cuts) else 1.0
    edges = sorted({rounded(cut, gap) for cut in cuts.tolist()})
    places = np.searchsorted(edges, number, side="right")
    counts = {
        str(n): np.bincount(places[size == n], minlength=len(edges) + 1).tolist() for n in np.unique(size)
    }
    return {"edges": edges, "counts": counts}


def rounded(value: float, scale: float) -> float:
    """A number with no more digits than matter where differences of ``scale`` do."""
    return round(value, 3 - math.floor(math.log10(scale)))


def draw(
    sizes: Mapping[int, int], by: Mapping[str, SizesBy], conditions: Mapping[str, Any], rng: Stream
) -> Tensor:
    """Numbers of atoms (B,), from the histogram ``sizes`` given what is asked.

    Args:
        sizes: molecules by number of atoms.
        by: joint histograms by condition; conditions that have none change nothing.
        conditions: values by name, one for each sample.
        rng: one row for each sample.
    """
    listed = sorted(sizes)
    shares = torch.tensor([sizes[n] for n in listed], dtype=torch.float64).expand(len(rng), -1)
    for name, joint in by.items():
        if name in conditions:
            shares = shares * joint.likelihood(listed, conditions[name])
    u = rng.fold("size").uniform((len(rng),), torch.float64)
    below = shares.cumsum(1) / shares.sum(1, keepdim=True)
    place = torch.searchsorted(below, u[:, None])[:, 0].clamp(max=len(listed) - 1)
    return torch.tensor(listed)[place]
