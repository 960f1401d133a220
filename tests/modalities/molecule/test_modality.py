from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

import langevin as lv
from langevin.assembly import build_model
from langevin.core import so3
from langevin.core.registry import BuildError
from langevin.modalities.molecule.alignment import aligned, kabsch, ordered
from langevin.modalities.molecule.atoms import of_mol
from langevin.modalities.molecule.modality import MoleculeModality, make

NETWORK = {"name": "dit", "width": 32, "depth": 2, "heads": 4, "axes": 0, "pair_width": 8}


def smiles(mol: Any) -> str:
    assert not isinstance(mol, lv.Failure), mol.reason
    return Chem.MolToSmiles(mol)


def turned(state: dict[str, torch.Tensor], rotation: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**state, "positions": state["positions"] @ rotation.mT}


@pytest.fixture(scope="module")
def model() -> lv.Model:
    node = {"name": "molecule", "sizes": {"3": 1, "7": 2, "12": 1}}
    model = build_model({"modality": node, "network": NETWORK, "sampling": {"steps": 4}}, seed=1)
    with torch.no_grad():  # a new network has zeros at its ends, which would hide what flows through it
        for p in model.network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.manual_seed(p.numel())))
    return model


def test_molecules_come_back_as_they_were(mols: list[Chem.Mol]) -> None:
    modality = MoleculeModality()
    state, mask = modality.encode(mols)
    assert isinstance(state, dict) and mask is not None
    assert state["positions"].shape == (len(mols), 19, 3) and state["bonds"].shape == (len(mols), 19, 19)
    torch.testing.assert_close(state["bonds"], state["bonds"].mT)
    assert mask.sum(1).tolist() == [mol.GetNumAtoms() for mol in mols]
    for mol, again in zip(mols, modality.decode(state, mask)):
        assert smiles(again) == smiles(mol)
        where, there = (m.GetConformer().GetPositions() for m in (mol, again))
        np.testing.assert_allclose(there, where - where.mean(0), atol=1e-4)


def test_hydrogens_can_be_left_implicit(mols: list[Chem.Mol]) -> None:
    modality = MoleculeModality(elements=("C", "N", "O"), hydrogens=False)
    state, mask = modality.encode(mols)
    for mol, again in zip(mols, modality.decode(state, mask)):
        assert smiles(again) == smiles(Chem.RemoveHs(mol))


def test_what_has_no_state_is_named(mols: list[Chem.Mol]) -> None:
    with pytest.raises(ValueError, match=r"molecule 0 has atoms of numbers \[8\]; this model knows H, C, N"):
        MoleculeModality(elements=("H", "C", "N")).encode(mols)
    with pytest.raises(
        ValueError, match=r"molecule 5 has formal charges \[-1, 1\]; this model knows \[0, 2\]"
    ):
        MoleculeModality(charges=(0, 2)).encode(mols)
    with pytest.raises(ValueError, match="molecule 0 has no conformer"):
        MoleculeModality().encode([Chem.MolFromSmiles("C")])
    with pytest.raises(ValueError, match=r"unknown element 'Cx'"):
        make({"elements": ["C", "Cx"]})


def test_a_state_that_is_no_molecule_is_a_failure_with_its_reason() -> None:
    state, mask = MoleculeModality().blank(range(2), lv.Stream.of(0, 2), {}, None)
    state["elements"][1] = 1
    state["bonds"][1, 0, 1:6] = state["bonds"][1, 1:6, 0] = 1  # a carbon with five bonds
    state["positions"] = torch.randn(state["positions"].shape)
    good, bad = MoleculeModality().decode(state, mask)
    assert good.GetNumAtoms() == 18 and isinstance(bad, lv.Failure)
    assert "valence" in bad.reason


def test_kabsch_finds_the_rotation() -> None:
    rng = lv.Stream.of(0, 5)
    x = rng.fold("x").normal((5, 7, 3), torch.float64)
    r = so3.uniform(torch.zeros(5, 3, 3, dtype=torch.float64), rng)
    found = kabsch(x, x @ r.mT)
    torch.testing.assert_close(found, r)
    mirrored = kabsch(x, x * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    torch.testing.assert_close(torch.det(mirrored), torch.ones(5, dtype=torch.float64))


def test_atoms_are_ordered_with_everything_they_have(mols: list[Chem.Mol]) -> None:
    modality = MoleculeModality()
    state, mask = modality.encode(mols)
    assert isinstance(state, dict) and mask is not None
    place = torch.arange(19).repeat(len(mols), 1)
    for row, n in enumerate(mask.sum(1).tolist()):
        place[row, :n] = torch.randperm(n, generator=torch.manual_seed(row))
    aim = torch.stack([x[p] for x, p in zip(state["positions"], place)])
    out = ordered(state, aim, mask)
    torch.testing.assert_close(out["positions"], aim)
    for made, mol in zip(modality.decode(out, mask), mols):
        assert smiles(made) == smiles(mol)


def test_molecules_are_moved_to_their_noise_and_stay_themselves(mols: list[Chem.Mol]) -> None:
    modality, rng = MoleculeModality(), lv.Stream.of(3, len(mols))
    state, mask = modality.encode(mols)
    noise = modality.process.prior(state, rng, mask)
    out = aligned(state, noise, rng, mask)
    assert isinstance(state, dict) and isinstance(noise, dict)
    for made, mol in zip(modality.decode(out, mask), mols):
        assert smiles(made) == smiles(mol)  # with its R, S, E and Z: no reflection

    def gap(x: dict[str, torch.Tensor]) -> torch.Tensor:
        return (x["positions"] - noise["positions"]).square().sum((1, 2))

    assert (gap(out) <= gap(state) + 1e-4).all() and gap(out).sum() < 0.7 * gap(state).sum()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(aligned(state, noise, rng, mask)["positions"], out["positions"])


def test_the_loss_meets_the_noise_that_the_molecules_were_moved_to(
    model: lv.Model, mols: list[Chem.Mol], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def couple(x: Any, noise: Any, *_: Any) -> Any:
        seen.append(noise)
        return x

    monkeypatch.setattr(model.modality, "couple", couple)
    real = model.process.corrupt
    monkeypatch.setattr(
        model.process,
        "corrupt",
        lambda x, t, rng, mask: seen.append((x, t, real(x, t, rng, mask=mask))) or seen[-1][2],
    )
    model.loss(mols, {}, lv.Stream.of(0, len(mols)))
    noise, (x, t, x_t) = seen
    t = t[:, None, None]
    torch.testing.assert_close(x_t["positions"], (1 - t) * x["positions"] + t * noise["positions"])


def test_the_order_of_atoms_and_padding_change_nothing(model: lv.Model, mols: list[Chem.Mol]) -> None:
    state, mask = model.modality.encode(mols[:3])
    alone, alone_mask = model.modality.encode(mols[1:2])
    belief = model.denoiser(state, 0.5, mask=mask)[0]
    lone = model.denoiser(alone, 0.5, mask=alone_mask)[0]
    n = mols[1].GetNumAtoms()
    torch.testing.assert_close(belief["positions"].x[1, :n], lone["positions"].x[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        belief["bonds"].logits[1, :n, :n], lone["bonds"].logits[0], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(belief["bonds"].logits, belief["bonds"].logits.transpose(1, 2))
    p = torch.randperm(n, generator=torch.manual_seed(0))
    shuffled = {k: (v[:, p][:, :, p] if k == "bonds" else v[:, p]) for k, v in alone.items()}
    other = model.denoiser(shuffled, 0.5)[0]
    torch.testing.assert_close(other["elements"].logits, lone["elements"].logits[:, p], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        other["bonds"].logits, lone["bonds"].logits[:, p][:, :, p], atol=1e-5, rtol=1e-4
    )


def test_the_pull_turns_with_the_molecule(model: lv.Model, mols: list[Chem.Mol]) -> None:
    state, mask = model.modality.encode(mols)
    assert isinstance(state, dict)
    rng = lv.Stream.of(0, len(mols))
    r = so3.uniform(torch.zeros(len(mols), 3, 3), rng)
    n = state["positions"].shape[1]
    values = {"positions": torch.zeros_like(state["positions"]), "pull": rng.normal((len(mols), n, n, 1))}
    values |= {name: torch.zeros(1) for name in ("elements", "charges", "bonds")}
    there = model.modality.untokens(values, turned(state, r))["positions"]
    here = model.modality.untokens(values, state)["positions"] @ r.mT
    torch.testing.assert_close(there, here, atol=1e-5, rtol=1e-4)
    pairs = (model.modality.tokens(s, mask).pair for s in (state, turned(state, r)))
    torch.testing.assert_close(*pairs, atol=1e-4, rtol=1e-4)


def test_sizes_are_drawn_or_asked_for(model: lv.Model) -> None:
    _, mask = model.modality.blank(range(4000), lv.Stream.of(0, 4000), {}, None)
    sizes, counts = mask.sum(1).unique(return_counts=True)
    assert sizes.tolist() == [3, 7, 12]
    torch.testing.assert_close(counts / 4000, torch.tensor([0.25, 0.5, 0.25]), atol=0.03, rtol=0)
    assert model.sample(2, atoms=5).mask.sum(1).tolist() == [5, 5]
    with pytest.raises(ValueError, match="atoms must be at least 1"):
        model.sample(1, atoms=0)


def test_sample_i_of_a_seed_does_not_depend_on_the_batch(model: lv.Model) -> None:
    whole, parts = model.sample(6, seed=2), model.sample(6, seed=2, batch_size=2)
    for a, b in zip(
        model.modality.atoms(whole.state, whole.mask), model.modality.atoms(parts.state, parts.mask)
    ):
        np.testing.assert_array_equal(a.numbers, b.numbers)
        np.testing.assert_array_equal(a.bonds, b.bonds)
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-4)


def test_kept_atoms_stay_with_their_bonds(model: lv.Model, mols: list[Chem.Mol]) -> None:
    drawn = model.sample(3, like=mols[1], keep=lv.keep.elements(0, 1, 2), steps=3)
    given, _ = model.modality.encode([mols[1]])
    for name in ("elements", "charges"):
        assert (drawn.state[name][:, :3] == given[name][:, :3]).all()
    assert (drawn.state["bonds"][:, :3, :3] == given["bonds"][:, :3, :3]).all()
    torch.testing.assert_close(drawn.state["positions"][:, :3], given["positions"][:, :3].expand(3, -1, -1))


def test_it_learns_eight_molecules(mols: list[Chem.Mol], tmp_path: Any) -> None:
    class Eight(list):
        def batch(self, indices: Any) -> Any:
            return [self[i] for i in indices], {}

    data = Eight(of_mol(mol) for mol in mols)
    from langevin.core.training.trainer import Settings, Trainer, train

    node = {"name": "molecule", "sizes": {str(len(m)): 1 for m in data}}
    objective = {"times": {"name": "stratified"}, "independent": 0.25}
    model = build_model({"modality": node, "network": NETWORK, "objective": objective}, seed=0)
    trainer = Trainer(model, data, Settings(steps=300, batch=16, lr=5e-3, warmup=10, log=50))
    lines: list[Any] = []
    train(trainer, lines.append)
    assert lines[-1].loss < 0.7 * lines[0].loss


def test_the_model_says_how_classes_are_drawn_and_where_steps_are(model: lv.Model) -> None:
    node, tree = {"name": "molecule"}, {"sampling": {"steps": 6, "grid": "uniform", "temperature": 0.5}}
    own = build_model({"modality": node, "network": NETWORK, **tree}, seed=1)
    own.network.load_state_dict(model.network.state_dict())
    asked = model.sample(3, temperature=0.5, grid=lv.grids.uniform(6), atoms=8)
    drawn = own.sample(3, atoms=8)
    assert torch.equal(drawn.state["bonds"], asked.state["bonds"])
    assert torch.equal(drawn.state["positions"], asked.state["positions"])
    assert drawn.manifest()["options"]["temperature"] == 0.5
    other = own.sample(3, atoms=8, temperature=3.0)
    assert not torch.equal(other.state["bonds"], drawn.state["bonds"])
    guided = own.sample(3, atoms=8, guidance=lv.guidance.temperature(1.0))  # the model's own goes around it
    assert torch.equal(guided.state["bonds"], drawn.state["bonds"])
    for wrong in ({"temperature": 0}, {"temperature": "x"}, {"grid": "nowhere"}):
        with pytest.raises(BuildError, match=r"sampling: .*(temperature|grid)"):
            build_model({"modality": node, "network": NETWORK, "sampling": wrong})
    picture = {"name": "image", "codec": {"name": "pixels", "size": 8}, "patch": 4}
    dit = {"name": "dit", "width": 16, "depth": 1, "heads": 2}
    with pytest.raises(ValueError, match="temperature is that of draws of classes"):
        build_model({"modality": picture, "network": dit}).sample(1, temperature=0.5)


def test_the_code_of_a_report_says_at_what_temperature_classes_are_drawn(model: lv.Model) -> None:
    from langevin.modalities.recipes import recipe

    for tau, said in ((0.5, "temperature=0.5"), ({"bonds": 0.3}, "temperature={'bonds': 0.3}")):
        assert said in recipe(model.sample(1, atoms=3, temperature=tau))[0]
    assert "temperature" not in recipe(model.sample(1, atoms=3))[0]


def test_classes_lag_behind_positions(model: lv.Model, mols: list[Chem.Mol]) -> None:
    times = lv.grids.lagged([1.0, 0.8, 0.6, 0.3, 0.0], {"bonds": 0.6}, model.process)
    assert [t["bonds"] for t in times] == [1.0, 1.0, 1.0, 0.5, 0.0]
    assert [t["elements"] for t in times] == [1.0, 0.8, 0.6, 0.3, 0.0]
    seen: list[Any] = []
    drawn = model.sample(
        2, atoms=5, lag={"bonds": 0.5}, steps=4, watch=lambda step: seen.append(step.x["bonds"])
    )
    assert (seen[1][:, 0, 1] == 4).all() and (
        seen[-1] < 4
    ).all()  # hidden at the common time 0.5, drawn at the end
    assert drawn.manifest()["options"]["lag"] == {"bonds": 0.5}
    own = build_model(
        {"modality": {"name": "molecule"}, "network": NETWORK, "sampling": {"lag": {"bonds": 0.5}}}, seed=1
    )
    own.network.load_state_dict(model.network.state_dict())
    assert torch.equal(
        own.sample(2, atoms=5, steps=4, grid="uniform").state["bonds"],
        model.sample(2, atoms=5, lag={"bonds": 0.5}, steps=4, grid="uniform").state["bonds"],
    )
    plain = own.sample(2, atoms=5, steps=4, lag={}, grid="uniform")
    assert torch.equal(plain.state["bonds"], model.sample(2, atoms=5, steps=4, grid="uniform").state["bonds"])
    from langevin.modalities.recipes import recipe

    assert "lag={'bonds': 0.5}" in recipe(drawn)[0]
    near = model.vary(mols[1], 0.5, n=1, lag={"bonds": 0.6})
    assert len(near) == 1
    for wrong, says in (
        ({"bond": 0.5}, "unknown leaf of lag 'bond'"),
        ({"bonds": 0.0}, r"must lie in \(0, 1\]"),
    ):
        with pytest.raises(ValueError, match=says):
            model.sample(1, atoms=3, lag=wrong)
        with pytest.raises(BuildError, match=says):
            build_model({"modality": {"name": "molecule"}, "network": NETWORK, "sampling": {"lag": wrong}})


def test_variations_begin_with_noise_that_lies_near_their_origin(
    model: lv.Model, mols: list[Chem.Mol]
) -> None:
    state, mask = model.modality.encode(mols)
    assert isinstance(state, dict) and mask is not None
    rng = lv.Stream.of(5, len(mols))
    noisy = model.modality.noised(state, 0.4, rng, mask)
    plain = model.process.corrupt(state, 0.4, rng, mask=mask)
    assert isinstance(noisy, dict) and isinstance(plain, dict)
    assert torch.equal(noisy["bonds"], plain["bonds"]) and not noisy["positions"][~mask].any()

    def noise(x: dict[str, torch.Tensor]) -> torch.Tensor:
        return (x["positions"] - 0.6 * state["positions"]) / 0.4

    def gap(eps: torch.Tensor) -> torch.Tensor:
        return (eps - state["positions"]).square().sum((1, 2))

    lengths = [n.norm(dim=-1).sort(1).values for n in (noise(noisy), noise(plain))]
    torch.testing.assert_close(*lengths, atol=1e-4, rtol=0)  # the same noise, moved
    assert (gap(noise(noisy)) <= gap(noise(plain)) + 1e-3).all()
    assert gap(noise(noisy)).sum() < 0.7 * gap(noise(plain)).sum()
    torch.testing.assert_close(model.modality.noised(state, 0.0, rng, mask)["positions"], state["positions"])
