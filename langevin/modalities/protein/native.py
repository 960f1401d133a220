"""Residues of a protein in Biopython's objects, and what stands beside them.

What is settled here is told in :mod:`~langevin.modalities.protein.protein`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.residues import BACKBONE, NUCLEOTIDES, SIDE_CHAINS, WATERS, parent_of

__all__ = ["NEAR", "PEPTIDE", "TERMINAL", "Residue", "residues_of"]

PEPTIDE = 2.0  # Å, the longest C–N distance that counts as a bond
NEAR = 4.5  # Å, the longest CA–CA distance of neighbours whose C or N is not known
REACH = 1e6  # Å, beyond which a coordinate is an error
TERMINAL = "OXT"  # the second oxygen of a chain's end; kept with the side chain


@dataclass(frozen=True)
class Residue:
    """A residue in one conformation.

    Attributes:
        chain, number, insertion: as the authors have them; a blank is an empty text.
        name: three letters of the coded residue that it is or was made from; None where none is known.
        hetero: it comes from HETATM records.
        backbone: (4, 3) float32 Å, N CA C O; NaN where an atom is missing.
        side: positions (3,) of the other heavy atoms, by their names in the coded residue.
    """

    chain: str
    number: int
    insertion: str
    name: str | None
    hetero: bool
    backbone: NDArray[np.float32]
    side: Mapping[str, NDArray[np.float32]]

    def bonded(self, following: Residue) -> bool:
        """Whether a peptide bond leads to the following one, as far as can be seen."""
        distance = float(np.linalg.norm(following.backbone[0] - self.backbone[2]))
        if np.isfinite(distance):
            return distance <= PEPTIDE
        return float(np.linalg.norm(following.backbone[1] - self.backbone[1])) <= NEAR


def residues_of(entity: Any) -> tuple[list[Residue], dict[str, Any]]:
    """The residues of proteins in a ``Model`` or a ``Chain``, and what else was there, as in ``note["read"]``.

    Raises:
        ValueError: no residue of a protein, or an atom with an impossible position.
    """
    read: dict[str, Any] = {"waters": 0, "nucleotides": 0, "hydrogens": 0, "alternates": 0}
    read |= {name: Counter() for name in ("ligands", "without_ca", "modified", "unknown")}
    residues: list[Residue] = []
    for chain in [entity] if entity.level == "C" else entity:
        residues += _of_chain(chain, read)
    if not residues:
        raise ValueError(f"has no residue of a protein; there {_others(read)}")
    return residues, {name: dict(n) if isinstance(n, Counter) else n for name, n in read.items()}


def _of_chain(chain: Any, read: dict[str, Any]) -> list[Residue]:
    """The residues of a protein in a chain; whatever else it holds is counted."""
    found: list[tuple[str, Residue]] = []
    for entry in chain:
        entry = _one_of(entry)
        name, flag = str(entry.resname).strip().upper(), str(entry.id[0]).strip()
        if name in WATERS or flag == "W":
            read["waters"] += 1
        elif name in NUCLEOTIDES:
            read["nucleotides"] += 1
        else:
            atoms, hydrogens, alternates = _heavy(entry)
            residue = _residue(str(chain.id).strip(), name, bool(flag), entry, atoms)
            if residue is None:
                amino = not flag and parent_of(name) is not None
                read["without_ca" if amino else "ligands"][name] += 1
                continue
            found.append((name, residue))
            read["hydrogens"] += hydrogens
            read["alternates"] += alternates
    kept = []
    for k, (name, residue) in enumerate(found):
        tied = (k > 0 and found[k - 1][1].bonded(residue)) or (
            k + 1 < len(found) and residue.bonded(found[k + 1][1])
        )
        if residue.hetero and name != "MSE" and not tied:
            read["ligands"][name] += 1
            continue
        if residue.name is None and parent_of(name) is None:
            read["unknown"][name] += 1
        elif name not in SIDE_CHAINS:
            read["modified"][name] += 1
        kept.append(residue)
    return kept


def _residue(
    chain: str, name: str, hetero: bool, entry: Any, atoms: Mapping[str, tuple[str, NDArray[np.float32]]]
) -> Residue | None:
    """A residue of a protein; None for what is none, or has no CA."""
    parent = parent_of(name)
    if atoms.get("CA", ("",))[0] != "C" or (parent is None and name != "UNK" and not {"N", "C"} <= {*atoms}):
        return None
    backbone = np.full((len(BACKBONE), 3), np.nan, np.float32)
    for row, atom in enumerate(BACKBONE):
        if atom in atoms:
            backbone[row] = atoms[atom][1]
    if entry.xtra.get("placeholder"):
        parent = None
    side = {}
    for atom, (_, xyz) in atoms.items():
        atom = "SD" if (atom, parent) == ("SE", "MET") else atom
        if atom == TERMINAL or (parent is not None and atom in SIDE_CHAINS[parent]):
            side[atom] = xyz
    _, number, insertion = entry.id
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"residue number {number} of chain {chain} is out of range")
    return Residue(chain, int(number), str(insertion).strip(), parent, hetero, backbone, side)


def _one_of(entry: Any) -> Any:
    """One of the residues that share a place."""
    if entry.is_disordered() != 2:
        return entry
    return max(
        entry.disordered_get_list(),
        key=lambda residue: max((_occupancy(s) for atom in residue for s in _sites(atom)), default=0.0),
    )


def _heavy(entry: Any) -> tuple[dict[str, tuple[str, NDArray[np.float32]]], int, int]:
    """(element and position by name, hydrogens, atoms with several locations) of a residue, in one conformation."""
    atoms = [_sites(atom) for atom in entry.get_list()]
    by_label: dict[str, list[float]] = {}
    for sites in atoms:
        for site in sites:
            if site.get_altloc().strip():
                by_label.setdefault(site.get_altloc(), []).append(_occupancy(site))
    best = max(by_label, key=lambda label: float(np.mean(by_label[label])), default="")
    found, hydrogens, alternates = {}, 0, 0
    for sites in atoms:
        site = max(sites, key=lambda s: (s.get_altloc() == best, _occupancy(s)))
        element = str(site.element or "").strip().upper()
        if element in ("H", "D"):
            hydrogens += 1
            continue
        if not (np.abs(site.coord) <= REACH).all():
            raise ValueError(
                f"atom {site.get_name()} of {entry.resname} {entry.id[1]} lies at {site.coord.tolist()}"
            )
        alternates += len(sites) > 1
        found[site.get_name().strip()] = (element, np.asarray(site.coord, np.float32))
    return found, hydrogens, alternates


def _sites(atom: Any) -> list[Any]:
    return list(atom.disordered_get_list()) if atom.is_disordered() == 2 else [atom]


def _occupancy(site: Any) -> float:
    value = site.get_occupancy()
    return float(value) if value is not None and np.isfinite(value) else 0.0


def _others(read: dict[str, Any]) -> str:
    """What there is instead of a protein."""
    parts = [f"{read[name]} {name}" for name in ("waters", "nucleotides") if read[name]]
    for what, text in (("ligands", "other groups"), ("without_ca", "amino acids without a CA")):
        if read[what]:
            names = ", ".join(sorted(read[what])[:8])
            parts.append(f"{sum(read[what].values())} {text} ({names})")
    return f"are {', '.join(parts)}" if parts else "is nothing else"
