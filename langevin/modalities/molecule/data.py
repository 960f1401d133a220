"""Molecules to train on: files that chemists have, or an archive of arrays; with descriptors and numbers of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langevin.core.errors import unknown
from langevin.core.progress import bar
from langevin.modalities.molecule.archives import read_archive
from langevin.modalities.molecule.atoms import Atoms, of_mol, to_mol
from langevin.modalities.molecule.descriptors import check, describe
from langevin.modalities.molecule.labels import (
    NAME,
    RECORD,
    Labels,
    listed,
    named,
    number,
    numbers,
    read_labels,
)

__all__ = ["MoleculeDataset", "open_data"]


class MoleculeDataset:
    """Molecules in memory.

    Attributes:
        lengths: number of atoms of each, by which batches are made.
        conditions: names of the descriptors and properties that go with each molecule.
        values: these, by name, one for each molecule; None where it has no such property.

    Args:
        molecules: at least one.
        licence, attribution: of the data, for cards.
        descriptors: names (:mod:`~langevin.modalities.molecule.descriptors`), computed here.
        properties: numbers by name, one for each molecule, or None.

    Raises:
        ValueError: no molecules, an unknown descriptor, a molecule that rdkit cannot sanitise, or a property that has
            another length, is no number, is None throughout, or has the name of a descriptor.
    """

    def __init__(
        self,
        molecules: Sequence[Atoms],
        licence: str | None = None,
        attribution: str | None = None,
        descriptors: Sequence[str] = (),
        properties: Mapping[str, Sequence[float | None]] | None = None,
    ) -> None:
        if not len(molecules):
            raise ValueError("there are no molecules in the data")
        self.molecules = list(molecules)
        self.lengths = [len(molecule) for molecule in self.molecules]
        self.licence, self.attribution = licence, attribution
        asked, held = check(descriptors), {k: _checked(v, k) for k, v in (properties or {}).items()}
        named([*held])
        for name, values in held.items():
            if len(values) != len(self.molecules):
                raise ValueError(
                    f"the property {name!r} has {len(values)} values for {len(self.molecules)} molecules"
                )
            if all(value is None for value in values):
                raise ValueError(f"no molecule has the property {name!r}")
        self.conditions = (*asked, *held)
        self.values = {**_described(self.molecules, asked), **held}

    def __len__(self) -> int:
        return len(self.molecules)

    def batch(self, indices: Sequence[int]) -> tuple[list[Atoms], Mapping[str, Any]]:
        """(molecules, conditions by name) of these indices."""
        return [self.molecules[i] for i in indices], {
            name: [column[i] for i in indices] for name, column in self.values.items()
        }


def open_data(
    path: str | Path,
    split: str | None = None,
    hydrogens: bool = True,
    errors: str = "raise",
    descriptors: Sequence[str] = (),
    properties: Sequence[str] | Mapping[str, str] | None = None,
    labels: str | Path | None = None,
    licence: str | None = None,
    attribution: str | None = None,
) -> MoleculeDataset:
    """Molecules to train on.

    Args:
        path: SDF (``.gz`` too), mol, XYZ, a list of SMILES (conformers by ETKDG and MMFF), or an archive
            (:mod:`~langevin.modalities.molecule.archives`).
        split: of an archive: "train", "validation", "test", or all when None.
        hydrogens: make all hydrogens atoms; else none are.
        errors: "raise" when a record cannot be used, with all of them named; "skip" leaves them out with a warning.
        descriptors: what to condition on, as ("formula", "logp"); see
            :mod:`~langevin.modalities.molecule.descriptors`.
        properties: numbers to condition on: data items of an SDF, or columns of ``labels``; a mapping gives them other
            names. See :mod:`~langevin.modalities.molecule.labels`.
        labels: a csv file, or its name beside ``path``, whose first column says which molecule a line is about.
        licence, attribution: of the data, for the card of a model.

    Raises:
        FileNotFoundError: no such file.
        ValueError: records or labels that cannot be used, a split of a file that has none, or nothing left.
    """
    path, columns = Path(path), named(properties)
    if errors not in ("raise", "skip"):
        raise ValueError(unknown("value of errors", errors, ("raise", "skip")))
    if labels is not None and not columns:
        raise ValueError(
            f"labels={str(labels)!r} without properties: say which of its columns to condition on"
        )
    table = None if labels is None else read_labels(_beside(labels, path), columns)
    if path.suffix == ".npz":
        if columns and table is None:
            raise ValueError(f"{path} is an archive, whose properties stand in a csv file: give labels=")
        own = () if table is None or table.key == RECORD else (table.key,)
        archive = read_archive(path, split, own)
        molecules = [archive[i] if hydrogens else archive[i].heavy() for i in range(len(archive))]
        keys = archive.arrays[own[0]][archive.chosen] if own else archive.chosen + 1
        values = table.of(keys.tolist()) if table else {}
        return MoleculeDataset(molecules, licence, attribution, descriptors, values)
    if split is not None:
        raise ValueError(f"{path} has no splits; they belong to .npz archives")
    molecules, values = _of_file(path, hydrogens, errors, columns, table)
    return MoleculeDataset(molecules, licence, attribution, descriptors, values)


def _checked(values: Sequence[Any], name: str) -> list[float | None]:
    """Numbers, or None; ValueError with the place of what is neither."""
    found: list[float | None] = []
    for k, value in enumerate(values):
        try:
            found.append(None if value is None else number(value, name))
        except ValueError as error:
            raise ValueError(f"molecule {k}: {error}") from None
    return found


def _beside(labels: str | Path, path: Path) -> Path:
    """The file as it is, or beside the molecules."""
    there = path.parent / labels
    return there if not Path(labels).exists() and there.exists() else Path(labels)


def _of_file(
    path: Path, hydrogens: bool, errors: str, columns: Mapping[str, str], table: Labels | None
) -> tuple[list[Atoms], dict[str, list[float | None]]]:
    """The usable records of a file, and their properties."""
    import warnings

    from langevin.modalities.molecule.files import read_records
    from langevin.modalities.samples import Failure

    records = read_records(path, hydrogens="add" if hydrogens else "remove")
    there = [(i, r) for i, r in enumerate(records.records, 1) if not isinstance(r.item, Failure)]
    values: dict[str, list[float | None]] = {name: [] for name in columns}
    kept: list[Any] = [record.item for _, record in there]
    wrong: list[str] = []
    if table is not None:
        values = table.of([_key(record.item, i, table) for i, record in there])
    elif columns:
        items = {name for mol in kept for name in mol.GetPropNames()}
        for column in columns.values():
            if column not in items:
                raise ValueError(
                    f"{path}: {unknown('data item', column, items)}; or give labels=, a csv file"
                )
        kept = []
        for _, record in there:
            mol: Any = record.item
            said: list[str] = []
            row = numbers({name: _item(mol, column) for name, column in columns.items()}, record.place, said)
            wrong += said
            if not said:
                kept.append(mol)
                for name, value in row.items():
                    values[name].append(value)
    if records.failures or wrong:
        text = "\n".join(
            [*([records.summary()] if records.failures else []), *([listed(wrong)] if wrong else [])]
        )
        if errors == "raise":
            raise ValueError(f"{path}: {text}\nleave them out with errors='skip'")
        warnings.warn(text, stacklevel=3)
    return [of_mol(mol) for mol in kept], values


def _key(mol: Any, number: int, table: Labels) -> str:
    """What the first column of a csv file says of this record.

    Raises:
        ValueError: the record has no such item.
    """
    if table.key == RECORD:
        return str(number)
    item = "_Name" if table.key == NAME else table.key
    if not mol.HasProp(item):
        items = {*mol.GetPropNames(), NAME, RECORD}
        raise ValueError(
            f"{table.path} tells molecules apart by its first column {table.key!r}, which record {number} lacks: "
            f"{unknown('data item', table.key, items)}"
        )
    return str(mol.GetProp(item))


def _item(mol: Any, name: str) -> str:
    """A data item as text; empty where the record has none."""
    return str(mol.GetProp(name)) if mol.HasProp(name) else ""


def _described(molecules: Sequence[Atoms], names: Sequence[str]) -> dict[str, list[Any]]:
    """Descriptors by name, one for each molecule."""
    values: dict[str, list[Any]] = {name: [] for name in names}
    if names:
        for atoms in bar(molecules, len(molecules), f"computing {', '.join(names)}", None):
            found = describe(to_mol(atoms), names, atoms.explicit)
            for name, column in values.items():
                column.append(found[name])
    return values
