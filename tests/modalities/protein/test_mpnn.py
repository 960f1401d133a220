"""ProteinMPNN's files: how it counts, what it is told, and its sequences read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langevin.modalities.protein.mpnn import (
    Record,
    assigned_chains,
    fixed_positions,
    places,
    read_sequences,
    with_sequences,
)
from langevin.modalities.protein.protein import Protein, SideChains, join, to_structure
from tests.modalities.protein.chains import strand

# the layout of ProteinMPNN's own outputs: designed chains in the order of their letters, whatever the order of the file
FASTA = """>d 1, score=1.4405, global_score=1.4946, fixed_chains=['C'], designed_chains=['A', 'b'], \
model_name=v_48_020, git_hash=015ff82, seed=37
GGG/GGXXGG
>T=0.1, sample=1, score=0.8450, global_score=1.0949, seq_recovery=0.5071
ACD/EFXXHI
>T=0.25, sample=1, score=nan, global_score=1.0996, seq_recovery=0.0000
KLM/NPXXQX
"""


def complex_(note: dict[str, Any] | None = None) -> Protein:
    """Chains b (a gap of two numbers), A and C."""
    return join(
        [
            strand("AXXC", "b", numbers=[7, 8, 11, 12]),
            strand("GGG", at=(0, 20, 0)),
            strand("WW", "C", at=(0, 40, 0)),
        ],
        note,
    )


def fasta(path: Path, text: str = FASTA) -> Path:
    path.write_text(text)
    return path


class TestPlaces:
    @pytest.mark.parametrize(
        ("numbers", "insertions", "expected"),
        [
            ([1, 2, 3], "   ", [1, 2, 3]),
            ([-2, -1, 0], "   ", [1, 2, 3]),
            ([10, 11, 15], "   ", [1, 2, 6]),
            ([3, 4, 4, 4, 8], "  AB ", [1, 2, 3, 4, 8]),
            ([5, 5, 6], "A  ", [2, 1, 3]),
            ([9, 3, 4], "   ", [7, 1, 2]),
            ([52, 54, 54], " AB", [1, 3, 4]),
        ],
    )
    def test_numbers_have_places_whether_or_not_there_is_a_residue(
        self, numbers: list[int], insertions: str, expected: list[int]
    ) -> None:
        codes = [code.strip() for code in insertions]
        found, many = places(strand("A" * len(numbers), "x", numbers=numbers, insertions=codes))
        assert found.tolist() == expected and many == {"x": max(expected)}

    def test_chains_count_for_themselves_and_breaks_do_not_count(self) -> None:
        item = complex_()
        broken = np.array(item.backbone)
        broken[5:7] += 30.0
        found, many = places(replace(item, backbone=broken))
        assert found.tolist() == [1, 2, 5, 6, 1, 2, 3, 1, 2] and many == {"b": 6, "A": 3, "C": 2}


class TestTold:
    def test_types_that_stay_are_told_by_place_and_chains_that_stay_whole(self) -> None:
        items = {"x": complex_({"kept": [0, 1, 3, 7, 8], "kept_types": [0, 3, 7, 8]}), "y": complex_()}
        assert assigned_chains(items) == {"x": [["A", "b"], ["C"]], "y": [["A", "C", "b"], []]}
        assert fixed_positions(items) == {
            "x": {"A": [], "b": [1, 6], "C": []},
            "y": {"A": [], "C": [], "b": []},
        }

    def test_places_are_in_ascending_order(self) -> None:
        item = strand("AAA", numbers=[5, 5, 4], insertions=["B", "A", ""])
        assert fixed_positions({"x": replace(item, note={"kept_types": [0, 2]})}) == {"x": {"A": [1, 3]}}


class TestSequences:
    def test_records(self, tmp_path: Path) -> None:
        one, two = read_sequences(fasta(tmp_path / "d.fa"))
        assert one == Record("d 1", {"A": "ACD", "b": "EFXXHI"}, 0.845, 1.0949, 0.5071, 1, 0.1)
        assert (two.sample, two.temperature, two.recovery) == (1, 0.25, 0.0) and np.isnan(two.score)

    def test_versions_without_a_global_score(self, tmp_path: Path) -> None:
        text = FASTA.replace("global_score=1.0949, ", "").replace("global_score=1.4946, ", "")
        assert [one.global_score for one in read_sequences(fasta(tmp_path / "d.fa", text))] == [None, 1.0996]

    @pytest.mark.parametrize("native", [True, False])
    def test_types_go_to_their_residues(self, tmp_path: Path, native: bool) -> None:
        item = complex_({"seed": 3})
        record = read_sequences(fasta(tmp_path / "d.fa"))[0]
        made = with_sequences(to_structure(item) if native else item, record)
        assert made.sequence == "EF" + "HI" + "ACD" + "WW"
        assert np.array_equal(made.backbone, item.backbone) and made.numbers.tolist() == item.numbers.tolist()
        assert made.note["seed"] == 3 and made.note["proteinmpnn"] == {
            "name": "d 1", "sample": 1, "temperature": 0.1, "score": 0.845, "recovery": 0.5071,
        }  # fmt: skip
        assert item.sequence == "AXXCGGGWW"

    def test_side_chains_of_types_that_change_go(self) -> None:
        item = strand("AVC")
        side = SideChains([0, 1, 2, 2], ["CB", "CB", "CB", "OXT"], np.ones((4, 3)))
        made = with_sequences(replace(item, side=side), Record("x", {"A": "AWW"}, 1.0, 1.0, 0.5, 1, 0.1))
        assert (
            made.side is not None
            and made.side.residue.tolist() == [0, 2]
            and made.side.name.tolist() == ["CB", "OXT"]
        )

    def test_what_was_written_is_read_back(self, tmp_path: Path) -> None:
        item = complex_({"kept_types": [7, 8]})
        (designed, _), (at, many) = assigned_chains({"x": item})["x"], places(item)
        rng = np.random.default_rng(0)
        wanted = replace(item, types=np.append(rng.integers(0, 20, 7), item.types[7:]).astype(np.int8))
        parts = []
        for chain in designed:
            letters = ["X"] * many[chain]
            for k in np.flatnonzero(item.chains == chain):
                letters[at[k] - 1] = wanted.sequence[k]
            parts.append("".join(letters))
        text = (
            FASTA.splitlines()[0]
            + f"\n{'/'.join(parts)}\n>T=0.1, sample=1, score=1, seq_recovery=0\n{'/'.join(parts)}\n"
        )
        (record,) = read_sequences(fasta(tmp_path / "x.fa", text))
        assert with_sequences(item, record).sequence == wanted.sequence

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (
                "QX\n",
                "Q",
                r"sample=1, score=nan.* has 3 \+ 5 residues and the first one 3 \+ 6; is it cut off",
            ),
            ("KLM/NPXXQX\n", "", r"has 0 residues and the first one 3 \+ 6; is it cut off"),
            ("recovery=0.0000\nKLM/NPXXQX\n", "", r"lacks seq_recovery; is it cut off"),
            ("ACD/", "ACD", r"has 9 residues and the first one 3 \+ 6"),
            ("ACD/", "AJO/", "has the letters J, O"),
            (FASTA[FASTA.index(">T=0.1") :], "", "no designed sequence"),
            ("designed_chains=['A', 'b'], ", "", "is not of ProteinMPNN.*designed_chains"),
            ("'A', 'b'", "'A'", r"names 1 designed chains, and its first record has residues of \[3, 6\]"),
            (">", "", "not a FASTA file"),
        ],
    )
    def test_files_that_are_damaged_say_where(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        assert old in FASTA
        path = fasta(tmp_path / "d.fa", FASTA.replace(old, new))
        with pytest.raises(ValueError, match=rf"(?s)d\.fa: .*{message}"):
            read_sequences(path)

    def test_there_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="none.fa"):
            read_sequences(tmp_path / "none.fa")

    @pytest.mark.parametrize(
        ("sequences", "message"),
        [
            ({"A": "ACDE"}, "x has 4 letters for chain A, of 3 residues$"),
            ({"b": "ACDE"}, "4 letters for chain b, of 4 residues, which with the gaps of its numbers are 6"),
            ({"B": "ACD"}, "x has the chain 'B'; the protein has b, A, C"),
            ({"A": "A-Z"}, "x has the letters -, Z"),
        ],
    )
    def test_sequences_that_do_not_fit_are_refused(self, sequences: dict[str, str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            with_sequences(complex_(), Record("x", sequences, 1.0, None, 0.5, 1, 0.1))
