"""Folds: the secondary structure of a chain, and which of its helices and strands touch; as what designs are to be.

    fold = Fold.of(protein)                                 of a structure
    fold = Fold("-HHHHHHHH---EEEEE--EEEEE-", adjacent)      or by hand; adjacent is (3, 3)
    loose = fold.masked().resized(insertion=3, end=2)       loops left open, and longer by up to so many residues
    design(model, fold=loose, n=8)

The counterpart of RFdiffusion's scaffold-guided designs (Watson et al., 2023, doi 10.1038/s41586-023-06415-8), whose
network is told the adjacency. Here the secondary structure is kept, and the potential ``type:fold`` pushes towards the
adjacency; :mod:`langevin.modalities.protein.adjacency` says what blocks are and when two are adjacent.
:meth:`Fold.masked` is its ``mask_loops`` and ``ss_mask``; :meth:`Fold.resized` is its ``sampled_insertion``,
``sampled_N`` and ``sampled_C``, but that loops at the ends of the chain are changed by the latter two only.

A fold is saved as JSON: ``secondary``, the pairs of ``adjacent`` blocks from 0, ``name``, and three ranges of lengths.
RFdiffusion's ``_ss.pt`` and ``_adj.pt`` are pickles, which can run anything, and are not read: make the fold of the
structure.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from langevin.core.errors import unknown
from langevin.core.rng import Stream
from langevin.folders import read_text, write_atomic
from langevin.modalities.protein.adjacency import touching
from langevin.modalities.protein.contigs import LONGEST, Contig
from langevin.modalities.protein.guiding import guiding
from langevin.modalities.protein.plan import Plan
from langevin.modalities.protein.potentials import Layout
from langevin.modalities.protein.protein import Protein, of_structure
from langevin.modalities.protein.secondary import runs, secondary

if TYPE_CHECKING:
    from langevin.core.guidance import Force

__all__ = ["Fold", "numbered"]

_RANGES = ("insertion", "start", "end")
_WEIGHT = 0.6  # of each pair of blocks: with a linear decay all pushes of a run come to 15 Å where the slope stays at 1
_BESIDE = {  # arguments of a design that do not go with a fold
    "secondary": "the fold says what is helix and strand; leave secondary out, or make the fold with other letters",
    "symmetry": "a fold is of one chain; leave symmetry out",
    "partial": "designs of a fold are built whole; leave partial out",
}


@dataclass(frozen=True, eq=False)
class Fold:
    """A fold of one chain, with the lengths that its designs may have.

    Attributes:
        secondary: one letter for each residue, H, E, - and X where it is open.
        adjacent: (K, K) bool between blocks, in their order along the chain.
        name: for people.
        insertion: least and most residues that each loop between two blocks gains.
        start, end: the same before the first residue and behind the last.

    Raises:
        ValueError: other letters, no residues or too many, a matrix of another size or not symmetric, or a range that ends
            before it begins.
    """

    secondary: str
    adjacent: NDArray[np.bool_]
    name: str = "fold"
    insertion: tuple[int, int] = (0, 0)
    start: tuple[int, int] = (0, 0)
    end: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        wrong = sorted(set(self.secondary) - set("HE-X"))
        if wrong:
            raise ValueError(f"secondary of a fold has the letters H, E, - and X; got {wrong[0]!r}")
        if not self.secondary:
            raise ValueError("a fold has at least one residue; secondary is empty")
        found, count = np.asarray(self.adjacent, bool), len(self.blocks)
        if found.shape != (count, count):
            raise ValueError(
                f"adjacent of a fold is (K, K) of its {count} blocks, the runs of H and of E; got {found.shape}"
            )
        if (found != found.T).any() or found.diagonal().any():
            raise ValueError("adjacent of a fold is symmetric, and no block is adjacent to itself")
        object.__setattr__(self, "adjacent", found)
        for name in _RANGES:
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"{name} of a fold is a range of residues from 0 on; got {low} to {high}")
        if self.range[1] > LONGEST:
            raise ValueError(f"a fold has up to {LONGEST} residues; got {self.range[1]}")

    @classmethod
    def of(cls, source: Any, name: str | None = None) -> Fold:
        """The fold of a chain; gaps of its file are closed.

        Args:
            source: a Protein, or a Structure, Model or Chain of Bio.PDB.
            name: by default that of its file.

        Raises:
            ValueError: several chains, or CA alone, which does not say where Cβ are.
        """
        protein = source if isinstance(source, Protein) else of_structure(source)
        if len(protein.chain_ids) != 1:
            raise ValueError(
                f"a fold is of one chain; there are {len(protein.chain_ids)}: {protein.listing()}"
            )
        if protein.ca_only:
            raise ValueError("a fold needs N, CA and C, which say where Cβ are; there are CA alone")
        letters = secondary(protein)
        told, blocks = protein.note.get("source"), [(first, stop) for _, first, stop in _blocks(letters)]
        return cls(letters, touching(protein, blocks), name or (Path(str(told)).stem if told else "fold"))

    @classmethod
    def given(cls, source: Any) -> Fold:
        """A fold, or that of a file: .json of :meth:`save`, PDB or mmCIF; or as :meth:`of`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a file of RFdiffusion's; and as :meth:`read` and :meth:`of`.
        """
        if isinstance(source, Fold):
            return source
        if not isinstance(source, str | Path):
            return cls.of(source)
        if (suffix := Path(source).suffix.lower()) == ".pt":
            raise ValueError(
                f"{source}: .pt files are pickles, which can run anything, and are not read; give the structure that "
                "it was made of, as fold='scaffold.pdb'"
            )
        if suffix == ".json":
            return cls.read(source)
        from langevin.modalities.protein.files import read_protein

        return cls.of(read_protein(source))

    # what it says

    def __len__(self) -> int:
        return len(self.secondary)

    @property
    def blocks(self) -> list[tuple[str, int, int]]:
        """Letter, first residue, and one past the last, of each."""
        return _blocks(self.secondary)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """(n,) number of the block of each residue from 1; 0 in loops."""
        return numbered(self.secondary)

    @property
    def range(self) -> tuple[int, int]:
        """Least and most residues of a design."""
        least, most = (
            len(self) + self.start[k] + self.end[k] + self.insertion[k] * len(self._loops) for k in (0, 1)
        )
        return least, most

    @property
    def _loops(self) -> list[int]:
        """The middle of each loop between two blocks."""
        pairs = itertools.pairwise(self.blocks)
        return [(stop + first) // 2 for (_, _, stop), (_, first, _) in pairs if first > stop]

    # others like it

    def masked(self, ends: int = 0) -> Fold:
        """The same with open loops, and so many residues at both ends of each block open, too.

        Blocks that have no more residues than these are left out.
        """
        if ends < 0:
            raise ValueError(f"ends is a number of residues from 0; got {ends}")
        letters, kept = np.full(len(self), "X"), []
        for k, (letter, first, stop) in enumerate(self.blocks):
            if stop - first > 2 * ends:
                letters[first + ends : stop - ends] = letter
                kept.append(k)
        return replace(self, secondary="".join(letters.tolist()), adjacent=self.adjacent[np.ix_(kept, kept)])

    def resized(
        self,
        insertion: int | tuple[int, int] = 0,
        start: int | tuple[int, int] = 0,
        end: int | tuple[int, int] = 0,
    ) -> Fold:
        """The same with ranges of lengths, each "up to" where it is one number; :meth:`draw` picks from them."""
        given = {"insertion": insertion, "start": start, "end": end}
        spans = {name: (0, value) if isinstance(value, int) else value for name, value in given.items()}
        return replace(self, **spans)  # type: ignore[arg-type]

    def draw(self, rng: Stream) -> list[Fold]:
        """A fold of fixed lengths for each row, each number uniform in its range.

        Residues that are put in are open where the fold has open ones, and loop where it has none.
        """
        loops = self._loops
        spans = [self.start, *[self.insertion] * len(loops), self.end]
        u = rng.fold("fold").uniform((len(rng), len(spans)), torch.float64).tolist()
        counts = [[low + int(x * (high - low + 1)) for x, (low, high) in zip(row, spans)] for row in u]
        return [self._longer([0, *loops, len(self)], row) for row in counts]

    def _longer(self, places: Sequence[int], counts: Sequence[int]) -> Fold:
        more = "X" if "X" in self.secondary else "-"
        ends = [*places[1:], len(self)]
        parts = [more * n + self.secondary[a:b] for n, a, b in zip(counts, places, ends, strict=True)]
        return Fold("".join(parts), self.adjacent, self.name)

    # designs

    def contig(self, asked: Any = None, length: Any = None, **beside: Any) -> str:
        """The contig of its designs: their length, or the range of it.

        Args:
            asked: a contig or a plan that is given beside the fold.
            length: as for :meth:`~langevin.modalities.protein.contigs.Contig.of`.
            beside: secondary, symmetry and partial of the design, none of which may be given.

        Raises:
            ValueError: one of these; a contig that keeps something, has several chains, or other lengths.
        """
        for name, value in beside.items():
            if value is not None:
                raise ValueError(f"{name} was given beside a fold: {_BESIDE[name]}")
        least, most = self.range
        own = f"{least}" if least == most else f"{least}-{most}"
        found = (
            asked.contig if isinstance(asked, Plan) else Contig.of(own if asked is None else asked, length)
        )
        if found.motifs or len(found.chains) > 1 or found.range() != (least, most):
            raise ValueError(
                f"a fold goes with a contig that builds all residues of one chain, here {own}, and cannot be drawn around a "
                f"motif; got {found}{'' if length is None else f' with the length {length}'}; leave the contig out"
            )
        return own

    def plans(self, plan: Plan, rng: Stream) -> list[tuple[Plan, str]]:
        """For each row a plan of fixed length, and its secondary structure; ``plan`` is of :meth:`contig`."""
        letters = [one.secondary for one in self.draw(rng)]
        return [
            (replace(plan, contig=plan.contig.fix([len(one)]), asked=plan.contig), one) for one in letters
        ]

    @property
    def potential(self) -> str:
        """The potential of its adjacency as a string, of a weight that pushes each pair alike, however many there are."""
        count = len(self.blocks)
        return f"type:fold,weight:{_WEIGHT * count * (count - 1) / 2:g}"

    def force(self, layout: Layout, unit: float) -> Force:
        """The push towards its adjacency, of the strength that designs have by default.

        Args:
            layout: with the blocks.
            unit: Å of one unit of the state.
        """
        return guiding(
            self.potential, guide_scale=1.0, guide_decay="linear", layout=layout, unit=unit
        ).guidance()

    # files

    def plain(self) -> dict[str, Any]:
        """What :meth:`save` writes."""
        pairs = np.argwhere(np.triu(self.adjacent)).tolist()
        ranges = {name: list(getattr(self, name)) for name in _RANGES}
        return {"name": self.name, "secondary": self.secondary, "adjacent": pairs, **ranges}

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, whole or not at all."""
        return write_atomic(path, json.dumps(self.plain()) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Fold:
        """A fold from a file of :meth:`save`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: no such JSON, or what :class:`Fold` does not take; the message begins with the path.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such file")
        try:
            return cls._plain(json.loads(read_text(path.parent, path.name)))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def _plain(cls, told: Any) -> Fold:
        """A fold of what was in a file."""
        if not isinstance(told, dict):
            raise ValueError(f"expected an object with secondary and adjacent, got {type(told).__name__}")
        known = [f.name for f in fields(cls)]
        for key in told:
            if key not in known:
                raise ValueError(unknown("key", key, known))
        letters, name, pairs = told.get("secondary"), told.get("name", "fold"), told.get("adjacent")
        if not isinstance(letters, str) or not isinstance(name, str):
            raise ValueError("secondary and name are texts")
        if len(letters) > LONGEST:
            raise ValueError(f"a fold has up to {LONGEST} residues; got {len(letters)}")
        if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
            raise ValueError("adjacent is a list of pairs of blocks, as [[0, 1], [1, 2]]")
        count = len(_blocks(letters))
        adjacent = np.zeros((count, count), bool)
        for i, j in pairs:
            if i == j or not (0 <= i < count and 0 <= j < count):
                raise ValueError(
                    f"adjacent has the pair [{i}, {j}]; there are {count} blocks, from 0 to {count - 1}"
                )
            adjacent[i, j] = adjacent[j, i] = True
        ranges = {key: told[key] for key in _RANGES if key in told}
        for key, value in ranges.items():
            if not _is_pair(value):
                raise ValueError(f"{key} is a pair of numbers of residues, as [0, 3]; got {value!r}")
        return cls(letters, adjacent, name, **{key: (low, high) for key, (low, high) in ranges.items()})


def numbered(letters: str) -> NDArray[np.int64]:
    """(n,) number of the block of each residue from 1; 0 in loops."""
    out = np.zeros(len(letters), np.int64)
    for k, (_, first, stop) in enumerate(_blocks(letters)):
        out[first:stop] = k + 1
    return out


def _blocks(letters: str) -> list[tuple[str, int, int]]:
    return [run for run in runs(letters) if run[0] in "HE"]


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(x) is int for x in value)
