r"""Contigs: one line of text that says which residues of an input are kept, and how many are built around them.

The grammar is RFdiffusion's (Watson et al., 2023), every contig of which means the same here:

    contig   = [ "[" ] entry { "," entry } [ "]" ]         brackets and quotes around entries may be left out
    entry    = chain { blank chain }
    chain    = segment { "/" segment } [ "/0" ]            "/0" before a blank ends a chain; so does a blank alone
    segment  = length | motif
    length   = N | N-M                                     residues to be built, the number drawn anew for each design
    motif    = CHAIN R [ "-" R ]                           residues of the input, both ends included; one alone is A100
    R        = [ "-" ] digits [ insertion code ]           A-5-10 is -5 to 10; H52A is residue 52 with the code A

A chain's name is one or more letters, upper and lower case apart; any other name stands before a colon, ``1:10-25``. Chains
stay in the order given. What RFdiffusion reads differently from what is written is an error here: "/0" without a blank after
it, and entries after the first, which it drops (here they are chains, if they are quoted or the one before ends with "/0").

``length`` is the number of residues in the chains in which something is built; chains that are kept whole do not count, as
in RFdiffusion. :meth:`Contig.draw` is uniform over the combinations of lengths that are in their ranges and have this
total, which is the distribution that RFdiffusion reaches by rejection.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from langevin.modalities.protein.combinations import Combinations
from langevin.modalities.protein.grammar import LONGEST, Scanner
from langevin.modalities.protein.segments import Built, Chain, ContigError, Motif, Segment, Site, Span

if TYPE_CHECKING:
    from langevin.core.rng import Stream

__all__ = [
    "LONGEST",
    "Built",
    "Chain",
    "Contig",
    "ContigError",
    "Motif",
    "Segment",
    "Site",
    "Span",
    "positions",
    "residues",
]

CHOICES = 100  # segments whose length is drawn


@dataclass(frozen=True)
class Contig:
    """Chains, and the range of the number of residues in those in which something is built.

    ``str`` writes it so that RFdiffusion, too, reads it (lengths as N-M, single residues as A100-100).
    """

    chains: tuple[Chain, ...]
    length: tuple[int, int] | None = None

    @classmethod
    def of(
        cls, contig: str | int | Sequence[str | int], length: str | int | Sequence[int] | None = None
    ) -> Contig:
        """Read a contig.

        Args:
            contig: the text; a number of residues; or a list of them, each of which is one or more chains.
            length: "55", "55-60", 55 or (55, 60); None for any.

        Raises:
            ContigError: what cannot be read, and where.
            TypeError: another type.
        """
        if isinstance(contig, (str, int)) or not isinstance(contig, Sequence):
            contig = [contig]
        chains: list[Chain] = []
        for entry in contig:
            if isinstance(entry, bool) or not isinstance(entry, (str, int)):
                raise TypeError(f"a contig is a text or a list of texts, got {entry!r}")
            chains += Scanner(str(entry)).contig()
        if not chains:
            raise ContigError("the contig is empty; write 100 for 100 residues, or 5-15/A10-25/30-40")
        found = cls(tuple(chains), _length(length))
        choices = sum(one.least < one.most for one in found.built)
        if choices > CHOICES:
            raise ContigError(f"{choices} lengths are to be drawn; at most {CHOICES} can be")
        return found

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Those of all chains, in order."""
        return tuple(itertools.chain.from_iterable(chain.segments for chain in self.chains))

    @property
    def built(self) -> tuple[Built, ...]:
        """Segments that are built."""
        return tuple(one for one in self.segments if isinstance(one, Built))

    @property
    def motifs(self) -> tuple[Motif, ...]:
        """Segments that are kept."""
        return tuple(one for one in self.segments if isinstance(one, Motif))

    @property
    def fixed(self) -> bool:
        """Whether every length is one number."""
        return all(one.least == one.most for one in self.built)

    def sizes(self, counts: Sequence[int] | None = None) -> list[list[tuple[int, int]]]:
        """Least and most residues of each segment, by chain.

        Args:
            counts: residues of each motif; as if the input had all numbers and no insertion codes by default.
        """
        left = iter(counts if counts is not None else [motif.count for motif in self.motifs])
        return [
            [(one.least, one.most) if isinstance(one, Built) else (next(left),) * 2 for one in chain.segments]
            for chain in self.chains
        ]

    def range(self, counts: Sequence[int] | None = None) -> tuple[int, int]:
        """Least and most residues of all chains; the range of ``length`` is heeded."""
        kept = sum(n for chain, sizes in zip(self.chains, self.sizes(counts)) if chain.kept for n, _ in sizes)
        least, most = self.designed(counts)
        return kept + least, kept + most

    def designed(self, counts: Sequence[int] | None = None) -> tuple[int, int]:
        """Least and most residues of the chains in which something is built; the range of ``length`` is heeded.

        Raises:
            ContigError: no choice of lengths has this total.
        """
        sizes = [
            size for chain, sizes in zip(self.chains, self.sizes(counts)) if not chain.kept for size in sizes
        ]
        least, most = sum(a for a, _ in sizes), sum(b for _, b in sizes)
        if self.length is None:
            return least, most
        low, high = self.length
        if high < least or low > most:
            asked = f"{low}" if low == high else f"{low}-{high}"
            if not self.built:
                raise ContigError(f"a length of {asked} is asked for, but this contig builds nothing")
            kept = least - sum(one.least for one in self.built)
            makes = f"{least}" if least == most else f"{least} to {most}"
            raise ContigError(
                f"a length of {asked} cannot be: the chains in which something is built have {makes} residues"
                f"{f', {kept} of them kept' if kept else ''} (chains that are kept whole do not count); "
                f"give a length from {least} to {most}, or wider ranges"
            )
        return max(least, low), min(most, high)

    def draw(self, rng: Stream, counts: Sequence[int] | None = None) -> list[Contig]:
        """One contig of fixed lengths for each row, uniform over the combinations that are allowed.

        Args:
            rng: one row for each design.
            counts: as for :meth:`sizes`.

        Raises:
            ContigError: no choice of lengths has the total that ``length`` says.
        """
        import torch

        self.designed(counts)
        free = sum(one.least < one.most for one in self.built)
        u = rng.fold("contig").uniform((len(rng), free), torch.float64).tolist() if free else [[]] * len(rng)
        combinations = self._combinations(counts)
        return [self.fix(combinations.pick(row)) for row in u]

    def fix(self, lengths: Sequence[int]) -> Contig:
        """The contig with one number for each length that is built, in order."""
        left = iter(lengths)
        return replace(
            self,
            chains=tuple(
                Chain(
                    tuple(
                        Built(n := next(left), n, one.span) if isinstance(one, Built) else one
                        for one in chain.segments
                    )
                )
                for chain in self.chains
            ),
        )

    def subunit(self, order: int) -> Contig:
        """The contig of one of ``order`` chains that symmetry makes alike.

        RFdiffusion's contigs name all residues of an assembly: one chain of its total length, or each chain.

        Raises:
            ContigError: neither; or a total that the order does not divide.
        """
        if len(self.chains) == order and self.length is None:
            if len({_shape(chain) for chain in self.chains}) > 1:
                raise ContigError(
                    f"the {order} chains must be alike: segments of the same lengths in the same order"
                )
            return Contig(self.chains[:1])
        if len(self.chains) > 1 or self.motifs:
            got = f"{len(self.chains)} chains" if len(self.chains) > 1 else "one chain with a motif"
            raise ContigError(
                f"symmetry of {order} chains needs one chain without motifs, of their total length, or all {order} "
                f"chains alike and no length, as 50/A2-4/50/0 50/B2-4/50; this contig has {got}"
            )
        least, most = self.designed()
        low, high = -(-least // order), most // order
        if low > high:
            total = f"{least}" if least == most else f"{least} to {most}"
            near = " or ".join(str(n * order) for n in (high, low) if n)
            raise ContigError(
                f"a total of {total} cannot be shared by {order} chains; write {near}", self.built[0].span
            )
        return Contig((Chain((Built(low, high, self.built[0].span),)),))

    def _combinations(self, counts: Sequence[int] | None) -> Combinations:
        sizes = self.sizes(counts)
        kept = sum(
            size[0]
            for chain, row in zip(self.chains, sizes)
            if not chain.kept
            for one, size in zip(chain.segments, row)
            if isinstance(one, Motif)
        )
        total = None if self.length is None else (self.length[0] - kept, self.length[1] - kept)
        return Combinations([(one.least, one.most) for one in self.built], total)

    def __str__(self) -> str:
        return "/0 ".join(map(str, self.chains))


def residues(text: str | Iterable[str | Motif] | None) -> tuple[Motif, ...]:
    """Residues of the input by name, ``A1/A30-40`` or ``[A30,A33]``: separated by "/", "," or blanks.

    What has been read already may stand among the texts of a list.

    Raises:
        ContigError: what cannot be read, and where.
    """
    texts = [text] if isinstance(text, str) else list(text or ())
    read = ([one] if isinstance(one, Motif) else Scanner(one).names() for one in texts)
    return tuple(itertools.chain.from_iterable(read))


def positions(text: str | int | Iterable[str | int | tuple[int, int]] | None) -> tuple[tuple[int, int], ...]:
    """Ranges of places counted from 0, both ends included, ``[172-177,200]``.

    What has been read already may stand among the texts of a list.

    Raises:
        ContigError: what cannot be read, and where.
    """
    texts = [text] if isinstance(text, (str, int)) else list(text or ())
    read = ([one] if isinstance(one, tuple) else Scanner(str(one)).places() for one in texts)
    return tuple(itertools.chain.from_iterable(read))


def _length(length: str | int | Sequence[int] | None) -> tuple[int, int] | None:
    """A range of totals."""
    if length is None:
        return None
    text = (
        length
        if isinstance(length, str)
        else "-".join(map(str, [length] if isinstance(length, int) else length))
    )
    inner = text.strip().strip("[]'\"").strip()
    found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", inner)
    span = Span(text, 0, len(text))
    if found is None:
        raise ContigError("length is a number of residues or a range of them, as 55 or 55-60", span)
    low, high = int(found[1]), int(found[2] or found[1])
    if low > high:
        raise ContigError(f"the length {low}-{high} ends before it begins; write {high}-{low}", span)
    if high < 1:
        raise ContigError("length must be at least 1", span)
    return low, high


def _shape(chain: Chain) -> tuple[object, ...]:
    return tuple(one.count if isinstance(one, Motif) else (one.least, one.most) for one in chain.segments)
