"""Molecules: positions × elements × charges × bonds as one product state, rdkit ``Mol`` objects outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import langevin.core.catalogue  # noqa: F401  (names of processes and conditions)
from langevin.core.conditioning import Embedder
from langevin.core.errors import unknown
from langevin.core.keep import Keep
from langevin.core.parts import Part
from langevin.core.processes import Discrete, Gaussian, Process, Product, State
from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.schedules import Linear, Schedule
from langevin.core.times import Times, of_leaf, scales
from langevin.core.tokens import Tokens
from langevin.modalities.base import Failure, Modality, Samples, Table
from langevin.modalities.molecule import givens
from langevin.modalities.molecule.alignment import aligned
from langevin.modalities.molecule.atoms import Atoms, of_mol, to_mol
from langevin.modalities.molecule.descriptors import FORMULA
from langevin.modalities.molecule.edits import KeepAtoms
from langevin.modalities.molecule.filters import MoleculeFilter, MoleculeTest, measure
from langevin.modalities.molecule.formula import parse_formula
from langevin.modalities.molecule.kept import compared, marked, note
from langevin.modalities.molecule.plugin import SUFFIXES, MoleculeSpec
from langevin.modalities.molecule.sizes import SizesBy, draw
from langevin.modalities.molecule.tokens import ORDERS, AtomTokens

__all__ = ["SYMBOLS", "MoleculeModality", "make"]

_NUMBERS = {
    "H": 1,
    "B": 5,
    "C": 6,
    "N": 7,
    "O": 8,
    "F": 9,
    "Si": 14,
    "P": 15,
    "S": 16,
    "Cl": 17,
    "Br": 35,
    "I": 53,
}
SYMBOLS = {number: symbol for symbol, number in _NUMBERS.items()}


class MoleculeModality(Modality):
    """Molecules of some elements.

    The state has the leaves ``positions`` (B, N, 3), centred and in units of ``unit``; ``elements`` and ``charges`` (B, N),
    indices into the two lists; ``bonds`` (B, N, N), symmetric orders of Kekulé bonds, 0 for none. The mask tells molecules
    of several sizes apart.

    Args:
        elements: symbols.
        charges: formal charges.
        hydrogens: whether hydrogens are atoms of the state; else they are implicit.
        sizes: number of molecules by number of atoms (as text, as configurations have it); new sizes are drawn from it.
        unit: Å of one unit of the state: the deviation of the data's coordinates.
        pad: encoded batches have a multiple of this many places for atoms: a compiled network sees fewer shapes.
        schedule: of all leaves.
        conditions: embedders by name.
        sizes_by: the same molecules by number of atoms and by a condition's number
            (:mod:`~langevin.modalities.molecule.sizes`): where it is asked for, new sizes follow.

    Raises:
        ValueError: an unknown element, fewer than two elements or charges, or no sizes.
    """

    name = "molecule"
    suffix = ".sdf"
    suffixes = SUFFIXES
    spec = MoleculeSpec
    filter = MoleculeFilter
    card_width = 180
    clocks = ("positions", "elements", "charges", "bonds")

    def __init__(
        self,
        elements: Sequence[str] = ("H", "C", "N", "O"),
        charges: Sequence[int] = (-1, 0, 1),
        hydrogens: bool = True,
        sizes: Mapping[str, int] | None = None,
        unit: float = 1.4,
        pad: int = 1,
        schedule: Schedule | None = None,
        conditions: Mapping[str, Embedder] | None = None,
        sizes_by: Mapping[str, SizesBy] | None = None,
    ) -> None:
        for symbol in elements:
            if symbol not in _NUMBERS:
                raise ValueError(unknown("element", symbol, _NUMBERS))
        for what, listed in (("elements", elements), ("charges", charges)):
            if len(set(listed)) < 2:
                raise ValueError(
                    f"{what} must list at least 2, got {list(listed)}; add one, which the molecules need not have"
                )
        self.elements, self.charges = tuple(elements), tuple(int(c) for c in charges)
        self.hydrogens, self.unit, self.pad = hydrogens, float(unit), max(1, int(pad))
        self.sizes = {int(n): int(count) for n, count in (sizes or {"18": 1}).items()}
        self._conditions = dict(conditions or {})
        self.sizes_by = dict(sizes_by or {})
        self._tokens = AtomTokens(len(self.elements), len(self.charges), self.unit)
        self.pairs, self.pair_outputs = self._tokens.pairs, self._tokens.pair_outputs
        self.points = self._tokens.points
        path = schedule or Linear()
        self._process = Product(
            positions=Gaussian(path, centred=True),
            elements=Discrete(len(self.elements), path),
            charges=Discrete(len(self.charges), path),
            bonds=Discrete(ORDERS, path, pair=True),
        )

    @property
    def process(self) -> Process:
        return self._process

    @property
    def conditions(self) -> Mapping[str, Embedder]:
        return self._conditions

    @property
    def inputs(self) -> dict[str, int]:
        return self._tokens.inputs

    @property
    def outputs(self) -> dict[str, int]:
        return self._tokens.outputs

    def encode(self, items: Sequence[Any]) -> tuple[State, Tensor | None]:
        """Mol objects, or :class:`Atoms`, to the four leaves and a mask (B, N).

        Raises:
            ValueError: a molecule that this model has no state for; the message gives its place and the reason.
        """
        held = [self._atoms(item, i) for i, item in enumerate(items)]
        rows, most = len(held), max((len(atoms) for atoms in held), default=0)
        most = -(-most // self.pad) * self.pad
        positions = np.zeros((rows, most, 3), np.float32)
        elements, charges = np.zeros((rows, most), np.int64), np.zeros((rows, most), np.int64)
        bonds, mask = np.zeros((rows, most, most), np.int64), np.zeros((rows, most), bool)
        for i, atoms in enumerate(held):
            n = len(atoms)
            mask[i, :n] = True
            positions[i, :n] = (atoms.positions - atoms.positions.mean(0)) / self.unit
            elements[i, :n] = self._element_of[atoms.numbers]
            charges[i, :n] = [self.charges.index(c) for c in atoms.charges.tolist()]
            a, b, order = atoms.bonds.astype(np.int64).T
            bonds[i, a, b] = bonds[i, b, a] = order
        state = {"positions": positions, "elements": elements, "charges": charges, "bonds": bonds}
        return {name: torch.from_numpy(part) for name, part in state.items()}, torch.from_numpy(mask)

    @property
    def _element_of(self) -> np.ndarray:
        """Place of each atomic number in the list of elements, −1 where it has none."""
        table = np.full(128, -1, np.int64)
        for i, symbol in enumerate(self.elements):
            table[_NUMBERS[symbol]] = i
        return table

    def _atoms(self, item: Any, place: int) -> Atoms:
        """The atoms of a native object, with the hydrogens that this model wants."""
        try:
            atoms = item if isinstance(item, Atoms) else of_mol(item)
            if not self.hydrogens:
                atoms = atoms.heavy()
            strange = sorted({int(z) for z in atoms.numbers if self._element_of[z] < 0})
            if strange:
                raise ValueError(
                    f"has atoms of numbers {strange}; this model knows {', '.join(self.elements)}"
                )
            charged = sorted({int(c) for c in atoms.charges} - set(self.charges))
            if charged:
                raise ValueError(f"has formal charges {charged}; this model knows {list(self.charges)}")
        except ValueError as error:
            raise ValueError(f"molecule {place} {error}") from None
        return atoms

    def decode(self, state: State, mask: Tensor | None = None) -> list[Any]:
        """One Mol per row; a :class:`Failure` with rdkit's reason where the graph is none."""
        out: list[Any] = []
        for atoms in self.atoms(state, mask):
            try:
                out.append(to_mol(atoms, explicit=self.hydrogens))
            except ValueError as error:
                out.append(Failure(str(error)))
        return out

    def atoms(self, state: State, mask: Tensor | None = None) -> list[Atoms]:
        """One :class:`Atoms` per row, whatever its chemistry."""
        assert isinstance(state, dict)
        parts = {name: part.cpu().numpy() for name, part in state.items()}
        numbers = np.array([_NUMBERS[symbol] for symbol in self.elements], np.uint8)
        charges = np.array(self.charges, np.int8)
        rows, most = parts["elements"].shape
        count = [most] * rows if mask is None else mask.sum(1).tolist()
        out = []
        for i, n in enumerate(count):
            upper = np.triu(parts["bonds"][i, :n, :n], 1)
            a, b = np.nonzero(upper)
            out.append(
                Atoms(
                    numbers[parts["elements"][i, :n]],
                    (parts["positions"][i, :n] * self.unit).astype(np.float32),
                    charges[parts["charges"][i, :n]],
                    np.stack([a, b, upper[a, b]], 1).astype(np.int16),
                )
            )
        return out

    def blank(
        self, indices: Sequence[int], rng: Stream, conditions: Mapping[str, Any], spec: Any
    ) -> tuple[State, Tensor | None]:
        """Zeros of the size that ``spec`` or a formula asks for, or of sizes drawn from those trained on,
        given the numbers that are asked for.

        Raises:
            ValueError: fewer than one atom, or another number than the formula has.
        """
        asked = getattr(spec, "atoms", None)
        if asked is not None and asked < 1:
            raise ValueError(f"atoms must be at least 1, got {asked}")
        if FORMULA in conditions:
            counts = [sum(parse_formula(f, self.elements).values()) for f in conditions[FORMULA]]
            if asked is not None and set(counts) != {asked}:
                raise ValueError(f"atoms={asked}, and the formula has {counts[0]}; leave out one of the two")
            count = torch.tensor(counts)
        elif asked is None:
            count = draw(self.sizes, self.sizes_by, conditions, rng)
        else:
            count = torch.full((len(rng),), asked)
        rows, most = len(rng), int(count.max())
        mask = torch.arange(most) < count[:, None]
        whole = torch.zeros(rows, most, dtype=torch.long)
        return {
            "positions": torch.zeros(rows, most, 3),
            "elements": whole,
            "charges": whole.clone(),
            "bonds": torch.zeros(rows, most, most, dtype=torch.long),
        }, mask

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        return self._tokens.tokens(state, mask)

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        return self._tokens.untokens(values, like)

    def couple(
        self,
        x: State,
        noise: State,
        rng: Stream,
        mask: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        apart: Tensor | None = None,
    ) -> State:
        """The molecules turned and their atoms ordered to lie near their noise."""
        return aligned(x, noise, rng, mask, given, apart)

    def noised(self, x: State, t: Times, rng: Stream, mask: Tensor | None = None) -> State:
        """Noised, with the noise of positions turned and ordered to lie near the molecules, as theirs was in training."""
        assert isinstance(x, dict)
        noisy = self.process.corrupt(x, t, rng, mask=mask)
        near = aligned(self.process.prior(x, rng, mask), x, rng.fold("couple"), mask)["positions"]
        schedule = self.process.leaves["positions"].schedule  # type: ignore[attr-defined]
        alpha, sigma = scales(schedule, of_leaf(t, "positions"), near)
        return {**noisy, "positions": alpha * x["positions"] + sigma / schedule.at(1.0)[1] * near}  # type: ignore[dict-item]

    def parts(self, x: State, rng: Stream, mask: Tensor | None, share: float) -> Sequence[Part]:
        """Molecules with a given fragment, and all others."""
        return givens.parts(self.process, x, rng, mask, share)

    def framed(self, x: State, given: Mapping[str, Tensor], mask: Tensor | None) -> tuple[State, Process]:
        """Centred on the given atoms where some are; as they are where positions are given whole or not at all."""
        assert isinstance(x, dict)
        atoms = given.get("positions")
        real = torch.ones_like(x["elements"], dtype=torch.bool) if mask is None else mask
        if atoms is None or not bool(atoms.any()) or bool((atoms | ~real).all()):
            return x, self.process
        return givens.centred_on(x, atoms & real, mask), givens.free(self.process)

    def chosen(self, keep: Keep, known: State, items: Sequence[Any] = ()) -> State:
        """Where the state is kept: whole leaves, or the atoms chosen and the bonds between them.

        Raises:
            ValueError: an unknown leaf, or all of them.
        """
        assert isinstance(known, dict)
        rows, most = known["elements"].shape
        if keep.leaves:
            for name in keep.leaves:
                if name not in known:
                    raise ValueError(unknown("leaf of a molecule", name, known))
            if len(set(keep.leaves)) == len(known):
                raise ValueError(f"keep={keep.name} keeps all of the molecule; nothing is left to generate")
            return {
                name: torch.ones(known[name].shape[: 3 if name == "bonds" else 2], dtype=torch.bool)
                for name in keep.leaves
            }
        atoms = keep((most,)).expand(rows, most)
        return {
            "positions": atoms.clone(),
            "elements": atoms.clone(),
            "charges": atoms.clone(),
            "bonds": keep.pairs(atoms) if isinstance(keep, KeepAtoms) else atoms[:, :, None] & atoms[:, None],
        }

    def restore(self, item: Any, original: Any, keep: Keep) -> Any:
        """The molecule in the user's own frame, with the user's own coordinates where atoms are kept."""
        return marked(givens.restored(item, original, keep, self.hydrogens), original, keep, self.hydrogens)

    def save(self, item: Any, path: Path) -> None:
        from langevin.modalities.molecule.files import write_sdf

        write_sdf([item], path)

    def read(self, path: Path) -> Any:
        from langevin.modalities.molecule.files import read_one

        return read_one(path)

    def picture(self, item: Any) -> Any:
        from langevin.modalities.molecule.view import picture

        return picture(item)

    def html(self, item: Any) -> str:
        from langevin.modalities.molecule.view import to_html

        found = compared(item) if hasattr(item, "GetNumAtoms") else None
        return to_html(item) if found is None else to_html(item, over=[found.reference])

    def note(self, item: Any) -> str:
        """Of a molecule that keeps a part of another one: how much of it, or how far its geometry is from the other's."""
        return note(item)

    def evaluate(
        self,
        items: Sequence[Any],
        reference: Sequence[Any] | None = None,
        full: bool | None = None,
        subsample: int | None = None,
        hydrogens: bool | None = None,
    ) -> Table | None:
        """The table of :func:`~langevin.modalities.molecule.metrics.evaluate`.

        Args:
            items, reference: as for every modality.
            full, subsample, hydrogens: :class:`~langevin.modalities.molecule.plugin.MoleculeEvaluation`.
        """
        from langevin.modalities.molecule.metrics import SUBSAMPLE, evaluate

        some = subsample if subsample is not None else None if full else SUBSAMPLE
        return evaluate(items, reference, full=bool(full), subsample=some, hydrogens=hydrogens)

    def test(self, asked: Any) -> Callable[[Any], tuple[bool, Mapping[str, Any]]]:
        return MoleculeTest(asked, self.hydrogens)

    def measure(self, items: Sequence[Any], names: Sequence[str]) -> list[Mapping[str, Any]]:
        return [*measure(items, names, self.hydrogens)]

    def read_all(self, path: Path) -> list[Any]:
        """Every record of a file; those without coordinates (SMILES, drawings) as a graph alone."""
        from langevin.modalities.molecule.files import iter_records

        return [record.item for record in iter_records(path, flat="graph")]

    def files(self, samples: Samples) -> Mapping[str, Callable[[Path], object]]:
        """``molecules.sdf`` and ``scores.csv``; see :mod:`langevin.modalities.molecule.scores`."""
        from langevin.modalities.molecule.scores import files

        return files(samples, self.hydrogens)


MODALITIES = Registry("molecule modality", MoleculeModality)
MODALITIES.register("molecule")(MoleculeModality)


def make(settings: Mapping[str, Any]) -> MoleculeModality:
    """The modality that a configuration describes."""
    return build(MODALITIES, {"name": "molecule", **settings})  # type: ignore[no-any-return]
