"""Designs that keep parts of a user's protein: moved to its place, with its own atoms where they are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from langevin.modalities.protein.protein import Protein, SideChains
from langevin.modalities.protein.rigid import oxygens
from langevin.modalities.protein.templates import Template

__all__ = ["restored"]


def restored(
    design: Protein,
    original: Protein,
    kept: NDArray[np.bool_],
    follows: NDArray[np.bool_],
    typed: NDArray[np.bool_],
) -> Protein:
    """The design in the frame of the original, with its very atoms where residues are kept.

    Args:
        design: as many residues as the original; the kept ones lie as in the original, but for a shift.
        original: what was kept.
        kept: (n,), residues whose place is kept.
        follows: (n,), whether a residue of the design is bound to the one before.
        typed: (n,), residues whose type is kept; the side chains of those of both are, too.
    """
    backbone = np.array(design.backbone)
    if kept.any():
        backbone += (
            (original.backbone[kept, 1] - backbone[kept, 1]).mean(0, dtype=np.float64).astype(np.float32)
        )
        backbone[kept] = original.backbone[kept]
        # an oxygen lies in the plane of the bond to the next residue, which may be a new one
        after = np.append(kept[1:] & follows[1:], False)
        turned = kept & np.append(follows[1:], False) & ~after
        atoms = torch.from_numpy(backbone[:, :3].astype(np.float64))
        made = oxygens(atoms, torch.from_numpy(np.ascontiguousarray(follows))).numpy()
        turned |= kept & ~np.isfinite(original.backbone[:, 3]).all(1)
        loose = ~kept & np.append(
            kept[1:] & follows[1:], False
        )  # before a kept residue, whose N has its own place
        backbone[turned | loose, 3] = made[turned | loose]
    side = None
    if original.side is not None:
        there = (kept & typed)[original.side.residue]
        side = SideChains(original.side.residue[there], original.side.name[there], original.side.xyz[there])
    types = np.where(typed, original.types, design.types).astype(np.int8)
    note = {**design.note, "kept": np.flatnonzero(kept).tolist()} if kept.any() else dict(design.note)
    design = replace(design, backbone=backbone, types=types, side=side, note=note)
    if isinstance(original, Template):
        design = replace(
            design,
            chains=original.chains,
            numbers=original.numbers,
            insertions=original.insertions,
            note={**note, **original.about},
        )
    return design
