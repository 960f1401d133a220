"""PDB and mmCIF files in and out: what is read is what is there, and the rest is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langevin.modalities import structure_files
from langevin.modalities.protein.files import (
    iter_chains,
    iter_models,
    read,
    read_protein,
    write,
    write_cif,
    write_fasta,
    write_note,
    write_pdb,
)
from langevin.modalities.protein.protein import UNKNOWN, Protein, SideChains, join, of_structure, to_structure
from tests.modalities.protein.chains import RESIDUE, STEP, line, residue, same, strand
from tests.modalities.protein.chains import write as lines_to

KINDS = ("x.pdb", "x.ent.gz", "x.cif", "x.mmcif.gz")


def several() -> Protein:
    """Two chains, negative numbers, insertion codes, a gap, a residue without O and residues without a type."""
    parts = [
        strand("ACDW", first=-2),
        strand("XXGX", first=40, at=(60, 0, 0)),
        strand("AXX", "b", numbers=[7, 7, 8], insertions=["", "A", ""], at=(0, 30, -900)),
    ]
    whole = join(parts, {"seed": 7, "contig": "A-2-1/4/b7-8", "name": "two chains"})
    whole.backbone[2, 3] = np.nan
    return whole


@pytest.mark.parametrize("name", KINDS)
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    protein = several()
    assert write(protein, tmp_path / name) == tmp_path / name
    same(protein, read_protein(tmp_path / name))
    same(protein, of_structure(read(tmp_path / name)))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert read_protein(tmp_path / name).breaks.tolist() == protein.breaks.tolist()
    assert [p.chain_ids for p in iter_chains(tmp_path / name)] == [["A"], ["b"]]
    assert read_protein(tmp_path / name, "b").sequence == "AXX"
    with pytest.raises(
        ValueError, match=f"{name}: has no protein chain 'B'; there is A-2-1, A40-43, b7, b7A, b8"
    ):
        read_protein(tmp_path / name, ["A", "B"])
    again = tmp_path / f"again_{name}"
    write(read(tmp_path / name), again)
    same(protein, read_protein(again))


def test_chains_of_several_letters_live_in_mmcif_only(tmp_path: Path) -> None:
    protein = join(
        [strand("AC", "Heavy-1"), strand("DE", "L 2", at=(0, 9, 0)), strand("X", "it's", at=(0, 20, 0))]
    )
    same(protein, read_protein(write_cif(protein, tmp_path / "x.cif")))
    with pytest.raises(ValueError, match=r"chain 'Heavy-1' cannot be named .* write mmCIF"):
        write_pdb(protein, tmp_path / "x.pdb")
    crowd = join([strand("A", f"{k}", at=(0, 9 * k, 0)) for k in range(63)])
    same(crowd, read_protein(write_cif(crowd, tmp_path / "y.cif")))
    with pytest.raises(ValueError, match=r"63 chains; a PDB file has names for 62: write mmCIF"):
        write_pdb(crowd, tmp_path / "y.pdb")


def test_what_a_pdb_file_cannot_hold_goes_to_mmcif(tmp_path: Path) -> None:
    for protein, said in (
        (strand("AA", at=(9996, 0, 0)), r"reaches from -999\.999 to 9999\.999 Å: write mmCIF"),
        (strand("AA", at=(0, -1000, 0)), r"atom N of A1 at \(-1\.200, -999\.200, 0\.000\)|reaches from"),
        (strand("AA", first=9999), "residue ALA A10000 does not fit into a PDB file: write mmCIF"),
    ):
        with pytest.raises(ValueError, match=said):
            write_pdb(protein, tmp_path / "x.pdb")
        assert not [*tmp_path.glob("*.pdb")]
        same(protein, read_protein(write_cif(protein, tmp_path / "x.cif")), 2e-3)
    with pytest.raises(ValueError, match="unknown suffix of a structure '.xyz'"):
        write(strand("A"), tmp_path / "x.xyz")
    broken = to_structure(strand("A"))
    next(broken.get_atoms()).coord = np.array([np.inf, 0, 0])
    with pytest.raises(ValueError, match="atom N of ALA has no finite position"):
        write_cif(broken, tmp_path / "x.cif")


def test_a_blank_chain_stays_blank(tmp_path: Path) -> None:
    for name in KINDS:
        same(strand("AXC", ""), read_protein(write(strand("AXC", ""), tmp_path / name)))


def test_a_file_says_how_it_was_made_and_which_residues_are_placeholders(tmp_path: Path) -> None:
    text = write_pdb(several(), tmp_path / "x.pdb", bfactors=range(11)).read_text()
    assert all(len(row) <= 80 for row in text.splitlines())
    assert 'REMARK   6 "contig": "A-2-1/4/b7-8"\n' in text
    for run in ("A 40 41", "A 43 43", "b 7A 7A", "b 8 8"):
        assert f"REMARK   6 PLACEHOLDER GLY {run}\n" in text
    assert text.count("\nTER ") == 2 and text.endswith("\nEND\n")
    marks = {int(row[22:26]): float(row[60:66]) for row in text.splitlines() if row.startswith("ATOM")}
    assert marks[-2] == 0 and marks[43] == 7
    assert "A 42" not in text.split("ATOM")[0]
    cif = write_cif(several(), tmp_path / "x.cif").read_text()
    note = json.loads(cif.split("_langevin_design.note\n;")[1].split("\n;")[0])
    assert note == several().note


def test_fasta_and_json(tmp_path: Path) -> None:
    path = write_fasta({"design 1": several(), "two": to_structure(strand("A" * 81))}, tmp_path / "x.fasta")
    assert path.read_text() == f">design_1_A\nACDWXXGX\n>design_1_b\nAXX\n>two_A\n{'A' * 80}\nA\n"
    said = json.loads(write_note(several(), tmp_path / "x.json").read_text())
    assert said["sequences"] == {"A": "ACDWXXGX", "b": "AXX"} and said["seed"] == 7
    assert said["residues"] == "A-2-1, A40-43, b7, b7A, b8"
    with pytest.raises(ValueError, match="no proteins to write"):
        write_fasta({}, tmp_path / "y.fasta")


def test_alternate_locations(tmp_path: Path) -> None:
    rows = {
        "ALA": [(" ", 1.0)],  # one location
        "SER": [("A", 0.4), ("B", 0.6)],  # the higher occupancy
        "CYS": [("A", 0.5), ("B", 0.5)],  # the first of two equal ones
    }
    lines = []
    for place, (name, labels) in enumerate(rows.items()):
        lines += residue(name, place + 1, place)
        for k, (label, occupancy) in enumerate(labels):
            lines.append(line("CB", name, place + 1, (0, 0, 10 * k), altloc=label, occupancy=occupancy))
    # a point mutation: two residues at one place
    for name, label, occupancy in (("THR", "A", 0.3), ("VAL", "B", 0.7)):
        lines += residue(name, 4, 3, altloc=label, occupancy=occupancy)
    for path in (lines_to(tmp_path / "x.pdb", lines), tmp_path / "x.cif"):
        if path.suffix == ".cif":
            write_cif(read(tmp_path / "x.pdb"), path)
        protein = read_protein(path)
        assert protein.sequence == "ASCV" and protein.note["read"]["alternates"] == 2
        assert [float(protein.side.of(k)["CB"][2]) for k in range(3)] == [0, 10, 0]


def test_modified_residues_waters_ligands_and_gaps(tmp_path: Path) -> None:
    mse = residue("MSE", 2, 1, record="HETATM")
    se = line("SE", "MSE", 2, (STEP, -2, 2), record="HETATM", element="SE")
    lines = [
        "REMARK 465   M RES C SSSEQI",
        "REMARK 465     GLY A     0",
        *residue("HID", 1, 0),
        *mse,
        se,
        *residue("SEP", 3, 2, record="HETATM"),
        line("P", "SEP", 3, (9, 9, 9), record="HETATM"),
        *residue("XYZ", 4, 3),
        *residue("ALA", 9, 8, atoms=("N", "C", "O")),
        *residue("GLY", 12, 11, atoms=("N", "CA")),
        line("H", "GLY", 12, (40, 1, 1)),
        "TER",
        *residue("GLU", 300, 30, record="HETATM"),  # a free amino acid
        line("CA", " CA", 301, (0, 50, 0), record="HETATM", element="CA"),  # calcium
        line("O", "HOH", 401, (0, 60, 0), record="HETATM"),
        line("P", " DA", 5, (0, 70, 0), chain="B"),
    ]
    protein = read_protein(lines_to(tmp_path / "x.pdb", lines))
    assert protein.sequence == "HMSXG" and protein.numbers.tolist() == [1, 2, 3, 4, 12]
    assert protein.side.of(1)["SD"].tolist() == pytest.approx([STEP, -2, 2]) and protein.side.of(2) == {}
    assert np.isnan(protein.backbone[4, 2:]).all() and not np.isnan(protein.backbone[4, :2]).any()
    assert protein.breaks.tolist() == [True, False, False, False, True]
    assert protein.note["source"] == "x.pdb"
    assert protein.note["read"] == {
        "models": 1,
        "skipped": 0,
        "missing": [["A", 0, "", "GLY"]],
        "waters": 1,
        "nucleotides": 1,
        "hydrogens": 1,
        "alternates": 0,
        "ligands": {"GLU": 1, "CA": 1},
        "without_ca": {"ALA": 1},
        "modified": {"HID": 1, "MSE": 1, "SEP": 1},
        "unknown": {"XYZ": 1},
    }


def test_a_file_with_ca_alone_is_taken_and_says_so(tmp_path: Path) -> None:
    lines = [row for k in range(3) for row in residue("ALA", k + 1, k, atoms=("CA",))]
    protein = read_protein(lines_to(tmp_path / "x.pdb", lines))
    assert protein.ca_only and len(protein) == 3 and protein.breaks.tolist() == [True, False, False]
    same(protein, read_protein(write_cif(protein, tmp_path / "x.cif")))


def test_models(tmp_path: Path) -> None:
    lines = []
    for number in (1, 2, 3):
        lines += [f"MODEL     {number:>4}", *residue("ALA", number, 0), "ENDMDL"]
    source = lines_to(tmp_path / "x.pdb", lines)
    write_cif(read(source, every_model=True), tmp_path / "x.cif")
    write_pdb(read(source, every_model=True), tmp_path / "y.pdb")
    for path in (tmp_path / "x.pdb", tmp_path / "x.cif", tmp_path / "y.pdb"):
        assert [p.numbers.tolist() for p in iter_models(path)] == [[1], [2], [3]]
        assert len(read(path)) == 1 and read_protein(path).note["read"]["models"] == 3
        assert read_protein(path, model=2).numbers.tolist() == [2]
        with pytest.raises(ValueError, match="has 3 models; model 4 was asked for"):
            read_protein(path, model=4)


ROWS = """data_1ABC
loop_
_pdbx_unobs_or_zero_occ_residues.PDB_model_num
_pdbx_unobs_or_zero_occ_residues.auth_asym_id
_pdbx_unobs_or_zero_occ_residues.auth_comp_id
_pdbx_unobs_or_zero_occ_residues.auth_seq_id
_pdbx_unobs_or_zero_occ_residues.PDB_ins_code
1 H SER 51 ?
1 H GLY 52 A
#
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
"""


def test_ids_of_the_authors_and_of_the_format(tmp_path: Path) -> None:
    atoms = [
        f"ATOM {4 * k + a} {name[0]} {name} ALA A {k + 1} {k + 50} H {x + STEP * k:.3f} {y:.3f} {z:.3f}\n"
        for k in range(3)
        for a, (name, (x, y, z)) in enumerate(zip(("N", "CA", "C", "O"), RESIDUE))
    ]
    (tmp_path / "x.cif").write_text(ROWS + "".join(atoms) + "#\n")
    protein = read_protein(tmp_path / "x.cif")
    assert protein.listing() == "H50-52"
    assert protein.note["read"]["missing"] == [["H", 51, "", "SER"], ["H", 52, "A", "GLY"]]
    assert read_protein(tmp_path / "x.cif", ids="label").listing() == "A1-3"
    with pytest.raises(ValueError, match="unknown kind of ids 'lable'; did you mean 'label'"):
        read_protein(tmp_path / "x.cif", ids="lable")
    bare = ROWS.replace("_atom_site.auth_asym_id\n", "").replace("_atom_site.auth_seq_id\n", "")
    rows = [" ".join((*row.split()[:7], *row.split()[9:])) for row in atoms]
    (tmp_path / "y.cif").write_text(bare + "\n".join(rows))
    assert read_protein(tmp_path / "y.cif").listing() == "A1-3"


def test_residues_that_stand_there_twice_are_counted(tmp_path: Path) -> None:
    path = lines_to(tmp_path / "x.pdb", [*residue("ALA", 1, 0), *residue("ALA", 1, 5)])
    assert len(read_protein(path)) == 1 and read_protein(path).note["read"]["skipped"] >= 4


WHOLE = "\n".join([row for k in range(4) for row in residue("ALA", k + 1, k)])
BAD: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.pdb", b" \n", "is empty"),
    "no atoms": ("a.pdb", b"HEADER    NOTHING\nEND\n", "no ATOM"),
    "cut in a line": ("a.pdb", WHOLE[:-60].encode(), "line 16 is cut off"),
    "a word for a number": ("a.pdb", WHOLE.replace("   1.200", " one.two").encode(), "cannot be read as a structure"),
    "NaN": ("a.pdb", WHOLE.replace("   1.200", "     nan").encode(), r"a\.pdb: atom C of ALA 1 lies at \[nan"),
    "infinity": ("a.pdb", WHOLE.replace("   1.200", "     inf").encode(), r"lies at \[inf"),
    "a long line": ("a.pdb", b"ATOM  " + b"x" * 70_000, "line 1 has 70006 characters"),
    "binary": ("a.pdb", b"ATOM\0\1\2", "not a text file"),
    "a pickle": ("a.cif", b"\x80\x04\x95\0\0", "not a text file"),
    "water": ("a.pdb", line("O", "HOH", 1, (0, 0, 0), record="HETATM").encode(), "of a protein; there are 1 waters"),
    "a ligand": ("a.pdb", line("C1", "LIG", 1, (0, 0, 0), record="HETATM").encode(), r"1 other groups \(LIG\)"),
    "no CA": ("a.pdb", "\n".join(residue("ALA", 1, 0, atoms=("N", "C"))).encode(), r"1 amino acids without a CA \(ALA\)"),
    "no coordinates": ("a.cif", b"data_X\n_cell.length_a 1\n", "no coordinates"),
    "half a column": ("a.cif", b"data_X\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1\n", "lacks|cut off"),
    "a long row": ("a.cif", b"data_X\nloop_\n_atom_site.id\n" + b"1 " * 40_000, "line 4 has 80000 characters"),
    "suffix": ("a.txt", b"ATOM", "unknown suffix of a structure '.txt'"),
    "no gzip": ("a.pdb.gz", b"ATOM", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_none_say_why(tmp_path: Path, kind: str) -> None:
    name, data, words = BAD[kind]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=words) as caught:
        read_protein(tmp_path / name)
    assert name in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pdb"):
        read(tmp_path / "none.pdb")


def test_sizes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = tmp_path / "huge.pdb.gz"
    huge.write_bytes(gzip.compress("\n".join(residue("ALA", 1, 0, atoms=("CA",)) * 2000).encode()))
    monkeypatch.setattr(structure_files, "MOST_ATOMS", 1999)
    with pytest.raises(ValueError, match=r"huge\.pdb\.gz: has 2000 atoms or more; at most 1999 are read"):
        read_protein(huge)
    monkeypatch.setattr(structure_files, "MOST_BYTES", 100_000)
    with pytest.raises(ValueError, match="more than"):
        read_protein(huge)
    write_cif(strand("AAAAAA"), tmp_path / "x.cif")
    monkeypatch.setattr(structure_files, "MOST_ATOMS", 20)
    with pytest.raises(ValueError, match="has 21 atoms or more; at most 20"):
        read_protein(tmp_path / "x.cif")


@pytest.mark.parametrize("name", ["x.pdb", "x.cif"])
def test_no_cut_gives_anything_but_a_protein_or_a_reason(tmp_path: Path, name: str) -> None:
    text = write(strand("AXC"), tmp_path / name).read_text()
    for end in range(1, len(text), 29):
        (tmp_path / name).write_text(text[:end])
        try:
            assert 1 <= len(read_protein(tmp_path / name)) <= 3
        except ValueError as error:
            assert name in str(error)


WORDS = st.sampled_from(
    ["ATOM  ", "HETATM", "MODEL ", "ENDMDL", "loop_\n", "data_x\n", "_atom_site.Cartn_x\n", "_atom_site.id\n", ";", "'",
     "\n", "nan", "   1.000", " CA ", "ALA", " A   1 ", "REMARK   6 PLACEHOLDER GLY A 1 9\n", "REMARK 465", "1e999", "é"]
)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(WORDS, st.text(max_size=12)), max_size=40),
    st.sampled_from(["g.pdb", "g.cif"]),
    st.data(),
)
def test_garbage_gives_a_protein_or_a_reason(
    tmp_path: Path, words: list[str], name: str, data: st.DataObject
) -> None:
    text = "".join(words)
    if data.draw(st.booleans()):  # garbage within a good file
        good = write(strand("AX"), tmp_path / name).read_text()
        at = data.draw(st.integers(0, len(good)))
        text = good[:at] + text + good[at:]
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert len(read_protein(tmp_path / name)) > 0
    except ValueError as error:
        assert name in str(error)


@st.composite
def proteins(draw: st.DrawFn) -> Protein:
    """Any residues that both formats can hold."""
    places = draw(
        st.lists(
            st.tuples(st.sampled_from("AzB9"), st.integers(-999, 9999), st.sampled_from(["", "A", "B"])),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    places.sort(key=lambda place: "AzB9".index(place[0]))  # chains in one piece
    n = len(places)
    numbers = st.floats(-900, 9000, width=32)
    flat = draw(st.lists(numbers, min_size=n * 12, max_size=n * 12))
    backbone = np.array(flat, np.float32).reshape(n, 4, 3)
    gone = np.array(draw(st.lists(st.booleans(), min_size=n * 4, max_size=n * 4))).reshape(n, 4)
    gone[:, 1] = False
    backbone[gone] = np.nan
    types = np.array(draw(st.lists(st.integers(0, UNKNOWN), min_size=n, max_size=n)))
    chains, residues, codes = zip(*places)
    return Protein(backbone, types, chains, residues, codes, SideChains([], [], np.zeros((0, 3))))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(proteins())
def test_any_protein_survives_both_formats(tmp_path: Path, protein: Protein) -> None:
    from_pdb = read_protein(write_pdb(protein, tmp_path / "x.pdb"))
    same(protein, from_pdb, 2e-3)
    same(protein, read_protein(write_cif(from_pdb, tmp_path / "x.cif")), 2e-3)
    same(protein, of_structure(to_structure(protein)), 0.0)


def test_long_remarks_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    path.write_text("REMARK   1 " + "made by a program that says much; " * 200 + "\n" + WHOLE)
    assert len(read_protein(path)) >= 1
