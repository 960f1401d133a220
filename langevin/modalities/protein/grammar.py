"""The texts of contigs and of lists of residues, read from left to right.

See :mod:`langevin.modalities.protein.contigs` for the language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NoReturn

from langevin.modalities.protein.segments import (
    LETTERS,
    Built,
    Chain,
    ContigError,
    Motif,
    Segment,
    Site,
    Span,
)

__all__ = ["LONGEST", "Scanner"]

LONGEST = 4000  # residues that one segment may have
_TEXT = 20_000  # characters

_LENGTH = re.compile(r"[0-9]+")
_COLON = re.compile(r"([^\s/,:\[\]'\"]*):")
_SITE = re.compile(r"(-?[0-9]+)([A-Za-z]?)")
_BREAK = re.compile(r"0(?![0-9-])")
_ENDS = frozenset(" \t\r\n,]'\"")


class Scanner:
    """Reads a text from left to right; what does not fit is an error at its place."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        if len(text) > _TEXT:
            raise ContigError(f"the text has {len(text)} characters; at most {_TEXT} are read")

    def fail(self, problem: str, start: int | None = None, stop: int | None = None) -> NoReturn:
        start = self.at if start is None else start
        raise ContigError(problem, Span(self.text, start, stop or start + 1))

    @property
    def next(self) -> str:
        return self.text[self.at : self.at + 1]

    def blanks(self) -> bool:
        start = self.at
        while self.next.isspace():
            self.at += 1
        return self.at > start

    def take(self, character: str) -> bool:
        taken = self.next == character
        self.at += taken
        return taken

    def opened(self) -> bool:
        self.blanks()
        return self.take("[")

    def closed(self, opened: bool) -> None:
        """The end of the text, after a bracket where one was opened."""
        self.blanks()
        if opened and not self.take("]"):
            self.fail("']' is missing: a list that begins with '[' ends with it")
        self.blanks()
        if self.next:
            why = "']' without '['" if self.next == "]" else f"unexpected {self.next!r} after the contig"
            self.fail(f"{why}; leave it out")

    # contigs

    def contig(self) -> list[Chain]:
        opened, chains = self.opened(), list[Chain]()
        while True:
            self.blanks()
            quote = self.next if self.next in ("'", '"') else ""
            self.at += len(quote)
            start = self.at
            ended = False
            self.blanks()
            while self.next and self.next not in ",]'\"":
                chain, ended = self.chain()
                chains.append(chain)
                self.blanks()
            if quote and not self.take(quote):
                self.fail(f"the quote {quote} is not closed")
            if self.at == start or not chains:
                self.fail(
                    "a chain is missing here: lengths (5-15) and motifs (A10-25), with '/' between them"
                )
            self.blanks()
            comma = self.at
            if not self.take(","):
                break
            if not (quote or ended):
                self.fail(
                    "',' separates the entries of a list, of which RFdiffusion reads only the first; "
                    "write '/' within a chain and '/0 ' between chains",
                    comma,
                )
        self.closed(opened)
        return chains

    def chain(self) -> tuple[Chain, bool]:
        """A chain, and whether '/0' ended it."""
        start = self.at
        found, ended = [self.segment()], False
        while self.take("/"):
            slash = self.at - 1
            if self.next == "0" and self.text[self.at + 1 : self.at + 2] in ("", *_ENDS):
                self.at += 1
                ended = True
                break
            if _BREAK.match(self.text, self.at) and not _COLON.match(self.text, self.at):
                self.fail("a chain break is '/0 ' with a blank after it", slash, slash + 2)
            if not self.next or self.next in _ENDS:
                self.fail(
                    "a segment is missing after '/': a length (5-15), a motif (A10-25), or 0 and a blank for a chain break",
                    slash,
                )
            found.append(self.segment())
        if self.next and self.next not in _ENDS:
            self.fail(
                f"unexpected {self.next!r}{_dash(self.next)}; after a segment comes '/', '/0 ' or the end"
            )
        chain = Chain(tuple(found))
        if all(isinstance(one, Built) and one.least == 0 for one in found):
            self.fail("this chain could have no residue; let one length begin at 1", start, self.at)
        return chain, ended

    def segment(self) -> Segment:
        start, character = self.at, self.next
        if _COLON.match(self.text, start) or LETTERS.match(self.text, start):
            return self.motif()
        if not (character.isascii() and character.isdigit()):
            what = {"": "the contig ends", "/": "there is nothing between '/' and '/'"}.get(
                character, f"unexpected {character!r}{_dash(character)}"
            )
            self.fail(f"{what}; a segment is a length (30 or 5-15) or a motif (A10-25 or A100)")
        least = most = self.number("a length")
        if self.take("-"):
            if not (self.next.isascii() and self.next.isdigit()):
                self.fail(f"a number is missing after '-': write {least}-N with N from {least}")
            most = self.number("a length")
        if self.next.isascii() and self.next.isalpha():
            self.fail(
                f"unexpected {self.next!r} after a length; a motif begins with its chain, as "
                f"{self.next}{self.text[start : self.at]}"
            )
        if most < least:
            self.fail(f"the range {least}-{most} ends before it begins; write {most}-{least}", start, self.at)
        if most > LONGEST:
            self.fail(f"{most} residues are too many; a segment has at most {LONGEST}", start, self.at)
        return Built(least, most, Span(self.text, start, self.at))

    def number(self, what: str) -> int:
        found = _LENGTH.match(self.text, self.at)
        assert found is not None
        if len(found[0]) > 9:
            self.fail(f"{what} of {len(found[0])} digits", found.start(), found.end())
        self.at = found.end()
        return int(found[0])

    # motifs and lists of residues

    def name(self) -> str:
        """The name of a chain."""
        colon = _COLON.match(self.text, self.at)
        found = colon or LETTERS.match(self.text, self.at)
        if found is None:
            self.fail(f"a chain is missing before {self.next!r}{_dash(self.next)}; write A10-25 or A100")
        self.at = found.end()
        return found[1] if colon else found[0]

    def site(self, after: str) -> Site:
        found = _SITE.match(self.text, self.at)
        if found is None:
            self.fail(
                f"a residue number is missing after {after!r}; write {after}10-25, or {after}100 for one residue"
                if after != "-"
                else "a residue number is missing after '-'"
            )
        if len(found[1].lstrip("-")) > 9:
            self.fail("a residue number has at most 9 digits", found.start(1), found.end(1))
        self.at = found.end()
        return Site(int(found[1]), found[2])

    def motif(self) -> Motif:
        start, chain = self.at, self.name()
        first = last = self.site(self.text[start : self.at])
        if self.take("-"):
            again = self.at
            other = _COLON.match(self.text, again) or LETTERS.match(self.text, again)
            if other is not None and self.name() != chain:
                self.fail(
                    f"a range lies in one chain; this one begins in {chain} and ends in {other[0]}",
                    start,
                    self.at,
                )
            last = self.site("-")
        if last < first:
            self.fail(
                f"the range {first}-{last} ends before it begins; write {Motif(chain, last, first)}",
                start,
                self.at,
            )
        span = Span(self.text, start, self.at)
        if last.number - first.number >= LONGEST:
            self.fail(
                f"the range has {last.number - first.number + 1} residues; at most {LONGEST} are kept",
                start,
                self.at,
            )
        return Motif(chain, first, last, span)

    def items(self, kind: str) -> Iterable[int]:
        """Places at which an item of a list begins."""
        opened = self.opened()
        while True:
            while self.next and (self.next.isspace() or self.next in ",/'\""):
                self.at += 1
            if not self.next or self.next == "]":
                break
            yield self.at
            if self.next and not (self.next.isspace() or self.next in ",/'\"]"):
                self.fail(f"unexpected {self.next!r}{_dash(self.next)}; {kind}")
        self.closed(opened)

    def names(self) -> list[Motif]:
        return [self.motif() for _ in self.items("residues are written A1/A30-40 or A30,A33")]

    def places(self) -> list[tuple[int, int]]:
        found = []
        for start in self.items("places are written 100-119 or 172-177,200, counted from 0"):
            if not (self.next.isascii() and self.next.isdigit()):
                self.fail(f"unexpected {self.next!r}; places are numbers counted from 0, as 100-119")
            first = last = self.number("a place")
            if self.take("-"):
                if not (self.next.isascii() and self.next.isdigit()):
                    self.fail(f"a number is missing after '-': write {first}-N")
                last = self.number("a place")
            if last < first:
                self.fail(
                    f"the range {first}-{last} ends before it begins; write {last}-{first}", start, self.at
                )
            found.append((first, last))
        return found


def _dash(character: str) -> str:
    """What to say of a character that looks like a hyphen."""
    return " (a dash; write the hyphen '-')" if character in "‐‑‒–—−" and character else ""
