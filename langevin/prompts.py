"""Batches of prompts: a file with a row for each, and the samples that come of it.

    prompt,seed,seconds                                rows = lv.prompts.read("prompts.csv", model)
    "the digit seven, spoken by theo",7,               samples = lv.prompts.sample(model, rows, steps=20)
    three,,0.5                                         samples.save("out/")

A table (.csv, .tsv) has a column for each condition that rows give, for each field of the modality's spec (seconds,
height …), and for ``seed``, ``n`` and ``negative``; an empty cell says nothing. A text file (.txt) has a prompt on each
line.

A row with a seed gives samples 0 … n − 1 of that seed, whatever the other rows are. A row without one gives samples of the
seed of the run, under the numbers of their places in the output. Rows of one shape are drawn together, which changes no
sample.
"""

from __future__ import annotations

import csv
import io
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langevin.core.errors import unknown

if TYPE_CHECKING:
    from langevin.core.model import Model
    from langevin.modalities.samples import Samples

__all__ = ["OWN", "read", "rows_of", "sample"]

OWN = ("seed", "n", "negative")  # columns that every model has
BYTES = 1 << 26
TABLES = {".csv": ",", ".tsv": "\t"}
TRUTHS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
ALONE = ("first", "noise", "like", "keep")  # of model.sample; they do not go with rows


def read(path: str | Path, model: Model) -> list[dict[str, Any]]:
    """The rows of a file for a model; see :func:`rows_of`."""
    return rows_of(path, model.conditions, model.modality.spec)


def rows_of(path: str | Path, conditions: Sequence[str], spec: type) -> list[dict[str, Any]]:
    """The rows of a file, each a mapping of what it says.

    Args:
        path: .csv, .tsv or .txt, in UTF-8.
        conditions: names of what the model takes; their values stay texts, which embedders read.
        spec: the modality's dataclass; values take the types of its fields.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, no rows, not UTF-8, NUL bytes, more than 64 MiB; a column that the model does not have,
            or a cell that is not of its column's kind. The message names the row, counted as lines are.
    """
    path = Path(path)
    text = _text(path)
    if path.suffix.lower() == ".txt":
        if "prompt" not in conditions:
            takes = f"it takes {', '.join(conditions)}" if conditions else "it is not conditional"
            raise ValueError(f"{path} is a list of prompts, and this model has no prompt; {takes}")
        rows = [{"prompt": line.strip()} for line in text.split("\n") if line.strip()]
    elif path.suffix.lower() in TABLES:
        rows = list(_table(path, text, conditions, spec))
    else:
        raise ValueError(f"{path}: rows come from {', '.join((*TABLES, '.txt'))}")
    if not rows:
        raise ValueError(f"{path} has no rows")
    return rows


def sample(
    model: Model, rows: Sequence[Mapping[str, Any]], *, seed: int = 0, n: int = 1, **settings: Any
) -> Samples:
    """Samples of every row, in the order of the rows.

    Args:
        model: that draws.
        rows: of :func:`read`, or mappings of the same names.
        seed: of rows that have none.
        n: samples of rows that do not say how many.
        settings: keywords of ``model.sample`` for all rows (steps, guidance, batch_size …); conditions, ``negative`` and
            fields of the spec are those of rows that say nothing of them.

    Returns:
        The samples; where rows differ in shape, without their states. The run's option "prompts" holds the rows.

    Raises:
        ValueError: no rows, one with a name or value that the model does not take, or what ``sample`` refuses.
    """
    from langevin.core.request import checked_seed
    from langevin.modalities.samples import plain

    if not rows:
        raise ValueError("there are no rows to sample")
    for name in ALONE:
        if settings.get(name) is not None:
            raise ValueError(f"{name} does not go with rows of prompts")
    shapes = [f.name for f in fields(model.modality.spec)]
    names = (*model.conditions, *shapes, *OWN)
    usual = {name: settings.pop(name) for name in list(settings) if name in names}
    groups: dict[Any, list[_One]] = {}
    place = 0
    for number, row in enumerate(rows, 1):
        said = {**usual, **{name: value for name, value in row.items() if value is not None}}
        try:
            own, count = said.pop("seed", None), said.pop("n", n)
            for name in said:
                if name not in names:
                    raise ValueError(unknown("column", name, names))
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(f"n must be a whole number of at least 1, got {count!r}")
            start = checked_seed(seed if own is None else own)
            model.parse({name: [said[name]] for name in model.conditions if name in said})
        except (TypeError, ValueError) as error:
            raise ValueError(f"row {number}: {error}") from None
        if isinstance(said.get("negative"), str):
            said["negative"] = {"prompt": said["negative"]}
        alike = tuple((name, _kind(said[name], name in shapes)) for name in names if name in said)
        for k in range(count):
            groups.setdefault(alike, []).append(_One(place, start, place if own is None else k, said))
            place += 1
    made, order = [], []
    for ones in groups.values():
        made.append(_drawn(model, ones, shapes, settings))
        order += [one[0] for one in ones]
    record = {"rows": plain(list(rows)), "seed": seed, "n": n, "usual": plain(usual), "count": place}
    return _whole(made, order, {"prompts": record})


class _One(typing.NamedTuple):
    """A sample to be drawn: its place in the output, its seed, its number under it, and what is said of it."""

    place: int
    seed: int
    number: int
    said: Mapping[str, Any]


def _kind(value: Any, whole: bool) -> str:
    """In what values must agree for their samples to be drawn together: all of it, or the names of a mapping."""
    return repr(value) if whole else ", ".join(value) if isinstance(value, Mapping) else ""


def _drawn(model: Model, ones: Sequence[_One], shapes: Sequence[str], settings: Mapping[str, Any]) -> Samples:
    """Samples that agree in what is said of them, drawn together."""
    first = ones[0].said
    asked: dict[str, Any] = {
        name: [one.said[name] for one in ones] for name in model.conditions if name in first
    }
    asked |= {name: first[name] for name in shapes if name in first}
    if "negative" in first:
        asked["negative"] = {name: [one.said["negative"][name] for one in ones] for name in first["negative"]}
    seeds, numbers = [one.seed for one in ones], [one.number for one in ones]
    return model.sample(len(ones), seed=seeds, first=numbers, **asked, **settings)


def _whole(made: Sequence[Samples], order: Sequence[int], options: Mapping[str, Any]) -> Samples:
    """The samples of all groups as one run, in the order of their places."""
    from langevin.modalities.samples import Samples

    if len(made) == 1:
        return made[0].joined([], options)
    ranks = sorted(range(len(order)), key=order.__getitem__)
    bare = [Samples(p.items, p.modality, p.run, None, None, p.conditions, p.indices, p.scores) for p in made]
    whole = bare[0].joined(bare[1:], options)
    run = whole.run
    spec = {k: v for k, v in run.spec.items() if all(p.run.spec.get(k) == v for p in made)}
    same = {k: v for k, v in run.options.items() if all(p.run.options.get(k) == v for p in made)}
    whole.run = replace(run, spec=spec, negative=None, options=same | dict(options))
    return whole.chosen(ranks)


# --- files ------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    with path.open("rb") as file:
        data = file.read(BYTES + 1)
    if len(data) > BYTES:
        raise ValueError(f"{path} is larger than {BYTES >> 20} MiB, the most that a file of prompts may be")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}: row {line} is not UTF-8 (byte {error.start}); save the file as UTF-8"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"{path}: row {line} holds a NUL byte; this is no text")
    return text


def _table(path: Path, text: str, conditions: Sequence[str], spec: type) -> Iterator[dict[str, Any]]:
    """The rows of a table."""
    hints = typing.get_type_hints(spec)
    shapes = {f.name: hints[f.name] for f in fields(spec)}
    allowed = (*conditions, *OWN, *shapes)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=TABLES[path.suffix.lower()], strict=True)
    head: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}: row {reader.line_num}"
            if head is None:
                head = [cell.strip() for cell in cells]
                _check_head(head, allowed, where)
                continue
            if len(cells) != len(head):
                raise ValueError(
                    f"{where} has {len(cells)} cells for {len(head)} columns; quote what holds commas"
                )
            said = {name: cell for name, cell in zip(head, cells) if cell.strip()}
            try:
                yield {name: _value(name, cell, shapes) for name, cell in said.items()}
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
    except csv.Error as error:
        raise ValueError(f"{path}: row {reader.line_num} is no row of a table: {error}") from None


def _check_head(head: Sequence[str], allowed: Sequence[str], where: str) -> None:
    for name in head:
        if name not in allowed:
            raise ValueError(f"{where}: {unknown('column', name, allowed)}")
        if head.count(name) > 1:
            raise ValueError(f"{where}: the column {name!r} is there twice")
    if "negative" in head and "prompt" not in allowed:
        raise ValueError(f"{where}: this model takes no negative: it has no prompt")


def _value(name: str, cell: str, shapes: Mapping[str, Any]) -> Any:
    """A cell as what its column holds; conditions as they are."""
    if name in ("seed", "n"):
        low, high = (0, 2**64 - 1) if name == "seed" else (1, 10**9)
        digits = cell.strip()
        if not digits.isdecimal() or len(digits) > 20 or not low <= int(digits) <= high:
            raise ValueError(f"{name} must be a whole number from {low} to {high}, got {cell[:40]!r}")
        return int(cell)
    return _typed(name, cell.strip(), shapes[name]) if name in shapes else cell


def _typed(name: str, cell: str, kind: Any) -> Any:
    """A cell by the type of a spec's field."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _typed(name, cell, next(option for option in inner if option is not type(None)))
    if origin is Literal:
        if cell not in inner:
            raise ValueError(unknown(name, cell, inner))
        return cell
    if origin is tuple and set(inner) <= {int, float}:
        parts = cell.replace(",", " ").split()
        if len(parts) != len(inner):
            raise ValueError(f"{name} takes {len(inner)} numbers, got {cell!r}")
        return tuple(_typed(name, part, one) for part, one in zip(parts, inner))
    if kind is bool:
        if cell.lower() not in TRUTHS:
            raise ValueError(f"{name} must be yes or no, got {cell!r}")
        return TRUTHS[cell.lower()]
    if kind in (int, float):
        try:
            number = kind(cell)
            finite = math.isfinite(number)
        except (ValueError, OverflowError):
            finite = False
        if not finite:
            raise ValueError(f"{name} must be a {'whole ' if kind is int else ''}number, got {cell!r}")
        return number
    return cell if kind is str else (cell,)
