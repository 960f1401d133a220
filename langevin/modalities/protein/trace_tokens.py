r"""Tokens of a CA trace: one for each residue, seen from the frame that its two neighbours span.

The frame of residue i has its origin at CA i and its axes along (Gram–Schmidt; the Frenet–Serret frame of Lin & AlQuraishi,
2023, Genie, arXiv 2301.12485, but that both neighbours enter alike)

    v = x_{i+1} − x_{i−1},    w = x_i − (x_{i−1} + x_{i+1}) / 2 less its part along v,
    R = (e_v, e_w, e_v × e_w),    e_v = v / √(v² + ε²),  ε = 0.1 Å.

Where three points are on a line w is 0 and means no direction, so that e_w and the third axis vanish there, and no input
jumps. Of real residues, whose angle at CA is below 150°, the axes are of length 1 to 0.5 %. The first and the last residue
of a stretch have the axes of their neighbour; a residue in a stretch of fewer than three has those of the two residues
before it and itself, across the break.

    residue   its place relative to the centre and its four neighbours on either side, seen from its own frame, with how
              these are turned; their distances; how far CA–CA on its two sides is from 3.8 Å, at three scales; the angle
              at CA and the two dihedrals of four CA that it is in the middle of; its type and secondary structure; whether
              a chain begins or ends, and whether it is a hotspot
    pair      as of residues with frames of their own (:mod:`~langevin.modalities.protein.tokens`)

All of this stays the same when the trace is turned or moved. Of a mirror image the third axis and the dihedrals have the
other sign. The velocity of positions is read in the frame of each residue, v_i = R_i u_i, and turns with the trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from langevin.core.processes.base import State
from langevin.core.tokens import Tokens
from langevin.modalities.protein import local
from langevin.modalities.protein.rigid import CA_CA
from langevin.modalities.protein.tokens import SECONDARY, TYPES

__all__ = ["TraceTokens", "trace_frames"]

_SOFT = 0.1  # ε, Å
_ALONG = len(local.NEIGHBOURS) + 2 * (len(local.SCALES) + 1) + 2 + 4  # width of what is known along the chain
_FAR = 10.0  # Å, of distances along the chain


@dataclass(frozen=True)
class TraceTokens:
    """The way between states and tokens.

    Args:
        unit: Å of one unit of the state's positions.
        paired: whether there are features of pairs, for a network that takes them.
    """

    unit: float
    paired: bool = True

    @property
    def inputs(self) -> dict[str, int]:
        return {
            "positions": 3 + local.BESIDE + _ALONG,
            "residues": TYPES + 1,
            "secondary": SECONDARY + 1,
            "places": 3,
        }

    @property
    def outputs(self) -> dict[str, int]:
        return {"positions": 3, "residues": TYPES, "secondary": SECONDARY}

    @property
    def pairs(self) -> int:
        """Width of the features of a pair."""
        return local.PAIRS if self.paired else 0

    @property
    def pair_outputs(self) -> dict[str, int]:
        """The pull along the line between two residues."""
        return {"pull": 1} if self.paired else {}

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """Tokens (B, N, D) of a state, and pair features (B, N, N, P)."""
        assert isinstance(state, dict)
        with torch.autocast(state["positions"].device.type, enabled=False):  # which would round coordinates
            x = state["positions"].float()
            places, hot = state["places"][..., :2].float(), state["places"][..., 2].float()
            r = trace_frames(x * self.unit, places)
            first, last = local.ends(places, mask)
            seen = [local.seen(r, x), local.beside(x, r, places, mask), self._along(x, places, mask)]
            values = {
                "positions": torch.cat(seen, -1),
                "residues": local.shares(state["residues"], TYPES + 1, x),
                "secondary": local.shares(state["secondary"], SECONDARY + 1, x),
                "places": torch.stack([first.to(x), last.to(x), hot], -1),
            }
            pair = local.pairs(x, r, places, self.unit) if self.paired else None
            return Tokens(values, local.line(places), mask, pair, frames=(r, x))

    def _along(self, x: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        """Distances, angle and dihedrals of each residue along its chain, (B, N, D)."""
        ca = x * self.unit
        at = {k: local.shifted(ca, k) for k in (-2, -1, 1, 2)}
        tied = {k: local.bound(places, mask, k)[..., None] for k in (-2, -1, 1, 2)}
        distances = [
            (local.length(local.shifted(ca, k) - ca) / _FAR * local.bound(places, mask, k))[..., None]
            for k in local.NEIGHBOURS
        ]
        before, after = ca - at[-1], at[1] - ca
        bonds = []
        for step, there in ((before, tied[-1]), (after, tied[1])):
            off = local.length(step)[..., None] - CA_CA
            scaled = [torch.tanh(off / scale) for scale in local.SCALES]
            bonds.append(torch.cat([*scaled, torch.ones_like(off)], -1) * there)
        middle = tied[-1] & tied[1]
        size = local.length(before) * local.length(after) + _SOFT**2
        cosine = (-(before * after).sum(-1) / size)[..., None]
        angle = torch.cat([cosine, torch.ones_like(cosine)], -1) * middle
        turns = [
            local.torsion(at[-2], at[-1], ca, at[1]) * (middle & tied[-2]),
            local.torsion(at[-1], ca, at[1], at[2]) * (middle & tied[2]),
        ]
        return torch.cat([*distances, *bonds, angle, *turns], -1)

    def untokens(self, values: dict[str, Tensor], like: State) -> dict[str, Tensor]:
        """Output by leaf: the velocity of positions (B, N, 3), and logits."""
        assert isinstance(like, dict)
        x = like["positions"]
        with torch.autocast(x.device.type, enabled=False):
            r = trace_frames(x.float() * self.unit, like["places"].float()).to(x)
        # sums, not matrix products, which autocast would round to half the digits
        moved = (r * values["positions"].to(x)[..., None, :]).sum(-1)
        if self.paired:
            moved = moved + local.pulled(x, values["pull"])
        return {
            "positions": moved,
            "residues": values["residues"],
            "secondary": values["secondary"],
            "places": like["places"],
        }


def trace_frames(ca: Tensor, places: Tensor) -> Tensor:
    """Axes (B, N, 3, 3) of residues, finite and smooth in ``ca`` wherever residues are.

    Args:
        ca: (B, N, 3) Å, N of 3 or more.
        places: (B, N, 2 or more). Padding, which comes last, is bound to nothing: no two places of it follow one another.
    """
    tied = local.follows(places, None)
    next_ = F.pad(tied[:, 1:], (0, 1))
    inner = tied & next_
    before, after = F.pad(inner[:, :-1], (1, 0)), F.pad(inner[:, 1:], (0, 1))
    line = torch.arange(ca.shape[1], device=ca.device)
    alone = (line - 1).clamp(1, ca.shape[1] - 2).expand(tied.shape)
    middle = torch.where(tied & before, line - 1, alone)
    middle = torch.where(next_ & after, line + 1, middle)
    middle = torch.where(inner, line, middle)
    a, b, c = (ca.gather(1, (middle + k)[..., None].expand(-1, -1, 3)) for k in (-1, 0, 1))
    v, w = c - a, b - (a + c) / 2
    w = w - v * ((v * w).sum(-1, keepdim=True) / (v.square().sum(-1, keepdim=True) + _SOFT**2))
    x, y = _short(v), _short(w)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def _short(v: Tensor) -> Tensor:
    """Directions (…, 3) of vectors in Å, that vanish where these do."""
    return v / (v.square().sum(-1, keepdim=True) + _SOFT**2).sqrt()
