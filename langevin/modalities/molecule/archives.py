"""Many molecules in one ``.npz`` archive of concatenated arrays, for training.

Molecule k owns atoms ``offsets[k]:offsets[k + 1]`` and bonds ``bond_offsets[k]:bond_offsets[k + 1]``:

    numbers       (A,) uint8, atomic numbers
    positions     (A, 3) integer, times ``scale`` (Å); or float, Å
    charges       (A,) int8, formal charges
    bonds         (M, 3) unsigned, rows (i, j, order), i < j local to the molecule, order 1, 2 or 3 (Kekulé)
    offsets, bond_offsets    (K + 1,) integer
    smiles        uint8, optional: UTF-8, one canonical SMILES a line
    split         (K,) uint8, optional: 0 train, 1 validation, 2 test

Other arrays are left alone.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.folders import write_atomic
from langevin.modalities.molecule.atoms import MAX_ATOMS, Atoms, check_positions

__all__ = ["SPLITS", "Archive", "read_archive", "write_archive"]

SPLITS = {"train": 0, "validation": 1, "test": 2}
SCALE = 0.0005  # Å: a coordinate moves by 0.00025 at most
BYTES = 8 << 30  # of the arrays
NEEDED = ("numbers", "positions", "charges", "bonds", "offsets", "bond_offsets")


@dataclass(frozen=True, eq=False)
class Archive:
    """A sequence of :class:`Atoms`, cut from the arrays when asked for.

    Attributes:
        arrays: as in the module's docstring; positions in float32 Å; those of ``own`` as they are.
        chosen: (K,) places in the arrays of the molecules of this split.
        smiles: one for each molecule; empty where the archive has none.
    """

    arrays: dict[str, NDArray[Any]]
    chosen: NDArray[np.int64]
    smiles: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Atoms:
        k = int(self.chosen[index])
        a, held = slice(*self.arrays["offsets"][k : k + 2]), self.arrays
        b = slice(*held["bond_offsets"][k : k + 2])
        return Atoms(held["numbers"][a], held["positions"][a], held["charges"][a], held["bonds"][b])


def read_archive(path: str | Path, split: str | None = None, own: Sequence[str] = ()) -> Archive:
    """The molecules of an archive.

    Args:
        path: the file.
        split: "train", "validation" or "test"; None is all.
        own: names of other arrays (K,) to be read too, one entry for each molecule of the archive, whatever the split.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an archive of molecules; the message names the array and the reason.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    if split is not None and split not in SPLITS:
        raise ValueError(unknown("split", split, SPLITS))
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > BYTES:
            raise ValueError(f"its arrays take {size} bytes; at most {BYTES} are read")
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in (*NEEDED, *own) if name not in archive.files]
            if missing:
                raise ValueError(f"lacks the arrays {', '.join(missing)}; it has {', '.join(archive.files)}")
            wanted = {*NEEDED, *own, "scale", "smiles", "split"}
            held = {name: archive[name] for name in wanted & {*archive.files}}
        return _checked(held, split, own)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: {error}") from None


def write_archive(molecules: Sequence[Atoms], path: str | Path, split: Sequence[int] | None = None) -> Path:
    """Writes an archive whole or not at all; positions are centred and rounded to SCALE.

    Args:
        molecules: at least one.
        path: ends in ``.npz``.
        split: 0, 1 or 2 for each molecule.

    Raises:
        ValueError: nothing to write, a molecule wider than the integers reach (±16 Å), or a split of another length.
    """
    if not len(molecules):
        raise ValueError("there are no molecules to write")
    if split is not None and len(split) != len(molecules):
        raise ValueError(f"split has {len(split)} entries for {len(molecules)} molecules")
    rounded = []
    for k, atoms in enumerate(molecules):
        grid = np.rint((atoms.positions - atoms.positions.mean(0)) / SCALE)
        if not (np.abs(grid) < 2**15).all():
            raise ValueError(f"molecule {k} reaches further than {SCALE * 2**15:.1f} Å from its centre")
        rounded.append(grid.astype(np.int16))
    arrays: dict[str, Any] = {
        "numbers": np.concatenate([atoms.numbers for atoms in molecules]),
        "positions": np.concatenate(rounded),
        "scale": np.float32(SCALE),
        "charges": np.concatenate([atoms.charges for atoms in molecules]),
        "bonds": np.concatenate([atoms.bonds for atoms in molecules]).astype(np.uint16),
        "offsets": np.cumsum([0, *map(len, molecules)], dtype=np.int64),
        "bond_offsets": np.cumsum([0, *(len(atoms.bonds) for atoms in molecules)], dtype=np.int64),
    }
    if split is not None:
        arrays["split"] = np.asarray(split, np.uint8)
    return write_atomic(path, lambda to: np.savez_compressed(to, **arrays))


def _checked(held: dict[str, NDArray[Any]], split: str | None, own: Sequence[str] = ()) -> Archive:
    """The arrays in the types of :class:`Atoms`; ValueError where they do not fit together."""
    atoms, bonds = len(held["numbers"]), len(held["bonds"])
    shapes = {"numbers": (atoms,), "positions": (atoms, 3), "charges": (atoms,), "bonds": (bonds, 3)}
    for name, shape in shapes.items():
        if held[name].shape != shape:
            raise ValueError(f"{name} has the shape {held[name].shape}; {shape} was expected")
    for name, total in (("offsets", atoms), ("bond_offsets", bonds)):
        bounds = held[name].astype(np.int64)
        if (
            bounds.ndim != 1
            or len(bounds) < 2
            or bounds[0] != 0
            or bounds[-1] != total
            or (np.diff(bounds) < 0).any()
        ):
            raise ValueError(f"{name} must rise from 0 to {total}")
        held[name] = bounds
    if len(held["offsets"]) != len(held["bond_offsets"]):
        raise ValueError("offsets and bond_offsets tell of different numbers of molecules")
    count = len(held["offsets"]) - 1
    sizes = np.diff(held["offsets"])
    if sizes.min() < 1 or sizes.max() > MAX_ATOMS:
        worst = int(sizes.argmin() if sizes.min() < 1 else sizes.argmax())
        raise ValueError(f"molecule {worst} has {sizes[worst]} atoms; 1 to {MAX_ATOMS} are taken")
    if bonds:
        ends, owner = held["bonds"].astype(np.int64), np.repeat(sizes, np.diff(held["bond_offsets"]))
        wrong = (ends[:, 0] < 0) | (ends[:, 0] >= ends[:, 1]) | (ends[:, 1] >= owner)
        wrong |= (ends[:, 2] < 1) | (ends[:, 2] > 3)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"bond {row} is {ends[row].tolist()}; i < j within its molecule and order 1–3 are taken"
            )
    positions = held["positions"].astype(np.float32)
    if np.issubdtype(held["positions"].dtype, np.integer):
        positions *= np.float32(held.get("scale", 1.0))
    check_positions(positions)
    chosen = np.arange(count)
    if split is not None:
        if "split" not in held:
            raise ValueError(f"has no array split, so no {split} molecules")
        if held["split"].shape != (count,):
            raise ValueError(f"split has the shape {held['split'].shape}; {(count,)} was expected")
        chosen = np.flatnonzero(held["split"] == SPLITS[split])
    for name in own:
        if held[name].shape != (count,):
            raise ValueError(f"{name} has the shape {held[name].shape}; {(count,)} was expected")
    lines = held["smiles"].tobytes().decode("utf-8").split("\n") if "smiles" in held else []
    if lines and len(lines) != count:
        raise ValueError(f"smiles has {len(lines)} lines for {count} molecules")
    arrays: dict[str, NDArray[Any]] = {
        "numbers": held["numbers"].astype(np.uint8),
        "positions": positions,
        "charges": held["charges"].astype(np.int8),
        "bonds": held["bonds"].astype(np.int16),
        "offsets": held["offsets"],
        "bond_offsets": held["bond_offsets"],
        **{name: held[name] for name in own},
    }
    return Archive(arrays, chosen, tuple(lines[k] for k in chosen.tolist()) if lines else ())
