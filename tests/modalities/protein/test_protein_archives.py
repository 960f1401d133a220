"""Archives of chains are read as they are, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langevin.modalities.protein.archives import SPLITS, read_archive
from langevin.modalities.protein.rigid import backbone_of, frames_of
from tests.modalities.protein.chains import shared, strand


def arrays() -> dict[str, Any]:
    chains = [strand("ACD"), strand("GX", at=(0, 9, 0))]
    return {
        "backbone": np.rint(np.concatenate([p.backbone for p in chains]) / 0.0025).astype(np.int16),
        "scale": np.float32(0.0025),
        "offsets": np.array([0, 3, 5], np.int32),
        "sequence": np.array("ACDGX"),
        "secondary": np.array("HH-EE"),
        "name": np.array(["one", "two"]),
        "chain": np.array(["A", "B"]),
        "first_residue": np.array(["-3", "27A"]),
        "cluster": np.array([4, 9], np.int32),
        "split": np.array([0, 2], np.uint8),
    }


def sides() -> dict[str, Any]:
    return {
        "xyz": np.arange(9, dtype=np.int16).reshape(3, 3),
        "scale": np.float32(0.5),
        "atom": np.array([1, 0, 1], np.uint8),
        "atom_names": np.array(["CB", "CG"]),
        "residue_offsets": np.array([0, 1, 3, 3, 3, 3], np.int32),
    }


def test_chains_come_as_they_were_put_in(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays())
    np.savez(tmp_path / "sidechains.npz", **sides())
    archive = read_archive(tmp_path / "x.npz", sidechains=True)
    assert archive.lengths == [3, 2] and archive.names == ["one", "two"] and archive.clusters == [4, 9]
    assert archive.splits == ["train", "test"] and archive.secondary_of(1) == "EE"
    first, second = archive
    assert first.sequence == "ACD" and second.sequence == "GX" and second.chain_ids == ["B"]
    assert first.numbers.tolist() == [-3, -2, -1] and second.numbers.tolist() == [27, 28]
    np.testing.assert_allclose(first.backbone, strand("ACD").backbone, atol=0.00126)
    assert first.side.name.tolist() == ["CG", "CB", "CG"] and first.side.residue.tolist() == [0, 1, 1]
    assert first.side.of(1)["CB"].tolist() == [1.5, 2.0, 2.5] and len(second.side) == 0
    only = read_archive(tmp_path / "x.npz", "test")
    assert (
        len(only) == 1
        and only[0].sequence == "GX"
        and only[0].side is None
        and only[0:][0].note["name"] == "two"
    )
    assert only.secondary_of(0) == "EE" and only.clusters == [9] and only.lengths == [2]


def test_the_needed_arrays_are_enough(tmp_path: Path) -> None:
    few = {name: arrays()[name] for name in ("offsets", "sequence")}
    np.savez(tmp_path / "x.npz", backbone=arrays()["backbone"] * 0.0025, **few)
    archive = read_archive(tmp_path / "x.npz")
    assert archive.names == ["0", "1"] and archive.clusters == [0, 1] and archive.secondary_of(0) == ""
    np.testing.assert_allclose(archive[0].backbone, strand("ACD").backbone, atol=0.00126)
    assert archive[0].numbers.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="has no array split, so no train chains"):
        read_archive(tmp_path / "x.npz", "train")
    with pytest.raises(ValueError, match="unknown split 'valid'; did you mean 'validation'"):
        read_archive(tmp_path / "x.npz", "valid")
    with pytest.raises(FileNotFoundError, match=r"no file .*sidechains\.npz"):
        read_archive(tmp_path / "x.npz", sidechains=True)
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "y.npz")


DAMAGE = {
    "lacks the arrays offsets": lambda a: a.pop("offsets"),
    r"backbone is int16 of the shape \(5, 3, 3\)": lambda a: a.update(backbone=a["backbone"][:, :3]),
    r"backbone is <U1": lambda a: a.update(backbone=np.full((5, 4, 3), "a")),
    "offsets must be integers that rise from 0 to 5": lambda a: a.update(offsets=np.array([0, 3, 6])),
    "offsets must be integers": lambda a: a.update(offsets=np.array([0.0, 3.0, 5.0])),
    "chain 1 has 0 residues": lambda a: a.update(offsets=np.array([0, 3, 3, 5])),
    "sequence is 4 letters": lambda a: a.update(sequence=np.array("ACDG")),
    "sequence is <U1 of the shape": lambda a: a.update(sequence=np.array(list("ACDGX"))),
    "secondary is 6 letters": lambda a: a.update(secondary=np.array("HHHHHH")),
    r"name is <U3 of the shape \(3,\)": lambda a: a.update(name=np.array(["one", "two", "3"])),
    "cluster is float64": lambda a: a.update(cluster=np.array([0.5, 1.0])),
    "split holds 3; 0 to 2": lambda a: a.update(split=np.array([0, 3])),
    "scale must be one positive number": lambda a: a.update(scale=np.float32("nan")),
    "first_residue must be residue numbers": lambda a: a.update(first_residue=np.array(["1", "one"])),
    "residue 2 has no position of its CA": lambda a: a.update(
        backbone=np.where(np.arange(5)[:, None, None] == 2, np.nan, 1.0) * np.ones((5, 4, 3))
    ),
    "reaches further than": lambda a: a.update(backbone=np.full((5, 4, 3), 1e7)),
    "allow_pickle": lambda a: a.update(name=np.array([object(), 1])),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_a_damaged_archive_is_refused_with_its_reason(tmp_path: Path, said: str) -> None:
    held = arrays()
    DAMAGE[said](held)
    np.savez(tmp_path / "y.npz", **held)
    with pytest.raises(ValueError, match=f"y.npz: .*{said}"):
        read_archive(tmp_path / "y.npz")


SIDES = {
    "tells of 4 residues; the backbones have 5": lambda a: a.update(
        residue_offsets=np.array([0, 1, 3, 3, 3])
    ),
    "atom reaches 2; atom_names has 2 names": lambda a: a.update(atom=np.array([0, 1, 2])),
    "residue_offsets must be integers that rise from 0 to 3": lambda a: a.update(
        residue_offsets=np.zeros(6, int)
    ),
    "xyz is int16 of the shape": lambda a: a.update(xyz=a["xyz"][:, :2]),
    "position of atom 1 is not a number": lambda a: a.update(
        xyz=np.float32([[0, 0, 0], [0, np.nan, 0], [0, 0, 0]])
    ),
}


@pytest.mark.parametrize("said", SIDES)
def test_damaged_side_chains_are_refused_with_their_reason(tmp_path: Path, said: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays())
    held = sides()
    SIDES[said](held)
    np.savez(tmp_path / "z.npz", **held)
    with pytest.raises(ValueError, match=f"z.npz: .*{said}"):
        read_archive(tmp_path / "x.npz", sidechains=tmp_path / "z.npz")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04cut", b"\x80\x04\x95 a pickle"])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.npz"):
        read_archive(tmp_path / "x.npz")


def test_the_shared_chains_are_those_that_were_promised() -> None:
    archive = read_archive(shared())
    assert len(archive) == 1670 and sum(archive.lengths) == 253_177
    assert [archive.splits.count(split) for split in SPLITS] == [1511, 73, 86]
    parts = {split: read_archive(shared(), split) for split in SPLITS}
    clusters = [{*part.clusters} for part in parts.values()]
    assert not (clusters[0] & clusters[1] or clusters[0] & clusters[2] or clusters[1] & clusters[2])
    # each chain is in one piece, and secondary structure goes with its residues
    assert sum(int(protein.breaks.sum()) for protein in archive) == 1670
    assert all(len(archive.secondary_of(k)) == n for k, n in enumerate(archive.lengths))


def test_shared_side_chains_are_bonded_to_their_residues() -> None:
    shared("sidechains.npz")
    archive = read_archive(shared(), "test", sidechains=True)
    beta = [
        np.linalg.norm(protein.side.xyz[at] - protein.backbone[protein.side.residue[at], 1], axis=-1)
        for protein in archive
        for at in [protein.side.name == "CB"]
    ]
    lengths = np.concatenate(beta)
    assert (
        len(lengths) > 10_000 and abs(np.median(lengths) - 1.53) < 0.01 and np.percentile(lengths, 99) < 1.6
    )


def test_ideal_residues_are_near_the_shared_ones() -> None:
    """Rigid residues of ideal geometry, put where frames_of says, against the atoms of the entries."""
    archive = read_archive(shared())
    atoms = torch.from_numpy(archive.backbone).double()
    follows = torch.from_numpy(~np.concatenate([protein.breaks for protein in archive]))
    squares = ((atoms - backbone_of(*frames_of(atoms), follows)) ** 2).sum(-1).numpy()
    means = np.add.reduceat(squares, archive.offsets[:-1]) / np.diff(archive.offsets)[:, None]
    errors, oxygen = np.sqrt(means[:, :3].mean(1)), np.sqrt(means[:, 3])
    # what the bond angle N–CA–C, which a rigid residue has not, leaves: 3.2° of standard deviation
    assert np.median(errors) < 0.036 and np.mean(errors < 0.05) > 0.95 and errors.max() < 0.08
    assert np.median(oxygen) < 0.17
