from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rdkit import Chem

import langevin as lv
from langevin import trees
from langevin.assembly import build_model
from langevin.core.registry import BuildError
from langevin.modalities.molecule.atoms import of_mol
from langevin.modalities.molecule.data import MoleculeDataset
from langevin.modalities.molecule.modality import make
from langevin.modalities.molecule.recipe import defaults
from langevin.modalities.molecule.sizes import SizesBy, draw, rounded, sizes_by

NETWORK = {"name": "dit", "width": 32, "depth": 1, "heads": 4, "axes": 0, "pair_width": 8}


def shares(count: torch.Tensor, sizes: list[int]) -> list[float]:
    return [float((count == n).double().mean()) for n in sizes]


def test_few_values_have_a_bin_each() -> None:
    tree = sizes_by([3, 3, 4, 4, 5], [-1, 0, 0, None, 2])
    assert tree == {"edges": [-0.5, 1.0], "counts": {"3": [1, 1, 0], "4": [0, 1, 0], "5": [0, 0, 1]}}
    assert sizes_by([3, 4], [7.0, 7.0]) == {"edges": [], "counts": {"3": [1], "4": [1]}}
    assert sizes_by([1, 2], [1234567.0, 1234568.0])["edges"] == [1234567.5]


def test_many_values_are_cut_at_quantiles() -> None:
    values = torch.randn(10_000, generator=torch.manual_seed(0), dtype=torch.float64).tolist()
    tree = sizes_by([9] * 10_000, values)
    share = torch.tensor(tree["counts"]["9"]) / 10_000
    expected = torch.tensor([0.001, 0.009, 0.04, 0.15, 0.2, 0.2, 0.2, 0.15, 0.04, 0.009, 0.001])
    torch.testing.assert_close(share, expected, atol=2e-3, rtol=0)
    zeros = sizes_by([9] * 10_000, [0.0] * 9_000 + values[:1000])
    assert len(zeros["edges"]) == len(set(zeros["edges"])) and sum(zeros["counts"]["9"]) == 10_000
    assert all(abs(edge) < 5 and len(repr(edge)) < 10 for edge in tree["edges"])


def test_no_more_digits_than_matter() -> None:
    assert [rounded(-0.373291234, 0.03616), rounded(123456.789, 1e3), rounded(2e-6, 1e-6)] == [
        -0.37329,
        123457,
        2e-6,
    ]


def test_sizes_follow_what_is_asked() -> None:
    n = 20_000
    sizes, rng = {3: 300, 5: 500, 8: 200}, lv.Stream.of(0, n)
    one = SizesBy((0.0,), {"3": (300, 0), "5": (250, 250), "8": (50, 150)})
    other = SizesBy((10.0,), {"3": (150, 150), "5": (500, 0), "8": (100, 100)})
    assert shares(draw(sizes, {"a": one}, {}, rng), [3, 5, 8]) == pytest.approx([0.3, 0.5, 0.2], abs=0.015)
    low = draw(sizes, {"a": one}, {"a": [-1.0] * n}, rng)
    assert shares(low, [3, 5, 8]) == pytest.approx([300 / 600, 250 / 600, 50 / 600], abs=0.015)
    mixed = draw(sizes, {"a": one}, {"a": ["-1", "0"] * (n // 2)}, rng)
    assert shares(mixed[1::2], [3, 5, 8]) == pytest.approx([0, 250 / 400, 150 / 400], abs=0.015)
    both = draw(sizes, {"a": one, "b": other}, {"a": [1.0] * n, "b": [20.0] * n}, rng)
    joint = torch.tensor([0, 250 * 0, 150 * 0.5])  # p(n) p(a | n) p(b | n), times 1000
    assert shares(both, [3, 5, 8]) == pytest.approx((joint / joint.sum()).tolist(), abs=0.02)
    assert torch.equal(draw(sizes, {"a": one}, {"c": ["x"] * n}, rng), draw(sizes, {}, {}, rng))


def test_a_size_whose_molecules_lack_the_number_counts_as_all_do() -> None:
    joint = SizesBy((0.0,), {"3": (30, 10)})
    torch.testing.assert_close(
        joint.likelihood([3, 4], [-1.0, 1.0]), torch.tensor([[0.75, 0.75], [0.25, 0.25]], dtype=torch.float64)
    )


def test_a_histogram_that_is_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match="edges must rise"):
        SizesBy((1.0, 1.0), {})
    with pytest.raises(ValueError, match=r"1 edges make 2 bins; size 3 has the counts \[1\]"):
        SizesBy((1.0,), {"3": (1,)})
    with pytest.raises(BuildError, match="edges"):
        make({"sizes_by": {"a": {"edges": ["x"], "counts": {}}}})


def test_a_model_keeps_its_histograms(mols: list[Chem.Mol], tmp_path: Path) -> None:
    charges = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, None, None]
    data = MoleculeDataset(
        [of_mol(mol) for mol in mols], properties={"kind": charges}, descriptors=["heavy_atoms"]
    )
    node = defaults(data, {"network": NETWORK})
    assert set(node["modality"]["sizes_by"]) == {"kind", "heavy_atoms"}
    build_model(node).save(tmp_path / "m")
    assert trees.read((tmp_path / "m" / "config.yaml").read_text())["modality"]["sizes_by"]["kind"][
        "edges"
    ] == [0.5]
    model = lv.load(tmp_path / "m", device="cpu")
    small = model.sample(40, heavy_atoms=1, steps=1).mask.sum(1)
    large = model.sample(40, heavy_atoms=8, steps=1).mask.sum(1)
    assert small.double().mean() < 8 < 12 < large.double().mean()
    assert set(model.sample(5, heavy_atoms=1, atoms=7, steps=1).mask.sum(1).tolist()) == {7}
    old = build_model({**node, "modality": {k: v for k, v in node["modality"].items() if k != "sizes_by"}})
    assert torch.equal(old.sample(9, heavy_atoms=1, steps=1).mask, old.sample(9, steps=1).mask)
