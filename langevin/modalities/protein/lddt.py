r"""How far the distances between residues are from those of the real protein: smooth lDDT, a loss that no motion changes,
nor a reflection, which the losses of the leaves tell.

The local distance difference test counts, over the pairs of points that are less than 15 Å apart in the real structure, how
many of the four thresholds .5, 1, 2 and 4 Å the error of their distance stays below; with a sigmoid in place of each step,

.. math:: 1 - \operatorname{mean}_{ij} \tfrac{1}{4} \sum_k \sigma\bigl(k - |\hat d_{ij} - d_{ij}|\bigr),

it has a gradient (Mariani et al., 2013, doi:10.1093/bioinformatics/btt473; Abramson et al., 2024, AlphaFold 3, Suppl.
Alg. 27). Points are CA against CA, and N against C, whose distances tell how the strands of a sheet lie to each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from langevin.modalities.protein.rigid import ideal_atoms

__all__ = ["of_points", "smooth_lddt"]

_NEAR = 15.0  # Å
_THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # Å


def smooth_lddt(
    believed: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor], mask: Tensor | None = None
) -> Tensor:
    """The loss of each protein, (B,), from 0 to 1.

    Args:
        believed: rotations (B, N, 3, 3) and CA (B, N, 3) in Å.
        real: likewise.
        mask: (B, N), True on real residues.
    """
    n, ca, c = ideal_atoms(*believed).unbind(2)
    n_, ca_, c_ = ideal_atoms(*real).unbind(2)
    return of_points([(ca, ca, ca_, ca_), (n, c, n_, c_)], mask)


def of_points(points: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]], mask: Tensor | None = None) -> Tensor:
    """As :func:`smooth_lddt`, of points of residues: believed ones and those that their distances are taken to, and the
    real ones of both, each (B, N, 3) in Å."""
    ca = points[0][0]
    other = ~torch.eye(ca.shape[1], dtype=torch.bool, device=ca.device)
    there = other if mask is None else other & mask[:, :, None] & mask[:, None]
    close = torch.zeros(len(ca), device=ca.device)
    count = torch.zeros(len(ca), device=ca.device)
    for a, b, a_, b_ in points:
        d = _distances(a_, b_)
        error = (_distances(a, b) - d).abs()
        score = torch.stack([torch.sigmoid(k - error) for k in _THRESHOLDS]).mean(0)
        near = there & (d < _NEAR)
        close = close + (score * near).sum((1, 2))
        count = count + near.sum((1, 2))
    return 1 - (close + (count == 0)) / count.clamp(min=1)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """(B, N, N) from points (B, N, 3) to points (B, N, 3)."""
    squares = a.square().sum(-1)[:, :, None] + b.square().sum(-1)[:, None] - 2 * a @ b.mT
    return (squares.clamp(min=0) + 1e-4).sqrt()
