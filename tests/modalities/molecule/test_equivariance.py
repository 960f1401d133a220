"""A molecule's belief turns with the molecule where the network is an EGNN, and only there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rdkit import Chem

import langevin as lv
from langevin.assembly import build_model
from langevin.core import so3
from langevin.core.registry import BuildError
from langevin.core.training.trainer import Settings, Trainer, train
from langevin.modalities.molecule.atoms import of_mol

EGNN = {"name": "egnn", "width": 24, "depth": 3, "pair_width": 8}
DIT = {"name": "dit", "width": 24, "depth": 2, "heads": 4, "axes": 0, "pair_width": 8}
LEAVES = ("elements", "charges", "bonds")


def awake(network: dict[str, Any]) -> lv.Model:
    """An untrained model in float64 in which nothing is at or near zero."""
    model = build_model({"modality": {"name": "molecule"}, "network": network, "sampling": {"steps": 3}}, 1)
    with torch.no_grad():
        for p in model.network.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=torch.manual_seed(p.numel())))
    return model.cast("float64")


@pytest.fixture(scope="module")
def model() -> lv.Model:
    return awake(EGNN)


@pytest.fixture(scope="module")
def noisy(model: lv.Model, mols: list[Chem.Mol]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Molecules halfway to noise, of several sizes, in float64."""
    state, mask = model.modality.encode(mols)
    state["positions"] = state["positions"].double()
    return model.process.corrupt(state, 0.4, lv.Stream.of(0, len(mols)), mask=mask), mask


def turned(state: dict[str, torch.Tensor], proper: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    rows = len(state["positions"])
    r = so3.uniform(torch.zeros(rows, 3, 3, dtype=torch.float64), lv.Stream.of(1, rows))
    r = r if proper else -r
    return {**state, "positions": state["positions"] @ r.mT}, r


@pytest.mark.parametrize("proper", [True, False], ids=["rotation", "reflection"])
def test_velocity_turns_and_classes_stay(model: lv.Model, noisy: Any, proper: bool) -> None:
    state, mask = noisy
    other, r = turned(state, proper)
    here, there = (model.denoiser(x, 0.4, mask=mask)[0] for x in (state, other))
    velocity = here["positions"].velocity
    assert velocity.dtype == torch.float64 and velocity.abs().max() > 1e-2
    torch.testing.assert_close(there["positions"].velocity, velocity @ r.mT, rtol=0, atol=1e-10)
    for name in LEAVES:
        assert here[name].logits.std() > 1e-3
        torch.testing.assert_close(there[name].logits, here[name].logits, rtol=0, atol=1e-10)


def test_where_a_molecule_lies_changes_nothing(model: lv.Model, noisy: Any) -> None:
    state, mask = noisy
    far = {**state, "positions": state["positions"] + torch.tensor([3.0, -2.0, 7.0], dtype=torch.float64)}
    a, b = (model.network(x, 0.4, {}, mask) for x in (state, far))
    torch.testing.assert_close(b["positions"][mask], a["positions"][mask], rtol=0, atol=1e-10)
    for name in LEAVES:
        torch.testing.assert_close(b[name], a[name], rtol=0, atol=1e-10)


def test_a_transformer_passes_none_of_this(noisy: Any) -> None:
    model, (state, mask) = awake(DIT), noisy
    other, r = turned(state, True)
    here, there = (model.denoiser(x, 0.4, mask=mask)[0] for x in (state, other))
    assert (there["positions"].velocity - here["positions"].velocity @ r.mT).abs().max() > 0.1


def test_the_order_of_atoms_and_padding_change_nothing(model: lv.Model, noisy: Any) -> None:
    state, mask = noisy
    belief, n = model.denoiser(state, 0.4, mask=mask)[0], int(mask[1].sum())
    p = torch.randperm(n, generator=torch.manual_seed(0))
    assert n < mask.shape[1]
    alone = {k: (v[1:2, p][:, :, p] if k == "bonds" else v[1:2, p]) for k, v in state.items()}
    other = model.denoiser(alone, 0.4)[0]
    close = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(
        other["positions"].velocity, belief["positions"].velocity[1:2, :n][:, p], **close
    )
    for name in ("elements", "charges"):
        torch.testing.assert_close(other[name].logits, belief[name].logits[1:2, :n][:, p], **close)
    bonds = belief["bonds"].logits[1:2, :n, :n]
    torch.testing.assert_close(other["bonds"].logits, bonds[:, p][:, :, p], **close)
    torch.testing.assert_close(bonds, bonds.transpose(1, 2), **close)


def test_atoms_in_one_place_have_finite_gradients(model: lv.Model, noisy: Any) -> None:
    state, mask = noisy
    x = torch.zeros_like(state["positions"]).requires_grad_()
    out = model.network({**state, "positions": x}, 0.4, {}, mask)
    sum(part.square().sum() for part in out.values()).backward()
    assert x.grad is not None and x.grad.isfinite().all()
    model.network.zero_grad()


def test_it_draws_and_its_folder_comes_back(model: lv.Model, tmp_path: Any) -> None:
    one = build_model({"modality": {"name": "molecule"}, "network": EGNN}, 1)
    drawn = one.sample(3, atoms=6, steps=3)
    assert drawn.state["positions"].isfinite().all()
    one.save(tmp_path / "model")
    again = lv.load(str(tmp_path / "model"), device="cpu")
    assert type(again.network.backbone).__name__ == "EGNN"
    assert "positions" not in again.network.embed_in and "positions" not in again.network.heads


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_it_learns_eight_molecules(mols: list[Chem.Mol], optimizer: str) -> None:
    class Eight(list):
        lengths: Any

        def batch(self, indices: Any) -> Any:
            return [self[i] for i in indices], {}

    data = Eight(of_mol(mol) for mol in mols)
    data.lengths = [len(m) for m in data]
    node = {"name": "molecule", "sizes": {str(len(m)): 1 for m in data}}
    objective = {"times": {"name": "stratified"}, "independent": 0.25}
    one = build_model({"modality": node, "network": EGNN, "objective": objective}, seed=0)
    trainer = Trainer(
        one, data, Settings(steps=200, batch=8, lr=4e-3, warmup=10, log=20, optimizer=optimizer)
    )
    lines: list[Any] = []
    train(trainer, lines.append)
    assert lines[-1].loss < 0.7 * lines[0].loss


def test_a_picture_has_no_points() -> None:
    picture = {"name": "image", "codec": {"name": "pixels", "size": 8}, "patch": 4}
    with pytest.raises((BuildError, ValueError), match="EGNN moves points in space"):
        build_model({"modality": picture, "network": {"name": "egnn", "width": 8, "depth": 1}})
    with pytest.raises((BuildError, ValueError), match="37 features of pairs|both or neither"):
        build_model({"modality": {"name": "molecule"}, "network": {"name": "egnn", "width": 8, "depth": 1}})
