"""Proteins to files, each written whole or not at all: PDB, mmCIF, FASTA, and a JSON of how a design was made.

A residue whose type was not designed is written GLY, as other programs do that make backbones, and the file says which
those are: in a PDB file by ``REMARK   6 PLACEHOLDER GLY <chain> <first> <last>`` for each run of them, in an mmCIF file
by the category ``_langevin_placeholder`` with the columns chain, first and last (a blank chain is a point). In a FASTA
file they are X.

How it was made (``note``) is in the remarks of a PDB file, an entry a line or several, and as JSON in
``_langevin_design.note`` of an mmCIF file. Remarks 6 to 99 of the PDB format are free text.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from langevin import __version__
from langevin.folders import write_atomic
from langevin.modalities.protein.protein import PLACEHOLDER, Protein, of_structure, to_structure
from langevin.modalities.samples import plain

if TYPE_CHECKING:
    from Bio.PDB.Structure import Structure
else:
    Structure: TypeAlias = Any

__all__ = [
    "REMARK",
    "check_chains",
    "cif_text",
    "pdb_text",
    "write_cif",
    "write_fasta",
    "write_note",
    "write_pdb",
]

REMARK = "REMARK   6 "
CHAINS = 62  # that one letter or digit can name
SERIAL = 99_999  # the last number of an atom in a PDB file
ENTRY = 1000  # characters of an entry of the note in a remark; the JSON has all
WIDTH = 80
_COLUMNS = (
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
    "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
    "B_iso_or_equiv", "auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id", "pdbx_PDB_model_num",
)  # fmt: skip

Item: TypeAlias = "Protein | Structure"


def write_pdb(item: Item, path: str | Path, bfactors: Sequence[float] | None = None) -> Path:
    """Writes a PDB file.

    Args:
        item: a protein, or a ``Structure``, of which all is written that it holds.
        path: of the file; packed if it ends in ``.gz``.
        bfactors: (n,) one for each residue of a protein, as marks of what was kept.

    Raises:
        ValueError: what the format cannot hold: a chain whose name is not one character, more than 62 chains, more
            than 99,999 atoms, a coordinate outside -999.999 … 9999.999 Å, a residue number outside -999 … 9999.
    """
    return _write(path, lambda: pdb_text(item, bfactors))


def write_cif(item: Item, path: str | Path, bfactors: Sequence[float] | None = None) -> Path:
    """Writes an mmCIF file; arguments as of :func:`write_pdb`. Chains may have names of several characters.

    Raises:
        ValueError: an atom without a finite position, or two residues of one place.
    """
    return _write(path, lambda: cif_text(item, bfactors))


def write_fasta(proteins: Mapping[str, Item], path: str | Path) -> Path:
    """Writes the sequences, a record ``>name_chain`` for each chain; X where no type was designed.

    Residues that a file lacks leave no mark: the sequence is that of the residues that are there.

    Raises:
        ValueError: no proteins.
    """
    if not proteins:
        raise ValueError("there are no proteins to write")
    lines = []
    for name, item in proteins.items():
        protein = item if isinstance(item, Protein) else of_structure(item)
        for chain in protein.chain_ids:
            title = re.sub(r"\s+", "_", f"{name}_{chain}" if chain else name)
            letters = protein[protein.chains == chain].sequence
            lines += [f">{title}", *(letters[k : k + WIDTH] for k in range(0, len(letters), WIDTH))]
    return _write(path, lambda: "\n".join([*lines, ""]))


def write_note(item: Item, path: str | Path) -> Path:
    """Writes how a design was made as JSON: its note, and beside it ``sequences`` by chain and ``residues``.

    Where the note has one of these names, it goes first.
    """
    protein = item if isinstance(item, Protein) else of_structure(item)
    sequences = {chain: protein[protein.chains == chain].sequence for chain in protein.chain_ids}
    said = {"sequences": sequences, "residues": protein.listing(most=len(protein)), **_plain(protein.note)}
    return _write(path, lambda: json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def pdb_text(item: Item, bfactors: Sequence[float] | None = None) -> str:
    """The text of a PDB file; arguments and errors as of :func:`write_pdb`."""
    structure = _native(item, bfactors)
    lines = [f"{REMARK}WRITTEN BY LANGEVIN {__version__}"]
    for name, value in _plain(structure.xtra.get("note", {})).items():
        said = json.dumps({name: value})[1:-1]  # in ASCII, without line breaks
        said = said if len(said) <= ENTRY else f"{said[:ENTRY]} ..."
        step = WIDTH - len(REMARK)
        lines += [REMARK + said[k : k + step] for k in range(0, len(said), step)]
    runs = _placeholders(structure)
    if runs:
        lines.append(f"{REMARK}{PLACEHOLDER} STANDS FOR RESIDUES WITHOUT A DESIGNED TYPE:")
        lines += [f"{REMARK}PLACEHOLDER {PLACEHOLDER} {chain} {first} {last}" for chain, first, last in runs]
    several = len(structure) > 1
    for number, model in enumerate(structure, 1):
        check_chains([chain.id for chain in model])
        if several:
            lines.append(f"MODEL     {number:>4}")
        serial = 0
        for chain in model:
            lines += (block := _pdb_chain(chain, serial))
            serial += len(block)
        if several:
            lines.append("ENDMDL")
    return "\n".join([*lines, "END", ""])


def check_chains(names: Sequence[str]) -> None:
    """Whether a PDB file can name its chains so.

    Raises:
        ValueError: more than 62 names, or one that is not one character.
    """
    if len(names) > CHAINS:
        raise ValueError(
            f"{len(names)} chains; a PDB file has names for {CHAINS}: write mmCIF (.cif) instead"
        )
    for name in names:
        if len(name) != 1 or not name.isascii() or not name.isprintable():
            raise ValueError(
                f"the chain {name!r} cannot be named in a PDB file, which has one character: "
                "write mmCIF (.cif) instead"
            )


def _pdb_chain(chain: Any, serial: int) -> list[str]:
    """The records of a chain; TER behind its last residue of a polymer."""
    residues = [one for entry in chain for one in _residues(entry)]
    last = max((k for k, residue in enumerate(residues) if residue.id[0] == " "), default=-1)
    lines: list[str] = []
    for k, residue in enumerate(residues):
        flag, number, insertion = residue.id
        tail = f"{residue.resname:>3} {chain.id}{number:>4}{insertion:1}"
        if len(tail) != 10:
            raise ValueError(
                f"the residue {residue.resname} {chain.id}{number}{insertion.strip()} does not fit into a PDB file: "
                "write mmCIF (.cif) instead"
            )
        for site in _sites(residue):
            element, name = str(site.element or "").strip(), site.get_name().strip()
            padded = f" {name:<3}" if len(element) < 2 and len(name) < 4 else f"{name:<4}"
            place = "".join(f"{x:8.3f}" for x in _position(site))
            if len(place) != 24 or len(padded) != 4:
                raise ValueError(
                    f"atom {name} of {chain.id}{number} at ({', '.join(f'{x:.3f}' for x in site.coord)}) does not "
                    "fit into a PDB file, which reaches from -999.999 to 9999.999 Å: write mmCIF (.cif) instead"
                )
            marks = f"{_finite(site.get_occupancy(), 1.0):6.2f}{_finite(site.get_bfactor(), 0.0):6.2f}"
            if len(marks) != 12:
                raise ValueError(f"atom {name} of {chain.id}{number} has the B-factor {site.get_bfactor():g}")
            lines.append(
                f"{'ATOM' if flag == ' ' else 'HETATM':<6}{_serial(serial + len(lines) + 1)} {padded}"
                f"{site.get_altloc():1}{tail}   {place}{marks}          {element:>2}"
            )
        if k == last:
            lines.append(f"TER   {_serial(serial + len(lines) + 1)}      {tail}")
    return lines


def _serial(number: int) -> str:
    if number > SERIAL:
        raise ValueError(f"more than {SERIAL} atoms; a PDB file numbers no more: write mmCIF (.cif) instead")
    return f"{number:>5}"


def cif_text(item: Item, bfactors: Sequence[float] | None = None) -> str:
    """The text of an mmCIF file; arguments and errors as of :func:`write_cif`."""
    structure = _native(item, bfactors)
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", str(structure.id)) or "design"
    lines = [f"data_{name}", "#", f"_entry.id {name}", "#", "loop_"]
    lines += [f"_atom_site.{column}" for column in _COLUMNS]
    serial = 0
    for number, model in enumerate(structure, 1):
        labels = _Labels(chain.id.strip() for chain in model)
        for chain in model:
            order = 0
            for residue in (one for entry in chain for one in _residues(entry)):
                flag, place, insertion = residue.id
                order += flag == " "
                entity, label = labels(chain.id.strip() or "A" if flag == " " else None)
                about, name = "ATOM" if flag == " " else "HETATM", _word(residue.resname.strip())
                code, label = insertion.strip() or "?", _word(label)
                asym = _word(chain.id.strip() or ".")
                for site in _sites(residue):
                    serial += 1
                    atom, alternate = _word(site.get_name().strip()), _word(site.get_altloc().strip() or ".")
                    x, y, z = _position(site)
                    occupancy, mark = _finite(site.get_occupancy(), 1.0), _finite(site.get_bfactor(), 0.0)
                    lines.append(
                        f"{about} {serial} {_word(site.element or '?')} {atom} {alternate} {name} {label} {entity} "
                        f"{order if flag == ' ' else '.'} {code} {x:.3f} {y:.3f} {z:.3f} {occupancy:.2f} {mark:.2f} "
                        f"{place} {name} {asym} {atom} {number}"
                    )
    lines.append("#")
    if runs := _placeholders(structure):
        lines += ["loop_", *(f"_langevin_placeholder.{column}" for column in ("chain", "first", "last"))]
        lines += [f"{_word(chain)} {first} {last}" for chain, first, last in runs]
        lines.append("#")
    lines += [f"_langevin_design.version {_word(__version__)}"]
    if note := _plain(structure.xtra.get("note", {})):
        lines += ["_langevin_design.note", ";" + json.dumps(note, indent=1), ";"]
    return "\n".join([*lines, "#", ""])


class _Labels:
    """Label ids: a polymer has the name of its chain, every other group one that no chain has; entities count both."""

    def __init__(self, chains: Iterable[str]) -> None:
        self.names, self.entities, self.groups = {*chains}, dict[str, int](), 0

    def __call__(self, polymer: str | None) -> tuple[int, str]:
        if polymer is None:
            self.groups += 1
            while f"L{self.groups}" in self.names:
                self.groups += 1
            polymer = f"L{self.groups}"
        return self.entities.setdefault(polymer, len(self.entities) + 1), polymer


@functools.lru_cache(4096)
def _word(text: str) -> str:
    """A value of mmCIF, in quotes where it needs them."""
    if text in (".", "?") or re.fullmatch(r"[A-Za-z0-9+.-][^\s'\"]*", text):
        reserved = re.match(r"(?i)(data_|save_|loop_|stop_|global_)", text)
        return text if not reserved else f"'{text}'"
    if "\n" in text or "\r" in text:
        raise ValueError(f"{text!r:.60} cannot be written to an mmCIF file: it has a line break")
    return f'"{text}"' if "'" in text else f"'{text}'"


def _native(item: Item, bfactors: Sequence[float] | None) -> Any:
    if isinstance(item, Protein):
        return to_structure(item, str(item.note.get("name", "design")), bfactors)
    if getattr(item, "level", None) != "S":
        raise ValueError(f"a Protein or a Structure of Bio.PDB can be written; got {type(item).__name__}")
    if bfactors is not None:
        raise ValueError("bfactors belong to a Protein; the atoms of a Structure have their own")
    return item


def _placeholders(structure: Any) -> list[tuple[str, str, str]]:
    """(chain, first, last) of each run of residues without a type, in the first model."""
    runs: list[tuple[str, str, str]] = []
    for chain in next(iter(structure), ()):
        open_at = None
        for residue in chain:
            _, number, insertion = residue.id
            if not residue.xtra.get("placeholder"):
                open_at = None
                continue
            code = insertion.strip()
            if open_at is not None and number == open_at + 1 and not code:
                runs[-1] = (*runs[-1][:2], str(number))
            else:
                runs.append((chain.id.strip() or ".", f"{number}{code}", f"{number}{code}"))
            open_at = number if not code else None
    return runs


def _residues(entry: Any) -> list[Any]:
    """The residues of one place, several where it is a point mutation."""
    return list(entry.disordered_get_list()) if entry.is_disordered() == 2 else [entry]


def _sites(residue: Any) -> Iterator[Any]:
    for atom in residue:
        yield from atom.disordered_get_list() if atom.is_disordered() == 2 else (atom,)


def _position(site: Any) -> list[float]:
    if not np.isfinite(site.coord).all():
        raise ValueError(f"atom {site.get_name()} of {site.get_parent().resname} has no finite position")
    return [float(x) for x in site.coord]


def _finite(value: Any, otherwise: float) -> float:
    return float(value) if value is not None and np.isfinite(value) else otherwise


def _plain(note: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): plain(value) for name, value in note.items()}


def _write(path: str | Path, text: Callable[[], str]) -> Path:
    data = text().encode("utf-8")
    return write_atomic(path, gzip.compress(data, mtime=0) if Path(path).suffix.lower() == ".gz" else data)
