"""Figures come with intervals that hold; the rest of the module is tested with the pictures that use it."""

from __future__ import annotations

import numpy as np
import pytest

from langevin.modalities.statistics import median


def test_the_interval_of_the_median_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [median(rng.exponential(size=41)) for _ in range(2000)]
    covered = np.mean([one.low <= np.log(2) <= one.high for one in found])
    assert 0.94 < covered < 0.98  # ranks are whole, so never less than asked
    assert all(one.low <= one.value <= one.high and one.n == 41 for one in found)


def test_the_median_takes_infinite_values_and_no_others() -> None:
    assert median([1.0, 2.0, 3.0, 4.0]).value == 2.5
    assert median([1.0, 2.0, np.inf]).value == 2.0
    assert median([1.0, np.inf, np.inf]).value == np.inf
    for values in ([], [1.0, np.nan]):
        with pytest.raises(ValueError, match="at least one entry"):
            median(values)
