from __future__ import annotations

import pytest
from rdkit import Chem

from langevin.modalities.molecule.descriptors import DESCRIPTORS, FORMULA, check, describe, formula_of


def test_figures_of_known_molecules() -> None:
    aspirin = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
    found = describe(aspirin, DESCRIPTORS, hydrogens=False)
    assert found["weight"] == pytest.approx(180.159, abs=1e-3) and found["tpsa"] == pytest.approx(63.6)
    assert found["logp"] == pytest.approx(1.3101) and found["qed"] == pytest.approx(0.5501, abs=1e-4)
    assert [found[k] for k in ("rings", "aromatic_rings", "donors", "acceptors", "charge")] == [1, 1, 1, 3, 0]
    assert found[FORMULA] == "C9O4"
    assert describe(Chem.MolFromSmiles("C[N+](C)(C)C"), "charge") == {"charge": 1}


def test_hydrogens_that_are_atoms_count_in_the_formula_only() -> None:
    mol = Chem.MolFromSmiles("NCC=O")
    full = Chem.AddHs(mol)
    assert formula_of(mol) == "C2N1O1" and formula_of(full) == "C2H5N1O1"
    for name in DESCRIPTORS[1:]:
        assert describe(mol, name, False)[name] == describe(full, name)[name] is not None


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown descriptor 'logP'.*'logp'"):
        check(["logP"])
    with pytest.raises(ValueError, match="stands twice"):
        check(["qed", "qed"])
    assert check("qed") == ("qed",)
