"""A protein as arrays, and its way to Biopython's objects and back."""

from __future__ import annotations

import numpy as np
import pytest

from langevin.modalities.protein.protein import (
    UNKNOWN,
    Protein,
    SideChains,
    join,
    of_structure,
    to_structure,
    types_of,
)
from tests.modalities.protein.chains import same, strand


def test_a_choice_of_residues_takes_its_side_chains_along() -> None:
    protein = strand("ACDG")
    for choice in ([2, 0], np.array([False, True, True, False]), slice(None, None, -1), 1, np.array([1, 1])):
        part = protein[choice]
        indices = np.atleast_1d(np.arange(4)[choice]).tolist()
        assert part.sequence == "".join("ACDG"[k] for k in indices)
        for new, old in enumerate(indices):
            assert part.side.of(new).keys() == protein.side.of(old).keys()
            for name, xyz in part.side.of(new).items():
                np.testing.assert_array_equal(xyz, protein.side.of(old)[name])


def test_joined_parts_are_the_parts() -> None:
    one, other = strand("AC"), strand("GDE", "B", at=(0, 20, 0))
    whole = join([one, other])
    same(whole[:2], one)
    same(whole[2:], other)
    assert whole.chain_ids == ["A", "B"] and whole.side.residue.tolist() == [0, 1, 3, 4]


def test_breaks_are_where_no_peptide_bond_is() -> None:
    whole = join([strand("AAA"), strand("AA", "B", at=(3 * 3.63, 0, 0)), strand("AA", "B", 8, at=(60, 0, 0))])
    assert whole.breaks.tolist() == [True, False, False, True, False, True, False]
    lone = Protein(
        np.where(np.arange(4)[:, None] == 1, strand("AAAA").backbone, np.nan),
        types_of("AAAA"),
        np.full(4, "A"),
        [4, 4, 5, 7],
        ["", "A", "", ""],
    )
    assert lone.ca_only and lone.breaks.tolist() == [True, False, False, True]
    assert not lone.complete.any() and not strand("A").ca_only


def test_a_residue_that_is_not_there_says_what_is() -> None:
    protein = join([strand("AAA", first=-1), strand("AAA", "B", numbers=[5, 6, 6], insertions=["", "", "A"])])
    assert protein.where("A", 0) == 1 and protein.where("B", 6, "A") == 5
    assert protein.listing() == "A-1-1, B5-6, B6A"
    with pytest.raises(KeyError, match="no residue B7; chain B has B5-6, B6A"):
        protein.where("B", 7)
    with pytest.raises(KeyError, match="no chain 'C'; there is A-1-1, B5-6, B6A"):
        protein.where("C", 1)


WRONG = {
    "types has the shape": {"types": types_of("AA")},
    "backbone has the shape": {"backbone": np.zeros((3, 3, 3))},
    "residue A2 has no position of its CA": {
        "backbone": np.where(np.arange(3)[:, None, None] == 1, np.nan, strand("AAA").backbone)
    },
    "types are 0 to 20; got 0 to 21": {"types": [0, 21, 0]},
    "side chains belong to residue 7 of 3": {"side": SideChains([7], ["CB"], [[0, 0, 0]])},
}


@pytest.mark.parametrize("said", WRONG)
def test_arrays_that_do_not_fit_are_refused(said: str) -> None:
    columns = {name: getattr(strand("AAA"), name) for name in Protein.__dataclass_fields__}
    with pytest.raises(ValueError, match=said):
        Protein(**{**columns, **WRONG[said]})


def test_letters_and_types() -> None:
    assert types_of("aCxB-").tolist() == [0, 1, UNKNOWN, UNKNOWN, UNKNOWN]
    assert strand("ACDEFGHIKLMNPQRSTVWYX").sequence == "ACDEFGHIKLMNPQRSTVWYX"


def test_structures_and_back() -> None:
    protein = join(
        [
            strand("ACX", first=-2),
            strand("GXW", "BB", numbers=[1, 1, 2], insertions=["", "A", ""], at=(0, 9, 0)),
        ],
        note={"seed": 3},
    )
    structure = to_structure(protein, "x", bfactors=[0, 0, 1, 1, 1, 1])
    assert [r.resname for r in structure.get_residues()] == ["ALA", "CYS", "GLY", "GLY", "GLY", "TRP"]
    assert [atom.bfactor for atom in structure[0]["A"][-2]] == [0] * 5
    assert {atom.bfactor for atom in structure[0]["A"][0]} == {1.0}
    back = of_structure(structure)
    same(protein, back, 0.0)
    assert back.note["seed"] == 3 and back.note["read"]["unknown"] == {}
    same(of_structure(structure[0]["BB"]), protein[protein.chains == "BB"], 0.0)
    with pytest.raises(ValueError, match="B1 is there twice"):
        to_structure(join([strand("A", "B"), strand("A", "B")]))
    with pytest.raises(ValueError, match="bfactors has the shape"):
        to_structure(protein, bfactors=[1.0])
    with pytest.raises(ValueError, match="Structure, Model or Chain of Bio.PDB; got list"):
        of_structure([])


def test_the_second_oxygen_is_written_at_ends_only() -> None:
    protein = strand("AAA")
    ends = SideChains([0, 2], ["OXT", "OXT"], np.zeros((2, 3)))
    protein = Protein(
        *(getattr(protein, n) for n in ("backbone", "types", "chains", "numbers", "insertions")), ends
    )
    names = [[atom.name for atom in residue] for residue in to_structure(protein).get_residues()]
    assert names == [["N", "CA", "C", "O"], ["N", "CA", "C", "O"], ["N", "CA", "C", "O", "OXT"]]
