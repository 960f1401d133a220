"""EDM's rule, against distances and valences worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from langevin.modalities.base import Failure
from langevin.modalities.molecule.stability import LENGTHS, bond_orders, edm, edm_smiles, stable_atoms

Z = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9, "S": 16, "Cl": 17, "Na": 11}


def placed(symbols: list[str], positions: np.ndarray | list[list[float]]) -> Chem.Mol:
    """Atoms in space, without a bond: the rule needs none."""
    mol = Chem.RWMol()
    for symbol in symbols:
        mol.AddAtom(Chem.Atom(symbol))
    conformer = Chem.Conformer(len(symbols))
    conformer.SetPositions(np.asarray(positions, float))
    mol.AddConformer(conformer)
    return mol.GetMol()


def relaxed(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=0)
    AllChem.MMFFOptimizeMolecule(mol, maxIters=2000)
    return mol


@pytest.mark.parametrize(
    ("pair", "length", "order"),
    [
        ("C C", 1.199, 3),
        ("C C", 1.231, 2),  # 120 + 3 is no longer triple
        ("C C", 1.389, 2),
        ("C C", 1.391, 1),
        ("C C", 1.639, 1),
        ("C C", 1.641, 0),
        ("H H", 0.839, 1),
        ("O N", 1.259, 2),
        ("N O", 1.261, 1),
        ("O O", 1.1, 2),  # no triple bond is listed
        ("S C", 1.649, 2),
        ("Na Cl", 0.5, 0),  # no length is listed
    ],
)
def test_orders_follow_the_lengths(pair: str, length: float, order: int) -> None:
    a, b = pair.split()
    found = bond_orders(np.array([Z[a], Z[b]]), np.array([[0.0, 0, 0], [0, length, 0]]))
    assert found.tolist() == [[0, order], [order, 0]]


def test_every_listed_length_is_longer_than_that_of_the_next_order() -> None:
    for order in (1, 2):
        for a, row in LENGTHS[order + 1].items():
            for b, length in row.items():
                known = LENGTHS[order].get(a, {}).get(b) or LENGTHS[order].get(b, {}).get(a)
                assert known is not None and length < known


def test_batches_and_padding_change_nothing() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.choice([1, 6, 7, 8], (5, 9))
    positions = rng.normal(size=(5, 9, 3))
    together = bond_orders(numbers, positions)
    for k in range(5):
        padded = bond_orders(np.append(numbers[k], 0), np.append(positions[k], [[0, 0, 0]], 0))
        assert (together[k] == padded[:9, :9]).all() and not padded[9].any()


def test_molecules_of_many_sizes_keep_their_places() -> None:
    mols = [relaxed(smiles) for smiles in ("O", "CCCCCCC", "C", "CO")]
    found = stable_atoms([mols[0], Failure("no"), *mols[1:]])
    assert found[1] is None
    assert [len(stable) for stable in found if stable is not None] == [mol.GetNumAtoms() for mol in mols]
    assert all(stable.all() for stable in found if stable is not None)


def test_an_open_valence_a_charge_and_an_unknown_element_are_unstable() -> None:
    methyl = relaxed("C")
    methyl = Chem.RWMol(methyl)
    methyl.RemoveAtom(4)
    assert stable_atoms([methyl.GetMol()])[0].tolist() == [False, True, True, True]
    ammonium = stable_atoms([relaxed("[NH4+]")])[0]
    assert ammonium is not None and not ammonium[0]
    assert stable_atoms([placed(["Na"], [[0, 0, 0]])])[0].tolist() == [False]


def test_validity_fills_valences_and_looks_at_the_largest_piece() -> None:
    carbon = placed(["C", "C", "O"], [[0, 0, 0], [1.5, 0, 0], [9, 0, 0]])
    assert edm_smiles(carbon) == "CC"  # the hydrogens were filled in, the oxygen left out
    crowded = placed(["O", "H", "H", "H"], [[0, 0, 0], [0.9, 0, 0], [0, 0.9, 0], [0, 0, 0.9]])
    assert edm_smiles(crowded) is None and edm_smiles(Failure("no")) is None


def test_figures_keep_failures_in_the_denominator() -> None:
    water, methanol = relaxed("O"), relaxed("CO")
    found = edm([water, water, methanol, Failure("no")], training={edm_smiles(water) or ""})
    assert found.molecules.value == found.validity.value == 0.75
    assert found.atoms.value == pytest.approx(0.75)  # 12 of 12 and a failure's 4
    assert found.uniqueness is not None and found.uniqueness.value == pytest.approx(2 / 3)
    assert found.novelty is not None and found.novelty.value == 0.5
    nothing = edm([Failure("no")])
    assert (nothing.atoms.value, nothing.uniqueness, nothing.novelty) == (0.0, None, None)


def test_what_cannot_be_measured_says_so() -> None:
    with pytest.raises(ValueError, match="at least one molecule"):
        edm([])
    with pytest.raises(ValueError, match="no conformer"):
        edm([Chem.MolFromSmiles("C")])
