"""Protein structures from files: PDB and mmCIF, ``.gz`` of both, by Biopython's parsers, as residues with heavy atoms.

What is settled on reading, and counted so that it can be told:

    several models          the first
    alternate locations     those of one label for a residue: the label whose atoms have the highest mean occupancy, the
                            first of the alphabet where two are equal; an atom without that label by its own occupancies.
                            Of two residues at one place (a point mutation), likewise.
    hydrogens, deuterium    left out
    unknown elements        left out

Limits and errors are those of :mod:`~langevin.modalities.structure_files`, with the file's name.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.molecule.atoms import REACH
from langevin.modalities.molecule.residues import WATERS
from langevin.modalities.structure_files import SUFFIXES, Parsed, format_of, parse, read_text

__all__ = ["SUFFIXES", "Residue", "Structure", "find", "read_structure"]


@dataclass(frozen=True, eq=False)
class Residue:
    """A residue, a hetero group or an ion with its heavy atoms.

    Attributes:
        chain, name, number, insertion: as the authors of the file have them; a blank is an empty text.
        hetero: it comes from HETATM records.
        names: of the atoms.
        numbers: (k,) uint8, atomic numbers.
        positions: (k, 3) float32, Å.
        alternates: how many of the atoms had several locations.
    """

    chain: str
    name: str
    number: int
    insertion: str
    hetero: bool
    names: tuple[str, ...]
    numbers: NDArray[np.uint8]
    positions: NDArray[np.float32]
    alternates: int = 0

    @property
    def label(self) -> str:
        """``A:LYS:33``, with the insertion code behind the number."""
        return f"{self.chain}:{self.name}:{self.number}{self.insertion}"

    @property
    def water(self) -> bool:
        return self.name in WATERS


@dataclass(frozen=True, eq=False)
class Structure:
    """The first model of a file.

    Attributes:
        source: the name of the file.
        residues: in its order, those with at least one heavy atom.
        models: how many the file has.
        hydrogens: how many were left out, of the first model.
        strange: how many atoms of unknown elements were left out.
        unresolved: (chain, number) of residues that the file says were not seen.
    """

    source: str
    residues: tuple[Residue, ...]
    models: int = 1
    hydrogens: int = 0
    strange: int = 0
    unresolved: frozenset[tuple[str, int]] = frozenset()


def read_structure(path: str | Path) -> Structure:
    """A structure from a PDB or mmCIF file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, a file that is too large, cut off, empty, or not what its name says.
    """
    path, format = Path(path), format_of(path)
    try:
        return _first_model(path.name, parse(read_text(path), format))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def find(structure: Structure, selector: str) -> Residue:
    """The residue that a selector names.

    Args:
        structure: where to look.
        selector: ``A:LIG:401`` (with an insertion code, ``A:LIG:401B``), or ``A:LIG`` or ``LIG`` where one residue has
            the name.

    Raises:
        ValueError: no residue, or several; the message lists the hetero groups that there are.
    """
    parts = [part.strip() for part in selector.split(":")]
    if not 1 <= len(parts) <= 3 or not parts[-1]:
        raise ValueError(f"a residue is written chain:name:number, as in A:LIG:401; got {selector!r}")
    found = [residue for residue in structure.residues if _matches(residue, parts)]
    if len(found) > 1 and any(residue.hetero for residue in found):
        found = [residue for residue in found if residue.hetero]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{len(found)} residues of {structure.source} are {selector!r}; choose one: {_listed(found)}"
        )
    groups = [residue for residue in structure.residues if residue.hetero and not residue.water]
    there = f"its hetero groups: {_listed(groups)}" if groups else "it has no hetero groups"
    raise ValueError(f"{structure.source} has no residue {selector!r}; {there}")


def _matches(residue: Residue, parts: Sequence[str]) -> bool:
    if len(parts) == 1:
        return residue.name == parts[0]
    return (residue.chain, residue.name) == tuple(parts[:2]) and (
        len(parts) == 2 or f"{residue.number}{residue.insertion}" == parts[2]
    )


def _listed(residues: Sequence[Residue], most: int = 20) -> str:
    more = f" and {len(residues) - most} more" if len(residues) > most else ""
    return ", ".join(residue.label for residue in residues[:most]) + more


def _first_model(source: str, parsed: Parsed) -> Structure:
    counts = {"hydrogens": 0, "strange": 0}
    residues = []
    for chain in next(iter(parsed.structure), ()):
        for entry in chain:
            residue = _residue(_word(chain.id), _one_of(entry), counts)
            if len(residue.names):
                residues.append(residue)
    if not residues:
        raise ValueError("has no heavy atoms")
    unseen = frozenset((row.chain, row.number) for row in parsed.missing)
    return Structure(source, tuple(residues), parsed.models, **counts, unresolved=unseen)


def _one_of(entry: Any) -> Any:
    """One of the residues that share a place."""
    if entry.is_disordered() != 2:
        return entry
    alternatives = entry.disordered_get_list()

    def rank(residue: Any) -> tuple[float, str]:
        sites = [site for atom in residue for site in _sites(atom)]
        best = max((_occupancy(site) for site in sites), default=0.0)
        return -best, min((site.get_altloc() for site in sites), default="~")

    return min(alternatives, key=rank)


def _sites(atom: Any) -> list[Any]:
    return list(atom.disordered_get_list()) if atom.is_disordered() == 2 else [atom]


def _occupancy(site: Any) -> float:
    value = site.get_occupancy()
    return float(value) if value is not None and np.isfinite(value) else 0.0


def _residue(chain: str, entry: Any, counts: dict[str, int]) -> Residue:
    """One location for each heavy atom."""
    flag, number, insertion = entry.id
    atoms = [_sites(atom) for atom in entry.get_list()]
    by_label: dict[str, list[float]] = {}
    for sites in atoms:
        for site in sites:
            if site.get_altloc().strip():
                by_label.setdefault(site.get_altloc(), []).append(_occupancy(site))
    best = min(by_label, key=lambda label: (-float(np.mean(by_label[label])), label), default="")
    names, elements, positions, alternates = [], [], [], 0
    for sites in atoms:
        site = min(sites, key=lambda s: (s.get_altloc() != best, -_occupancy(s), s.get_altloc()))
        element = _number(site.element or "")
        if element == 1:
            counts["hydrogens"] += 1
            continue
        if element == 0:
            counts["strange"] += 1
            continue
        if not (np.abs(site.coord) <= REACH).all():
            raise ValueError(
                f"atom {site.get_name()} of {chain}:{entry.resname}:{number} lies at {site.coord.tolist()}"
            )
        names.append(site.get_name().strip())
        elements.append(element)
        positions.append(site.coord)
        alternates += len(sites) > 1
    return Residue(
        chain,
        _word(entry.resname),
        int(number),
        str(insertion).strip(),
        str(flag).strip() != "",
        tuple(names),
        np.array(elements, np.uint8),
        np.array(positions, np.float32).reshape(-1, 3),
        alternates,
    )


def _word(text: Any) -> str:
    """A name without the colon, which selectors use."""
    return str(text).strip().replace(":", "_")


@functools.cache
def _number(symbol: str) -> int:
    """The atomic number; 0 for what is no element."""
    from rdkit import Chem

    from langevin.modalities.molecule.atoms import quiet

    if symbol.upper() == "D":
        return 1
    try:
        with quiet():
            return int(Chem.GetPeriodicTable().GetAtomicNumber(symbol.strip().capitalize()))
    except RuntimeError:
        return 0
