"""Which parts of proteins are given in training, and the frame of a given part.

A share of the samples shows one of four parts clean: a motif of one to four stretches with their types, the whole backbone
(inverse folding), the sequence, or the secondary structure. A model so trained draws the rest.

With a motif the frame is centred on the motif: the centre of the whole is not known when the rest is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from langevin.core.parts import Part
from langevin.core.processes import Process, Product, State
from langevin.core.rng import Stream

__all__ = ["centred_on", "free", "motifs", "parts"]

# of the samples of which something is given
_MOTIF, _BACKBONE, _SEQUENCE = 0.4, 0.25, 0.1  # the rest: secondary structure
_STRETCHES, _LEAST, _MOST = 4, 0.05, 0.5  # of a motif, and its share of the residues


def parts(process: Process, x: State, rng: Stream, mask: Tensor | None, share: float) -> list[Part]:
    """A batch of proteins by what is given of it: those with a given motif, and all others."""
    assert isinstance(x, dict)
    u = rng.uniform((len(rng),)).to(x["positions"].device) / max(share, 1e-12)
    whole = torch.ones_like(x["residues"], dtype=torch.bool) if mask is None else mask
    with_motif = (u < _MOTIF) & (whole.sum(1) > 1)
    out = []
    for some in (torch.nonzero(with_motif)[:, 0], torch.nonzero(~with_motif)[:, 0]):
        if not len(some):
            continue
        state, real = {name: part[some] for name, part in x.items()}, whole[some]
        if bool(with_motif[some[0]]):
            kept = motifs(real, rng.rows(some.cpu()).fold("motif"))
            given = dict.fromkeys(("positions", "frames", "residues", "secondary"), kept)
            out.append(Part(some, centred_on(state, kept, real), given, free(process)))
            continue
        v = u[some]
        backbone = (v >= _MOTIF) & (v < _MOTIF + _BACKBONE)
        sequence = (v >= _MOTIF + _BACKBONE) & (v < _MOTIF + _BACKBONE + _SEQUENCE)
        secondary = (v >= _MOTIF + _BACKBONE + _SEQUENCE) & (v < 1)
        given = {
            "positions": backbone,
            "frames": backbone,
            "residues": sequence,
            "secondary": backbone | secondary,
        }
        out.append(Part(some, state, given, process))
    return out


def motifs(mask: Tensor, rng: Stream) -> Tensor:
    """Residues (B, N) that are given: one to four stretches, 5 to 50 % of the residues in all, at least one.

    Args:
        mask: (B, N), True on real residues, which come first.
        rng: one row for each sample.
    """
    rows, most = mask.shape
    count = mask.sum(1).cpu()
    share = _LEAST + (_MOST - _LEAST) * rng.fold("share").uniform((rows,))
    stretches = 1 + (rng.fold("stretches").uniform((rows,)) * _STRETCHES).long()
    cut, gap = rng.fold("cut").uniform((rows, _STRETCHES)), rng.fold("gap").uniform((rows, _STRETCHES + 1))
    chosen = torch.zeros(rows, most, dtype=torch.bool)
    for row in range(rows):
        n = int(count[row])
        total = min(max(1, round(float(share[row]) * n)), n - 1)
        pieces = min(int(stretches[row]), total, n - total)
        lengths = _split(total - pieces, cut[row, :pieces])
        gaps = _split(n - total - (pieces - 1), gap[row, : pieces + 1])
        place = 0
        for k in range(pieces):
            place += gaps[k] + (k > 0)
            chosen[row, place : place + lengths[k] + 1] = True
            place += lengths[k] + 1
    return chosen.to(mask.device)


def _split(total: int, weights: Tensor) -> list[int]:
    """Whole numbers of about these proportions whose sum is ``total``."""
    edges = (total * weights.cumsum(0) / weights.sum().clamp(min=1e-9)).round().long().tolist()
    edges[-1] = total
    return [b - a for a, b in zip([0, *edges[:-1]], edges, strict=True)]


def centred_on(x: Mapping[str, Tensor], chosen: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """States moved so that the centre of ``chosen`` residues (B, N) is the origin; places outside the mask stay 0."""
    weight = chosen.to(x["positions"].dtype)[..., None]
    centre = (x["positions"] * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    moved = x["positions"] - centre
    return {**x, "positions": moved if mask is None else moved * mask[..., None]}


def free(process: Process) -> Process:
    """The process with noise whose centre is not held at the origin, for frames of a given part."""
    leaves = dict(process.leaves)
    return Product(**{**leaves, "positions": replace(leaves["positions"], centred=False)})  # type: ignore[type-var]
