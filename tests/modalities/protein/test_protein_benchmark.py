"""Bars of the shipped protein model: what passes, what does not, and what cannot be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.shipped_proteins import LENGTHS, PAIRS, REAL, SAMPLES, bars, measured, spread
from langevin.modalities.base import Failure
from langevin.modalities.protein import metrics
from langevin.modalities.statistics import wilson
from tests.modalities.protein.chains import shared


def test_designs_are_spread_over_lengths() -> None:
    found = spread(200)
    assert list(found) == list(LENGTHS) and sum(found.values()) == 200 and set(found.values()) == {8, 9}
    assert spread(3) == {40: 1, 44: 1, 48: 1}


def test_bars_are_lower_or_upper_bounds_and_hold_of_what_is_measured() -> None:
    real = {"strand": wilson(25, 100), "clashes per 100 residues": 0.1}
    ours = {
        "strand": wilson(10, 100),
        "clashes per 100 residues": 0.2,
        "plausible": wilson(30, 100),
        "phi > 0": 0.11,
    }
    table = bars({SAMPLES: ours, REAL: real})

    def row(name: str) -> tuple[str, str]:
        cells = table.row(bar=name)
        return cells["met"], cells["met by CPU's"]

    assert row("strand") == ("no", "reported") and row("clashes per 100 residues") == ("yes", "reported")
    assert row("plausible") == ("no", "yes") and row("phi > 0") == ("no", "yes")
    assert row(PAIRS) == ("no", "no")  # not measured


@pytest.mark.slow
def test_helices_fail_where_real_chains_pass() -> None:
    archive: Path = shared()
    tables = measured(
        [metrics.helix(60), metrics.helix(100), Failure("none")], archive.parents[1], search=False
    )
    table = tables[1]
    for name in ("plausible", "strand", "both within real 2–98 %"):
        cells = table.row(measure=name)
        assert cells["ideal helices"].value < 0.1 < 0.2 < cells[REAL].value
    assert table.row(measure="decoded")[SAMPLES].value == pytest.approx(2 / 3)
    assert len(tables[2].rows) == 3
