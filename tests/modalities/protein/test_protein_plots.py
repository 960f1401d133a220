"""Ramachandran plots and distance maps, and the secondary structure that ribbons follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from langevin.modalities.base import Failure
from langevin.modalities.protein.metrics.controls import from_torsions, helix, mirrored
from langevin.modalities.protein.plots import distance_map, ramachandran
from langevin.modalities.protein.protein import Protein, join
from langevin.modalities.protein.secondary import HELIX, OTHER, by_trace, runs, secondary, secondary_of
from tests.browser import colours
from tests.modalities.protein.chains import shared, strand


def share(picture: object, colour: tuple[int, int, int], near: int = 60) -> float:
    """How much of a picture has about a colour."""
    return float((np.abs(np.asarray(picture).astype(int) - colour).sum(-1) < near).mean())


def test_a_ramachandran_plot_tells_a_helix_from_its_mirror_image() -> None:
    protein = helix(60)
    plot = ramachandran(protein)
    assert plot.size == (240, 240) and plot.mode == "RGB" and colours(plot) > 50
    assert np.array_equal(np.asarray(plot), np.asarray(ramachandran([protein])))
    blue = np.abs(np.asarray(plot).astype(int) - (36, 65, 143)).sum(-1) < 90
    rows, columns = np.nonzero(blue)
    assert columns.mean() < 120 and rows.mean() > 110  # phi and psi below 0
    other = np.abs(np.asarray(ramachandran(mirrored(protein))).astype(int) - (36, 65, 143)).sum(-1) < 90
    assert np.nonzero(other)[1].mean() > 120


def test_residues_outside_stand_out() -> None:
    odd = from_torsions([120.0] * 30, [-120.0] * 30)
    magenta = (212, 38, 127)
    assert share(ramachandran([odd, Failure("no")]), magenta) > share(ramachandran(helix(30)), magenta) == 0


def test_a_distance_map_is_symmetric_and_dark_near_the_diagonal() -> None:
    protein = helix(40)
    plot = distance_map(protein)
    assert plot.size == (240, 240)
    assert share(plot, (47, 98, 196), 120) > 0.02
    second = replace(protein, backbone=protein.backbone + np.float32(30), chains=np.full(40, "B"))
    assert colours(distance_map(join([protein, second]))) > 20
    assert distance_map(strand("A" * 3), 120).size == (120, 120)


def test_plots_say_what_is_missing() -> None:
    for plot in (ramachandran, distance_map):
        assert plot(None).size == (240, 240)
        with pytest.raises(ValueError, match="at least 120"):
            plot(helix(8), 80)
    assert ramachandran([]).size == ramachandran(strand("A")).size == (240, 240)
    assert distance_map(helix(8)[:0]).size == (240, 240)


def lacking(protein: Protein, *atoms: int) -> Protein:
    backbone = protein.backbone.copy()
    backbone[:, list(atoms)] = np.nan
    return replace(protein, backbone=backbone)


@pytest.mark.parametrize("missing", [(), (3,), (0, 2, 3)], ids=["whole", "no oxygens", "only CA"])
def test_a_helix_is_found_whatever_is_missing(missing: tuple[int, ...]) -> None:
    letters = secondary(lacking(helix(30), *missing))
    assert len(letters) == 30 and letters[4:-4] == "H" * 22
    codes = secondary_of(lacking(helix(30), *missing))
    assert codes[10] == HELIX and (codes[:1] == OTHER).all()


def test_a_lone_strand_and_a_short_piece_are_neither() -> None:
    assert secondary(strand("A" * 12)) == by_trace(strand("A" * 12)) == "-" * 12
    for n in range(8):
        assert secondary(helix(8)[:n]) == "-" * n if n < 5 else len(secondary(helix(8)[:n])) == n


def test_what_is_known_is_used() -> None:
    known = replace(helix(10), note={"secondary": "E" * 10})
    assert secondary(known) == "E" * 10 and secondary(known[:5]) != "E" * 5


def test_the_trace_agrees_with_hydrogen_bonds_on_real_chains() -> None:
    from langevin.modalities.protein.archives import read_archive

    pytest.importorskip("pydssp")
    archive = read_archive(shared())
    alike = total = 0
    for k in range(0, len(archive), 60):
        protein = replace(archive[k], note={})
        alike += sum(a == b for a, b in zip(secondary(protein), by_trace(protein)))
        total += len(protein)
    assert 0.76 < alike / total < 0.9


def test_runs() -> None:
    assert runs("--HHH-") == [("-", 0, 2), ("H", 2, 5), ("-", 5, 6)] and runs("") == []
