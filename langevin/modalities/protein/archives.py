"""Many protein chains in one ``.npz`` archive of concatenated arrays, for training.

Chain k owns residues ``offsets[k]:offsets[k + 1]`` of R in all:

    backbone       (R, 4, 3) integer, times ``scale`` (Å); or float, Å: N CA C O
    offsets        (K + 1,) integer
    sequence       one text of R letters; a letter that is none of the twenty is UNKNOWN
    secondary      optional: one text of R letters
    name, chain, source, first_residue    (K,) texts, optional; residues are numbered on from ``first_residue``
    cluster        (K,) integer, optional: chains of one cluster are alike
    split          (K,) integer, optional: 0 train, 1 validation, 2 test

A second archive holds the heavy side-chain atoms of the same residues in the same frame: residue r owns atoms
``residue_offsets[r]:residue_offsets[r + 1]``, which have a position ``xyz`` (times ``scale``) and the name
``atom_names[atom]``. Other arrays are left alone, and nothing that would have to be unpickled is read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.modalities.protein.protein import ATOMS, Protein, SideChains, types_of

__all__ = ["SIDECHAINS", "SPLITS", "Archive", "read_archive"]

SPLITS = {"train": 0, "validation": 1, "test": 2}
SIDECHAINS = "sidechains.npz"  # the name that is looked for beside an archive
BYTES = 8 << 30  # of the arrays
LONGEST = 100_000  # residues of one chain
REACH = 1e5  # Å
_NEEDED = ("backbone", "offsets", "sequence")
_TEXTS = ("name", "chain", "source", "first_residue")


@dataclass(frozen=True, eq=False)
class Archive(Sequence[Protein]):
    """A sequence of :class:`Protein`, cut from the arrays when asked for.

    Attributes:
        chosen: (K,) places in the arrays of the chains of this split.
        backbone, offsets, types: of all chains.
        secondary: one letter for each residue of all chains; empty where the archive has none.
        columns: by name, one value for each chain of all: name, chain, source, first_residue, cluster, split.
        side: of all chains, where it was asked for.
    """

    chosen: NDArray[np.int64]
    backbone: NDArray[np.float32]
    offsets: NDArray[np.int64]
    types: NDArray[np.int8]
    secondary: str
    columns: dict[str, NDArray[Any]]
    side: tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[Protein]:
        return (self._cut(k) for k in self.chosen.tolist())

    @overload
    def __getitem__(self, index: int) -> Protein: ...
    @overload
    def __getitem__(self, index: slice) -> list[Protein]: ...
    def __getitem__(self, index: int | slice) -> Protein | list[Protein]:
        if isinstance(index, slice):
            return [self._cut(k) for k in self.chosen[index].tolist()]
        return self._cut(int(self.chosen[index]))

    @property
    def lengths(self) -> list[int]:
        """Residues of each chain."""
        return np.diff(self.offsets)[self.chosen].tolist()

    @property
    def names(self) -> list[str]:
        """The name of each chain; its number in the arrays where the archive has none."""
        return self._column("name") or [str(k) for k in self.chosen.tolist()]

    @property
    def clusters(self) -> list[int]:
        """The cluster of each chain; one of its own where the archive has none."""
        return self._column("cluster") or self.chosen.tolist()

    @property
    def splits(self) -> list[str]:
        """The split of each chain; "train" where the archive has none."""
        return [[*SPLITS][k] for k in self._column("split") or [0] * len(self)]

    def secondary_of(self, index: int) -> str:
        """One letter for each residue of a chain; empty where the archive has none."""
        k = int(self.chosen[index])
        return self.secondary[self.offsets[k] : self.offsets[k + 1]]

    def _column(self, name: str) -> list[Any]:
        return self.columns[name][self.chosen].tolist() if name in self.columns else []

    def _cut(self, k: int) -> Protein:
        a, b = self.offsets[k : k + 2].tolist()
        first = int(self.columns["first_residue"][k]) if "first_residue" in self.columns else 1
        side = None
        if self.side is not None:
            offsets, names, xyz = self.side
            atoms = slice(*offsets[[a, b]].tolist())
            owner = np.repeat(np.arange(b - a, dtype=np.int32), np.diff(offsets[a : b + 1]))
            side = SideChains(owner, names[atoms], xyz[atoms])
        return Protein(
            self.backbone[a:b],
            self.types[a:b],
            np.full(b - a, self.columns["chain"][k] if "chain" in self.columns else "A"),
            np.arange(first, first + b - a, dtype=np.int32),
            np.full(b - a, ""),
            side,
            {name: self.columns[name][k].item() for name in ("name", "source") if name in self.columns},
        )


def read_archive(
    path: str | Path, split: str | None = None, sidechains: bool | str | Path = False
) -> Archive:
    """The chains of an archive.

    Args:
        path: the file.
        split: "train", "validation" or "test"; None is all.
        sidechains: the archive of the side chains; True is SIDECHAINS beside `path`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an archive of chains; the message names the file, the array and the reason.
    """
    path = Path(path)
    if split is not None and split not in SPLITS:
        raise ValueError(unknown("split", split, SPLITS))
    held = _arrays(path, _NEEDED, ("scale", "secondary", "cluster", "split", *_TEXTS))
    try:
        archive = _checked(held, split)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if sidechains is False:
        return archive
    beside = path.with_name(SIDECHAINS) if sidechains is True else Path(sidechains)
    held = _arrays(beside, ("xyz", "atom", "atom_names", "residue_offsets"), ("scale",))
    try:
        side = _checked_sides(held, len(archive.types))
    except ValueError as error:
        raise ValueError(f"{beside}: {error}") from None
    return Archive(
        archive.chosen,
        archive.backbone,
        archive.offsets,
        archive.types,
        archive.secondary,
        archive.columns,
        side,
    )


def _arrays(path: Path, needed: Sequence[str], optional: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of these names; ValueError for what is no archive of them."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > BYTES:
            raise ValueError(f"its arrays take {size} bytes; at most {BYTES} are read")
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in needed if name not in archive.files]
            if missing:
                raise ValueError(f"lacks the arrays {', '.join(missing)}; it has {', '.join(archive.files)}")
            return {name: archive[name] for name in (*needed, *optional) if name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, MemoryError) as error:
        raise ValueError(f"{path}: {error}") from None


def _checked(held: dict[str, NDArray[Any]], split: str | None) -> Archive:
    """The arrays in their types; ValueError where they do not fit together."""
    residues = len(held["backbone"]) if held["backbone"].ndim else 0
    backbone = _positions(held, "backbone", (residues, len(ATOMS), 3))
    if not np.isfinite(backbone[:, 1]).all():
        raise ValueError(
            f"residue {int(np.isfinite(backbone[:, 1]).all(1).argmin())} has no position of its CA"
        )
    offsets = _bounds(held["offsets"], "offsets", residues)
    sizes, count = np.diff(offsets), len(offsets) - 1
    if sizes.min() < 1 or sizes.max() > LONGEST:
        worst = int(sizes.argmin() if sizes.min() < 1 else sizes.argmax())
        raise ValueError(f"chain {worst} has {sizes[worst]} residues; 1 to {LONGEST} are taken")
    sequence = _letters(held["sequence"], "sequence", residues)
    secondary = _letters(held["secondary"], "secondary", residues) if "secondary" in held else ""
    columns = {}
    for name in (*_TEXTS, "cluster", "split"):
        if name not in held:
            continue
        column, kind = held[name], "U" if name in _TEXTS else "iu"
        if column.shape != (count,) or column.dtype.kind not in kind:
            raise ValueError(
                f"{name} is {column.dtype} of the shape {column.shape}; "
                f"{'texts' if kind == 'U' else 'integers'} of the shape {(count,)} were expected"
            )
        columns[name] = column
    if "first_residue" in columns:
        columns["first_residue"] = _numbers(columns["first_residue"])
    if "split" in columns and not np.isin(columns["split"], [*SPLITS.values()]).all():
        raise ValueError(f"split holds {columns['split'].max()}; 0 to 2 are taken ({', '.join(SPLITS)})")
    chosen = np.arange(count)
    if split is not None:
        if "split" not in columns:
            raise ValueError(f"has no array split, so no {split} chains")
        chosen = np.flatnonzero(columns["split"] == SPLITS[split])
    return Archive(chosen, backbone, offsets, types_of(sequence), secondary, columns)


def _checked_sides(
    held: dict[str, NDArray[Any]], residues: int
) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.float32]]:
    atoms = len(held["xyz"]) if held["xyz"].ndim else 0
    xyz = _positions(held, "xyz", (atoms, 3))
    if not np.isfinite(xyz).all():
        raise ValueError(f"the position of atom {int(np.isfinite(xyz).all(1).argmin())} is not a number")
    offsets = _bounds(held["residue_offsets"], "residue_offsets", atoms)
    if len(offsets) != residues + 1:
        raise ValueError(f"tells of {len(offsets) - 1} residues; the backbones have {residues}")
    atom, names = held["atom"], held["atom_names"]
    if atom.shape != (atoms,) or atom.dtype.kind not in "iu" or names.ndim != 1 or names.dtype.kind != "U":
        raise ValueError(f"atom must be {atoms} integers and atom_names texts")
    if atoms and not 0 <= int(atom.min()) <= int(atom.max()) < len(names):
        raise ValueError(f"atom reaches {int(atom.max())}; atom_names has {len(names)} names")
    return offsets, names[atom], xyz


def _positions(held: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Float32 Å; NaN is let through."""
    value = held[name]
    if value.shape != shape or value.dtype.kind not in "iuf":
        raise ValueError(f"{name} is {value.dtype} of the shape {value.shape}; numbers {shape} were expected")
    positions = value.astype(np.float32)
    if value.dtype.kind != "f":
        scale = held.get("scale", np.float32(1))
        if scale.shape != () or scale.dtype.kind != "f" or not 0 < float(scale) < np.inf:
            raise ValueError(f"scale must be one positive number of Å; got {scale!r:.60}")
        positions *= np.float32(scale)
    if np.nanmax(np.abs(positions), initial=0) > REACH:
        raise ValueError(f"{name} reaches further than {REACH:g} Å")
    return positions


def _bounds(value: NDArray[Any], name: str, total: int) -> NDArray[np.int64]:
    if (
        value.ndim != 1
        or value.dtype.kind not in "iu"
        or len(value) < 2
        or int(value[0]) != 0
        or int(value[-1]) != total
        or (np.diff(value.astype(np.int64)) < 0).any()
    ):
        raise ValueError(f"{name} must be integers that rise from 0 to {total}")
    return value.astype(np.int64)


def _letters(value: NDArray[Any], name: str, residues: int) -> str:
    text = value.item() if value.shape == () and value.dtype.kind == "U" else None
    if text is None or len(text) != residues:
        what = f"{value.dtype} of the shape {value.shape}" if text is None else f"{len(text)} letters"
        raise ValueError(f"{name} is {what}; one text of {residues} letters was expected")
    return str(text)


def _numbers(texts: NDArray[Any]) -> NDArray[np.int32]:
    """Residue numbers; an insertion code behind one is left off, as the residues that follow have none."""
    try:
        return np.array([int(text.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) for text in texts.tolist()], np.int32)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"first_residue must be residue numbers ({error})") from None
