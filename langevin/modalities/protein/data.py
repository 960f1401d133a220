"""Proteins to train on: an archive of chains, or files that structural biologists have.

Chains that are longer than the model's are cut. A stretch of a large protein may be anything; those are taken that look like
small proteins, whose radius of gyration for their length is no larger than that of nine in ten of the chains that
are short enough as they are.

Residues are made rigid and their peptide bonds closed (:mod:`~langevin.modalities.protein.closure`) once, before training,
so that bonds between the rigid residues are as exact as those of real ones and a model can learn them so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langevin.core.progress import bar
from langevin.modalities.protein.archives import read_archive
from langevin.modalities.protein.closure import closed
from langevin.modalities.protein.protein import UNKNOWN, Protein, SideChains, of_structure
from langevin.modalities.protein.rigid import backbone_of, frames_of
from langevin.modalities.protein.secondary import secondary_of

__all__ = ["ProteinDataset", "open_data"]

_TRIES = 8  # stretches that are looked at for each that is wanted
_CHUNK = 50_000  # residues whose bonds are closed at once
_GLOBULAR = 1 / 3  # exponent of the radius of gyration of what fills space
_SHARE = 90  # per cent of whole chains that a stretch may be as wide as


class ProteinDataset:
    """Chains in memory.

    Attributes:
        proteins: each one chain without a break.
        lengths: number of residues of each, by which batches are made.
        conditions: none.

    Args:
        proteins: at least one.
        licence, attribution: of the data, for cards.

    Raises:
        ValueError: no proteins.
    """

    conditions: Sequence[str] = ()

    def __init__(
        self, proteins: Sequence[Protein], licence: str | None = None, attribution: str | None = None
    ) -> None:
        if not len(proteins):
            raise ValueError("there are no proteins in the data")
        self.proteins = list(proteins)
        self.lengths = [len(protein) for protein in self.proteins]
        self.licence, self.attribution = licence, attribution

    def __len__(self) -> int:
        return len(self.proteins)

    def batch(self, indices: Sequence[int]) -> tuple[list[Protein], Mapping[str, Any]]:
        """(proteins, no conditions) of these indices."""
        return [self.proteins[i] for i in indices], {}


def open_data(
    path: str | Path,
    split: str | None = None,
    shortest: int = 40,
    longest: int = 128,
    crops: int = 4,
    repeats: int = 1,
    close: bool = True,
    sidechains: bool = False,
    seed: int = 0,
    licence: str | None = None,
    attribution: str | None = None,
    traces: bool = False,
) -> ProteinDataset:
    """Proteins to train on.

    Args:
        path: an archive (:mod:`~langevin.modalities.protein.archives`), a PDB or mmCIF file, or a folder of these.
        split: of an archive: "train", "validation", "test", or all when None.
        shortest, longest: residues of an item.
        crops: at most so many stretches of each chain that is longer.
        repeats: how often each chain that is no longer stands in the data, to weigh more beside stretches.
        close: whether residues are made rigid with closed peptide bonds.
        sidechains: whether side chains of an archive are read, from the archive beside it; those of files always are.
        seed: of the stretches.
        licence, attribution: of the data, for the card of a model.
        traces: whether residues of files need no more than their CA.

    Raises:
        FileNotFoundError: no such file.
        ValueError: lengths that cannot be, a split of files that have none, traces whose bonds are to be closed, or nothing
            left.
    """
    path = Path(path)
    if traces and close:
        raise ValueError("traces have no peptide bonds to close; close must be false")
    if not 1 <= shortest <= longest:
        raise ValueError(
            f"shortest and longest must be 1 or more and in this order, got {shortest}, {longest}"
        )
    if path.suffix == ".npz":
        archive = read_archive(path, split, sidechains)
        chains = [
            replace(p, note={**p.note, "secondary": archive.secondary_of(k)}) if archive.secondary else p
            for k, p in enumerate(archive)
        ]
    elif split is not None:
        raise ValueError(f"{path} has no splits; they belong to .npz archives")
    else:
        needed = slice(1, 2) if traces else slice(None)
        chains = [part for protein in _of_files(path) for part in _unbroken(protein, needed)]
    whole = [p for p in chains if shortest <= len(p) <= longest]
    if close:
        chains = _closed(chains)
        whole = [p for p in chains if shortest <= len(p) <= longest]
    cut = list(_stretches([p for p in chains if len(p) > longest], whole, shortest, longest, crops, seed))
    if not whole and not cut:
        raise ValueError(f"{path} has no chain of at least {shortest} residues in one piece")
    return ProteinDataset(whole * max(1, repeats) + cut, licence, attribution)


def _of_files(path: Path) -> Iterator[Protein]:
    """The proteins of a file, or of every file in a folder."""
    from langevin.modalities.protein.files import read
    from langevin.modalities.protein.plugin import SUFFIXES

    files = (
        sorted(f for f in path.rglob("*") if f.name.lower().endswith(SUFFIXES)) if path.is_dir() else [path]
    )
    if not files:
        raise ValueError(f"{path} has no files that end in {', '.join(SUFFIXES)}")
    for file in bar(files, len(files), "reading proteins", None):
        yield of_structure(read(file))


def _unbroken(protein: Protein, needed: slice) -> Iterator[Protein]:
    """The stretches of a protein whose residues follow one another and have types and the atoms that are needed."""
    sound = np.isfinite(protein.backbone[:, needed]).all((1, 2)) & (protein.types != UNKNOWN)
    edge = protein.breaks | ~sound
    edge[1:] |= ~sound[:-1]
    number = np.cumsum(edge)
    for k in np.unique(number[sound]):
        yield protein[sound & (number == k)]


def _closed(chains: Sequence[Protein]) -> list[Protein]:
    """The chains as rigid residues with closed bonds; their secondary structure is that before."""
    known = [replace(p, note={**p.note, "secondary": _letters(p)}) for p in chains]
    out: list[Protein] = []
    groups = list(_groups(known))
    for group in bar(groups, len(groups), "closing peptide bonds", None):
        atoms = torch.from_numpy(np.concatenate([p.backbone for p in group])).double()
        follows = torch.ones(len(atoms), dtype=torch.bool)
        starts = np.cumsum([0, *[len(p) for p in group]])
        follows[torch.from_numpy(starts[:-1])] = False
        before = frames_of(atoms)
        after = closed(*before, follows, target=atoms[:, :3])
        made = backbone_of(*after, follows).float().numpy()
        for p, a, b in zip(group, starts[:-1], starts[1:], strict=True):
            side = None if p.side is None else _moved(p.side, *(part[a:b] for part in (*before, *after)))
            out.append(replace(p, backbone=made[a:b], side=side))
    return out


def _moved(side: SideChains, turn: Tensor, ca: Tensor, new_turn: Tensor, new_ca: Tensor) -> SideChains:
    """Side chains that go with the frames (n, 3, 3) and CA (n, 3) of their residues."""
    k = torch.from_numpy(side.residue.astype(np.int64))
    away = torch.from_numpy(side.xyz).to(ca) - ca[k]
    xyz = (new_turn[k] @ turn[k].mT @ away[..., None])[..., 0] + new_ca[k]
    return replace(side, xyz=xyz.float().numpy())


def _letters(protein: Protein) -> str:
    return "".join("HE-"[k] for k in secondary_of(protein))


def _groups(chains: Iterable[Protein]) -> Iterator[list[Protein]]:
    """Chains in runs of about so many residues."""
    held: list[Protein] = []
    total = 0
    for chain in chains:
        held.append(chain)
        total += len(chain)
        if total >= _CHUNK:
            yield held
            held, total = [], 0
    if held:
        yield held


def _stretches(
    chains: Sequence[Protein], whole: Sequence[Protein], shortest: int, longest: int, crops: int, seed: int
) -> Iterator[Protein]:
    """Parts of long chains that look like the whole ones."""
    rng = np.random.default_rng(seed)
    widest = np.percentile([_width(p.backbone[:, 1]) for p in whole], _SHARE) if whole else np.inf
    for chain in chains:
        taken = 0
        for _ in range(crops * _TRIES):
            if taken == crops:
                break
            n = int(rng.integers(shortest, longest + 1))
            at = int(rng.integers(0, len(chain) - n + 1))
            if _width(chain.backbone[at : at + n, 1]) <= widest:
                taken += 1
                letters = chain.note.get("secondary")
                part = chain[at : at + n]
                yield replace(part, note={"secondary": letters[at : at + n]}) if letters else part


def _width(ca: NDArray[np.float32]) -> float:
    """Radius of gyration (Å) over the cube root of the length."""
    return float(np.sqrt(((ca - ca.mean(0)) ** 2).sum(1).mean()) / len(ca) ** _GLOBULAR)
