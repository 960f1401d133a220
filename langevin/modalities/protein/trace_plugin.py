"""The modality of CA traces as the command line finds it, without importing what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langevin.modalities.base import Modality, Plugin
from langevin.modalities.protein.plugin import WRITTEN, ProteinSpec

__all__ = ["plugin"]


def _modality(settings: Mapping[str, Any] | None = None) -> Modality:
    from langevin.modalities.protein.trace import make

    return make(settings or {})


def _open(path: Any, **options: Any) -> Any:
    from langevin.modalities.protein.data import open_data

    return open_data(path, **{"close": False, **options}, traces=True)


def _defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    from langevin.modalities.protein.recipe import trace_defaults

    return trace_defaults(data, given)


# files are known as whole proteins by their names, and evaluated as such
plugin = Plugin(
    "protein-trace",
    "CA traces of proteins: PDB, mmCIF",
    _modality,
    _open,
    _defaults,
    ProteinSpec,
    written=WRITTEN,
    own=("sizes",),
)
