"""Proteins as states and tokens: symmetries, given parts, alignment, and the verbs with an untrained network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from langevin.assembly import build_model
from langevin.core import keep, so3
from langevin.core.rng import Stream
from langevin.modalities.base import Failure
from langevin.modalities.protein import givens
from langevin.modalities.protein.alignment import aligned, rotation_to
from langevin.modalities.protein.modality import make, placed
from langevin.modalities.protein.protein import UNKNOWN, Protein, join, of_structure
from langevin.modalities.protein.rigid import backbone_of
from tests.modalities.protein.backbones import protein


def model(**more: Any) -> Any:
    torch.manual_seed(0)
    made = build_model(
        {
            "name": "tiny",
            "modality": {"name": "protein", "sizes": {"12": 1, "20": 2}},
            "network": {
                "name": "dit", "width": 32, "depth": 2, "heads": 2, "axes": 1, "modulation": "shared", "pair_width": 8,
            },
            "parametrisation": {"positions": "velocity", "frames": "rate"},
            "objective": {"given": 0.5, "independent": 0.2, "scales": {"residues": 0.1}},
            **more,
        }
    )  # fmt: skip
    for parameter in made.network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def turned(state: dict[str, Tensor], turn: Tensor) -> dict[str, Tensor]:
    return {**state, "positions": state["positions"] @ turn.T, "frames": turn @ state["frames"]}


def rmsd(a: Protein, b: Protein, atoms: int = 3) -> float:
    """Without superposition but for the centres, Å."""
    x, y = a.backbone[:, :atoms], b.backbone[:, :atoms]
    return float(np.sqrt((((x - x[:, 1].mean(0)) - (y - y[:, 1].mean(0))) ** 2).sum(-1).mean()))


TURN = so3.exp(torch.tensor([0.3, -1.2, 0.7]))


class TestState:
    def test_there_and_back(self) -> None:
        modality, items = make({}), [protein(30), protein(12, seed=1)]
        state, mask = modality.encode(items)
        assert mask is not None and mask.sum(1).tolist() == [30, 12]
        for made, item in zip(modality.proteins(state, mask), items, strict=True):
            assert rmsd(made, item) < 0.04 and made.sequence == item.sequence
            assert made.numbers.tolist() == list(range(1, len(item) + 1)) and set(made.chains) == {"A"}
        structure = modality.decode(state, mask)[0]
        assert rmsd(of_structure(structure)[:-1], items[0][:-1], 4) < 0.03  # the last oxygen is free

    def test_padding_to_whole_shapes(self) -> None:
        state, mask = make({"pad": 16}).encode([protein(30), protein(12)])
        assert mask is not None and mask.shape == (2, 32)
        assert not state["positions"][~mask].any()
        assert torch.equal(state["frames"][~mask], torch.eye(3).expand(int((~mask).sum()), 3, 3))

    def test_chains_and_gaps_have_places(self) -> None:
        a, b = protein(10), protein(8, chain="B", seed=1)
        gap = Protein(a.backbone, a.types, a.chains, np.r_[1:6, 9:14].astype(np.int32), a.insertions)
        moved = np.array(gap.backbone)
        moved[5:] += 9.0
        gap = Protein(moved, gap.types, gap.chains, gap.numbers, gap.insertions)
        found = placed(join([gap, b]))
        assert found[:, 0].tolist() == [0] * 10 + [1] * 8
        assert found[:, 1].tolist() == [*range(5), *range(8, 13), *range(8)]

    def test_what_has_no_state_is_named(self) -> None:
        modality = make({})
        with pytest.raises(ValueError, match="protein 1 has 2 residues; a model takes 4"):
            modality.encode([protein(10), protein(2)])
        bare = protein(10)
        atoms = np.array(bare.backbone)
        atoms[3, 0] = np.nan
        bare = Protein(atoms, bare.types, bare.chains, bare.numbers, bare.insertions)
        with pytest.raises(ValueError, match="protein 0 lacks N or C in 1 residues"):
            modality.encode([bare])
        state, mask = modality.encode([protein(10)])
        state["positions"][0, 2] = torch.nan
        assert isinstance(modality.decode(state, mask)[0], Failure)

    def test_residues_without_a_type_are_masked(self) -> None:
        item = protein(10)
        types = np.array(item.types)
        types[4] = UNKNOWN
        item = Protein(item.backbone, types, item.chains, item.numbers, item.insertions)
        state, mask = make({}).encode([item])
        assert state["residues"][0, 4] == 20
        assert make({}).proteins(state, mask)[0].sequence == item.sequence

    def test_lengths_are_drawn_from_those_trained_on_or_asked_for(self) -> None:
        modality = make({"sizes": {"12": 1, "20": 3}})
        _, mask = modality.blank(range(200), Stream.of(0, 200), {}, modality.spec())
        found = mask.sum(1)
        assert set(found.tolist()) == {12, 20} and 0.6 < (found == 20).float().mean() < 0.9
        state, mask = modality.blank([0], Stream.of(0, 1), {}, modality.spec(length=33))
        assert mask.all() and state["places"][0, :, 1].tolist() == list(range(33))
        with pytest.raises(ValueError, match="length must be a whole number from 4"):
            modality.blank([0], Stream.of(0, 1), {}, modality.spec(length=3))


class TestSymmetry:
    def answer(self, net: Any, state: Any, mask: Any, t: float = 0.4) -> Any:
        with torch.no_grad():
            return net.network(state, torch.full((len(mask),), t), {}, mask)

    def test_the_answer_turns_with_the_protein(self) -> None:
        net = model()
        state, mask = net.modality.encode([protein(30), protein(12, seed=1)])
        noisy = net.process.corrupt(state, 0.5, Stream.of(0, 2), mask=mask)
        one, two = self.answer(net, noisy, mask), self.answer(net, turned(noisy, TURN), mask)
        assert torch.allclose(one["positions"] @ TURN.T, two["positions"], atol=1e-4)
        for name in ("frames", "residues", "secondary"):
            assert torch.allclose(one[name], two[name], atol=1e-4), name
        assert one["positions"][mask].abs().mean() > 0.01

    def test_a_mirror_image_is_another_protein(self) -> None:
        net = model()
        item = protein(30)
        mirrored = Protein(
            item.backbone * np.array([1, 1, -1], np.float32),
            item.types,
            item.chains,
            item.numbers,
            item.insertions,
        )
        state, mask = net.modality.encode([item, mirrored])
        out = self.answer(net, state, mask)
        assert (out["secondary"][0] - out["secondary"][1]).abs().max() > 1e-3

    def test_tokens_do_not_depend_on_padding(self) -> None:
        net = model()
        short = protein(12, seed=1)
        alone, one = net.modality.encode([short])
        both, mask = net.modality.encode([short, protein(30)])
        a, b = self.answer(net, alone, one), self.answer(net, both, mask)
        for name in ("positions", "frames", "residues"):
            assert torch.allclose(a[name][0], b[name][0, :12], atol=1e-4), name

    def test_a_chain_break_is_seen(self) -> None:
        net = model()
        item = protein(20)
        state, mask = net.modality.encode([item])
        other = {**state, "places": state["places"].clone()}
        other["places"][0, 10:] += torch.tensor([1.0, -10.0, 0.0])
        one, two = self.answer(net, state, mask), self.answer(net, other, mask)
        assert (one["frames"] - two["frames"]).abs().max() > 1e-3

    def test_closed_bonds_show_as_zeros(self) -> None:
        modality = make({})
        state, mask = modality.encode([protein(20)])
        clean = modality.tokens(state, mask).values["frames"]
        off = clean[0, 1:, 120:123]  # C–N, CA–N and C–CA of the bond before each residue, at the finest scale
        assert off.abs().max() < 0.05
        shaken = {**state, "positions": state["positions"] * 1.05}
        assert modality.tokens(shaken, mask).values["frames"][0, 1:, 120:124].abs().mean() > 0.5


class TestAlignment:
    def test_all_turned_copies_end_the_same_way(self) -> None:
        state, mask = make({}).encode([protein(30), protein(12, seed=1)])
        noise = make({}).process.prior(state, Stream.of(0, 2), mask)
        one, two = aligned(state, noise, mask), aligned(turned(state, TURN), noise, mask)
        for name in ("positions", "frames"):
            assert torch.allclose(one[name][mask], two[name][mask], atol=1e-4)
        near = (one["positions"] - noise["positions"]).square().sum()
        assert near < (state["positions"] - noise["positions"]).square().sum()

    def test_rotations_are_found_and_never_reflections(self) -> None:
        x = torch.randn(4, 9, 3, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(rotation_to(x, x @ TURN.T), TURN.expand(4, 3, 3), atol=1e-4)
        found = rotation_to(x, x * torch.tensor([1.0, 1.0, -1.0]))
        assert torch.allclose(torch.det(found), torch.ones(4), atol=1e-4)

    def test_what_is_given_or_apart_stays(self) -> None:
        state, mask = make({}).encode([protein(12), protein(12, seed=1)])
        noise = make({}).process.prior(state, Stream.of(0, 2), mask)
        kept = torch.zeros(2, 12, dtype=torch.bool)
        kept[0, 3] = True
        made = aligned(state, noise, mask, {"frames": kept})
        assert torch.allclose(made["positions"][0], state["positions"][0])
        assert not torch.allclose(made["positions"][1], state["positions"][1], atol=0.1)
        made = aligned(state, noise, mask, apart=torch.tensor([False, True]))
        assert torch.allclose(made["frames"][1], state["frames"][1])
        assert not torch.allclose(made["frames"][0], state["frames"][0], atol=0.1)


class TestGivens:
    def test_motifs_are_stretches_of_some_of_the_residues(self) -> None:
        mask = torch.arange(100)[None] < torch.randint(
            4, 101, (500, 1), generator=torch.Generator().manual_seed(0)
        )
        chosen = givens.motifs(mask, Stream.of(0, 500))
        count, real = chosen.sum(1), mask.sum(1)
        assert not (chosen & ~mask).any()
        assert (count >= 1).all() and (count < real).all() and (count <= (0.5 * real).ceil()).all()
        runs = (chosen[:, 1:] & ~chosen[:, :-1]).sum(1) + chosen[:, 0]
        assert runs.max() <= 4 and {1, 2, 3, 4} == set(runs[real > 40].tolist())

    def test_shares(self) -> None:
        net = model()
        state, mask = net.modality.encode([protein(12)])
        many = {name: part.repeat(2000, *(1,) * (part.ndim - 1)) for name, part in state.items()}
        found = givens.parts(net.process, many, Stream.of(0, 2000), mask.repeat(2000, 1), 0.5)
        motif, rest = found  # of twelve residues none is cut in two
        assert abs(len(motif.rows) / 2000 - 0.2) < 0.04
        centre = (motif.x["positions"] * motif.given["positions"][..., None]).sum(1)
        assert centre.abs().max() < 1e-4 and not motif.process.leaves["positions"].centred
        assert rest.given["positions"].float().mean() * len(rest.rows) / 2000 == pytest.approx(
            0.125, abs=0.03
        )
        assert (rest.given["secondary"] >= rest.given["positions"]).all()

    def test_targets_are_one_side_of_a_chain_that_is_cut(self) -> None:
        item = protein(40)
        state, mask = make({}).encode([item])
        many = {name: part.repeat(300, *(1,) * (part.ndim - 1)) for name, part in state.items()}
        ca, real = many["positions"] * 10, mask.repeat(300, 1)
        target, places = givens.targets(ca, many["places"], real, Stream.of(0, 300))
        chain, number, hot = places.unbind(-1)
        sides = target.sum(1)
        assert sides.min() >= 12 and sides.max() <= 28 and set(chain.unique().tolist()) == {0, 1}
        for row in range(300):
            edge = int((chain[row] == 0).sum())
            assert number[row].tolist() == [*range(edge), *range(40 - edge)]
            assert len(chain[row][target[row]].unique()) == 1
        assert not (hot.bool() & ~target).any() and hot.any(1).float().mean() > 0.2
        near = torch.cdist(ca[:1], ca[:1])[0] < 8
        assert all((near[k] & ~target[row]).any() for row, k in torch.nonzero(hot)[:200].tolist())

    def test_hotspots_are_seen(self) -> None:
        net = model()
        state, mask = net.modality.encode([protein(20)])
        other = {**state, "places": state["places"].clone()}
        other["places"][0, 3, 2] = 1
        with torch.no_grad():
            one, two = (net.network(x, torch.tensor([0.4]), {}, mask) for x in (state, other))
        assert (one["frames"] - two["frames"]).abs().max() > 1e-3

    def test_a_step_of_training(self) -> None:
        net = model()
        items = [protein(n, seed=n) for n in (10, 14, 12, 20, 9, 16)]
        total, by_leaf = net.loss(items, {}, Stream.of(0, 6))[:2]
        assert torch.isfinite(total).all() and set(by_leaf) >= {
            "positions",
            "frames",
            "residues",
            "secondary",
        }
        total.mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in net.network.parameters() if p.grad is not None)


class TestVerbs:
    def test_designs_are_the_same_in_any_batch(self) -> None:
        net = model()
        one = net.sample(3, steps=3, seed=2)
        two = net.sample(3, steps=3, seed=2, batch_size=1)
        for a, b in zip(one, two, strict=True):
            assert (
                rmsd(of_structure(a), of_structure(b)) < 0.5
            )  # bonds of an untrained network are closed from afar
        assert torch.allclose(one.state["positions"][:, :12], two.state["positions"][:, :12], atol=1e-4)
        assert rmsd(of_structure(net.sample(1, steps=3, seed=2, length=12)[0]), protein(12)) > 1

    def test_a_motif_is_kept(self) -> None:
        net, item = model(), protein(20)
        made = net.sample(2, like=item, keep=keep.elements(*range(5, 11)), steps=4, seed=0)
        for structure in made:
            design = of_structure(structure)
            part, own = design[np.arange(5, 11)], item[np.arange(5, 11)]
            assert np.allclose(
                part.backbone[:, :3], own.backbone[:, :3], atol=2e-3
            )  # in the user's own frame
            assert part.sequence == own.sequence and rmsd(design, item) > 0.5

    def test_a_sequence_for_a_backbone(self) -> None:
        net, item = model(), protein(20)
        (structure,) = net.sample(1, like=item, keep=keep.leaves("positions", "frames", "secondary"), steps=4)
        design = of_structure(structure)
        assert rmsd(design, item) < 0.05 and design.sequence != item.sequence

    def test_partial_diffusion_stays_near(self) -> None:
        net, item = model(), protein(20)
        far = [
            rmsd(of_structure(net.sample(1, start=item, strength=s, steps=10, seed=1)[0]), item)
            for s in (0.1, 1.0)
        ]
        assert far[0] < 2.5 < far[1]


def test_residues_that_overlap_are_moved_apart() -> None:
    net = model(modality={"name": "protein", "repulsion": 1.0})
    for parameter in net.network.parameters():
        torch.nn.init.zeros_(parameter)  # so that residues stay where their noise is, over one another

    def overlaps(**more: Any) -> float:
        ca = net.sample(2, length=100, steps=20, seed=0, **more).state["positions"] * 10
        d = torch.cdist(ca, ca)[:, *torch.triu_indices(100, 100, 3)]
        return float((4.5 - d).clamp(min=0).square().sum())

    free, own, strong = overlaps(repulsion=0.0), overlaps(), overlaps(repulsion=3.0)
    assert free > 50 and max(own, strong) < 0.2 * free
    with pytest.raises(ValueError, match="guide_scale"):
        overlaps(repulsion=-1.0)


def test_a_network_that_takes_frames_is_given_them() -> None:
    net = model(network={"name": "ipa", "width": 32, "depth": 1, "heads": 2, "pair_width": 8})
    state, mask = net.modality.encode([protein(20)])
    with torch.no_grad():
        one = net.network(state, torch.tensor([0.4]), {}, mask)
        two = net.network(turned(state, TURN), torch.tensor([0.4]), {}, mask)
    assert torch.allclose(one["positions"] @ TURN.T, two["positions"], atol=1e-4)


def test_oxygens_are_there() -> None:
    state, mask = make({}).encode([protein(20)])
    (made,) = make({}).proteins(state, mask)
    assert np.isfinite(made.backbone).all()
    again = backbone_of(state["frames"][0], state["positions"][0] * 10)
    assert np.abs(np.linalg.norm(again[:, 3] - again[:, 2], axis=-1) - 1.231).max() < 1e-4


def test_without_pairs() -> None:
    net = model(
        modality={"name": "protein", "paired": False},
        network={"name": "ipa", "width": 32, "depth": 1, "heads": 2, "axes": 1},
    )
    state, mask = net.modality.encode([protein(20)])
    with torch.no_grad():
        one = net.network(state, torch.tensor([0.4]), {}, mask)
        two = net.network(turned(state, TURN), torch.tensor([0.4]), {}, mask)
    assert torch.allclose(one["positions"] @ TURN.T, two["positions"], atol=1e-4)
    assert net.modality.tokens(state, mask).pair is None
