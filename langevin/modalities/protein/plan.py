"""What is to be designed: a contig beside the input that its motifs come from, checked before anything runs.

    plan = Plan.of("5-15/A10-25/30-40/0 B1-100", protein, hotspots="B30,B33")
    print(plan.describe())                      # segments, lengths, chains, gaps
    drawn = plan.draw(rng)[0]                   # one of the plans it allows, with every length fixed
    drawn.layout.source                         # for each residue, the residue of the input that is kept, or -1
    drawn.mapping(seed=0)                       # the keys of RFdiffusion's .trb files, as plain data

Masks are RFdiffusion's: ``inpaint_seq`` names kept residues whose type is not shown, ``inpaint_str`` those whose place is
not shown (their types are), and ``provide_seq`` the places of built residues whose type is shown in partial diffusion. These
places count from 0 over the chains in which something is built, then over those that are kept whole, as in RFdiffusion;
everything else here counts in the order of the contig.

Chains and numbers of a design (:class:`~langevin.modalities.protein.layout.Layout`):

- A chain that is kept whole has the name and the numbers of the input.
- A chain that is built around motifs has the name of its motifs' chain; one without motifs, or whose name is taken by a
  chain before it, has the first free letter that the contig does not name. Chains that are kept whole come first in this.
- Its residues have the numbers of the input where these fit whatever is drawn: motifs of one chain in ascending order,
  as many residues between two of them as the input has numbers there, and numbers from 1 before the first. Else, and with
  ``numbering="design"`` always (as in RFdiffusion), they are 1, 2, 3 ….
- In partial diffusion a chain has the name and the numbers of the residues that it starts from.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langevin.core.errors import unknown
from langevin.modalities.protein.contigs import (
    Chain,
    Contig,
    ContigError,
    Motif,
    positions,
    residues,
)

if TYPE_CHECKING:
    import numpy as np
    from Bio.PDB.Structure import Structure
    from numpy.typing import NDArray

    from langevin.core.rng import Stream
    from langevin.modalities.protein.layout import Layout
    from langevin.modalities.protein.protein import Protein
else:
    Structure: TypeAlias = Any

__all__ = ["NUMBERINGS", "Plan"]

NUMBERINGS = ("input", "design")

_Names = str | Iterable[str | Motif] | None


@dataclass(frozen=True, eq=False)
class Plan:
    """A contig with what is said about its residues; :meth:`of` reads and checks it.

    Attributes:
        contig: of one subunit, where there are several copies.
        protein: the input; None where the contig has not been held against one.
        inpaint_seq: kept residues whose type is not shown.
        inpaint_str: kept residues whose place is not shown.
        provide_seq: ranges of places of built residues whose type is shown; see above how they count.
        secondary: helix, strand and loop, where that is asked of residues of `inpaint_str`.
        hotspots: kept residues that something built should touch.
        partial: the design starts from the input, noised in part.
        numbering: "input" or "design"; see above.
        copies: how many of it symmetry makes.
        asked: the contig from which this one was drawn.
        others: chains of the other copies, where the contig names residues for each; they say where the input has these.
    """

    contig: Contig
    protein: Protein | None = None
    inpaint_seq: tuple[Motif, ...] = ()
    inpaint_str: tuple[Motif, ...] = ()
    provide_seq: tuple[tuple[int, int], ...] = ()
    secondary: Mapping[str, tuple[Motif, ...]] = field(default_factory=dict)
    hotspots: tuple[Motif, ...] = ()
    partial: bool = False
    numbering: Literal["input", "design"] = "input"
    copies: int = 1
    asked: Contig | None = None
    others: tuple[Chain, ...] = ()

    @classmethod
    def of(
        cls,
        contig: Contig | str | int | Sequence[str | int],
        protein: Protein | Structure | None = None,
        *,
        length: str | int | Sequence[int] | None = None,
        inpaint_seq: _Names = None,
        inpaint_str: _Names = None,
        provide_seq: str | int | Iterable[str | int | tuple[int, int]] | None = None,
        helix: _Names = None,
        strand: _Names = None,
        loop: _Names = None,
        hotspots: _Names = None,
        partial: bool = False,
        numbering: str = "input",
        copies: int = 1,
    ) -> Plan:
        """Read a contig and what goes with it, and check them against the input.

        Args:
            contig: as for :meth:`~langevin.modalities.protein.contigs.Contig.of`.
            protein: the input, or Biopython's ``Structure``; without one only what the texts themselves say is checked.
            length: total of the chains in which something is built, "55", "55-60", 55 or (55, 60).
            inpaint_seq, inpaint_str, helix, strand, loop, hotspots: residues of the input, "A1/A30-40" or "A30,A33".
            provide_seq: places, "172-177,200".
            partial: see the class.
            numbering: "input" or "design".
            copies: of a symmetric assembly, whose contig names all residues as RFdiffusion's do.

        Raises:
            ContigError: a text that cannot be read, or says what cannot be; the message marks the place.
            PlanError: what does not fit the input; it says what is there, and a contig that would fit where there is one.
        """
        if numbering not in NUMBERINGS:
            raise ValueError(unknown("numbering", numbering, NUMBERINGS))
        if protein is not None and hasattr(protein, "level"):  # an entity of Bio.PDB
            from langevin.modalities.protein.protein import of_structure

            protein = of_structure(protein)
        found = contig if isinstance(contig, Contig) else Contig.of(contig, length)
        if isinstance(contig, Contig) and length is not None:
            found = replace(contig, length=Contig.of(1, length).length)
        plan = cls(
            found if copies == 1 else found.subunit(copies),
            protein,
            residues(inpaint_seq),
            residues(inpaint_str),
            positions(provide_seq),
            {
                name: named
                for name, text in (("helix", helix), ("strand", strand), ("loop", loop))
                if (named := residues(text))
            },
            residues(hotspots),
            partial,
            "design" if numbering == "design" else "input",
            copies,
            others=found.chains[1:] if copies > 1 else (),
        )
        plan._check()
        return plan

    # the input

    @functools.cached_property
    def motifs(self) -> list[NDArray[np.int64]] | None:
        """Residues of the input that each motif is; None without an input."""
        return None if self._located is None else self._located[: len(self.contig.motifs)]

    @property
    def subunits(self) -> list[NDArray[np.int64]]:
        """Residues of the input that each copy keeps, by the chains of the contig; none where these are not named."""
        import numpy as np

        if not self.others or not self._located:
            return []
        each = len(self.contig.motifs)
        return [np.concatenate(self._located[k : k + each]) for k in range(0, len(self._located), each)]

    @functools.cached_property
    def _located(self) -> list[NDArray[np.int64]] | None:
        """Those of all copies."""
        if self.protein is None:
            return None
        from langevin.modalities.protein.fitting import locate

        return locate(replace(self.contig, chains=(*self.contig.chains, *self.others)), self.protein)

    @property
    def counts(self) -> list[int] | None:
        """How many residues each motif has in the input; None without an input."""
        return None if self.motifs is None else [len(indices) for indices in self.motifs]

    def draw(self, rng: Stream) -> list[Plan]:
        """One plan with fixed lengths for each row of `rng`, uniform over those that the contig and its length allow."""
        drawn = self.contig.draw(rng, self.counts)
        return [replace(self, contig=one, asked=self.asked or self.contig) for one in drawn]

    @functools.cached_property
    def layout(self) -> Layout:
        """What each residue of the design is.

        Raises:
            ValueError: a length is still to be drawn, or there are motifs and no input.
        """
        from langevin.modalities.protein.layout import lay

        return lay(self)

    @functools.cached_property
    def assembly(self) -> Layout:
        """The layout of all copies; that of the plan where there is one.

        Raises:
            ValueError: as :attr:`layout`; or the chains keep different numbers of residues.
        """
        from langevin.modalities.protein.layout import copied

        return copied(self)

    # what is shown of it

    def describe(self, name: str = "input") -> str:
        """The plan as a table of its segments, and what follows from it, for people.

        Args:
            name: of the input.
        """
        from langevin.modalities.protein.account import describe

        return describe(self, name)

    def plain(self, name: str = "input") -> dict[str, Any]:
        """What :meth:`describe` tells, as plain data."""
        from langevin.modalities.protein.account import plain

        return plain(self, name)

    def mapping(self, seed: int | None = None, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Which residue of the design is which of the input, under the keys of RFdiffusion's .trb files; plain data.

        Args:
            seed: of the design.
            settings: with which it was made, under "config".
        """
        from langevin.modalities.protein.account import mapping

        return mapping(self, seed, settings)

    # checks

    def _check(self) -> None:
        """Raises what :meth:`of` raises."""
        kept = self.contig.motifs
        lists = {"inpaint_seq": self.inpaint_seq, "inpaint_str": self.inpaint_str, **self.secondary}
        for name, named in {**lists, "hotspots": self.hotspots}.items():
            for motif in named:
                self._among(name, motif, kept, "the contig keeps")
        for name, named in self.secondary.items():
            for motif in named:
                self._among(name, motif, self.inpaint_str, "inpaint_str names")
        for (name, one), (other, two) in _pairs(self.secondary):
            if one.chain == two.chain and one.first <= two.last and two.first <= one.last:
                raise ContigError(f"{two} is asked to be both {name} and {other}", two.span)
        if self.hotspots and not self.contig.built:
            raise ContigError(
                "hotspots are for what is built, and this contig builds nothing", self.hotspots[0].span
            )
        if self.provide_seq and not self.partial:
            raise ContigError("provide_seq is for partial diffusion, where there is a sequence to show")
        if self.partial and self.copies > 1:
            raise ContigError("partial diffusion of symmetric assemblies is not supported; leave one out")
        self.contig.range(self.counts)
        if self.protein is None:
            return
        from langevin.modalities.protein import fitting

        if self.partial:
            fitting.started(self.contig, self.protein, self.motifs or [])
            self.layout  # noqa: B018 (which checks provide_seq)
        for name, named in {**lists, "hotspots": self.hotspots}.items():
            for motif in named:
                if not len(fitting.find(motif, self.protein)):
                    there = fitting.ranges(self.protein)
                    raise ContigError(f"{name}: {motif} is not in the input; there is {there}", motif.span)

    def _among(self, what: str, motif: Motif, allowed: Sequence[Motif], who: str) -> None:
        """An error for the first residue that none of the motifs holds."""
        left = [motif]
        for one in allowed:
            left = [piece for rest in left for piece in _less(rest, one)]
        if left:
            names = ", ".join(map(str, allowed)) or "none"
            raise ContigError(
                f"{what}: {_short(left[0])} is not among the residues that {who} ({names})", motif.span
            )


def _less(motif: Motif, other: Motif) -> list[Motif]:
    """What remains of a range without another; by whole numbers."""
    if motif.chain != other.chain or other.last < motif.first or motif.last < other.first:
        return [motif]
    out = []
    if motif.first < other.first:
        out.append(
            Motif(motif.chain, motif.first, replace(other.first, number=other.first.number - 1, insertion=""))
        )
    if other.last.number < motif.last.number:
        out.append(
            Motif(motif.chain, replace(other.last, number=other.last.number + 1, insertion=""), motif.last)
        )
    elif other.last < motif.last:
        out.append(Motif(motif.chain, motif.last, motif.last))
    return [one for one in out if one.first <= one.last]


def _pairs(secondary: Mapping[str, tuple[Motif, ...]]) -> list[tuple[tuple[str, Motif], tuple[str, Motif]]]:
    named = [(name, motif) for name, motifs in secondary.items() for motif in motifs]
    return [(a, b) for k, b in enumerate(named) for a in named[:k] if a[0] != b[0]]


def _short(motif: Motif) -> str:
    return f"{motif.name}{motif.first}" if motif.first == motif.last else str(motif)
