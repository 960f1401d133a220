r"""Residues as rigid bodies: N, CA and C of fixed geometry, turned and moved.

The frame of a residue has its origin at CA. With unit vectors n and c from CA to N and to C,

    x = (c + n) / |c + n|,    y = (c − n) / |c − n|,    z = x × y,

the axes of a rotation R, whose columns they are. n and c enter alike, so that where the angle N–CA–C of a real residue is
not the ideal one, the deviation is shared between the two atoms: Gram–Schmidt from C alone (Jumper et al., 2021, AlphaFold
2, Suppl. Alg. 21) puts all of it on N. Atoms from a frame are R · ideal + CA. Lengths in Å, angles in degrees.

The oxygen is no part of the rigid body: it lies in the plane of the peptide bond that follows,

    O = C + 1.232 Å · (1, turned away from CA and the next N by 120.6° and 122.7°),

and after the last residue of a chain where the torsion N–CA–C–O is 135°, which is that of an extended strand.

Cβ is no part of it either: :func:`betas` puts it where N–CA, CA–C and their normal say, in glycine too.

Ideal values are the means over the residues of Engh & Huber (2001, International Tables for Crystallography F, 18.3).
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

__all__ = ["IDEAL", "backbone_of", "betas", "frames_of", "ideal_atoms", "oxygens"]

N_CA, CA_C, N_CA_C = 1.458, 1.525, 111.0
C_O, CA_C_O, N_C_O = 1.231, 120.1, 122.7
C_N, CA_C_N, C_N_CA, CA_CA = 1.329, 117.2, 121.7, 3.80  # of trans peptide bonds
LAST_O = 135.0  # torsion N–CA–C–O after the last residue

_HALF = math.radians(N_CA_C / 2)
IDEAL = (
    (N_CA * math.cos(_HALF), -N_CA * math.sin(_HALF), 0.0),
    (0.0, 0.0, 0.0),
    (CA_C * math.cos(_HALF), CA_C * math.sin(_HALF), 0.0),
)  # of N, CA and C in the frame of their residue


def frames_of(backbone: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (…, 3, 3) and CA (…, 3) of atoms (…, 3 or more, 3), of which the first are N, CA and C.

    Where two atoms coincide, or the three lie on a line, the rotation means nothing, and is the identity.
    """
    n, ca, c = backbone[..., 0, :], backbone[..., 1, :], backbone[..., 2, :]
    to_n, to_c = F.normalize(n - ca, dim=-1), F.normalize(c - ca, dim=-1)
    x, y = F.normalize(to_c + to_n, dim=-1), F.normalize(to_c - to_n, dim=-1)
    rotation = torch.stack([x, y, torch.linalg.cross(x, y)], -1)
    whole = (rotation.mT @ rotation - torch.eye(3).to(rotation)).abs().amax((-1, -2)) < 1e-3
    return torch.where(whole[..., None, None], rotation, torch.eye(3).to(rotation)), ca


def ideal_atoms(rotations: Tensor, ca: Tensor) -> Tensor:
    """N, CA and C (…, 3, 3) of frames."""
    ideal = torch.tensor(IDEAL, dtype=ca.dtype, device=ca.device)
    return torch.einsum("...ij,aj->...ai", rotations, ideal) + ca[..., None, :]


def backbone_of(rotations: Tensor, ca: Tensor, follows: Tensor | None = None) -> Tensor:
    """N, CA, C and O (n, 4, 3) of the frames of residues.

    Args:
        rotations: (n, 3, 3).
        ca: (n, 3), Å.
        follows: (n,) bool, whether a residue is bound to the one before; all but the first when None.
    """
    atoms = ideal_atoms(rotations, ca)
    return torch.cat([atoms, oxygens(atoms, follows)[:, None]], 1)


def oxygens(atoms: Tensor, follows: Tensor | None = None) -> Tensor:
    """O (n, 3) of atoms (n, 3, 3); arguments as of :func:`backbone_of`."""
    n, ca, c = atoms.unbind(1)
    if follows is None:
        follows = torch.arange(len(atoms), device=atoms.device) > 0
    to_ca = F.normalize(ca - c, dim=-1)
    bound = torch.cat([follows[1:], follows.new_zeros(1)])
    to_next = F.normalize(torch.cat([n[1:], n[-1:]]) - c, dim=-1)
    # in the plane of CA, C and the next N, in a direction that divides what is left of the full turn in the ideal ratio
    a, b = math.radians(CA_C_O), math.radians(N_C_O)
    inside = (to_ca * to_next).sum(-1, keepdim=True)
    across = F.normalize(to_next - inside * to_ca, dim=-1)
    corner = torch.atan2((to_next * across).sum(-1, keepdim=True), inside)
    turn = (2 * math.pi - corner) * a / (a + b)
    planar = turn.cos() * to_ca - turn.sin() * across
    # after the last residue: by the torsion N–CA–C–O
    axis = F.normalize(c - ca, dim=-1)
    side = F.normalize((n - ca) - ((n - ca) * axis).sum(-1, keepdim=True) * axis, dim=-1)
    torsion = math.radians(LAST_O)
    round_ = math.cos(torsion) * side + math.sin(torsion) * torch.linalg.cross(axis, side)
    free = math.cos(a) * to_ca + math.sin(a) * round_
    return c + C_O * torch.where(bound[:, None], planar, free)


def betas(backbone: ArrayLike) -> NDArray[np.float64]:
    """(n, 3) Å, Cβ at their ideal places, of N, CA, C (n, 3 or more, 3); NaN where N or C is missing.

    The numbers are Rosetta's, as in RFdiffusion's ``generate_Cbeta`` (Watson et al., 2023, doi 10.1038/s41586-023-06415-8).
    """
    n, ca, c = np.moveaxis(np.asarray(backbone, np.float64)[:, :3], 1, 0)
    one, two = ca - n, c - ca
    found: NDArray[np.float64] = ca - 0.57910144 * np.cross(one, two) + 0.5689693 * one - 0.5441217 * two
    return found
