"""Small structure files for tests, written line by line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

ARCHIVE = (
    Path(os.environ.get("LANGEVIN_DATA", Path(__file__).parents[4] / "shared" / "data"))
    / "molecules"
    / "pockets.tar.xz"
)


def archive() -> Path:
    """The shared complexes, or the test is skipped."""
    if not ARCHIVE.is_file():
        pytest.skip(f"no pockets.tar.xz in {ARCHIVE.parent} (set LANGEVIN_DATA)")
    return ARCHIVE


def atom(
    name: str,
    residue: str,
    number: int,
    x: float,
    y: float,
    z: float,
    *,
    chain: str = "A",
    record: str = "ATOM",
    altloc: str = " ",
    insertion: str = " ",
    occupancy: float = 1.0,
    element: str | None = None,
) -> str:
    symbol = name[0] if element is None else element
    padded = f" {name:<3}" if len(name) < 4 and len(symbol) == 1 else f"{name:<4}"
    return (
        f"{record:<6}{1:>5} {padded}{altloc}{residue:>3} {chain}{number:>4}{insertion}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{10.0:6.2f}          {symbol:>2}  "
    )


def hetero(name: str, residue: str, number: int, x: float, y: float, z: float, **more: object) -> str:
    return atom(name, residue, number, x, y, z, record="HETATM", **more)  # type: ignore[arg-type]


def ala(
    number: int, x: float, y: float = 0.0, *, residue: str = "ALA", leave: Sequence[str] = (), **more: object
) -> list[str]:
    """An alanine, its CA at (x, y, 0)."""
    places = {
        "N": (-1.2, 0.8, 0),
        "CA": (0, 0, 0),
        "C": (1.2, 0.9, 0),
        "O": (1.3, 2.1, 0),
        "CB": (0, -0.9, 1.2),
    }
    return [
        atom(name, residue, number, x + dx, y + dy, dz, **more)  # type: ignore[arg-type]
        for name, (dx, dy, dz) in places.items()
        if name not in leave
    ]


def ring(
    number: int = 401, x: float = 0.0, y: float = 4.5, residue: str = "LIG", **more: object
) -> list[str]:
    """A benzene, without hydrogens, around (x, y, 0)."""
    angles = np.arange(6) * np.pi / 3
    return [
        hetero(
            f"C{k + 1}", residue, number, x + 1.39 * np.cos(a), y + 1.39 * np.sin(a), 0, element="C", **more
        )
        for k, a in enumerate(angles)
    ]


def write(folder: Path, lines: Sequence[str], name: str = "a.pdb") -> Path:
    path = folder / name
    path.write_text("\n".join([*lines, "END", ""]), encoding="ascii")
    return path
