"""What a card's table of molecules says beside its samples."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.shipped_molecules import EDM, LENGTHS, NOISE, beside, ladder
from langevin.modalities.molecule.conformers import of_smiles
from langevin.modalities.statistics import Table

SMILES = ("CCO", "CC(=O)N", "c1ccoc1", "CCCN", "OCC#N", "CC1CC1")


@pytest.fixture(scope="module")
def mols() -> list:
    return [of_smiles(smiles, seed) for seed in range(4) for smiles in SMILES]


def test_more_noise_is_further_from_the_data(mols: list) -> None:
    before = [mol.GetConformer().GetPositions() for mol in mols]
    found = ladder(mols, 12)
    assert tuple(found) == NOISE and sorted(found.values()) == list(found.values())
    assert 0 < found[0.005] < found[0.05] < 1 and found == ladder(mols, 12)
    assert all(
        np.array_equal(x, mol.GetConformer().GetPositions()) for x, mol in zip(before, mols, strict=True)
    )


def test_other_peoples_figures_stand_in_a_column_of_their_own(mols: list) -> None:
    names = ["sound", "EDM molecule stability", LENGTHS, "angles: Jensen–Shannon distance"]
    table = beside(Table([{"measure": name, "samples": 0.5} for name in names], "about."), mols, 8)
    rungs = [f"{LENGTHS}, with noise of {sigma:g} Å" for sigma in NOISE]
    assert [row["measure"] for row in table.rows] == [*names[:3], *rungs, names[3]]
    published = {row["measure"]: row.get("EDM (other data, not comparable)") for row in table.rows}
    assert published["EDM molecule stability"] == EDM["EDM molecule stability"] == 0.82
    assert [name for name, value in published.items() if value is not None] == ["EDM molecule stability"]
    assert "2203.17003" in table.caption and "samples" not in table.row(measure=rungs[0])
    heavy = beside(Table([{"measure": "sound", "samples": 0.5}], "about."), mols, 8)
    assert heavy.columns == ["measure", "samples"] and heavy.caption == "about."
