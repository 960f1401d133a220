"""Samples of a folder read back, so that a run can go on: the structures of its files, and how each was designed."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langevin.folders import FolderError, read_text
from langevin.modalities.base import Failure, Samples
from langevin.modalities.samples import Run, read_manifest

if TYPE_CHECKING:
    from langevin.modalities.protein.modality import ProteinModality

__all__ = ["reread"]

_DESIGNS = "designs.json"


def reread(modality: ProteinModality, folder: Path) -> Samples:
    """The samples of a saved folder, without their states; written again they give the same files.

    Raises:
        FolderError: no such folder, or its lists cannot be read or are not whole.
        ValueError: a structure that cannot be read.
        FileNotFoundError: a structure that is listed and is not there.
    """
    manifest = read_manifest(folder)
    try:
        told = (
            json.loads(read_text(folder, _DESIGNS, limit=256 << 20)) if _DESIGNS in _files(manifest) else []
        )
        if not isinstance(told, list):
            raise TypeError(f"{_DESIGNS} is no list")
        notes = {entry["name"]: entry for entry in told}
        run = Run(**{f.name: manifest[f.name] for f in fields(Run) if f.name in manifest})
        entries = [
            (entry["file"], int(entry["index"]), dict(entry["condition"])) for entry in manifest["samples"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FolderError(
            f"{folder} has lists that cannot be read ({type(error).__name__}: {error})"
        ) from None
    listed = [Path(name).stem for name, _, _ in entries if name is not None]
    missing = [name for name in listed if name not in notes] if _DESIGNS in _files(manifest) else []
    if missing:  # without its entry a design would lose what was kept of the input
        raise FolderError(f"{folder / _DESIGNS} has no entry for {missing[0]}, a sample of the folder")
    items: list[Any] = []
    for (name, _, _), entry in zip(entries, manifest["samples"], strict=True):
        if name is None:
            items.append(Failure(str(entry.get("failure", "unknown"))))
            continue
        item = modality.read(folder / name)
        note = notes.get(Path(name).stem, {})
        item.xtra["note"] = {key: value for key, value in note.items() if key not in ("name", "sequences")}
        items.append(item)
    _, indices, conditions = zip(*entries, strict=True) if entries else ((), (), ())
    return Samples(items, modality, run, conditions=conditions, indices=indices)


def _files(manifest: dict[str, Any]) -> list[str]:
    return list(manifest.get("files", ()))
