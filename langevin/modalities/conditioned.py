"""Conditions of a model that follow from those of a data set, where the user does not say otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["condition_nodes", "spread"]

READ = 64  # items at a time


def condition_nodes(data: Any, rows: Sequence[int], width: int, text: int = 128) -> dict[str, dict[str, Any]]:
    """A node for each condition of a data set that is a text, a class or a number.

    Args:
        data: a set with ``conditions``, ``classes`` and ``batch``.
        rows: items from which the spread of numbers is taken.
        width: of the network.
        text: most bytes of a text.
    """
    nodes: dict[str, dict[str, Any]] = {}
    for name, kind in data.conditions.items():
        if kind == "text":
            nodes[name] = {
                "name": "text", "width": max(64, width // 3), "depth": 2, "length": text, "heads": 4,
                "vector_width": width,
            }  # fmt: skip
        elif kind == "class":
            nodes[name] = {"name": "class", "classes": list(data.classes[name]), "width": width}
        elif kind == "number":
            nodes[name] = {"name": "number", "width": width, **spread(data, name, rows)}
    return nodes


def spread(data: Any, name: str, rows: Sequence[int]) -> dict[str, float]:
    """Mean and standard deviation of a number."""
    values = np.array(
        [v for low in range(0, len(rows), READ) for v in data.batch(rows[low : low + READ])[1][name]]
    )
    return {"mean": round(float(values.mean()), 6), "std": round(float(values.std()), 6) or 1.0}
