"""Parts chosen by the units of a grid's axes."""

from __future__ import annotations

import pytest
import torch

from langevin.core import keep
from langevin.core.keep import Grid


def grid(times: int = 4, bins: int = 3) -> Grid:
    """Elements in the middle of quarters of a second and of bands of 100 Hz."""
    at = (torch.arange(times) + 0.5) / 4
    return Grid((times, bins), {"seconds": (0, at), "hertz": (1, (torch.arange(bins) + 0.5) * 100)})


def test_spans_and_bands() -> None:
    assert keep.seconds(0.25, 0.75)(grid()).tolist() == [[False] * 3, [True] * 3, [True] * 3, [False] * 3]
    assert keep.seconds(end=0.5)(grid()).any(1).tolist() == [True, True, False, False]
    assert keep.hertz(100)(grid()).tolist() == [[False, True, True]] * 4
    assert keep.hertz(100, 200)(grid(8, 3)).sum() == 8


def test_they_are_joined_and_turned_round_at_any_resolution() -> None:
    hole = ~(keep.seconds(0.25, 0.5) & keep.hertz(200))
    assert hole.units and (~hole(grid())).nonzero().tolist() == [[1, 2]]
    ends = keep.seconds(end=0.25) | keep.seconds(0.75)
    assert ends.units and ends(grid())[:, 0].tolist() == [True, False, False, True]
    assert ends.name == "(seconds(None, 0.25) | seconds(0.75, None))"
    mixed = keep.seconds(0.25) & keep.frames(2)
    assert not mixed.units and mixed(grid()).any(1).tolist() == [False, False, True, False]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        keep.seconds(1, 1)
    with pytest.raises(ValueError, match="these samples have no seconds"):
        keep.seconds(0, 1)((4, 4))
    with pytest.raises(ValueError, match="nothing is left to generate"):
        keep.seconds(0, 2)(grid())
