"""What contigs are made of, and the error that shows the place in a text.

See :mod:`langevin.modalities.protein.contigs` for the language.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["LETTERS", "Built", "Chain", "ContigError", "Motif", "Segment", "Site", "Span"]

LETTERS = re.compile(r"[A-Za-z]+")  # the names of chains that need no colon
_SHOWN = 90  # characters of a line around an error


@dataclass(frozen=True)
class Span:
    """Characters ``start`` to ``stop`` of a text that somebody wrote."""

    text: str
    start: int
    stop: int

    def caret(self) -> str:
        """The line with marks below these characters; only its surroundings where it is long."""
        left = max(0, self.start - _SHOWN // 2)
        right = min(len(self.text), left + _SHOWN)
        line = "".join(c if c.isprintable() else " " for c in self.text[left:right])
        before, after = ("…" if left else ""), ("…" if right < len(self.text) else "")
        marks = "^" * max(1, min(self.stop, right) - self.start)
        return f"  {before}{line}{after}\n  {' ' * (len(before) + self.start - left)}{marks}"


class ContigError(ValueError):
    """A text that is no contig, or one that cannot be; the message ends with the line and a mark below the place.

    Attributes:
        problem: the message without the line.
        span: where; None where it is no matter of one place.
    """

    def __init__(self, problem: str, span: Span | None = None) -> None:
        self.problem, self.span = problem, span
        super().__init__(problem if span is None else f"{problem}\n{span.caret()}")


@dataclass(frozen=True, order=True)
class Site:
    """A residue number with its insertion code."""

    number: int
    insertion: str = ""

    def __str__(self) -> str:
        return f"{self.number}{self.insertion}"


@dataclass(frozen=True)
class Motif:
    """Residues of the input, from ``first`` to ``last``, both included."""

    chain: str
    first: Site
    last: Site
    span: Span | None = field(default=None, compare=False, repr=False)

    @property
    def count(self) -> int:
        """Residues, if the input has one of every number and no insertion codes."""
        return self.last.number - self.first.number + 1

    @property
    def name(self) -> str:
        """The chain as a contig writes it."""
        return self.chain if LETTERS.fullmatch(self.chain) else f"{self.chain}:"

    def __str__(self) -> str:
        return f"{self.name}{self.first}-{self.last}"


@dataclass(frozen=True)
class Built:
    """``least`` to ``most`` residues to be built."""

    least: int
    most: int
    span: Span | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.least}-{self.most}"


Segment: TypeAlias = Motif | Built


@dataclass(frozen=True)
class Chain:
    """Segments that one peptide chain is made of."""

    segments: tuple[Segment, ...]

    @property
    def kept(self) -> bool:
        """Whether nothing of it is built."""
        return all(isinstance(segment, Motif) for segment in self.segments)

    def __str__(self) -> str:
        return "/".join(map(str, self.segments))
