"""How far kept parts, copies and partners are from what was asked: motif RMSD, symmetry RMSD, interfaces and hotspots.

RMSD is taken after the best superposition without reflection (:func:`similarity.superposed`). A contact between chains is a
pair of CA nearer than 8 Å; a hotspot is touched by a residue of another chain whose CA is nearer than that to its CA. An
interface is a pair of chains with at least ten contacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from langevin.modalities.protein.metrics.similarity import superposed
from langevin.modalities.protein.native import TERMINAL
from langevin.modalities.protein.protein import Protein

__all__ = [
    "CONTACT",
    "INTERFACE",
    "Partners",
    "hotspots_touched",
    "interfaces",
    "kept_rmsd",
    "motif_rmsd",
    "partners",
    "symmetry_rmsd",
]

CONTACT = 8.0  # Å
INTERFACE = 10  # contacts


def motif_rmsd(
    design: Protein, rows: Sequence[int], motif: Protein, of: Sequence[int] | None = None, ca: bool = False
) -> float:
    """RMSD of the backbone atoms of kept residues from those of the motif, Å.

    Args:
        design: where the motif should be.
        rows: its residues there, indices.
        motif: the file's own residues.
        of: which of them, in the order of ``rows``; all when None.
        ca: of CA alone; otherwise of all of N, CA, C and O that both sides have.

    Raises:
        ValueError: different numbers of residues.
    """
    theirs = motif.backbone if of is None else motif.backbone[list(of)]
    ours = design.backbone[list(rows)]
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} residues of the design were given for {len(theirs)} of the motif")
    atoms = np.s_[:, 1:2] if ca else np.s_[:, :]
    a, b = ours[atoms].reshape(-1, 3), theirs[atoms].reshape(-1, 3)
    there = np.isfinite(a).all(1) & np.isfinite(b).all(1)
    return superposed(a[there], b[there])[2]


def kept_rmsd(design: Protein, rows: Sequence[int], motif: Protein, of: Sequence[int]) -> float:
    """RMSD of everything that is kept of residues, Å: N, CA, C and all side-chain atoms; infinite where a type differs or a
    side-chain atom is missing.

    The oxygen is not counted: it lies in the plane of the bond to the next residue, which may be new. Nor is that which ends
    a chain.

    Args:
        design: where the motif should be.
        rows: its residues there, indices.
        motif: the file's own residues.
        of: which of them, in the order of ``rows``.

    Raises:
        ValueError: different numbers of residues, or none.
    """
    if len(rows) != len(of) or not len(rows):
        raise ValueError(f"{len(rows)} residues of the design were given for {len(of)} of the motif")
    ours, theirs = [], []
    for k, j in zip(rows, of, strict=True):
        if design.types[k] != motif.types[j]:
            return float("inf")
        wanted = {} if motif.side is None else motif.side.of(j)
        made = {} if design.side is None else design.side.of(k)
        names = [name for name in wanted if name != TERMINAL]
        if any(name not in made for name in names):
            return float("inf")
        ours += [*design.backbone[k, :3], *(made[name] for name in names)]
        theirs += [*motif.backbone[j, :3], *(wanted[name] for name in names)]
    return superposed(np.array(ours), np.array(theirs))[2]


def symmetry_rmsd(design: Protein, operations: ArrayLike | None = None) -> float:
    """How far the chains are from being copies of the first one, Å: the largest RMSD of any.

    Args:
        design: chains of equal length, in the order of the operations.
        operations: (chains, 3, 3) rotations about the origin; chain k is compared with rotation k of chain 0, both as
            they stand, so that the arrangement is measured too. Rotations by which each chain is
            superposed on the first when None: then only their inner geometry is.

    Raises:
        ValueError: one chain, chains of different lengths, or other numbers of operations.
    """
    parts = [design.backbone[design.chains == chain].astype(np.float64) for chain in design.chain_ids]
    if len(parts) < 2 or len({len(part) for part in parts}) > 1:
        raise ValueError(
            f"copies have equal lengths; the chains have {', '.join(str(len(p)) for p in parts)}"
        )
    first = parts[0].reshape(-1, 3)
    turns = None if operations is None else np.asarray(operations, np.float64)
    if turns is not None and turns.shape != (len(parts), 3, 3):
        raise ValueError(f"operations must have shape ({len(parts)}, 3, 3); got {turns.shape}")
    worst = 0.0
    for k, part in enumerate(parts):
        x = part.reshape(-1, 3)
        there = np.isfinite(x).all(1) & np.isfinite(first).all(1)
        if turns is None:
            worst = max(worst, superposed(x[there], first[there])[2])
        else:
            rest = x[there] - first[there] @ (turns[k] @ np.linalg.inv(turns[0])).T
            worst = max(worst, float(np.sqrt((rest**2).sum(1).mean())))
    return worst


def interfaces(design: Protein, within: float = CONTACT) -> dict[tuple[str, str], int]:
    """Contacts of each pair of chains that has any: pairs of CA nearer than ``within`` Å."""
    trees = {
        chain: cKDTree(design.backbone[design.chains == chain, 1].astype(np.float64))
        for chain in design.chain_ids
    }
    found = {
        (a, b): int(trees[a].count_neighbors(trees[b], within)) for a, b in combinations(design.chain_ids, 2)
    }
    return {pair: count for pair, count in found.items() if count}


class Partners(NamedTuple):
    """How chains hold together.

    Attributes:
        each: whether every chain has an interface with another one.
        whole: whether interfaces join all chains, one after another, into one assembly.
    """

    each: bool
    whole: bool


def partners(design: Protein, least: int = INTERFACE) -> Partners:
    """Whether chains have interfaces.

    Args:
        design: chains.
        least: contacts of a pair of chains that make an interface; pairs that only graze are none.
    """
    pairs = [pair for pair, count in interfaces(design).items() if count >= least]
    ids = design.chain_ids
    group = {chain: k for k, chain in enumerate(ids)}
    for a, b in pairs:
        old, new = group[b], group[a]
        group = {chain: new if k == old else k for chain, k in group.items()}
    held = {chain for pair in pairs for chain in pair}
    return Partners(len(held) == len(ids), bool(pairs) and len(set(group.values())) == 1)


def hotspots_touched(design: Protein, hotspots: Sequence[int], within: float = CONTACT) -> NDArray[np.bool_]:
    """(k,) which hotspots a residue of another chain touches.

    Args:
        design: target and binder.
        hotspots: residues of the target, indices.
        within: between CA, Å.
    """
    ca, rows = design.backbone[:, 1].astype(np.float64), np.asarray(hotspots, np.int64)
    near = np.linalg.norm(ca[rows][:, None] - ca[None], axis=-1) < within
    return np.asarray((near & (design.chains[rows][:, None] != design.chains)).any(1))
