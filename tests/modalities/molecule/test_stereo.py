from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

import langevin as lv
from langevin.core.denoiser import Denoiser
from langevin.core.posteriors import Point
from langevin.core.processes import Gaussian, Product
from langevin.modalities.molecule import conformers
from langevin.modalities.molecule.atoms import of_mol, smiles, to_mol
from langevin.modalities.molecule.stereo import Handed, handed, sides, sites, volumes

PROCESS = Product(positions=Gaussian())


class Fixed(Denoiser):
    """Believes in one set of positions."""

    process = PROCESS

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def __call__(self, x_t: Any, t: Any, condition: Any = None, mask: Any = None, memory: Any = None) -> Any:
        point = Point(self.x, x_t["positions"], x_t["positions"], t, PROCESS.leaves["positions"].schedule)
        return {"positions": point.with_x(self.x)}, memory


@pytest.mark.parametrize(
    "text", ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "C/C=C/C", "C/C=C\\C", "C[C@H]1C[C@@H]1/C=C/O"]
)
def test_a_belief_of_the_mirrored_molecule_is_moved_to_the_asked_one(text: str) -> None:
    graph = conformers.graph(text)
    asked = sites(graph)
    assert len(asked) == text.count("/C=") + text.count("[C@")
    right = conformers.of_smiles(text, seed=3)
    other = Chem.Mol(right)
    other.GetConformer().SetPositions(other.GetConformer().GetPositions() * [1, 1, -1])
    wrong = torch.tensor(of_mol(other).positions)[None]
    if "C=C" in text and "@" not in text:  # a mirror keeps E and Z: take the other one
        turn = text.replace("\\", "|").replace("C=C/", "C=C\\").replace("C=C|", "C=C/")
        wrong = torch.tensor(of_mol(conformers.of_smiles(turn, seed=3)).positions)[None]
    guided = handed([asked], 1.0)(Fixed(wrong))
    x_t = {"positions": torch.randn(1, *wrong.shape[1:], generator=torch.manual_seed(0))}
    belief = guided(x_t, 0.5)[0]["positions"]
    places = [list(site.atoms) for site in asked]
    flat = torch.tensor([site.flat for site in asked])
    points = belief.x[0][torch.tensor(places)]
    numbers = torch.where(flat, sides(points)[0], volumes(points)[0])
    assert (numbers * torch.tensor([site.sense for site in asked]) > 0.1).all()
    torch.testing.assert_close(0.5 * belief.x + 0.5 * belief.eps, x_t["positions"])


def test_a_belief_that_has_the_asked_sense_is_left_alone() -> None:
    text = "C[C@H](N)C(=O)O"
    mol = conformers.of_smiles(text)
    x = torch.tensor(of_mol(mol).positions)[None]
    guided = handed([sites(conformers.graph(text))], 1.0)(Fixed(x))
    torch.testing.assert_close(guided({"positions": torch.zeros_like(x)}, 0.1)[0]["positions"].x, x)
    assert smiles(to_mol(replace(of_mol(mol), positions=x[0].numpy()))) == Chem.CanonSmiles(text)


def test_a_graph_that_asks_nothing_has_no_sites() -> None:
    assert sites(conformers.graph("CC(N)C(=O)O")) == [] and sites(conformers.graph("CC=CC")) == []


def test_the_slope_of_the_volume_is_its_gradient() -> None:
    points = torch.randn(6, 4, 3, dtype=torch.float64, generator=torch.manual_seed(1), requires_grad=False)
    points.requires_grad_(True)
    number, slope = volumes(points)
    (exact,) = torch.autograd.grad(number.sum(), points)
    torch.testing.assert_close(slope, exact)


def test_rows_of_a_run_have_their_own_senses() -> None:
    one, other = (sites(conformers.graph(text)) for text in ("C[C@H](N)O", "C[C@@H](N)O"))
    whole = handed([one, [], other], 1.0)
    assert whole.senses.tolist() == [[one[0].sense], [0], [other[0].sense]]
    cut = whole.at(slice(2, 3), 3)
    assert isinstance(cut, Handed) and cut.senses.tolist() == [[other[0].sense]]
    assert handed([one], 1.0).at(slice(0, 5), 9).atoms.shape == (1, 1, 4)
    x = torch.randn(3, 4, 3, generator=torch.manual_seed(0))
    moved = whole._moved(x, torch.ones(3))
    assert torch.equal(moved[1], x[1]) and np.isfinite(moved.numpy()).all()
    assert lv.guidance.chain(whole) is not None
