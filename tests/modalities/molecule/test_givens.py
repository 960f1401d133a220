"""Given parts of molecules: connected fragments, a frame of their own, nothing that tells of the rest or of the noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

import langevin as lv
from langevin.assembly import build_model
from langevin.modalities.molecule import givens
from langevin.modalities.molecule.alignment import aligned
from langevin.modalities.molecule.atoms import of_mol
from langevin.modalities.molecule.modality import MoleculeModality

NETWORK = {"name": "dit", "width": 32, "depth": 2, "heads": 4, "axes": 0, "pair_width": 8}
MODALITY = MoleculeModality()


@pytest.fixture(scope="module")
def model() -> lv.Model:
    node = {"name": "molecule", "sizes": {"7": 1}}
    tree = {"modality": node, "network": NETWORK, "objective": {"given": 0.5}, "sampling": {"steps": 4}}
    model = build_model(tree, seed=1)
    with torch.no_grad():  # a new network has zeros at its ends, which would hide what flows through it
        for p in model.network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.manual_seed(p.numel())))
    return model


def pieces(bonds: torch.Tensor, atoms: torch.Tensor) -> int:
    """Connected pieces of some atoms of one molecule."""
    left, count = set(torch.nonzero(atoms)[:, 0].tolist()), 0
    while left:
        count, front = count + 1, {left.pop()}
        while front:
            near = {j for i in front for j in torch.nonzero(bonds[i])[:, 0].tolist()} & left
            left -= near
            front = near
    return count


def test_fragments_are_one_or_two_connected_pieces_of_every_size(mols: list[Chem.Mol]) -> None:
    state, mask = MODALITY.encode([mols[2]] * 400 + [mols[0]] * 100)
    assert isinstance(state, dict) and mask is not None
    atoms = givens.fragments(state["bonds"], mask, lv.Stream.of(0, 500))
    n = mols[2].GetNumAtoms()
    sizes = atoms.sum(1)
    assert set(sizes[:400].tolist()) == set(range(1, n)) and set(sizes[400:].tolist()) == {1, 2}
    assert not (atoms & ~mask).any()
    found = [pieces(b, a) for b, a in zip(state["bonds"][:400], atoms)]
    assert set(found) == {1, 2} and np.mean([k == 2 for k in found]) > 0.08
    again = givens.fragments(state["bonds"][7:9], mask[7:9], lv.Stream.of(0, 500).rows([7, 8]))
    assert torch.equal(again, atoms[7:9])


def test_a_batch_is_parted_by_what_is_given(mols: list[Chem.Mol]) -> None:
    state, mask = MODALITY.encode(mols * 200)
    rows = len(mols) * 200
    framed, others = MODALITY.parts(state, lv.Stream.of(3, rows), mask, 0.5)
    assert sorted(torch.cat([framed.rows, others.rows]).tolist()) == list(range(rows))
    assert abs(len(framed.rows) / rows - 0.2) < 0.04
    given = others.given
    graph, positions = given["elements"] & given["bonds"], given["positions"]
    assert (given["charges"] == graph).all() and not (graph & positions).any()
    for chosen, share in (
        (graph, 0.175),
        (positions & given["elements"], 0.075),
        (positions & given["bonds"], 0.05),
    ):
        assert abs(float(chosen.sum()) / rows - share) < 0.03
    atoms = framed.given["positions"]
    centre = (framed.x["positions"] * atoms[..., None]).sum(1)
    torch.testing.assert_close(centre, torch.zeros_like(centre), atol=1e-4, rtol=0)
    assert not framed.process.leaves["positions"].centred and others.process.leaves["positions"].centred
    (all_of_it,) = MODALITY.parts(state, lv.Stream.of(3, rows), mask, 0.0)
    assert not any(chosen.any() for chosen in all_of_it.given.values())


def test_the_frame_of_a_part_does_not_tell_where_the_rest_lies(model: lv.Model, mols: list[Chem.Mol]) -> None:
    state, mask = model.modality.encode([mols[2]] * 2)
    assert isinstance(state, dict)
    atoms = torch.zeros(2, mols[2].GetNumAtoms(), dtype=torch.bool)
    atoms[:, :5] = True
    given = {"positions": atoms, "elements": atoms}
    moved = {**state, "positions": state["positions"] + ~atoms[..., None] * torch.tensor([3.0, -2.0, 1.0])}
    seen = []
    for x in (state, moved):
        framed, process = model.modality.framed(x, given, mask)
        noisy = process.corrupt(framed, 1.0, lv.Stream.of(4, 2), mask=mask)
        seen.append(torch.where(atoms[..., None], framed["positions"], noisy["positions"]))
    assert torch.equal(seen[0], seen[1])
    # the frame of the whole would: this is what the test is able to see
    centred = [x["positions"] - x["positions"].mean(1, keepdim=True) for x in (state, moved)]
    assert not torch.allclose(centred[0][atoms], centred[1][atoms])


def test_nothing_that_is_given_is_chosen_by_the_noise(mols: list[Chem.Mol]) -> None:
    state, mask = MODALITY.encode([mols[2]] * 300)
    assert isinstance(state, dict) and mask is not None
    rows = 300
    rng = lv.Stream.of(9, rows)
    noise = MODALITY.process.prior(state, rng, mask)
    whole, none = torch.ones(rows, dtype=torch.bool), torch.zeros(rows, dtype=torch.bool)
    graph = {"positions": none, "elements": whole, "charges": whole, "bonds": whole}
    for given, apart in ((graph, None), (None, whole)):
        out = aligned(state, noise, rng, mask, given, apart)
        for name in ("elements", "charges", "bonds"):
            assert torch.equal(out[name], state[name])
    asked = {"positions": whole, "elements": whole, "charges": none, "bonds": none}
    out = aligned(state, noise, rng, mask, asked)  # positions are given: turned at random, not to the noise
    plain = aligned(state, {**noise, "positions": noise["positions"].roll(1, 0)}, rng, mask, asked)
    torch.testing.assert_close(out["positions"], plain["positions"])
    atoms = givens.fragments(state["bonds"], mask, rng)
    part = dict.fromkeys(("positions", "elements", "charges"), atoms)
    part["bonds"] = atoms[:, :, None] & atoms[:, None]
    out = aligned(state, noise, rng, mask, part)
    assert torch.equal(out["elements"][atoms], state["elements"][atoms])
    assert not torch.equal(out["elements"], state["elements"])  # the rest is ordered
    assert torch.equal(out["bonds"][part["bonds"]], state["bonds"][part["bonds"]])
    for made, mol in zip(MODALITY.decode(out, mask)[:20], [mols[2]] * 20):
        assert Chem.MolToSmiles(made) == Chem.MolToSmiles(mol)


def test_the_loss_shows_what_is_given_clean_and_asks_for_the_rest(
    model: lv.Model, mols: list[Chem.Mol], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    forward = model.network.forward

    def spy(x_t: Any, t: Any, condition: Any = None, mask: Any = None, belief: Any = None) -> Any:
        seen.append((x_t, t, mask))
        return forward(x_t, t, condition, mask, belief)

    monkeypatch.setattr(model.network, "forward", spy)
    each, _ = model.loss(mols * 8, {}, lv.Stream.of(1, len(mols) * 8))
    assert each.shape == (len(mols) * 8,) and bool(each.isfinite().all()) and bool((each > 0).all())
    (x_t, t, mask), (_, whole, _) = seen
    atoms = (t["positions"] == 0) & mask
    assert atoms.any(1).all() and (x_t["elements"][atoms] < 4).all()
    both = atoms[:, :, None] & atoms[:, None]
    assert (x_t["bonds"][both] < 4).all()
    assert set(whole) == set(model.process.leaves) and whole["bonds"].ndim == 1


def test_a_kept_part_comes_back_with_the_users_coordinates(mols: list[Chem.Mol]) -> None:
    mol = Chem.Mol(mols[2])
    conformer = mol.GetConformer()
    conformer.SetPositions(conformer.GetPositions() + [10.0, 20.0, -5.0])
    drawn = Chem.Mol(mols[2])  # the same atoms elsewhere
    out = givens.restored(drawn, mol, lv.keep.elements(0, 1, 2), True).GetConformer().GetPositions()
    where = of_mol(mol).positions
    assert np.array_equal(out[:3], where[:3].astype(np.float64))
    np.testing.assert_allclose(out[3:], where[3:], atol=1e-4)
    heavy = Chem.RemoveHs(mols[2])
    out = givens.restored(heavy, mol, lv.keep.leaves("positions"), False).GetConformer().GetPositions()
    np.testing.assert_allclose(out, of_mol(Chem.RemoveHs(mol)).positions, atol=1e-4)


def test_whole_leaves_and_fragments_stay(model: lv.Model, mols: list[Chem.Mol]) -> None:
    state, _ = model.modality.encode([mols[2]])
    graph = model.sample(3, like=mols[2], keep=lv.keep.leaves("elements", "charges", "bonds"), seed=1)
    for name in ("elements", "charges", "bonds"):
        assert (graph.state[name] == state[name]).all()
    assert graph.state["positions"].std(0).min() > 0.01
    part = model.sample(3, like=mols[2], keep=lv.keep.elements(0, 1, 2, 3), seed=1)
    kept = part.state["positions"][:, :4]
    here = state["positions"][:, :4] - state["positions"][:, :4].mean(1, keepdim=True)
    torch.testing.assert_close(kept, here.expand(3, -1, -1), atol=1e-5, rtol=0)
    assert (part.state["bonds"][:, :4, :4] == state["bonds"][:, :4, :4]).all()


def test_choices_of_leaves_that_cannot_be_are_refused(model: lv.Model, mols: list[Chem.Mol]) -> None:
    with pytest.raises(ValueError, match="unknown leaf of a molecule 'element'.*'elements'"):
        model.sample(1, like=mols[2], keep=lv.keep.leaves("element"))
    with pytest.raises(ValueError, match="keeps all of the molecule"):
        model.sample(1, like=mols[2], keep=lv.keep.leaves("elements", "charges", "bonds", "positions"))
    with pytest.raises(ValueError, match=r"keep\.leaves needs the name"):
        lv.keep.leaves()
    with pytest.raises(ValueError, match="objective.given: models of image"):
        from langevin.modalities.image.modality import make

        make({"codec": {"name": "pixels", "size": 8}}).parts(torch.zeros(1), lv.Stream.of(0, 1), None, 0.5)
