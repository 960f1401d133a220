"""Files of many molecules cut into records, one at a time; a damaged record does not take its neighbours along.

    SDF       ends at a line $$$$; a record longer than RECORD_BYTES is skipped to there
    XYZ       frames: a line with the number of atoms, a comment, the atoms. After a damaged frame the next line
              that is one integer begins a frame
    SMILES    a line each, the SMILES first and a name after it; # begins a comment; or the column "smiles" of a csv

Files may be compressed by gzip. One that ends within its compressed data gives what was whole, and a failure.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Frame", "Piece", "sdf_pieces", "smiles_pieces", "xyz_pieces"]

RECORD_BYTES = 8 << 20
LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Frame:
    """Atoms of an XYZ file.

    Attributes:
        comment: its second line.
        symbols: of the elements, or atomic numbers.
        positions: rows of three numbers as text, Å.
    """

    comment: str
    symbols: tuple[str, ...]
    positions: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Piece:
    """A record before chemistry.

    Attributes:
        place: "record 3", "line 12".
        content: lines of a mol block and its data; a :class:`Frame`; (SMILES, name); or the reason why there is none.
        note: what of the file was passed over before it.
    """

    place: str
    content: list[str] | Frame | tuple[str, str] | ValueError
    note: str = ""


class _Broken(ValueError):
    """The file cannot be read on."""


def _lines(path: Path) -> Iterator[str]:
    """Lines without their ends; raises :class:`_Broken` where decompression fails."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as file:
            while line := file.readline(LINE_BYTES):
                yield line.rstrip("\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _Broken(f"the compressed file is damaged or cut short here ({error})") from None


def sdf_pieces(path: Path) -> Iterator[Piece]:
    """The records of an SDF or a mol file, as lines."""
    number, size = 1, 0
    held: list[str] = []
    try:
        for line in _lines(path):
            if line.startswith("$$$$"):
                yield _sdf_piece(number, held, size)
                number, held, size = number + 1, [], 0
                continue
            size += len(line) + 1
            if size <= RECORD_BYTES:
                held.append(line)
    except _Broken as error:
        yield Piece(f"record {number}", error)
        return
    if any(line.strip() for line in held):
        yield _sdf_piece(number, held, size)


def _sdf_piece(number: int, lines: list[str], size: int) -> Piece:
    too_long = ValueError(f"is longer than {RECORD_BYTES >> 20} MiB")
    return Piece(f"record {number}", lines if size <= RECORD_BYTES else too_long)


def xyz_pieces(path: Path) -> Iterator[Piece]:
    """The frames of an XYZ file."""
    frame, passed = 0, 0
    lines = enumerate(_lines(path), 1)
    ahead: tuple[int, str] | None = None
    try:
        while (here := ahead or next(lines, None)) is not None:
            ahead = None
            at, line = here
            if not line.strip():
                continue
            if not line.strip().isdecimal():
                if frame == 0 and not passed:
                    yield Piece(
                        "frame 1", ValueError(f"line {at}: {line.strip()!r:.40} is not a number of atoms")
                    )
                    frame = 1
                passed += 1
                continue
            frame += 1
            note = f"{passed} lines before it belong to no frame" if passed else ""
            passed = 0
            content, ahead = _frame(int(line), next(lines, (at, ""))[1], lines)
            yield Piece(f"frame {frame}", content, note)
    except _Broken as error:
        yield Piece(f"frame {frame + 1}", error)
        return
    if passed and frame:
        yield Piece(f"after frame {frame}", ValueError(f"{passed} lines belong to no frame"))


def _frame(
    count: int, comment: str, lines: Iterator[tuple[int, str]]
) -> tuple[Frame | ValueError, tuple[int, str] | None]:
    """The atoms that follow, or the reason why not; and a line that was read but belongs to the next frame."""
    symbols, positions = [], []
    for k in range(count):
        at, line = next(lines, (0, ""))
        fields = line.split()
        if len(fields) < 4:
            if not at:
                return ValueError(f"the file ends after {k} of {count} atoms"), None
            follows = (at, line) if line.strip().isdecimal() else None
            return ValueError(
                f"line {at} is not an atom: {line.strip()!r:.40}; {count} were announced"
            ), follows
        symbols.append(fields[0])
        positions.append((fields[1], fields[2], fields[3]))
    return Frame(comment, tuple(symbols), tuple(positions)), None


def smiles_pieces(path: Path) -> Iterator[Piece]:
    """The SMILES of a list, or of a csv file's column "smiles".

    Raises:
        ValueError: a csv without that column.
    """
    at = 0
    try:
        if ".csv" in path.suffixes:
            yield from _csv_pieces(path)
            return
        for at, line in enumerate(_lines(path), 1):
            fields = line.strip().split(maxsplit=1)
            if not fields or fields[0].startswith("#") or (at == 1 and fields[0].lower() == "smiles"):
                continue
            name = fields[1] if len(fields) > 1 else ""
            yield Piece(f"line {at}", (fields[0], name))
    except _Broken as error:
        yield Piece(f"line {at + 1}", error)


def _csv_pieces(path: Path) -> Iterator[Piece]:
    reader = csv.DictReader(_lines(path))
    columns = {str(name).strip().lower(): name for name in reader.fieldnames or ()}
    if "smiles" not in columns:
        raise ValueError(f"{path} has no column smiles; its columns are {', '.join(columns) or 'none'}")
    for number, row in enumerate(reader, 1):
        text, name = (str(row.get(columns.get(key, "")) or "").strip() for key in ("smiles", "name"))
        said = str(row.get(columns.get("failure", "")) or "").strip()
        yield Piece(f"row {number}", ValueError(said or "is empty") if not text else (text, name))
