"""Complexes to train a model of ligands in pockets on, and the model that follows from them.

A pocket is cut around its own ligand, so its centre lies near the ligand's. The model sees the atoms nearest to a point
that lies up to ``jitter`` Å from that centre, in a direction at random. Each complex is an item ``views`` times, with a
point of its own in every view: which items there are follows from the seed, and a batch from its step alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from langevin.modalities.molecule.binding import MOST, Placed, PocketModality
from langevin.modalities.molecule.complexes import (
    ELEMENTS,
    SOURCES,
    THRESHOLD,
    Complex,
    Complexes,
    open_complexes,
)
from langevin.modalities.molecule.modality import SYMBOLS
from langevin.trees import merge

__all__ = ["PocketDataset", "defaults", "open_pockets"]

_BINS = 4  # of pockets by size, for the sizes of ligands


class PocketDataset:
    """Complexes in memory, each in several views.

    Attributes:
        complexes: what is trained on.
        lengths: heavy atoms of each item's ligand, by which batches are made.

    Args:
        complexes: at least one.
        views: how many items each is.
        jitter: Å, how far at most the point lies from the centre of a pocket, uniform in the ball.
        seed: of the points.
        licence, attribution: of the data, for cards.

    Raises:
        ValueError: no complexes, no views, or a negative jitter.
    """

    conditions: tuple[str, ...] = ()

    def __init__(
        self,
        complexes: Sequence[Complex],
        views: int = 8,
        jitter: float = 2.0,
        seed: int = 0,
        licence: str | None = None,
        attribution: str | None = None,
    ) -> None:
        if not len(complexes):
            raise ValueError("there are no complexes in the data")
        if views < 1:
            raise ValueError(f"views must be at least 1, got {views}")
        if not 0 <= jitter < np.inf:
            raise ValueError(f"jitter must be a number of Å from 0, got {jitter}")
        self.complexes: list[Complex] = list(complexes)
        self.licence, self.attribution = licence, attribution
        rng = np.random.default_rng(seed)
        way = rng.normal(size=(len(self.complexes) * views, 3))
        far = jitter * rng.uniform(size=(len(way), 1)) ** (1 / 3)
        self._shift = far * way / np.linalg.norm(way, axis=1, keepdims=True)
        self.views = views
        self.lengths = [len(item.ligand) for item in self.complexes for _ in range(views)]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Placed:
        held = self.complexes[index // self.views]
        return Placed(held.pocket, held.ligand, held.pocket.centre + self._shift[index])

    def batch(self, indices: Sequence[int]) -> tuple[list[Placed], Mapping[str, Any]]:
        """(items, no conditions) of these indices."""
        return [self[i] for i in indices], {}


def open_pockets(
    path: str | Path | Complexes,
    split: str | None = "train",
    views: int = 8,
    jitter: float = 2.0,
    seed: int = 0,
    sources: Sequence[str] = tuple(SOURCES),
    radius: float = 8.0,
    threshold: float = THRESHOLD,
    elements: Sequence[str] = ELEMENTS,
    most: int = MOST,
    errors: str = "skip",
    licence: str | None = None,
    attribution: str | None = None,
) -> PocketDataset:
    """Complexes to train on; a record that cannot be used is left out, or raised where ``errors`` is "raise".

    Args:
        path: folder or archive, or complexes that were opened.
        split: "train", "validation", "test", or all when None; of complexes that were opened too.
        views, jitter, seed, licence, attribution: of :class:`PocketDataset`.
        sources, radius, threshold, elements, most, errors: of
            :func:`~langevin.modalities.molecule.complexes.open_complexes`.

    Raises:
        FileNotFoundError, ValueError: as there, and as :class:`PocketDataset`.
    """
    if isinstance(path, Complexes):
        items: Sequence[Complex] = [item for item in path if split in (None, item.split)]
    else:
        items = open_complexes(
            path,
            split,
            sources=sources,
            radius=radius,
            threshold=threshold,
            elements=elements,
            most=most,
            errors=errors,
        )
    return PocketDataset(items, views, jitter, seed, licence, attribution)


def defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    """A configuration for complexes like those of ``data``.

    Args:
        data: a :class:`PocketDataset`.
        given: keys of a model's configuration that stand as they are; see :func:`langevin.trees.merge`.
    """
    ligands = [item.ligand for item in data.complexes]
    numbers = np.unique(np.concatenate([m.numbers for m in ligands])).tolist()
    charges = np.unique(np.concatenate([m.charges for m in ligands])).tolist()
    modality: dict[str, Any] = {
        "name": "pocket",
        "elements": [SYMBOLS[z] for z in numbers],
        "charges": sorted({-1, 0, 1, *charges}),
        "pocket_atoms": 96,
        "sizes": _sizes(data.complexes),
    }
    asked = merge(modality, given.get("modality") or {})["pocket_atoms"]
    frame = PocketModality(pocket_atoms=asked)
    step = max(1, len(data) // 1000)
    placed = [data[i] for i in range(0, len(data), step)]
    spread = np.concatenate([item.ligand.positions - frame.origin(item) for item in placed]).std()
    modality["unit"] = round(float(spread), 2)
    own = {
        "name": "my-pockets",
        "modality": modality,
        "network": {
            "name": "dit", "width": 128, "depth": 6, "heads": 8, "axes": 0, "mlp_ratio": 2.0, "modulation": "shared",
            "pair_width": 16,
        },
        "parametrisation": "velocity",
        "objective": {
            "target": {"bonds": "cross-entropy"},
            "times": {"name": "stratified", "base": {"name": "logit-normal", "mean": -0.5, "std": 1.2}},
            # hidden pairs are for the larger part those of a pocket and a ligand, of which there is nothing to learn
            "scales": {"positions": 4.0, "elements": 0.3, "charges": 0.1, "bonds": 20.0},
            "independent": 0.1,
            "given": 0.3,
        },
        "sampling": {
            "sampler": "angle",
            "grid": "uniform",
            "steps": 50,
            "guidance": 1.0,
            "temperature": {"elements": 0.5, "charges": 0.2, "bonds": 0.2},
            "lag": dict.fromkeys(("elements", "charges", "bonds"), 0.7),
        },
        "licence": data.licence,
        "attribution": data.attribution,
    }  # fmt: skip
    both = {**own, **{key: merge(own.get(key), value) for key, value in given.items()}}
    return {key: value for key, value in both.items() if value is not None}


def _sizes(complexes: Sequence[Complex]) -> dict[str, dict[str, int]]:
    """Histograms of ligands' sizes, by the size of their pockets in bins of equal numbers."""
    order = sorted(complexes, key=lambda item: len(item.pocket))
    out: dict[str, dict[str, int]] = {}
    for held in np.array_split(np.arange(len(order)), min(_BINS, len(order))):
        bin_ = [order[k] for k in held]
        counts = out.setdefault(str(len(bin_[-1].pocket)), {})
        for item in bin_:
            size = str(len(item.ligand))
            counts[size] = counts.get(size, 0) + 1
    return out
