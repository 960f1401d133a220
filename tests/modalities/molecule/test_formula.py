from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rdkit import Chem

import langevin as lv
from langevin.assembly import build_model
from langevin.modalities.molecule.atoms import of_mol
from langevin.modalities.molecule.data import MoleculeDataset
from langevin.modalities.molecule.formula import FormulaEmbedder, parse_formula
from langevin.modalities.molecule.recipe import defaults

NETWORK = {"name": "dit", "width": 32, "depth": 2, "heads": 4, "axes": 0, "pair_width": 8}


@pytest.mark.parametrize("value", ["C6NO2", "O2C6N1", {"C": 6, "N": 1, "O": 2}, "C3C3O2N"])
def test_formulas_are_read(value: Any) -> None:
    assert parse_formula(value, ("C", "N", "O", "S")) == {"C": 6, "N": 1, "O": 2, "S": 0}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("c6", "is not a formula"),
        ("", "is not a formula"),
        (3, "is not a formula"),
        ("C6 N", "is not a formula"),
        ("C" * 5 + "9" * 9, "is not a formula"),
        ("C6Xx", "unknown element of a formula 'Xx'"),
        ({"C": -1}, "whole numbers"),
        ({"C": 1.5}, "whole numbers"),
        ("C0", "at least one atom"),
    ],
)
def test_what_is_no_formula_is_refused(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_formula(value, ("C", "N"))


def test_counts_are_embedded() -> None:
    torch.manual_seed(0)
    embedder = FormulaEmbedder(("C", "N"), 8)
    value = embedder.parse(["C2", "C2N0", "CN"])
    assert value.tolist() == [[2, 0], [2, 0], [1, 1]]
    out = embedder(value).vector
    assert out is not None and torch.equal(out[0], out[1]) and not torch.allclose(out[0], out[2])
    assert "C, N" in embedder.describe()


def test_descriptors_of_the_data_become_conditions_of_a_model(mols: list[Chem.Mol], tmp_path: Path) -> None:
    data = MoleculeDataset([of_mol(m) for m in mols], descriptors=("formula", "logp"))
    _, values = data.batch([2, 0])
    assert values["formula"] == ["C3H7N1O2", "H2O1"] and len(values["logp"]) == 2
    model = build_model(defaults(data, {"network": NETWORK}))
    assert list(model.conditions) == ["formula", "logp"]
    assert model.drop == {"formula": 0.3, "logp": 0.3}
    each, _ = model.loss(*data.batch(range(len(mols))), lv.Stream.of(0, len(mols)))
    assert bool(each.isfinite().all())
    drawn = model.sample(3, formula=["C2H6O", "CH4", "H2O"], logp=0.5, steps=2)
    assert drawn.mask.sum(1).tolist() == [9, 5, 3]  # as many atoms as the formula has
    with pytest.raises(ValueError, match="atoms=4, and the formula has 3"):
        model.sample(1, formula="H2O", atoms=4)
    model.save(tmp_path / "m")
    again = lv.load(tmp_path / "m", device="cpu")
    assert again.sample(1, formula="H2O", steps=2).mask.sum() == 3
