"""Plans: what a contig means beside an input, what does not fit it, and the mapping that is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from langevin.core.rng import Stream
from langevin.modalities.protein.contigs import Contig, ContigError
from langevin.modalities.protein.fitting import PlanError
from langevin.modalities.protein.plan import Plan
from langevin.modalities.protein.protein import UNKNOWN, to_structure
from tests.modalities.protein.inputs import protein

TWO = protein("A1-150, B1-100")
GAPS = protein("A3-44, A51-150, B1-100")


def drawn(contig: str, input: Any = TWO, seed: int = 0, **more: Any) -> Plan:
    return Plan.of(contig, input, **more).draw(Stream.of(seed, 1))[0]


def written(plan: Plan) -> str:
    """Chains and numbers of a design, in short."""
    lay = plan.layout
    ends = [0, *(k for k in range(1, len(lay)) if lay.chain[k] != lay.chain[k - 1]), len(lay)]
    return " ".join(f"{lay.label(a)}-{lay.label(b - 1)}" for a, b in zip(ends[:-1], ends[1:]))


class TestLayout:
    def test_kept_and_built_residues_stand_in_the_order_of_the_contig(self) -> None:
        plan = drawn("5-15/A10-25/30-40/0 B1-100", length=56)
        lay, built = plan.layout, plan.contig.built
        first = built[0].least
        assert 5 <= first <= 15 and first + 16 + built[1].least == 56 and len(lay) == 156
        assert lay.source[:first].tolist() == [-1] * first
        assert lay.source[first : first + 16].tolist() == list(range(9, 25))
        assert lay.source[56:].tolist() == list(range(150, 250))
        assert (lay.structure == (lay.source >= 0)).all() and (lay.sequence == lay.structure).all()
        assert lay.segment[[0, first, 55, 56]].tolist() == [0, 1, 2, 3] and lay.chain[
            [0, 55, 56]
        ].tolist() == [0, 0, 1]
        assert not lay.hotspot.any() and (lay.start == -1).all() and (lay.secondary == "").all()

    def test_chains_come_in_the_order_given_and_kept_ones_have_their_names_and_numbers(self) -> None:
        assert written(drawn("B1-100/0 30")) == "B1-B100 A1-A30"
        assert written(drawn("30/0 B5-100")) == "A1-A30 B5-B100"
        assert written(drawn("A1-150/0 30/0 B1-100/0 7")) == "A1-A150 C1-C30 B1-B100 D1-D7"
        assert written(drawn("A1-50/0 A60-100")) == "A1-A50 B60-B100"
        assert written(drawn("A1-50/A60-100/0 9")) == "A1-A100 B1-B9"

    @pytest.mark.parametrize(
        ("contig", "expected"),
        [
            ("10-40/A100-120/10-40", "A90-A130"),
            ("5-15/A10-25/10", "A1-A36"),  # the longest start would begin below 1
            ("9/A10-25/10", "A1-A35"),
            ("8/A10-25/10", "A2-A35"),
            ("10/A10-25/10", "A1-A36"),  # a number 0 is none
            ("A10-20/9/A30-40", "A10-A40"),  # a repaired loop
            ("A10-20/8-9/A30-40", "A1-A31"),
            ("A30-40/5/A10-20", "A1-A27"),
            ("A10-20/9/B30-40", "A1-A31"),
        ],
    )
    def test_designed_chains_have_the_numbers_of_the_input_where_these_fit(
        self, contig: str, expected: str
    ) -> None:
        plan = drawn(contig, length=None)
        if contig == "10-40/A100-120/10-40":
            plan = replace(plan, contig=plan.contig.fix([10, 10]))
        if contig == "5-15/A10-25/10":
            plan = replace(plan, contig=plan.contig.fix([10, 10]))
        if contig == "A10-20/8-9/A30-40":
            plan = replace(plan, contig=plan.contig.fix([9]))
        assert written(plan) == expected
        assert written(replace(plan, numbering="design")) == f"A1-A{len(plan.layout)}"

    def test_masks_and_hotspots(self) -> None:
        plan = drawn(
            "10/A10-25/10/0 B1-100",
            inpaint_seq="[A10-12/B7]",
            inpaint_str="B20-40",
            helix="B20-25",
            loop="B30",
            hotspots="[B30,B33]",
        )
        lay = plan.layout
        assert np.flatnonzero(~lay.sequence & (lay.source >= 0)).tolist() == [10, 11, 12, 42]
        assert np.flatnonzero(~lay.structure & (lay.source >= 0)).tolist() == list(range(55, 76))
        assert np.flatnonzero(lay.hotspot).tolist() == [65, 68]
        assert np.flatnonzero(lay.secondary == "H").tolist() == list(range(55, 61))
        assert np.flatnonzero(lay.secondary == "-").tolist() == [65]

    def test_types_that_are_not_known_are_not_shown(self) -> None:
        types = TWO.types.copy()
        types[9] = UNKNOWN
        plan = drawn("5/A10-25", replace(TWO, types=types))
        assert not plan.layout.sequence[5] and plan.layout.sequence[6:].all()
        assert "note: of A10 the type is not known" in plan.describe()

    def test_a_structure_of_biopython_is_an_input(self) -> None:
        assert Plan.of("5/A10-25", to_structure(TWO)).describe() == Plan.of("5/A10-25", TWO).describe()

    def test_lengths_are_drawn_first_and_motifs_need_an_input(self) -> None:
        with pytest.raises(ValueError, match="still to be drawn"):
            _ = Plan.of("5-15/A10-25", TWO).layout
        with pytest.raises(ValueError, match="give the input"):
            _ = Plan.of("5/A10-25").layout
        assert len(Plan.of("50").layout) == 50

    def test_draws_are_of_their_sample(self) -> None:
        plan = Plan.of("5-15/A10-25/30-40", TWO)
        rows = [str(one.contig) for one in plan.draw(Stream.of(3, 5))]
        assert len(set(rows)) > 1 and rows[3] == str(plan.draw(Stream.of(3, [3]))[0].contig)
        assert all(one.asked == plan.contig for one in plan.draw(Stream.of(3, 5))[0].draw(Stream.of(4, 1)))


class TestInput:
    def test_missing_residues_are_named_and_a_contig_proposed(self) -> None:
        with pytest.raises(PlanError) as caught:
            Plan.of("10/A1-60/20/0 B90-120", GAPS)
        error = caught.value
        assert [one.problem for one in error.problems] == [
            "A1-2, A45-50 are not in the input (chain A has 3-44 51-150)",
            "B101-120 are not in the input (chain B has 1-100)",
        ]
        assert str(error.corrected) == "10-10/A3-44/6-6/A51-60/20-20/0 B90-100"
        assert f"a contig that fits: {error.corrected}" in str(error)
        assert "  10/A1-60/20/0 B90-120\n     ^^^^^" in str(error)
        Plan.of(str(error.corrected), GAPS)

    def test_a_chain_that_is_kept_is_split_at_its_gaps(self) -> None:
        with pytest.raises(PlanError) as caught:
            Plan.of("A3-60/0 20", GAPS)
        assert str(caught.value.corrected) == "A3-44/A51-60/0 20-20"
        assert "A45-50 are not in the input" in str(caught.value)

    def test_numbers_that_skip_over_a_bond_are_not_missing(self) -> None:
        plan = drawn("5/A1-20/5", protein("A1-10+A15-20"))
        assert plan.counts == [16] and len(plan.layout) == 26
        assert "no numbers between 10 and 15, which are bonded" in plan.describe()

    def test_breaks_between_consecutive_numbers_are_told(self) -> None:
        plan = Plan.of("5/A1-20/5", protein("A1-10, A11-20"))
        assert "broken between 10 and 11" in plan.describe()

    def test_insertion_codes(self) -> None:
        antibody = protein("H50-52+H52A+H52B+H53-60")
        assert Plan.of("5/H50-53/5", antibody).counts == [6]
        assert Plan.of("5/H50-52/5", antibody).counts == [3]
        assert Plan.of("5/H52A-52B/5", antibody).counts == [2]
        assert Plan.of("5/H52/5/H52A/3", antibody).counts == [1, 1]
        assert drawn("5/H52A-53/5", antibody).mapping()["con_ref_pdb_idx"] == [
            ["H", "52A"],
            ["H", "52B"],
            ["H", 53],
        ]
        with pytest.raises(PlanError, match=r"H52C is not in the input|no residue of H52C"):
            Plan.of("5/H52C-54", antibody)

    def test_wrong_chains(self) -> None:
        with pytest.raises(
            PlanError, match="there is no chain C in the input; there is A 1-150, B 1-100"
        ) as caught:
            Plan.of("5/C1-20", TWO)
        assert caught.value.corrected is None
        with pytest.raises(PlanError) as caught:
            Plan.of("5/b1-20", TWO)
        assert str(caught.value.corrected) == "5-5/B1-20"
        with pytest.raises(PlanError) as caught:
            Plan.of("5/C10-30", protein("A1-20"))
        assert str(caught.value.corrected) == "5-5/A10-20"
        with pytest.raises(PlanError, match="no residue of A400-410 is in the input"):
            Plan.of("A400-410/5", TWO)

    def test_overlaps(self) -> None:
        with pytest.raises(PlanError, match="A20-25 are in A10-25 already") as caught:
            Plan.of("5/A10-25/5/A20-30", TWO)
        assert str(caught.value.corrected) == "5-5/A10-25/5-5/A26-30"
        for contig in ("A10-25/5/A12-14", "A12-14/5/A10-25"):
            with pytest.raises(PlanError, match="A12-14 are in") as caught:
                Plan.of(contig, TWO)
            assert caught.value.corrected is None

    def test_backbone_atoms_that_are_missing(self) -> None:
        backbone = TWO.backbone.copy()
        backbone[19, 0] = np.nan
        with pytest.raises(PlanError, match=r"A20 lacks backbone atoms \(N\)") as caught:
            Plan.of("5/A10-25", replace(TWO, backbone=backbone))
        assert str(caught.value.corrected) == "5-5/A10-19/1-1/A21-25"
        backbone[:, [0, 2, 3]] = np.nan
        with pytest.raises(PlanError, match="CA atoms alone"):
            Plan.of("5/A10-25", replace(TWO, backbone=backbone))
        assert len(drawn("50", replace(TWO, backbone=backbone)).layout) == 50

    def test_many_problems_are_told_in_part(self) -> None:
        with pytest.raises(PlanError, match="and 4 more"):
            Plan.of("/".join(f"C{k}" for k in range(10)), TWO)

    def test_motifs_that_cannot_be_joined_are_noted(self) -> None:
        assert "A20 and A30 would be bonded in the design" in Plan.of("5/A10-20/A30-40", TWO).describe()
        assert "note" not in Plan.of("5/A10-20/A21-40", TWO).describe()
        assert "note" not in Plan.of("A10-20/A30-40/0 5", TWO).describe()


class TestPartial:
    def test_what_is_built_starts_from_the_input(self) -> None:
        plan = drawn("100/A101-150/0 B1-100", partial=True)
        assert plan.layout.start.tolist() == list(range(250)) and written(plan) == "A1-A150 B1-B100"
        assert written(drawn("150/0 100", partial=True)) == "A1-A150 B1-B100"
        plan = drawn("B1-100/0 150", partial=True)
        assert plan.layout.start.tolist() == [*range(150, 250), *range(150)]

    @pytest.mark.parametrize(
        ("contig", "says", "fits"),
        [
            ("100/0 B1-100", "has 250 residues (A 1-150, B 1-100); this contig has 200", "150-150/0 B1-100"),
            ("140-160/0 B1-100", "every length must be one number", "150-150/0 B1-100"),
            ("30/A10-20/109/0 B1-100", "would be neighbours", "9-9/A10-20/130-130/0 B1-100"),
            ("250", "A150 and B1", "150-150/0 100-100"),
        ],
    )
    def test_what_cannot_start_from_it(self, contig: str, says: str, fits: str) -> None:
        with pytest.raises(PlanError) as caught:
            Plan.of(contig, TWO, partial=True)
        assert says in caught.value.problems[0].problem and str(caught.value.corrected) == fits
        Plan.of(fits, TWO, partial=True)

    def test_places_count_from_0_over_designed_chains_first(self) -> None:
        plan = drawn("150/0 100", partial=True, provide_seq="[150-155,249]")
        assert np.flatnonzero(plan.layout.sequence).tolist() == [*range(150, 156), 249]
        plan = drawn("B1-100/0 150", partial=True, provide_seq="0-2")
        assert np.flatnonzero(plan.layout.sequence[100:]).tolist() == [0, 1, 2]
        assert plan.layout.order[:3].tolist() == [100, 101, 102]
        with pytest.raises(
            ContigError, match="place 250 is not in the design, which has 250 residues, 0 to 249"
        ):
            Plan.of("150/0 100", TWO, partial=True, provide_seq="240-250")
        with pytest.raises(ContigError, match="provide_seq is for partial diffusion"):
            Plan.of("150/0 100", TWO, provide_seq="1")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"hotspots": "A30,B5"}, "hotspots: B5 is not among the residues that the contig keeps (A10-40)"),
        ({"hotspots": "A38-43"}, "A41-43 is not among"),
        ({"inpaint_seq": "A9"}, "inpaint_seq: A9 is not among"),
        ({"helix": "A20"}, "helix: A20 is not among the residues that inpaint_str names (none)"),
        ({"inpaint_str": "A20-30", "helix": "A20-24", "loop": "A24"}, "both helix and loop"),
        ({"length": 300}, "a length of 300 cannot be"),
        ({"numbering": "inputs"}, "unknown numbering 'inputs'; did you mean 'input'?"),
        ({"partial": True, "copies": 2}, "symmetr"),
    ],
)
def test_what_is_said_about_residues_must_be_about_kept_ones(more: dict[str, Any], says: str) -> None:
    for input in (None, TWO):
        with pytest.raises(ValueError) as caught:
            Plan.of("5-15/A10-40/20", input, **more)
        assert says in str(caught.value)
    with pytest.raises(ContigError, match="this contig builds nothing"):
        Plan.of("A1-20", hotspots="A3")


def test_hotspots_in_what_skips_are_not_there() -> None:
    with pytest.raises(ContigError, match="hotspots: A12-12 is not in the input"):
        Plan.of("5/0 A1-20", protein("A1-10+A15-20"), hotspots="A12")


class TestAccount:
    def test_describe(self) -> None:
        plan = Plan.of(
            "5-15/A10-25/30-40/0 B1-100", TWO, length="55-60", hotspots="B30,B33", inpaint_seq="A10"
        )
        assert plan.describe("two.pdb").splitlines() == [
            "contig  5-15/A10-25/30-40/0 B1-100",
            "input   two.pdb: A 1-150, B 1-100",
            "",
            "chain  segment  what                     residues",
            "-----  -------  -----------------------  --------",
            "A      5-15     built                    5-15",
            "A      A10-25   kept, types open at A10  16",
            "A      30-40    built                    30-40",
            "B      B1-100   kept                     100",
            "",
            "chain A: 51-71 residues, designed, numbers from 1",
            "chain B: 100 residues, kept whole, the numbers of the input",
            "in all 155-160 residues, 39-44 of them built",
            "length 55-60 is asked for: 55-60 residues in the chains in which something is built",
            "hotspots: B30, B33",
        ]

    def test_copies_partial_and_hidden_places_are_told(self) -> None:
        text = Plan.of("480", copies=6).describe()
        assert "80-80" in text and "symmetry makes 6 copies of this: 480 residues" in text
        assert "built from the input" in Plan.of("150/0 100", TWO, partial=True).describe()
        text = Plan.of("70-100/0 B1-20", TWO, inpaint_str="B1-20", strand="B1-9").describe()
        assert (
            "types kept, built at B1-20, strand at B1-9" in text
            and "chain B: 20 residues, of the input" in text
        )
        assert "nothing is checked against an input" in Plan.of("5/A1-20").describe()

    def test_mapping_has_the_keys_of_trb_files(self) -> None:
        plan = drawn("5/A10-12/4/0 B1-3", inpaint_seq="A11", inpaint_str="B2", hotspots="B1", length="12-12")
        told = plan.mapping(seed=7, settings={"diffuser.T": "50"})
        assert json.loads(json.dumps(told)) == told
        assert told["con_ref_pdb_idx"] == [["A", 10], ["A", 11], ["A", 12]]
        assert told["con_hal_pdb_idx"] == [["A", 10], ["A", 11], ["A", 12]]
        assert told["con_ref_idx0"] == [9, 10, 11] and told["con_hal_idx0"] == [5, 6, 7]
        assert (
            told["receptor_con_ref_pdb_idx"]
            == told["receptor_con_hal_pdb_idx"]
            == [["B", 1], ["B", 2], ["B", 3]]
        )
        assert told["receptor_con_hal_idx0"] == [12, 13, 14] and told["receptor_con_ref_idx0"] == [
            150,
            151,
            152,
        ]
        assert told["complex_con_hal_idx0"] == [5, 6, 7, 12, 13, 14]
        assert told["mask_1d"] == [False] * 5 + [True] * 3 + [False] * 4 + [True] * 3
        assert told["inpaint_seq"] == [m and k != 6 for k, m in enumerate(told["mask_1d"])]
        assert told["inpaint_str"] == [m and k != 13 for k, m in enumerate(told["mask_1d"])]
        assert told["sampled_mask"] == ["5-5/A10-12/4-4", "B1-3/0"]
        assert told["hotspots"] == [["B", 1]] and told["seed"] == 7 and told["config"] == {"diffuser.T": "50"}
        assert told["contig"] == "5-5/A10-12/4-4/0 B1-3" and told["length"] == [12, 12]
        assert "receptor_con_ref_idx0" not in drawn("5/A10-12/4").mapping()

    def test_the_mapping_names_the_residues_that_are_written(self) -> None:
        for contig in ("5-9/A60-70/3-20/A30-35/0 A80-90/A100-110", "7/B5-9/0 A5-9/7/0 5"):
            plan = drawn(contig)
            lay, told = plan.layout, plan.mapping()
            told = {
                "complex_con_hal_pdb_idx": told["con_hal_pdb_idx"],
                "complex_con_hal_idx0": told["con_hal_idx0"],
            } | told
            labels = [[str(lay.chains[k]), int(lay.numbers[k])] for k in told["complex_con_hal_idx0"]]
            assert labels == told["complex_con_hal_pdb_idx"]
            assert len({lay.label(k) for k in range(len(lay))}) == len(lay)

    def test_a_drawn_contig_is_itself_a_contig(self) -> None:
        plan = drawn("0-20/A10-25/0-20", seed=5)
        again = Plan.of("/0 ".join(one.removesuffix("/0") for one in plan.mapping()["sampled_mask"]), TWO)
        assert again.contig == plan.contig and isinstance(again.contig, Contig)
