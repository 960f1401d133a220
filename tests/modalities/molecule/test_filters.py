"""Which molecules are kept: every measure against rdkit's own, patterns, uniqueness, and a model that draws them."""

from __future__ import annotations

from typing import Any

import pytest
from rdkit import Chem
from rdkit.Chem import QED, AllChem, Crippen, Descriptors

import langevin as lv
from langevin.assembly import build_model
from langevin.modalities.molecule import soundness
from langevin.modalities.molecule.filters import (
    ELEMENTS,
    MEASURES,
    SCORES,
    Measured,
    MoleculeFilter,
    MoleculeTest,
    measure,
    pattern,
)
from langevin.modalities.molecule.geometry import strain
from langevin.modalities.molecule.modality import MoleculeModality


def relaxed(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=0) == 0 and AllChem.MMFFOptimizeMolecule(mol, "MMFF94s") == 0
    return mol


@pytest.fixture(scope="module")
def aspirin() -> Chem.Mol:
    return relaxed("CC(=O)Oc1ccccc1C(=O)O")


def passes(mol: Any, condition: str = "", hydrogens: bool = True, **patterns: Any) -> bool:
    return MoleculeTest(MoleculeFilter(condition, **patterns), hydrogens)(mol)[0]


def test_measures_are_rdkits(aspirin: Chem.Mol) -> None:
    bare, found = Chem.RemoveHs(aspirin), Measured(aspirin)
    wanted = {
        "qed": QED.qed(bare), "logp": Crippen.MolLogP(bare), "weight": Descriptors.MolWt(bare), "tpsa": 63.6,
        "charge": 0, "atoms": 21, "heavy_atoms": 13, "pieces": 1, "rings": 1, "aromatic_rings": 1, "largest_ring": 6,
        "C": 9, "H": 8, "O": 4, "N": 0, "donors": 1, "acceptors": 3, "rotatable": 2, "stereocentres": 0,
        "strain": strain(aspirin).energy, "rmsd": strain(aspirin).rmsd,
    }  # fmt: skip
    for name, value in wanted.items():
        assert found.value(name) == pytest.approx(value, abs=1e-6), name
    assert found.value("strain") < 0.1 and 1 < found.value("sa") < 3
    for name in ("sound", "strict", "agrees", "mol_fast", "valid", "unique"):
        assert found.value(name) is True, name
    assert found.value("stable") is False and Measured(relaxed("CCO")).value("stable") is True


@pytest.mark.parametrize("hydrogens", [True, False])
def test_every_measure_has_a_value_or_says_that_it_has_none(mols: list[Chem.Mol], hydrogens: bool) -> None:
    broken = Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False)
    every = mols if hydrogens else [Chem.RemoveHs(mol) for mol in mols]
    rows = measure([*every, broken, Chem.MolFromSmiles("CCO"), lv.Failure("no")], tuple(MEASURES), hydrogens)
    for row in rows[: len(mols)]:
        for name, value in row.items():
            kind = bool if MEASURES[name].yes_no else (int, float)
            assert isinstance(value, kind) or (name == "stable" and not hydrogens), name
    assert rows[-3]["valid"] is False and rows[-3]["sound"] is False and rows[-3]["qed"] is None
    assert rows[-3]["strain"] is None and rows[-3]["C"] == 6
    assert rows[-2]["valid"] is True and rows[-2]["sound"] is False and rows[-2]["strain"] is None
    assert rows[-1] == {} and set(SCORES) <= set(MEASURES) and set(ELEMENTS) <= set(MEASURES)
    judged = soundness.inspect(every, hydrogens=hydrogens, busted=None, show=False)
    assert [row["sound"] for row in rows[: len(mols)]] == [one.sound for one in judged]


def test_hydrogens_count_whether_atoms_or_not(aspirin: Chem.Mol) -> None:
    bare = Measured(Chem.RemoveHs(aspirin), hydrogens=False)
    assert bare.value("H") == 8 and bare.value("atoms") == bare.value("heavy_atoms") == 13
    assert bare.value("weight") == Measured(aspirin).value("weight")


@pytest.mark.parametrize("hydrogens", [True, False])
@pytest.mark.parametrize(
    ("smarts", "there"),
    [
        ("c1ccccc1", True), ("C(=O)[OX2H1]", True), ("[CX4;H3]", True), ("[CD1]", True), ("N", False), ("[#6]~[#7]", False),
        ("[H]O", True), ("[H]N", False), ("[CD4]", False), ("c1ccccc1.C(=O)O", True),
    ],
)  # fmt: skip
def test_patterns_mean_the_same_with_hydrogens_and_without(
    aspirin: Chem.Mol, smarts: str, there: bool, hydrogens: bool
) -> None:
    mol = aspirin if hydrogens else Chem.RemoveHs(aspirin)
    assert passes(mol, hydrogens=hydrogens, must=[smarts]) is there
    assert passes(mol, hydrogens=hydrogens, must_not=smarts) is not there


def test_patterns_have_stereo() -> None:
    right = relaxed("C[C@H](N)C(=O)O")
    assert passes(right, must="C[C@H](N)C(=O)O") and not passes(right, must="C[C@@H](N)C(=O)O")
    assert passes(right, must="CC(N)C(=O)O")


@pytest.mark.parametrize("smarts", ["C1CC(", "", " ", "not smarts", "C" * 1001, "[", "\ud800", "$(C)"])
def test_what_is_no_smarts_is_named(smarts: str) -> None:
    for name in ("must", "must_not"):
        with pytest.raises(ValueError, match="SMARTS"):
            MoleculeFilter(**{name: ["C", smarts]})
    with pytest.raises(ValueError, match="a SMARTS is a text, got 3"):
        pattern(3)  # type: ignore[arg-type]


def test_wrong_conditions_are_refused_when_they_are_written() -> None:
    with pytest.raises(ValueError, match=r"unknown measure 'strian'; did you mean 'strain'\?"):
        MoleculeFilter("sound and strian < 20")
    with pytest.raises(ValueError, match="it is made of"):
        MoleculeFilter("__import__('os').system('id')")
    with pytest.raises(ValueError, match="unknown measure 'weigth'"):
        MoleculeModality().measure([], ["weigth"])


def test_slow_measures_are_taken_only_where_they_decide(
    mols: list[Chem.Mol], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("this was not to be asked")

    monkeypatch.setattr("langevin.modalities.molecule.soundness.posebusters", never)
    monkeypatch.setattr("langevin.modalities.molecule.geometry.strain", never)
    assert not passes(mols[0], "sound and strain < 20 and heavy_atoms > 3")
    assert not passes(mols[1], "sound and strain < 20", must=["N"])
    assert passes(mols[1], "heavy_atoms == 3 or strain < 20")
    passed, values = MoleculeTest(MoleculeFilter("logp < 9 and rings == 0"))(mols[1])
    assert passed and set(values) == {"logp", "rings"}


def test_unique_is_among_those_kept() -> None:
    ethanol, other = relaxed("CCO"), relaxed("CCN")
    test = MoleculeTest(MoleculeFilter("unique and O == 1"))
    assert [test(mol)[0] for mol in (other, ethanol, other, Chem.RemoveHs(ethanol))] == [
        False,
        True,
        False,
        False,
    ]
    rows = measure([ethanol, other, ethanol], ["unique"])
    assert [row["unique"] for row in rows] == [True, True, False]


def test_a_model_draws_until_enough_pass() -> None:
    node = {"name": "molecule", "elements": ["C", "N", "O"], "hydrogens": False, "sizes": {"2": 1, "4": 1}}
    network = {"name": "dit", "width": 32, "depth": 1, "heads": 4, "axes": 0, "pair_width": 8}
    model = build_model({"modality": node, "network": network, "sampling": {"steps": 2}}, seed=1)
    found = model.passing(4, "valid and heavy_atoms == 4", must_not=["[#8]~[#8]"], seed=3)
    again = model.passing(4, "valid and heavy_atoms == 4", must_not=["[#8]~[#8]"], seed=3, batch_size=5)
    assert found.indices == again.indices and found.run.options == again.run.options
    assert [Chem.MolToSmiles(mol) for mol in found] == [Chem.MolToSmiles(mol) for mol in again]
    assert all(mol.GetNumAtoms() == 4 for mol in found)
    whole = model.sample(found.indices[-1] + 1, seed=3)
    test = MoleculeTest(MoleculeFilter("valid and heavy_atoms == 4", must_not=["[#8]~[#8]"]), False)
    passed = [k for k, item in enumerate(whole) if not isinstance(item, lv.Failure) and test(item)[0]]
    assert list(found.indices) == passed and found.scores[0] == {"valid": True, "heavy_atoms": 4}
    about = found.manifest()["options"]["passing"]
    assert about["filter"] == "valid and heavy_atoms == 4" and about["must_not"] == ["[#8]~[#8]"]
    assert about["drawn"] == len(whole) and "must" not in about
    with pytest.raises(ValueError, match="the test and filter say the same"):
        model.passing(1, "valid", filter="valid")
    both = model.passing(2, lambda mol: mol.GetNumBonds() > 2, filter="valid", seed=3)
    assert all(mol.GetNumBonds() > 2 for mol in both)
