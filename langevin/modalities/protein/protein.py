"""A protein as arrays: the backbone of each residue, its type, and where it stands in its file.

Residues stand in the order of their file. Names of chains, residue numbers and insertion codes are those of the
authors (for mmCIF: ``auth_asym_id``, ``auth_seq_id``), the only ones that papers and contigs use. Coordinates are in Å.

The native object is Biopython's ``Structure``. What is settled on the way from it, and counted in ``note["read"]``:

    residues                those with a CA (of carbon) whose name is of an amino acid or modified one, or which have N,
                            CA and C. One of HETATM records belongs to the chain if a peptide bond ties it to a
                            neighbour, or if it is selenomethionine; otherwise it is a ligand.
    modified residues       take the name and the side chain of their parent (MSE of MET), UNKNOWN where none is known
    alternate locations     the label of a residue whose atoms have the highest mean occupancy, the first where two are
                            equal; an atom without that label by its own occupancies. Of two residues at one place
                            (a point mutation) likewise.
    waters, ligands, nucleotides, hydrogens     left out, and so are residues without a CA
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.protein.native import NEAR, PEPTIDE, TERMINAL, residues_of
from langevin.modalities.residues import LETTER

if TYPE_CHECKING:
    from Bio.PDB.Structure import Structure
else:
    Structure: TypeAlias = Any

__all__ = [
    "ALPHABET",
    "ATOMS",
    "PLACEHOLDER",
    "THREE",
    "UNKNOWN",
    "Protein",
    "SideChains",
    "join",
    "of_structure",
    "to_structure",
    "types_of",
]

ALPHABET = "ACDEFGHIKLMNPQRSTVWY"
UNKNOWN = 20  # the letter X: no type was designed, or it is not one of the twenty
ATOMS = ("N", "CA", "C", "O")
THREE = {letter: name for name, letter in LETTER.items()}
PLACEHOLDER = "GLY"  # the name under which a residue without a type is written


@dataclass(frozen=True, eq=False)
class SideChains:
    """Heavy atoms beside the backbone, in the order of their residues.

    Attributes:
        residue: (m,) int32, index of the residue.
        name: (m,) str, as CB, CG1 or OXT.
        xyz: (m, 3) float32, Å.
    """

    residue: NDArray[np.int32]
    name: NDArray[np.str_]
    xyz: NDArray[np.float32]

    def __post_init__(self) -> None:
        order = np.argsort(np.asarray(self.residue), kind="stable")
        _settle(self, residue=(np.int32, (len(order),)), name=(np.str_, (len(order),)))
        _settle(self, xyz=(np.float32, (len(order), 3)))
        for column in ("residue", "name", "xyz"):
            object.__setattr__(self, column, getattr(self, column)[order])

    def __len__(self) -> int:
        return len(self.residue)

    def of(self, index: int) -> dict[str, NDArray[np.float32]]:
        """Positions (3,) in Å of the atoms of one residue, by name."""
        a, b = np.searchsorted(self.residue, (index, index + 1)).tolist()
        return dict(zip(self.name[a:b].tolist(), self.xyz[a:b]))

    def pick(self, chosen: NDArray[np.int64]) -> SideChains:
        """Those of the residues `chosen`, which get the numbers 0, 1, … in this order."""
        first, last = (np.searchsorted(self.residue, chosen, side) for side in ("left", "right"))
        rows = [np.arange(a, b) for a, b in zip(first.tolist(), last.tolist())]
        taken = np.concatenate([np.zeros(0, np.int64), *rows])
        owner = np.repeat(np.arange(len(chosen)), last - first)
        return SideChains(owner.astype(np.int32), self.name[taken], self.xyz[taken])


@dataclass(frozen=True, eq=False)
class Protein:
    """Residues with their backbones.

    Attributes:
        backbone: (n, 4, 3) float32 Å, N CA C O; NaN where an atom is missing, which CA never is.
        types: (n,) int8, index into ALPHABET; UNKNOWN where none was designed, or it is not one of the twenty.
        chains: (n,) str, the chain of each residue; an empty text where the file has a blank.
        numbers: (n,) int32, residue numbers as in the file.
        insertions: (n,) str, insertion codes; an empty text for none.
        side: heavy side-chain atoms where they are known, so that kept parts are written back whole.
        note: how it was made or read; plain data.

    Raises:
        ValueError: arrays that do not fit together, a CA without a position, or a type that there is not.
    """

    backbone: NDArray[np.float32]
    types: NDArray[np.int8]
    chains: NDArray[np.str_]
    numbers: NDArray[np.int32]
    insertions: NDArray[np.str_]
    side: SideChains | None = None
    note: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.backbone)
        _settle(
            self, backbone=(np.float32, (n, len(ATOMS), 3)), types=(np.int8, (n,)), numbers=(np.int32, (n,))
        )
        _settle(self, chains=(np.str_, (n,)), insertions=(np.str_, (n,)))
        if n and not np.isfinite(self.backbone[:, 1]).all():
            k = int(np.isfinite(self.backbone[:, 1]).all(1).argmin())
            raise ValueError(f"residue {self.label(k)} has no position of its CA")
        if n and not 0 <= self.types.min() <= self.types.max() <= UNKNOWN:
            raise ValueError(f"types are 0 to {UNKNOWN}; got {self.types.min()} to {self.types.max()}")
        if (
            self.side is not None
            and len(self.side)
            and not 0 <= self.side.residue[0] <= self.side.residue[-1] < n
        ):
            raise ValueError(f"side chains belong to residue {self.side.residue[-1]} of {n} residues")

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, index: Any) -> Protein:
        """The residues of an index, a slice, an array of indices or a mask, with their side chains; in that order."""
        chosen = np.atleast_1d(np.arange(len(self))[index])
        side = None if self.side is None else self.side.pick(chosen)
        return Protein(
            self.backbone[chosen],
            self.types[chosen],
            self.chains[chosen],
            self.numbers[chosen],
            self.insertions[chosen],
            side,
            self.note,
        )

    @property
    def sequence(self) -> str:
        """One letter for each residue; X for UNKNOWN."""
        return "".join((ALPHABET + "X")[k] for k in self.types.tolist())

    @property
    def chain_ids(self) -> list[str]:
        """The chains, in the order of the file."""
        return list(dict.fromkeys(self.chains.tolist()))

    @property
    def ca_only(self) -> bool:
        """Whether no residue has any other backbone atom than CA."""
        return bool(len(self)) and bool(np.isnan(self.backbone[:, [0, 2, 3]]).all())

    @property
    def complete(self) -> NDArray[np.bool_]:
        """(n,) whether N, CA and C are all there, so that the residue has a frame."""
        return np.asarray(np.isfinite(self.backbone[:, :3]).all((1, 2)))

    @property
    def breaks(self) -> NDArray[np.bool_]:
        """(n,) whether a residue does not follow the one before it, as the first never does.

        It is of another chain, or the C–N distance is over 2 Å; where C or N is missing, the number is not the next
        one (nor the same with another insertion code), or CA–CA is over 4.5 Å.
        """
        found = np.ones(len(self), bool)
        if len(self) < 2:
            return found
        distance = np.linalg.norm(self.backbone[1:, 0] - self.backbone[:-1, 2], axis=-1)
        step = np.diff(self.numbers)
        next_one = (step == 1) | ((step == 0) & (self.insertions[1:] != self.insertions[:-1]))
        near = np.linalg.norm(np.diff(self.backbone[:, 1], axis=0), axis=-1) <= NEAR
        follows = np.where(np.isfinite(distance), distance <= PEPTIDE, next_one & near)
        found[1:] = ~follows | (self.chains[1:] != self.chains[:-1])
        return found

    def label(self, index: int) -> str:
        """``A52`` with the insertion code behind the number, as residues are written in contigs."""
        return f"{self.chains[index]}{self.numbers[index]}{self.insertions[index]}"

    def where(self, chain: str, number: int, insertion: str = "") -> int:
        """The index of a residue; the first where a file has two of that name.

        Raises:
            KeyError: no such residue; the message lists those of the chain, or the chains.
        """
        in_chain = self.chains == chain
        found = np.flatnonzero(in_chain & (self.numbers == number) & (self.insertions == insertion))
        if len(found):
            return int(found[0])
        if not in_chain.any():
            raise KeyError(f"no chain {chain!r}; there is {self.listing()}")
        raise KeyError(f"no residue {chain}{number}{insertion}; chain {chain} has {self.listing(chain)}")

    def listing(self, chain: str | None = None, most: int = 20) -> str:
        """The residues in runs of consecutive numbers: ``A1-30, A40-100, A100A``.

        Args:
            chain: of this one only.
            most: runs that are listed.
        """
        runs: list[list[int]] = []
        for k in np.flatnonzero(self.chains == chain).tolist() if chain is not None else range(len(self)):
            last = runs[-1][-1] if runs else None
            if (
                last is not None
                and self.chains[k] == self.chains[last]
                and self.numbers[k] == self.numbers[last] + 1
                and not self.insertions[k]
                and not self.insertions[last]
            ):
                runs[-1].append(k)
            else:
                runs.append([k])
        names = [self.label(r[0]) + (f"-{self.numbers[r[-1]]}" if len(r) > 1 else "") for r in runs[:most]]
        more = f" and {len(runs) - most} more" if len(runs) > most else ""
        return ", ".join(names) + more if runs else "no residues"


def types_of(sequence: str) -> NDArray[np.int8]:
    """(n,) indices into ALPHABET of one-letter names, of either case; UNKNOWN for every other letter."""
    index = {letter: k for k, letter in enumerate(ALPHABET)}
    return np.array([index.get(letter, UNKNOWN) for letter in sequence.upper()], np.int8)


def join(parts: Sequence[Protein], note: Mapping[str, Any] | None = None) -> Protein:
    """One protein of the residues of several, in their order; with the side chains of those that have any.

    Raises:
        ValueError: no parts.
    """
    if not parts:
        raise ValueError("there are no proteins to join")
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    held = [(start, part.side) for start, part in zip(starts, parts) if part.side is not None]
    side = None
    if held:
        side = SideChains(
            np.concatenate([part.residue + start for start, part in held]),
            np.concatenate([part.name for _, part in held]),
            np.concatenate([part.xyz for _, part in held]),
        )
    return Protein(
        np.concatenate([part.backbone for part in parts]),
        np.concatenate([part.types for part in parts]),
        np.concatenate([part.chains for part in parts]),
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.insertions for part in parts]),
        side,
        dict(note or {}),
    )


def _settle(holder: Any, **columns: tuple[Any, tuple[int, ...]]) -> None:
    """Give columns their types; ValueError where one has another shape."""
    for name, (dtype, shape) in columns.items():
        value = np.asarray(getattr(holder, name), dtype)
        if value.shape != shape:
            raise ValueError(f"{name} has the shape {value.shape}; {shape} was expected")
        object.__setattr__(holder, name, value)


def of_structure(entity: Any) -> Protein:
    """A protein from Biopython's objects.

    Args:
        entity: a ``Structure``, of which the first model is taken, a ``Model`` or a ``Chain``.

    Returns:
        Its note is the one that :func:`to_structure` left; without that it has ``note["read"]``: the numbers ``models``,
        ``waters``, ``nucleotides``, ``hydrogens``, ``alternates`` (atoms with several locations) and ``skipped`` (what
        stood there twice); numbers by name of ``ligands``, ``without_ca``, ``modified`` and ``unknown`` residues; and
        ``missing``, the residues [chain, number, insertion, name] that the file says were not seen.

    Raises:
        ValueError: another object, no model, no residue of a protein, or an atom with an impossible position.
    """
    level = getattr(entity, "level", None)
    if level not in ("S", "M", "C"):
        raise ValueError(
            f"a protein is made from a Structure, Model or Chain of Bio.PDB; got {type(entity).__name__}"
        )
    if level == "S" and not len(entity):
        raise ValueError("the structure has no model")
    model = next(iter(entity)) if level == "S" else entity
    whole = entity
    while whole.get_parent() is not None:
        whole = whole.get_parent()
    about = {"models": len(whole) if whole.level == "S" else 1, "skipped": 0, "missing": []}
    source = whole.xtra.get("source")
    try:
        residues, read = residues_of(model)
    except ValueError as error:
        raise ValueError(f"{source or whole.id or 'the structure'}: {error}") from None
    side = [(k, name, xyz) for k, residue in enumerate(residues) for name, xyz in residue.side.items()]
    return Protein(
        np.stack([residue.backbone for residue in residues]),
        types_of("".join(LETTER.get(residue.name or "", "X") for residue in residues)),
        np.array([residue.chain for residue in residues]),
        np.array([residue.number for residue in residues], np.int32),
        np.array([residue.insertion for residue in residues]),
        SideChains(
            np.array([k for k, _, _ in side], np.int32),
            np.array([name for _, name, _ in side], np.str_),
            np.array([xyz for _, _, xyz in side], np.float32).reshape(-1, 3),
        ),
        {
            **({"source": source} if source else {}),
            "read": {**about, **whole.xtra.get("file", {}), **read},
            **whole.xtra.get("note", {}),
        },
    )


def to_structure(
    protein: Protein, name: str = "design", bfactors: Sequence[float] | None = None
) -> Structure:
    """Biopython's ``Structure`` of a protein, with one model.

    A residue of UNKNOWN type is a GLY whose ``xtra`` has ``placeholder``; OXT stands at the ends of chains only.

    Args:
        protein: what to convert.
        name: id of the structure.
        bfactors: (n,) one for each residue, for all of its atoms; 0 without.

    Raises:
        ImportError: Biopython is not installed.
        ValueError: two residues of one chain with the same number and insertion code, or `bfactors` of another length.
    """
    from langevin import optional

    optional.biopython()
    from Bio.PDB.StructureBuilder import StructureBuilder

    n, breaks = len(protein), protein.breaks
    marks = np.zeros(n) if bfactors is None else np.asarray(bfactors, np.float64)
    if marks.shape != (n,):
        raise ValueError(f"bfactors has the shape {marks.shape}; {(n,)} was expected")
    builder = StructureBuilder()
    builder.init_structure(name)
    builder.init_model(0)
    builder.init_seg("    ")
    serial, seen = 0, set()
    for chain in protein.chain_ids:
        builder.init_chain(chain or " ")
        for k in np.flatnonzero(protein.chains == chain).tolist():
            place = (int(protein.numbers[k]), str(protein.insertions[k]) or " ")
            if (chain, *place) in seen:
                raise ValueError(
                    f"the residue {protein.label(k)} is there twice; chain and number must name one"
                )
            seen.add((chain, *place))
            known = protein.types[k] != UNKNOWN
            letters = THREE[ALPHABET[protein.types[k]]] if known else PLACEHOLDER
            builder.init_residue(letters, " ", *place)
            if not known:
                builder.residue.xtra["placeholder"] = True
            ends = k + 1 == n or bool(breaks[k + 1])
            for atom, xyz in _atoms(protein, k, ends):
                serial += 1
                mark = float(marks[k])
                builder.init_atom(
                    atom, xyz, mark, 1.0, " ", f" {atom:<3}", serial_number=serial, element=atom[0]
                )
    structure = builder.get_structure()
    structure.xtra["note"] = dict(protein.note)
    return structure


def _atoms(protein: Protein, k: int, ends: bool) -> Iterable[tuple[str, NDArray[np.float32]]]:
    """Atoms of one residue in the order of files; OXT if the chain ends here."""
    for name, xyz in zip(ATOMS, protein.backbone[k]):
        if np.isfinite(xyz).all():
            yield name, xyz
    for name, xyz in (protein.side.of(k) if protein.side is not None else {}).items():
        if name == TERMINAL and not ends:
            continue
        if protein.types[k] != UNKNOWN or name == TERMINAL:
            yield name, xyz
