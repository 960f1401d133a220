"""Figures with intervals, and tables of them.

Wilson's interval for k of n (E. B. Wilson 1927), with p = k / n and z the normal quantile:
    (p + z^2 / 2n  ±  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
It stays inside [0, 1] and has a width at k = 0 and k = n, where the textbook interval has none.

Interval of the median of n values that needs no distribution (Conover 1999, section 3.2): how many values lie
below the true median is binomial(n, 1/2), so the values of the ranks that are its quantiles bracket it.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from langevin import tables
from langevin.tables import shown

__all__ = ["Estimate", "Table", "accuracy", "bootstrap", "median", "wilson"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval (95 % unless said otherwise); n is the number of items behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{shown(self.value)} [{shown(self.low)}, {shown(self.high)}]"


def wilson(right: int, total: int, level: float = 0.95) -> Estimate:
    """A share with Wilson's interval.

    Raises:
        ValueError: not 0 <= right <= total, or total is 0.
    """
    if not (0 <= right <= total and total > 0):
        raise ValueError(f"right must lie in 0 … total and total be positive; got {right} of {total}")
    z = math.sqrt(2) * float(special.erfinv(level))
    p, n = right / total, total
    middle, scale = p + z * z / (2 * n), 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if right == 0 else (middle - half) / scale
    high = 1.0 if right == total else (middle + half) / scale
    return Estimate(p, low, high, n)


def accuracy(found: Sequence[Any], wanted: Sequence[Any]) -> Estimate:
    """Share of entries that agree, with Wilson's interval. None, which a judge answers when it cannot tell,
    never agrees.

    Raises:
        ValueError: empty, or of different lengths.
    """
    if len(found) != len(wanted):
        raise ValueError(f"{len(found)} answers were given for {len(wanted)} wanted ones")
    return wilson(
        sum(f is not None and bool(f == w) for f, w in zip(found, wanted, strict=True)), len(wanted)
    )


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], float] = lambda v: float(np.mean(v)),
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """A statistic of independent values with its percentile bootstrap interval.

    Args:
        values: (N,) or (N, …); rows are resampled.
        statistic: of an array of rows.

    Raises:
        ValueError: no values.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim == 0 or len(rows) == 0:
        raise ValueError("values must hold at least one entry")
    rng = np.random.default_rng(seed)
    drawn = [statistic(rows[rng.integers(0, len(rows), len(rows))]) for _ in range(repeats)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(statistic(rows)), float(low), float(high), len(rows))


def median(values: ArrayLike, level: float = 0.95) -> Estimate:
    """The median of independent values with its distribution-free interval.

    Args:
        values: (N,); infinite ones count, so what has no value for being too bad can be given as inf.

    Raises:
        ValueError: no values, or one that is not a number.
    """
    rows = np.sort(np.asarray(values, dtype=np.float64).reshape(-1))
    n = len(rows)
    if n == 0 or np.isnan(rows[-1]):
        raise ValueError("values must hold at least one entry, and numbers only")
    below = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    low, high = rows[max(below - 1, 0)], rows[min(n - below, n - 1)]
    return Estimate(float((rows[(n - 1) // 2] + rows[n // 2]) / 2), float(low), float(high), n)


def _plain(cell: Any) -> Any:
    """A cell as JSON has it; what is not finite becomes None."""
    if isinstance(cell, Estimate):
        return {k: _plain(v) for k, v in asdict(cell).items()}
    if isinstance(cell, np.generic):
        cell = cell.item()
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


@dataclass(frozen=True)
class Table(tables.Table):
    """A table whose cells may be `Estimate`s, and which shows and writes itself."""

    def row(self, **match: Any) -> Mapping[str, Any]:
        """The first row whose cells equal the given ones.

        Raises:
            KeyError: there is none.
        """
        for row in self.rows:
            if all(row.get(k) == v for k, v in match.items()):
                return row
        raise KeyError(f"no row with {match}")

    def plain(self) -> dict[str, Any]:
        """Caption and rows as plain values; an estimate becomes {value, low, high, n}."""
        rows = [{k: _plain(v) for k, v in row.items()} for row in self.rows]
        return {"caption": self.caption, "rows": rows}

    def csv(self) -> str:
        """Comma-separated values, numbers in full; an estimate takes the columns c, c_low, c_high."""
        flat: list[dict[str, Any]] = []
        wide = {c for c in self.columns for row in self.rows if isinstance(row.get(c), Estimate)}
        head = [h for c in self.columns for h in ((c, f"{c}_low", f"{c}_high") if c in wide else (c,))]
        for row in self.rows:
            flat.append({})
            for column, cell in row.items():
                if isinstance(cell, Estimate):
                    flat[-1] |= {column: cell.value, f"{column}_low": cell.low, f"{column}_high": cell.high}
                else:
                    flat[-1][column] = cell
        out = io.StringIO()
        writer = csv.DictWriter(out, head, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        return out.getvalue()

    def to_json(self, path: str | Path | None = None) -> str:
        """The table as JSON text, also written to `path` where one is given."""
        return _write(json.dumps(self.plain(), indent=1, ensure_ascii=False), path)

    def to_csv(self, path: str | Path | None = None) -> str:
        """The table as `csv` gives it, also written to `path` where one is given."""
        return _write(self.csv(), path)

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.text(), self.caption)))

    def _repr_html_(self) -> str:
        def cells(values: Sequence[Any], tag: str) -> str:
            return "".join(f"<{tag}>{html.escape(shown(v))}</{tag}>" for v in values)

        head = f"<thead><tr>{cells(self.columns, 'th')}</tr></thead>"
        body = "".join(f"<tr>{cells([row.get(c) for c in self.columns], 'td')}</tr>" for row in self.rows)
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        return f"<table>{caption}{head}<tbody>{body}</tbody></table>"


def _write(text: str, path: str | Path | None) -> str:
    if path is not None:
        part = Path(path).with_name(Path(path).name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    return text
