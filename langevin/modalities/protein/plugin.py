"""The protein modality as the command line finds it, without importing what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langevin.modalities.base import Modality, Plugin
from langevin.modalities.protein import designing, planning

__all__ = ["SUFFIXES", "WRITTEN", "ProteinSpec", "plugin"]

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".ent.gz", ".cif.gz", ".mmcif.gz")
WRITTEN = (".pdb", ".cif")


@dataclass(frozen=True)
class ProteinSpec:
    """What may be said about new proteins.

    Args:
        length: number of residues; drawn from the lengths of the training data by default.
        repulsion: force by which residues that overlap are moved apart; the model's own by default.
    """

    length: int | None = field(
        default=None, metadata={"help": "number of residues (default: drawn from the lengths trained on)"}
    )
    repulsion: float | None = field(
        default=None,
        metadata={
            "help": "force that moves overlapping residues apart, 0 for none (default: the model's own)",
            "shape": False,
        },
    )


def _modality(settings: Mapping[str, Any] | None = None) -> Modality:
    from langevin.modalities.protein.modality import make

    return make(settings or {})


def _open(path: Any, **options: Any) -> Any:
    from langevin.modalities.protein.data import open_data

    return open_data(path, **options)


def _defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    from langevin.modalities.protein.recipe import defaults

    return defaults(data, given)


plugin = Plugin(
    "protein",
    "protein backbones: PDB, mmCIF",
    _modality,
    _open,
    _defaults,
    ProteinSpec,
    suffixes=SUFFIXES,
    written=WRITTEN,
    own=("sizes",),
    commands=(planning.command, designing.command),
)
