"""Proteins from files and to files: PDB and mmCIF, ``.gz`` of both; FASTA and JSON are written only.

Files hold models, of which the first is read unless another is asked for. Chains and numbers of an mmCIF file are the
authors' (``auth_asym_id``, ``auth_seq_id``, insertion code), as in papers and in the PDB file of the same entry; with
``ids="label"`` those that number each chain from 1 without gaps. What is settled beyond that is told in
:mod:`~langevin.modalities.protein.protein`, limits on foreign files in :mod:`~langevin.modalities.structure_files`.

A file that langevin wrote says which of its GLY are placeholders; they are read back as residues without a type.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from langevin.modalities.protein.protein import PLACEHOLDER, Protein, of_structure
from langevin.modalities.protein.writing import REMARK, write_cif, write_fasta, write_note, write_pdb
from langevin.modalities.structure_files import SUFFIXES, category, format_of, parse, read_text

if TYPE_CHECKING:
    from Bio.PDB.Structure import Structure
else:
    Structure: TypeAlias = Any

__all__ = [
    "SUFFIXES",
    "iter_chains",
    "iter_models",
    "read",
    "read_protein",
    "write",
    "write_cif",
    "write_fasta",
    "write_note",
    "write_pdb",
]

_REMARKED = re.compile(rf"{re.escape(REMARK)}PLACEHOLDER {PLACEHOLDER} (\S+) (\S+) (\S+)\s*")
_PLACE = re.compile(r"(-?\d{1,9})([A-Za-z]?)")


def read_protein(
    path: str | Path, chains: str | Iterable[str] | None = None, model: int = 1, ids: str = "author"
) -> Protein:
    """A protein from a PDB or mmCIF file.

    Args:
        path: with one of SUFFIXES, which ``.gz`` may follow.
        chains: the name of one, or names; all when None. They come in the order of the file.
        model: its place in the file, from 1.
        ids: "author" or "label".

    Returns:
        Its note has ``source``, the name of the file, and ``read``
        (:func:`~langevin.modalities.protein.protein.of_structure`). A file with CA alone is
        taken; ``protein.ca_only`` says so.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, a file that is too large, cut off, empty, or not what its name says; no residue of
            a protein, or no such model or chain. The message names the file and what there is.
    """
    structure = read(path, model > 1, ids)
    if not 1 <= model <= len(structure):
        there = structure.xtra["file"]["models"]
        raise ValueError(f"{path}: has {there} model{'s' if there > 1 else ''}; model {model} was asked for")
    protein = of_structure([*structure][model - 1])
    if chains is None:
        return protein
    wanted = [chains] if isinstance(chains, str) else [*chains]
    for chain in wanted:
        if chain not in protein.chain_ids:
            raise ValueError(f"{path}: has no protein chain {chain!r}; there is {protein.listing()}")
    return protein[[chain in wanted for chain in protein.chains.tolist()]]


def iter_models(path: str | Path, ids: str = "author") -> Iterator[Protein]:
    """The models of a file, one after the other; arguments and errors as of :func:`read_protein`."""
    return (of_structure(model) for model in read(path, True, ids))


def iter_chains(path: str | Path, ids: str = "author") -> Iterator[Protein]:
    """The chains of the first model that are proteins; arguments and errors as of :func:`read_protein`."""
    protein = read_protein(path, ids=ids)
    return (protein[protein.chains == chain] for chain in protein.chain_ids)


def read(path: str | Path, every_model: bool = False, ids: str = "author") -> Structure:
    """Biopython's ``Structure`` of a file, with waters, ligands and all alternate locations.

    Its ``xtra["file"]`` has the numbers ``models`` and ``skipped`` and the ``missing`` residues of
    :func:`~langevin.modalities.protein.protein.of_structure`.

    Args:
        path: as of :func:`read_protein`.
        every_model: all models, not the first only.
        ids: as of :func:`read_protein`.

    Raises:
        ImportError: Biopython is not installed.
        FileNotFoundError, ValueError: as :func:`read_protein`; but a structure without a protein is read.
    """
    path, format = Path(path), format_of(path)
    try:
        text = read_text(path)
        parsed = parse(text, format, every_model, ids)
        structure = parsed.structure
        for chain in [chain for model in structure for chain in model if chain.id in (".", "?")]:
            chain.id = " "  # a blank of an mmCIF file
        _mark(structure, _placeholders_of_pdb(text) if format == "pdb" else _placeholders_of_mmcif(text))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    structure.id = path.name.partition(".")[0]
    structure.xtra["source"] = path.name
    structure.xtra["file"] = {
        "models": parsed.models,
        "skipped": parsed.skipped,
        "missing": [[row.chain, row.number, row.insertion, row.name] for row in parsed.missing],
    }
    return structure


def write(item: Protein | Structure, path: str | Path, bfactors: Sequence[float] | None = None) -> Path:
    """Writes a PDB or mmCIF file, as its suffix says (one of SUFFIXES, which ``.gz`` may follow).

    Args:
        item, bfactors: as of :func:`write_pdb`.
        path: of the file.

    Raises:
        ValueError: another suffix, or what the format cannot hold.
    """
    return (write_pdb if format_of(path) == "pdb" else write_cif)(item, path, bfactors)


def _placeholders_of_pdb(text: str) -> list[tuple[str, ...]]:
    """(chain, first, last) of the residues that have no type, from the remarks of a file."""
    head = text[: text.find("\nATOM  ") + 1].splitlines() if REMARK in text[:100_000] else []
    return [row.groups() for line in head if (row := _REMARKED.fullmatch(line))]


def _placeholders_of_mmcif(text: str) -> list[tuple[str, ...]]:
    table = category(text, "_langevin_placeholder")
    return list(zip(*(table.get(name, ()) for name in ("chain", "first", "last"))))


def _mark(structure: Any, runs: list[tuple[str, ...]]) -> None:
    """Note the GLY within runs of residues as placeholders; a residue with an insertion code is a run of its own."""
    spans: dict[str, list[tuple[int, int]]] = {}
    single: set[tuple[str, int, str]] = set()
    for name, *ends in runs:
        first, last = (_PLACE.fullmatch(end) for end in ends)
        if first and last and first[2]:
            single.add((name.strip("."), int(first[1]), first[2]))
        elif first and last:
            spans.setdefault(name.strip("."), []).append((int(first[1]), int(last[1])))
    for chain in (chain for model in structure for chain in model) if runs else ():
        name = chain.id.strip()
        ordered = sorted(spans.get(name, ()))
        starts = [first for first, _ in ordered]
        for residue in chain:
            _, number, code = residue.id
            k = bisect_right(starts, number) - 1
            within = not code.strip() and k >= 0 and number <= ordered[k][1]
            if residue.resname == PLACEHOLDER and (within or (name, number, code.strip()) in single):
                residue.xtra["placeholder"] = True
