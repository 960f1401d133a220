"""Names of point groups, and how many copies they make; see :mod:`langevin.modalities.protein.symmetry`."""

from __future__ import annotations

import re

from langevin.core.errors import unknown

__all__ = ["order", "parsed", "unit_length"]

_POLYHEDRAL = {"t": "tetrahedral", "o": "octahedral", "i": "icosahedral"}
_ALLOWED = "C2, C3 …, D2, D3 …, tetrahedral (T), octahedral (O) or icosahedral (I)"
_MOST = (
    60  # copies, as many as the largest polyhedral group has; more do not fit the chain names of a PDB file
)


def parsed(name: str) -> tuple[str, int]:
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
    kind, n = parsed(name)
    return 2 * n if kind == "d" else n


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
