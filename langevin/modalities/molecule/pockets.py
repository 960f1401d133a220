"""A pocket: the atoms of a protein around a ligand or a point, and what was done to get them.

Atoms of residues of which one lies within ``radius`` of a ligand's heavy atom, or of the point, are the pocket; 8 Å is
what the field takes (Peng et al. 2022, Pocket2Mol; Guan et al. 2023, TargetDiff, 10 Å). Metals and cofactors in reach are
part of it; waters, and what buffers and cryoprotectants leave in crystals, are not; nor is the ligand, or whatever else
lies where the ligand does. What was left out, is missing or was taken for something else is said in ``notes`` and
counted in ``counts``; nothing is repaired.

``centre`` is the mean of the pocket's atoms. It is the origin of the frame in which ligands are generated, so it may
depend on nothing but the pocket: the centre of the true ligand would give its pose away. Which residues are in reach
still tells a little of the ligand that was used to choose them, as in every benchmark that cuts pockets in this way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from langevin.modalities.molecule.atoms import Atoms
from langevin.modalities.molecule.residues import (
    ADDITIVES,
    BACKBONE,
    LETTERS,
    METALS,
    NUCLEOTIDES,
    OTHER,
    RESIDUES,
    SIDE_CHAINS,
    type_of,
)
from langevin.modalities.molecule.structures import Residue, Structure, find, read_structure

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["MOST_ATOMS", "Pocket", "Role", "cut", "read_pocket"]

MOST_ATOMS = 4000  # of a pocket
WIDEST = 30.0  # Å, the largest radius
TOGETHER = 1.0  # Å: a hetero group nearer to the ligand than this lies in its place
NAMED = 6  # residues that a note names at most


class Role(IntEnum):
    """What an atom is to the protein."""

    BACKBONE = 0  # N, C, O and OXT of a residue
    ALPHA = 1  # CA
    SIDE_CHAIN = 2
    COFACTOR = 3  # anything else that is no ion: cofactors, sugars, nucleotides, caps
    METAL = 4


@dataclass(frozen=True, eq=False)
class Pocket:
    """Heavy atoms around a site, in the frame of their file.

    Attributes:
        numbers: (m,) uint8, atomic numbers.
        positions: (m, 3) float32, Å.
        residues: (m,) uint8, types of the atoms' residues, indices into ``RESIDUES``.
        roles: (m,) uint8, :class:`Role`.
        owners: (m,) int32, index of each atom's residue in ``places``.
        names: of the atoms, as in the file.
        places: residues as ``chain:name:number`` with insertion code, in the order of the file.
        centre: (3,) float32, the mean of ``positions``.
        source: the file.
        notes: sentences on what was left out, is missing or was read as something else.
        counts: the figures of the notes, and of residues and atoms.
    """

    numbers: NDArray[np.uint8]
    positions: NDArray[np.float32]
    residues: NDArray[np.uint8]
    roles: NDArray[np.uint8]
    owners: NDArray[np.int32]
    names: tuple[str, ...]
    places: tuple[str, ...]
    centre: NDArray[np.float32]
    source: str = ""
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def report(self) -> str:
        """What was read, a line for each note."""
        head = f"{self.source}: a pocket of {len(self)} atoms in {len(self.places)} residues and groups"
        return "\n".join([head, *(f"  {note}" for note in self.notes)])

    @property
    def protein(self) -> NDArray[np.bool_]:
        """(m,) which atoms belong to residues of the protein: neither metals nor cofactors."""
        return self.roles <= Role.SIDE_CHAIN

    def sequences(self) -> dict[str, str]:
        """One letter for each residue of the protein, by chain, in the order of the file; the parts of a chain that
        the pocket leaves out leave no mark."""
        out: dict[str, str] = {}
        for k in np.flatnonzero(self.roles == Role.ALPHA).tolist():
            chain = self.places[self.owners[k]].partition(":")[0]
            out[chain] = out.get(chain, "") + LETTERS[self.residues[k]]
        return out

    def bonds(self) -> NDArray[np.int64]:
        """(k, 2) pairs i < j of bonded atoms, from their distances: nearer than the sum of their covalent radii and
        0.4 Å. Metals have none."""
        from langevin.modalities.molecule.contacts import radii

        covalent = radii("covalent")[self.numbers]
        pairs = cKDTree(self.positions).query_pairs(2.8, output_type="ndarray").reshape(-1, 2)
        apart = np.linalg.norm(self.positions[pairs[:, 0]] - self.positions[pairs[:, 1]], axis=1)
        joined = apart < covalent[pairs].sum(1) + 0.4
        joined &= (self.roles[pairs] != Role.METAL).all(1)
        pairs = np.sort(pairs[joined], axis=1)
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.int64)

    def to_mol(self) -> Mol:
        """The atoms as an rdkit molecule without bonds, with chains, residues and atom names in their PDB records.

        PoseBusters tells protein, metals and cofactors apart by these records.
        """
        from rdkit import Chem

        mol = Chem.RWMol()
        for k, number in enumerate(self.numbers.tolist()):
            chain, name, serial = self.places[self.owners[k]].split(":")
            code = serial[-1] if serial[-1:].isalpha() else ""
            atom = Chem.Atom(number)
            atom.SetNoImplicit(True)
            info = Chem.AtomPDBResidueInfo(
                f" {self.names[k]:<3}"[:4] if len(self.names[k]) < 4 else self.names[k]
            )
            info.SetResidueName(name)
            info.SetResidueNumber(int(serial.removesuffix(code)))
            info.SetInsertionCode(code or " ")
            info.SetChainId(chain)
            info.SetSerialNumber(k + 1)
            info.SetOccupancy(1.0)
            info.SetIsHeteroAtom(bool(self.roles[k] >= Role.COFACTOR))
            atom.SetMonomerInfo(info)
            mol.AddAtom(atom)
        conformer = Chem.Conformer(len(self))
        conformer.SetPositions(self.positions.astype(np.float64))
        mol.AddConformer(conformer, assignId=True)
        built = mol.GetMol()
        built.UpdatePropertyCache(strict=False)
        return built


def read_pocket(
    path: str | Path,
    ligand: Mol | Atoms | str | None = None,
    centre: Sequence[float] | None = None,
    radius: float = 8.0,
    whole_residues: bool = True,
    *,
    without: Sequence[str] = (),
) -> Pocket:
    """The pocket of a structure file, around a ligand or a point.

    Args:
        path: PDB or mmCIF (``.pdb``, ``.ent``, ``.cif``, ``.mmcif``), or one of these and ``.gz``.
        ligand: a molecule in the frame of the file, or the residue of the file that is the ligand, ``A:LIG:401``.
        centre: (x, y, z) in Å, instead of a ligand.
        radius: Å around the ligand's heavy atoms, or around the centre.
        whole_residues: take residues of which one atom is in reach; else only the atoms in reach.
        without: residues to leave out, as selectors: what occupies a site that is given by its centre.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read; not exactly one of ligand and centre; a residue that is not there (the
            message lists those that are); no atoms in reach (it says how far the nearest is); more than MOST_ATOMS.
    """
    if (ligand is None) == (centre is None):
        raise ValueError(
            "give either ligand, a molecule or a residue of the file, or centre, three numbers in Å"
        )
    if not 0 < radius <= WIDEST:
        raise ValueError(f"radius must lie between 0 and {WIDEST:g} Å; got {radius}")
    structure = read_structure(path)
    absent = [find(structure, selector) for selector in without]
    if isinstance(ligand, str):
        held = find(structure, ligand)
        return cut(structure, held.positions, radius, whole_residues, ligand=held, without=absent)
    if ligand is not None:
        return cut(structure, _heavy_positions(ligand), radius, whole_residues, without=absent)
    points = np.asarray(centre, np.float32)
    if points.shape != (3,) or not np.isfinite(points).all():
        raise ValueError(f"centre must be three finite numbers in Å; got {centre!r}")
    return cut(structure, points[None], radius, whole_residues, point=True, without=absent)


def cut(
    structure: Structure,
    points: NDArray[Any],
    radius: float = 8.0,
    whole_residues: bool = True,
    *,
    point: bool = False,
    ligand: Residue | None = None,
    without: Sequence[Residue] = (),
) -> Pocket:
    """The pocket of a structure that was read; see :func:`read_pocket`.

    Args:
        structure: from :func:`read_structure`.
        points: (n, 3) Å, heavy atoms of the ligand or the one point.
        radius, whole_residues: as there.
        point: whether ``points`` is a point of space, where an atom may lie, and not a ligand, where none can.
        ligand: the residue that ``points`` are, if it is one of the structure.
        without: residues to leave out.

    Raises:
        ValueError: no atoms in reach, or too many.
    """
    places = cKDTree(np.asarray(points, np.float64))
    chosen: list[tuple[Residue, NDArray[np.bool_]]] = []
    waters: list[Residue] = []
    additives: list[Residue] = []
    displaced: list[Residue] = []
    nearest = np.inf
    for residue in structure.residues:
        if residue is ligand or residue in without:
            continue
        away = places.query(residue.positions)[0]
        reached = away <= radius
        if residue.water:
            waters += [residue] * bool(reached.any())
        elif residue.hetero and type_of(residue.name) == OTHER and not point and away.min() < TOGETHER:
            displaced.append(residue)
        elif residue.hetero and residue.name in ADDITIVES:
            additives += [residue] * bool(reached.any())
        else:
            nearest = min(nearest, float(away.min()))
            if reached.any():
                chosen.append((residue, reached | whole_residues))
    if not chosen:
        what = "the centre" if point else "the ligand"
        there = f"the nearest atom is {nearest:.1f} Å away" if np.isfinite(nearest) else "there is no protein"
        raise ValueError(f"{structure.source} has no protein atoms within {radius:g} Å of {what}; {there}")
    if (total := sum(int(kept.sum()) for _, kept in chosen)) > MOST_ATOMS:
        raise ValueError(
            f"{total} atoms are within {radius:g} Å; at most {MOST_ATOMS} are taken: lower the radius"
        )
    pocket = _assembled(structure, chosen)
    notes, counts = _told(structure, [residue for residue, _ in chosen], waters, additives, displaced)
    counts |= {"atoms": len(pocket), "residues": len(pocket.places)}
    if point:
        notes += _occupants(chosen, places)
    return Pocket(
        pocket.numbers, pocket.positions, pocket.residues, pocket.roles, pocket.owners, pocket.names, pocket.places,
        pocket.centre, structure.source, tuple(notes), counts,
    )  # fmt: skip


def _heavy_positions(ligand: Mol | Atoms) -> NDArray[np.float32]:
    if not isinstance(ligand, Atoms):
        if not ligand.GetNumAtoms() or not ligand.GetNumConformers():
            raise ValueError("ligand must have atoms and a conformer in the frame of the protein")
        numbers = np.array([atom.GetAtomicNum() for atom in ligand.GetAtoms()])
        positions = np.asarray(ligand.GetConformer().GetPositions(), np.float32)
    else:
        numbers, positions = ligand.numbers, ligand.positions
    heavy = positions[numbers != 1]
    if not len(heavy) or not np.isfinite(heavy).all():
        raise ValueError("ligand must have heavy atoms, and coordinates that are finite")
    return heavy


def _assembled(structure: Structure, chosen: Sequence[tuple[Residue, NDArray[np.bool_]]]) -> Pocket:
    """The arrays of the chosen residues' kept atoms."""
    numbers, positions, kinds, roles, owners, names = [], [], [], [], [], []
    for k, (residue, kept) in enumerate(chosen):
        kind = type_of(residue.name)
        for a in np.flatnonzero(kept).tolist():
            numbers.append(residue.numbers[a])
            positions.append(residue.positions[a])
            kinds.append(kind)
            roles.append(_role(residue, a))
            owners.append(k)
            names.append(residue.names[a])
    placed = np.array(positions, np.float32)
    return Pocket(
        np.array(numbers, np.uint8),
        placed,
        np.array(kinds, np.uint8),
        np.array(roles, np.uint8),
        np.array(owners, np.int32),
        tuple(names),
        tuple(residue.label for residue, _ in chosen),
        placed.mean(0, dtype=np.float64).astype(np.float32),
        structure.source,
    )


def _amino(residue: Residue) -> bool:
    """Whether it is a residue of a chain: known by its name, or with a backbone."""
    return type_of(residue.name) != OTHER or {"N", "CA", "C"} <= set(residue.names)


def _metal(residue: Residue) -> bool:
    return len(residue.names) == 1 and int(residue.numbers[0]) in METALS


def _role(residue: Residue, atom: int) -> Role:
    if _metal(residue):
        return Role.METAL
    if not _amino(residue):
        return Role.COFACTOR
    name = residue.names[atom]
    if name == "CA":
        return Role.ALPHA
    return Role.BACKBONE if name in (*BACKBONE, "OXT") else Role.SIDE_CHAIN


def _told(
    structure: Structure,
    chosen: Sequence[Residue],
    waters: Sequence[Residue],
    additives: Sequence[Residue],
    displaced: Sequence[Residue],
) -> tuple[list[str], dict[str, int]]:
    """Sentences, and figures by name; only what occurs has a sentence."""
    notes: list[str] = []
    counts: dict[str, int] = {}

    def tell(name: str, count: int, sentence: str) -> None:
        counts[name] = count
        if count:
            notes.append(sentence)

    lacking = [f"{r.label} ({' '.join(gone)})" for r in chosen if (gone := _missing(r))]
    modified = [r for r in chosen if _amino(r) and r.name not in SIDE_CHAINS]
    metals, cofactors = (
        [r for r in chosen if _metal(r)],
        [r for r in chosen if not _amino(r) and not _metal(r)],
    )
    moved = [r for r in chosen if r.alternates]
    inserted = [r for r in chosen if r.insertion]
    unseen = _unseen(structure, chosen)
    tell(
        "models", structure.models - 1 and structure.models, f"{structure.models} models: the first was read"
    )
    tell(
        "incomplete",
        len(lacking),
        f"{len(lacking)} residues lack atoms: {_named(lacking)}",
    )
    tell(
        "unseen",
        len(unseen),
        f"{len(unseen)} residues beside those of the pocket are not in the coordinates (REMARK 465): {_named(unseen)}",
    )
    tell(
        "alternates",
        sum(r.alternates for r in moved),
        f"{sum(r.alternates for r in moved)} atoms have alternate locations, of which the one of the highest occupancy was "
        f"taken: {_named([r.label for r in moved])}",
    )
    read_as = [f"{r.label} as {RESIDUES[type_of(r.name)]}" for r in modified]
    tell(
        "nonstandard",
        len(modified),
        f"{len(modified)} nonstandard residues were read by their parents: {_named(read_as)}",
    )
    tell(
        "metals",
        len(metals),
        f"{len(metals)} metal ions are part of the pocket: {_named([r.label for r in metals])}",
    )
    kinds = [r.label + " (nucleotide)" * (r.name in NUCLEOTIDES) for r in cofactors]
    tell(
        "cofactors",
        len(cofactors),
        f"{len(cofactors)} cofactors or other groups are part of the pocket: {_named(kinds)}",
    )
    tell(
        "displaced",
        len(displaced),
        f"{len(displaced)} groups lie where the ligand does and were left out: {_named([r.label for r in displaced])}",
    )
    tell(
        "additives",
        len(additives),
        f"{len(additives)} groups of the buffer or cryoprotectant were left out: {_named([r.label for r in additives])}",
    )
    tell("waters", len(waters), f"{len(waters)} waters were left out")
    tell("hydrogens", structure.hydrogens, f"{structure.hydrogens} hydrogens of the file were left out")
    tell(
        "strange",
        structure.strange,
        f"{structure.strange} atoms of the file are of no known element and were left out",
    )
    tell(
        "insertions",
        len(inserted),
        f"{len(inserted)} residues have insertion codes: {_named([r.label for r in inserted])}",
    )
    return notes, counts


def _missing(residue: Residue) -> list[str]:
    """Heavy atoms that a standard residue should have and lacks."""
    if residue.name not in SIDE_CHAINS:
        return []
    return [name for name in (*BACKBONE, *SIDE_CHAINS[residue.name]) if name not in residue.names]


def _unseen(structure: Structure, chosen: Sequence[Residue]) -> list[str]:
    """Unresolved residues that follow or precede one of the pocket's within three places."""
    near = {(r.chain, r.number + step) for r in chosen if _amino(r) for step in range(-3, 4)}
    return [f"{chain}:{number}" for chain, number in sorted(structure.unresolved & near)]


def _occupants(chosen: Sequence[tuple[Residue, Any]], places: Any) -> list[str]:
    """A note for each group near a given centre: it may be a ligand that the user forgot."""
    notes = []
    for residue, _ in chosen:
        if (
            not _amino(residue)
            and not _metal(residue)
            and (gap := places.query(residue.positions)[0].min()) < 4
        ):
            notes.append(
                f"{residue.label} lies {gap:.1f} Å from the centre and is part of the pocket; leave it out with "
                f"without=({residue.label!r},) if it is a ligand"
            )
    return notes


def _named(labels: Sequence[str]) -> str:
    counted = Counter(labels)
    shown = [label if n == 1 else f"{label} ×{n}" for label, n in counted.items()]
    more = f" and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
    return ", ".join(shown[:NAMED]) + more
