"""The digest of a data set: the same for the same items, another for any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from langevin.core.training.fingerprint import ITEMS, fingerprint


@dataclass
class Data:
    """Items and conditions made by functions of the index."""

    size: int
    item: Callable[[int], Any]
    condition: Callable[[int], Any] = lambda i: f"item {i}"

    def __len__(self) -> int:
        return self.size

    def batch(self, indices: Sequence[int]) -> tuple[Any, dict[str, Any]]:
        return [self.item(i) for i in indices], {"prompt": [self.condition(i) for i in indices]}


class Thing:
    def __init__(self, value: Any) -> None:
        self.value = value


KINDS: dict[str, Callable[[Any], Any]] = {
    "tensor": lambda v: torch.tensor([v, v + 1]),
    "half": lambda v: torch.tensor(v, dtype=torch.bfloat16),
    "array": lambda v: np.full((2, 2), v, np.uint8),
    "texts": lambda v: np.array([f"a{v}", None], dtype=object),
    "picture": lambda v: Image.new("L", (3, 2), v),
    "object": Thing,
    "nested": lambda v: {"a": (1, [Thing(v)])},
    "text": str,
}


@pytest.mark.parametrize("kind", KINDS)
def test_items_of_every_kind_count_by_what_they_hold(kind: str) -> None:
    make = KINDS[kind]
    one, again, other = (
        fingerprint(Data(5, lambda i, k=k: make(k if i == 3 else 1)))
        for k in (1, 1, 2)  # type: ignore[misc]
    )
    assert one == again != other


def test_size_conditions_types_and_shapes_count() -> None:
    base = Data(5, lambda i: np.zeros((2, 3), np.uint8))
    others = [
        Data(6, base.item),
        Data(5, base.item, lambda i: "item"),
        Data(5, lambda i: np.zeros((3, 2), np.uint8)),
        Data(5, lambda i: np.zeros((2, 3), np.int8)),
        Data(5, lambda i: torch.zeros(2, 3, dtype=torch.uint8)),
    ]
    assert len({fingerprint(data) for data in (base, *others)}) == 6


def test_few_items_of_a_large_set_are_read_first_and_last_included() -> None:
    asked: list[int] = []
    fingerprint(Data(10**6, lambda i: asked.append(i) or 0))
    assert len(asked) == ITEMS and asked[0] == 0 and asked[-1] == 10**6 - 1
    asked.clear()
    fingerprint(Data(ITEMS, lambda i: asked.append(i) or 0))
    assert asked == list(range(ITEMS))
