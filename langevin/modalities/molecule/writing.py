"""Molecules to files, each written whole or not at all: SDF with provenance, SMILES csv, XYZ.

Stereo is assigned from the coordinates of a copy before anything is written: a mol block of a molecule whose
stereo was never assigned marks its double bonds as "either", and E/Z is lost on reading. An SDF is V2000, or V3000
from 1,000 atoms or bonds on.
"""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from langevin.core.errors import unknown
from langevin.folders import write_atomic
from langevin.modalities.molecule.atoms import (
    MAX_ATOMS,
    assign_stereo,
    check_positions,
    quiet,
    reason,
    smiles,
)
from langevin.modalities.samples import Failure

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["sdf_record", "write_sdf", "write_smiles", "write_xyz"]

Rows: TypeAlias = Sequence[Mapping[str, Any]]


def write_sdf(
    items: Sequence[Mol | Failure],
    path: str | Path,
    provenance: Mapping[str, Any] | None = None,
    rows: Rows | None = None,
    errors: str = "raise",
) -> list[Failure]:
    """Writes an SDF; each record carries the molecule's own properties, then `provenance`, then its row.

    Args:
        items: molecules with a 3-D conformer.
        path: of the file.
        provenance: how they were made (seed, model, settings), for every record. Values that are not plain are JSON.
        rows: data of each molecule (scores, its number).
        errors: "raise", or "skip" to leave out what cannot be written, with a warning.

    Returns:
        One :class:`Failure` for each item that was left out, with its number; empty with errors="raise".

    Raises:
        ValueError: an item that is a failure or has no place in an SDF, with errors="raise"; nothing to write; rows
            of another length; a name that no SDF can hold.
    """

    def record(item: Mol, row: Mapping[str, Any]) -> str:
        return sdf_record(item, {**(provenance or {}), **row})

    return _write(items, path, rows, errors, record)


def sdf_record(mol: Mol, data: Mapping[str, Any] | None = None) -> str:
    """One record of an SDF, ``$$$$`` included.

    Raises:
        ValueError: no atoms, too many, no 3-D conformer, a position that is not finite, or a name that no SDF can hold.
    """
    from rdkit import Chem

    _conformer(mol)
    with quiet():
        try:
            mol = _with_stereo(mol)
            block = Chem.MolToMolBlock(mol)  # V3000 above 999 atoms or bonds
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"rdkit cannot write it: {reason(error)}") from None
    held = {**mol.GetPropsAsDict(includePrivate=False, includeComputed=False), **(data or {})}
    return block + "".join(_item(name, value) for name, value in held.items()) + "$$$$\n"


def write_smiles(items: Sequence[Mol | Failure], path: str | Path, rows: Rows | None = None) -> None:
    """Writes a csv with the columns smiles (canonical, with stereo), name, those of `rows`, and failure.

    Every item has a line; those that are failures have an empty SMILES and their reason.

    Raises:
        ValueError: nothing to write, rows of another length or with a column of a reserved name.
    """
    rows = _rows(items, rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if reserved := {"smiles", "name", "failure"} & set(columns):
        raise ValueError(
            f"rows must not name the columns {', '.join(sorted(reserved))}; they are written anyway"
        )
    held = io.StringIO()
    table = csv.writer(held, lineterminator="\n")
    table.writerow(["smiles", "name", *columns, "failure"])
    for item, row in zip(items, rows):
        text, name, failure = "", "", ""
        try:
            if isinstance(item, Failure):
                raise ValueError(item.reason)
            name = item.GetProp("_Name") if item.HasProp("_Name") else ""
            text = smiles(_with_stereo(item))
        except (ValueError, RuntimeError) as error:
            failure = str(error).strip()
        table.writerow([text, name, *(_plain(row.get(column, "")) for column in columns), failure])
    write_atomic(path, held.getvalue())


def write_xyz(
    items: Sequence[Mol | Failure], path: str | Path, rows: Rows | None = None, errors: str = "raise"
) -> list[Failure]:
    """Writes an XYZ file, a frame for each molecule; its comment holds ``charge=`` and the row as ``name=value``.

    Args:
        items, errors: as for :func:`write_sdf`. Bonds and implicit hydrogens have no place in the format.
        path: of the file.
        rows: data of each molecule.

    Returns:
        As :func:`write_sdf`.

    Raises:
        ValueError: as :func:`write_sdf`; a molecule with implicit hydrogens.
    """
    from langevin.modalities.molecule.atoms import hidden_hydrogens

    def frame(mol: Mol, row: Mapping[str, Any]) -> str:
        positions = _conformer(mol)
        if hidden := hidden_hydrogens(mol):
            raise ValueError(f"{hidden} of its hydrogens are not atoms, so XYZ would lose them")
        charge = sum(atom.GetFormalCharge() for atom in mol.GetAtoms())
        comment = " ".join([f"charge={charge}", *(f"{k}={_plain(v)}" for k, v in row.items())])
        lines = [str(len(positions)), " ".join(comment.split())]
        for atom, (x, y, z) in zip(mol.GetAtoms(), positions.tolist()):
            lines.append(f"{atom.GetSymbol():<2} {x:12.6f} {y:12.6f} {z:12.6f}")
        return "\n".join(lines) + "\n"

    return _write(items, path, rows, errors, frame)


def _write(
    items: Sequence[Any], path: str | Path, rows: Rows | None, errors: str, record: Any
) -> list[Failure]:
    """Writes the records of the items, and gives those left out."""
    if errors not in ("raise", "skip"):
        raise ValueError(unknown("value of errors", errors, ("raise", "skip")))
    written, lost = [], []
    for k, (item, row) in enumerate(zip(items, _rows(items, rows)), 1):
        try:
            if isinstance(item, Failure):
                raise ValueError(item.reason)
            written.append(record(item, row))
        except ValueError as error:
            if errors == "raise":
                raise ValueError(f"{path}: item {k} cannot be written: {error}") from None
            lost.append(Failure(f"item {k}: {error}"))
    if not written:
        raise ValueError(
            f"{path}: none of the {len(items)} items can be written; the first: {lost[0].reason}"
        )
    if lost:
        warnings.warn(
            f"{path}: {len(lost)} of {len(items)} items were left out; the first: {lost[0].reason}",
            stacklevel=3,
        )
    write_atomic(path, "".join(written))
    return lost


def _rows(items: Sequence[Any], rows: Rows | None) -> Rows:
    if not len(items):
        raise ValueError("there are no molecules to write")
    if rows is not None and len(rows) != len(items):
        raise ValueError(f"rows has {len(rows)} entries for {len(items)} molecules")
    return [{}] * len(items) if rows is None else rows


def _conformer(mol: Mol) -> np.ndarray:
    """(n, 3) float64 positions that can be written."""
    n = mol.GetNumAtoms()
    if not 1 <= n <= MAX_ATOMS:
        raise ValueError(f"has {n} atoms; 1 to {MAX_ATOMS} are written")
    if not mol.GetNumConformers():
        raise ValueError("has no conformer, so no coordinates")
    if not mol.GetConformer().Is3D():
        raise ValueError("has the coordinates of a drawing (2-D) only")
    positions = np.asarray(mol.GetConformer().GetPositions(), np.float64)
    check_positions(positions)
    return positions


def _with_stereo(mol: Mol) -> Mol:
    """A copy with the stereo of its coordinates, where it has any."""
    from rdkit import Chem

    mol = Chem.Mol(mol)
    if 0 < mol.GetNumAtoms() <= MAX_ATOMS and mol.GetNumConformers() and mol.GetConformer().Is3D():
        with quiet():
            assign_stereo(mol)
    return mol


def _item(name: str, value: Any) -> str:
    """A data item of an SDF record."""
    if not name or not set(name).isdisjoint("<>\n\r"):
        raise ValueError(f"{name!r:.60} cannot name a property of an SDF")
    return f">  <{name}>\n{_plain(value)}\n\n"


def _plain(value: Any) -> str:
    """A value as text that no format mistakes for its own lines."""
    if isinstance(value, str):
        lines = value.splitlines()
        sound = all(line.strip() for line in lines) and not any(
            line.startswith(("$$$$", ">")) for line in lines
        )
        return value if sound else json.dumps(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float)) or value is None:
        return "" if value is None else str(value)
    return json.dumps(value, default=str)
