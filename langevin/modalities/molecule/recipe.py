"""The model that follows from a set of molecules where the user does not say otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from langevin.modalities.molecule.descriptors import FORMULA
from langevin.modalities.molecule.modality import SYMBOLS
from langevin.modalities.molecule.sizes import rounded, sizes_by
from langevin.trees import merge

__all__ = ["defaults"]


def defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    """A configuration for molecules like those of ``data``: its elements, charges and sizes, and a DiT with pairs.

    Args:
        data: a molecule data set.
        given: keys of a model's configuration that stand as they are; see :func:`langevin.trees.merge`.
    """
    molecules = data.molecules
    numbers = np.unique(np.concatenate([m.numbers for m in molecules])).tolist()
    # a leaf of classes has at least two: hydrocarbons without hydrogens get an element that they never have
    listed = numbers if len(numbers) > 1 else sorted({*numbers, 6 if 6 not in numbers else 7})
    charges = np.unique(np.concatenate([m.charges for m in molecules])).tolist()
    sizes, counts = np.unique([len(m) for m in molecules], return_counts=True)
    spread = np.concatenate([m.positions - m.positions.mean(0) for m in molecules[:10_000]]).std()
    modality = {
        "name": "molecule",
        "elements": [SYMBOLS[z] for z in listed],
        "charges": charges if len(charges) > 1 else sorted({-1, 0, 1, *charges}),
        "hydrogens": 1 in numbers,
        "sizes": {str(n): int(count) for n, count in zip(sizes, counts, strict=True)},
        "unit": round(float(spread), 3),
    }
    width = (given.get("network") or {}).get("width", 128)
    if data.conditions:
        modality["conditions"] = {
            name: {"name": "formula", "elements": modality["elements"], "width": width}
            if name == FORMULA
            else _number(data.values[name], width)
            for name in data.conditions
        }
        lengths, numeric = [len(m) for m in molecules], [name for name in data.conditions if name != FORMULA]
        if numeric:
            modality["sizes_by"] = {name: sizes_by(lengths, data.values[name]) for name in numeric}
    own = {
        "name": "my-molecules",
        "modality": modality,
        "network": {
            "name": "dit", "width": 128, "depth": 6, "heads": 8, "axes": 0, "mlp_ratio": 3.0, "modulation": "shared",
            "pair_width": 32,
        },
        "parametrisation": "velocity",
        "objective": {
            "times": {"name": "stratified", "base": {"name": "logit-normal", "mean": -0.5, "std": 1.2}},
            "scales": {"positions": 1.0, "elements": 0.2, "charges": 0.1, "bonds": 1.0},
            "independent": 0.1,
            "given": 0.4,
        },
        "sampling": {
            "sampler": "angle-restart",
            "grid": "uniform",
            "steps": 27,  # 47 evaluations
            "guidance": 1.0,
            "temperature": {"elements": 0.5, "charges": 0.2, "bonds": 0.2},
            "lag": dict.fromkeys(("elements", "charges", "bonds"), 0.7),
        },
        "drop": dict.fromkeys(data.conditions, 0.3) or None,
        "licence": getattr(data, "licence", None),
        "attribution": getattr(data, "attribution", None),
    }  # fmt: skip
    both = {**own, **{key: merge(own.get(key), value) for key, value in given.items()}}
    return {key: value for key, value in both.items() if value is not None}


def _number(values: list[float | None], width: int) -> dict[str, Any]:
    """The embedder of a number that has these values in the training data, None where there is none."""
    there = np.array([value for value in values if value is not None], np.float64)
    mean, std = float(there.mean()), float(there.std())
    if std <= 1e-9 * abs(mean):  # a number that never varies says nothing, whatever its scale
        std = 1.0
    return {"name": "number", "width": width, "mean": rounded(mean, std), "std": rounded(std, std)}
