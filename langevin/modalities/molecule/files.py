"""Molecules from files: SDF and mol (V2000, V3000), XYZ, SMILES lists and csv, npz archives; ``.gz`` of the first four.

Every record gives a ``Mol`` or a :class:`Failure` in its place; none is left out. What a record must be:

    a sound block        every count, coordinate and bond in order; at most MAX_ATOMS atoms, counted before rdkit sees it
    in three dimensions  with one finite position for each atom; a drawing is refused, or when asked embedded or
                         taken as a graph
    sane                 rdkit's sanitisation passes
    of known elements    where the caller lists them

and what is only reported, as notes: several fragments, hydrogens of which only some are atoms, stereo that a SMILES
leaves open, lines of a file that belong to no record. Stereo is always that of the coordinates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from langevin.core.errors import unknown
from langevin.modalities.molecule.atoms import (
    assign_stereo,
    check_positions,
    hidden_hydrogens,
    quiet,
    reason,
    to_mol,
)
from langevin.modalities.molecule.blocks import check_block, properties
from langevin.modalities.molecule.records import Demands, Record, Records, number_of
from langevin.modalities.molecule.splitting import Frame, Piece, sdf_pieces, smiles_pieces, xyz_pieces
from langevin.modalities.molecule.writing import write_sdf, write_smiles, write_xyz
from langevin.modalities.samples import Failure

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = [
    "SUFFIXES",
    "Demands",
    "Record",
    "Records",
    "iter_records",
    "read_one",
    "read_records",
    "read_smiles",
    "write_sdf",
    "write_smiles",
    "write_xyz",
]

_CUTS = {
    **dict.fromkeys((".sdf", ".sd", ".mol"), sdf_pieces),
    ".xyz": xyz_pieces,
    **dict.fromkeys((".smi", ".smiles", ".csv"), smiles_pieces),
}
SUFFIXES = (*_CUTS, ".npz")


def read_records(path: str | Path, **options: Any) -> Records:
    """Every record of a file, as a ``Mol`` or a :class:`Failure`.

    Args:
        path: a file with one of SUFFIXES, or one of these and ``.gz`` (``.npz`` excepted).
        options: fields of :class:`Demands`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown suffix or option, an archive that is none, or a file without records.
    """
    records = Records(str(path), iter_records(path, **options))
    if not len(records):
        raise ValueError(f"{path} holds no records")
    return records


def iter_records(path: str | Path, **options: Any) -> Iterator[Record]:
    """As :func:`read_records`, one record at a time; for files that do not fit into memory.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_records`, at the call.
    """
    path, demands = Path(path), _demands(options)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = "".join(suffixes[-2:-1] if suffixes[-1:] == [".gz"] else suffixes[-1:])
    if suffix not in SUFFIXES or (suffix == ".npz" and suffixes[-1] == ".gz"):
        raise ValueError(f"{path}: {unknown('suffix', suffix or path.name, SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    if suffix == ".npz":
        return _of_archive(path, demands)
    return (_record(piece, demands) for piece in _CUTS[suffix](path))


def read_one(path: str | Path, **options: Any) -> Mol:
    """The only molecule of a file.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_records`; a record that cannot be read, or several records.
    """
    records = list(iter_records(path, **options))
    if len(records) != 1:
        raise ValueError(f"{path} holds {len(records)} records; one molecule was expected")
    if isinstance(records[0].item, Failure):
        raise ValueError(f"{path}, {records[0].item.reason}")
    return records[0].item


def read_smiles(smiles: Iterable[str], **options: Any) -> Records:
    """Conformers for a list of SMILES, by ETKDG and MMFF; the same seed gives a molecule the same one anywhere.

    Args:
        smiles: the list; a name may follow each after a blank.
        options: fields of :class:`Demands`.
    """
    demands = _demands(options)
    split = ((*line.strip().split(maxsplit=1), "", "")[:2] for line in smiles)
    pieces = (Piece(f"entry {k}", (text, name)) for k, (text, name) in enumerate(split, 1))
    return Records("SMILES", (_record(piece, demands) for piece in pieces))


def _demands(options: dict[str, Any]) -> Demands:
    allowed = [field.name for field in fields(Demands)]
    for name in options:
        if name not in allowed:
            raise TypeError(unknown("option of reading", name, allowed))
    return Demands(**options)


def _record(piece: Piece, demands: Demands) -> Record:
    """A piece of a file as a molecule; any reason why not becomes the failure's."""
    content, place, notes = piece.content, piece.place, [piece.note] if piece.note else []
    try:
        if isinstance(content, ValueError):
            raise content
        if isinstance(content, Frame):
            mol = _of_frame(content, demands)
        elif isinstance(content, tuple):
            place = f"{place} ({content[1]:.60})" if content[1] else place
            mol = _of_text(*content, demands, notes)
        else:
            title = content[0].strip() if content else ""
            place = f"{place} ({title:.60})" if title else place
            mol = _of_block(content, demands, notes)
        mol = _hydrogens(mol, demands)
        notes += _notes(mol, demands)
    except (ValueError, RuntimeError) as error:
        return Record(place, Failure(f"{place}: {reason(error)}"), tuple(notes))
    return Record(place, mol, tuple(notes))


def _of_block(lines: list[str], demands: Demands, notes: list[str]) -> Mol:
    count = check_block(lines, demands.most)
    end = next(k for k, line in enumerate(lines) if line.startswith("M  END")) + 1
    block = "\n".join(lines[:end])
    mol = _parsed(block, sanitize=False)
    if mol.GetNumAtoms() != count:
        raise ValueError(f"rdkit reads {mol.GetNumAtoms()} of its {count} atoms")
    _known(mol, demands)
    if mol.GetConformer().Is3D():
        mol = _settled(mol)
    elif demands.flat == "refuse":
        raise ValueError("has the coordinates of a drawing (2-D) only")
    elif demands.flat == "graph":
        notes.append("drawn in 2-D; it has no other coordinates")
        mol = _parsed(block, sanitize=True)
        mol.RemoveAllConformers()
    else:
        from langevin.modalities.molecule.conformers import embed

        notes.append("drawn in 2-D; its coordinates are a conformer's")
        mol = embed(_parsed(block, sanitize=True), demands.seed, demands.relax, demands.most)
    for name, value in properties(lines[end:]).items():
        if not name.startswith("_"):
            mol.SetProp(name, value)
    return mol


def _of_frame(frame: Frame, demands: Demands) -> Mol:
    from langevin.modalities.molecule.conformers import perceive

    if not frame.symbols:
        raise ValueError("has no atoms")
    if len(frame.symbols) > demands.most:
        raise ValueError(f"has {len(frame.symbols)} atoms; at most {demands.most} are taken")
    numbers = np.array([int(s) if s.isdecimal() else number_of(s) for s in frame.symbols])
    try:
        positions = np.array([[float(f.replace("*^", "e")) for f in row] for row in frame.positions])
    except ValueError as error:
        raise ValueError(f"a coordinate is no number ({error})") from None
    check_positions(positions)
    allowed = {number_of(symbol) for symbol in demands.elements} if demands.elements else None
    for k, number in enumerate(numbers.tolist()):
        if not 1 <= number <= 118 or (allowed is not None and number not in allowed):
            raise ValueError(f"atom {k} is of the unsupported element {frame.symbols[k]!r:.20}")
    said = re.search(r"(?<!\w)charge=([+-]?\d{1,3})(?!\w)", frame.comment)
    mol = perceive(numbers, positions, int(said.group(1)) if said else demands.charge)
    mol.SetProp("_Name", frame.comment.strip())
    return mol


def _of_text(text: str, name: str, demands: Demands, notes: list[str]) -> Mol:
    from langevin.modalities.molecule.conformers import embed, graph, open_stereo

    mol = graph(text, demands.most)
    _known(mol, demands)
    if name.startswith("|"):
        notes.append("the CXSMILES extension after it was not read")
    if demands.flat != "graph":
        if sites := open_stereo(mol):
            notes.append(f"{sites} stereo sites are not said; the seed chose them")
        mol = embed(mol, demands.seed, demands.relax, demands.most)
    mol.SetProp("_Name", name)
    return mol


def _of_archive(path: Path, demands: Demands) -> Iterator[Record]:
    from langevin.modalities.molecule.archives import read_archive

    archive = read_archive(path)
    explicit = bool((archive.arrays["numbers"] == 1).any())

    def record(k: int) -> Record:
        place = f"molecule {k + 1}"
        try:
            mol = to_mol(archive[k], explicit=explicit)
            _known(mol, demands)
            mol = _hydrogens(mol, demands)
            return Record(place, mol, tuple(_notes(mol, demands)))
        except (ValueError, RuntimeError) as error:
            return Record(place, Failure(f"{place}: {reason(error)}"))

    return (record(k) for k in range(len(archive)))


def _parsed(block: str, sanitize: bool) -> Mol:
    """A mol block as rdkit reads it; what it logs becomes the reason."""
    from rdkit import Chem, rdBase

    capture = getattr(rdBase, "CaptureErrorLog", nullcontext)()
    with quiet(), capture:
        mol = Chem.MolFromMolBlock(block, sanitize=sanitize, removeHs=False)
    if mol is None:
        said = getattr(capture, "messages", "")
        raise ValueError(f"rdkit cannot read it{f' ({reason(said)})' if said.strip() else ''}")
    return mol


def _known(mol: Mol, demands: Demands) -> None:
    """ValueError for queries and pseudo-atoms, elements that were not asked for, and too many atoms."""
    allowed = {number_of(symbol) for symbol in demands.elements} if demands.elements else None
    if mol.GetNumAtoms() > demands.most:
        raise ValueError(f"has {mol.GetNumAtoms()} atoms; at most {demands.most} are taken")
    for atom in mol.GetAtoms():
        number = atom.GetAtomicNum()
        if allowed is not None and number not in allowed:
            raise ValueError(f"atom {atom.GetIdx()} is of the unsupported element {atom.GetSymbol()!r}")
        if (not number and not _attachment(atom)) or (number and atom.HasQuery()):
            raise ValueError(f"atom {atom.GetIdx()} is a query or a pseudo-atom, not an element")


def _attachment(atom: Any) -> bool:
    """Whether an atom without a number is an attachment point (``*``, ``R``, ``R1`` …)."""
    if atom.HasProp("dummyLabel"):
        return atom.GetProp("dummyLabel")[:1] in ("R", "*")
    return not atom.HasQuery() or atom.DescribeQuery().startswith("AtomNull")


def _settled(mol: Mol) -> Mol:
    """Sanitised, with the stereo of its coordinates."""
    from rdkit import Chem

    positions = mol.GetConformer().GetPositions()
    check_positions(positions)
    if len(positions) > 1 and (positions == positions[0]).all():
        raise ValueError("all of its atoms lie at one point")
    with quiet():
        try:
            Chem.SanitizeMol(mol)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"cannot be sanitised: {reason(error)}") from None
        assign_stereo(mol)
    return mol


def _hydrogens(mol: Mol, demands: Demands) -> Mol:
    from rdkit import Chem

    if demands.hydrogens == "keep" or (demands.hydrogens == "add" and not hidden_hydrogens(mol)):
        return mol
    with quiet():
        if demands.hydrogens == "remove":
            return Chem.RemoveAllHs(mol)
        full = Chem.AddHs(mol, addCoords=True)
        assign_stereo(full)
    if full.GetNumAtoms() > demands.most:
        raise ValueError(f"has {full.GetNumAtoms()} atoms with hydrogens; at most {demands.most} are taken")
    return full


def _notes(mol: Mol, demands: Demands) -> list[str]:
    from rdkit import Chem

    notes = []
    if (pieces := len(Chem.GetMolFrags(mol))) > 1:
        if demands.connected:
            raise ValueError(f"is {pieces} fragments")
        notes.append(f"{pieces} fragments")
    hidden = hidden_hydrogens(mol)
    if hidden and any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()):
        notes.append(f"{hidden} of its hydrogens are not atoms")
    return notes
