"""What each residue of a design is: kept or built, from where, and its chain and number in the file that is written.

The rules are those of :mod:`langevin.modalities.protein.plan`.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.protein import fitting
from langevin.modalities.protein.contigs import Built, Chain, ContigError, Motif, Site
from langevin.modalities.protein.protein import UNKNOWN

if TYPE_CHECKING:
    from langevin.modalities.protein.plan import Plan

__all__ = ["Layout", "copied", "lay", "named", "numbers_fit"]

LETTERS = {"helix": "H", "strand": "E", "loop": "-"}  # of DSSP


@dataclass(frozen=True, eq=False)
class Layout:
    """Columns (n,), one entry for each residue of the design, in the order of the contig.

    Attributes:
        source: the residue of the input that a motif has here; -1 where the contig builds one.
        start: the residue of the input at which partial diffusion starts; -1 elsewhere.
        structure: its place is that of the input.
        sequence: its type is that of the input, where that is known.
        hotspot: something built should touch it.
        secondary: "H", "E" or "-" where that is asked for, else "".
        segment: of the contig, counted from 0.
        chain: of the contig, counted from 0.
        chains, numbers, insertions: in the file that is written.
        order: places in RFdiffusion's order, the chains in which something is built first.
    """

    source: NDArray[np.int64]
    start: NDArray[np.int64]
    structure: NDArray[np.bool_]
    sequence: NDArray[np.bool_]
    hotspot: NDArray[np.bool_]
    secondary: NDArray[np.str_]
    segment: NDArray[np.int64]
    chain: NDArray[np.int64]
    chains: NDArray[np.str_]
    numbers: NDArray[np.int32]
    insertions: NDArray[np.str_]
    order: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)

    def label(self, k: int) -> str:
        """``A52``, with an insertion code behind the number."""
        return f"{self.chains[k]}{self.numbers[k]}{self.insertions[k]}"


def lay(plan: Plan) -> Layout:
    """The layout of a plan with fixed lengths.

    Raises:
        ValueError: a length is still to be drawn, or there are motifs and no input; places of provide_seq that there
            are not.
    """
    contig, protein = plan.contig, plan.protein
    if not contig.fixed:
        raise ValueError("the lengths of this plan are still to be drawn; take one of plan.draw(rng)")
    if protein is None and contig.motifs:
        raise ValueError("the contig keeps residues of an input; give the input to Plan.of")
    located = plan.motifs or []
    left = iter(located)
    rows: list[tuple[int, int, int]] = []  # source, segment, chain
    segment = 0
    for number, chain in enumerate(contig.chains):
        for one in chain.segments:
            here = next(left).tolist() if isinstance(one, Motif) else [-1] * one.least
            rows += [(k, segment, number) for k in here]
            segment += 1
    source, segments, chains = np.array(rows, np.int64).reshape(-1, 3).T
    start = np.full(len(source), -1)
    if plan.partial and protein is not None:
        start = fitting.started(contig, protein, located)
    kept = source >= 0

    def those(motifs: Sequence[Motif]) -> NDArray[np.bool_]:
        indices = [fitting.find(motif, protein) for motif in motifs] if protein is not None else []
        return np.isin(source, np.concatenate([np.zeros(0, np.int64), *indices])) & kept

    secondary = np.full(len(source), "", "<U1")
    for name, motifs in plan.secondary.items():
        secondary[those(motifs)] = LETTERS[name]
    whole = np.array([chain.kept for chain in contig.chains])[chains]
    order = np.concatenate([np.flatnonzero(~whole), np.flatnonzero(whole)])
    sequence = kept & ~those(plan.inpaint_seq)
    for first, last in plan.provide_seq:
        if last >= len(order):
            raise ContigError(
                f"provide_seq: the place {last} is not in the design, which has {len(order)} residues, 0 to {len(order) - 1}"
            )
        sequence[order[first : last + 1]] = True
    if protein is not None:
        sequence &= protein.types[np.maximum(source, start)] != UNKNOWN
    names, numbers, insertions = _named_all(plan, source, start, chains)
    return Layout(
        source,
        start,
        kept & ~those(plan.inpaint_str),
        sequence,
        those(plan.hotspots),
        secondary,
        segments,
        chains,
        names,
        numbers,
        insertions,
        order,
    )


def copied(plan: Plan) -> Layout:
    """The layout of all copies of a plan, in the order of the group, which are named A, B, C ….

    Raises:
        ValueError: as of :func:`lay`; or chains of the contig that keep different numbers of residues.
    """
    one, many = plan.layout, plan.copies
    if many == 1:
        return one
    chains, segments = len(plan.contig.chains), len(plan.contig.segments)
    names = np.array(list(itertools.islice(_letters(), many * chains)))
    source = np.tile(one.source, (many, 1))
    for k, rows in enumerate(plan.subunits):
        if len(rows) != int((one.source >= 0).sum()):
            raise ContigError(
                f"the {many} chains must be alike: {plan.contig.chains[0]} has {(one.source >= 0).sum()} residues of the "
                f"input and {plan.others[k - 1]} has {len(rows)}, by what the input lacks or inserts"
            )
        source[k, one.source >= 0] = rows
    chain = np.concatenate([one.chain + k * chains for k in range(many)])
    return replace(
        one,
        source=source.ravel(),
        start=np.tile(one.start, many),
        structure=np.tile(one.structure, many),
        sequence=np.tile(one.sequence, many),
        hotspot=np.tile(one.hotspot, many),
        secondary=np.tile(one.secondary, many),
        segment=np.concatenate([one.segment + k * segments for k in range(many)]),
        chain=chain,
        chains=names[chain],
        numbers=np.tile(one.numbers, many),
        insertions=np.tile(one.insertions, many),
        order=np.concatenate([one.order + k * len(one) for k in range(many)]),
    )


def _named_all(
    plan: Plan, source: NDArray[np.int64], start: NDArray[np.int64], chains: NDArray[np.int64]
) -> tuple[NDArray[np.str_], NDArray[np.int32], NDArray[np.str_]]:
    """Chains, numbers and insertion codes of all residues."""
    protein = plan.protein
    asked = plan.asked or plan.contig
    out: list[tuple[str, int, str]] = []
    for number, (name, chain) in enumerate(zip(named(plan), asked.chains)):
        mine = np.flatnonzero(chains == number)
        known = start[mine] if plan.partial else source[mine]
        if protein is None or not _follows(plan, chain, number, known):
            out += [(name, k + 1, "") for k in range(len(mine))]
            continue
        sites = [Site(int(protein.numbers[k]), str(protein.insertions[k])) if k >= 0 else None for k in known]
        out += [(name, site.number, site.insertion) for site in _filled(sites)]
    names, numbers, insertions = (list(column) for column in zip(*out))
    return np.array(names, np.str_), np.array(numbers, np.int32), np.array(insertions, np.str_)


def _follows(plan: Plan, chain: Chain, number: int, known: NDArray[np.int64]) -> bool:
    """Whether the residues of a chain have the numbers of the input."""
    if plan.protein is None or (plan.numbering == "design" and not chain.kept):
        return False
    if plan.partial:
        return len(set(plan.protein.chains[known].tolist())) == 1
    return numbers_fit(plan, number)


def numbers_fit(plan: Plan, number: int) -> bool:
    """Whether a chain of the contig has the numbers of the input, whatever is drawn."""
    chain = (plan.asked or plan.contig).chains[number]
    if plan.numbering == "design" and not chain.kept:
        return False
    motifs = [one for one in chain.segments if isinstance(one, Motif)]
    if not motifs or len({motif.chain for motif in motifs}) > 1:
        return False
    before, last = (0, 0), None
    for one in chain.segments:
        if isinstance(one, Built):
            before = before[0] + one.least, before[1] + one.most
            continue
        if last is None:
            fits = before[1] == 0 or one.first.number - before[1] >= 1
        else:
            between = one.first.number - last.number - 1
            fits = last < one.first and (
                before == (0, 0) or (before == (between, between) and not one.first.insertion)
            )
        if not fits:
            return False
        before, last = (0, 0), one.last
    return True


def _filled(sites: Sequence[Site | None]) -> Iterator[Site]:
    """Numbers for residues that have none, counted from their neighbours."""
    first = next(k for k, site in enumerate(sites) if site is not None)
    origin = sites[first]
    assert origin is not None
    number = origin.number - first - 1
    for site in sites:
        number = number + 1 if site is None else site.number
        yield Site(number) if site is None else site


def named(plan: Plan) -> list[str]:
    """The name of each chain of a design."""
    contig = plan.asked or plan.contig
    wanted = [_wanted(chain) for chain in contig.chains]
    if plan.partial and plan.protein is not None and contig.fixed:
        starts = fitting.started(contig, plan.protein, plan.motifs or [])
        sizes = [sum(a for a, _ in row) for row in contig.sizes(plan.counts)]
        ends = [0, *itertools.accumulate(sizes)]
        wanted = [str(plan.protein.chains[starts[a]]) for a in ends[:-1]]
    names: list[str | None] = [None] * len(wanted)
    taken: set[str] = set()
    for kept in (True, False):
        for k, (chain, name) in enumerate(zip(contig.chains, wanted)):
            if chain.kept is kept and name is not None and name not in taken:
                names[k] = name
                taken.add(name)
    spoken = {motif.chain for motif in contig.motifs}
    free = (name for name in _letters() if name not in taken | spoken)
    return [name if name is not None else next(free) for name in names]


def _wanted(chain: Chain) -> str | None:
    return next((one.chain for one in chain.segments if isinstance(one, Motif)), None)


def _letters() -> Iterator[str]:
    """A to Z, a to z, 0 to 9; then pairs of letters, which mmCIF has room for."""
    yield from string.ascii_uppercase + string.ascii_lowercase + string.digits
    yield from map("".join, itertools.product(string.ascii_uppercase, repeat=2))
