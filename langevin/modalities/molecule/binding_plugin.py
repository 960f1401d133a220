"""The pocket modality as the command line finds it, without importing what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langevin.modalities.base import Modality, Plugin
from langevin.modalities.molecule.filters import MoleculeFilter
from langevin.modalities.molecule.plugin import MoleculeEvaluation

__all__ = ["RADIUS", "PocketSpec", "plugin"]

RADIUS = 8.0  # Å


@dataclass(frozen=True)
class PocketSpec:
    """Which pocket new ligands are drawn for.

    Args:
        pocket: PDB or mmCIF file.
        ligand: what lies in the pocket: a residue of the file, ``A:LIG:401``, or a file of a molecule in its frame.
        centre: (x, y, z) in Å, in place of a ligand.
        radius: Å around the ligand or the centre; 8 by default.
        atoms: heavy atoms of the new ligands; drawn from the sizes of the training data by default.
    """

    pocket: str | None = field(default=None, metadata={"help": "PDB or mmCIF file of the protein"})
    ligand: str | None = field(
        default=None,
        metadata={
            "help": "what lies in the pocket: a residue of the file, A:LIG:401, or a file in its frame"
        },
    )
    centre: tuple[float, float, float] | None = field(
        default=None, metadata={"help": "or: a point in the pocket, three numbers in Å"}
    )
    radius: float | None = field(
        default=None, metadata={"help": f"Å around the ligand or the centre ({RADIUS:g})"}
    )
    atoms: int | None = field(
        default=None, metadata={"help": "heavy atoms (default: drawn from the sizes trained on)"}
    )


def _modality(settings: Mapping[str, Any] | None = None) -> Modality:
    from langevin.modalities.molecule.binding import make

    return make(settings or {})


def _open(path: Any, **options: Any) -> Any:
    from langevin.modalities.molecule.binding_data import open_pockets

    return open_pockets(path, **options)


def _defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    from langevin.modalities.molecule.binding_data import defaults

    return defaults(data, given)


plugin = Plugin(
    "pocket",
    "ligands in protein pockets: PDB or mmCIF in, SDF out",
    _modality,
    _open,
    _defaults,
    PocketSpec,
    filter=MoleculeFilter,
    evaluation=MoleculeEvaluation,
    own=("sizes",),
)
