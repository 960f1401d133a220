"""What residues see of one another from frames of their own: features that no motion of space changes.

Every residue has a place x (3) and a frame R (3, 3), whose columns are its axes; a vector v is seen as Rᵀ v. Which
residues are bound follows from their places along the chain, (number of the chain, number in it). Shared by residues with
frames of their own (:mod:`~langevin.modalities.protein.tokens`) and those whose frames follow from the trace
(:mod:`~langevin.modalities.protein.trace_tokens`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "BESIDE",
    "NEIGHBOURS",
    "PAIRS",
    "SCALES",
    "beside",
    "bound",
    "ends",
    "follows",
    "length",
    "line",
    "pairs",
    "pulled",
    "seen",
    "shares",
    "shifted",
    "torsion",
]

NEIGHBOURS = (-4, -3, -2, -1, 1, 2, 3, 4)
SCALES = (0.05, 0.3, 2.0)  # Å, at which the ends of a bond are told to be off
BESIDE = 15 * len(NEIGHBOURS)  # width of :func:`beside`
_CHAIN_GAP = 200
_BUMPS = 20
_EXACT = 4  # offsets along the chain told apart one by one
PAIRS = _BUMPS + 2 + 6 + 9 + 2 * _EXACT + 1 + 5  # width of :func:`pairs`


def line(places: Tensor) -> Tensor:
    """(B, N, 1): positions for rotary attention; each chain begins 200 further on (the gap of RoseTTAFold)."""
    return (places[..., 0] * _CHAIN_GAP + places[..., 1])[..., None]


def follows(places: Tensor, mask: Tensor | None) -> Tensor:
    """(B, N): whether a residue is the next of the one before it in its chain."""
    step = places[:, 1:] - places[:, :-1]
    tied = F.pad((step[..., 0] == 0) & (step[..., 1] == 1), (1, 0))
    return tied if mask is None else tied & mask


def ends(places: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, N) each: whether a chain, or a stretch of it without a gap, begins or ends with a residue."""
    tied = follows(places, mask)
    return ~tied, ~F.pad(tied[:, 1:], (0, 1))


def bound(places: Tensor, mask: Tensor | None, k: int) -> Tensor:
    """(B, N): whether element i + k is the residue k further on in the chain of residue i."""
    there = shifted(places, k)
    tied = (there[..., 0] == places[..., 0]) & (there[..., 1] == places[..., 1] + k)
    tied &= _inside(places, k)
    return tied if mask is None else tied & mask & shifted(mask[..., None], k)[..., 0]


def beside(x: Tensor, r: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
    """(B, N, 15 · 8): where the four neighbours on either side along the chain are, and how they are turned."""
    out = []
    for k in NEIGHBOURS:
        away = seen(r, shifted(x, k) - x)
        turned = _product(r, shifted(r.flatten(2), k).unflatten(2, (3, 3))).flatten(2)
        near = away / (away.norm(dim=-1, keepdim=True) + 0.1)
        out.append(torch.cat([away, near, turned], -1) * bound(places, mask, k)[..., None])
    return torch.cat(out, -1)


def pairs(x: Tensor, r: Tensor, places: Tensor, unit: float) -> Tensor:
    """(B, N, N, P): row i holds what residue i sees of residue j.

    Args:
        x: (B, N, 3).
        r: (B, N, 3, 3).
        places: (B, N, 2 or more).
        unit: Å of one unit of x.
    """
    away = x[:, None] - x[:, :, None]  # (B, i, j, 3), from i to j
    d = length(away) * unit
    centres = torch.linspace(2.0, 22.0, _BUMPS).to(x)
    bumps = torch.exp(-0.5 * ((d[..., None] - centres) / 1.1) ** 2)
    near = torch.stack([d / 20, 4 / (4 + d)], -1)
    toward = (away[..., None, :] @ r[:, :, None])[..., 0, :] / (d / unit + 0.05)[..., None]
    back = toward.transpose(1, 2)
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
    return torch.cat([bumps, near, toward, back, turned, along * chain, chain], -1)


def pulled(x: Tensor, pull: Tensor) -> Tensor:
    """Σ_j pull_ij (x_i − x_j) / (1 + d_ij), (B, N, 3), of pulls (B, N, N, 1)."""
    weight = pull.to(x) / (1 + length(x[:, :, None] - x[:, None]))[..., None]
    return (weight * (x[:, :, None] - x[:, None])).sum(2)


def shifted(x: Tensor, k: int) -> Tensor:
    """Element i holds what element i + k of (B, N, D) was, the nearest end beyond the ends."""
    many = x.shape[1]
    return x[:, (torch.arange(many, device=x.device) + k).clamp(0, many - 1)]


def seen(r: Tensor, v: Tensor) -> Tensor:
    """Rᵀ v of vectors (…, 3)."""
    return (r * v[..., :, None]).sum(-2)


def length(v: Tensor) -> Tensor:
    """Lengths of vectors (…, 3), with a gradient that is finite at 0."""
    return (v.square().sum(-1) + 1e-12).sqrt()


def torsion(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """(sin, cos) of the torsion of four points (…, 3)."""
    first, axis, second = b - a, c - b, d - c
    p, q = torch.linalg.cross(first, axis), torch.linalg.cross(axis, second)
    y = (torch.linalg.cross(p, q) * axis).sum(-1) / length(axis)
    x = (p * q).sum(-1)
    scale = (x.square() + y.square() + 1e-6).sqrt()
    return torch.stack([y / scale, x / scale], -1)


def shares(classes: Tensor, count: int, like: Tensor) -> Tensor:
    """Indices (…) as one-hot vectors (…, count); probabilities (…, fewer) as they are, with 0 for the rest."""
    if not classes.is_floating_point():
        return F.one_hot(classes, count).to(like.dtype)
    return F.pad(classes.to(like.dtype), (0, count - classes.shape[-1]))


def _inside(x: Tensor, k: int) -> Tensor:
    """(1, N): whether element i + k is there."""
    there = torch.arange(x.shape[1], device=x.device) + k
    return ((there >= 0) & (there < x.shape[1]))[None]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Aᵀ B of matrices (…, 3, 3)."""
    return (a[..., :, :, None] * b[..., :, None, :]).sum(-3)
