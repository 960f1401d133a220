from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

import langevin as lv
from langevin.assembly import build_model
from langevin.modalities.molecule.archives import write_archive
from langevin.modalities.molecule.atoms import of_mol
from langevin.modalities.molecule.data import MoleculeDataset, open_data
from langevin.modalities.molecule.files import write_sdf
from langevin.modalities.molecule.labels import named, number, read_labels
from langevin.modalities.molecule.recipe import defaults

NETWORK = {"name": "dit", "width": 32, "depth": 2, "heads": 4, "axes": 0, "pair_width": 8}
HOMO = ["-0.5", "", "-0.25", "1e-2", None, " 3 ", "0", "7"]  # of the eight molecules
VALUES = [-0.5, None, -0.25, 0.01, None, 3.0, 0.0, 7.0]


def sdf_of(mols: list[Chem.Mol], values: list[str | None], path: Path) -> Path:
    rows = [{} if value is None else {"HOMO": value} for value in values]
    write_sdf(mols, path, rows=[{"id": f"m{k}", **row} for k, row in enumerate(rows)])
    return path


@pytest.fixture
def sdf(mols: list[Chem.Mol], tmp_path: Path) -> Path:
    return sdf_of(mols, HOMO, tmp_path / "some.sdf")


def test_items_of_an_sdf_become_conditions(sdf: Path) -> None:
    for hydrogens in (True, False):
        data = open_data(sdf, hydrogens=hydrogens, descriptors=["qed"], properties=["HOMO"])
        assert data.conditions == ("qed", "HOMO") and data.values["HOMO"] == VALUES
    assert open_data(sdf, properties={"orbital": "HOMO"}).values == {"orbital": VALUES}
    with pytest.raises(ValueError, match=r"unknown data item 'homo'.*HOMO, id.*or give labels="):
        open_data(sdf, properties=["homo"])


@pytest.mark.parametrize(
    ("said", "reason"),
    [("high", "not a number"), ("nan", "not a finite"), ("-inf", "not a finite"), ("1_0", "not a number")],
)
def test_what_is_no_number_is_named_or_left_out(
    mols: list[Chem.Mol], tmp_path: Path, said: str, reason: str
) -> None:
    path = sdf_of(mols, [*HOMO[:2], said, *HOMO[3:]], tmp_path / "bad.sdf")
    with pytest.raises(ValueError, match=rf"record 3.*HOMO is '?{said}'?, {reason}(.|\n)*errors='skip'"):
        open_data(path, properties=["HOMO"])
    with pytest.warns(UserWarning, match="record 3"):
        data = open_data(path, properties=["HOMO"], errors="skip")
    assert data.values["HOMO"] == VALUES[:2] + VALUES[3:]
    assert [len(m) for m in data.molecules] == [m.GetNumAtoms() for k, m in enumerate(mols) if k != 2]
    assert len(open_data(path)) == len(mols)  # nobody asked


def test_a_record_that_cannot_be_read_takes_its_value_with_it(sdf: Path) -> None:
    sdf.write_text(sdf.read_text().replace("V2000", "V9999", 1))
    with pytest.warns(UserWarning, match="7 of 8"):
        assert open_data(sdf, properties=["HOMO"], errors="skip").values["HOMO"] == VALUES[1:]
    labels = sdf.with_name("by_number.csv")
    labels.write_text("record,HOMO\n2,5\n1,4\n")
    with pytest.warns(UserWarning, match="7 of 8"):
        data = open_data(sdf, properties=["HOMO"], errors="skip", labels=labels)
    assert data.values["HOMO"] == [5.0, *[None] * 6]


def test_a_csv_beside_the_file_says_which_molecule_a_line_is_about(sdf: Path) -> None:
    (sdf.parent / "labels.csv").write_text(
        "id, gap ,dipole\nm7,0.25,\nm0,1,2\nm9,5,5\n", encoding="utf-8-sig"
    )
    data = open_data(sdf, properties=["gap", "dipole"], labels="labels.csv")
    assert data.values == {"gap": [1.0, *[None] * 6, 0.25], "dipole": [2.0, *[None] * 7]}
    (sdf.parent / "labels.csv").write_text("ID,gap\nm0,1\n")
    with pytest.raises(ValueError, match=r"first column 'ID', which record 1 lacks.*HOMO, id, name, record"):
        open_data(sdf, properties=["gap"], labels="labels.csv")
    (sdf.parent / "labels.csv").write_text("id,gap\n1,1\n")
    with pytest.raises(
        ValueError, match=r"no molecule has a line; its column 'id' begins 1, and .* m0, m1, m2"
    ):
        open_data(sdf, properties=["gap"], labels="labels.csv")
    with pytest.raises(ValueError, match="without properties"):
        open_data(sdf, labels="labels.csv")
    with pytest.raises(FileNotFoundError, match=r"labels: no file 'lables\.csv'"):
        open_data(sdf, properties=["gap"], labels="lables.csv")


def test_an_array_of_an_archive_says_which_molecule_is_which(mols: list[Chem.Mol], tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    write_archive([of_mol(mol) for mol in mols], path, split=[0, 1] * 4)
    with np.load(path) as held:
        arrays: dict[str, Any] = dict(held)
    np.savez(path, **arrays, index=np.array([11, 12, 13, 14, 15, 16, 17, 18], np.int32))
    labels = tmp_path / "labels.csv"
    labels.write_text("index,gap\n12,1.5\n18,2.5\n13,9\n")
    data = open_data(path, "validation", properties=["gap"], labels=labels)
    assert data.values["gap"] == [1.5, None, None, 2.5]
    labels.write_text("record,gap\n2,1.5\n8,2.5\n")
    assert open_data(path, "validation", properties=["gap"], labels=labels).values == data.values
    with pytest.raises(ValueError, match=r"give labels="):
        open_data(path, properties=["gap"])
    labels.write_text("gdb,gap\n12,1.5\n")
    with pytest.raises(ValueError, match=r"lacks the arrays gdb; it has .*index"):
        open_data(path, properties=["gap"], labels=labels)
    np.savez(path, **arrays, index=np.arange(3))
    labels.write_text("index,gap\n12,1.5\n")
    with pytest.raises(ValueError, match=r"index has the shape \(3,\); \(8,\) was expected"):
        open_data(path, properties=["gap"], labels=labels)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,gap\na,1\nb,x\n", r"line 3: value is 'x', not a number"),
        ("id,gap\na,1\na,2\n", r"line 3 is a second one about 'a'"),
        ("id,gap\na,1,2\n", r"line 2 has 3 fields; the first line has 2"),
        ("id,gaps\na,1\n", r"unknown column 'gap'; did you mean 'gaps'"),
        ("", r"unknown column 'gap'"),
    ],
)
def test_a_csv_that_is_wrong_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        read_labels(path, {"value": "gap"})


def test_names_are_those_of_keywords() -> None:
    assert named(["a", "b"]) == {"a": "a", "b": "b"} and named(None) == {} and named("a") == {"a": "a"}
    assert named({"homo": "E(HOMO) / eV"}) == {"homo": "E(HOMO) / eV"}
    with pytest.raises(ValueError, match="'qed' has the name of a descriptor"):
        named(["qed"])
    with pytest.raises(ValueError, match=r"'E\(HOMO\)' cannot be.*\{value: E\(HOMO\)\}"):
        named(["E(HOMO)"])
    with pytest.raises(ValueError, match="stands twice"):
        named(["a", "a"])
    assert number(" -1.5e3 ", "x") == -1500 and number("", "x") is None


def test_a_data_set_made_by_hand_is_checked(mols: list[Chem.Mol]) -> None:
    atoms = [of_mol(mol) for mol in mols]
    with pytest.raises(ValueError, match="'gap' has 2 values for 8 molecules"):
        MoleculeDataset(atoms, properties={"gap": [1.0, 2.0]})
    with pytest.raises(ValueError, match="molecule 1: gap is nan, not a finite number"):
        MoleculeDataset(atoms, properties={"gap": [1.0, float("nan"), *[None] * 6]})
    with pytest.raises(ValueError, match="no molecule has the property 'gap'"):
        MoleculeDataset(atoms, properties={"gap": [None] * 8})
    with pytest.raises(ValueError, match="name of a descriptor"):
        MoleculeDataset(atoms, properties={"qed": [1.0] * 8})


def test_numbers_are_standardised_by_the_values_that_are_there(mols: list[Chem.Mol]) -> None:
    atoms, tiny = [of_mol(mol) for mol in mols], [3e-6, None, 1e-6, *[None] * 5]
    config = defaults(MoleculeDataset(atoms, properties={"tiny": tiny, "same": [0.1] * 8}), {})
    node = config["modality"]["conditions"]
    assert node["tiny"]["mean"] == pytest.approx(2e-6) and node["tiny"]["std"] == pytest.approx(1e-6)
    assert node["same"]["mean"] == 0.1 and node["same"]["std"] == 1.0
    assert config["drop"] == {"tiny": 0.3, "same": 0.3}


def test_molecules_without_the_property_train_as_ones_of_which_nothing_was_said(
    sdf: Path, tmp_path: Path
) -> None:
    data = open_data(sdf, properties=["HOMO"])
    given = {"network": NETWORK, "objective": {"given": 0.0}, "drop": {"HOMO": 0.0}}
    model = build_model(defaults(data, given), seed=0)
    with torch.no_grad():  # a new network has zeros at its ends, which would hide what is said to it
        for p in model.network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.manual_seed(p.numel())))
    rng = lv.Stream.of(0, 2)
    for rows in ([1, 4], [5, 4]):  # none has it; one has it
        items, conditions = data.batch(rows)
        each, _ = model.loss(items, conditions, rng)
        silent, _ = model.loss(items, {}, rng)
        assert each[1] == silent[1] and bool(each[0] == silent[0]) == (rows[0] == 1)
        each.sum().backward()
        null = model.network.conditions["HOMO"].null_vector
        assert null.grad is not None and bool(null.grad.isfinite().all())
    lv.train(
        sdf,
        "molecule",
        steps=3,
        batch=2,
        out=tmp_path / "model",
        model={
            "network": {"width": 32, "depth": 1, "heads": 4, "pair_width": 8},
            "sampling": {"grid": "curvature", "steps": 4, "guidance": 2.0},
        },
        options={"properties": ["HOMO"]},
        show=2,
        progress=False,
    )
    model = lv.load(tmp_path / "model", device="cpu")
    assert list(model.conditions) == ["HOMO"]
    assert len(model.sample(2, HOMO=[-0.5, 1.0], steps=2, guidance=2.0)) == 2
