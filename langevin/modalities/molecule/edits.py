"""What a molecule model draws beside whole molecules: each a thin layer on ``keep``.

    geometry     positions for a graph (a SMILES, or a molecule whose coordinates are not looked at)
    bonds        bonds and charges for elements at positions
    elements     elements and charges for positions and bonds
    grow         new atoms on a fragment, from its attachment points or from anywhere
    link         new atoms between fragments that lie in one frame
    replace      some atoms of a molecule drawn anew, as many or more or fewer of them

They need a model that was trained with given parts (``objective.given``). Kept atoms come back first, with the user's own
coordinates. With QM9 a geometry is the minimum that the data has of each molecule, not a sample of its conformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from langevin.core import keep as keeping
from langevin.core.guidance import chain
from langevin.core.keep import Keep
from langevin.core.request import checked_seed
from langevin.core.rng import Stream
from langevin.modalities.molecule import conformers, stereo
from langevin.modalities.molecule.atoms import Atoms, of_mol, quiet

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from langevin.core.model import Model
    from langevin.modalities.samples import Samples
else:
    Mol: TypeAlias = Any

__all__ = ["KeepAtoms", "bonds", "elements", "geometry", "grow", "link", "replace"]

Size: TypeAlias = int | tuple[int, int]


@dataclass(frozen=True)
class KeepAtoms(Keep):
    """The first atoms of a molecule, whose open places are known; made by :func:`grow` and its kin.

    Attributes:
        at: kept atoms that may be bonded to new ones; all others keep exactly the bonds that they have. None for all.
        counts: of new atoms, for each sample; these are bonded to the atoms of ``at`` in turn, as the state says.
    """

    at: tuple[int, ...] | None = None
    counts: tuple[int, ...] = ()

    def pairs(self, atoms: Tensor) -> Tensor:
        """Which pairs of atoms (B, N, N) are given, where ``atoms`` (B, N) are kept."""
        both = atoms[:, :, None] & atoms[:, None]
        if self.at is None:
            return both
        closed = atoms.clone()
        closed[:, list(self.at)] = False
        both = both | closed[:, :, None] | closed[:, None]
        first = int(atoms[0].sum())
        for row, count in enumerate(self.counts):
            for k, place in enumerate(self.at):
                new = first + k % count
                both[row, place, new] = both[row, new, place] = True
        return both


def geometry(model: Model, graph: str | Mol, n: int = 1, *, seed: int = 0, **options: Any) -> Samples:
    """``n`` geometries of a graph. R/S and E/Z that the graph says are kept; what it leaves open may be either.

    Args:
        model: trained with given parts.
        graph: a SMILES, or a molecule; pages lay what is drawn on the coordinates that it has, or on those of ETKDG and
            MMFF.
        n: how many.
        seed: of all random numbers.
        options: as for ``model.sample``.

    Raises:
        ValueError: the graph is none, has elements or charges that the model does not know, or no conformer has its stereo.
    """
    from rdkit import Chem
    from rdkit.Chem import rdDepictor

    _trained(model)
    mol = conformers.graph(graph) if isinstance(graph, str) else Chem.Mol(graph)
    known = bool(mol.GetNumConformers()) and mol.GetConformer().Is3D()
    with quiet():
        mol = Chem.AddHs(mol, addCoords=known) if model.modality.hydrogens else Chem.RemoveHs(mol)
        if not known:
            rdDepictor.Compute2DCoords(mol)
            mol.GetConformer().Set3D(True)  # of_mol wants positions; those of a drawing are left out below
    asked = stereo.sites(mol)
    if asked:
        senses = stereo.handed([asked], model.modality.unit)
        given = options.get("guidance")
        options["guidance"] = senses if given in (None, 1, 1.0) else chain(given, senses)
    kept = keeping.leaves("elements", "charges", "bonds")
    like = of_mol(mol)
    like = like if known else replaced(like, positions=np.zeros_like(like.positions))
    return model.sample(n, like=like, keep=kept, seed=seed, **options)  # type: ignore[no-any-return]


def bonds(model: Model, items: Any, *, seed: int = 0, **options: Any) -> Samples:
    """Bonds and formal charges for elements at positions; those that an item has are not looked at."""
    _trained(model)
    return _sampled(model, items, keeping.leaves("positions", "elements"), seed, options)


def elements(model: Model, items: Any, n: int | None = None, *, seed: int = 0, **options: Any) -> Samples:
    """Elements and formal charges for positions and bonds, ``n`` of them for one item."""
    _trained(model)
    return _sampled(model, items, keeping.leaves("positions", "bonds"), seed, options, n)


def grow(
    model: Model,
    fragment: Mol,
    atoms: Size = 3,
    n: int = 1,
    *,
    at: Sequence[int] | None = None,
    seed: int = 0,
    **options: Any,
) -> Samples:
    """``n`` molecules that hold a fragment, with new atoms on it.

    Args:
        model: trained with given parts.
        fragment: with a conformer. Its dummy atoms (``[*:1]``) are attachment points: a new atom takes the place of each,
            or of several where there are fewer new ones.
        atoms: how many new ones, hydrogens among them where the model has them; or (fewest, most).
        n: how many molecules.
        at: attachment points by index in place of dummy atoms: new atoms are bonded to these atoms only, with a hydrogen
            less on each where hydrogens are atoms. None, and no dummy atoms: anywhere.
        seed: of all random numbers.
        options: as for ``model.sample``.

    Raises:
        ValueError: no room for so many atoms, an index that is none, or an atom without a hydrogen to give up.
    """
    _trained(model)
    kept, places = _prepared(fragment, at, model.modality.hydrogens)
    low, high = (atoms, atoms) if isinstance(atoms, int) else atoms
    if not 1 <= low <= high:
        raise ValueError(f"atoms must be at least 1, or a range that rises; got {atoms}")
    u = Stream.of(checked_seed(seed), n).fold("grow").uniform((n,))
    count = [low + int(v * (high - low + 1)) for v in u.tolist()]
    like = [_extended(kept, k, places) for k in count]
    first = len(kept)

    def select(shape: Sequence[int]) -> Tensor:
        return torch.arange(shape[0]) < first

    at_places = None if places is None else tuple(place for place, _ in places)
    name = f"{first} atoms, open at {'any' if at_places is None else at_places}"
    keep = KeepAtoms(select, name, (), at_places, tuple(count))
    return model.sample(n, like=like, keep=keep, seed=seed, **options)  # type: ignore[no-any-return]


def link(
    model: Model, fragments: Mol | Sequence[Mol], atoms: Size = 3, n: int = 1, **options: Any
) -> Samples:
    """``n`` molecules in which fragments of one frame are joined by new atoms; arguments as for :func:`grow`.

    Attachment points ``at`` count through the fragments in their order.
    """
    from rdkit import Chem

    if not isinstance(fragments, Sequence):
        return grow(model, fragments, atoms, n, **options)
    joined = fragments[0]
    for other in fragments[1:]:
        joined = Chem.CombineMols(joined, other)
    return grow(model, joined, atoms, n, **options)


def replace(
    model: Model, mol: Mol, drop: Sequence[int], atoms: Size | None = None, n: int = 1, **options: Any
) -> Samples:
    """``n`` molecules in which some atoms are drawn anew: another scaffold between the same ends, or another end.

    Args:
        model: trained with given parts.
        mol: with a conformer.
        drop: indices of the atoms that go, and their hydrogens with them.
        atoms: how many come; as many as go by default.
        n: how many molecules.
        options: as for :func:`grow`; ``at`` is where a bond was cut.

    Raises:
        ValueError: an index that is none, or all atoms.
    """
    from rdkit import Chem

    gone = {int(i) for i in drop}
    if not gone or not all(0 <= i < mol.GetNumAtoms() for i in gone):
        raise ValueError(f"drop needs indices of atoms, 0 … {mol.GetNumAtoms() - 1}; got {sorted(gone)}")
    gone |= {a.GetIdx() for i in gone for a in mol.GetAtomWithIdx(i).GetNeighbors() if a.GetAtomicNum() == 1}
    if len(gone) == mol.GetNumAtoms():
        raise ValueError("drop names all atoms; nothing is left to keep")
    cut = Chem.RWMol(mol)
    with quiet():
        Chem.Kekulize(cut, clearAromaticFlags=True)
        for bond in list(mol.GetBonds()):
            ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            if (ends[0] in gone) == (ends[1] in gone):
                continue
            stays = ends[1] if ends[0] in gone else ends[0]
            dummy = cut.AddAtom(Chem.Atom(0))
            cut.AddBond(stays, dummy, cut.GetBondBetweenAtoms(*ends).GetBondType())
            cut.GetConformer().SetAtomPosition(
                dummy, mol.GetConformer().GetAtomPosition(ends[0] if ends[0] in gone else ends[1])
            )
        for i in sorted(gone, reverse=True):
            cut.RemoveAtom(i)
        cut.UpdatePropertyCache(strict=False)
    hydrogens = model.modality.hydrogens
    size = sum(hydrogens or mol.GetAtomWithIdx(i).GetAtomicNum() > 1 for i in gone)
    return grow(model, cut.GetMol(), size if atoms is None else atoms, n, **options)


def _trained(model: Model) -> None:
    if not model.objective.given:
        raise ValueError(
            f"{model.name} was not trained with given parts; train with objective.given, or use a model that was"
        )


def _sampled(
    model: Model, items: Any, keep: Keep, seed: int, options: dict[str, Any], n: int | None = None
) -> Samples:
    like = list(items) if isinstance(items, (list, tuple)) else [items]
    return model.sample(n or len(like), like=like, keep=keep, seed=seed, **options)  # type: ignore[no-any-return]


def _prepared(
    fragment: Mol, at: Sequence[int] | None, hydrogens: bool
) -> tuple[Atoms, list[tuple[int, int]] | None]:
    """A fragment without dummies, and its attachment points as (atom, order of the bond); None for anywhere."""
    from rdkit import Chem

    mol = Chem.RWMol(fragment)
    dummies = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]
    if dummies and at is not None:
        raise ValueError("the fragment has attachment points; leave out at")
    for place in at or ():
        if not 0 <= place < mol.GetNumAtoms():
            raise ValueError(f"at: atom {place} is not among the {mol.GetNumAtoms()} atoms of the fragment")
    with quiet():
        Chem.Kekulize(mol, clearAromaticFlags=True)
        if hydrogens:
            mol.UpdatePropertyCache(strict=False)
            mol = Chem.RWMol(Chem.AddHs(mol, addCoords=True))
    whole = of_mol(mol, partial=True)
    gone, places = set(), []
    for atom in sorted(
        (a for a in mol.GetAtoms() if a.GetAtomicNum() == 0), key=lambda a: (a.GetAtomMapNum(), a.GetIdx())
    ):
        if atom.GetDegree() != 1:
            raise ValueError(
                f"attachment point {atom.GetIdx()} must have one bond, it has {atom.GetDegree()}"
            )
        bond = atom.GetBonds()[0]
        places.append((bond.GetOtherAtomIdx(atom.GetIdx()), int(bond.GetBondType())))
        gone.add(atom.GetIdx())
    for place in at or ():
        if hydrogens:
            own = [a.GetIdx() for a in mol.GetAtomWithIdx(int(place)).GetNeighbors() if a.GetAtomicNum() == 1]
            own = [k for k in own if k not in gone]
            if not own:
                raise ValueError(f"at: atom {place} has no hydrogen to give up")
            gone.add(own[-1])
        places.append((int(place), 1))
    if not hydrogens:
        gone |= set(np.flatnonzero(whole.numbers == 1).tolist())
    stay = np.array([i for i in range(len(whole)) if i not in gone])
    if not len(stay):
        raise ValueError("the fragment has no atoms")
    new = np.full(len(whole), -1)
    new[stay] = np.arange(len(stay))
    inner = whole.bonds[(new[whole.bonds[:, 0]] >= 0) & (new[whole.bonds[:, 1]] >= 0)].copy()
    inner[:, :2] = new[inner[:, :2]]
    kept = Atoms(whole.numbers[stay], whole.positions[stay], whole.charges[stay], inner)
    return kept, [(int(new[i]), order) for i, order in places] if places or at is not None else None


def _extended(kept: Atoms, count: int, places: list[tuple[int, int]] | None) -> Atoms:
    """A fragment with places for new atoms after its own; the first ones are bonded to the attachment points."""
    first, centre = len(kept), kept.positions.mean(0, keepdims=True)
    joined = [(place, first + k % count, order) for k, (place, order) in enumerate(places or ())]
    return replaced(
        kept,
        numbers=np.concatenate([kept.numbers, np.full(count, 6, np.uint8)]),
        positions=np.concatenate([kept.positions, np.repeat(centre, count, 0)]).astype(np.float32),
        charges=np.concatenate([kept.charges, np.zeros(count, np.int8)]),
        bonds=np.concatenate([kept.bonds, np.array(joined, np.int16).reshape(-1, 3)]).astype(np.int16),
    )
