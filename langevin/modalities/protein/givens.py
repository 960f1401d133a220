"""Which parts of proteins are given in training, and the frame of a given part.

A share of the samples shows one of five parts clean: a motif of one to four stretches with their types, one side of a chain
that is cut in two (the target of a binder), the whole backbone (inverse folding), the sequence, or the secondary structure.
A model so trained draws the rest.

Of a chain that is cut the two sides are chains of their own, and a share of the residues of the target that touch the other
side are marked as hotspots, up to half of them (RFdiffusion, Watson et al., 2023, marks up to a fifth). Complexes would be
better; single chains are what there is.

With a motif or a target the frame is centred on it: the centre of the whole is not known when the rest is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from langevin.core.parts import Part
from langevin.core.processes import Process, Product, State
from langevin.core.rng import Stream

__all__ = ["centred_on", "free", "motifs", "parts", "targets"]

# of the samples of which something is given
_TARGET, _MOTIF, _BACKBONE, _SEQUENCE = 0.15, 0.25, 0.25, 0.1  # the rest: secondary structure
_SIDE = 12  # residues, the fewest of a side of a chain that is cut
_HOTTEST = 0.5  # the largest share of touching residues that are marked
_TOUCHING = 8.0  # Å of CA–CA
_STRETCHES, _LEAST, _MOST = 4, 0.05, 0.5  # of a motif, and its share of the residues


def parts(
    process: Process, x: State, rng: Stream, mask: Tensor | None, share: float, unit: float = 10.0
) -> list[Part]:
    """A batch of proteins by what is given of it: those with a given motif or target, and all others.

    Args:
        process, x, rng, mask, share: as of :meth:`langevin.modalities.base.Modality.parts`.
        unit: Å of one unit of the state.
    """
    assert isinstance(x, dict)
    u = rng.uniform((len(rng),)).to(x["positions"].device) / max(share, 1e-12)
    whole = torch.ones_like(x["residues"], dtype=torch.bool) if mask is None else mask
    cut = (u < _TARGET) & (whole.sum(1) >= 2 * _SIDE)
    placed = cut | ((u < _TARGET + _MOTIF) & (whole.sum(1) > 1))
    out = []
    for some in (torch.nonzero(placed)[:, 0], torch.nonzero(~placed)[:, 0]):
        if not len(some):
            continue
        state, real, own = {name: part[some] for name, part in x.items()}, whole[some], rng.rows(some.cpu())
        if bool(placed[some[0]]):
            kept, places = targets(state["positions"] * unit, state["places"], real, own.fold("target"))
            kept = torch.where(cut[some][:, None], kept, motifs(real, own.fold("motif")))
            state["places"] = torch.where(cut[some][:, None, None], places, state["places"])
            given = dict.fromkeys(("positions", "frames", "residues", "secondary"), kept)
            out.append(Part(some, centred_on(state, kept, real), given, free(process)))
            continue
        v = u[some] - _TARGET - _MOTIF
        backbone = (v >= 0) & (v < _BACKBONE)
        sequence = (v >= _BACKBONE) & (v < _BACKBONE + _SEQUENCE)
        secondary = (v >= _BACKBONE + _SEQUENCE) & (u[some] < 1)
        given = {
            "positions": backbone,
            "frames": backbone,
            "residues": sequence,
            "secondary": backbone | secondary,
        }
        out.append(Part(some, state, given, process))
    return out


def targets(ca: Tensor, places: Tensor, mask: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
    """One side (B, N) of chains that are cut in two, and the places (B, N, 3) of the two chains that they become.

    Args:
        ca: (B, N, 3) Å.
        places: (B, N, 3), of single chains.
        mask: (B, N), True on real residues, which come first.
        rng: one row for each sample.
    """
    rows, most = mask.shape
    count, device = mask.sum(1), mask.device
    line = torch.arange(most, device=device)
    room = (count - 2 * _SIDE).clamp(min=0)
    where = _SIDE + (rng.fold("cut").uniform((rows,)).to(device) * (room + 1)).long()
    after = line >= where[:, None]
    first = rng.fold("side").uniform((rows,)).to(device) < 0.5
    target = torch.where(first[:, None], ~after, after) & mask
    touching = torch.cdist(ca, ca) < _TOUCHING
    beside = (touching & (mask & ~target)[:, None]).any(2) & target
    marked = rng.fold("marked").uniform((rows, 1)).to(device) * _HOTTEST
    hot = beside & (rng.fold("hotspots").uniform((rows, most)).to(device) < marked)
    begin = places[:, :, 1].gather(1, where[:, None].clamp(max=most - 1))
    chain = places[..., 0] + after
    number = torch.where(after, places[..., 1] - begin, places[..., 1])
    return target, torch.stack([chain, number, hot.to(places)], -1)


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
