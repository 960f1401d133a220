"""What stands in a mol block, read strictly before rdkit reads it.

rdkit is lenient where a stranger's file should not be: it takes ``1,299`` for 1, fills missing fields with
zeros, and names no line when it gives up. Here every count, coordinate and bond of a V2000 or V3000 block is looked at
as text, so that a reason names the line; the atoms are counted before anything is built.

    V2000   line 4: aaabbb…V2000; atoms in columns 0–10, 10–20, 20–30 (x, y, z) and 31–34 (symbol);
            bonds in columns 0–3, 3–6 (atoms, from 1) and 6–9 (order)
    V3000   "M  V30 COUNTS a b …"; "M  V30 index symbol x y z …"; "M  V30 index order a b …"; a line that ends in
            "-" goes on in the next

The format: CTfile Formats, BIOVIA, 2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from langevin.modalities.molecule.atoms import MAX_ATOMS

__all__ = ["check_block", "properties"]

_NAMES = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo "
    "Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl "
    "Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og "
    "CL BR D T R A AH Q QH X XH M MH L LP Pol Mod"
)  # the last line: what else the format and rdkit know
_SYMBOLS = frozenset(_NAMES.split())


def check_block(lines: list[str], most: int = MAX_ATOMS) -> int:
    """The number of atoms of a sound mol block.

    Args:
        lines: of the record, from its title on.
        most: atoms that are taken.

    Raises:
        ValueError: what is wrong with it, with the number of the line within the record (from 1).
    """
    if len(lines) < 4 or not any(line.strip() for line in lines):
        raise ValueError(
            "is empty" if not any(line.strip() for line in lines) else "ends before its counts line"
        )
    ends = sum(line.startswith("M  END") for line in lines)
    if ends > 1:
        raise ValueError(f"holds {ends} structures; a line $$$$ between them is missing")
    if "V3000" in lines[3]:
        atoms = _check_v3000(lines, most)
    elif "V2000" in lines[3] or not lines[3][34:].strip():
        atoms = _check_v2000(lines, most)
    else:
        raise ValueError(f"line 4 is no counts line: {lines[3].strip()!r:.60}")
    if not ends:
        raise ValueError("has no line M  END; it is cut short")
    return atoms


def properties(lines: list[str]) -> dict[str, str]:
    """The data items of an SDF record by name; values of several lines are joined by newlines."""
    found: dict[str, str] = {}
    name: str | None = None
    for line in lines:
        if line.startswith(">"):
            start, stop = line.find("<"), line.rfind(">")
            name = line[start + 1 : stop] if 0 < start < stop else None
            if name:
                found[name] = ""
        elif not line.strip():
            name = None
        elif name:
            found[name] = f"{found[name]}\n{line}" if found[name] else line
    return found


def _check_v2000(lines: list[str], most: int) -> int:
    atoms, bonds = (_integer(lines[3][at : at + 3], 4, "a count of atoms and bonds") for at in (0, 3))
    _size(atoms, most)
    if len(lines) < 4 + atoms + bonds:
        raise ValueError(f"ends after {len(lines)} lines; {atoms} atoms and {bonds} bonds were announced")
    for k in range(4, 4 + atoms):
        line = lines[k]
        if line.startswith("M  ") or not line[31:34].strip():
            raise ValueError(f"line {k + 1} is not an atom: {line.strip()!r:.60}; {atoms} were announced")
        _position([line[0:10], line[10:20], line[20:30]], k + 1)
        _symbol(line[31:34].strip(), k + 1)
    for k in range(4 + atoms, 4 + atoms + bonds):
        line = lines[k]
        if line.startswith("M  "):
            raise ValueError(f"line {k + 1} is not a bond: {line.strip()!r:.60}; {bonds} were announced")
        _bond(line[6:9], line[0:3], line[3:6], atoms, k + 1)
    return atoms


def _check_v3000(lines: list[str], most: int) -> int:
    section, atoms, bonds, ended = "", None, None, False
    seen: set[int] = set()
    found = 0
    for number, text in _joined(lines):
        fields = text.split()
        if not fields:
            continue
        if fields[0] == "COUNTS":
            if len(fields) < 3:
                raise ValueError(f"line {number}: COUNTS needs two numbers")
            atoms, bonds = (_integer(f, number, "a count of atoms and bonds") for f in fields[1:3])
            _size(atoms, most)
        elif fields[0] in ("BEGIN", "END"):
            section = fields[1] if fields[0] == "BEGIN" and len(fields) > 1 else ""
            ended = ended or fields == ["END", "CTAB"]
        elif section == "ATOM":
            if len(fields) < 5:
                raise ValueError(f"line {number} is not an atom: {text.strip()!r:.60}")
            seen.add(_integer(fields[0], number, "the index of an atom"))
            _position(fields[2:5], number)
            _symbol(fields[1], number)
        elif section == "BOND":
            if len(fields) < 4:
                raise ValueError(f"line {number} is not a bond: {text.strip()!r:.60}")
            found += 1
            ends = [_integer(f, number, "the index of an atom") for f in fields[2:4]]
            if not seen.issuperset(ends):
                raise ValueError(
                    f"line {number}: a bond joins atoms {ends[0]} and {ends[1]}, not both listed"
                )
    if atoms is None:
        raise ValueError("has no line COUNTS")
    if len(seen) != atoms or found != bonds:
        raise ValueError(f"lists {len(seen)} atoms and {found} bonds; {atoms} and {bonds} were announced")
    if not ended:
        raise ValueError("has no line END CTAB; it is cut short")
    return atoms


def _joined(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The contents of V30 lines with their numbers, continued lines joined."""
    held, start = "", 0
    for number, line in enumerate(lines, 1):
        if line.startswith("M  V30"):
            start = start if held else number
            held += line[7:]
            if held.rstrip().endswith("-"):
                held = held.rstrip()[:-1] + " "
                continue
            yield start, held
            held = ""


def _integer(text: str, line: int, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"line {line}: {text.strip()!r:.20} is not {what}") from None


def _size(atoms: int, most: int) -> None:
    if atoms < 1:
        raise ValueError("has no atoms")
    if atoms > most:
        raise ValueError(f"has {atoms} atoms; at most {most} are taken")


def _symbol(text: str, line: int) -> None:
    if text.isalpha() and text not in _SYMBOLS:
        raise ValueError(f"line {line}: {text!r:.20} is not an element")


def _position(fields: list[str], line: int) -> None:
    for field in fields:
        try:
            value = float(field)
        except ValueError:
            raise ValueError(f"line {line}: {field.strip()!r:.20} is not a coordinate") from None
        if not math.isfinite(value):
            raise ValueError(f"line {line}: a coordinate is {field.strip()}, not a number")


def _bond(order: str, first: str, second: str, atoms: int, line: int) -> None:
    i, j = (_integer(f, line, "the number of an atom") for f in (first, second))
    if not (1 <= i <= atoms and 1 <= j <= atoms) or i == j:
        raise ValueError(f"line {line}: a bond joins atoms {i} and {j} of {atoms}")
    _integer(order, line, "the order of a bond")
