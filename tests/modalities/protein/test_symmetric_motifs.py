"""Motifs in symmetric assemblies: what the contig names for every chain is held against the first one, turned."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from langevin.core.rng import Stream
from langevin.modalities.protein.contigs import ContigError
from langevin.modalities.protein.design import design
from langevin.modalities.protein.plan import Plan
from langevin.modalities.protein.protein import Protein, join, of_structure
from langevin.modalities.protein.symmetry import group
from langevin.modalities.protein.templates import Template, template_of
from tests.modalities.protein.backbones import protein
from tests.modalities.protein.test_protein_modality import model

HOW: dict[str, Any] = {"steps": 3, "progress": False}
NICKEL = "5/A2-4/5/0 5/A7-9/5/0 5/A12-14/5/0 5/A17-19/5"  # as RFdiffusion's example, with fewer built
FOUR = group("C4").double().numpy()


def site(turns: Any, apart: int = 5, size: int = 3) -> Protein:
    """One chain A with a stretch for each turn, the residues apart · k + 2 and on, as of RFdiffusion's nickel."""
    unit = protein(size)
    backbone = unit.backbone - unit.backbone[:, 1].mean(0) + np.float32([9.0, 2.0, 4.0])
    return join(
        [
            replace(
                unit,
                backbone=(backbone @ turn.T).astype(np.float32),
                numbers=np.arange(size, dtype=np.int32) + apart * k + 2,
            )
            for k, turn in enumerate(turns)
        ]
    )


def made(contig: str, input: Protein, turns: Any = FOUR, **more: Any) -> Template:
    plan = Plan.of(contig, input, copies=len(turns), **more).draw(Stream.of(0, 1))[0]
    return template_of(plan, copies=turns)


def test_copies_lie_where_the_input_has_them() -> None:
    input, found = site(FOUR), made(NICKEL, site(FOUR))
    kept = found.motif
    assert kept.sum() == 12 and (found.given["positions"] == kept).all()
    assert np.allclose(found.backbone[kept, :3], input.backbone[:, :3], atol=1e-4)
    assert found.chain_ids == list("ABCD")


@pytest.mark.parametrize("name", ["C2", "D2", "T"])
def test_other_groups(name: str) -> None:
    turns = group(name).double().numpy()
    contig = "/0 ".join(f"5/A{5 * k + 2}-{5 * k + 4}/5" for k in range(len(turns)))
    input, found = site(turns), made(contig, site(turns), turns)
    assert np.allclose(found.backbone[found.motif, :3], input.backbone[:, :3], atol=1e-4)


class TestRefusals:
    def test_an_input_that_is_off_the_axis(self) -> None:
        input = site(FOUR)
        off = replace(input, backbone=input.backbone + np.float32([3.0, 0, 0]))
        # R x + 3 and R (x + 3) are 3 √2 Å apart after a quarter of a turn
        with pytest.raises(ValueError, match=r"5-5/A7-9/5-5, of chain B, are 4\.2 Å .*at most 1 Å.*on z"):
            made(NICKEL, off)

    def test_along_the_axis_it_may_lie_anywhere(self) -> None:
        input = site(FOUR)
        moved = replace(input, backbone=input.backbone + np.float32([0, 0, 30.0]))
        assert np.allclose(made(NICKEL, moved).backbone[-8:-5, :3], moved.backbone[-3:, :3], atol=1e-4)

    def test_chains_in_another_order_than_that_of_the_turns(self) -> None:
        one, two, three, four = NICKEL.split("/0 ")
        with pytest.raises(ValueError, match="A17-19.*of chain B.*in the order of its turns"):
            made("/0 ".join([one, four, three, two]), site(FOUR))
        made("/0 ".join([two, three, four, one]), site(FOUR))  # as one may begin with any

    @pytest.mark.parametrize(("far", "fine"), [(0.9, True), (1.1, False)])
    def test_up_to_one_angstrom(self, far: float, fine: bool) -> None:
        input = site(FOUR)
        backbone = input.backbone.copy()
        backbone[6:9] += np.float32([0, 0, far])
        if fine:
            made(NICKEL, replace(input, backbone=backbone))
            return
        with pytest.raises(ValueError, match=r"A12-14/5-5, of chain C, are 1\.1 Å"):
            made(NICKEL, replace(input, backbone=backbone))
        made(NICKEL, replace(input, backbone=backbone), inpaint_str="A2-4")  # their places are not asked for

    def test_other_types(self) -> None:
        input = site(FOUR)
        types = input.types.copy()
        types[[4, 10]] = (types[1] + 1) % 20
        input = replace(input, types=types)
        a, b = input.sequence[1], input.sequence[4]
        with pytest.raises(
            ValueError, match=f"chain B, has other types.*: A8 is {b} and A3 is {a}; .*inpaint_seq"
        ):
            made(NICKEL, input)
        assert made(NICKEL, input, inpaint_seq="A3").given["residues"].sum() == 8

    def test_residues_of_other_chains_that_are_not_there(self) -> None:
        with pytest.raises(ContigError, match="no residue of A17-19 is in the input"):
            Plan.of(NICKEL, site(FOUR[:3]), copies=4)

    def test_residues_that_the_input_inserts(self) -> None:
        input = site(FOUR)
        extra = join([input[np.arange(5)], replace(input[np.arange(4, 5)], insertions=np.array(["A"])),
                      input[np.arange(5, 12)]])  # fmt: skip
        with pytest.raises(ContigError, match="4 chains must be alike.*5-5/A7-9/5-5 has 4"):
            made(NICKEL, extra)


class TestMapping:
    def plan(self) -> Plan:
        contig = "/0 ".join(f"3-8/A{k}-{k + 2}/4" for k in (2, 7, 12, 17))
        return Plan.of(contig, site(FOUR), copies=4).draw(Stream.of(1, 1))[0]

    def test_it_is_of_all_chains(self) -> None:
        told = self.plan().mapping(seed=1)
        assert json.loads(json.dumps(told)) == told
        assert told["con_ref_pdb_idx"] == [["A", 5 * k + j] for k in range(4) for j in (2, 3, 4)]
        assert told["con_ref_idx0"] == list(range(12)) and told["copies"] == 4
        n = len(told["mask_1d"]) // 4
        assert np.flatnonzero(told["mask_1d"]).tolist() == told["con_hal_idx0"]
        assert [k // n for k in told["con_hal_idx0"]] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
        assert [chain for chain, _ in told["con_hal_pdb_idx"]] == [c for c in "ABCD" for _ in range(3)]
        assert [one.split("/")[1] for one in told["sampled_mask"]] == ["A2-4", "A7-9", "A12-14", "A17-19"]
        again = Plan.of("/0 ".join(told["sampled_mask"]), site(FOUR), copies=4)
        assert str(again.contig) == str(self.plan().contig)

    def test_a_design_has_these_residues_there(self) -> None:
        input = site(FOUR)
        (item,) = design(model(), NICKEL, input, symmetry="C4", **HOW)
        found = of_structure(item)
        note = found.note
        rows = [found.where(*place) for place in note["con_hal_pdb_idx"]]
        assert rows == note["con_hal_idx0"] == note["kept"] and note["motif_rmsd"] < 1e-3
        assert np.allclose(found.backbone[rows, :3], input.backbone[note["con_ref_idx0"], :3], atol=2e-3)
        with pytest.raises(ValueError, match="not symmetric"):
            design(model(), NICKEL, protein_off(input), symmetry="C4", **HOW)

    def test_without_motifs_it_counts_all_residues(self) -> None:
        told = Plan.of("40", copies=4).draw(Stream.of(0, 1))[0].mapping()
        assert told["mask_1d"] == [False] * 40 and told["sampled_mask"] == ["10-10"] * 4
        assert told["con_hal_idx0"] == []


def protein_off(input: Protein) -> Protein:
    return replace(input, backbone=input.backbone + np.float32([0, 5.0, 0]))
