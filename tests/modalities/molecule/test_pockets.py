"""What a structure file holds around a site is read as it is, and everything left out is told."""

from __future__ import annotations

import gzip
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

from langevin.modalities import structure_files
from langevin.modalities.molecule.bound import read_ligand
from langevin.modalities.molecule.pockets import Pocket, Role, read_pocket
from langevin.modalities.molecule.residues import LETTERS, OTHER, RESIDUES, SIDE_CHAINS, type_of
from langevin.modalities.molecule.structures import find, read_structure
from tests.modalities.molecule.pocket_files import ala, archive, atom, hetero, ring, write

SITE = [*ala(10, 0.0), *ala(11, 3.8), *ala(90, 40.0), *ring()]


def told(pocket: Pocket, words: str) -> str:
    found = [note for note in pocket.notes if words in note]
    assert len(found) == 1, pocket.notes
    return found[0]


def test_types_are_in_the_order_of_their_letters() -> None:
    from Bio.Data.PDBData import protein_letters_3to1

    assert [protein_letters_3to1[name] for name in RESIDUES[:-1]] == list(LETTERS[:-1])
    assert RESIDUES[OTHER] == "other" and LETTERS[OTHER] == "X" and len(RESIDUES) == 21
    assert RESIDUES[type_of("MSE")] == "MET" and RESIDUES[type_of("HIE")] == "HIS" and type_of("ATP") == OTHER
    assert (
        sum(len(atoms) for atoms in SIDE_CHAINS.values()) == 87
    )  # heavy atoms beyond N, CA, C, O of the twenty


def test_a_pocket_holds_whole_residues_in_reach(tmp_path: Path) -> None:
    pocket = read_pocket(write(tmp_path, SITE), "A:LIG:401", radius=5.0)
    assert pocket.places == ("A:ALA:10", "A:ALA:11") and len(pocket) == 10
    assert pocket.names[:5] == ("N", "CA", "C", "O", "CB")
    assert pocket.roles[:5].tolist() == [
        Role.BACKBONE,
        Role.ALPHA,
        Role.BACKBONE,
        Role.BACKBONE,
        Role.SIDE_CHAIN,
    ]
    assert set(pocket.residues.tolist()) == {RESIDUES.index("ALA")}
    assert pocket.numbers[:5].tolist() == [7, 6, 6, 8, 6]
    np.testing.assert_allclose(pocket.positions[1], [0, 0, 0])
    np.testing.assert_allclose(pocket.centre, pocket.positions.mean(0), atol=1e-5)
    assert (pocket.positions.dtype, pocket.numbers.dtype) == (np.float32, np.uint8)
    assert pocket.sequences() == {"A": "AA"} and pocket.notes == ()


def test_only_atoms_in_reach_where_residues_need_not_be_whole(tmp_path: Path) -> None:
    pocket = read_pocket(write(tmp_path, SITE), "LIG", radius=3.0, whole_residues=False)
    away = np.linalg.norm(pocket.positions[:, None] - [[1.39 * np.cos(a), 4.5 + 1.39 * np.sin(a), 0] for a in
                                                       np.arange(6) * np.pi / 3], axis=-1).min(1)  # fmt: skip
    assert 0 < len(pocket) < 10 and (away <= 3.0).all()


def test_a_molecule_and_the_residue_it_is_give_one_pocket(tmp_path: Path) -> None:
    path = write(tmp_path, SITE)
    mol = read_ligand(path, "LIG")
    by_mol, by_name = read_pocket(path, mol), read_pocket(path, "A:LIG:401")
    for field in fields(Pocket)[:5]:
        np.testing.assert_array_equal(getattr(by_mol, field.name), getattr(by_name, field.name))
    assert "A:LIG:401" in told(by_mol, "lie where the ligand does") and by_name.counts["displaced"] == 0


def test_the_centre_does_not_tell_where_the_ligand_is(tmp_path: Path) -> None:
    one = write(tmp_path, SITE, "one.pdb")
    other = write(tmp_path, [*ala(10, 0.0), *ala(11, 3.8), *ala(90, 40.0), *ring(y=4.2, x=0.7)], "other.pdb")
    a, b = read_pocket(one, "LIG"), read_pocket(other, "LIG")
    np.testing.assert_array_equal(a.centre, b.centre)
    np.testing.assert_array_equal(a.positions, b.positions)


def test_a_centre_instead_of_a_ligand_names_what_lies_there(tmp_path: Path) -> None:
    path = write(tmp_path, SITE)
    held = read_pocket(path, centre=(0, 3, 0), radius=5.0)
    assert "without=('A:LIG:401',)" in told(held, "from the centre") and "A:LIG:401" in held.places
    free = read_pocket(path, centre=(0, 3, 0), radius=5.0, without=("A:LIG:401",))
    assert free.places == ("A:ALA:10", "A:ALA:11") and free.notes == ()


def test_alternate_locations_by_occupancy_then_by_label(tmp_path: Path) -> None:
    lines = ala(10, 0.0, leave=("CB",))
    tie = [atom("CB", "ALA", 10, 0, -0.9, z, altloc=a, occupancy=0.5) for a, z in (("B", -1.2), ("A", 1.2))]
    pocket = read_pocket(write(tmp_path, [*lines, *tie, *ring()]), "LIG")
    assert pocket.positions[pocket.names.index("CB"), 2] == pytest.approx(1.2) and len(pocket) == 5
    won = [
        atom("CB", "ALA", 10, 0, -0.9, z, altloc=a, occupancy=o)
        for a, z, o in (("A", 1.2, 0.3), ("B", -1.2, 0.7))
    ]
    pocket = read_pocket(write(tmp_path, [*lines, *won, *ring()]), "LIG")
    assert pocket.positions[pocket.names.index("CB"), 2] == pytest.approx(-1.2)
    assert pocket.counts["alternates"] == 1 and "A:ALA:10" in told(pocket, "alternate locations")


def test_one_label_for_a_whole_residue(tmp_path: Path) -> None:
    """OG is more often at B, but the residue as a whole at A: mixing both would break the bond."""
    lines = ala(10, 0.0, residue="SER", leave=("CB",))
    for name, z, occupancies in (("CB", 1.2, (0.9, 0.1)), ("OG", 2.4, (0.45, 0.55))):
        lines += [
            atom(name, "SER", 10, 0, -0.9, sign * z, altloc=label, occupancy=o)
            for label, sign, o in zip("AB", (1, -1), occupancies)
        ]
    pocket = read_pocket(write(tmp_path, [*lines, *ring()]), "LIG")
    assert pocket.positions[[pocket.names.index("CB"), pocket.names.index("OG")], 2] == pytest.approx(
        [1.2, 2.4]
    )


def test_of_two_residues_at_one_place_the_likelier(tmp_path: Path) -> None:
    lines = [
        *ala(10, 0.0, residue="ALA", altloc="A", occupancy=0.3),
        *ala(10, 0.0, residue="SER", altloc="B", occupancy=0.7),
    ]
    pocket = read_pocket(write(tmp_path, [*lines, *ring()]), "LIG")
    assert pocket.places == ("A:SER:10",) and len(pocket) == 5


def test_insertion_codes_tell_residues_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path, [*ala(52, 0.0), *ala(52, 3.8, insertion="A"), *ring(), *ring(401, x=9, insertion="B")]
    )
    pocket = read_pocket(path, "A:LIG:401")
    assert pocket.places[:2] == ("A:ALA:52", "A:ALA:52A") and pocket.counts["insertions"] >= 1
    assert "A:ALA:52A" in told(pocket, "insertion codes")
    assert find(read_structure(path), "A:LIG:401B").positions[:, 0].mean() == pytest.approx(9, abs=1e-3)
    info = pocket.to_mol().GetAtomWithIdx(5).GetPDBResidueInfo()
    assert (info.GetResidueNumber(), info.GetInsertionCode()) == (52, "A")


def test_selenomethionine_is_methionine(tmp_path: Path) -> None:
    lines = [
        *ala(10, 0.0, residue="MSE", record="HETATM"),
        hetero("SE", "MSE", 10, 1.0, -1.5, 2.5, element="SE"),
    ]
    pocket = read_pocket(write(tmp_path, [*lines, *ring()]), "LIG")
    assert set(pocket.residues.tolist()) == {RESIDUES.index("MET")} and 34 in pocket.numbers
    assert pocket.roles[pocket.names.index("SE")] == Role.SIDE_CHAIN and pocket.protein.all()
    assert "A:MSE:10 as MET" in told(pocket, "nonstandard")


def test_an_unknown_residue_with_a_backbone_is_one_of_the_chain(tmp_path: Path) -> None:
    pocket = read_pocket(write(tmp_path, [*ala(10, 0.0, residue="QQQ"), *ring()]), "LIG")
    assert pocket.sequences() == {"A": "X"} and "A:QQQ:10 as other" in told(pocket, "nonstandard")
    assert Role.COFACTOR not in pocket.roles


def test_metals_stay_waters_and_additives_go(tmp_path: Path) -> None:
    lines = [
        *ala(10, 0.0),
        hetero("ZN", "ZN", 501, 2, 2, 2, element="ZN"),
        hetero("O", "HOH", 601, 0, 2.5, 2),
        hetero("O", "HOH", 602, 0, 60, 2),
        *[hetero(f"C{k}", "GOL", 502, 3 + k, 2, 3) for k in range(3)],
        *[hetero(f"C{k}", "NAP", 503, -3 - k, 2, 3) for k in range(3)],
        atom("H", "ALA", 10, 0, 1, 1),
        atom("D", "ALA", 10, 0, 1, -1, element="D"),
        *ring(),
    ]
    pocket = read_pocket(write(tmp_path, lines), "LIG")
    metal = pocket.roles == Role.METAL
    assert pocket.numbers[metal].tolist() == [30] and (pocket.residues[metal] == OTHER).all()
    assert (pocket.roles == Role.COFACTOR).sum() == 3 and pocket.protein.sum() == 5
    assert "A:ZN:501" in told(pocket, "metal") and "A:NAP:503" in told(pocket, "cofactors")
    assert (
        "A:GOL:502" in told(pocket, "cryoprotectant") and told(pocket, "waters") == "1 waters were left out"
    )
    assert pocket.counts["hydrogens"] == 2 and "2 hydrogens" in told(pocket, "hydrogens")
    assert pocket.to_mol().GetAtomWithIdx(int(metal.argmax())).GetPDBResidueInfo().GetIsHeteroAtom()


def test_missing_atoms_are_named(tmp_path: Path) -> None:
    lines = [
        *ala(10, 0.0, residue="LYS", leave=("CB",)),
        *ala(11, 3.8, residue="GLY", leave=("CB",)),
        *ring(),
    ]
    pocket = read_pocket(write(tmp_path, lines), "LIG")
    assert "A:LYS:10 (CB CG CD CE NZ)" in told(pocket, "lack atoms") and pocket.counts["incomplete"] == 1


def test_residues_that_were_not_seen_are_told(tmp_path: Path) -> None:
    remark = [
        "REMARK 465 MISSING RESIDUES                                                     ",
        "REMARK 465   M RES C SSSEQI                                                     ",
        "REMARK 465     GLY A    12                                                      ",
        "REMARK 465     GLY A    80                                                      ",
    ]
    pocket = read_pocket(write(tmp_path, [*remark, *SITE]), "LIG")
    assert told(pocket, "REMARK 465").endswith("A:12")


def test_the_first_of_several_models(tmp_path: Path) -> None:
    models = [
        line
        for k in (1, 2, 3)
        for line in (f"MODEL     {k:>4}", *ala(10, 0.0 if k == 1 else 2.0), *ring(), "ENDMDL")
    ]
    pocket = read_pocket(write(tmp_path, models), "LIG")
    assert pocket.positions[1, 0] == 0 and len(pocket) == 5 and "3 models" in told(pocket, "models")


def mmcif(rows: str = "") -> str:
    columns = (
        "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_seq_id pdbx_PDB_ins_code "
        "Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv auth_seq_id auth_asym_id pdbx_PDB_model_num"
    )
    head = ["data_TEST", "loop_", *(f"_atom_site.{column}" for column in columns.split())]
    return "\n".join([*head, rows.strip("\n")]) + "\n"


ROWS = """
ATOM   1 N  N  . SER A 1 ? -1.2 0.8  0.0 1.00 10.0 33 AAA 1
ATOM   2 C  CA . SER A 1 ?  0.0 0.0  0.0 1.00 10.0 33 AAA 1
ATOM   3 C  C  . SER A 1 ?  1.2 0.9  0.0 1.00 10.0 33 AAA 1
ATOM   4 O  O  . SER A 1 ?  1.3 2.1  0.0 1.00 10.0 33 AAA 1
ATOM   5 C  CB . SER A 1 ?  0.0 -0.9 1.2 1.00 10.0 33 AAA 1
ATOM   6 O  OG A SER A 1 ?  0.0 -0.9 2.6 0.40 10.0 33 AAA 1
ATOM   7 O  OG B SER A 1 ?  1.2 -1.6 1.2 0.60 10.0 33 AAA 1
HETATM 8 C  C1 . LIG B . ?  0.0 4.5  0.0 1.00 10.0 401 AAA 1
HETATM 9 ZN ZN . ZN  C . ?  3.0 3.0  0.0 1.00 10.0 402 AAA 1
HETATM 10 O O  . HOH D . ? -2.0 3.0  0.0 1.00 10.0 501 AAA 1
"""


@pytest.mark.parametrize("name", ["a.cif", "a.mmcif.gz"])
def test_mmcif_with_the_authors_chains_and_numbers(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = mmcif(ROWS).encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    pocket = read_pocket(path, "AAA:LIG:401")
    assert pocket.places == ("AAA:SER:33", "AAA:ZN:402") and len(pocket) == 7
    assert pocket.positions[pocket.names.index("OG"), 0] == pytest.approx(1.2)
    assert pocket.counts["waters"] == 1 and pocket.counts["metals"] == 1 and pocket.counts["alternates"] == 1


def test_pdb_in_gzip(tmp_path: Path) -> None:
    path = write(tmp_path, SITE)
    packed = tmp_path / "b.ent.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_pocket(packed, "LIG").positions, read_pocket(path, "LIG").positions)
    (tmp_path / "c.pdb.gz").write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"c\.pdb\.gz: .*cut off"):
        read_structure(tmp_path / "c.pdb.gz")


def broken(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


CUT = "\n".join(SITE)
BAD: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.pdb", b" \n", "is empty"),
    "no atoms": ("a.pdb", b"HEADER    NOTHING\nEND\n", "no ATOM"),
    "cut in a line": ("a.pdb", CUT[: CUT.rindex("HETATM") + 40].encode(), "line 21 is cut off"),
    "a word for a coordinate": ("a.pdb", CUT.replace("  40.000", " fourty ").encode(), "cannot be read as a structure"),
    "NaN": ("a.pdb", CUT.replace("  40.000", "     nan").encode(), "lies at"),
    "far away": ("a.pdb", CUT.replace("  40.000", "99999999").encode(), "lies at"),
    "no number": ("a.pdb", CUT.replace("ALA A  90", "ALA A    ").encode(), "cannot be read|cut off"),
    "binary": ("a.pdb", b"ATOM\0\1\2", "not a text file"),
    "a pickle": ("a.cif", b"\x80\x04\x95\0\0", "not a text file"),
    "no coordinates": ("a.cif", b"data_X\n_cell.length_a 1\n", "no coordinates"),
    "cut row": ("a.cif", mmcif(ROWS)[:-30].encode(), "cut off|cannot be read"),
    "a missing column": ("a.cif", mmcif(ROWS).replace("_atom_site.Cartn_z", "_atom_site.other").encode(), "lacks .*Cartn_z"),
    "an open quote": ("a.cif", (mmcif(ROWS) + "'open").encode(), "."),
    "suffix": ("a.txt", b"ATOM", "unknown suffix of a structure '.txt'"),
    "no gzip": ("a.pdb.gz", b"ATOM", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_none_say_why(tmp_path: Path, kind: str) -> None:
    name, data, words = BAD[kind]
    path = broken(tmp_path, name, data)
    if (
        kind == "an open quote"
    ):  # Biopython takes it for a comment's end, or refuses it: no other error may come out
        try:
            read_structure(path)
        except ValueError as error:
            assert name in str(error)
        return
    with pytest.raises(ValueError, match=words) as caught:
        read_structure(path)
    assert name in str(caught.value)


@pytest.mark.parametrize("kind", ["pdb", "cif"])
def test_no_cut_gives_anything_but_a_structure_or_a_reason(tmp_path: Path, kind: str) -> None:
    text = CUT if kind == "pdb" else mmcif(ROWS)
    for end in range(0, len(text), 37):
        path = broken(tmp_path, f"a.{kind}", text[:end].encode())
        try:
            read_structure(path)
        except ValueError as error:
            assert f"a.{kind}" in str(error)


def test_sizes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, SITE)
    monkeypatch.setattr(structure_files, "MOST_ATOMS", 20)
    with pytest.raises(ValueError, match="has 21 atoms or more; at most 20"):
        read_structure(path)
    monkeypatch.setattr(structure_files, "MOST_BYTES", 100_000)
    bomb = tmp_path / "bomb.pdb.gz"
    bomb.write_bytes(gzip.compress(b" " * 10_000_000))
    with pytest.raises(ValueError, match="more than"):
        read_structure(bomb)


def test_requests_that_cannot_be_met(tmp_path: Path) -> None:
    path = write(tmp_path, [*SITE, *ring(402, x=20), hetero("O", "HOH", 601, 0, 60, 2)])
    with pytest.raises(ValueError, match=r"no residue 'A:LIX:401'; its hetero groups: A:LIG:401, A:LIG:402$"):
        read_pocket(path, "A:LIX:401")
    with pytest.raises(ValueError, match="2 residues of a.pdb are 'LIG'; choose one: A:LIG:401, A:LIG:402"):
        read_pocket(path, "LIG")
    with pytest.raises(ValueError, match="chain:name:number"):
        read_pocket(path, "A:LIG:401:C1")
    with pytest.raises(ValueError, match="either ligand"):
        read_pocket(path)
    with pytest.raises(ValueError, match="either ligand"):
        read_pocket(path, "A:LIG:401", centre=(0, 0, 0))
    with pytest.raises(ValueError, match="three finite numbers"):
        read_pocket(path, centre=(0, 0, float("nan")))
    with pytest.raises(ValueError, match=r"radius must lie between 0 and 30 Å; got -1"):
        read_pocket(path, "A:LIG:401", radius=-1)
    with pytest.raises(ValueError, match=r"within 5 Å of the centre; the nearest atom is 94\.3 Å away"):
        read_pocket(path, centre=(0, 100, 0), radius=5.0)
    with pytest.raises(ValueError, match="conformer"):
        read_pocket(path, Chem.MolFromSmiles("CC"))
    with pytest.raises(FileNotFoundError, match=r"none\.pdb"):
        read_pocket(tmp_path / "none.pdb", "LIG")


def test_the_ligand_of_a_file_takes_the_bonds_of_a_template(tmp_path: Path) -> None:
    path = write(tmp_path, SITE)
    mol = read_ligand(path, "A:LIG:401", "c1ccccc1")
    assert Chem.MolToSmiles(mol) == "c1ccccc1"
    np.testing.assert_allclose(mol.GetConformer().GetPositions().mean(0), [0, 4.5, 0], atol=1e-3)
    bare = read_ligand(path, "A:LIG:401")
    assert bare.GetNumBonds() == 0 and bare.GetNumAtoms() == 6
    block = tmp_path / "template.sdf"
    writer = Chem.SDWriter(str(block))
    writer.write(mol)
    writer.close()
    assert Chem.MolToSmiles(read_ligand(path, "A:LIG:401", block)) == "c1ccccc1"
    for wrong in ("C1CCCCC1N", "c1ccccn1"):
        with pytest.raises(ValueError, match=r"A:LIG:401 of a\.pdb does not fit the template: C6 and C"):
            read_ligand(path, "A:LIG:401", wrong)


def test_bonds_join_neighbours_only(tmp_path: Path) -> None:
    pocket = read_pocket(
        write(tmp_path, [*ala(10, 0.0), hetero("ZN", "ZN", 501, 0, 1.5, 0, element="ZN"), *ring()]), "LIG"
    )
    names = [tuple(pocket.names[k] for k in pair) for pair in pocket.bonds()]
    assert sorted(names) == [("C", "O"), ("CA", "C"), ("CA", "CB"), ("N", "CA")]


def test_real_ligands_come_back_from_their_complexes(tmp_path: Path, shared_complexes: Any) -> None:
    """Written among the protein as a residue and read with its SMILES, a ligand is the same molecule, stereo included."""
    from langevin.modalities.molecule.atoms import smiles, to_mol

    def told(mol: Any) -> str:
        """SMILES without the R/S of phosphorus, whose oxygens are told apart by their bond orders only."""
        mol = Chem.Mol(mol)
        for one in mol.GetAtoms():
            if one.GetAtomicNum() == 15:
                one.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        return smiles(mol)

    same = 0
    chosen = [c for c in shared_complexes if c.site.startswith("pdb/")][:40]
    for one in chosen:
        mol = to_mol(one.ligand)
        lines = Chem.MolToPDBBlock(one.pocket.to_mol()).splitlines()[: len(one.pocket)]
        for k, (number, place) in enumerate(zip(one.ligand.numbers.tolist(), one.ligand.positions.tolist())):
            symbol = Chem.GetPeriodicTable().GetElementSymbol(number)
            lines.append(hetero(f"X{k}", "LIG", 9001, *place, chain="Z", element=symbol.upper()))
        path = write(tmp_path, lines)
        same += told(read_ligand(path, "Z:LIG:9001", smiles(mol))) == told(mol)
        np.testing.assert_allclose(read_pocket(path, "LIG").positions, one.pocket.positions, atol=1e-3)
    assert same == len(chosen)


@pytest.fixture(scope="module")
def shared_complexes() -> Any:
    from langevin.modalities.molecule.complexes import open_complexes

    return open_complexes(archive(), split="test")
