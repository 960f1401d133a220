"""ProteinMPNN's files: what it has to be told of designs, and the sequences that it made for them.

ProteinMPNN (Dauparas et al. 2022, Science 378, 49; github.com/dauparas/ProteinMPNN) reads PDB files with its
``parse_multiple_chains.py``, and beside what that writes

    assigned_chains.jsonl    {name: [[chains to design], [chains that stay]]}    for --chain_id_jsonl
    fixed_positions.jsonl    {name: {chain: [places whose type stays]}}          for --fixed_positions_jsonl

each a single line with all designs, as it reads the last line only, and with every chain, as it asks for each. A residue
stays if its type is that of the input; where its place alone was kept (``inpaint_seq``) it is designed. A chain of
which all residues stay is one that stays.

It counts like this:

- Chains to design come first, then those that stay, both sorted by their letter (digits, capitals, small letters).
- Places in a chain count from 1. The lowest residue number of the chain is the first, and each number up to the highest
  has a place whether or not there is such a residue; an insertion code has one more, behind its number. So a gap in the
  numbers moves what follows, and a break of the chain without one does not.

What it writes, ``seqs/<name>.fa``, begins with the sequence that the file had; then come the designed ones, of the designed
chains only, in the order above with ``/`` between two. Places without a residue have the letter X.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.protein.native import TERMINAL
from langevin.modalities.protein.protein import ALPHABET, Protein, SideChains, of_structure, types_of
from langevin.modalities.structure_files import read_text

if TYPE_CHECKING:
    from Bio.PDB.Structure import Structure
else:
    Structure: TypeAlias = Any

__all__ = ["Record", "assigned_chains", "fixed_positions", "places", "read_sequences", "with_sequences"]

_LETTERS = frozenset(ALPHABET + "X")


@dataclass(frozen=True)
class Record:
    """A sequence that ProteinMPNN made.

    Attributes:
        name: of the design.
        sequences: by designed chain, a letter for each place.
        score: mean negative log-probability of the designed residues, in nats.
        global_score: of all residues; None in files of versions that do not say it.
        recovery: share of the designed residues that have the type of the file.
        sample: its number, from 1, among those of its temperature.
        temperature: at which it was drawn.
    """

    name: str
    sequences: Mapping[str, str]
    score: float
    global_score: float | None
    recovery: float
    sample: int
    temperature: float


def places(protein: Protein) -> tuple[NDArray[np.int64], dict[str, int]]:
    """(n,) the place of each residue in its chain, from 1, as ProteinMPNN counts, and how many places each chain has."""
    found, many = np.zeros(len(protein), np.int64), {}
    for chain in protein.chain_ids:
        rows = np.flatnonzero(protein.chains == chain)
        rows = rows[np.lexsort((protein.insertions[rows], protein.numbers[rows]))]
        left_out = np.maximum(np.diff(protein.numbers[rows], prepend=protein.numbers[rows[0]]) - 1, 0)
        found[rows] = np.arange(1, len(rows) + 1) + np.cumsum(left_out)
        many[chain] = int(found[rows[-1]])
    return found, many


def assigned_chains(proteins: Mapping[str, Protein]) -> dict[str, list[list[str]]]:
    """By name of the design, the chains to design and those that stay; which residues stay is in its note."""
    found = {}
    for name, protein in proteins.items():
        stays = _stays(protein)
        chains = {chain: bool(stays[protein.chains == chain].all()) for chain in sorted(protein.chain_ids)}
        found[name] = [
            [chain for chain, fixed in chains.items() if fixed is which] for which in (False, True)
        ]
    return found


def fixed_positions(proteins: Mapping[str, Protein]) -> dict[str, dict[str, list[int]]]:
    """By name of the design and by chain, the places whose type stays; none of a chain that stays as a whole."""
    found: dict[str, dict[str, list[int]]] = {}
    for name, (designed, whole) in assigned_chains(proteins).items():
        protein = proteins[name]
        at, stays = places(protein)[0], _stays(protein)
        found[name] = {chain: sorted(at[stays & (protein.chains == chain)].tolist()) for chain in designed}
        found[name] |= {chain: [] for chain in whole}
    return found


def _stays(protein: Protein) -> NDArray[np.bool_]:
    """(n,) residues whose type is that of the input: indices in the note under ``kept_types``."""
    return np.isin(np.arange(len(protein)), protein.note.get("kept_types", []))


def read_sequences(path: str | Path) -> list[Record]:
    """The sequences that ProteinMPNN designed for one structure, without the first of the file, which is the input's.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of ProteinMPNN, a record that is cut off, a letter that is no amino acid.
    """
    try:
        head, *rest = _records(read_text(path))
        name, said = head[0].split(", score=")[0], _said(head[0])
        if "designed_chains" not in said:
            raise ValueError(
                f"is not of ProteinMPNN: its first record ({head[0]!r:.60}) names no designed_chains"
            )
        chains = re.findall(r"'([^']+)'", said["designed_chains"])
        sizes = [len(part) for part in head[1].split("/")]
        if len(sizes) != len(chains) or not all(sizes):
            raise ValueError(
                f"names {len(chains)} designed chains, and its first record has residues of {sizes}"
            )
        if not rest:
            raise ValueError("holds no designed sequence, only that of the input; is it cut off?")
        return [_designed(name, chains, sizes, *record) for record in rest]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _records(text: str) -> Iterator[tuple[str, str]]:
    """(header, sequence) of each record of a FASTA text."""
    before, *found = re.split(r"^>", text, flags=re.MULTILINE)
    if before.strip() or not found:
        raise ValueError("is not a FASTA file, which begins with '>'")
    for record in found:
        header, _, sequence = record.partition("\n")
        yield header.strip(), "".join(sequence.split())


def _said(header: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\[[^\]]*\]|[^,\s]*)", header))


def _designed(name: str, chains: list[str], sizes: list[int], header: str, sequence: str) -> Record:
    said, parts = _said(header), sequence.split("/")
    if missing := [key for key in ("T", "sample", "score", "seq_recovery") if not said.get(key)]:
        raise ValueError(f"the record {header!r} lacks {', '.join(missing)}; is it cut off?")
    if [len(part) for part in parts] != sizes:
        raise ValueError(
            f"the record {header!r} has {_sum(map(len, parts))} residues and the first one {_sum(sizes)}; is it cut off?"
        )
    if odd := sorted({*sequence} - _LETTERS - {"/"}):
        raise ValueError(
            f"the record {header!r} has the letters {', '.join(odd)}; there are {ALPHABET} and X"
        )
    whole = said.get("global_score")
    return Record(
        name,
        dict(zip(chains, parts, strict=True)),
        float(said["score"]),
        None if whole is None else float(whole),
        float(said["seq_recovery"]),
        int(said["sample"]),
        float(said["T"]),
    )


def _sum(sizes: Any) -> str:
    return " + ".join(map(str, sizes))


def with_sequences(item: Protein | Structure, record: Record) -> Protein:
    """A protein with the types of a sequence that was made for it.

    Residues whose type changes lose their side chains. Chains that were not designed stay as they are. The note says
    under ``proteinmpnn`` which sequence it is.

    Args:
        item: the backbone that ProteinMPNN was given.
        record: of :func:`read_sequences`.

    Raises:
        ValueError: a chain that the protein does not have, a sequence of another length, a letter that is no amino acid.
    """
    protein = item if isinstance(item, Protein) else of_structure(item)
    at, many = places(protein)
    types = np.array(protein.types)
    for chain, sequence in record.sequences.items():
        if chain not in many:
            raise ValueError(f"{record.name} has the chain {chain!r}; the protein has {', '.join(many)}")
        rows = np.flatnonzero(protein.chains == chain)
        if len(sequence) != many[chain]:
            gaps = (
                f", which with the gaps of its numbers are {many[chain]}" if many[chain] != len(rows) else ""
            )
            raise ValueError(
                f"{record.name} has {len(sequence)} letters for chain {chain}, of {len(rows)} residues{gaps}"
            )
        if odd := sorted({*sequence} - _LETTERS):
            raise ValueError(f"{record.name} has the letters {', '.join(odd)}; there are {ALPHABET} and X")
        types[rows] = types_of(sequence)[at[rows] - 1]
    side = protein.side
    if side is not None:
        there = (types == protein.types)[side.residue] | (side.name == TERMINAL)
        side = SideChains(side.residue[there], side.name[there], side.xyz[there])
    told = {name: getattr(record, name) for name in ("name", "sample", "temperature", "score", "recovery")}
    return replace(protein, types=types, side=side, note={**protein.note, "proteinmpnn": told})
