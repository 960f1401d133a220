"""Designs that keep parts of a user's protein: moved to its place, with its own atoms where they are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from langevin.modalities.protein.protein import Protein, SideChains
from langevin.modalities.protein.rigid import frames_of, oxygens
from langevin.modalities.protein.templates import Template

__all__ = ["carried", "restored"]


def carried(original: Protein, rotations: torch.Tensor, ca: torch.Tensor) -> torch.Tensor:
    """N, CA and C (n, 3, 3) of the original's residues where other frames (n, 3, 3), (n, 3) Å have them, float64."""
    atoms = torch.from_numpy(original.backbone[:, :3].astype(np.float64))
    own, centre = frames_of(atoms)
    turn = rotations.double() @ own.mT
    return (atoms - centre[:, None]) @ turn.mT + ca.double()[:, None]


def restored(
    design: Protein,
    original: Protein,
    kept: NDArray[np.bool_],
    follows: NDArray[np.bool_],
    typed: NDArray[np.bool_],
    dressed: NDArray[np.bool_],
) -> Protein:
    """The design in the frame of the original, with its very atoms where residues are kept; those of free bodies where the
    design has these.

    Its note has ``kept`` and ``kept_types``, indices of the residues whose place and whose type is kept, and
    ``motif_rmsd``, of N, CA and C of residues whose place is kept, or of a template was asked for, from those of the
    original after superposition, Å; the largest of those of each free body and of the rest.

    Args:
        design: as many residues as the original; the kept ones lie as in the original, but for a shift, or as their bodies.
        original: what was kept; a template says which residues are of free bodies.
        kept: (n,), residues whose place is kept, in a free body or in the frame of the original.
        follows: (n,), whether a residue of the design is bound to the one before.
        typed: (n,), residues whose type is kept.
        dressed: (n,), residues whose side chains are kept where their places and types are; others have those of the design,
            if it has any.
    """
    backbone = np.array(design.backbone)
    shift = np.zeros(3, np.float32)
    body = original.bodies if isinstance(original, Template) else np.full(len(original), -1)
    still = kept & (body < 0)
    if still.any():
        shift = (
            (original.backbone[still, 1] - backbone[still, 1]).mean(0, dtype=np.float64).astype(np.float32)
        )
        backbone += shift
    for number in range(body.max(initial=-1) + 1):
        original = _moved(original, body == number, backbone)
    if kept.any():
        backbone[kept] = original.backbone[kept]
        # an oxygen lies in the plane of the bond to the next residue, which may be a new one
        after = np.append(kept[1:] & follows[1:] & (body[1:] == body[:-1]), False)
        turned = kept & np.append(follows[1:], False) & ~after
        atoms = torch.from_numpy(backbone[:, :3].astype(np.float64))
        made = oxygens(atoms, torch.from_numpy(np.ascontiguousarray(follows))).numpy()
        turned |= kept & ~np.isfinite(original.backbone[:, 3]).all(1)
        loose = ~kept & np.append(
            kept[1:] & follows[1:], False
        )  # before a kept residue, whose N has its own place
        # an oxygen is made from whole residues, which those of a trace are not
        change = (turned | loose) & np.isfinite(made).all(1)
        backbone[change, 3] = made[change]
    own = kept & typed & dressed
    parts = [] if original.side is None else [_of(original.side, own)]
    if design.side is not None:
        drawn = _of(design.side, ~own)
        parts.append(replace(drawn, xyz=drawn.xyz + shift))
    columns = ([getattr(part, name) for part in parts] for name in ("residue", "name", "xyz"))
    side = SideChains(*map(np.concatenate, columns)) if parts else None
    types = np.where(typed, original.types, design.types).astype(np.int8)
    design = replace(design, backbone=backbone, types=types, side=side)
    note = {**design.note, **_told(design, original, kept, typed)}
    design = replace(design, note=note)
    if isinstance(original, Template):
        design = replace(
            design,
            chains=original.chains,
            numbers=original.numbers,
            insertions=original.insertions,
            note={**note, **original.about},
        )
    return design


def _moved(original: Protein, there: NDArray[np.bool_], backbone: NDArray[np.float32]) -> Protein:
    """The original with residues ``there`` (n,) and their side chains superposed on a backbone, by its N, CA and C."""
    from langevin.modalities.protein.metrics.similarity import superposed

    ours, theirs = (part[there, :3].reshape(-1, 3) for part in (original.backbone, backbone))
    known = np.isfinite(ours).all(1) & np.isfinite(theirs).all(1)  # of a trace: CA alone
    turn, shift, _ = superposed(ours[known], theirs[known])
    moved = original.backbone.copy()
    moved[there] = (moved[there] @ turn.T + shift).astype(np.float32)
    side = original.side
    if side is not None:
        own = there[side.residue]
        xyz = np.where(own[:, None], side.xyz @ turn.T + shift, side.xyz).astype(np.float32)
        side = replace(side, xyz=xyz)
    return replace(original, backbone=moved, side=side)


def _told(
    design: Protein, original: Protein, kept: NDArray[np.bool_], typed: NDArray[np.bool_]
) -> dict[str, Any]:
    """What the note says of kept residues, where there are any."""
    from langevin.modalities.protein.metrics.similarity import superposed

    told: dict[str, Any] = {
        name: np.flatnonzero(those).tolist()
        for name, those in (("kept", kept), ("kept_types", typed))
        if those.any()
    }
    placed = kept | original.motif if isinstance(original, Template) else kept
    body = original.bodies if isinstance(original, Template) else np.full(len(original), -1)
    found = []
    for number in np.unique(body[placed]):
        ours, theirs = (
            one.backbone[placed & (body == number), :3].reshape(-1, 3) for one in (design, original)
        )
        known = np.isfinite(ours).all(1) & np.isfinite(theirs).all(1)  # of a trace: CA alone
        found.append(superposed(ours[known], theirs[known])[2])
    if found:
        told["motif_rmsd"] = round(max(found), 3)
    return told


def _of(side: SideChains, chosen: NDArray[np.bool_]) -> SideChains:
    """The atoms of the residues ``chosen`` (n,), which keep their numbers."""
    there = chosen[side.residue]
    return SideChains(side.residue[there], side.name[there], side.xyz[there])
