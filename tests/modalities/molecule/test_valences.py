"""Valences are counted, and only those of real molecules are known."""

from __future__ import annotations

import pytest
from rdkit import Chem

from langevin.modalities.base import Failure
from langevin.modalities.molecule.valences import (
    AROMATIC,
    VALENCES,
    aromatic_valences,
    observed,
    stable_by_valence,
    valences,
)


def mol(smiles: str, explicit: bool = True) -> Chem.Mol:
    made = Chem.MolFromSmiles(smiles)
    return Chem.AddHs(made) if explicit else made


@pytest.mark.parametrize("explicit", [True, False])
def test_valences_count_kekule_orders_and_hydrogens(explicit: bool) -> None:
    assert set(valences(mol("c1ccccc1", explicit))) - {("H", 0, 1)} == {("C", 0, 4)}
    nitro = mol("C[N+](=O)[O-]", explicit)
    assert set(valences(nitro)) - {("H", 0, 1)} == {("C", 0, 4), ("N", 1, 4), ("O", 0, 2), ("O", -1, 1)}
    assert set(valences(mol("c1cc[nH]c1", explicit))) <= VALENCES


def test_aromatic_bonds_are_counted_and_not_summed() -> None:
    assert set(aromatic_valences(mol("c1cc[nH]c1"))) == {("C", 0, 2, 1), ("N", 0, 2, 1), ("H", 0, 0, 1)}
    assert ("C", 0, 3, 0) in aromatic_valences(mol("c1ccc2ccccc2c1"))


def test_a_molecule_keeps_its_aromaticity() -> None:
    benzene = mol("c1ccccc1")
    valences(benzene)
    assert sum(atom.GetIsAromatic() for atom in benzene.GetAtoms()) == 6


def test_the_flaws_of_looser_tables_are_not_shared() -> None:
    """CH2–N–CH2: carbons of valence 3 and a nitrogen of valence 2, neutral, pass where tables list them."""
    radical = Chem.AddHs(Chem.MolFromSmiles("[CH2][N][CH2]"))
    assert not set(valences(radical)) <= VALENCES
    stable = stable_by_valence([radical])[0]
    assert stable is not None and stable.tolist() == [False] * 3 + [True] * 4


def test_failures_have_none_and_other_tables_can_be_observed() -> None:
    borate = mol("C[B-](C)(C)C")
    assert stable_by_valence([Failure("no")]) == [None]
    assert not stable_by_valence([borate])[0].all()
    triples, quadruples = observed([borate])
    assert ("B", -1, 4) in triples - VALENCES and quadruples - AROMATIC == {("B", -1, 0, 4)}
    assert stable_by_valence([borate], quadruples)[0].all()
