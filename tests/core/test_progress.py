"""The bar of long work: where it stands, and what is written behind it."""

from __future__ import annotations

import pytest

from langevin.core.progress import bar


def test_a_bar_counts_in_the_units_of_its_items_and_shows_their_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = [20, 40, 50]
    passed = bar(
        steps, 50, "work", True, reached=lambda n: n, start=10, figures=lambda n: {"loss": f"{1 / n:.3f}"}
    )
    assert list(passed) == steps
    shown = capsys.readouterr().err
    for text in ("20/50", "40/50", "50/50", "loss=0.050", "loss=0.025", "loss=0.020"):
        assert text in shown
    assert shown.rstrip("\r").endswith("\n")  # the last figures stay


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(bar(range(3), 3, "work", figures=lambda n: {"n": str(n)})) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    assert list(bar(range(3), 3, "work", True)) == [0, 1, 2]
    assert "work" in capsys.readouterr().err
