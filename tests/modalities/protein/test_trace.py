"""CA traces as states and tokens: files with CA alone, frames of three points, symmetries, the verbs, and training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import langevin as lv
from langevin.assembly import build_model
from langevin.core import keep
from langevin.core.rng import Stream
from langevin.modalities.base import Failure
from langevin.modalities.plugins import plugin
from langevin.modalities.protein import local
from langevin.modalities.protein.design import design
from langevin.modalities.protein.files import read, write
from langevin.modalities.protein.modality import make as make_protein
from langevin.modalities.protein.protein import Protein, join, of_structure
from langevin.modalities.protein.rigid import CA_CA
from langevin.modalities.protein.secondary import HELIX, STRAND, by_trace
from langevin.modalities.protein.trace import make
from langevin.modalities.protein.trace_tokens import trace_frames
from tests.modalities.protein.backbones import HELIX as ALPHA
from tests.modalities.protein.backbones import protein
from tests.modalities.protein.test_protein_data import packed
from tests.modalities.protein.test_protein_modality import TURN

NETWORKS: dict[str, dict[str, Any]] = {
    "ipa": {"name": "ipa", "width": 32, "depth": 1, "heads": 2, "axes": 1},
    "dit": {"name": "dit", "width": 32, "depth": 2, "heads": 2, "axes": 1, "pair_width": 8},
}


def model(network: str = "ipa") -> Any:
    torch.manual_seed(0)
    node = NETWORKS[network]
    made = build_model(
        {
            "name": "tiny",
            "modality": {
                "name": "protein-trace",
                "sizes": {"12": 1, "20": 2},
                "paired": "pair_width" in node,
            },
            "network": node,
            "parametrisation": {"positions": "velocity"},
            "objective": {
                "given": 0.5,
                "independent": 0.2,
                "auxiliary": 1.0,
                "scales": {"residues": 0.1},
            },
        }
    )
    for parameter in made.network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def bare(item: Protein) -> Protein:
    """The CA of a protein, and nothing else."""
    atoms = np.array(item.backbone)
    atoms[:, [0, 2, 3]] = np.nan
    return Protein(atoms, item.types, item.chains, item.numbers, item.insertions)


def turned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "positions": state["positions"] @ TURN.T}


def trace(points: Any, chains: str | None = None) -> Protein:
    """CA at these points (n, 3), of one chain or of those that the letters say."""
    ca = np.asarray(points, np.float32)
    atoms = np.full((len(ca), 4, 3), np.nan, np.float32)
    atoms[:, 1] = ca
    named = np.array(list(chains or "A" * len(ca)))
    return Protein(atoms, np.zeros(len(ca)), named, np.arange(1, len(ca) + 1), np.full(len(ca), ""))


class TestState:
    @pytest.mark.parametrize("suffix", [".pdb", ".cif"])
    def test_files_with_ca_alone_are_taken_and_written(self, tmp_path: Path, suffix: str) -> None:
        whole = join([protein(30), protein(12, chain="B", seed=1)])
        write(bare(whole), tmp_path / f"a{suffix}")
        structure = read(tmp_path / f"a{suffix}")
        with pytest.raises(ValueError, match="protein 0 lacks N or C in 42 residues"):
            make_protein({}).encode([structure])
        modality = make({})
        state, mask = modality.encode([structure])
        assert set(state) == {"positions", "residues", "secondary", "places"}
        (made,) = modality.decode(state, mask)
        assert {atom.get_name() for atom in made.get_atoms()} == {"CA"}
        modality.save(made, tmp_path / f"b{suffix}")
        again = of_structure(modality.read(tmp_path / f"b{suffix}"))
        assert again.ca_only and again.sequence == whole.sequence and again.chain_ids == ["A", "B"]
        own = whole.backbone[:, 1] - whole.backbone[:, 1].mean(0)
        assert np.abs(again.backbone[:, 1] - own).max() < 2e-3  # three decimals in files, twice

    def test_a_trace_has_the_state_of_its_protein(self) -> None:
        items = [protein(30), protein([ALPHA] * 20, seed=1)]
        (whole, mask), (only, _) = make({}).encode(items), make({}).encode([bare(x) for x in items])
        for name in ("positions", "residues", "places"):
            assert torch.equal(whole[name], only[name]), name
        both, _ = make_protein({}).encode(items)
        assert torch.equal(both["positions"], whole["positions"])
        assert mask is not None and mask.sum(1).tolist() == [30, 20]

    def test_what_has_no_state_is_named(self) -> None:
        with pytest.raises(ValueError, match="protein 1 has 2 residues; a model takes 4"):
            make({}).encode([bare(protein(10)), bare(protein(2))])
        state, mask = make({}).encode([protein(10)])
        state["positions"][0, 2] = torch.nan
        assert isinstance(make({}).decode(state, mask)[0], Failure)
        with pytest.raises(ValueError, match="rotations"):
            make({"rotations": {"name": "geodesic"}})

    def test_a_gap_in_space_is_a_break(self) -> None:
        points = np.arange(12)[:, None] * np.array([3.8, 0, 0])
        points[5:] += 3.0
        item = trace(points)
        assert np.flatnonzero(item.breaks).tolist() == [0, 5]
        state, _ = make({}).encode([item])
        assert state["places"][0, :, 1].tolist() == [*range(5), *range(6, 13)]

    def test_padding_has_no_places(self) -> None:
        modality = make({"sizes": {"12": 1, "20": 1}})
        state, mask = modality.blank(range(20), Stream.of(0, 20), {}, modality.spec())
        assert set(state) == {"positions", "residues", "secondary", "places"}
        assert mask is not None and not mask.all() and not state["places"][~mask].any()


class TestSecondary:
    def test_ideal_helices_and_strands(self) -> None:
        state, _ = make({}).encode([bare(protein([ALPHA] * 20))])
        assert (state["secondary"][0, 2:-2] == HELIX).all()
        # CA of a strand: 3.8 Å apart, every second one to the other side; 4.8 Å to the strand beside it
        k = np.arange(8)
        zigzag = np.stack([3.3 * k, 0.94 * (-1.0) ** k, 0 * k], 1)
        pair = np.concatenate([zigzag, zigzag[::-1] + np.array([0, 0, 4.8])])
        state, _ = make({}).encode([trace(pair, "A" * 8 + "B" * 8)])
        found = state["secondary"][0].reshape(2, 8)
        assert (found[:, 1:-3] == STRAND).all()
        alone, _ = make({}).encode([trace(zigzag)])
        assert not (alone["secondary"] == STRAND).any()  # a sheet has two

    def test_hands_are_told_apart_by_dihedrals(self) -> None:
        item = bare(protein([ALPHA] * 20))
        assert "H" in by_trace(item)
        mirrored = replace(item, backbone=item.backbone * np.array([1, 1, -1], np.float32))
        state, _ = make({}).encode([item, mirrored])
        sine, cosine = make({}).tokens(state).values["positions"][:, 8, -4:].reshape(2, 2, 2).unbind(-1)
        assert torch.allclose(sine[0], -sine[1], atol=1e-4) and (sine[0] > 0.5).all()
        assert torch.allclose(cosine[0], cosine[1], atol=1e-4)


class TestFrames:
    def frames(self, item: Protein) -> Tensor:
        state, _ = make({}).encode([item])
        return trace_frames(state["positions"] * 10, state["places"])[0]

    def test_of_proteins_they_are_nearly_rotations_that_turn_along(self) -> None:
        state, _ = make({}).encode([protein(40)])
        ca, places = state["positions"] * 10, state["places"]
        r = trace_frames(ca, places)
        assert (r.mT @ r - torch.eye(3)).abs().max() < 0.015
        assert torch.det(r).min() > 0.98
        assert torch.allclose(trace_frames(ca @ TURN.T + 5.0, places), TURN @ r, atol=1e-4)
        mirrored = trace_frames(ca * torch.tensor([1.0, 1.0, -1.0]), places)
        flip = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
        assert torch.allclose(mirrored, flip @ r @ flip, atol=1e-4)  # the third axis has the other sign

    def test_axes_follow_the_neighbours(self) -> None:
        r = self.frames(trace([[0, 0, 0], [2, 3, 0], [4, 0, 0], [6, 3, 0], [8, 0, 0]]))
        expected = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]).T
        assert torch.allclose(r[1], expected, atol=2e-3)
        assert torch.allclose(r[0], r[1]) and torch.allclose(
            r[4], r[3]
        )  # ends have those of their neighbours
        assert torch.allclose(r[2], expected * torch.tensor([1.0, -1.0, -1.0]), atol=2e-3)

    def test_on_a_line_they_are_finite_and_smooth(self) -> None:
        line = torch.arange(6)[:, None] * torch.tensor([3.8, 0, 0])
        places = torch.stack([torch.zeros(6), torch.arange(6), torch.zeros(6)], -1)[None]
        flat = trace_frames(line[None], places)
        assert torch.allclose(flat[0, :, :, 0], torch.tensor([1.0, 0, 0]).expand(6, 3), atol=1e-3)
        assert not flat[..., 1:].any()
        for side in (1e-3, -1e-3):  # no jump from one side of the line to the other
            bent = line.clone()
            bent[2, 1] += side
            assert (trace_frames(bent[None], places) - flat).abs().max() < 0.02
        for points in (line, torch.zeros(6, 3)):
            x = points.clone().requires_grad_()
            trace_frames(x[None], places).sum().backward()
            assert x.grad is not None and torch.isfinite(x.grad).all() and x.grad.abs().max() < 100

    def test_they_do_not_look_across_a_break(self) -> None:
        item = protein(20)
        moved = np.array(item.backbone)
        moved[10:] = moved[10:] * -1 + 40.0
        cut = replace(item, backbone=moved)
        other = np.array(moved)
        other[10:] += np.array([7.0, -3.0, 11.0], np.float32)
        one, two = self.frames(cut), self.frames(replace(item, backbone=other))
        assert np.flatnonzero(cut.breaks).tolist() == [0, 10]
        assert torch.allclose(one, two, atol=1e-4)
        assert torch.allclose(one[9], one[8]) and torch.allclose(one[10], one[11])

    def test_a_short_stretch_has_a_frame_too(self) -> None:
        points = np.array([[0, 0, 0], [2, 3, 0], [4, 0, 1], [6, 3, 0], [30, 0, 0], [30, 3, 2]])
        r = self.frames(trace(points))
        assert (r.mT @ r - torch.eye(3)).abs().max() < 0.02


class TestTokens:
    def test_bonds_of_3_8_show_as_zeros(self) -> None:
        points = np.cumsum([[3.8, 0, 0], [0, 3.8, 0]] * 6, 0)
        modality = make({})
        state, mask = modality.encode([trace(points)])
        begin = 3 + local.BESIDE + len(local.NEIGHBOURS)
        bonds = modality.tokens(state, mask).values["positions"][0, :, begin : begin + 8]
        assert bonds[1:, :3].abs().max() < 1e-3 and bonds[:-1, 4:7].abs().max() < 1e-3
        assert bonds[:, 3].tolist() == [0] + [1] * 11 and bonds[:, 7].tolist() == [1] * 11 + [0]
        assert not bonds[0, :4].any() and not bonds[-1, 4:].any()
        wide = {**state, "positions": state["positions"] * (CA_CA + 0.05) / CA_CA}
        off = modality.tokens(wide, mask).values["positions"][0, 1:, begin]
        assert torch.allclose(off, torch.tensor(1.0).tanh().expand(11), atol=1e-3)

    def test_the_angle_at_ca(self) -> None:
        points = np.cumsum([[3.8, 0, 0], [0, 3.8, 0]] * 3 + [[0, 3.8, 0]], 0)
        state, mask = make({}).encode([trace(points)])
        cosine, there = make({}).tokens(state, mask).values["positions"][0, :, -6:-4].unbind(-1)
        assert there.tolist() == [0, 1, 1, 1, 1, 1, 0]
        assert torch.allclose(cosine, torch.tensor([0, 0, 0, 0, 0, -1.0, 0]), atol=1e-3)

    def test_widths_are_those_that_are_named(self) -> None:
        modality = make({})
        state, mask = modality.encode([protein(12)])
        seen = modality.tokens(state, mask)
        assert {name: value.shape[-1] for name, value in seen.values.items()} == modality.inputs
        assert seen.pair is not None and seen.pair.shape[-1] == modality.pairs


@pytest.mark.parametrize("network", NETWORKS)
class TestSymmetry:
    def answer(self, net: Any, state: Any, mask: Any) -> Any:
        with torch.no_grad():
            return net.network(state, torch.full((len(mask),), 0.4), {}, mask)

    def test_the_velocity_turns_with_the_trace(self, network: str) -> None:
        net = model(network)
        state, mask = net.modality.encode([bare(protein(30)), bare(protein(12, seed=1))])
        noisy = net.process.corrupt(state, 0.5, Stream.of(0, 2), mask=mask)
        one, two = self.answer(net, noisy, mask), self.answer(net, turned(noisy), mask)
        assert torch.allclose(one["positions"] @ TURN.T, two["positions"], atol=2e-4)
        for name in ("residues", "secondary"):
            assert torch.allclose(one[name], two[name], atol=2e-4), name
        assert one["positions"][mask].abs().mean() > 0.01

    def test_a_mirror_image_is_another_trace(self, network: str) -> None:
        net = model(network)
        state, mask = net.modality.encode([protein(30)])
        mirror = {**state, "positions": state["positions"] * torch.tensor([1.0, 1.0, -1.0])}
        one, two = self.answer(net, state, mask), self.answer(net, mirror, mask)
        assert (one["secondary"] - two["secondary"]).abs().max() > 1e-3

    def test_tokens_do_not_depend_on_padding(self, network: str) -> None:
        net, short = model(network), bare(protein(12, seed=1))
        alone, one = net.modality.encode([short])
        both, mask = net.modality.encode([short, bare(protein(30))])
        a, b = self.answer(net, alone, one), self.answer(net, both, mask)
        for name in ("positions", "residues"):
            assert torch.allclose(a[name][0], b[name][0, :12], atol=1e-4), name

    def test_designs_are_the_same_in_any_batch(self, network: str) -> None:
        net = model(network)
        one = net.sample(5, steps=2, seed=2)
        assert len({len(of_structure(x)) for x in one}) > 1
        for a, b in zip(one, net.sample(5, steps=2, seed=2, batch_size=1), strict=True):
            x, y = (of_structure(item).backbone[:, 1] for item in (a, b))
            assert np.abs(x - y).max() < 0.02

    def test_a_step_of_training(self, network: str) -> None:
        net = model(network)
        items = [bare(protein(n, seed=n)) for n in (10, 14, 12, 30, 9, 26)]
        total, by_leaf = net.loss(items, {}, Stream.of(0, 6))[:2]
        assert set(by_leaf) == {"positions", "residues", "secondary", "places", "auxiliary"}
        total.mean().backward()
        assert torch.isfinite(total).all()
        assert all(torch.isfinite(p.grad).all() for p in net.network.parameters() if p.grad is not None)


class TestVerbs:
    def test_a_motif_is_kept_with_its_own_atoms(self) -> None:
        net, item = model(), protein(20)
        made = design(net, "3/A6-11/4", item, n=2, steps=3)
        for structure in made:
            found = of_structure(structure)
            assert found.complete.tolist() == [False] * 3 + [True] * 6 + [False] * 4
            part, own = found[np.arange(3, 9)], item[np.arange(5, 11)]
            assert np.allclose(part.backbone[:, :3], own.backbone[:, :3], atol=2e-3)
            assert part.sequence == own.sequence
        (structure,) = net.sample(1, like=bare(item), keep=keep.elements(*range(5, 11)), steps=3)
        found = of_structure(structure)
        assert found.ca_only
        assert np.allclose(found.backbone[5:11, 1], item.backbone[5:11, 1], atol=2e-3)

    def test_a_sequence_for_a_trace(self) -> None:
        net, item = model(), bare(protein(20))
        (structure,) = net.sample(1, like=item, keep=keep.leaves("positions", "secondary"), steps=4)
        found = of_structure(structure)
        assert np.abs(found.backbone[:, 1] - item.backbone[:, 1]).max() < 2e-3
        assert found.sequence != item.sequence
        with pytest.raises(ValueError, match="unknown leaf of a protein 'frames'"):
            net.sample(1, like=item, keep=keep.leaves("frames"), steps=2)

    def test_partial_diffusion_and_symmetry(self) -> None:
        net, item = model(), bare(protein(20))

        def off(strength: float) -> float:
            made = of_structure(net.sample(1, start=item, strength=strength, steps=10, seed=1)[0])
            x, y = (p.backbone[:, 1] - p.backbone[:, 1].mean(0) for p in (made, item))
            return float(np.sqrt(((x - y) ** 2).sum(-1).mean()))

        assert off(0.1) < 2.5 < off(1.0)
        ca = of_structure(design(net, "21", symmetry="C3", steps=3)[0]).backbone[:, 1].reshape(3, 7, 3)
        d = np.linalg.norm(ca[:, :, None] - ca[:, None], axis=-1)
        assert np.abs(d[0] - d[1]).max() < 0.01 and np.abs(d[0] - d[2]).max() < 0.01


def test_data_of_traces(tmp_path: Path) -> None:
    for k in range(3):
        write(bare(packed(24, k)), tmp_path / f"{k}.pdb")
    known = plugin("protein-trace")
    data = known.open(tmp_path, shortest=20, longest=30)
    assert data.lengths == [24] * 3 and all(item.ca_only for item in data.proteins)
    with pytest.raises(ValueError, match="no chain of at least"):
        plugin("protein").open(tmp_path, shortest=20, longest=30)
    with pytest.raises(ValueError, match="no peptide bonds to close"):
        known.open(tmp_path, close=True)
    node = known.defaults(data, {"network": NETWORKS["ipa"]})
    made = build_model(node)
    assert set(made.process.leaves) == {"positions", "residues", "secondary", "places"}
    assert "frames" not in str({k: v for k, v in node.items() if k != "summary"})
    assert made.modality.sizes == {24: 3}


@pytest.mark.slow
def test_a_short_training_brings_ca_to_their_distance(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for k in range(24):
        write(bare(packed(24, k)), tmp_path / "files" / f"{k}.cif")
    data = plugin("protein-trace").open(tmp_path / "files", shortest=20, longest=24)
    network = {"name": "ipa", "width": 32, "depth": 2, "heads": 4, "axes": 1, "modulation": "shared"}
    node = {"network": network, "objective": {"given": 0.0, "independent": 0.0}}
    how: dict[str, Any] = {"batch": 8, "lr": 3e-3, "warmup": 10, "save": 1000, "log": 50, "progress": False}

    def off(net: Any) -> float:
        """Mean deviation of CA–CA from 3.8 Å."""
        made = net.sample(12, steps=20, seed=0, length=24, progress=False)
        ca = np.stack([of_structure(item).backbone[:, 1] for item in made])
        return float(np.abs(np.linalg.norm(np.diff(ca, axis=1), axis=-1) - CA_CA).mean())

    start = off(lv.train(data, "protein-trace", out=tmp_path / "a", model=node, steps=1, **how))
    lv.train(data, "protein-trace", out=tmp_path / "b", model=node, steps=100, **how)
    again = lv.load(tmp_path / "b", device="cpu")
    assert start > 3 and off(again) < 0.4 * start
    samples = again.sample(2, steps=4, seed=1, progress=False)
    samples.save(tmp_path / "out", suffix=".cif")
    files = sorted((tmp_path / "out").glob("*.cif"))
    for item, file in zip(samples, files, strict=True):
        one, two = of_structure(item), of_structure(again.modality.read(file))
        assert two.ca_only and np.abs(one.backbone[:, 1] - two.backbone[:, 1]).max() < 1e-3
        assert one.sequence == two.sequence
