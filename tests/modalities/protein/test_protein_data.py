"""Data of proteins and training on them, from folders and archives made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import langevin as lv
from langevin.modalities.protein.data import ProteinDataset, open_data
from langevin.modalities.protein.files import write
from langevin.modalities.protein.protein import Protein, join, of_structure
from langevin.modalities.protein.rigid import CA_CA
from tests.modalities.protein.backbones import LOOP, built, protein


def packed(n: int, seed: int) -> Protein:
    """A chain whose stretches are compact: helices of ten residues that come back."""
    torsions = [(-62.0, -43.0) if k % 12 < 9 else LOOP for k in range(n)]
    rng = np.random.default_rng(seed)
    torsions = [(a + rng.normal() * 4, b + rng.normal() * 4) for a, b in torsions]
    return Protein(
        built(torsions), rng.integers(0, 20, n).astype(np.int8), np.full(n, "A"),
        np.arange(1, n + 1, dtype=np.int32), np.full(n, ""),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "files"
    home.mkdir()
    for k, n in enumerate((20, 24, 60)):
        write(packed(n, k), home / f"{k}.pdb")
    write(join([protein(22, seed=8), protein(21, chain="B", seed=9)]), home / "two.cif")
    return home


def test_a_folder_of_files(folder: Path) -> None:
    data = open_data(folder, shortest=20, longest=30, crops=3)
    assert sorted(data.lengths)[:2] == [20, 21] and max(data.lengths) <= 30
    assert data.lengths.count(24) >= 1 and len(data) > 4  # stretches of the long chain
    items, conditions = data.batch([0, 1])
    assert conditions == {} and all(len(set(item.chains.tolist())) == 1 for item in items)
    again = open_data(folder, shortest=20, longest=30, crops=3)
    assert all(
        np.array_equal(a.backbone, b.backbone) for a, b in zip(data.proteins, again.proteins, strict=True)
    )


def test_bonds_are_closed(folder: Path) -> None:
    for close in (True, False):
        (item, *_) = open_data(folder / "0.pdb", shortest=10, close=close).proteins
        noisy = np.array(item.backbone)
        ca = np.linalg.norm(np.diff(noisy[:, 1], axis=0), axis=-1)
        assert np.abs(ca - CA_CA).max() < 0.06
        assert len(item.note.get("secondary", "")) == (len(item) if close else 0)


def test_broken_chains_are_cut_at_the_break(folder: Path) -> None:
    whole = packed(50, 3)
    left = whole[np.r_[0:22, 28:50]]
    write(left, folder / "broken.pdb")
    assert sorted(open_data(folder / "broken.pdb", shortest=20).lengths) == [22, 22]


def test_repeats_and_what_cannot_be(folder: Path) -> None:
    assert len(open_data(folder / "0.pdb", shortest=10, repeats=3)) == 3
    with pytest.raises(ValueError, match="no chain of at least 100 residues"):
        open_data(folder, shortest=100)
    with pytest.raises(ValueError, match="shortest and longest"):
        open_data(folder, shortest=50, longest=40)
    with pytest.raises(ValueError, match="no splits"):
        open_data(folder, split="train")
    empty = folder.parent / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="no files that end in"):
        open_data(empty)
    with pytest.raises(ValueError, match="no proteins"):
        ProteinDataset([])


def test_training_sampling_and_the_folder(folder: Path, tmp_path: Path) -> None:
    node = {"network": {"name": "ipa", "width": 32, "depth": 1, "heads": 2, "axes": 1}}
    how = {"steps": 3, "batch": 4, "warmup": 1, "save": 100, "log": 1, "progress": False}
    data = open_data(folder, shortest=20, longest=30)
    model = lv.train(data, "protein", out=tmp_path / "m", model=node, **how)
    assert set(model.modality.sizes) == set(data.lengths)
    again = lv.load(tmp_path / "m", device="cpu")
    a, b = (m.sample(2, steps=2, seed=1, progress=False) for m in (model, again))
    for one, two in zip(a, b, strict=True):
        first, second = of_structure(one), of_structure(two)
        assert len(first) == len(second) and len(first) in set(data.lengths)
        assert np.abs(first.backbone - second.backbone).max() < 0.5  # weights are stored in half precision
    a.report(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    table = again.modality.evaluate(list(a), data.proteins)
    assert table is not None and torch.isfinite(a.state["positions"]).all()


def test_a_network_with_pairs_follows_from_the_data(folder: Path, tmp_path: Path) -> None:
    node = {
        "network": {"name": "dit", "width": 32, "depth": 1, "heads": 2, "axes": 1, "pair_width": 8},
    }
    how = {"steps": 1, "batch": 2, "warmup": 1, "save": 100, "log": 1, "progress": False}
    data = open_data(folder, shortest=20, longest=30)
    model = lv.train(data, "protein", out=tmp_path / "m", model=node, **how)
    assert model.modality.pairs > 0
