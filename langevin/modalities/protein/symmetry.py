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
import re

import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.errors import unknown

__all__ = ["deviation", "group", "order", "unit_length"]

_POLYHEDRAL = {"t": "tetrahedral", "o": "octahedral", "i": "icosahedral"}
_GOLDEN = (1 + math.sqrt(5)) / 2
_ALLOWED = "C2, C3 …, D2, D3 …, tetrahedral (T), octahedral (O) or icosahedral (I)"
_MOST = (
    60  # copies, as many as the largest polyhedral group has; more do not fit the chain names of a PDB file
)


def _parsed(name: str) -> tuple[str, int]:
    """(kind, n): ("c", 3), ("d", 2), ("t", 12), ("o", 24) or ("i", 60).

    Raises:
        ValueError: no name of a group, or an order that cannot be.
    """
    if not isinstance(name, str):
        raise ValueError(f"symmetry must be the name of a point group, {_ALLOWED}; got {name!r}")
    plain = name.strip().lower()
    if plain in _POLYHEDRAL or plain in _POLYHEDRAL.values():
        return plain[0], {"t": 12, "o": 24, "i": 60}[plain[0]]
    found = re.fullmatch(r"([cd])([0-9]+)", plain)
    if found is None:
        if re.fullmatch(r"[cd]\W*\S*", plain):
            raise ValueError(
                f"symmetry {name!r} has no whole number as its order; write {plain[0].upper()}3, say"
            )
        raise ValueError(
            f"{unknown('symmetry', name, [*_POLYHEDRAL.values(), 'C2', 'C3', 'D2', 'D3'])}: {_ALLOWED}"
        )
    kind, n = found[1], int(found[2])
    most = _MOST if kind == "c" else _MOST // 2
    if not 2 <= n <= most:
        why = {
            0: "no copies",
            1: "one copy and no symmetry; leave it out"
            if kind == "c"
            else "half a turn about x alone; write C2",
        }.get(n, f"{n if kind == 'c' else 2 * n} copies")
        raise ValueError(f"symmetry {name!r} is {why}; the order of {kind.upper()} must be 2 … {most}")
    return kind, n


def order(name: str) -> int:
    """How many copies a group makes: n, 2n, 12, 24 or 60.

    Raises:
        ValueError: no name of a group, or an order that cannot be; the message says what is allowed.
    """
    kind, n = _parsed(name)
    return 2 * n if kind == "d" else n


def group(name: str) -> Tensor:
    """The rotations of a point group, (K, 3, 3) float64, the identity first; see the module's page.

    Raises:
        ValueError: as :func:`order`.
    """
    return _group(*_parsed(name)).clone()


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


def unit_length(total: int, name: str) -> int:
    """Residues of each copy where the whole has ``total``.

    Raises:
        ValueError: a total that the number of copies does not divide; the message names the nearest that it does.
    """
    count = order(name)
    if total < 1 or total % count:
        low = total // count * count
        near = f"{low} or {low + count}" if low > 0 else f"{count}"
        raise ValueError(
            f"{total} residues are not {count} copies of a unit ({name}); the nearest total is {near}"
        )
    return total // count


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
