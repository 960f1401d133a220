"""Designs with an untrained network: contigs, symmetry, hotspots, partial diffusion, secondary structure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langevin.modalities.protein.contigs import ContigError
from langevin.modalities.protein.design import design
from langevin.modalities.protein.protein import Protein, SideChains, of_structure
from langevin.modalities.protein.symmetry import group
from tests.modalities.protein.backbones import protein
from tests.modalities.protein.test_protein_modality import model, rmsd

HOW = {"steps": 3, "progress": False}


@pytest.fixture(scope="module")
def net() -> Any:
    return model()


def designs(samples: Any) -> list[Protein]:
    return [of_structure(item) for item in samples]


def places_of(told: dict[str, Any]) -> list[int]:
    return list(told["con_hal_idx0"])


def target() -> Protein:
    item = protein(30)
    owner = np.array([10, 12], np.int32)
    xyz = item.backbone[owner, 1] + np.array([1.5, 0, 0], np.float32)
    return Protein(
        item.backbone, item.types, item.chains, item.numbers, item.insertions,
        SideChains(owner, np.array(["CB", "CB"]), xyz),
    )  # fmt: skip


def test_lengths_are_those_of_the_contig(net: Any) -> None:
    made = designs(design(net, "10-14/0 6", n=6, **HOW))
    assert {len(item) for item in made} <= set(range(16, 21)) and len({len(item) for item in made}) > 1
    assert all(item.chain_ids == ["A", "B"] for item in made)
    again = designs(design(net, "10-14/0 6", n=2, first=3, **HOW))
    assert [len(item) for item in again] == [len(item) for item in made[3:5]]


def test_a_motif_has_the_atoms_of_the_input_and_the_mapping_says_where(net: Any, tmp_path: Path) -> None:
    item = target()
    samples = design(net, "4-8/A8-15/5", item, n=3, **HOW)
    for made, structure in zip(designs(samples), samples, strict=True):
        note = structure.xtra["note"]
        places = note["con_hal_idx0"]
        assert note["con_ref_idx0"] == list(range(7, 15)) and len(places) == 8
        assert np.allclose(made.backbone[places, :3], item.backbone[7:15, :3], atol=2e-3)
        assert made[np.array(places)].sequence == item.sequence[7:15]
        assert made.side is not None and set(made.side.residue.tolist()) == {places[3], places[5]}
        assert np.isfinite(made.backbone).all()
    samples.save(tmp_path / "out")
    told = json.loads((tmp_path / "out" / "designs.json").read_text())
    assert len(told) == 3 and told[0]["contig"] == "4-8/A8-15/5-5"
    assert (tmp_path / "out" / f"{told[0]['name']}.pdb").exists() and told[0]["kept"] == places_of(told[0])
    assert (tmp_path / "out" / "sequences.fasta").read_text().count(">") == 3


def test_types_that_are_inpainted_are_drawn(net: Any) -> None:
    item = target()
    (made,) = designs(design(net, "4/A8-15/5", item, inpaint_seq="A8-15", **HOW))
    assert np.allclose(made.backbone[4:12, :3], item.backbone[7:15, :3], atol=2e-3)
    assert made.sequence[4:12] != item.sequence[7:15]


def test_a_binder_leaves_its_target_where_it_is(net: Any) -> None:
    item = target()
    (made,) = designs(design(net, "12/0 A1-30", item, hotspots="A5,A9", **HOW))
    assert made.chain_ids == ["B", "A"]
    own = made[made.chains == "A"]
    assert np.allclose(own.backbone[:, :3], item.backbone[:, :3], atol=2e-3) and own.sequence == item.sequence
    (free,) = designs(design(net, "12/0 A1-30", item, **HOW))
    hot = own.backbone[[4, 8], 1].mean(0)
    near = [np.linalg.norm(one[one.chains == "B"].backbone[:, 1].mean(0) - hot) for one in (made, free)]
    assert near[0] != near[1]


@pytest.mark.parametrize("name", ["C3", "D2"])
def test_assemblies_are_symmetric(net: Any, name: str) -> None:
    turns = group(name).double().numpy()
    total = 8 * len(turns)
    (made,) = designs(design(net, str(total), symmetry=name, **HOW))
    assert len(made) == total and len(made.chain_ids) == len(turns)
    units = made.backbone.reshape(len(turns), 8, 4, 3)
    for turn, unit in zip(turns, units, strict=True):
        assert np.abs(units[0] @ turn.T - unit).max() < 0.01
    assert len({made[made.chains == c].sequence for c in made.chain_ids}) == 1


def test_partial_diffusion_begins_from_the_input(net: Any) -> None:
    item = target()
    (near,) = designs(design(net, "30", item, partial=0.05, **HOW))
    (far,) = designs(design(net, "30", item, partial=1.0, **HOW))
    assert rmsd(near, item) < 2.5 and rmsd(far, item) > 5
    with pytest.raises(ValueError, match="redraws nothing of A1-30.*write their number, 30"):
        design(net, "A1-30", item, partial=0.5, **HOW)


def test_partial_diffusion_keeps_the_residues_that_are_named(net: Any) -> None:
    item = target()
    (near,) = designs(design(net, "7/A8-15/15", item, partial=0.05, **HOW))
    assert np.allclose(near.backbone[7:15, :3], item.backbone[7:15, :3], atol=2e-3)
    others = np.r_[0:7, 15:30]
    moved = np.linalg.norm(near.backbone[others, 1] - item.backbone[others, 1], axis=-1)
    assert 0.01 < moved.mean() < 3.0  # in the frame of what is kept
    (far,) = designs(design(net, "7/A8-15/15", item, partial=1.0, **HOW))
    assert np.allclose(far.backbone[7:15, :3], item.backbone[7:15, :3], atol=2e-3)
    assert np.linalg.norm(far.backbone[others, 1] - item.backbone[others, 1], axis=-1).mean() > 5


def test_secondary_structure_is_given_to_the_model(net: Any) -> None:
    samples = design(net, "12", secondary="X" + "H" * 8 + "E--", **HOW)
    assert samples.state["secondary"][0, 1:].tolist() == [0] * 8 + [1, 2, 2]
    with pytest.raises(ValueError, match="secondary must be a text of 12 letters"):
        design(net, "12", secondary="HHH", **HOW)


@pytest.mark.parametrize(
    ("contig", "more", "message"),
    [
        ("5/A10-50/5", {}, "A31"),
        ("5/B10-12/5", {}, "B"),
        ("5/A10-", {}, r"\^"),
        ("10", {"symmetry": "C3"}, "3"),
        ("10", {"symmetry": "Q3"}, "Q3"),
        ("10", {"potentials": "type:monomer_RG"}, "monomer_ROG"),
        ("A1-20/5", {"partial": 0.5}, "30"),
    ],
)
def test_what_cannot_be_is_refused_with_a_pointer(net: Any, contig: str, more: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        design(net, contig, target(), **more, **HOW)


def test_a_motif_without_an_input(net: Any) -> None:
    with pytest.raises((ContigError, ValueError), match="input"):
        design(net, "5/A10-20/5", **HOW)
