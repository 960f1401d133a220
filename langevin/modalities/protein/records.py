"""What a folder of sampled proteins holds beside a file for each: how each was designed, its sequence and its scores.

designs.json           a list, one entry for each sample that is no failure: the name of its file, the mapping of its contig
                       under the keys of RFdiffusion's .trb files, seed and settings, and the sequence of each chain
sequences.fasta        the sequences; X where no type was drawn
scores.csv             a line for each of them, of the columns of :data:`SCORES`
fixed_positions.jsonl  where designs come from a contig or have types that were kept: what ProteinMPNN has to be told
assigned_chains.jsonl  (:mod:`~langevin.modalities.protein.mpnn`)

In the structures the B-factor of a residue is 1.00 where its type is the user's, and 0.00 where it is designed, as
in RFdiffusion's.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from langevin.folders import write_atomic
from langevin.modalities.base import Failure, Samples
from langevin.modalities.protein.protein import Protein, of_structure

__all__ = ["NAMES", "SCORES", "files", "scored"]

NAMES = (
    "designs.json",
    "sequences.fasta",
    "scores.csv",
    "fixed_positions.jsonl",
    "assigned_chains.jsonl",
)

# what scores.csv holds, with its digits; None for what is no number
SCORES: Mapping[str, int | None] = {
    "length": 0,  # residues of all chains
    "chains": 0,
    "helix": 3,  # shares of residues
    "strand": 3,
    "radius": 2,  # of gyration, Å, of the chain where it differs most from real ones
    "clashes": 2,  # pairs of residues per 100 residues
    "breaks": 0,  # bonds
    "outside": 3,  # share of residues outside the Ramachandran region of 99 % of real ones; None of traces, as phi
    "phi_positive": 3,  # share of residues with phi > 0
    "contacts": 3,  # CA nearer than 8 Å and more than 12 residues apart, per residue
    "contact_order": 3,
    "plausible": None,  # a rule of thumb (:mod:`~langevin.modalities.protein.metrics.plausible`), not designability
    "reasons": None,  # why it is not
    "motif_rmsd": 3,  # Å, N, CA and C of residues whose place is kept or asked for from those of the input
}

_Proteins = Mapping[str, Protein]


def files(samples: Samples) -> Mapping[str, Callable[[Path], object]]:
    """Writers by name of the file; none where every sample is a failure."""
    held_by = [item.xtra for item in samples if not isinstance(item, Failure)]
    notes = [xtra.get("note", {}) for xtra in held_by]
    if not notes:
        return {}
    held = functools.cache(functools.partial(_sound, samples))  # read once, when the first of them is written
    writers: dict[str, Callable[[_Proteins, Path], object]] = {
        "designs.json": _write_designs,
        "sequences.fasta": _write_sequences,
        "scores.csv": functools.partial(_write_scores, held_by),
    }
    if any("contig" in note or "kept_types" in note for note in notes):
        writers |= {"fixed_positions.jsonl": _write_fixed, "assigned_chains.jsonl": _write_assigned}
    return {name: functools.partial(_write, held, write) for name, write in writers.items()}


def scored(protein: Protein) -> dict[str, Any]:
    """The row of a design in ``scores.csv``, without its name; None for what it does not have.

    Measured of coordinates as files have them, to 0.001 Å.
    """
    from langevin.modalities.protein.metrics.evaluate import scores

    bare = replace(protein, backbone=np.round(protein.backbone, 3), note={})  # not what the plan asked for
    (row,) = scores([bare])
    row |= {
        "length": row["residues"],
        "clashes": 100 * row["clashes"] / row["residues"],
        "contacts": row["long_range"],
        "motif_rmsd": protein.note.get("motif_rmsd"),
    }
    return {
        name: row[name] if digits is None or row[name] is None else round(row[name], digits or None)
        for name, digits in SCORES.items()
    }


def _sound(samples: Samples) -> dict[str, Protein]:
    """What is no failure, by the name of its file."""
    entries = samples.manifest()["samples"]
    return {
        Path(entry["file"]).stem: of_structure(item)
        for entry, item in zip(entries, samples, strict=True)
        if not isinstance(item, Failure)
    }


def _write(held: Callable[[], _Proteins], write: Callable[[_Proteins, Path], object], path: Path) -> None:
    write(held(), path)


def _write_designs(proteins: _Proteins, path: Path) -> None:
    told = []
    for name, protein in proteins.items():
        sequences = {chain: protein[protein.chains == chain].sequence for chain in protein.chain_ids}
        note = {key: value for key, value in protein.note.items() if key not in ("read", "source")}
        told.append({"name": name, **note, "sequences": sequences})
    write_atomic(path, json.dumps(told, indent=1) + "\n")


def _write_sequences(proteins: _Proteins, path: Path) -> None:
    from langevin.modalities.protein.writing import write_fasta

    write_fasta(proteins, path)


def _write_scores(held_by: Sequence[dict[str, Any]], proteins: _Proteins, path: Path) -> None:
    from langevin.modalities.statistics import Table

    rows = [
        {"name": name, **_scored_once(one, xtra)}
        for (name, one), xtra in zip(proteins.items(), held_by, strict=True)
    ]
    write_atomic(path, Table(rows).csv())


def _scored_once(protein: Protein, xtra: dict[str, Any]) -> dict[str, Any]:
    """The row of a design, left with its structure: a folder that grows is written again with every batch."""
    of = (protein.backbone, protein.types, protein.chains, protein.numbers, protein.insertions)
    content = hashlib.sha256(b"".join(column.tobytes() for column in of))
    content.update(repr(protein.note.get("motif_rmsd")).encode())
    if protein.side is not None:
        content.update(protein.side.xyz.tobytes())
    told = content.digest()  # a structure may have been changed since
    if "scored" not in xtra or xtra["scored"][0] != told:
        xtra["scored"] = told, scored(protein)
    return xtra["scored"][1]  # type: ignore[no-any-return]


def _write_fixed(proteins: _Proteins, path: Path) -> None:
    from langevin.modalities.protein.mpnn import fixed_positions

    write_atomic(path, json.dumps(fixed_positions(proteins)) + "\n")


def _write_assigned(proteins: _Proteins, path: Path) -> None:
    from langevin.modalities.protein.mpnn import assigned_chains

    write_atomic(path, json.dumps(assigned_chains(proteins)) + "\n")
