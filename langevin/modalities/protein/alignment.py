"""Proteins turned to lie near their noise, for shorter paths.

Which way a protein lies means nothing, so that of all its turned copies training may take the one nearest to the noise
that it will be joined to (equivariant optimal transport; Klein, Krämer & Noé, 2023, arXiv 2306.15030), by the method of
Kabsch (1976).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.processes import State

__all__ = ["aligned", "rotation_to"]


@so3.unrounded
def rotation_to(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Rotations R (B, 3, 3) that bring R x nearest to y; both (B, N, 3) and centred. Never reflections."""
    if mask is not None:
        x = x * mask[..., None]
    cross = torch.einsum("bni,bnj->bij", y.double(), x.double())
    u, _, v = torch.linalg.svd(cross)
    sign = torch.det(u @ v).sign()
    fix = torch.diag_embed(torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1))
    return (u @ fix @ v).to(x.dtype)


def aligned(
    x: State,
    noise: State,
    mask: Tensor | None = None,
    given: Mapping[str, Tensor] | None = None,
    apart: Tensor | None = None,
) -> State:
    """Clean states turned to lie near the noise of their positions.

    Where a part is given, or leaves have clocks of their own, the way a protein lies would tell of noise that is not to be
    known, and states stay as they are.

    Args:
        x: clean states.
        noise: states at t = 1.
        mask: (B, N).
        given: booleans by leaf of what is shown clean; None for nothing.
        apart: (B,), samples whose leaves have clocks of their own; None for none.
    """
    assert isinstance(x, dict) and isinstance(noise, dict)
    turn = rotation_to(x["positions"], noise["positions"], mask)
    still = torch.zeros(len(turn), dtype=torch.bool, device=turn.device)
    if given is not None:
        for part in given.values():
            still |= part.reshape(len(part), -1).any(1)
    if apart is not None:
        still |= apart.to(still.device)
    turn = torch.where(still[:, None, None], torch.eye(3).to(turn), turn)
    out = {**x, "positions": (turn[:, None] * x["positions"][..., None, :]).sum(-1)}
    if "frames" in x:
        frames = so3.unrounded(torch.matmul)(turn[:, None], x["frames"].to(turn))
        out["frames"] = frames.to(x["frames"])
    return out
