"""What is asked of records, and what comes of them: a molecule or a reason for each, with notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from langevin.core.errors import unknown
from langevin.modalities.molecule.atoms import MAX_ATOMS, quiet
from langevin.modalities.samples import Failure

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["Demands", "Record", "Records", "number_of"]


@dataclass(frozen=True)
class Demands:
    """What is asked of records, and what is done to them.

    Attributes:
        elements: symbols that are taken; None takes all.
        most: atoms that are taken, at most MAX_ATOMS.
        connected: whether several fragments are a failure; otherwise they are a note.
        hydrogens: "keep" what is there, "add" those that are missing with coordinates, or "remove" all.
        flat: "refuse" drawings, or "embed" them (ETKDG and MMFF); "graph" takes drawings, and SMILES, without any
            conformer.
        charge: of XYZ frames whose comment has no ``charge=``.
        seed: of conformers, for SMILES and drawings.
        relax: whether conformers are minimised.

    Raises:
        ValueError: an unknown element or word, or `most` outside 1 … MAX_ATOMS.
    """

    elements: Sequence[str] | None = None
    most: int = MAX_ATOMS
    connected: bool = False
    hydrogens: str = "keep"
    flat: str = "refuse"
    charge: int = 0
    seed: int = 0
    relax: bool = True

    def __post_init__(self) -> None:
        if self.hydrogens not in ("keep", "add", "remove"):
            raise ValueError(unknown("value of hydrogens", self.hydrogens, ("keep", "add", "remove")))
        if self.flat not in ("refuse", "embed", "graph"):
            raise ValueError(unknown("value of flat", self.flat, ("refuse", "embed", "graph")))
        if not 1 <= self.most <= MAX_ATOMS:
            raise ValueError(f"most must be 1 to {MAX_ATOMS}; got {self.most}")
        for symbol in self.elements or ():
            number_of(symbol)


@dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        place: "record 3", "frame 2", "line 12", with its title where it has one.
        item: the molecule, or a :class:`Failure` whose reason begins with the place.
        notes: what a user should know of it.
    """

    place: str
    item: Mol | Failure
    notes: tuple[str, ...] = ()


class Records(Sequence[Any]):
    """The molecules and failures of a file, in its order.

    Attributes:
        source: the file.
        records: every one, with its notes.
    """

    def __init__(self, source: str, records: Iterable[Record]) -> None:
        self.source, self.records = source, list(records)

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [record.item for record in self.records[index]]
        return self.records[index].item

    @property
    def molecules(self) -> list[Mol]:
        """Those that were read."""
        return [record.item for record in self.records if not isinstance(record.item, Failure)]

    @property
    def failures(self) -> list[Failure]:
        """Those that were not, with their reasons."""
        return [record.item for record in self.records if isinstance(record.item, Failure)]

    def summary(self, shown: int = 10) -> str:
        """How many were read, why others were not, and the notes: `shown` lines of each."""
        lost = [failure.reason for failure in self.failures]
        notes = [f"{record.place}: {note}" for record in self.records for note in record.notes]
        head = f"{self.source}: {len(self) - len(lost)} of {len(self)} records read"
        parts = [head] + [
            _listed(what, lines, shown) for what, lines in (("failed", lost), ("notes", notes)) if lines
        ]
        return "\n".join(parts)


def number_of(symbol: str) -> int:
    """The atomic number of an element's symbol, in any case of letters."""
    from rdkit import Chem

    try:
        with quiet():
            return int(Chem.GetPeriodicTable().GetAtomicNumber(symbol.capitalize()))
    except RuntimeError:
        raise ValueError(f"{symbol!r:.20} is not an element") from None


def _listed(what: str, lines: list[str], shown: int) -> str:
    more = f"\n  and {len(lines) - shown} more" if len(lines) > shown else ""
    return f"{len(lines)} {what}:" + "".join(f"\n  {line}" for line in lines[:shown]) + more
