"""Training that begins from the weights of another model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import langevin as lv
from langevin.modalities.molecule.atoms import Atoms
from langevin.modalities.molecule.data import MoleculeDataset

SMALL = {"network": {"name": "dit", "width": 32, "depth": 1, "heads": 2, "modulation": "shared"}}
ATOMS = {"network": {**SMALL["network"], "axes": 0, "pair_width": 8}}


def _pictures(folder: Path, names: tuple[str, ...]) -> str:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / name / f"{i}.png")
    return str(folder)


def _chains(lengths: tuple[int, ...]) -> MoleculeDataset:
    def chain(n: int) -> Atoms:
        positions = np.arange(n)[:, None] * np.array([[1.25, 0.8, 0.0]]) * np.array([[1.0, 0.0, 0.0]])
        bonds = np.array([[i, i + 1, 1] for i in range(n - 1)], np.int16)
        numbers = np.array([6] * (n - 1) + [7], np.uint8)
        return Atoms(numbers, positions.astype(np.float32), np.zeros(n, np.int8), bonds)

    return MoleculeDataset([chain(n) for n in lengths], "CC0", "made up")


def test_weights_go_over_and_the_card_says_so(tmp_path: Path) -> None:
    data = _pictures(tmp_path / "data", ("a", "b"))
    first = lv.train(data, size=8, steps=3, batch=4, out=tmp_path / "first", model=SMALL)
    again = lv.train(
        data, size=8, steps=1, batch=4, lr=0.0, out=tmp_path / "second", start=tmp_path / "first"
    )
    kept = lv.load(tmp_path / "first", device="cpu").network.state_dict()  # as its file has them, in halves
    for name, value in again.network.state_dict().items():
        assert torch.equal(value, kept[name]), name
    assert again.config["network"] == first.config["network"]
    card = (tmp_path / "second" / "card.md").read_text()
    assert f"began from: the weights of {tmp_path / 'first'}" in card
    assert lv.load(tmp_path / "second").config["training"]["start"] == str(tmp_path / "first")


def test_what_belongs_to_the_data_follows_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lv.train(_chains((3, 4)), "molecule", steps=1, batch=2, out=tmp_path / "first", model=ATOMS)
    data = _chains((5, 6, 6))
    data.conditions, data.values = ("logp",), {"logp": [0.5, 1.0, 1.5]}
    model = lv.train(data, "molecule", steps=1, batch=3, out=tmp_path / "second", start=tmp_path / "first")
    assert model.config["modality"]["sizes"] == {"5": 1, "6": 2}
    assert list(model.conditions) == ["logp"]
    assert "the others begin anew: conditions.logp" in capsys.readouterr().err


def test_a_start_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    data = _pictures(tmp_path / "data", ("a",))
    with pytest.raises(ValueError, match="model of molecule, and the data are of image"):
        lv.train(data, size=8, steps=1, out=tmp_path / "out", start="molecule-qm9-heavy")
    with pytest.raises(ValueError, match="did you mean"):
        lv.train(data, size=8, steps=1, out=tmp_path / "out", start="image-digit")
    other = {"network": {"name": "dit", "width": 16, "depth": 1, "heads": 2}}
    lv.train(data, size=8, steps=1, batch=2, out=tmp_path / "first", model=SMALL)
    with pytest.raises(ValueError, match="condition 'label' gives vectors of width 32.* has width 16"):
        lv.train(data, size=8, steps=1, out=tmp_path / "out", start=tmp_path / "first", model=other)
    assert not (tmp_path / "out").exists()


def test_the_command_line_takes_a_start(tmp_path: Path) -> None:
    from langevin import training_cli

    data = _pictures(tmp_path / "data", ("a",))
    lv.train(data, size=8, steps=1, batch=2, out=tmp_path / "first", model=SMALL)
    flags = [f"data.path={data}", "data.size=8", "training.steps=1", "training.batch=2"]
    assert training_cli.main([*flags, f"start={tmp_path / 'first'}", f"out={tmp_path / 'second'}"]) == 0
    assert lv.load(tmp_path / "second").config["network"]["width"] == 32
