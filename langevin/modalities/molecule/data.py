"""Molecules to train on: files that chemists have, or an archive of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langevin.core.errors import unknown
from langevin.core.progress import bar
from langevin.modalities.molecule.archives import read_archive
from langevin.modalities.molecule.atoms import Atoms, of_mol, to_mol
from langevin.modalities.molecule.descriptors import check, describe

__all__ = ["MoleculeDataset", "open_data"]


class MoleculeDataset:
    """Molecules in memory.

    Attributes:
        lengths: number of atoms of each, by which batches are made.
        conditions: names of the descriptors that go with each molecule.
        values: these, by name, one for each molecule.

    Args:
        molecules: at least one.
        licence, attribution: of the data, for cards.
        descriptors: names (:mod:`~langevin.modalities.molecule.descriptors`), computed here.

    Raises:
        ValueError: no molecules, an unknown descriptor, or a molecule that rdkit cannot sanitise.
    """

    def __init__(
        self,
        molecules: Sequence[Atoms],
        licence: str | None = None,
        attribution: str | None = None,
        descriptors: Sequence[str] = (),
    ) -> None:
        if not len(molecules):
            raise ValueError("there are no molecules in the data")
        self.molecules = list(molecules)
        self.lengths = [len(molecule) for molecule in self.molecules]
        self.licence, self.attribution = licence, attribution
        self.conditions = check(descriptors)
        self.values = _described(self.molecules, self.conditions)

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
        licence, attribution: of the data, for the card of a model.

    Raises:
        FileNotFoundError: no such file.
        ValueError: records that cannot be used, a split of a file that has none, or nothing left.
    """
    path = Path(path)
    if errors not in ("raise", "skip"):
        raise ValueError(unknown("value of errors", errors, ("raise", "skip")))
    if path.suffix == ".npz":
        archive = read_archive(path, split)
        molecules = [archive[i] if hydrogens else archive[i].heavy() for i in range(len(archive))]
        return MoleculeDataset(molecules, licence, attribution, descriptors)
    if split is not None:
        raise ValueError(f"{path} has no splits; they belong to .npz archives")
    return MoleculeDataset(_of_file(path, hydrogens, errors), licence, attribution, descriptors)


def _of_file(path: Path, hydrogens: bool, errors: str) -> list[Atoms]:
    """The usable records of a file."""
    import warnings

    from langevin.modalities.molecule.files import read_records

    records = read_records(path, hydrogens="add" if hydrogens else "remove")
    if records.failures:
        if errors == "raise":
            raise ValueError(f"{records.summary()}\nleave them out with errors='skip'")
        warnings.warn(records.summary(), stacklevel=3)
    return [of_mol(mol) for mol in records.molecules]


def _described(molecules: Sequence[Atoms], names: Sequence[str]) -> dict[str, list[Any]]:
    """Descriptors by name, one for each molecule."""
    values: dict[str, list[Any]] = {name: [] for name in names}
    if names:
        for atoms in bar(molecules, len(molecules), f"computing {', '.join(names)}", None):
            found = describe(to_mol(atoms), names, atoms.explicit)
            for name, column in values.items():
                column.append(found[name])
    return values
