"""The modality of proteins with side chains as the command line finds it, without importing what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langevin.modalities.base import Modality, Plugin
from langevin.modalities.protein.plugin import WRITTEN, ProteinSpec

__all__ = ["plugin"]


def _modality(settings: Mapping[str, Any] | None = None) -> Modality:
    from langevin.modalities.protein.sidechain_modality import make

    return make(settings or {})


def _open(path: Any, **options: Any) -> Any:
    from langevin.modalities.protein.data import open_data

    return open_data(path, **{"sidechains": True, **options})


def _defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    from langevin.modalities.protein.recipe import sidechain_defaults

    return sidechain_defaults(data, given)


plugin = Plugin(
    "protein-sidechains",
    "proteins with side chains, and side chains for backbones: PDB, mmCIF",
    _modality,
    _open,
    _defaults,
    ProteinSpec,
    written=WRITTEN,
    own=("sizes",),
)
