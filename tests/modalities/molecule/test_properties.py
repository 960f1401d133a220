"""Figures of molecules without coordinates."""

from __future__ import annotations

import pytest
from rdkit import Chem

from langevin.modalities.molecule.properties import diversity, figures, histograms, smiles

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def explicit(text: str) -> Chem.Mol:
    return Chem.AddHs(Chem.MolFromSmiles(text))


def test_identity_ignores_hydrogens_and_keeps_stereo() -> None:
    assert smiles(explicit("OC(=O)c1ccccc1OC(C)=O")) == ASPIRIN
    assert smiles(explicit("C[C@H](N)C(=O)O")) != smiles(explicit("C[C@@H](N)C(=O)O"))
    assert smiles(explicit("C.O")) == "C.O"


def test_figures_are_those_of_the_literature() -> None:
    found = figures(explicit(ASPIRIN))
    assert found == figures(Chem.MolFromSmiles(ASPIRIN))
    assert found["qed"] == pytest.approx(0.55, abs=0.01)
    assert found["logp"] == pytest.approx(1.31, abs=0.01)
    assert found["sa"] == pytest.approx(1.58, abs=0.05)


def test_copies_have_no_diversity() -> None:
    one = explicit(ASPIRIN)
    assert diversity([one, one, one]) == pytest.approx(0)
    assert diversity([one, explicit("CCCCN"), explicit("C#N")]) > 0.8
    with pytest.raises(ValueError, match="at least 2"):
        diversity([one])


def test_histograms_count_what_is_there() -> None:
    found = histograms([explicit("C1CC1"), Chem.MolFromSmiles("c1ccc2ccccc2c1")])
    assert found["elements"] == {"C": 13, "H": 6}
    assert found["atoms per molecule"] == {9: 1, 10: 1}
    assert found["ring sizes"] == {3: 1, 6: 2} and found["rings per molecule"] == {1: 1, 2: 1}
