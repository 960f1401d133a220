r"""Tokens of a protein: one for each residue, seen from its own frame, and what is known of every pair of them.

    residue   its place relative to the centre, seen from its own frame; its four neighbours on either side likewise, with
              how they are turned; the torsions φ, ψ and ω; how far the peptide bonds on its two sides are from
              closed, at three scales; its type and secondary structure as one-hot vectors; whether a chain begins or ends,
              and whether it is a hotspot
    pair      the distance of CA as Gaussian bumps; the direction to each other as each of the two sees it; how one is
              turned against the other; how far apart they stand in the chain, and whether it is the same chain

All of this stays the same when the protein is turned or moved, and changes when it is mirrored. What the network answers
is read in the frame of each residue, so that the velocity of positions turns with the protein,

    v_i = R_i u_i + Σ_j pull_ij (x_i − x_j) / (1 + d_ij)    (the sum where there are pairs),

and rotations move in body coordinates: the model is equivariant to rotations whichever backbone it has (the frames of
Jumper et al., 2021, with invariant features in place of invariant points). The places along the chain are the
positions that rotary attention sees; each chain begins 200 further on (the gap of RoseTTAFold, Baek et al., 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from langevin.core.processes.base import State
from langevin.core.tokens import Tokens
from langevin.modalities.protein.closure import C_CA, CA_N
from langevin.modalities.protein.rigid import C_N, CA_CA, ideal_atoms

__all__ = ["SECONDARY", "TYPES", "ResidueTokens"]

TYPES, SECONDARY = 20, 3  # of residues; helix, strand, other
CHAIN_GAP = 200
NEIGHBOURS = (-4, -3, -2, -1, 1, 2, 3, 4)
_BUMPS = 20
_EXACT = 4  # offsets along the chain told apart one by one
_SCALES = (0.05, 0.3, 2.0)  # Å
_BESIDE = 15 * len(NEIGHBOURS) + 2 * (4 * len(_SCALES) + 1) + 6
_OFFSETS = 2 * _EXACT + 1 + 5


@dataclass(frozen=True)
class ResidueTokens:
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
            "positions": 3,
            "frames": _BESIDE,
            "residues": TYPES + 1,
            "secondary": SECONDARY + 1,
            "places": 4,
        }

    @property
    def outputs(self) -> dict[str, int]:
        return {"positions": 3, "frames": 3, "residues": TYPES, "secondary": SECONDARY}

    @property
    def pairs(self) -> int:
        """Width of the features of a pair."""
        return _BUMPS + 2 + 6 + 9 + _OFFSETS if self.paired else 0

    @property
    def pair_outputs(self) -> dict[str, int]:
        """The pull along the line between two residues."""
        return {"pull": 1} if self.paired else {}

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """Tokens (B, N, D) of a state, and pair features (B, N, N, P)."""
        assert isinstance(state, dict)
        with torch.autocast(state["positions"].device.type, enabled=False):  # which would round coordinates
            x, r = state["positions"].float(), state["frames"].float()
            places, hot = state["places"][..., :2].float(), state["places"][..., 2].float()
            line = places[..., 0] * CHAIN_GAP + places[..., 1]
            follows = _follows(places, mask)
            first, last = ~follows, ~F.pad(follows[:, 1:], (0, 1))
            values = {
                "positions": _seen(r, x),
                "frames": self._beside(x, r, places, follows, mask),
                "residues": _shares(state["residues"], TYPES + 1, x),
                "secondary": _shares(state["secondary"], SECONDARY + 1, x),
                "places": torch.stack([first.to(x), last.to(x), torch.ones_like(line), hot], -1),
            }
            pair = self._pair(x, r, places) if self.paired else None
            return Tokens(values, line[..., None], mask, pair, frames=(r, x))

    def _beside(self, x: Tensor, r: Tensor, places: Tensor, follows: Tensor, mask: Tensor | None) -> Tensor:
        """What a residue sees of its neighbours along the chain, (B, N, D)."""
        out = []
        for k in NEIGHBOURS:
            there = _shifted(places, k)
            bound = (there[..., 0] == places[..., 0]) & (there[..., 1] == places[..., 1] + k)
            bound &= _inside(places, k)
            if mask is not None:
                bound &= mask & _shifted(mask[..., None], k)[..., 0]
            away = _seen(r, _shifted(x, k) - x)
            turned = _product(r, _shifted(r.flatten(2), k).unflatten(2, (3, 3))).flatten(2)
            near = away / (away.norm(dim=-1, keepdim=True) + 0.1)
            out.append(torch.cat([away, near, turned], -1) * bound[..., None])
        atoms = ideal_atoms(r, x * self.unit)
        n, ca, c = atoms.unbind(2)
        n_, ca_, c_ = (_shifted(part, -1) for part in (n, ca, c))
        bond = torch.stack(
            [(c_ - n).norm(dim=-1) - C_N, (ca_ - n).norm(dim=-1) - CA_N]
            + [(c_ - ca).norm(dim=-1) - C_CA, (ca_ - ca).norm(dim=-1) - CA_CA],
            -1,
        )
        off = torch.cat(
            [torch.tanh(bond / scale) for scale in _SCALES] + [torch.ones_like(bond[..., :1])], -1
        )
        before = off * follows[..., None]
        after = F.pad(before[:, 1:], (0, 0, 0, 1))
        phi, omega = _torsion(c_, n, ca, c), _torsion(ca_, c_, n, ca)
        psi = _shifted(_torsion(n_, ca_, c_, n), 1)
        next_ = F.pad(follows[:, 1:], (0, 1))[..., None]
        turns = torch.cat([phi * follows[..., None], omega * follows[..., None], psi * next_], -1)
        return torch.cat([*out, before, after, turns], -1)

    def _pair(self, x: Tensor, r: Tensor, places: Tensor) -> Tensor:
        """(B, N, N, P): row i holds what residue i sees of residue j."""
        away = x[:, None] - x[:, :, None]  # (B, i, j, 3), from i to j
        d = _length(away) * self.unit
        centres = torch.linspace(2.0, 22.0, _BUMPS).to(x)
        bumps = torch.exp(-0.5 * ((d[..., None] - centres) / 1.1) ** 2)
        near = torch.stack([d / 20, 4 / (4 + d)], -1)
        seen = (away[..., None, :] @ r[:, :, None])[..., 0, :] / (d / self.unit + 0.05)[..., None]
        back = seen.transpose(1, 2)
        rows, many = x.shape[:2]
        flat = r.mT.reshape(rows, many * 3, 3) @ r.permute(0, 2, 1, 3).reshape(rows, 3, many * 3)
        turned = flat.reshape(rows, many, 3, many, 3).permute(0, 1, 3, 2, 4).flatten(3)
        same = places[:, :, None, 0] == places[:, None, :, 0]
        offset = places[:, None, :, 1] - places[:, :, None, 1]
        exact = torch.arange(-_EXACT, _EXACT + 1).to(x)
        far = offset.abs()
        along = torch.cat(
            [
                (offset[..., None] == exact).to(x),
                torch.stack([offset.sign() * torch.log1p(far) / 5, torch.log1p(far) / 5], -1),
                torch.stack([torch.exp(-far / 8), torch.exp(-far / 32)], -1),
            ],
            -1,
        )
        chain = same[..., None].to(x)
        return torch.cat([bumps, near, seen, back, turned, along * chain, chain], -1)

    def untokens(self, values: dict[str, Tensor], like: State) -> dict[str, Tensor]:
        """Output by leaf: the velocity of positions (B, N, 3), rates of rotation (B, N, 3), and logits."""
        assert isinstance(like, dict)
        x, r = like["positions"], like["frames"]
        # sums, not matrix products, which autocast would round to half the digits
        moved = (r * values["positions"].to(x)[..., None, :]).sum(-1)
        if self.paired:
            weight = values["pull"].to(x) / (1 + _length(x[:, :, None] - x[:, None]))[..., None]
            moved = moved + (weight * (x[:, :, None] - x[:, None])).sum(2)
        return {
            "positions": moved,
            "frames": values["frames"],
            "residues": values["residues"],
            "secondary": values["secondary"],
            "places": like["places"],
        }


def _follows(places: Tensor, mask: Tensor | None) -> Tensor:
    """(B, N): whether a residue is the next of the one before it in its chain."""
    step = places[:, 1:] - places[:, :-1]
    bound = F.pad((step[..., 0] == 0) & (step[..., 1] == 1), (1, 0))
    return bound if mask is None else bound & mask


def _shifted(x: Tensor, k: int) -> Tensor:
    """Element i holds what element i + k of (B, N, D) was, the nearest end beyond the ends."""
    many = x.shape[1]
    return x[:, (torch.arange(many, device=x.device) + k).clamp(0, many - 1)]


def _inside(x: Tensor, k: int) -> Tensor:
    """(1, N): whether element i + k is there."""
    there = torch.arange(x.shape[1], device=x.device) + k
    return ((there >= 0) & (there < x.shape[1]))[None]


def _seen(r: Tensor, v: Tensor) -> Tensor:
    """Rᵀ v of vectors (…, 3)."""
    return (r * v[..., :, None]).sum(-2)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Aᵀ B of matrices (…, 3, 3)."""
    return (a[..., :, :, None] * b[..., :, None, :]).sum(-3)


def _length(v: Tensor) -> Tensor:
    """Lengths of vectors (…, 3), with a gradient that is finite at 0."""
    return (v.square().sum(-1) + 1e-12).sqrt()


def _torsion(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """(sin, cos) of the torsion of four points (…, 3)."""
    first, axis, second = b - a, c - b, d - c
    p, q = torch.linalg.cross(first, axis), torch.linalg.cross(axis, second)
    y = (torch.linalg.cross(p, q) * axis).sum(-1) / _length(axis)
    x = (p * q).sum(-1)
    scale = (x.square() + y.square() + 1e-6).sqrt()
    return torch.stack([y / scale, x / scale], -1)


def _shares(classes: Tensor, count: int, like: Tensor) -> Tensor:
    """Indices (…) as one-hot vectors (…, count); probabilities (…, fewer) as they are, with 0 for the rest."""
    if not classes.is_floating_point():
        return F.one_hot(classes, count).to(like.dtype)
    return F.pad(classes.to(like.dtype), (0, count - classes.shape[-1]))
