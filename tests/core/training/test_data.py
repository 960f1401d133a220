"""The order of the data: a function of the seed and the step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin.core.training.data import Order


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_epoch_visits_every_item_once(size: int, batch: int, seed: int) -> None:
    order = Order(size, batch, seed)
    steps = math.ceil(3 * size / batch)
    visited = [i for n in range(steps) for i in order.indices(n)]
    assert all(len(order.indices(n)) == batch for n in range(steps))
    for epoch in range(3):
        assert sorted(visited[epoch * size : (epoch + 1) * size]) == list(range(size))
    # a batch is a function of the seed and the step alone, and batches only cut one sequence
    assert Order(size, batch, seed).indices(steps - 1) == order.indices(steps - 1)
    single = Order(size, 1, seed)
    assert visited == [single.indices(n)[0] for n in range(len(visited))]


def test_epochs_and_seeds_shuffle_differently() -> None:
    epochs = [tuple(Order(50, 50, seed).indices(n)) for seed in range(3) for n in range(3)]
    assert len(set(epochs)) == 9 and tuple(range(50)) not in epochs
    places = torch.tensor(epochs).double().argsort(1)
    assert abs(float(torch.corrcoef(places)[0, 1])) < 4.5 / math.sqrt(50)
    with pytest.raises(ValueError, match="the data set is empty"):
        Order(0, 4, 0)


def test_batches_hold_items_of_about_one_length() -> None:
    lengths = [3 + (7 * i) % 40 for i in range(1000)]
    order = Order(1000, 20, 5, lengths)
    steps = [order.indices(n) for n in range(100)]
    assert Order(1000, 20, 5, lengths).indices(37) == steps[37]  # what a resumed run sees
    seen = [i for step in steps[:48] for i in step]  # three windows, within the first epoch
    assert len(set(seen)) == len(seen) == 960
    spread = [max(lengths[i] for i in step) - min(lengths[i] for i in step) for step in steps]
    assert sum(spread) / len(spread) < 6
    means = [sum(lengths[i] for i in step) / 20 for step in steps[:16]]
    assert means != sorted(means)
    with pytest.raises(ValueError, match="1000 items cannot have 3 lengths"):
        Order(1000, 20, 5, [1, 2, 3])
