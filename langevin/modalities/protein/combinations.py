"""Whole numbers in ranges whose total is in a range, drawn uniformly."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

__all__ = ["Combinations"]


class Combinations:
    """Lengths in ranges with a total in a range: their number, and one of them by numbers in (0, 1).

    With W_k(s) the number of ways in which segments k, k + 1, … have s residues together, and P_k its running sum, the
    value v of segment k has the weight P_{k+1}(high − used − v) − P_{k+1}(low − used − v − 1). Whole numbers throughout.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]], total: tuple[int, int] | None) -> None:
        self.ranges = ranges
        least = sum(a for a, _ in ranges)
        self.total = None if total is None else (total[0] - least, total[1] - least)
        self.below: list[list[int]] = []
        if self.total is not None:
            ways = [1]
            rows = [ways]
            for a, b in reversed(ranges):
                if a < b:
                    ways = self._widen(ways, b - a)
                    rows.append(ways)
            self.below = [list(itertools.accumulate(row)) for row in reversed(rows)]

    def _widen(self, ways: list[int], width: int) -> list[int]:
        """W_k from W_{k+1}: sums over a window of width + 1, up to the highest total that is asked for."""
        assert self.total is not None
        size = min(len(ways) + width, max(self.total[1], 0) + 1)
        sums = [0, *itertools.accumulate(ways)]
        top = len(ways)
        return [sums[min(s + 1, top)] - sums[min(max(s - width, 0), top)] for s in range(size)]

    def _between(self, row: int, low: int, high: int) -> int:
        sums = self.below[row]
        at = [sums[min(s, len(sums) - 1)] if s >= 0 else 0 for s in (low - 1, high)]
        return at[1] - at[0]

    def pick(self, u: Sequence[float]) -> list[int]:
        """One length for each range; ``u`` has a number in (0, 1) for each range that leaves a choice."""
        lengths, used, row, left = [], 0, 0, iter(u)
        for a, b in self.ranges:
            value = 0
            if a < b:
                row += 1
                width = b - a + 1
                share = int(next(left) * 2**53)
                if self.total is None:
                    value = share * width >> 53
                else:
                    low, high = self.total[0] - used, self.total[1] - used
                    target = share * self._between(row - 1, low, high) >> 53
                    while True:
                        weight = self._between(row, low - value, high - value)
                        if target < weight:
                            break
                        target -= weight
                        value += 1
            used += value
            lengths.append(a + value)
        return lengths
