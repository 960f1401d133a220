"""Side chains from torsions: ideal geometry, there and back, real chains, and the modality that draws them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from langevin.assembly import build_model
from langevin.core import keep, so3
from langevin.core.processes.torus import wrap
from langevin.core.rng import Stream
from langevin.modalities.plugins import modality_of, plugin
from langevin.modalities.protein.archives import read_archive
from langevin.modalities.protein.data import open_data
from langevin.modalities.protein.files import write
from langevin.modalities.protein.protein import ALPHABET, THREE, UNKNOWN, Protein, of_structure
from langevin.modalities.protein.rigid import frames_of, ideal_atoms
from langevin.modalities.protein.sidechain_modality import make
from langevin.modalities.protein.sidechains import (
    NAMES,
    TORSIONS,
    atoms_of,
    defined,
    periods,
    side_chains,
    torsions_of,
    turned_by,
)
from langevin.modalities.residues import SIDE_CHAINS
from tests.modalities.protein.backbones import HELIX, STRAND, protein
from tests.modalities.protein.chains import shared

ALL = torch.arange(20)
BACKBONE = keep.leaves("positions", "frames", "residues", "secondary")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Angles from −π to π."""
    made = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (made * 2 - 1) * math.pi


def built(types: Tensor, torsions: Tensor) -> list[dict[str, np.ndarray]]:
    """All atoms of residues of these types by name, each in its own frame."""
    turns, ca = torch.eye(3).double().expand(len(types), 3, 3), torch.zeros(len(types), 3).double()
    atoms, there = atoms_of(turns, ca, types, torsions)
    assert there.sum(1).tolist() == [len(NAMES[k]) for k in types.tolist()]
    whole = torch.cat([ideal_atoms(turns, ca), atoms], 1).numpy()
    return [dict(zip(("N", "CA", "C", *NAMES[k]), xyz)) for k, xyz in zip(types.tolist(), whole, strict=True)]


def dressed(item: Protein, torsions: Tensor) -> Protein:
    """A protein with side chains of these torsions, and the oxygens that it has."""
    types = torch.from_numpy(item.types)
    atoms, _ = atoms_of(*frames_of(torch.from_numpy(item.backbone).double()), types, torsions)
    return replace(item, side=side_chains(atoms, types))


def length(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b))


def angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    u, v = a - b, c - b
    return math.degrees(math.acos(float(u @ v) / length(a, b) / length(c, b)))


def torsion(*points: np.ndarray) -> float:
    """Degrees, by projection on the plane across the axis."""
    a, b, c, d = points
    axis = (c - b) / length(b, c)
    u, v = (w - (w @ axis) * axis for w in (a - b, d - c))
    return math.degrees(math.atan2(float(np.cross(axis, u) @ v), float(u @ v)))


class TestGeometry:
    def test_every_residue_has_the_atoms_that_it_should(self) -> None:
        for k, letter in enumerate(ALPHABET):
            assert NAMES[k] == ("O", *SIDE_CHAINS[THREE[letter]])
        counts = dict(zip(ALPHABET, (defined(ALL).sum(1) - 1).tolist()))
        one, none = "CSTV", "AG"
        three, four = "EQM", "RK"
        for letter in ALPHABET:
            wanted = (
                1
                if letter in one
                else 0
                if letter in none
                else 3
                if letter in three
                else 4
                if letter in four
                else 2
            )
            assert counts[letter] == wanted, letter
        assert defined(torch.tensor([UNKNOWN])).tolist() == [[True, False, False, False, False]]

    @pytest.mark.parametrize("seed", [0, 1])
    def test_lengths_and_angles_are_those_of_the_table_whatever_the_torsions(self, seed: int) -> None:
        from Bio.PDB.ic_data import ic_data_sidechains
        from Bio.PDB.PICIO import read_PIC_seq
        from Bio.Seq import Seq
        from Bio.SeqRecord import SeqRecord

        structure = read_PIC_seq(SeqRecord(Seq(ALPHABET), id="x"))
        checked = 0
        for k, (atoms, residue) in enumerate(
            zip(built(ALL, drawn(20, 5, seed=seed)), structure.get_residues())
        ):
            table = residue.internal_coord
            rows = [row for row in ic_data_sidechains.get(ALPHABET[k], ()) if len(row) == 3]
            for a, b, c in [("N", "CA", "CB"), ("C", "CA", "CB"), *rows]:
                if c in atoms:
                    wanted = table.get_angle(f"{a}:{b}:{c}") or table.get_angle(f"{c}:{b}:{a}")
                    assert angle(atoms[a], atoms[b], atoms[c]) == pytest.approx(wanted, abs=0.01)
                    assert length(atoms[b], atoms[c]) == pytest.approx(table.get_length(f"{b}:{c}"), abs=1e-4)
                    checked += 1
        assert checked == 106

    def test_residues_are_l(self) -> None:
        for k, atoms in enumerate(built(ALL, drawn(20, 5))):
            if ALPHABET[k] != "G":  # seen with HA towards the eye, CO, R and N follow each other clockwise
                n, c, beta = (atoms[name] - atoms["CA"] for name in ("N", "C", "CB"))
                assert float(np.cross(n, c) @ beta) > 2

    @pytest.mark.parametrize(("letter", "first", "second", "turn"), [
        ("V", "CG1", "CG2", 120), ("I", "CG1", "CG2", -120), ("T", "OG1", "CG2", -120), ("L", "CD1", "CD2", 120),
    ])  # fmt: skip
    def test_branches_stand_on_their_side(self, letter: str, first: str, second: str, turn: int) -> None:
        (atoms,) = built(torch.tensor([ALPHABET.index(letter)]), drawn(1, 5))
        names = ("CA", "CB", "CG") if letter == "L" else ("N", "CA", "CB")
        axis = [atoms[name] for name in names]
        between = torsion(*axis, atoms[second]) - torsion(*axis, atoms[first]) - turn
        assert abs((between + 180) % 360 - 180) < 5

    def test_rings_are_flat_and_closed(self) -> None:
        for letter, bonds in (
            ("F", ("CZ", "CE2")),
            ("Y", ("CZ", "CE2")),
            ("H", ("CE1", "NE2")),
            ("W", ("NE1", "CE2")),
        ):
            (atoms,) = built(torch.tensor([ALPHABET.index(letter)]), drawn(1, 5))
            ring = np.array([xyz for name, xyz in atoms.items() if name not in ("N", "CA", "C", "O", "CB")])
            spread = np.linalg.svd(ring - ring.mean(0))[1]
            assert spread[2] < 0.08 and 1.25 < length(*(atoms[name] for name in bonds)) < 1.45, letter
        (atoms,) = built(
            torch.tensor([ALPHABET.index("P")]), torch.tensor([[2.5, -0.5, 0.65, 0, 0]]).double()
        )
        assert 1.38 < length(atoms["N"], atoms["CD"]) < 1.58
        (arginine,) = built(torch.tensor([ALPHABET.index("R")]), drawn(1, 5))
        assert abs(torsion(*(arginine[name] for name in ("CD", "NE", "CZ", "NH1")))) < 0.1

    def test_torsions_are_those_that_were_asked_for(self) -> None:
        asked = drawn(20, 5)
        quads = {
            "R": "N CA CB CG CD NE CZ",
            "K": "N CA CB CG CD CE NZ",
            "M": "N CA CB CG SD CE",
            "I": "N CA CB CG1 CD1",
        }
        for k, atoms in enumerate(built(ALL, asked)):
            psi = torsion(*(atoms[name] for name in ("N", "CA", "C", "O"))) + 180 - math.degrees(asked[k, 0])
            assert abs((psi + 180) % 360 - 180) < 1e-6
            names = quads.get(ALPHABET[k], "").split()
            for place in range(len(names) - 3):
                off = torsion(*(atoms[n] for n in names[place : place + 4])) - math.degrees(
                    asked[k, place + 1]
                )
                assert abs((off + 180) % 360 - 180) < 1e-6

    def test_atoms_turn_with_their_frames(self) -> None:
        turn, shift = (
            so3.exp(torch.tensor([0.4, 1.0, -2.0])).double(),
            torch.tensor([3.0, -1.0, 7.0]).double(),
        )
        torsions, turns = drawn(20, 5), so3.exp(drawn(20, 3)).double()
        one, there = atoms_of(turns, torch.zeros(20, 3).double(), ALL, torsions)
        two, _ = atoms_of(turn @ turns, shift.expand(20, 3), ALL, torsions)
        assert torch.allclose(one[there] @ turn.T + shift, two[there], atol=1e-9)

    def test_batches_and_gradients(self) -> None:
        torsions = drawn(2, 20, 5).requires_grad_()
        frames = torch.eye(3).double().expand(2, 20, 3, 3)
        atoms, there = atoms_of(frames, torch.zeros(2, 20, 3).double(), ALL.expand(2, 20), torsions)
        (atoms * there[..., None]).square().sum().backward()
        moved = torsions.grad != 0
        assert not moved[~defined(ALL).expand(2, 20, 5)].any()
        assert torch.isfinite(torsions.grad).all() and moved[:, ALPHABET.index("K"), 1:].all()


class TestThereAndBack:
    def test_torsions(self) -> None:
        item = protein(200, seed=3)
        asked = drawn(200, 5)
        found, there = torsions_of(dressed(item, asked))
        types = torch.from_numpy(item.types.astype(np.int64))
        assert torch.equal(there, defined(types))
        chis = there.clone()
        chis[:, 0] = False  # the oxygens are those of the backbone
        assert wrap(found - asked)[chis].abs().max() < 1e-4
        assert not found[~there].any()

    def test_psi_is_that_of_the_backbone(self) -> None:
        angles = [(-60.0, -45.0), (-120.0, 130.0), (-70.0, 179.0), (60.0, -179.5), (-100.0, 3.0)]
        found, there = torsions_of(protein(angles, "ACDEF"))
        assert there[:, 0].all()
        assert np.allclose(found[:, 0].rad2deg(), [psi for _, psi in angles], atol=0.01)

    def test_what_is_missing_is_told(self) -> None:
        bare = protein(3 * [HELIX], "KAG")
        bare = replace(bare, types=np.array([*bare.types[:2], UNKNOWN], np.int8))
        whole = dressed(bare, drawn(3, 5))
        assert whole.side is not None
        assert whole.side.name.tolist() == ["CB", "CG", "CD", "CE", "NZ", "CB"]  # none of X
        cut = whole.side.name != "CE"
        side = replace(
            whole.side, residue=whole.side.residue[cut], name=whole.side.name[cut], xyz=whole.side.xyz[cut]
        )
        backbone = whole.backbone.copy()
        backbone[1, 3] = np.nan
        found, there = torsions_of(replace(whole, side=side, backbone=backbone))
        assert there.tolist() == [[True, True, True, False, False], [False] * 5, [True, *[False] * 4]]
        assert not found[~there].any()
        _, there = torsions_of(replace(whole, side=None))
        assert there.sum(1).tolist() == [1, 1, 1]

    def test_half_turns_exchange_names(self) -> None:
        for letter, k, one, two in (
            ("D", 2, "OD1", "OD2"),
            ("E", 3, "OE1", "OE2"),
            ("F", 2, "CD1", "CD2"),
            ("Y", 2, "CE1", "CE2"),
        ):
            kind, torsions = torch.tensor([ALPHABET.index(letter)]), drawn(1, 5)
            other = torsions.clone()
            other[0, k] += math.pi
            (a,), (b,) = built(kind, torsions), built(kind, other)
            assert max(length(a[one], b[two]), length(a[two], b[one])) < 0.1 < length(a[one], b[one])
            assert turned_by(torsions, other, kind).max() < 1e-6
            assert float(periods(kind)[0, k]) == pytest.approx(math.pi)
        assert (periods(ALL) < 6).sum() == 4

    def test_differences_are_the_shorter_way(self) -> None:
        kind = torch.tensor([ALPHABET.index("N")])
        one, two = torch.full((1, 5), 3.1), torch.full((1, 5), -3.1)
        assert turned_by(one, two, kind)[0].tolist() == pytest.approx([2 * math.pi - 6.2] * 5, abs=1e-5)


# Å, of the heavy atoms of side chains from those of 120 real chains, rebuilt on the frames of these from their torsions; the
# torsion χ5 of ARG, which is not always 0, and the long arms of TRP and TYR are what is furthest off
BARS = dict(zip("ACDEFHIKLMNPQRSTVWY", (
    0.12, 0.20, 0.25, 0.33, 0.34, 0.30, 0.23, 0.38, 0.27, 0.32, 0.25, 0.19, 0.32, 0.60, 0.16, 0.19, 0.18, 0.46, 0.43,
)))  # fmt: skip


def test_side_chains_of_real_chains_are_rebuilt() -> None:
    shared("sidechains.npz")
    archive = read_archive(shared(), sidechains=True)
    squares, count, oxygens = np.zeros(20), np.zeros(20), []
    for item in archive[0 : len(archive) : len(archive) // 120]:
        torsions, there = torsions_of(item)
        types = torch.from_numpy(item.types.astype(np.int64))
        atoms, _ = atoms_of(*frames_of(torch.from_numpy(item.backbone).double()), types, torsions.double())
        made = side_chains(atoms, types, (there == defined(types)).all(1))
        oxygens.append(np.square(atoms[:, 0].numpy() - item.backbone[:, 3]).sum(1))
        assert item.side is not None
        for k in np.unique(made.residue).tolist():
            own, new = item.side.of(k), made.of(k)
            off = [length(own[name], xyz) ** 2 for name, xyz in new.items() if name in own]
            squares[item.types[k]] += sum(off)
            count[item.types[k]] += len(off)
    off = dict(zip(ALPHABET, np.sqrt(squares / count.clip(1))))
    assert {letter for letter, bar in BARS.items() if not 0.03 < off[letter] < bar} == set(), off
    assert 0.03 < math.sqrt(np.concatenate(oxygens).mean()) < 0.12


def rotamers(item: Protein) -> Tensor:
    """The commonest rotamer: χ1 is −60°, the others 180°."""
    out = torch.full((len(item), 5), math.pi - 1e-3, dtype=torch.float64)
    out[:, 1] = -math.pi / 3
    return out


def chain(n: int = 20, seed: int = 0) -> Protein:
    item = protein(n, seed=seed)
    return dressed(item, drawn(n, 5, seed=seed))


def model(untrained: bool = True, **more: Any) -> Any:
    """A small network; untrained ones answer at random, for a new one answers 0."""
    torch.manual_seed(0)
    made = build_model(
        {
            "name": "tiny",
            "modality": {"name": "protein-sidechains", "sizes": {"12": 1}, "paired": False},
            "network": {
                "name": "ipa",
                "width": 32,
                "depth": 1,
                "heads": 2,
                "axes": 1,
                "modulation": "shared",
            },
            "parametrisation": {"positions": "velocity", "frames": "rate"},
            "objective": {"given": 0.8, "independent": 0.2},
            **more,
        }
    )
    for parameter in made.network.parameters() if untrained else ():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


class TestState:
    def test_there_and_back(self) -> None:
        modality, items = make({"pad": 16}), [chain(20), chain(12, seed=1)]
        state, mask = modality.encode(items)
        assert state["torsions"].shape == (2, 32, 5) and mask.sum(1).tolist() == [20, 12]
        there = torch.stack(
            [
                torch.nn.functional.pad(defined(torch.from_numpy(p.types)), (0, 0, 0, 32 - len(p)))
                for p in items
            ]
        )
        assert torch.equal(state["torsions"] != 0, there)
        for made, item in zip(modality.proteins(state, mask, close=False), items, strict=True):
            assert made.side is not None and item.side is not None
            assert made.side.name.tolist() == item.side.name.tolist()
            centred = item.side.xyz - item.backbone[:, 1].mean(0)
            assert np.abs(made.side.xyz - made.backbone[:, 1].mean(0) - centred).max() < 0.01
            oxygen = (
                made.backbone[-1, 3] - made.backbone[-1, 2] - (item.backbone[-1, 3] - item.backbone[-1, 2])
            )
            assert np.abs(oxygen).max() < 0.01  # ψ of the last residue, which nothing follows

    def test_residues_without_a_type_have_a_backbone_alone(self) -> None:
        modality = make({})
        state, mask = modality.encode([chain(12)])
        state["residues"][0, 3:] = UNKNOWN
        (made,) = modality.proteins(state, mask)
        assert set(made.side.residue.tolist()) <= {0, 1, 2} and np.isfinite(made.backbone).all()

    def test_a_torsion_of_0_is_told_from_none(self) -> None:
        state, _ = make({}).encode([dressed(protein(4 * [(-60.0, 0.0)], "KKKK"), torch.zeros(4, 5).double())])
        assert (state["torsions"] != 0).all() and state["torsions"].abs().max() < 1e-4

    def test_what_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="packing must be a share from 0 to 1, got 2"):
            make({"packing": 2})


class TestNoise:
    def test_what_is_not_there_is_noise_at_every_time_and_has_no_velocity(self) -> None:
        modality = make({})
        state, mask = modality.encode([chain(20)])
        key = Stream.of(0, 1)
        noise = modality.process.prior(state, key, mask)
        x = modality.couple(state, noise, key.fold("couple"), mask)
        none = state["torsions"] == 0
        for t in (0.1, 0.5, 1.0):
            x_t = modality.process.corrupt(x, t, key, mask=mask)["torsions"]
            assert wrap(x_t - noise["torsions"])[none].abs().max() < 1e-5
            assert wrap(x_t - noise["torsions"])[~none].abs().max() > 0.1 or t == 1.0
        started = modality.noised(state, 0.3, key, mask)["torsions"]
        assert wrap(started - noise["torsions"])[none].abs().max() < 1e-5

    def test_half_turns_are_those_nearer_to_the_noise(self) -> None:
        modality = make({})
        item = dressed(protein(60 * [HELIX], 15 * "DEFY"), drawn(60, 5))
        state, mask = modality.encode([item])
        noise = modality.process.prior(state, Stream.of(1, 1), mask)
        x = modality.couple(state, noise, Stream.of(2, 1), mask)["torsions"]
        half = (periods(state["residues"]) < 6) & (state["torsions"] != 0)
        assert wrap(x - noise["torsions"])[half].abs().max() <= math.pi / 2 + 1e-5
        moved = wrap(x - state["torsions"])[half].abs()
        assert ((moved < 1e-5) | ((moved - math.pi).abs() < 1e-5)).all() and 0.2 < (
            moved > 1
        ).float().mean() < 0.8
        same = (state["torsions"] != 0) & ~half
        assert torch.equal(x[same], state["torsions"][same])

    def test_what_a_seen_type_lacks_is_neither_shown_nor_asked(self) -> None:
        net = model()
        state, mask = net.modality.encode([chain(20)])
        noisy = net.process.prior(state, Stream.of(0, 1), mask)
        hidden, seen = noisy, {**noisy, "residues": state["residues"]}
        lacks = ~defined(state["residues"])
        with torch.no_grad():
            one, two = (net.network(x, torch.tensor([0.5]), {}, mask)["torsions"] for x in (seen, hidden))
        assert not one[lacks].any() and (one[~lacks] != 0).all() and (two != 0).all()
        shown = net.modality.tokens(seen, mask).values["torsions"].unflatten(-1, (2, 5)).abs().sum(-2)
        assert torch.equal(shown > 0, ~lacks)
        other = {**seen, "torsions": torch.where(lacks, seen["torsions"] + 1, seen["torsions"])}
        with torch.no_grad():
            assert torch.equal(one, net.network(other, torch.tensor([0.5]), {}, mask)["torsions"])

    def test_a_belief_of_types_is_taken_as_it_is(self) -> None:
        modality = make({})
        state, mask = modality.encode([chain(20)])
        sure = torch.nn.functional.one_hot(state["residues"], 20).float()
        one, two = (modality.tokens(x, mask).values["torsions"] for x in (state, {**state, "residues": sure}))
        assert torch.allclose(one, two)

    def test_parts(self) -> None:
        net = model(modality={"name": "protein-sidechains", "packing": 0.5, "paired": False})
        state, mask = net.modality.encode([chain(12)])
        many = {name: part.repeat(1000, *(1,) * (part.ndim - 1)) for name, part in state.items()}
        found = net.modality.parts(many, Stream.of(0, 1000), mask.repeat(1000, 1), 0.6)
        assert sorted(torch.cat([part.rows for part in found]).tolist()) == list(range(1000))
        packing, motif, rest = found
        assert len(packing.rows) / 1000 == pytest.approx(0.3, abs=0.05)
        assert "torsions" not in packing.given and all(there.all() for there in packing.given.values())
        assert torch.equal(motif.given["torsions"], motif.given["frames"]) and "torsions" not in rest.given
        shown = len(packing.rows) + len(motif.rows) + int(torch.stack(list(rest.given.values())).any(0).sum())
        assert shown / 1000 == pytest.approx(0.6, abs=0.05)

    def test_a_step_of_training(self) -> None:
        net = model()
        items = [chain(n, seed=n) for n in (10, 14, 30, 20)]
        total, by_leaf = net.loss(items, {}, Stream.of(0, 4))[:2]
        assert torch.isfinite(total).all() and (by_leaf["torsions"] > 0).all()
        total.mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in net.network.parameters() if p.grad is not None)


class TestVerbs:
    def test_packing_keeps_the_backbone(self) -> None:
        net, item = model(), chain(20)
        made = [of_structure(s) for s in net.sample(2, like=item, keep=BACKBONE, steps=3, seed=0)]
        for one in made:
            assert np.abs(one.backbone - item.backbone).max() < 2e-3 and one.sequence == item.sequence
            _, there = torsions_of(one)
            assert torch.equal(there, defined(torch.from_numpy(item.types)))
            betas = [k for k, letter in enumerate(item.sequence) if letter != "G"]
            assert max(length(one.side.of(k)["CB"], item.side.of(k)["CB"]) for k in betas) < 0.05
        assert np.abs(made[0].side.xyz - made[1].side.xyz).max() > 1

    def test_a_motif_keeps_its_atoms_and_the_rest_is_drawn(self) -> None:
        net, item = model(), chain(20)
        (structure,) = net.sample(1, like=item, keep=keep.elements(*range(5, 11)), steps=3, seed=0)
        made = of_structure(structure)
        motif, own = made[np.arange(5, 11)], item[np.arange(5, 11)]
        assert motif.side.name.tolist() == own.side.name.tolist()
        assert np.abs(motif.side.xyz - own.side.xyz).max() < 2e-3
        _, there = torsions_of(made)
        assert torch.equal(there, defined(torch.from_numpy(made.types)))

    def test_what_a_kept_residue_lacks_is_drawn(self) -> None:
        net = model()
        item = dressed(protein(12 * [STRAND], 12 * "K"), drawn(12, 5))
        cut = ~((item.side.name == "NZ") & (item.side.residue == 2))
        item = replace(
            item,
            side=replace(
                item.side, residue=item.side.residue[cut], name=item.side.name[cut], xyz=item.side.xyz[cut]
            ),
        )
        state, _ = net.modality.encode([item])
        chosen = net.modality.chosen(keep.elements(1, 2, 3), state)
        assert chosen["torsions"][0].nonzero()[:, 0].tolist() == [1, 3]
        (structure,) = net.sample(1, like=item, keep=keep.elements(1, 2, 3), steps=3, seed=0)
        made = of_structure(structure)
        assert "NZ" in made.side.of(2) and np.allclose(
            made.side.of(3)["NZ"], item.side.of(3)["NZ"], atol=2e-3
        )

    def test_new_proteins_have_side_chains(self) -> None:
        net = model()
        made = [of_structure(s) for s in net.sample(2, steps=3, seed=2)]
        again = [of_structure(s) for s in net.sample(2, steps=3, seed=2, batch_size=1)]
        for one, two in zip(made, again, strict=True):
            _, there = torsions_of(one)
            assert torch.equal(there, defined(torch.from_numpy(one.types)))
            # bonds of an untrained network are closed from afar
            assert np.abs(one.side.xyz - two.side.xyz).max() < 0.5


class TestData:
    def test_files_have_their_side_chains(self, tmp_path: Path) -> None:
        item = chain(24)
        write(item, tmp_path / "own.pdb")
        (found,) = plugin("protein-sidechains").open(tmp_path, shortest=20).proteins
        assert found.side is not None and found.side.name.tolist() == item.side.name.tolist()
        types = torch.from_numpy(item.types)
        (a, there), (b, _) = torsions_of(item), torsions_of(found)
        there[:, 0] = False
        assert (
            turned_by(a, b, types)[there].max() < 0.02
        )  # they went with their residues when bonds were closed
        names = {kind: (*NAMES[kind][1:],) for kind in range(20)}
        assert all(tuple(found.side.of(k)) == names[kind] for k, kind in enumerate(item.types.tolist()))

    def test_archives_are_read_with_theirs_where_asked_for(self, tmp_path: Path) -> None:
        item = chain(24)
        np.savez(
            tmp_path / "own.npz",
            backbone=item.backbone,
            offsets=np.array([0, 24]),
            sequence=np.array(item.sequence),
        )
        names, atom = np.unique(item.side.name, return_inverse=True)
        offsets = np.searchsorted(item.side.residue, np.arange(25))
        np.savez(
            tmp_path / "sidechains.npz",
            xyz=item.side.xyz,
            atom=atom,
            atom_names=names,
            residue_offsets=offsets,
        )
        path = tmp_path / "own.npz"
        assert open_data(path, shortest=20).proteins[0].side is None
        (found,) = plugin("protein-sidechains").open(path, shortest=20).proteins
        assert found.side.name.tolist() == item.side.name.tolist()

    def test_the_modality_is_known_by_name(self) -> None:
        data = type("Data", (), {"lengths": [20, 20, 24]})()
        settings = plugin("protein-sidechains").defaults(
            data, {"network": {"width": 32, "depth": 1, "heads": 2}}
        )
        made = build_model(settings)
        assert made.modality.name == "protein-sidechains" and made.modality.sizes == {20: 2, 24: 1}
        assert modality_of({"name": "protein-sidechains"}).clocks[-1] == "torsions"
        assert len(TORSIONS) == made.modality.outputs["torsions"]


@pytest.mark.slow
def test_side_chains_are_learned() -> None:
    net = model(
        untrained=False,
        modality={"name": "protein-sidechains", "paired": False, "packing": 1.0},
        network={"name": "ipa", "width": 64, "depth": 1, "heads": 4, "axes": 1, "modulation": "shared"},
        objective={"given": 1.0},
    )

    def error(item: Protein) -> float:
        """Mean error of χ1 in degrees; 90 of a uniform guess."""
        (structure,) = net.sample(1, like=item, keep=BACKBONE, steps=10, seed=0, progress=False)
        (a, there), (b, _) = torsions_of(item), torsions_of(of_structure(structure))
        return float(turned_by(a, b, torch.from_numpy(item.types))[:, 1][there[:, 1]].rad2deg().mean())

    items = [dressed(protein(20, seed=k), rotamers(protein(20, seed=k))) for k in range(9)]
    *own, unseen = items
    assert 60 < error(unseen) < 120
    optimiser = torch.optim.Adam(net.network.parameters(), lr=3e-3)
    for step in range(120):
        optimiser.zero_grad()
        net.loss(own, {}, Stream.of(step, len(own)))[0].mean().backward()
        optimiser.step()
    assert error(unseen) < 35
