"""Ligands in protein pockets: the pocket's atoms are given elements of the state in which the ligand is drawn.

    state     atoms of the pocket, then atoms of the ligand; heavy atoms only
    elements  those of ligands, then kinds of protein atoms (:data:`KINDS`): what is pocket, and what it is chemically
    bonds     of the ligand as in molecules; of the pocket from distances, all single; none between the two

The pocket is shown clean, at time 0, in training and in sampling (:mod:`langevin.core.parts`). Its kinds are never drawn:
their logits are so low that their probability is 0.

Frame. The origin is the mean of the pocket's atoms that are shown, the ``pocket_atoms`` nearest to a point, and the noise
of the ligand is normal around it. Nothing that the network sees depends on where the true ligand lies in a given pocket.
But a pocket that is cut around its ligand tells by its own centre where the ligand is, and there is none when a user
names a point: so in training the point lies up to some Å from the centre of the pocket
(:mod:`~langevin.modalities.molecule.binding_data`). Which residues there are to choose from still follows from the
ligand that the pocket was cut around.

Directions in space mean nothing, so complexes are turned at random in training; the ligand is not aligned with its noise,
since the pocket says how it lies. Only the order of its atoms is chosen to lie near the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from langevin.core import keep as keeping
from langevin.core.conditioning import Embedder
from langevin.core.keep import Keep
from langevin.core.parts import Part
from langevin.core.processes import Discrete, Gaussian, Process, Product, State
from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.schedules import Linear, Schedule
from langevin.core.times import Times
from langevin.core.tokens import Tokens
from langevin.modalities.base import Samples
from langevin.modalities.molecule import givens
from langevin.modalities.molecule.alignment import aligned
from langevin.modalities.molecule.atoms import Atoms
from langevin.modalities.molecule.binding_plugin import PocketSpec
from langevin.modalities.molecule.edits import KeepAtoms
from langevin.modalities.molecule.kept import marked
from langevin.modalities.molecule.modality import MoleculeModality
from langevin.modalities.molecule.pockets import Pocket, Role
from langevin.modalities.molecule.residues import RESIDUES
from langevin.modalities.molecule.tokens import ORDERS, AtomTokens

__all__ = ["KINDS", "Placed", "PocketModality", "kinds", "make"]

ELEMENTS = ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")
MOST = 64  # heavy atoms of a ligand
_NEVER = -1e4  # a logit whose probability is exactly 0, and which stays finite in a loss

KINDS = (
    "backbone N", "alpha C", "backbone C", "backbone O", "aliphatic C", "aromatic C", "polar C", "amide N", "amine N",
    "guanidine N", "ring N", "hydroxyl O", "carboxyl O", "amide O", "sulfur", "other", "cofactor C", "cofactor N",
    "cofactor O", "cofactor other", "metal",
)  # fmt: skip
_BACKBONE = {"N": "backbone N", "CA": "alpha C", "C": "backbone C", "O": "backbone O", "OXT": "carboxyl O"}
_SIDE_CHAINS = {
    "aromatic C": {
        "PHE": "CG CD1 CD2 CE1 CE2 CZ", "TYR": "CG CD1 CD2 CE1 CE2 CZ", "HIS": "CG CD2 CE1",
        "TRP": "CG CD1 CD2 CE2 CE3 CZ2 CZ3 CH2",
    },
    "polar C": {"ASP": "CG", "ASN": "CG", "GLU": "CD", "GLN": "CD", "ARG": "CZ"},
    "amide N": {"ASN": "ND2", "GLN": "NE2"},
    "guanidine N": {"ARG": "NE NH1 NH2"},
    "ring N": {"HIS": "ND1 NE2", "TRP": "NE1"},
    "carboxyl O": {"ASP": "OD1 OD2", "GLU": "OE1 OE2"},
    "amide O": {"ASN": "OD1", "GLN": "OE1"},
}  # fmt: skip
_NAMED = {
    (residue, name): kind
    for kind, held in _SIDE_CHAINS.items()
    for residue, names in held.items()
    for name in names.split()
}
_BY_ELEMENT = {6: "aliphatic C", 7: "amine N", 8: "hydroxyl O", 16: "sulfur", 34: "sulfur"}
_COFACTOR = {6: "cofactor C", 7: "cofactor N", 8: "cofactor O"}


@dataclass(frozen=True, eq=False)
class Placed:
    """A ligand, or places for one, in a pocket; both in one frame.

    Attributes:
        pocket: whole, of which the model sees the nearest atoms.
        ligand: heavy atoms.
        around: (3,) Å, to which the nearest are meant; the centre of the pocket when None.
    """

    pocket: Pocket
    ligand: Atoms
    around: NDArray[Any] | None = None


def kinds(pocket: Pocket) -> NDArray[np.int64]:
    """(m,) what each atom of a pocket is, indices into :data:`KINDS`."""
    out = np.empty(len(pocket), np.int64)
    for k, (name, number) in enumerate(zip(pocket.names, pocket.numbers.tolist())):
        role = Role(int(pocket.roles[k]))
        if role == Role.METAL:
            kind = "metal"
        elif role == Role.COFACTOR:
            kind = _COFACTOR.get(number, "cofactor other")
        elif role in (Role.BACKBONE, Role.ALPHA):
            kind = _BACKBONE.get(name, "other")
        else:
            fallback = _BY_ELEMENT.get(number, "other")
            kind = _NAMED.get((RESIDUES[pocket.residues[k]], name), fallback)
        out[k] = KINDS.index(kind)
    return out


class PocketModality(MoleculeModality):
    """Ligands in pockets.

    Native objects are :class:`Placed`, or anything with a ``pocket`` and a ``ligand``
    (:class:`~langevin.modalities.molecule.complexes.Complex`); samples are the ligands, rdkit ``Mol`` objects whose
    hydrogens are implicit, in the frame of the pocket's file.

    Args:
        elements: of ligands.
        charges: formal charges of ligands.
        pocket_atoms: how many atoms of a pocket are shown.
        sizes: by the most atoms that a whole pocket has (as text), the number of ligands by number of heavy atoms; new
            sizes are drawn from the first entry that the pocket does not exceed, or the last.
        unit: Å of one unit of the state: the deviation of ligands' coordinates in the frame of the pocket.
        pad: encoded batches have a multiple of this many places.
        schedule: of all leaves.
        conditions: embedders by name.

    Raises:
        ValueError: an unknown element, or no atoms of pockets.
    """

    name = "pocket"
    spec: ClassVar[type] = PocketSpec  # type: ignore[assignment]

    def __init__(
        self,
        elements: Sequence[str] = ELEMENTS,
        charges: Sequence[int] = (-1, 0, 1),
        pocket_atoms: int = 96,
        sizes: Mapping[str, Mapping[str, int]] | None = None,
        unit: float = 3.4,
        pad: int = 1,
        schedule: Schedule | None = None,
        conditions: Mapping[str, Embedder] | None = None,
    ) -> None:
        super().__init__(elements, charges, False, None, unit, pad, schedule, conditions)
        if pocket_atoms < 1:
            raise ValueError(f"pocket_atoms must be at least 1, got {pocket_atoms}")
        self.pocket_atoms = int(pocket_atoms)
        self.histograms = {
            int(most): {int(n): int(count) for n, count in held.items()}
            for most, held in (sizes or {"0": {"24": 1}}).items()
        }
        classes, path = len(self.elements) + len(KINDS), schedule or Linear()
        self._tokens = AtomTokens(classes, len(self.charges), self.unit)
        self._process = Product(
            positions=Gaussian(path),
            elements=Discrete(classes, path),
            charges=Discrete(len(self.charges), path),
            bonds=Discrete(ORDERS, path, pair=True),
        )

    @property
    def outputs(self) -> dict[str, int]:
        return {**self._tokens.outputs, "elements": len(self.elements)}

    def of_pocket(self, state: State) -> Tensor:
        """(B, N) which atoms are the pocket's."""
        assert isinstance(state, dict)
        kind, first = state["elements"], len(self.elements)
        if kind.is_floating_point():  # probabilities
            return kind[..., first:].sum(-1) > 0.5
        return (kind >= first) & (kind < first + len(KINDS))

    def shown(self, item: Any) -> NDArray[np.int64]:
        """Indices of the pocket's atoms that the model sees, nearest first."""
        around = getattr(item, "around", None)
        point = item.pocket.centre if around is None else around
        away = np.linalg.norm(item.pocket.positions.astype(np.float64) - point, axis=1)
        return np.argsort(away, kind="stable")[: self.pocket_atoms]

    def origin(self, item: Any) -> NDArray[np.float64]:
        """(3,) Å, what is the origin of the state in the frame of the item: the mean of the atoms that are shown."""
        return item.pocket.positions[self.shown(item)].mean(0, dtype=np.float64)  # type: ignore[no-any-return]

    def encode(self, items: Sequence[Any]) -> tuple[State, Tensor | None]:
        """Pockets with their ligands to the four leaves and a mask (B, N).

        Raises:
            ValueError: a ligand or a pocket that this model has no state for; the message gives its place and the reason.
        """
        held = []
        for i, item in enumerate(items):
            if not hasattr(item, "pocket") or not hasattr(item, "ligand"):
                raise ValueError(
                    f"item {i} is a {type(item).__name__}; a ligand with its pocket is wanted: Placed(pocket, ligand)"
                )
            if not len(item.pocket):
                raise ValueError(f"the pocket of item {i} has no atoms")
            if not np.isfinite(item.pocket.positions).all():
                raise ValueError(f"the pocket of item {i} has coordinates that are not finite")
            ligand = self._atoms(item.ligand, i)
            if len(ligand) > MOST:
                raise ValueError(f"molecule {i} has {len(ligand)} heavy atoms; at most {MOST} are taken")
            held.append((item.pocket, self.shown(item), ligand))
        rows = len(held)
        most = max((len(seen) + len(ligand) for _, seen, ligand in held), default=0)
        most = -(-most // self.pad) * self.pad
        positions = np.zeros((rows, most, 3), np.float32)
        elements, charges = np.zeros((rows, most), np.int64), np.zeros((rows, most), np.int64)
        bonds, mask = np.zeros((rows, most, most), np.int64), np.zeros((rows, most), bool)
        for i, (pocket, seen, ligand) in enumerate(held):
            m, n = len(seen), len(seen) + len(ligand)
            mask[i, :n] = True
            both = np.concatenate([pocket.positions[seen], ligand.positions]).astype(np.float64)
            positions[i, :n] = (both - both[:m].mean(0)) / self.unit
            elements[i, :m] = len(self.elements) + kinds(pocket)[seen]
            elements[i, m:n] = self._element_of[ligand.numbers]
            charges[i, :m] = self.charges.index(0)
            charges[i, m:n] = [self.charges.index(c) for c in ligand.charges.tolist()]
            place = np.full(len(pocket), -1)
            place[seen] = np.arange(m)
            a, b = place[pocket.bonds()].T
            inner = (a >= 0) & (b >= 0)
            bonds[i, a[inner], b[inner]] = bonds[i, b[inner], a[inner]] = 1
            a, b, order = ligand.bonds.astype(np.int64).T
            bonds[i, m + a, m + b] = bonds[i, m + b, m + a] = order
        state = {"positions": positions, "elements": elements, "charges": charges, "bonds": bonds}
        return {name: torch.from_numpy(part) for name, part in state.items()}, torch.from_numpy(mask)

    def atoms(self, state: State, mask: Tensor | None = None) -> list[Atoms]:
        """The ligand of each row, in the frame of the state."""
        assert isinstance(state, dict)
        real = torch.ones_like(state["elements"], dtype=torch.bool) if mask is None else mask
        own = (real & ~self.of_pocket(state)).cpu()
        out = []
        for i in range(len(own)):
            k = torch.nonzero(own[i])[:, 0]
            row = {name: part[i].cpu()[k][None] for name, part in state.items()}
            out += super().atoms({**row, "bonds": row["bonds"][:, :, k]})
        return out

    def blank(
        self, indices: Sequence[int], rng: Stream, conditions: Mapping[str, Any], spec: Any
    ) -> tuple[State, Tensor | None]:
        """Refused: there is no ligand without a pocket.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "ligands are drawn for a pocket: give pocket, a PDB or mmCIF file, and ligand or centre to model.sample"
        )

    def known(self, spec: Any, rng: Stream) -> tuple[list[Any], Keep] | None:
        """The pocket that ``spec`` names, with places for a ligand of each sample."""
        if spec == PocketSpec():
            return None
        from langevin.modalities.molecule.design import asked

        return asked(self, spec, rng)

    def size(self, pocket: Pocket, rng: Stream) -> list[int]:
        """Numbers of atoms drawn from those of training ligands in pockets of such a size, one for each row."""
        limits = sorted(self.histograms)
        held = self.histograms[next((most for most in limits if len(pocket) <= most), limits[-1])]
        counts = sorted(held)
        share = np.cumsum([held[n] for n in counts], dtype=np.float64)
        u = rng.fold("size").uniform((len(rng),), torch.float64).numpy()
        return [counts[k] for k in np.searchsorted(share / share[-1], u).clip(max=len(counts) - 1)]

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """As for molecules, but that pairs of the pocket and the ligand are known to have no bond at all times."""
        assert isinstance(state, dict)
        bonds, across = state["bonds"], self._across(state)
        if bonds.is_floating_point():
            none = F.one_hot(torch.zeros_like(across, dtype=torch.long), bonds.shape[-1]).to(bonds.dtype)
            bonds = torch.where(across[..., None], none, bonds)
        else:
            bonds = bonds.masked_fill(across, 0)
        return super().tokens({**state, "bonds": bonds}, mask)

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        """As for molecules. Kinds of protein atoms are never drawn, those that are there are sure, and so is that pockets
        have no bonds to ligands."""
        assert isinstance(like, dict)
        # a sum over the atoms of a pocket is so much larger than one over those of a molecule
        out = self._tokens.untokens({**values, "pull": values["pull"] / 10}, like)
        logits = F.pad(out["elements"], (0, len(KINDS)), value=_NEVER)
        pocket, across = self.of_pocket(like), self._across(like)
        kind = torch.where(pocket, like["elements"], 0)
        return {
            **out,
            "elements": torch.where(pocket[..., None], _sure(kind, logits), logits),
            "bonds": torch.where(
                across[..., None], _sure(torch.zeros_like(like["bonds"]), out["bonds"]), out["bonds"]
            ),
        }

    def _across(self, state: State) -> Tensor:
        """(B, N, N) pairs of which one atom is the pocket's."""
        pocket = self.of_pocket(state)
        return pocket[:, :, None] ^ pocket[:, None]

    def couple(
        self,
        x: State,
        noise: State,
        rng: Stream,
        mask: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        apart: Tensor | None = None,
    ) -> State:
        """Complexes turned at random; the ligands' atoms in the order that lies nearest to their noise.

        Raises:
            ValueError: a model that is trained without given parts.
        """
        if given is None:
            raise ValueError(
                "models of pockets are trained with given parts; objective.given must be above 0"
            )
        return aligned(x, noise, rng, mask, given, apart)

    def noised(self, x: State, t: Times, rng: Stream, mask: Tensor | None = None) -> State:
        """Refused.

        Raises:
            ValueError: always.
        """
        raise ValueError("ligands in pockets are not drawn from a start; keep a part: design(…, fragment=…)")

    def parts(self, x: State, rng: Stream, mask: Tensor | None, share: float) -> Sequence[Part]:
        """The pocket is given everywhere, and in a share of the samples a fragment of the ligand too."""
        assert isinstance(x, dict)
        pocket = self.of_pocket(x)
        ligand = ~pocket if mask is None else mask & ~pocket
        some = rng.uniform((len(rng),)).to(pocket.device) < share
        inside = x["bonds"].masked_fill(~(ligand[:, :, None] & ligand[:, None]), 0)
        fragment = givens.fragments(inside, ligand, rng.fold("fragment")) & some[:, None]
        return [Part(torch.arange(len(rng)), x, self._given(pocket, pocket | fragment), self.process)]

    def _given(self, pocket: Tensor, atoms: Tensor, bonds: Tensor | None = None) -> dict[str, Tensor]:
        """What is given, by leaf, where the atoms (B, N) are; that pockets have no bonds to ligands always is."""
        pairs = atoms[:, :, None] & atoms[:, None] if bonds is None else bonds
        return {
            "positions": atoms,
            "elements": atoms,
            "charges": atoms,
            "bonds": pairs | pocket[:, :, None] | pocket[:, None],
        }

    def framed(self, x: State, given: Mapping[str, Tensor], mask: Tensor | None) -> tuple[State, Process]:
        """Centred on the pocket."""
        assert isinstance(x, dict)
        return givens.centred_on(x, self.of_pocket(x), mask), self.process

    def chosen(self, keep: Keep, known: State, items: Sequence[Any] = ()) -> State:
        """The pocket, and the atoms chosen.

        Raises:
            ValueError: whole leaves, for which such models are not trained.
        """
        assert isinstance(known, dict)
        if keep.leaves:
            raise ValueError(f"keep={keep.name}: of ligands in pockets atoms are kept, not leaves")
        pocket = self.of_pocket(known)
        atoms = pocket | keep(tuple(pocket.shape[1:])).to(pocket.device)
        return self._given(pocket, atoms, keep.pairs(atoms) if isinstance(keep, KeepAtoms) else None)

    def collect(
        self,
        state: State,
        mask: Tensor | None,
        record: Mapping[str, Any],
        conditions: Mapping[str, Sequence[Any]],
        like: Any = None,
        keep: Keep | None = None,
        indices: Sequence[int] | None = None,
    ) -> Samples:
        """As for every modality, with what was read of the pocket's file in the record."""
        if like:
            pocket = like[0].pocket
            told = {"source": pocket.source, "atoms": len(pocket), "notes": list(pocket.notes)}
            record = {**record, "pocket": told}
        return super().collect(state, mask, record, conditions, like, keep, indices)

    def restore(self, item: Any, original: Any, keep: Keep) -> Any:
        """The ligand in the frame of the pocket's file, with the user's own coordinates where its atoms are kept."""
        first = len(self.shown(original))
        kept = keep((first + len(original.ligand),))[first:]
        conformer = item.GetConformer()
        drawn = conformer.GetPositions() + self.origin(original)
        drawn[kept.numpy()] = original.ligand.positions[kept.numpy()]
        conformer.SetPositions(drawn)
        return marked(item, original.ligand, keeping.mask(kept), hydrogens=False)


def _sure(classes: Tensor, like: Tensor) -> Tensor:
    """Logits that leave no doubt about these classes, of the shape of ``like``."""
    return torch.full_like(like, _NEVER).scatter(-1, classes[..., None], 0.0)


MODALITIES = Registry("pocket modality", PocketModality)
MODALITIES.register("pocket")(PocketModality)


def make(settings: Mapping[str, Any]) -> PocketModality:
    """The modality that a configuration describes."""
    return build(MODALITIES, {"name": "pocket", **settings})  # type: ignore[no-any-return]
