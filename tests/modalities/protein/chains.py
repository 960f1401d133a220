"""Small proteins and lines of PDB files for tests, made here, and the place of the shared ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from langevin.modalities.protein.protein import Protein, SideChains, types_of

FOLDER = Path(os.environ.get("LANGEVIN_DATA", Path(__file__).parents[4] / "shared" / "data")) / "proteins"


def shared(name: str = "proteins.npz") -> Path:
    """A file of the shared chains, or the test is skipped."""
    if not (FOLDER / name).is_file():
        pytest.skip(f"no {name} in {FOLDER} (set LANGEVIN_DATA)")
    return FOLDER / name


# N, CA, C, O of an extended residue, whose neighbour stands 3.63 Å along x; C–N is then 1.35 Å
RESIDUE = np.array([[-1.2, 0.8, 0.0], [0.0, 0.0, 0.0], [1.2, 0.9, 0.0], [1.3, 2.1, 0.0]])
STEP, BETA = 3.63, np.array([0.0, -0.9, 1.2])


def strand(
    sequence: str,
    chain: str = "A",
    first: int = 1,
    at: Sequence[float] = (0.0, 0.0, 0.0),
    insertions: Sequence[str] | None = None,
    numbers: Sequence[int] | None = None,
) -> Protein:
    """Residues in a row, with a CB each where the type has one."""
    n = len(sequence)
    shift = np.arange(n)[:, None, None] * np.array([STEP, 0.0, 0.0]) + np.array(at)
    types = types_of(sequence)
    beta = [k for k, letter in enumerate(sequence) if letter not in "GX"]
    return Protein(
        (RESIDUE + shift).astype(np.float32),
        types,
        np.full(n, chain),
        np.arange(first, first + n, dtype=np.int32) if numbers is None else np.array(numbers, np.int32),
        np.full(n, "") if insertions is None else np.array(insertions),
        SideChains(
            np.array(beta, np.int32), np.full(len(beta), "CB"), (BETA + shift[beta, 0]).astype(np.float32)
        ),
    )


def line(
    name: str,
    residue: str,
    number: int,
    xyz: Sequence[float],
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
    x, y, z = xyz
    return (
        f"{record:<6}{1:>5} {padded}{altloc}{residue:>3} {chain}{number:>4}{insertion}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{10.0:6.2f}          {symbol:>2}  "
    )


def residue(
    name: str, number: int, place: int, atoms: Sequence[str] = ("N", "CA", "C", "O"), **more: object
) -> list[str]:
    """Lines of a residue of :func:`strand`, the one at this place of the row."""
    rows = dict(zip(("N", "CA", "C", "O"), RESIDUE + np.array([STEP * place, 0.0, 0.0])))
    return [line(atom, name, number, rows[atom], **more) for atom in atoms]  # type: ignore[arg-type]


def write(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join([*lines, "END", ""]))
    return path


def same(one: Protein, other: Protein, within: float = 6e-4) -> None:
    """Assert that two proteins are the same up to the rounding of files."""
    assert one.sequence == other.sequence
    for name in ("chains", "numbers", "insertions"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    np.testing.assert_array_equal(np.isnan(one.backbone), np.isnan(other.backbone))
    np.testing.assert_allclose(one.backbone, other.backbone, atol=within)
    assert one.side is not None and other.side is not None
    assert one.side.residue.tolist() == other.side.residue.tolist()
    assert one.side.name.tolist() == other.side.name.tolist()
    np.testing.assert_allclose(one.side.xyz, other.side.xyz, atol=within)
