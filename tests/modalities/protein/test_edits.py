"""What is kept of a user's protein: oxygens of traces, how far motifs are, and scores of what is whole in part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from langevin.core import keep
from langevin.modalities.protein.design import design
from langevin.modalities.protein.edits import restored
from langevin.modalities.protein.metrics.plausible import measure
from langevin.modalities.protein.protein import Protein, of_structure
from langevin.modalities.protein.records import SCORES, scored
from tests.modalities.protein.backbones import protein
from tests.modalities.protein.test_protein_modality import model
from tests.modalities.protein.test_trace import bare
from tests.modalities.protein.test_trace import model as trace_model

HOW: dict[str, Any] = {"steps": 3, "progress": False}


@pytest.fixture(scope="module")
def trace_of_a_motif() -> Protein:
    return of_structure(design(trace_model(), "3/A6-11/4", protein(20), **HOW)[0])


class TestOxygens:
    def test_kept_residues_of_a_trace_have_all_of_theirs(self, trace_of_a_motif: Protein) -> None:
        part, own = trace_of_a_motif[np.arange(3, 9)], protein(20)[np.arange(5, 11)]
        assert np.allclose(part.backbone, own.backbone, atol=2e-3)  # the last one's, too
        assert np.isnan(trace_of_a_motif.backbone[[0, 1, 2, 9, 10, 11, 12]][:, [0, 2, 3]]).all()

    def test_the_last_one_is_turned_to_the_bond_that_is_built(self) -> None:
        own, kept = protein(6), np.arange(6) < 3
        design = replace(own, backbone=protein(6, seed=5).backbone + own.backbone[2, 1])
        follows = np.arange(6) > 0
        made = restored(design, own, kept, follows, kept, kept)
        assert np.allclose(made.backbone[:2], own.backbone[:2])
        assert np.linalg.norm(made.backbone[2, 3] - own.backbone[2, 3]) > 0.1
        assert np.allclose(made.backbone[2, :3], own.backbone[2, :3])


class TestMotifs:
    def test_types_alone_have_no_place_to_be_away_from(self) -> None:
        (item,) = model().sample(1, like=protein(20), keep=keep.leaves("residues"), **HOW)
        made = of_structure(item)
        assert made.sequence == protein(20).sequence and made.note["kept_types"] == list(range(20))
        assert "motif_rmsd" not in made.note and scored(made)["motif_rmsd"] is None

    def test_types_beside_places_do_not_count(self) -> None:
        own, kept = protein(20), np.arange(20) < 8
        design = replace(own, backbone=np.where(kept[:, None, None], own.backbone, -own.backbone))
        made = restored(design, own, kept, np.arange(20) > 0, np.ones(20, bool), kept)
        assert made.note["kept_types"] == list(range(20)) and made.note["motif_rmsd"] == 0.0

    def test_places_of_a_contig_that_are_open_count(self) -> None:
        (item,) = design(model(), "4/A6-11/4", protein(20), inpaint_str="A6-11", **HOW)
        assert of_structure(item).note["motif_rmsd"] > 0.5

    def test_types_that_partial_diffusion_shows_do_not(self) -> None:
        (item,) = design(model(), "20", protein(20), partial=0.9, provide_seq="4-9", **HOW)
        note = of_structure(item).note
        assert note["kept_types"] == [4, 5, 6, 7, 8, 9] and "motif_rmsd" not in note


class TestScores:
    def test_torsions_of_a_part_are_not_those_of_the_design(self, trace_of_a_motif: Protein) -> None:
        assert measure(trace_of_a_motif).torsions == 4  # of thirteen residues
        row = scored(trace_of_a_motif)
        assert [name for name in SCORES if row[name] is None] == ["outside", "phi_positive", "plausible"]
        assert row["reasons"] == "residues without N or C" and row["motif_rmsd"] == 0.0

    def test_traces_and_whole_proteins(self) -> None:
        whole, trace = scored(protein(60)), scored(bare(protein(60)))
        assert whole["outside"] is not None and whole["plausible"] in (True, False)
        assert trace["outside"] is trace["phi_positive"] is trace["plausible"] is None
        assert trace["radius"] == whole["radius"] and trace["contacts"] == whole["contacts"]
