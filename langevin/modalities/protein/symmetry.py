r"""Point groups of assemblies, by name, as rotation matrices.

============================ ===== ===========================================================================
C2, C3 …                     n     about z
D2, D3 …                     2n    n about z, and each followed by half a turn about x
tetrahedral, T               12    half turns about x, y, z; thirds about (±1, ±1, ±1)
octahedral, O                24    quarters about x, y, z; thirds about (±1, ±1, ±1)
icosahedral, I               60    half turns about x, y, z; fifths about (φ, ±1, 0), (0, φ, ±1), (±1, 0, φ)
============================ ===== ===========================================================================

with φ the golden ratio. These are the axes of RFdiffusion, and of Cn and Dn its order of the copies too: of Cn turns of
360 k / n degrees, of Dn each turn followed at once by its flip. A structure that is kept or begun from has to lie on these
axes, with its copies in the order of the group; :func:`deviation` tells how far it is from that.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from langevin.core import so3
from langevin.modalities.protein.groups import order, parsed, unit_length

__all__ = ["deviation", "group", "order", "unit_length"]

_GOLDEN = (1 + math.sqrt(5)) / 2


def group(name: str) -> Tensor:
    """The rotations of a point group, (K, 3, 3) float64, the identity first; see the module's page.

    Raises:
        ValueError: as :func:`~langevin.modalities.protein.groups.order`.
    """
    return _group(*parsed(name)).clone()


@functools.lru_cache(maxsize=128)
def _group(kind: str, n: int) -> Tensor:
    if kind in "cd":
        turns = [_turn((0, 0, 1), k / n) for k in range(n)]
        if kind == "c":
            return torch.stack(turns)
        flip = _turn((1, 0, 0), 1 / 2)
        return torch.stack([rotation for turn in turns for rotation in (turn, flip @ turn)])
    generators: list[tuple[tuple[float, float, float], float]] = {
        "t": [((1, 0, 0), 1 / 2), ((1, 1, 1), 1 / 3)],
        "o": [((1, 0, 0), 1 / 4), ((1, 1, 1), 1 / 3)],
        "i": [((1, 0, 0), 1 / 2), ((1, 1, 1), 1 / 3), ((_GOLDEN, 1, 0), 1 / 5)],
    }[kind]  # type: ignore[assignment]
    return _closure([_turn(axis, part) for axis, part in generators])


def _turn(axis: tuple[float, float, float], part: float) -> Tensor:
    """The rotation by a part of a whole turn; entries that are 0, ±1/2 or ±1 to rounding are that exactly."""
    unit = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    return _rounded(so3.exp(2 * math.pi * part * unit))


def _rounded(r: Tensor) -> Tensor:
    near = (2 * r).round() / 2
    return torch.where((r - near).abs() < 1e-12, near + 0.0, r)


def _closure(generators: list[Tensor]) -> Tensor:
    """All products of some rotations, the identity first, those of fewer factors before others."""
    found = [torch.eye(3, dtype=torch.float64)]
    for rotation in found:  # which grows on the way
        for generator in generators:
            new = _rounded(generator @ rotation)
            if all(float((new - old).abs().max()) > 1e-6 for old in found):
                found.append(new)
    return torch.stack(found)


def deviation(positions: Tensor, rotations: Tensor) -> Tensor:
    """How far an assembly is from the symmetry, shape (...): the root mean square distance of its points from those of the
    mean unit, in units of ``positions``.

    Args:
        positions: (..., L, 3), copies in the order of the group; the axes pass through the origin.
        rotations: (K, 3, 3).

    Raises:
        ValueError: a number of points that K does not divide.
    """
    count = len(rotations)
    if positions.shape[-2] % count:
        raise ValueError(f"{positions.shape[-2]} points are not {count} copies of a unit")
    copies = positions.unflatten(-2, (count, -1)) @ rotations.to(positions)  # R^T x, as row vectors
    return (copies - copies.mean(-3, keepdim=True)).square().sum(-1).mean((-1, -2)).sqrt()
