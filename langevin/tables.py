"""Tables of results: one object that the command line prints, reports show and other programs read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Table", "shown"]


@dataclass(frozen=True)
class Table:
    """Rows with named columns.

    Args:
        rows: plain values by column; a column that a row lacks is empty there.
        caption: what the table shows, and how it was measured.
    """

    rows: Sequence[Mapping[str, Any]]
    caption: str = ""

    @property
    def columns(self) -> list[str]:
        """Every column, in the order of first appearance."""
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def numeric(self, column: str) -> bool:
        """Whether every entry of a column is a number, so that it is set flush right."""
        values = [row[column] for row in self.rows if row.get(column) is not None]
        return bool(values) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)

    def text(self) -> str:
        """The table for a terminal, columns aligned."""
        columns = self.columns
        lines = [columns, *([shown(row.get(column)) for column in columns] for row in self.rows)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
        right = [self.numeric(column) for column in columns]
        set_ = [
            "  ".join(
                f"{cell:>{w}}" if r else f"{cell:<{w}}" for cell, w, r in zip(line, widths, right)
            ).rstrip()
            for line in lines
        ]
        return "\n".join([set_[0], "  ".join("-" * w for w in widths), *set_[1:]]) if columns else ""

    def csv(self) -> str:
        """The table as comma-separated values, numbers in full."""
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()

    def plain(self) -> dict[str, Any]:
        """Caption and rows as plain values, for JSON; numbers that JSON lacks become None."""
        rows = [{key: _finite(value) for key, value in row.items()} for row in self.rows]
        return {"caption": self.caption, "rows": rows}


def shown(value: Any) -> str:
    """A cell as people read it: four significant digits, an empty cell for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    return str(value)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
