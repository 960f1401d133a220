from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

from langevin.modalities.molecule.atoms import MAX_ATOMS, of_mol, smiles, to_mol
from langevin.modalities.molecule.blocks import check_block
from langevin.modalities.molecule.conformers import of_smiles
from langevin.modalities.molecule.files import (
    iter_records,
    read_one,
    read_records,
    read_smiles,
    write_sdf,
    write_smiles,
    write_xyz,
)
from langevin.modalities.samples import Failure

TEXTS = ("CCO", "F/C=C/Cl", "C[C@H](N)C(=O)O", "c1ccncc1", "C[N+](C)(C)CC(=O)[O-]")


@pytest.fixture(scope="module")
def molecules() -> list[Chem.Mol]:
    return [of_smiles(text, seed=3) for text in TEXTS]


@pytest.fixture(scope="module")
def blocks(molecules: list[Chem.Mol]) -> list[str]:
    """V2000 and V3000 in turn."""
    return [Chem.MolToMolBlock(m, forceV3000=bool(k % 2)) for k, m in enumerate(molecules)]


def sdf(path: Path, records: list[str]) -> Path:
    path.write_text("".join(f"{record}$$$$\n" for record in records))
    return path


def reasons(path: Path, **options: object) -> list[str]:
    return [failure.reason for failure in read_records(path, **options).failures]


def test_versions_compression_and_line_ends_make_no_difference(tmp_path: Path, blocks: list[str]) -> None:
    text = "".join(f"{block}$$$$\n" for block in blocks)
    (tmp_path / "a.sdf").write_text(text)
    (tmp_path / "b.SDF").write_bytes(text.replace("\n", "\r\n").encode())
    (tmp_path / "c.sdf.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "d.sd").write_text(text.removesuffix("$$$$\n"))
    for path in sorted(tmp_path.iterdir()):
        records = read_records(path)
        assert [smiles(m) for m in records] == [Chem.CanonSmiles(t) for t in TEXTS], path
        assert not any(record.notes for record in records.records)


DAMAGE = {
    "a letter in a coordinate": (lambda b: b.replace(".", ",", 1), "not a coordinate"),
    "a coordinate that is NaN": (
        lambda b: b[: b.index(".") - 5] + "    nan   " + b[b.index(".") + 5 :],
        "nan",
    ),
    "an atom too few": (lambda b: "\n".join(b.split("\n")[:6] + b.split("\n")[7:]), "line"),
    "a bond to nowhere": (lambda b: b.replace("  1  2  1", "  1 77  1", 1), "joins atoms 1 and 77 of 9"),
    "no such element": (lambda b: b.replace(" C   0", " Xx  0", 1), "line 5: 'Xx' is not an element"),
    "five bonds at carbon": (
        lambda b: b.replace("  1  2  1", "  1  2  3", 1),
        "Explicit valence for atom # 0 C",
    ),
    "cut in the middle": (lambda b: b[: len(b) // 2] + "\n", "line|ends after"),
    "no end": (lambda b: b.replace("M  END", ""), "cut short"),
    "no counts": (lambda b: b.replace("V2000", "V9000"), "counts line"),
    "two in one": (lambda b: b + b, "2 structures"),
    "nothing": (lambda b: "\n\n", "empty"),
    "a drawing": (lambda b: Chem.MolToMolBlock(drawn()), "drawing"),
    "no atoms": (lambda b: Chem.MolToMolBlock(Chem.Mol()), "no atoms"),
    "one point": (lambda b: collapsed(b), "one point"),
    "a query": (lambda b: b.replace(" C   0", " Q   0", 1), "query"),
}


def drawn() -> Chem.Mol:
    mol = Chem.MolFromSmiles("CCO")
    rdDepictor.Compute2DCoords(mol)
    return mol


def collapsed(block: str) -> str:
    mol = Chem.MolFromMolBlock(block, removeHs=False)
    for k in range(mol.GetNumAtoms()):
        mol.GetConformer().SetAtomPosition(k, (1.0, 1.0, 1.0))
    return Chem.MolToMolBlock(mol)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_record_is_named_and_its_neighbours_are_read(
    tmp_path: Path, blocks: list[str], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damage, said = DAMAGE[name]
    records = read_records(sdf(tmp_path / "x.sdf", [blocks[1], damage(blocks[0]), blocks[2]]))
    assert [type(item).__name__ for item in records] == ["Mol", "Failure", "Mol"]
    assert [smiles(m) for m in records.molecules] == [Chem.CanonSmiles(t) for t in TEXTS[1:3]]
    (failure,) = records.failures
    assert failure.reason.startswith("record 2")
    assert any(part in failure.reason for part in said.split("|")), failure.reason
    assert capfd.readouterr() == ("", ""), "rdkit's messages belong into the reasons"


def test_noise_in_a_file_never_stops_the_reading(tmp_path: Path, blocks: list[str]) -> None:
    rng = random.Random(0)
    for k in range(150):
        text = list(rng.choice(blocks))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(text))
            text[at : at + rng.choice([0, 1, 1, 40])] = rng.choice(" 019.-+CNx\n\tVM$>é\x00")
        records = list(iter_records(sdf(tmp_path / "x.sdf", [blocks[0], "".join(text) + "\n", blocks[1]])))
        assert smiles(records[0].item) == "CCO", k
        assert smiles(records[-1].item) == TEXTS[1], k


def test_a_record_of_too_many_atoms_never_reaches_rdkit(tmp_path: Path, blocks: list[str]) -> None:
    n = 20_000
    chain = [f"M  V30 {i} C {i}.0 0 {i % 2}.5 0" for i in range(1, n + 1)]
    bonds = [f"M  V30 {i} 1 {i} {i + 1}" for i in range(1, n)]
    head = [
        "",
        "",
        "",
        "  0  0  0     0  0            999 V3000",
        "M  V30 BEGIN CTAB",
        f"M  V30 COUNTS {n} {n - 1} 0 0 0",
    ]
    body = ["M  V30 BEGIN ATOM", *chain, "M  V30 END ATOM", "M  V30 BEGIN BOND", *bonds, "M  V30 END BOND"]
    long = "\n".join([*head, *body, "M  V30 END CTAB", "M  END", ""])
    path = sdf(tmp_path / "x.sdf", [long, blocks[0]])
    assert reasons(path) == [f"record 1: has {n} atoms; at most {MAX_ATOMS} are taken"]
    assert reasons(path, most=5) == [
        f"record 1: has {n} atoms; at most 5 are taken",
        "record 2: has 9 atoms; at most 5 are taken",
    ]


def test_what_is_asked_of_records(tmp_path: Path) -> None:
    items = [of_smiles("CCO"), of_smiles("CCS"), of_smiles("CC(=O)[O-].[Na+]")]
    write_sdf(items, tmp_path / "x.sdf")
    records = read_records(tmp_path / "x.sdf")
    assert [record.notes for record in records.records] == [(), (), ("2 fragments",)]
    assert reasons(tmp_path / "x.sdf", connected=True) == ["record 3: is 2 fragments"]
    assert reasons(tmp_path / "x.sdf", elements=["H", "C", "O"]) == [
        "record 2: atom 2 is of the unsupported element 'S'",
        "record 3: atom 4 is of the unsupported element 'Na'",
    ]
    with pytest.raises(TypeError, match="did you mean 'hydrogens'"):
        read_records(tmp_path / "x.sdf", hydrogen="add")
    with pytest.raises(ValueError, match="allowed: add, keep, remove"):
        read_records(tmp_path / "x.sdf", hydrogens="ad")
    with pytest.raises(ValueError, match="'Qq' is not an element"):
        read_records(tmp_path / "x.sdf", elements=["Qq"])
    with pytest.raises(ValueError, match="most must be 1 to 1000"):
        read_records(tmp_path / "x.sdf", most=10**6)


def test_hydrogens_are_kept_added_or_removed(tmp_path: Path) -> None:
    mol = of_smiles("C[C@H](N)C(=O)O")
    polar = Chem.AddHs(Chem.RemoveHs(mol), addCoords=True, onlyOnAtoms=[2])
    write_sdf([polar, mol], tmp_path / "x.sdf")
    kept = read_records(tmp_path / "x.sdf")
    assert kept.records[0].notes == ("5 of its hydrogens are not atoms",)
    assert [m.GetNumAtoms() for m in kept] == [8, 13]
    assert [m.GetNumAtoms() for m in read_records(tmp_path / "x.sdf", hydrogens="add")] == [13, 13]
    assert [m.GetNumAtoms() for m in read_records(tmp_path / "x.sdf", hydrogens="remove")] == [6, 6]
    for how in ("keep", "add", "remove"):
        assert {smiles(m) for m in read_records(tmp_path / "x.sdf", hydrogens=how)} == {"C[C@H](N)C(=O)O"}


def test_a_drawing_is_embedded_when_asked_with_its_stereo(tmp_path: Path) -> None:
    mol = Chem.MolFromSmiles("C[C@H](N)/C=C/Cl")
    rdDepictor.Compute2DCoords(mol)
    path = sdf(tmp_path / "x.sdf", [Chem.MolToMolBlock(mol)])
    (record,) = read_records(path, flat="embed").records
    assert smiles(record.item) == Chem.CanonSmiles("C[C@H](N)/C=C/Cl")
    assert record.notes == ("drawn in 2-D; its coordinates are a conformer's",)


def test_stereo_is_that_of_the_coordinates_whatever_the_file_says(tmp_path: Path) -> None:
    mol = Chem.Mol(of_smiles("C[C@H](N)C(=O)O"))
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() * [-1, 1, 1])
    vague = to_mol(of_mol(of_smiles("F/C=C/Cl")), sanitize=False)
    Chem.SanitizeMol(vague)
    block = Chem.MolToMolBlock(vague)
    assert "  2  3  2  3\n" in block, "a double bond that may be either"
    right = Chem.MolToMolBlock(mol)
    wavy = right.replace("  1  2  1  0\n", "  1  2  1  4\n").replace("  2  3  1  0\n", "  2  3  1  4\n")
    assert wavy != right
    path = sdf(tmp_path / "x.sdf", [right, wavy, block])
    assert [smiles(m) for m in read_records(path)] == ["C[C@@H](N)C(=O)O"] * 2 + ["F/C=C/Cl"]


def test_titles_and_data_are_kept(tmp_path: Path, blocks: list[str]) -> None:
    titled = "aspirin" + blocks[0] + "> 1 <ID> (7)\nA-1\n\n>  <note>\ntwo\nlines\n\n> <empty>\n\n"
    path = sdf(tmp_path / "x.sdf", [titled, "broken\n\n\n"])
    records = read_records(path)
    assert records[0].GetPropsAsDict() == {"ID": "A-1", "note": "two\nlines", "empty": ""}
    assert records.records[0].place == "record 1 (aspirin)"
    assert records.failures[0].reason.startswith("record 2 (broken): ")
    assert records.summary() == f"{path}: 1 of 2 records read\n1 failed:\n  {records.failures[0].reason}"


def test_a_file_cut_within_its_compressed_data_gives_what_was_whole(
    tmp_path: Path, blocks: list[str]
) -> None:
    noise = random.Random(0)
    filler = "".join(f">  <{k}>\n{noise.random()}\n\n" for k in range(4000))
    whole = gzip.compress("".join(f"{b}{filler}$$$$\n" for b in blocks[:3]).encode())
    (tmp_path / "x.sdf.gz").write_bytes(whole[: len(whole) * 5 // 6])
    records = read_records(tmp_path / "x.sdf.gz")
    assert [type(item).__name__ for item in records] == ["Mol", "Mol", "Failure"]
    assert "record 3: the compressed file is damaged or cut short" in records.failures[0].reason
    (tmp_path / "y.sdf.gz").write_text("not gzip")
    assert "damaged" in reasons(tmp_path / "y.sdf.gz")[0]


def test_xyz_frames_get_bonds_charges_and_stereo_and_bad_frames_are_named(
    tmp_path: Path, molecules: list[Chem.Mol]
) -> None:
    write_xyz(molecules, tmp_path / "x.xyz")
    good = (tmp_path / "x.xyz").read_text()
    assert [smiles(m) for m in read_records(tmp_path / "x.xyz")] == [Chem.CanonSmiles(t) for t in TEXTS]
    frames = [
        "2\nfar apart\nC 0 0 0\nC 9 0 0\n",
        "2\nno number\nC 0 0 0\nC 1,5 0 0\n",
        "2\nnan\nC 0 0 0\nC nan 0 0\n",
        "2\nno element\nC 0 0 0\nXx 1 0 0\n",
        "3\nshort\nO 0 0 0\nH 1 0 0\n",
    ]
    (tmp_path / "y.xyz").write_text("".join(frames) + good + "trailing\n")
    records = read_records(tmp_path / "y.xyz")
    assert [smiles(m) for m in records.molecules] == [Chem.CanonSmiles(t) for t in TEXTS]
    said = [failure.reason for failure in records.failures]
    expected = [
        "frame 1: its positions imply",
        "frame 2: a coordinate is no",
        "frame 3: the position of atom 1 is not",
    ]
    expected += [
        "frame 4: 'Xx' is not an element",
        "frame 5: line 21 is not an atom",
        "after frame 10: 1 lines",
    ]
    assert len(said) == len(expected)
    for line, start in zip(said, expected):
        assert line.startswith(start), line


def test_an_ion_in_xyz_needs_its_charge(tmp_path: Path) -> None:
    mol = of_smiles("CC(=O)[O-]")
    write_xyz([mol], tmp_path / "x.xyz", rows=[{"note": "two\nlines"}])
    text = (tmp_path / "x.xyz").read_text()
    assert text.splitlines()[1] == "charge=-1 note=two lines"
    assert smiles(read_one(tmp_path / "x.xyz")) == "CC(=O)[O-]"
    (tmp_path / "y.xyz").write_text(text.replace("charge=-1 ", ""))
    assert smiles(read_one(tmp_path / "y.xyz", charge=-1)) == "CC(=O)[O-]"


def test_qm9s_own_xyz_dialect_is_read(tmp_path: Path) -> None:
    rows = "C -0.0127 1.0858 0.0080 -0.5357\nH 0.0022 -6.0200*^-03 0.0020 0.1339\nH 1.0117 1.4638 2.7657*^-04 0.1339\n"
    rows += "H -0.5408 1.4475 -0.8766 0.1339\nH -0.5238 1.4379 0.9064 0.1339\n"
    tail = "1341.307\t1341.3284\nC\tC\nInChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4\n"
    (tmp_path / "x.xyz").write_text(f"5\ngdb 1\t157.7\t0.\n{rows}{tail}")
    records = read_records(tmp_path / "x.xyz")
    assert smiles(records[0]) == "C"
    assert [f.reason for f in records.failures] == ["after frame 1: 3 lines belong to no frame"]


def test_a_list_of_smiles_gives_seeded_conformers_or_reasons(tmp_path: Path) -> None:
    lines = [
        "SMILES name",
        "CCO  ethanol ",
        "# a comment",
        "",
        "C(C",
        "CC(F)Cl",
        "*C",
        "C" * 20_000,
        "C" * 400,
        "[H][H]",
    ]
    (tmp_path / "x.smi").write_text("\n".join(lines))
    records = read_records(tmp_path / "x.smi", seed=5)
    assert [record.place for record in records.records] == [
        "line 2 (ethanol)", "line 5", "line 6", "line 7", "line 8", "line 9", "line 10",
    ]  # fmt: skip
    assert [failure.reason for failure in records.failures] == [
        "line 5: 'C(C' is not a SMILES",
        "line 7: atom 0 is an attachment point, which has no place in space",
        "line 8: is a SMILES of 20000 characters; at most 10000 are taken",
        "line 9: has 1202 atoms with hydrogens; at most 1000 are taken",
    ]
    assert records.records[2].notes == ("1 stereo sites are not said; the seed chose them",)
    again, other = read_smiles(["CC(F)Cl", "CCO"], seed=5), read_smiles(["CCO"], seed=6)
    place = [m.GetConformer().GetPositions() for m in (records[0], again[1], other[0])]
    assert (place[0] == place[1]).all()
    assert not (place[0] == place[2]).all()


def test_a_csv_of_smiles_goes_round_with_failures_in_their_rows(
    tmp_path: Path, molecules: list[Chem.Mol]
) -> None:
    items = [*molecules, Failure("no such graph, alas")]
    write_smiles(items, tmp_path / "x.csv", rows=[{"score": k / 2, "by": {"a": k}} for k in range(6)])
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines[0] == "smiles,name,score,by,failure"
    assert lines[2] == 'F/C=C/Cl,,0.5,"{""a"": 1}",'
    assert lines[6] == ',,2.5,"{""a"": 5}","no such graph, alas"'
    records = read_records(tmp_path / "x.csv")
    assert [smiles(m) for m in records.molecules] == [smiles(m) for m in molecules]
    assert [f.reason for f in records.failures] == ["row 6: no such graph, alas"]
    (tmp_path / "y.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column smiles; its columns are a, b"):
        read_records(tmp_path / "y.csv")


def test_files_that_are_none_are_refused_at_the_call(tmp_path: Path, blocks: list[str]) -> None:
    with pytest.raises(FileNotFoundError, match="x.sdf"):
        iter_records(tmp_path / "x.sdf")
    with pytest.raises(ValueError, match=r"unknown suffix '.sdff'; did you mean '.sdf'\?"):
        iter_records(tmp_path / "x.sdff")
    (tmp_path / "x.sdf").write_text("\n")
    with pytest.raises(ValueError, match="holds no records"):
        read_records(tmp_path / "x.sdf")
    with pytest.raises(ValueError, match="holds 2 records; one molecule was expected"):
        read_one(sdf(tmp_path / "x.sdf", blocks[:2]))
    with pytest.raises(ValueError, match=r"x.mol, record 1 \(a\): ends before"):
        (tmp_path / "x.mol").write_text("a")
        read_one(tmp_path / "x.mol")


@pytest.mark.parametrize("symbol", ["*  ", "R  ", "R1 ", "R# "])
def test_attachment_points_are_atoms(tmp_path: Path, blocks: list[str], symbol: str) -> None:
    mol = read_one(sdf(tmp_path / "x.sdf", [blocks[0].replace("H  ", symbol, 1)]))
    atoms = of_mol(mol)
    assert sorted(atoms.numbers.tolist())[:2] == [0, 1]
    with pytest.raises(ValueError, match="unsupported element"):
        read_one(tmp_path / "x.sdf", elements=["H", "C", "O"])


def test_blocks_count_their_atoms(blocks: list[str]) -> None:
    assert [check_block(block.split("\n")) for block in blocks[:3]] == [9, 6, 13]


def test_what_is_read_has_a_state(tmp_path: Path, molecules: list[Chem.Mol], blocks: list[str]) -> None:
    for mol, back in zip(molecules, read_records(sdf(tmp_path / "x.sdf", blocks))):
        one, other = of_mol(mol), of_mol(back)
        assert (one.numbers == other.numbers).all()
        assert abs(one.positions - other.positions).max() < 1e-4
