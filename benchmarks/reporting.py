"""What every benchmark prints: where it ran, with which versions, and a table; and how it writes its figures down."""

from __future__ import annotations

import csv
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["heading", "judged", "machine", "table", "write"]

PACKAGES = ("torch", "diffusers", "numpy", "scipy")


def machine() -> dict[str, Any]:
    """Processor, cores, load, Python and package versions, date: what a figure means nothing without."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **versions,
    }


def heading(what: str) -> None:
    """The line above a table: what is measured, and the machine."""
    print(what)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of equal keys as aligned columns on standard output: the first column to the left, others to the right."""
    columns = list(rows[0])
    cells = [[str(row[column]) for column in columns] for row in rows]
    widths = [max(len(c), *(len(row[i]) for row in cells)) for i, c in enumerate(columns)]
    for row in [columns, *cells]:
        line = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        print("  ".join(line).rstrip())
    sys.stdout.flush()


def judged(
    case: str,
    figure: str,
    found: Any,
    bar: float | None = None,
    least: bool = False,
    lower: float | None = None,
) -> dict[str, str]:
    """A row of what was measured beside its bar.

    Args:
        case, figure: what was measured of what.
        found: a number, an estimate with a ``value``, or a text, which has no bar.
        bar: what it is to be at most; None for a figure that has no bar.
        least: what it is to be at least.
        lower: a bar for models that were trained without a GPU.
    """
    value = getattr(found, "value", found)
    shown = f"{found:.4g}" if isinstance(found, float) else str(found)
    row = {"case": case, "figure": figure, "value": shown, "bar": "", "met": ""}
    if bar is None:
        return row

    def holds(to: float) -> bool:
        return bool(value >= to if least else value <= to)

    row["bar"] = f"{'≥' if least else '≤'} {bar:.3g}" + ("" if lower is None else f" (CPU {lower:.3g})")
    row["met"] = "yes" if holds(bar) else "CPU's" if lower is not None and holds(lower) else "no"
    return row


def write(
    path: str | Path | None, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any] | None = None
) -> None:
    """Writes rows to ``path``: a .csv of the rows alone, or JSON with the machine and settings; None writes nothing.

    Raises:
        ValueError: another suffix than .csv or .json.
    """
    if path is None:
        return
    path = Path(path)
    if path.suffix not in (".csv", ".json"):
        raise ValueError(f"--out must end in .csv or .json, got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        record = {"machine": machine(), **(about or {}), "rows": list(rows)}
        path.write_text(json.dumps(record, indent=1) + "\n")
        return
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
