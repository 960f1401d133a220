"""Users' objects as states: how many there are, and one state for each sample.

An object is what a modality encodes (a picture, a molecule, a path where it takes paths). Users give one, a list of them,
or samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from langevin.core.batches import pick
from langevin.core.processes import State, split

__all__ = ["count", "encoded", "listed", "shapes", "spec_of"]


def listed(items: Any) -> list[Any]:
    """Native objects as a list: those of a list or of samples, or a lone one."""
    return list(items) if isinstance(items, Sequence) and not isinstance(items, (str, bytes)) else [items]


def count(items: Any, noise: State | None) -> int | None:
    """How many samples are asked for by what they begin from; None where one object serves any number."""
    if noise is not None:
        return next(iter(split(noise).values())).shape[0]
    each = listed(items)
    return len(each) if len(each) > 1 else None


def encoded(modality: Any, items: Any, n: int) -> tuple[State | None, Tensor | None]:
    """(states, mask) of native objects, one for each of n samples: a lone object serves all. None for None.

    Raises:
        ValueError: neither one object nor n of them.
    """
    if items is None:
        return None, None
    each = listed(items)
    if len(each) not in (1, n):
        raise ValueError(f"{len(each)} objects for {n} samples; give one, or one for each")
    state, mask = modality.encode(each)
    if len(each) == 1 and n > 1:
        state, mask = (pick(part, torch.zeros(n, dtype=torch.long)) for part in (state, mask))
    return state, mask


def spec_of(modality: Any, given: Mapping[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The modality's spec from the keywords that are its fields, those of them that say something, and the others."""
    names = {f.name for f in fields(modality.spec)}
    chosen = {k: v for k, v in given.items() if k in names}
    others = {k: v for k, v in given.items() if k not in names}
    return modality.spec(**chosen), {k: v for k, v in chosen.items() if v is not None}, others


def shapes(modality: Any, names: Iterable[str]) -> list[str]:
    """Those of some fields of the modality's spec that say what shape samples have, as all do unless they say otherwise."""
    about = {f.name: f.metadata for f in fields(modality.spec)}
    return [name for name in names if about[name].get("shape", True)]
