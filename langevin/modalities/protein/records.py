"""What a folder of sampled proteins holds beside a file for each: how each was designed, and all sequences.

designs.json       a list, one entry for each sample that is no failure: the name of its file, the mapping of its contig
                   under the keys of RFdiffusion's .trb files, seed and settings, and the sequence of each chain
sequences.fasta    the sequences; X where no type was drawn

"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from langevin.folders import write_atomic
from langevin.modalities.base import Failure, Samples
from langevin.modalities.protein.protein import of_structure

__all__ = ["files"]


def files(samples: Samples) -> Mapping[str, Callable[[Path], object]]:
    """Writers by name of the file; none where every sample is a failure."""
    if not len(samples.valid):
        return {}
    return {
        "designs.json": functools.partial(_write_designs, samples),
        "sequences.fasta": functools.partial(_write_sequences, samples),
    }


def _sound(samples: Samples) -> list[tuple[str, Any]]:
    """(file, structure) of what is no failure."""
    entries = samples.manifest()["samples"]
    return [
        (str(entry["file"]), item)
        for entry, item in zip(entries, samples, strict=True)
        if not isinstance(item, Failure)
    ]


def _write_designs(samples: Samples, path: Path) -> None:
    told = []
    for name, item in _sound(samples):
        protein = of_structure(item)
        sequences = {chain: protein[protein.chains == chain].sequence for chain in protein.chain_ids}
        note = {key: value for key, value in item.xtra.get("note", {}).items() if key != "read"}
        told.append({"name": Path(name).stem, **note, "sequences": sequences})
    write_atomic(path, json.dumps(told, indent=1) + "\n")


def _write_sequences(samples: Samples, path: Path) -> None:
    from langevin.modalities.protein.writing import write_fasta

    write_fasta({Path(name).stem: item for name, item in _sound(samples)}, path)
