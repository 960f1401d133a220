"""Numbers that go with molecules: data items of an SDF, or columns of a csv file beside any other.

    properties=["homo", "dipole"]                  an SDF's items of these names
    properties={"homo": "E(HOMO) / eV"}            the condition's own name, and that of the item or column
    labels="labels.csv"                            columns of this file in place of items

The first column of a csv file says which molecule a line is about: its title names an array of the archive, or an item
of the SDF records; ``name`` is the record's own first line, and ``record`` its number in the file, from 1. What is
empty, or has no line, is a molecule without that property, which trains as one of which nothing was said. What is there
must be a number.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langevin.core.errors import unknown
from langevin.modalities.molecule.descriptors import DESCRIPTORS

__all__ = ["NAME", "RECORD", "Labels", "listed", "named", "number", "numbers", "read_labels"]

NAME, RECORD = "name", "record"  # keys that every record has
LARGEST = 1e30  # of a value: training has single precision
_SHOWN = 10


def named(properties: Sequence[str] | Mapping[str, str] | str | None) -> dict[str, str]:
    """The item or column of each property, by the name of the condition.

    Raises:
        ValueError: a name that stands twice, that a descriptor has, or that is no identifier, as a keyword of
            ``model.sample`` and a flag must be.
    """
    if isinstance(properties, Mapping):
        pairs = [(str(name), str(column)) for name, column in properties.items()]
    else:
        listed = (properties,) if isinstance(properties, str) else properties or ()
        pairs = [(str(name), str(name)) for name in listed]
    for name, column in pairs:
        if name in DESCRIPTORS:
            raise ValueError(
                f"the property {name!r} has the name of a descriptor; give it another: "
                f"properties={{my_{name}: {column}}}, or descriptors=[{name}] to have it computed"
            )
        if not name.isidentifier():
            raise ValueError(
                f"a property is asked for by its name, which {name!r} cannot be; give it one of letters, digits and _: "
                f"properties={{value: {column}}}"
            )
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"a property stands twice among {names}")
    return dict(pairs)


def number(text: Any, name: str) -> float | None:
    """What an item or a field says; None where it is empty.

    Raises:
        ValueError: no number, or one that is not finite in single precision.
    """
    said = str(text).strip()
    if not said:
        return None
    try:
        value = float(said)
    except ValueError:
        value = None
    if value is None or "_" in said:
        raise ValueError(f"{name} is {said!r:.40}, not a number; say nothing where there is none")
    if not abs(value) < LARGEST:
        raise ValueError(f"{name} is {said:.40}, not a finite number; say nothing where there is none")
    return value


@dataclass(frozen=True)
class Labels:
    """A csv file's numbers.

    Attributes:
        path: of the file.
        key: title of its first column.
        rows: values by the text of that column, in the order of ``names``.
        names: conditions.
    """

    path: Path
    key: str
    rows: Mapping[str, Sequence[float | None]]
    names: tuple[str, ...]

    def of(self, keys: Iterable[Any]) -> dict[str, list[float | None]]:
        """Values of molecules with these keys, by condition.

        Raises:
            ValueError: no molecule has a line.
        """
        wanted = [str(key).strip() for key in keys]
        if not any(key in self.rows for key in wanted):
            raise ValueError(
                f"{self.path}: no molecule has a line; its column {self.key!r} begins {', '.join([*self.rows][:3])}, "
                f"and that of the molecules {', '.join(wanted[:3])}"
            )
        empty = (None,) * len(self.names)
        found = [self.rows.get(key, empty) for key in wanted]
        return {name: [row[i] for row in found] for i, name in enumerate(self.names)}


def read_labels(path: str | Path, columns: Mapping[str, str]) -> Labels:
    """The columns of a csv file.

    Args:
        path: the file; its first line has the titles.
        columns: title by condition.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a title that it lacks, a line of another length, a value that is no number, or a molecule with
            two lines; the message has the line's number.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"labels: no file {str(path)!r}")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        titles = [title.strip() for title in next(reader, [])]
        for column in columns.values():
            if column not in titles[1:]:
                raise ValueError(f"{path}: {unknown('column', column, titles[1:])}")
        places = {name: titles.index(column, 1) for name, column in columns.items()}
        rows: dict[str, tuple[float | None, ...]] = {}
        wrong: list[str] = []
        for fields in reader:
            if not fields:
                continue
            where, key = f"line {reader.line_num}", fields[0].strip()
            if len(fields) != len(titles):
                wrong.append(f"{where} has {len(fields)} fields; the first line has {len(titles)}")
            elif key in rows:
                wrong.append(f"{where} is a second one about {key!r:.40}")
            else:
                said = {name: fields[at] for name, at in places.items()}
                rows[key] = tuple(numbers(said, where, wrong).values())
    if wrong:
        raise ValueError(f"{path}: {listed(wrong)}")
    return Labels(path, titles[0], rows, tuple(columns))


def numbers(said: Mapping[str, str], where: str, wrong: list[str]) -> dict[str, float | None]:
    """The numbers of a record, by condition; what is none joins ``wrong`` as a line that begins with ``where``."""
    found: dict[str, float | None] = {}
    for name, text in said.items():
        try:
            found[name] = number(text, name)
        except ValueError as error:
            wrong.append(f"{where}: {error}")
            found[name] = None
    return found


def listed(lines: Sequence[str]) -> str:
    """The first of many lines, and how many more there are."""
    more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{len(lines)} wrong values:" + "".join(f"\n  {line}" for line in lines[:_SHOWN]) + more
