"""Files of macromolecular structures: PDB and mmCIF, ``.gz`` of both, by Biopython's parsers.

A file is a stranger's: its size, before and after unpacking, its number of atoms and the length of its lines are
limited, lines that were cut off are errors, and whatever else a parser stumbles over becomes a ValueError. Of an mmCIF
file only the categories that are used are parsed, so that what else it carries costs nothing. Nothing in a file is run.
"""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langevin import optional
from langevin.core.errors import unknown

__all__ = [
    "MOST_ATOMS",
    "MOST_BYTES",
    "SUFFIXES",
    "Missing",
    "Parsed",
    "category",
    "format_of",
    "parse",
    "read_text",
]

SUFFIXES = {".pdb": "pdb", ".ent": "pdb", ".cif": "mmcif", ".mmcif": "mmcif"}
MOST_BYTES = 256 << 20  # of the text
MOST_ATOMS = 500_000  # of the models that are read; Biopython takes some 15 µs for each
LONGEST_LINE = 65_536  # characters; the formats allow 80 and 2,048, and remarks of some programs are longer
IDS = ("author", "label")

_UNOBSERVED = "_pdbx_unobs_or_zero_occ_residues"
_ENDS = re.compile(r"_|#|(?i:(loop|data|save|stop)_)")  # of a category
_DEFAULTS = {  # of columns that Biopython's parser needs and small programs leave out
    "group_PDB": "ATOM",
    "id": "0",
    "label_alt_id": ".",
    "pdbx_PDB_ins_code": "?",
    "occupancy": "1.0",
    "B_iso_or_equiv": "0.0",
    "pdbx_PDB_model_num": "1",
}


@dataclass(frozen=True)
class Missing:
    """A residue that the authors of a file say was not seen; blanks are empty texts."""

    chain: str
    number: int
    insertion: str
    name: str


@dataclass(frozen=True, eq=False)
class Parsed:
    """What a file holds.

    Attributes:
        structure: Biopython's ``Structure``.
        models: how many the file has; ``structure`` may have the first only.
        skipped: how many atoms or residues Biopython left out because they stand there twice.
        missing: residues that were not seen, of the first model.
    """

    structure: Any
    models: int
    skipped: int
    missing: tuple[Missing, ...]


def format_of(path: str | Path) -> str:
    """ "pdb" or "mmcif", by the suffix of a file, which may be followed by ``.gz``.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = "".join(suffixes[-2:-1] if suffixes[-1:] == [".gz"] else suffixes[-1:])
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: {unknown('suffix of a structure', suffix or path.name, SUFFIXES)}")
    return SUFFIXES[suffix]


def read_text(path: str | Path) -> str:
    """The text of a file, unpacked where its name ends in ``.gz``; never more of it than is allowed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: too large, damaged, empty, or no text; the message does not name the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    packed = path.suffix.lower() == ".gz"
    try:
        with (gzip.open if packed else open)(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"the archive is damaged or cut off ({error})") from None
    if len(data) > MOST_BYTES:
        raise ValueError(f"holds more than {MOST_BYTES >> 20} MiB of text")
    if b"\0" in data[:4096]:
        raise ValueError("is not a text file")
    text = data.decode("utf-8", "replace")
    if not text.strip():
        raise ValueError("is empty")
    return text


def parse(text: str, format: str, every_model: bool = False, ids: str = "author") -> Parsed:
    """A structure from the text of a file.

    Args:
        text: of the file.
        format: "pdb" or "mmcif".
        every_model: parse all models, not the first only.
        ids: chains and numbers of an mmCIF file: the "author"'s, as papers have them, or the "label"s, which run
            without gaps. The former where a file has one kind only.

    Raises:
        ImportError: Biopython is not installed.
        ValueError: no atoms, too many, lines that were cut off, or whatever else cannot be read; the message does not
            name the file.
    """
    optional.biopython()
    if ids not in IDS:
        raise ValueError(unknown("kind of ids", ids, IDS))
    return _of_pdb(text, every_model) if format == "pdb" else _of_mmcif(text, every_model, ids)


def category(text: str, name: str) -> dict[str, list[str]]:
    """The columns of an mmCIF category, by their names; empty where the text has none.

    Args:
        text: of the file.
        name: as ``_atom_site``.

    Raises:
        ValueError: columns of different lengths, or too long a line.
    """
    if f"{name}." not in text:
        return {}
    columns, rows, loop = _category(text.splitlines(), name)
    return _columns(name, columns, rows, loop)


def _of_pdb(text: str, every_model: bool) -> Parsed:
    """The coordinates after the first model are parsed where they are asked for only."""
    from Bio.PDB.PDBParser import PDBParser

    kept, models, atoms, over = [], 0, 0, False
    for place, line in enumerate(text.splitlines(), 1):
        record = line[:6]
        models += record == "MODEL "
        if len(line) > LONGEST_LINE:
            raise ValueError(f"line {place} has {len(line)} characters; those of a PDB file have 80")
        if over:
            continue
        if record in ("ATOM  ", "HETATM"):
            atoms += 1
            if len(line.rstrip()) < 54:
                raise ValueError(f"line {place} is cut off: {line.strip()!r:.80}")
        elif record not in ("MODEL ", "ENDMDL", "TER   ") and atoms:
            continue  # ANISOU, CONECT and the like
        over = record == "ENDMDL" and not every_model
        kept.append(line + "\n")
    if not atoms:
        raise ValueError("has no ATOM or HETATM records")
    _few(atoms)
    structure, skipped = _parsed(PDBParser(PERMISSIVE=True), "".join(kept))
    missing = tuple(
        Missing(
            str(row.get("chain") or "").strip(),
            int(row["ssseq"]),
            str(row.get("insertion") or "").strip(),
            str(row.get("res_name") or "").strip(),
        )
        for row in (structure.header or {}).get("missing_residues", ())
        if row.get("ssseq") is not None and row.get("model") in (None, 1)
    )
    return Parsed(structure, max(models, 1), skipped, missing)


def _of_mmcif(text: str, every_model: bool, ids: str) -> Parsed:
    from Bio.PDB.MMCIFParser import MMCIFParser

    if "_atom_site." not in text:
        raise ValueError("has no _atom_site, so no coordinates")
    lines = text.splitlines()
    columns, rows, loop = _category(lines, "_atom_site")
    models = 1
    if loop and (first := _first_model(columns, rows, every_model)):
        rows, models = first
        absent = {name: value for name, value in _DEFAULTS.items() if name not in columns}
        columns = [*columns, *absent]
        rows = [" ".join((row, *absent.values())) for row in rows]
    _few(len(rows))
    by_author = "auth_asym_id" in columns and (ids == "author" or "label_asym_id" not in columns)
    numbered = "auth_seq_id" in columns and (ids == "author" or "label_seq_id" not in columns)
    parser = MMCIFParser(auth_chains=by_author, auth_residues=numbered)
    structure, skipped = _parsed(parser, _text("_atom_site", columns, rows, loop))
    missing = category(text, _UNOBSERVED)
    return Parsed(structure, max(models, len(structure)), skipped, _unobserved(missing))


def _first_model(
    columns: Sequence[str], rows: Sequence[str], every_model: bool
) -> tuple[list[str], int] | None:
    """(the rows of the first model or of all, the number of models); None where a line is not an atom."""
    number = columns.index("pdbx_PDB_model_num") if "pdbx_PDB_model_num" in columns else None
    kept: list[str] = []
    models: dict[str, None] = {}
    for row in rows:
        cells = row.split()
        if len(cells) != len(columns):
            return None
        model = "1" if number is None else cells[number]
        models[model] = None
        if len(models) == 1 or every_model or model == next(iter(models)):
            kept.append(row)
            if len(kept) > MOST_ATOMS:
                break
    return kept, max(len(models), 1)


def _few(atoms: int) -> None:
    if atoms > MOST_ATOMS:
        raise ValueError(f"has {atoms} atoms or more; at most {MOST_ATOMS} are read")


def _parsed(parser: Any, text: str) -> tuple[Any, int]:
    """What a parser makes of a text, and what it left out; its stumbling, of whatever kind, is a ValueError."""
    skipped = 0

    def count(message: Any, *_: Any, **__: Any) -> None:
        nonlocal skipped
        skipped += "Exception ignored" in str(message)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = count
        try:
            return parser.get_structure("", io.StringIO(text)), skipped
        except IndexError:
            raise ValueError("is cut off: a row of its atoms lacks columns") from None
        except KeyError as error:
            raise ValueError(f"lacks {error.args[0] if error.args else 'a column'}") from None
        except Exception as error:  # a parser of strangers' files may raise anything
            raise ValueError(
                f"cannot be read as a structure ({str(error) or type(error).__name__:.200})"
            ) from None


def _unobserved(columns: dict[str, list[str]]) -> tuple[Missing, ...]:
    if not {"auth_asym_id", "auth_seq_id", "auth_comp_id"} <= {*columns}:
        return ()
    count = len(columns["auth_seq_id"])
    rows = zip(
        columns["auth_asym_id"],
        columns["auth_seq_id"],
        columns.get("PDB_ins_code", ["?"] * count),
        columns["auth_comp_id"],
        columns.get("PDB_model_num", ["1"] * count),
    )
    return tuple(
        Missing(chain, int(number), "" if code in ("?", ".") else code, name)
        for chain, number, code, name, model in rows
        if model == "1" and re.fullmatch(r"-?\d{1,9}", number)
    )


def _category(lines: Sequence[str], name: str) -> tuple[list[str], list[str], bool]:
    """(columns, lines of values, whether it is a loop) of the first category of that name."""
    first = next((k for k, line in enumerate(lines) if line.lstrip().startswith(f"{name}.")), len(lines))
    before = next((lines[k].strip().lower() for k in range(first - 1, -1, -1) if lines[k].strip()), "")
    loop = before == "loop_"
    columns: list[str] = []
    rows: list[str] = []
    inside = False
    for place, line in enumerate(lines[first:], first + 1):
        word = line.strip()
        if len(line) > LONGEST_LINE:
            raise ValueError(
                f"line {place} has {len(line)} characters; those of an mmCIF file have at most 2048"
            )
        if line.startswith(";"):
            inside = not inside
        elif not inside and word.startswith(f"{name}.") and not (loop and rows):
            columns.append(word.split()[0][len(name) + 1 :])
            if not loop:
                rows.append(word)
            continue
        elif not inside and _ENDS.match(word):
            break
        if word:
            rows.append(line)
    return columns, rows, loop


def _text(name: str, columns: Sequence[str], rows: Sequence[str], loop: bool) -> str:
    """An mmCIF file of one category."""
    head = ["loop_", *(f"{name}.{column}" for column in columns)] if loop else []
    return "\n".join(["data_x", *head, *rows, "#", ""])


def _columns(name: str, columns: Sequence[str], rows: Sequence[str], loop: bool) -> dict[str, list[str]]:
    from Bio.PDB.MMCIF2Dict import MMCIF2Dict

    try:
        found = MMCIF2Dict(io.StringIO(_text(name, columns, rows, loop)))
    except Exception as error:  # a parser of strangers' files may raise anything
        raise ValueError(f"{name} cannot be read ({str(error) or type(error).__name__:.200})") from None
    table = {column: list(found.get(f"{name}.{column}", ())) for column in columns}
    if len({len(values) for values in table.values()}) > 1:
        raise ValueError(f"{name} is cut off: its columns have different lengths")
    return table
