"""The molecule modality as the command line finds it, without importing what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langevin.modalities.base import Modality, Plugin
from langevin.modalities.molecule.filters import MoleculeFilter

__all__ = ["SUFFIXES", "MoleculeEvaluation", "MoleculeSpec", "plugin"]

SUFFIXES = (".sdf", ".sdf.gz", ".mol", ".mol.gz", ".xyz", ".xyz.gz", ".smi")


@dataclass(frozen=True)
class MoleculeSpec:
    """What may be said about new molecules.

    Args:
        atoms: number of atoms; drawn from the sizes of the training data by default.
    """

    atoms: int | None = field(
        default=None, metadata={"help": "number of atoms (default: drawn from the sizes trained on)"}
    )


@dataclass(frozen=True)
class MoleculeEvaluation:
    """What may be said about measuring molecules.

    Args:
        full: PoseBusters' energy ratio too, and every molecule unless ``subsample`` says how many.
        subsample: of how many molecules, taken at random, PoseBusters and strain are computed; 300 by default.
        hydrogens: whether hydrogens are meant to be atoms; found out from the molecules by default.
    """

    full: bool | None = field(
        default=None,
        metadata={"help": "PoseBusters' energy ratio too, and every molecule (a second each or more)"},
    )
    subsample: int | None = field(
        default=None,
        metadata={"help": "of how many, taken at random, PoseBusters and strain are computed (300)"},
    )
    hydrogens: bool | None = field(
        default=None,
        metadata={"help": "whether hydrogens are meant to be atoms (default: what most molecules have)"},
    )


def _modality(settings: Mapping[str, Any] | None = None) -> Modality:
    from langevin.modalities.molecule.modality import make

    return make(settings or {})


def _open(path: Any, **options: Any) -> Any:
    from langevin.modalities.molecule.data import open_data

    return open_data(path, **options)


def _defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    from langevin.modalities.molecule.recipe import defaults

    return defaults(data, given)


plugin = Plugin(
    "molecule",
    "molecules in 3-D: SDF, XYZ, SMILES",
    _modality,
    _open,
    _defaults,
    MoleculeSpec,
    filter=MoleculeFilter,
    evaluation=MoleculeEvaluation,
    suffixes=(*SUFFIXES, ".smi.gz", ".smiles", ".sd"),
    own=("sizes", "sizes_by"),
)
