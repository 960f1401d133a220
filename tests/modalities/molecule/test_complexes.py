"""Complexes are pairs in one frame, split by clusters of their proteins; what cannot be used has a reason."""

from __future__ import annotations

import io
import tarfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from langevin.modalities.molecule.atoms import to_mol
from langevin.modalities.molecule.complexes import SHORTEST, clusters, likeness, open_complexes
from langevin.modalities.molecule.residues import RESIDUES
from tests.modalities.molecule.pocket_files import ala, archive, write

LETTERS = "ARNDCQEGHILKMFPSTWYV"


def random_sequence(seed: int, length: int = 30) -> str:
    return "".join(np.random.default_rng(seed).choice(list(LETTERS), length))


def test_likeness_is_the_share_of_identical_residues() -> None:
    a = random_sequence(0)
    assert likeness({"A": a}, {"B": a}) == 1
    b = "".join(c if k % 3 else LETTERS[(LETTERS.index(c) + 7) % 20] for k, c in enumerate(a))
    assert 20 / 30 <= likeness({"A": a}, {"A": b}) < 0.8
    assert likeness({"A": a}, {"A": a[:10] + a[14:]}) == pytest.approx((26 - 1 - 0.1 * 3) / 26)
    assert likeness({"A": a}, {"A": a[5:]}) == 1  # nothing for what is missing at an end
    assert likeness({"A": a, "B": random_sequence(1)}, {"X": random_sequence(2), "Y": a}) == 1
    assert likeness({"A": a}, {"A": ""}) == 0


def test_short_pieces_of_other_chains_tell_nothing() -> None:
    a, b = random_sequence(3), random_sequence(4)
    shared = random_sequence(5, SHORTEST - 1)
    assert likeness({"A": a, "B": shared}, {"A": b, "B": shared}) < 0.4
    assert likeness({"B": shared}, {"B": shared}) == 1  # but where there is nothing else


def test_likeness_joins_in_rows() -> None:
    a = random_sequence(6, 40)
    b, c = a[:20] + random_sequence(7, 20), random_sequence(8, 20) + a[20:]
    other = random_sequence(9, 40)
    assert likeness({"A": b}, {"A": c}) < 0.4
    assert clusters([{"A": b}, {"A": other}, {"A": c}, {"A": a}]) == [0, 1, 0, 0]


def ligand(smiles: str, name: str = "") -> str:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if mol.GetNumHeavyAtoms() < 20:
        assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    else:  # a chain that is only too long
        mol = Chem.RemoveHs(mol)
        mol.AddConformer(Chem.Conformer(mol.GetNumAtoms()))
        mol.GetConformer().SetPositions(np.random.default_rng(0).normal(size=(mol.GetNumAtoms(), 3)))
        mol.GetConformer().Set3D(True)
    mol.SetProp("_Name", name)
    positions = mol.GetConformer().GetPositions()
    mol.GetConformer().SetPositions(positions - positions.mean(0) + [0, 4.5, 0])
    return f"{Chem.MolToMolBlock(mol)}$$$$\n"


def site(folder: Path, name: str, text: str, seed: int, source: str = "pdb") -> None:
    place = folder / source / name
    place.mkdir(parents=True)
    sequence = [RESIDUES[LETTERS.index(letter)] for letter in random_sequence(seed)]
    lines = [line for k, kind in enumerate(sequence) for line in ala(k, 3.8 * k, residue=kind)]
    write(place, lines, "pocket.pdb")
    (place / ("ligand.sdf" if source == "pdb" else "ligands.sdf")).write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for k in range(20):
        site(root, f"s{k:02}", ligand("c1ccncc1"), seed=k)
    site(root, "twin", ligand("CCO"), seed=0)
    site(
        root, "target", ligand("CCO", "one") + ligand("C[Se]C", "two") + ligand("CCN", "three"), 30, "openff"
    )
    site(root, "too_long", ligand("C" * 65), seed=31)
    site(root, "broken", "nonsense\n", seed=32)
    site(root, "away", ligand("CC"), seed=33)
    write(root / "pdb" / "away", [line for k in range(20) for line in ala(k, 500 + 3.8 * k)], "pocket.pdb")
    return root


def test_pairs_lie_in_one_frame_and_failures_have_reasons(folder: Path) -> None:
    held = open_complexes(folder)
    assert len(held) == 21 + 2
    reasons = dict(held.failures)
    assert set(reasons) == {"too_long", "broken", "away", "target/record 2 (two)"}
    assert "65 heavy atoms; at most 64" in reasons["too_long"]
    assert "atomic numbers [34]" in reasons["target/record 2 (two)"]
    assert "no protein atoms within 8 Å of the ligand; the nearest atom is 49" in reasons["away"]
    for pocket, atoms in held.pairs:
        assert not (atoms.numbers == 1).any() and to_mol(atoms).GetNumAtoms() == len(atoms)
        apart = np.linalg.norm(pocket.positions[:, None] - atoms.positions[None], axis=-1)
        assert 0 < apart.min() < 8 and all(
            apart[pocket.owners == k].min() <= 8 for k in range(len(pocket.places))
        )
    assert "left out: too_long: has 65 heavy atoms" in held.report and "23 complexes" in held.report
    with pytest.raises(ValueError, match="4 records cannot be used:\n  .*") as caught:
        open_complexes(folder, errors="raise")
    assert "65 heavy" in str(caught.value)


def test_similar_proteins_are_on_one_side(folder: Path) -> None:
    held = open_complexes(folder)
    sides = {one.name: one.split for one in held}
    clusters = {one.name: one.cluster for one in held}
    assert clusters["twin"] == clusters["s00"] and sides["twin"] == sides["s00"]
    assert clusters["target/record 1 (one)"] == clusters["target/record 3 (three)"]
    assert Counter(sides.values()).keys() == {"train", "validation", "test"}
    parts = [open_complexes(folder, split) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(held) and len({part.digest for part in parts}) == 3
    for part, split in zip(parts, ("train", "validation", "test")):
        assert {one.name for one in part} == {name for name, side in sides.items() if side == split}
    only = open_complexes(folder, sources=("openff",))
    assert {one.name: one.split for one in only}.items() <= sides.items()


def test_an_archive_is_the_folder(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "pockets.tar.xz"
    with tarfile.open(path, "w:xz") as to:
        for place in sorted(folder.glob("*/*/*")):
            to.add(place, str(place.relative_to(folder)))
    a, b = open_complexes(folder), open_complexes(path)
    assert a.digest == b.digest and [one.name for one in a] == [one.name for one in b]


def test_the_digest_sees_every_coordinate(folder: Path) -> None:
    before = open_complexes(folder).digest
    assert open_complexes(folder).digest == before
    path = folder / "pdb" / "s03" / "pocket.pdb"
    path.write_text(path.read_text().replace("   1.200   0.900", "   1.201   0.900", 1))
    assert open_complexes(folder).digest != before


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    path, secret = tmp_path / "evil.tar", tmp_path / "secret"
    secret.write_text("mine")
    with tarfile.open(path, "w") as to:
        for name in ("../escaped.pdb", "/tmp/langevin_escaped", "pdb/../../x/pocket.pdb"):
            info = tarfile.TarInfo(name)
            info.size = 4
            to.addfile(info, io.BytesIO(b"ATOM"))
        link = tarfile.TarInfo("pdb/a/pocket.pdb")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        to.addfile(link)
    with pytest.raises(ValueError, match="has no pdb/<name>/pocket.pdb"):
        open_complexes(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.tar", "secret"]


def test_requests_that_cannot_be_met(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown split 'valid'; did you mean 'validation'"):
        open_complexes(folder, "valid")
    with pytest.raises(ValueError, match="unknown source 'pbd'; did you mean 'pdb'"):
        open_complexes(folder, sources=("pbd",))
    with pytest.raises(ValueError, match="threshold"):
        open_complexes(folder, threshold=0)
    with pytest.raises(ValueError, match="unknown value of errors"):
        open_complexes(folder, errors="ignore")
    with pytest.raises(FileNotFoundError):
        open_complexes(tmp_path / "none")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="has no pdb/"):
        open_complexes(tmp_path / "none")
    (tmp_path / "a.tar").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="no archive of complexes"):
        open_complexes(tmp_path / "a.tar")


@pytest.fixture(scope="module")
def shared() -> Any:
    return open_complexes(archive())


@pytest.mark.slow
def test_every_shared_complex_can_be_used(shared: Any) -> None:
    assert len(shared) == 303 + 369 and not shared.failures
    assert len({one.site for one in shared}) == 303 + 15 and len({one.name for one in shared}) == 672
    assert 200 < shared.clusters < 280


@pytest.mark.slow
def test_no_shared_protein_is_on_two_sides(shared: Any) -> None:
    """Likeness across splits, measured again from the pockets themselves, is below the threshold."""
    found: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for one in shared:
        if one.site.startswith("pdb/"):
            found[one.split][one.site] = one.pocket.sequences()
    worst = max(
        likeness(a, b)
        for side in ("validation", "test")
        for a in found[side].values()
        for other in {"train", "validation", "test"} - {side}
        for b in found[other].values()
    )
    assert worst < shared.threshold
    counts = Counter(one.split for one in shared)
    assert counts["train"] > 8 * counts["test"] > 0 and counts["validation"] > 0
