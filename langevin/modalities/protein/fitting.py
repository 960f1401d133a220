"""Whether a contig fits an input: which residues its motifs are, what is missing, and a contig that would fit.

A number that the input lacks is missing only if the chain is broken there: where C and N on either side are bonded the
numbering skips (as in chymotrypsin's), nothing is missing, and the range holds what there is. Residues with insertion codes
belong to the ranges around them: H50-53 holds H52A, H50-52 does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.protein.contigs import Built, Chain, Contig, ContigError, Motif, Segment, Site, Span

if TYPE_CHECKING:
    from langevin.modalities.protein.protein import Protein

__all__ = ["PlanError", "find", "locate", "ranges", "started", "whole"]

_TOLD = 6  # problems that one message tells


class PlanError(ContigError):
    """A contig, or what goes with it, that does not fit the input.

    Attributes:
        problems: one for each motif that does not fit.
        corrected: a contig that fits, as near as can be; None where there is none.
    """

    def __init__(self, problems: Sequence[ContigError], corrected: Contig | None = None) -> None:
        self.problems, self.corrected = tuple(problems), corrected
        told = [str(one) for one in self.problems[:_TOLD]]
        if len(self.problems) > _TOLD:
            told.append(f"and {len(self.problems) - _TOLD} more")
        if corrected is not None:
            told.append(f"a contig that fits: {corrected}")
        super().__init__("\n".join(told))
        self.span = self.problems[0].span


def locate(contig: Contig, protein: Protein) -> list[NDArray[np.int64]]:
    """The residues of each motif in the input, in the order of the file.

    Raises:
        PlanError: a chain or residues that are not there, backbone atoms that are missing, or residues that occur twice.
    """
    breaks, complete = protein.breaks, protein.complete
    if contig.motifs and protein.ca_only:
        needs = "the input has CA atoms alone; a residue that is kept needs N, CA and C"
        raise PlanError([ContigError(needs, contig.motifs[0].span)])
    found: list[NDArray[np.int64]] = []
    problems: list[ContigError] = []
    chains: list[Chain] = []
    taken: dict[int, Motif] = {}
    mendable = True
    for chain in contig.chains:
        segments: list[Segment] = []
        for one in chain.segments:
            if isinstance(one, Built):
                segments.append(one)
                continue
            problem: str | None
            motif, indices, problem = _one(one, protein, breaks, complete)
            twice = [k for k in indices.tolist() if k in taken]
            if twice and problem is None:
                problem = f"{_names(protein, twice)} {_stand(twice)} in {_shown(taken[twice[0]])} already"
            taken |= {k: one for k in indices.tolist() if k not in taken}
            found.append(indices)
            if problem is not None:
                problems.append(ContigError(problem, one.span))
            left = np.setdiff1d(indices, twice)
            mendable &= bool(len(left)) and not (twice and left[-1] - left[0] >= len(left))
            segments += _pieces(motif, left, protein, breaks, complete, chain.kept) if len(left) else []
        chains.append(Chain(tuple(segments)))
    if problems:
        raise PlanError(problems, Contig(tuple(chains), contig.length) if mendable else None)
    return found


def _one(
    motif: Motif, protein: Protein, breaks: NDArray[np.bool_], complete: NDArray[np.bool_]
) -> tuple[Motif, NDArray[np.int64], str | None]:
    """A motif (with another chain where that mends it), its residues, and what is wrong with it."""
    if not (protein.chains == motif.chain).any():
        there = protein.chain_ids
        near = [name for name in there if name.upper() == motif.chain.upper()] or there
        problem = f"there is no chain {motif.chain} in the input; there is {ranges(protein)}"
        if len(near) > 1:
            return motif, np.zeros(0, np.int64), problem
        motif = Motif(near[0], motif.first, motif.last, motif.span)
        return motif, find(motif, protein), problem
    indices = find(motif, protein)
    if not len(indices):
        return motif, indices, f"no residue of {_shown(motif)} is in the input; there is {ranges(protein)}"
    missing = _missing(motif, indices, protein, breaks)
    ragged = [k for k in indices.tolist() if not complete[k]]
    says = []
    if missing:
        says.append(
            f"{', '.join(missing)} {'is' if len(missing) == 1 and '-' not in missing[0][1:] else 'are'} not in the "
            f"input (chain {motif.chain} has {ranges(protein, motif.chain)})"
        )
    if ragged:
        lacks = [
            name
            for name, row in zip(("N", "CA", "C"), protein.backbone[ragged[0]])
            if not np.isfinite(row).all()
        ]
        which = _names(protein, ragged)
        says.append(f"{which} {'lacks' if len(ragged) == 1 else 'lack'} backbone atoms ({', '.join(lacks)})")
    return motif, indices, "; ".join(says) or None


def find(motif: Motif, protein: Protein) -> NDArray[np.int64]:
    """Residues of the input between the ends of a motif, whether or not any are missing."""
    in_chain = np.flatnonzero(protein.chains == motif.chain)
    sites = [Site(int(n), str(i)) for n, i in zip(protein.numbers[in_chain], protein.insertions[in_chain])]
    chosen = [motif.first <= site <= motif.last for site in sites]
    return in_chain[np.array(chosen, bool)].astype(np.int64)


def _missing(
    motif: Motif, indices: NDArray[np.int64], protein: Protein, breaks: NDArray[np.bool_]
) -> list[str]:
    """What a motif names and the input lacks, as ranges."""
    first, last = (Site(int(protein.numbers[k]), str(protein.insertions[k])) for k in indices[[0, -1]])
    lacks: list[tuple[int, int]] = []
    if first != motif.first:
        lacks.append((motif.first.number, max(first.number - 1, motif.first.number)))
    lacks += [(a, b) for a, b, _ in _gaps(indices, protein, breaks)]
    if last != motif.last:
        lacks.append((min(last.number + 1, motif.last.number), motif.last.number))
    names = [f"{motif.name}{a}" if a == b else f"{motif.name}{a}-{b}" for a, b in lacks]
    if first != motif.first and motif.first.insertion:
        names[0] = f"{motif.name}{motif.first}"
    if last != motif.last and motif.last.insertion:
        names[-1] = f"{motif.name}{motif.last}"
    return names


def _gaps(
    indices: NDArray[np.int64], protein: Protein, breaks: NDArray[np.bool_]
) -> list[tuple[int, int, int]]:
    """(first, last) number that is missing before a residue, and the place of that residue in `indices`."""
    numbers = protein.numbers[indices]
    return [
        (int(numbers[k - 1]) + 1, int(numbers[k]) - 1, k)
        for k in range(1, len(indices))
        if numbers[k] - numbers[k - 1] > 1 and breaks[indices[k]]
    ]


def _pieces(
    motif: Motif,
    indices: NDArray[np.int64],
    protein: Protein,
    breaks: NDArray[np.bool_],
    complete: NDArray[np.bool_],
    kept: bool,
) -> list[Segment]:
    """The parts of a motif that the input has; in a chain that is built, with what is missing built between them."""
    lacking = {k: b - a + 1 for a, b, k in _gaps(indices, protein, breaks)}
    out: list[Segment] = []
    run: list[int] = []
    gap = 0
    for k, index in enumerate(indices.tolist()):
        gap += lacking.get(k, 0)
        if (gap or not complete[index]) and run:
            out.append(_named(motif, run, protein))
            run = []
        if not complete[index]:
            gap += 1
            continue
        if gap and out and not kept:
            out.append(Built(gap, gap))
        gap = 0
        run.append(index)
    return [*out, _named(motif, run, protein)] if run else out


def _named(motif: Motif, run: Sequence[int], protein: Protein) -> Motif:
    ends = [Site(int(protein.numbers[k]), str(protein.insertions[k])) for k in (run[0], run[-1])]
    return Motif(motif.chain, ends[0], ends[1])


def ranges(protein: Protein, chain: str | None = None, most: int = 12) -> str:
    """What an input has, ``A 1-44 51-150, B 1-100``; of one chain without its name."""
    texts = []
    for name in protein.chain_ids if chain is None else [chain]:
        indices = np.flatnonzero(protein.chains == name)
        cuts = [
            k
            for k in range(1, len(indices))
            if protein.numbers[indices[k]] > protein.numbers[indices[k - 1]] + 1
        ]
        runs = [indices[a:b] for a, b in itertools.pairwise([0, *cuts, len(indices)])]
        spans = []
        for run in runs[:most]:
            a, b = (f"{protein.numbers[k]}{protein.insertions[k]}" for k in (run[0], run[-1]))
            spans.append(a if len(run) == 1 else f"{a}-{b}")
        if len(runs) > most:
            spans.append(f"and {len(runs) - most} more")
        texts.append((f"{name or '(no name)'} " if chain is None else "") + " ".join(spans))
    if len(texts) > most:
        texts = [*texts[:most], f"and {len(texts) - most} more chains"]
    return ", ".join(texts)


def whole(contig: Contig, protein: Protein, kept: Iterable[int]) -> Contig:
    """The contig that has every residue of the input at its place: `kept` ones as motifs, all others to be built."""
    there = set(kept)
    chains = []
    for name in protein.chain_ids:
        indices = np.flatnonzero(protein.chains == name).tolist()
        segments: list[Segment] = []
        for is_kept, group in itertools.groupby(indices, key=lambda k: k in there):
            run = list(group)
            if is_kept:
                segments.append(_named(Motif(name, Site(0), Site(0)), run, protein))
            else:
                segments.append(Built(len(run), len(run)))
        chains.append(Chain(tuple(segments)))
    return Contig(tuple(chains))


def started(contig: Contig, protein: Protein, motifs: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """(n,) the residue of the input at which each residue of the design starts in partial diffusion.

    A motif starts at itself. What is built takes the residues that the contig does not keep, in the order of the file, as
    RFdiffusion has it where the contig has the order of the file; here its chains may stand in another.

    Raises:
        PlanError: the numbers do not agree, or a chain would start from pieces that are not neighbours.
    """
    kept = [int(k) for indices in motifs for k in indices]
    fits = whole(contig, protein, kept)
    if not contig.fixed:
        raise PlanError(
            [
                ContigError(
                    "partial diffusion starts from the input, so every length must be one number",
                    _wide(contig),
                )
            ],
            fits,
        )
    taken = set(kept)
    free = iter([k for k in range(len(protein)) if k not in taken])
    built = sum(one.least for one in contig.built)
    if built + len(kept) != len(protein):
        raise PlanError(
            [
                ContigError(
                    f"partial diffusion starts from the input, which has {len(protein)} residues ({ranges(protein)}); "
                    f"this contig has {built + len(kept)}",
                    contig.segments[0].span,
                )
            ],
            fits,
        )
    left = iter(motifs)
    start: list[int] = []
    for chain in contig.chains:
        first = len(start)
        for one in chain.segments:
            start += next(left).tolist() if isinstance(one, Motif) else [next(free) for _ in range(one.least)]
        mine = start[first:]
        for a, b in itertools.pairwise(mine):
            if not chain.kept and (b != a + 1 or protein.chains[a] != protein.chains[b]):
                problem = (
                    f"residues {protein.label(a)} and {protein.label(b)} of the input would be neighbours; a chain of a "
                    f"partial diffusion starts from neighbours in one chain of the input"
                )
                raise PlanError([ContigError(problem, chain.segments[0].span)], fits)
    return np.array(start, np.int64)


def _wide(contig: Contig) -> Span | None:
    return next(one.span for one in contig.built if one.least < one.most)


def _shown(motif: Motif) -> str:
    return f"{motif.name}{motif.first}" if motif.first == motif.last else str(motif)


def _names(protein: Protein, indices: Sequence[int], most: int = 5) -> str:
    """Residues by name, neighbours as ranges."""
    runs: list[list[int]] = []
    for k in indices:
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    texts = [
        protein.label(run[0])
        + (f"-{protein.numbers[run[-1]]}{protein.insertions[run[-1]]}" if len(run) > 1 else "")
        for run in runs[:most]
    ]
    return ", ".join(texts) + (f" and {len(runs) - most} more" if len(runs) > most else "")


def _stand(indices: Sequence[int]) -> str:
    return "is" if len(indices) == 1 else "are"
