"""Which of its equivalent states a molecule meets its noise in.

A molecule turned, or with its atoms in another order, is the same molecule, and noise knows no order and no direction.
Choosing the order and the rotation nearest to the noise shortens the paths that a flow has to learn (Klein et al., 2023,
arXiv 2306.15030; Song et al., 2023, arXiv 2312.07168). The noise stays as it was drawn; it is the data that is moved, by
a rotation at random, the best order (Hungarian algorithm), then the best rotation (Kabsch, 1976). Reflections are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.processes.base import State
from langevin.core.rng import Stream

__all__ = ["aligned", "kabsch", "ordered", "turned"]


def turned(x: Tensor, rng: Stream) -> Tensor:
    """Positions (B, N, 3), each sample turned by a rotation at random."""
    return x @ so3.uniform(x.new_zeros(len(x), 3, 3), rng.fold("rotation")).mT


def kabsch(x: Tensor, aim: Tensor) -> Tensor:
    """Proper rotations (B, 3, 3) that bring centred positions x (B, N, 3) nearest to ``aim``: x @ R^T."""
    u, _, vt = torch.linalg.svd(aim.mT @ x)
    sign = torch.det(u @ vt)
    flip = torch.ones_like(u[:, 0])
    flip[:, 2] = sign
    return (u * flip[:, None]) @ vt


def ordered(
    state: State, aim: Tensor, mask: Tensor | None, locked: Tensor | None = None
) -> dict[str, Tensor]:
    """The state with its atoms in the order whose summed squared distance to ``aim`` is least.

    Args:
        state: leaves of molecules.
        aim: positions (B, N, 3).
        mask: (B, N), True on real atoms.
        locked: (B, N), atoms that keep their place; None for none.
    """
    from scipy.optimize import linear_sum_assignment

    assert isinstance(state, dict)
    x = state["positions"]
    count = [x.shape[1]] * len(x) if mask is None else mask.sum(1).tolist()
    cost = -(aim.cpu() @ x.cpu().mT).numpy()  # what of the squared distance depends on the order
    held = np.zeros(cost.shape[:2], bool) if locked is None else locked.cpu().numpy()
    place = torch.arange(x.shape[1]).repeat(len(x), 1)
    for row, n in enumerate(count):
        loose = np.flatnonzero(~held[row, :n])
        if len(loose) > 1:
            best = linear_sum_assignment(cost[row][np.ix_(loose, loose)])[1]
            place[row, loose] = torch.from_numpy(loose[best])
    place = place.to(x.device)
    rows = torch.arange(len(x), device=x.device)[:, None]
    out = {name: part[rows, place] for name, part in state.items()}
    out["bonds"] = out["bonds"].gather(2, place[:, None].expand_as(out["bonds"]))
    return out


def aligned(
    state: State,
    noise: State,
    rng: Stream,
    mask: Tensor | None = None,
    given: Mapping[str, Tensor] | None = None,
    apart: Tensor | None = None,
) -> dict[str, Tensor]:
    """The state turned and ordered to lie near its noise; see the head of this file.

    What is seen while positions are noise must say nothing of that noise. So atoms keep their place where elements or
    bonds are given, or have clocks of their own, and no rotation is chosen where positions are given. A given part turns
    with the rest, at random.

    Args:
        state, noise: leaves of molecules.
        rng: one row for each sample.
        mask: (B, N).
        given: booleans by leaf of what is shown clean, (B,) for whole leaves or (B, N).
        apart: (B,), samples whose leaves have clocks of their own.
    """
    assert isinstance(state, dict) and isinstance(noise, dict)
    aim = noise["positions"]
    rows, most = aim.shape[:2]
    locked = torch.zeros(rows, most, dtype=torch.bool, device=aim.device)
    if apart is not None:
        locked |= apart.to(aim.device)[:, None]
    if given is not None:
        for chosen in given.values():
            locked |= chosen.diagonal(dim1=1, dim2=2) if chosen.ndim > 2 else chosen.reshape(rows, -1)
    with torch.autocast(aim.device.type, enabled=False):  # a rotation of rounded numbers deforms
        out = ordered({**state, "positions": turned(state["positions"], rng)}, aim, mask, locked)
        x = out["positions"]
        best = kabsch(x, aim).mT
        if given is not None:
            fixed = given["positions"].reshape(rows, -1).any(1)
            best = torch.where(fixed[:, None, None], torch.eye(3, dtype=best.dtype, device=best.device), best)
        return {**out, "positions": x @ best}
