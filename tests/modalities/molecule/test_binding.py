"""Ligands in pockets: the pocket is given, its kinds are never drawn, and nothing tells where the true ligand lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from langevin.assembly import build_model
from langevin.core.model import Model
from langevin.core.parts import clocks, unknown_of
from langevin.core.rng import Stream
from langevin.modalities.molecule.atoms import Atoms
from langevin.modalities.molecule.binding import KINDS, Placed, PocketModality, kinds
from langevin.modalities.molecule.binding_data import PocketDataset, defaults, open_pockets
from langevin.modalities.molecule.complexes import Complex
from langevin.modalities.molecule.pockets import Pocket, read_pocket
from tests.modalities.molecule.pocket_files import ala, archive, hetero, write

SMALL = {
    "name": "dit",
    "width": 16,
    "depth": 2,
    "heads": 2,
    "axes": 0,
    "modulation": "shared",
    "pair_width": 8,
}
BENZAMIDE = ((6, 6, 6, 6, 6, 6, 6, 8, 7), ((0, 1, 2), (1, 2, 1), (2, 3, 2), (3, 4, 1), (4, 5, 2), (0, 5, 1), (5, 6, 1),
             (6, 7, 2), (6, 8, 1)))  # fmt: skip


def ligand(n: int = 9, seed: int = 0) -> Atoms:
    numbers, bonds = BENZAMIDE
    positions = np.random.default_rng(seed).normal(size=(9, 3)) + [0, 4.5, 0]
    inner = [row for row in bonds if max(row[:2]) < n]
    return Atoms(
        np.array(numbers[:n], np.uint8),
        positions[:n].astype(np.float32),
        np.zeros(n, np.int8),
        np.array(inner, np.int16).reshape(-1, 3),
    )


@pytest.fixture(scope="module")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> Pocket:
    names = ("ALA", "LYS", "ASP", "PHE", "GLY", "SER")
    lines = [line for k, name in enumerate(names) for line in ala(k, 3.8 * k - 9, residue=name)]
    lines += [hetero("ZN", "ZN", 301, 3, 3, 3, element="ZN"), hetero("O1", "XYZ", 302, -4, 3, 3)]
    path = write(tmp_path_factory.mktemp("pocket"), lines)
    return read_pocket(path, centre=(0, 4.5, 0), radius=12)


@pytest.fixture
def modality() -> PocketModality:
    return PocketModality(pocket_atoms=20, sizes={"10": {"3": 1}, "400": {"9": 3, "12": 1}})


def small(pocket: Pocket, **objective: Any) -> Model:
    data = PocketDataset([Complex("a", "a", pocket, ligand(k), 0, "train") for k in (9, 8, 7)], views=2)
    given: dict[str, Any] = {"network": SMALL, "modality": {"pocket_atoms": 20}}
    return build_model(defaults(data, {**given, "objective": objective} if objective else given))


def test_kinds_say_what_atoms_are(pocket: Pocket) -> None:
    found = dict(zip(zip((p.split(":")[1] for p in (pocket.places[k] for k in pocket.owners)), pocket.names),
                     (KINDS[k] for k in kinds(pocket))))  # fmt: skip
    assert found["ALA", "CA"] == "alpha C" and found["ALA", "N"] == "backbone N"
    assert found["ASP", "CB"] == "aliphatic C" and found["ZN", "ZN"] == "metal"
    assert found["XYZ", "O1"] == "cofactor O"
    names = ("CG", "OD1", "NZ", "SE", "QX")
    strange = replace(
        pocket,
        numbers=np.array([6, 8, 7, 34, 5], np.uint8),
        positions=np.zeros((5, 3), np.float32),
        residues=np.array([3, 3, 11, 12, 20], np.uint8),
        roles=np.full(5, 2, np.uint8),
        owners=np.zeros(5, np.int32),
        names=names,
    )
    told = [KINDS[k] for k in kinds(strange)]
    assert told == ["polar C", "carboxyl O", "amine N", "sulfur", "other"]


def test_what_is_encoded_comes_back(pocket: Pocket, modality: PocketModality) -> None:
    items = [Placed(pocket, ligand(9)), Placed(pocket, ligand(5, 1), pocket.centre + [1, 0, 0])]
    state, mask = modality.encode(items)
    assert mask is not None and mask.sum(1).tolist() == [29, 25]
    assert modality.of_pocket(state)[:, :20].all() and not modality.of_pocket(state)[:, 20:].any()
    for item, atoms in zip(items, modality.atoms(state, mask)):
        assert (atoms.numbers == item.ligand.numbers).all() and (atoms.charges == item.ligand.charges).all()
        assert sorted(map(tuple, atoms.bonds.tolist())) == sorted(map(tuple, item.ligand.bonds.tolist()))
        assert np.allclose(atoms.positions + modality.origin(item), item.ligand.positions, atol=1e-5)
    assert modality.decode(state, mask)[0].GetNumAtoms() == 9
    inside = state["bonds"][0, :20, :20]
    assert (inside == inside.T).all() and inside.sum() > 10  # covalent bonds of the pocket
    assert not state["bonds"][:, :20, 20:].any()


def test_nothing_tells_where_the_true_ligand_lies(pocket: Pocket, modality: PocketModality) -> None:
    true = ligand()
    moved = replace(true, positions=true.positions + np.float32([2.5, -1, 3]))
    rng, seen = Stream.of(0, 1), []
    for one in (true, moved):
        x, mask = modality.encode([Placed(pocket, one)])
        (part,) = modality.parts(x, rng, mask, 0.0)
        assert part.given is not None
        framed, _ = modality.framed(x, part.given, mask)
        for state in (part.x, framed):
            t = clocks(part.process, torch.ones(1), part.given, 1)
            seen.append((state, part.process.corrupt(state, t, rng.fold("corrupt"), mask=mask), mask))
    for (state, noised, mask), (other, same, _) in zip(seen[:2], seen[2:]):
        for name in noised:
            assert torch.equal(noised[name], same[name]), name
            assert torch.equal(state[name][:, :20], other[name][:, :20]), name
        assert torch.equal(modality.tokens(noised, mask).pair, modality.tokens(same, mask).pair)


def test_a_turned_and_shifted_complex_is_turned_in_the_state(
    pocket: Pocket, modality: PocketModality
) -> None:
    turn = Rotation.random(random_state=0).as_matrix()

    def carried(x: Any) -> Any:
        return (np.asarray(x, np.float64) @ turn.T + [30, -20, 10]).astype(np.float32)

    other = replace(pocket, positions=carried(pocket.positions), centre=carried(pocket.centre))
    one, two = ligand(), replace(ligand(), positions=carried(ligand().positions))
    a, mask = modality.encode([Placed(pocket, one)])
    b, _ = modality.encode([Placed(other, two)])
    assert torch.allclose(a["positions"] @ torch.from_numpy(turn.T).float(), b["positions"], atol=1e-4)
    for name in ("elements", "charges", "bonds"):
        assert torch.equal(a[name], b[name])
    near = modality.tokens(a, mask).pair, modality.tokens(b, mask).pair
    assert torch.allclose(*near, atol=1e-4)


def test_coupling_keeps_the_pocket_in_place_and_orders_the_ligand(
    pocket: Pocket, modality: PocketModality
) -> None:
    x, mask = modality.encode([Placed(pocket, ligand())])
    rng = Stream.of(1, 1)
    (part,) = modality.parts(x, rng, mask, 0.0)
    noise = part.process.prior(x, rng, mask)
    y = modality.couple(x, noise, rng, mask, part.given)
    assert torch.equal(y["elements"][:, :20], x["elements"][:, :20])
    lengths = [s["positions"][0, :20].norm(dim=-1) for s in (x, y)]
    assert torch.allclose(*lengths, atol=1e-5)  # a rotation about the pocket's centre
    order = torch.cdist(y["positions"], x["positions"].new_zeros(1, 1, 3)).flatten()[20:]
    assert torch.allclose(order.sort()[0], x["positions"][0, 20:].norm(dim=-1).sort()[0], atol=1e-5)
    cost = (y["positions"] - noise["positions"])[0, 20:].square().sum()
    swapped = y["positions"][0, 20:].roll(1, 0)
    assert cost <= (swapped - noise["positions"][0, 20:]).square().sum()
    with pytest.raises(ValueError, match="objective.given must be above 0"):
        modality.couple(x, noise, rng, mask)


def test_kinds_of_the_pocket_have_no_probability_and_losses_are_finite(pocket: Pocket) -> None:
    model = small(pocket)
    modality: Any = model.modality
    x, mask = modality.encode([Placed(pocket, ligand()), Placed(pocket, ligand(4))])
    rng = Stream.of(0, 2)
    (part,) = modality.parts(x, rng, mask, 1.0)
    t = clocks(part.process, torch.tensor([0.7, 1.0]), part.given, 2)
    noised = part.process.corrupt(x, t, rng, mask=mask)
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    belief, _ = model.denoiser(noised, t, {}, mask)
    share = belief["elements"].probabilities  # type: ignore[index, union-attr]
    own = ~modality.of_pocket(noised) & mask
    assert (share[own][:, len(modality.elements) :] == 0).all()
    across = modality.of_pocket(x)[:, :, None] ^ modality.of_pocket(x)[:, None]
    assert (belief["bonds"].probabilities[across][:, 0] == 1).all()  # type: ignore[index, union-attr]
    unknown = unknown_of(part.process, x, part.given, mask)
    losses = part.process.loss(belief, x, noised, t, rng, {}, unknown)
    assert all(torch.isfinite(loss).all() for loss in losses.values())
    drawn = part.process.leaves["elements"].update(
        torch.full_like(x["elements"], len(modality.elements) + len(KINDS)), belief["elements"], 1.0, 0.0, rng
    )  # fmt: skip
    assert (drawn[own] < len(modality.elements)).all()


def test_a_model_trains_and_its_loss_has_gradients(pocket: Pocket) -> None:
    model = small(pocket)
    items = [Placed(pocket, ligand(k)) for k in (9, 8, 7, 1)]
    each, parts = model.loss(items, {}, Stream.of(0, 4))
    each.mean().backward()
    grads = [p.grad for p in model.network.parameters() if p.grad is not None]
    assert torch.isfinite(each).all() and all(torch.isfinite(g).all() for g in grads)
    assert set(parts) == {"positions", "elements", "charges", "bonds"}


def test_parts_give_the_pocket_always_and_fragments_in_a_share(
    pocket: Pocket, modality: PocketModality
) -> None:
    x, mask = modality.encode([Placed(pocket, ligand())] * 200)
    assert mask is not None
    (part,) = modality.parts(x, Stream.of(0, 200), mask, 0.4)
    assert part.given is not None
    atoms = part.given["positions"]
    assert atoms[:, :20].all()
    count = atoms[:, 20:].sum(1)
    assert 0.3 < (count > 0).float().mean() < 0.5 and count.max() < 9
    bonds = part.given["bonds"]
    assert bonds[:, :20].all() and torch.equal(bonds.diagonal(dim1=1, dim2=2), atoms)


def test_sizes_follow_the_size_of_the_pocket(pocket: Pocket, modality: PocketModality) -> None:
    rng = Stream.of(0, 400)
    found = modality.size(pocket, rng)  # more than 10 atoms, fewer than 400
    assert set(found) == {9, 12} and 0.65 < found.count(9) / 400 < 0.85
    assert modality.size(pocket, rng)[:7] == modality.size(pocket, Stream.of(0, 7))


def test_what_has_no_state_is_refused(pocket: Pocket, modality: PocketModality) -> None:
    nothing = replace(pocket, positions=np.zeros((0, 3), np.float32), numbers=np.zeros(0, np.uint8))
    broken = replace(pocket, positions=np.full_like(pocket.positions, np.nan))
    heavy = ligand()
    uranium = replace(heavy, numbers=np.array([92, *heavy.numbers[1:]], np.uint8))
    long = Atoms(np.full(65, 6, np.uint8), np.random.default_rng(0).normal(size=(65, 3)).astype(np.float32),
                 np.zeros(65, np.int8), np.zeros((0, 3), np.int16))  # fmt: skip
    for item, message in (
        (Placed(nothing, heavy), "pocket of item 0 has no atoms"),
        (Placed(broken, heavy), "not finite"),
        (Placed(pocket, uranium), r"molecule 0 has atoms of numbers \[92\]; this model knows B, C"),
        (Placed(pocket, long), "65 heavy atoms; at most 64"),
        (heavy, "item 0 is a Atoms; a ligand with its pocket is wanted"),
    ):
        with pytest.raises(ValueError, match=message):
            modality.encode([item])
    with pytest.raises(ValueError, match="pocket_atoms must be at least 1"):
        PocketModality(pocket_atoms=0)


def test_views_of_a_complex_differ_by_less_than_the_jitter(pocket: Pocket) -> None:
    items = [Complex("a", "a", pocket, ligand(), 0, "train")]
    data = PocketDataset(items, views=50, jitter=1.5)
    away = np.array([np.linalg.norm(data[k].around - pocket.centre) for k in range(50)])
    assert len(data) == 50 == len(data.lengths) and away.max() <= 1.5 and 0.9 < away.mean() < 1.3
    again = PocketDataset(items, views=50, jitter=1.5)
    assert all(np.array_equal(data[k].around, again[k].around) for k in range(50))  # type: ignore[arg-type]
    for wrong in ({"views": 0}, {"jitter": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PocketDataset(items, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no complexes"):
        PocketDataset([])


def test_the_shared_complexes_can_be_encoded(tmp_path: Path) -> None:
    data = open_pockets(archive(), "validation")
    model = build_model(defaults(data, {"network": SMALL}))
    chosen = list(range(0, len(data), max(1, len(data) // 8)))
    state, mask = model.modality.encode(data.batch(chosen)[0])
    assert mask is not None and float(state["positions"][mask].abs().max()) < 12  # type: ignore[index]
    for item, atoms in zip(data.batch(chosen)[0], model.modality.atoms(state, mask)):
        assert (atoms.numbers == item.ligand.numbers).all()
    assert model.save(tmp_path / "m").is_dir()
    assert Model.load(tmp_path / "m").modality.histograms == model.modality.histograms
