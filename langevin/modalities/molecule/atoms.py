"""A molecule in three dimensions as four small arrays, and its two-way road to an rdkit ``Mol``.

A molecule of n atoms is: elements, formal charges, bonds in a Kekulé form (every bond single, double or
triple; no aromatic ones), and one position for each atom in Å. Nothing else is stored. What a ``Mol`` says
besides is derived on the way back,

    aromaticity      by rdkit's model, from the Kekulé bonds
    R/S and E/Z      from the coordinates
    radicals         where hydrogens are explicit: from the valences that are left open
    hydrogens        where they are implicit: as many as fill rdkit's default valences

so the road is lossless for molecules whose stereo is that of their coordinates. What it would lose is
refused with a reason: isotopes, dative and query bonds, hydrogens of which only some are atoms, and radicals
among implicit hydrogens. Bonds keep the order of the ``Mol``: for a few meso cages (9 of 128,744 in QM9)
rdkit writes one molecule in two SMILES that differ in a mark of a centre that is none, by the order of its bonds;
their InChI agree.

Molecules above MAX_ATOMS atoms are refused before rdkit's stereo and SMILES code sees them: it recurses along
chains, and one of some ten thousand atoms ends the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = [
    "MAX_ATOMS",
    "Atoms",
    "check_positions",
    "hidden_hydrogens",
    "of_mol",
    "quiet",
    "reason",
    "smiles",
    "to_mol",
]

MAX_ATOMS = 1000
REACH = 9999.0  # Å, what the columns of a mol block hold


@dataclass(frozen=True, eq=False)
class Atoms:
    """A molecule without its software.

    Attributes:
        numbers: (n,) uint8, atomic numbers; 0 is an attachment point.
        positions: (n, 3) float32, Å.
        charges: (n,) int8, formal charges.
        bonds: (m, 3) int16, rows (i, j, order) with i < j, in any order; order 1, 2 or 3.
    """

    numbers: NDArray[np.uint8]
    positions: NDArray[np.float32]
    charges: NDArray[np.int8]
    bonds: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def explicit(self) -> bool:
        """Whether a hydrogen is among the atoms."""
        return bool((self.numbers == 1).any())

    def heavy(self) -> Atoms:
        """The same without hydrogens; they become implicit.

        Raises:
            ValueError: a hydrogen that no heavy atom implies (a charged one, or one that is not held by exactly
                one single bond), or nothing but hydrogens.
        """
        keep = self.numbers != 1
        if not keep.any():
            raise ValueError("has no heavy atoms")
        if keep.all():
            return self
        i, j, order = self.bonds.astype(np.int64).T
        degree = np.bincount(i, order, len(self)) + np.bincount(j, order, len(self))
        odd = np.flatnonzero(~keep & ((degree != 1) | (self.charges != 0)))
        if len(odd):
            raise ValueError(f"hydrogen {odd[0]} is not held by one single bond, so no heavy atom implies it")
        if (~keep[i] & ~keep[j]).any():
            raise ValueError("two hydrogens are bonded to each other, so no heavy atom implies them")
        place = np.cumsum(keep) - 1
        inner = keep[i] & keep[j]
        bonds = np.stack([place[i[inner]], place[j[inner]], order[inner]], 1).astype(np.int16)
        return Atoms(self.numbers[keep], self.positions[keep], self.charges[keep], bonds)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps rdkit's messages off the terminal; exceptions still carry theirs."""
    from rdkit import rdBase

    block = rdBase.BlockLogs()
    try:
        yield
    finally:
        del block


def reason(error: Exception | str) -> str:
    """What rdkit objects to, in one line: its exceptions and messages carry times, files and stacks too."""
    lines = [re.sub(r"^\[[\d:]{8}\]", "", line).strip(" *") for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.endswith(("Violation", "Range Error"))]
    return f"{told[0]:.200}" if told else type(error).__name__


def hidden_hydrogens(mol: Mol) -> int:
    """How many hydrogens a molecule has that are no atoms of it."""
    try:
        return sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    except RuntimeError:  # valences were never computed
        from rdkit import Chem

        mol = Chem.Mol(mol)
        mol.UpdatePropertyCache(strict=False)
        return sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())


def of_mol(mol: Mol, *, partial: bool = False, conformer: int = -1) -> Atoms:
    """The atoms of an rdkit molecule; aromatic bonds are written in a Kekulé form.

    Args:
        mol: with a 3-D conformer; all of its hydrogens are atoms, or none is. Stays as it is.
        partial: takes molecules of which only some hydrogens are atoms; the others are left out.
        conformer: its id; -1 is the first.

    Raises:
        ValueError: why it has no such form: no atoms, too many, no conformer, a drawing, positions that are NaN
            or all the same, isotopes, bonds that are not single, double, triple or aromatic, hydrogens in part, radicals
            among implicit hydrogens.
    """
    from rdkit import Chem

    n = mol.GetNumAtoms()
    if n == 0:
        raise ValueError("has no atoms")
    if n > MAX_ATOMS:
        raise ValueError(f"has {n} atoms; at most {MAX_ATOMS} are taken")
    positions = _positions(mol, conformer)
    bonds = list(mol.GetBonds())
    if any(bond.GetIsAromatic() for bond in bonds):
        mol = Chem.Mol(mol)
        try:
            with quiet():
                Chem.Kekulize(mol, clearAromaticFlags=True)
        except ValueError as error:
            raise ValueError(f"its aromatic bonds have no Kekulé form ({reason(error)})") from None
        bonds = list(mol.GetBonds())
    atoms = list(mol.GetAtoms())
    numbers = np.array([atom.GetAtomicNum() for atom in atoms], np.uint8)
    for k, atom in enumerate(atoms):
        if atom.GetIsotope() and numbers[k]:  # an attachment point has its label there
            raise ValueError(
                f"atom {k} is the isotope {atom.GetIsotope()}{atom.GetSymbol()}; isotopes are not kept"
            )
    if not partial and (hidden := hidden_hydrogens(mol)) and (numbers == 1).any():
        raise ValueError(
            f"{int((numbers == 1).sum())} hydrogens are atoms and {hidden} are implicit; add all or remove all"
        )
    if not partial and not (numbers == 1).any():
        radical = next((k for k, atom in enumerate(atoms) if atom.GetNumRadicalElectrons()), None)
        if radical is not None and hidden_hydrogens(mol):
            raise ValueError(f"atom {radical} is a radical, which is only kept where hydrogens are atoms")
    rows = []
    for bond in bonds:
        order = int(bond.GetBondType())
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if order not in (1, 2, 3):
            kind = bond.GetBondType().name.lower()
            raise ValueError(
                f"the bond of atoms {i} and {j} is {kind}; single, double and triple ones are taken"
            )
        rows.append((i, j, order) if i < j else (j, i, order))
    return Atoms(
        numbers,
        positions,
        np.array([atom.GetFormalCharge() for atom in atoms], np.int8),
        np.array(rows, np.int16).reshape(-1, 3),
    )


def to_mol(atoms: Atoms, sanitize: bool = True, *, explicit: bool | None = None) -> Mol:
    """An rdkit molecule with one conformer, aromaticity perceived and stereo assigned from the coordinates.

    Args:
        atoms: the molecule.
        sanitize: False builds the graph and the conformer only: no valence is checked, nothing perceived.
        explicit: True adds no hydrogen to what is there, so that an open valence is a radical; False lets rdkit
            fill valences with implicit hydrogens. None: explicit where a hydrogen is among the atoms.

    Raises:
        ValueError: why there is no such molecule: no atoms, too many, arrays that do not fit together, NaN, a bond
            twice or with itself, an order other than 1, 2 and 3, or what rdkit's sanitisation objects to.
    """
    from rdkit import Chem

    _check(atoms)
    explicit = atoms.explicit if explicit is None else explicit
    mol = Chem.RWMol()
    for number, charge in zip(atoms.numbers.tolist(), atoms.charges.tolist()):
        atom = Chem.Atom(number)
        if charge:
            atom.SetFormalCharge(charge)
        if explicit:
            atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    kinds = Chem.BondType.values
    for i, j, order in atoms.bonds.tolist():
        mol.AddBond(i, j, kinds[order])
    conformer = Chem.Conformer(len(atoms))
    conformer.SetPositions(atoms.positions.astype(np.float64))
    conformer.Set3D(True)
    mol.AddConformer(conformer, assignId=True)
    built = mol.GetMol()
    with quiet():
        if sanitize:
            try:
                Chem.SanitizeMol(built)
            except (ValueError, RuntimeError) as error:
                raise ValueError(f"cannot be sanitised: {reason(error)}") from None
            assign_stereo(built)
        else:
            built.UpdatePropertyCache(strict=False)
    return built


def smiles(mol: Mol) -> str:
    """The canonical SMILES with stereo, without the hydrogens that it implies.

    Raises:
        ValueError: more than MAX_ATOMS atoms.
    """
    from rdkit import Chem

    if mol.GetNumAtoms() > MAX_ATOMS:
        raise ValueError(f"has {mol.GetNumAtoms()} atoms; at most {MAX_ATOMS} are taken")
    with quiet():
        return str(Chem.MolToSmiles(Chem.RemoveHs(mol, sanitize=False)))


def assign_stereo(mol: Mol) -> None:
    """Sets R/S and E/Z from the coordinates, in place.

    Bonds that a file marks as "either" are unmarked first: rdkit leaves those undefined, whatever the coordinates.
    """
    from rdkit import Chem

    for bond in mol.GetBonds():
        if bond.GetStereo() == Chem.BondStereo.STEREOANY:
            bond.SetStereo(Chem.BondStereo.STEREONONE)
        if bond.GetBondDir() in (Chem.BondDir.EITHERDOUBLE, Chem.BondDir.UNKNOWN):
            bond.SetBondDir(Chem.BondDir.NONE)
        bond.ClearProp("_UnknownStereo")
    Chem.AssignStereochemistryFrom3D(mol)


def check_positions(positions: NDArray[Any]) -> None:
    """Nothing, for (n, 3) positions in Å that are numbers.

    Raises:
        ValueError: the first atom whose position is NaN, infinite, or further away than REACH.
    """
    sound = (np.abs(positions) <= REACH).all(1)
    if not sound.all():
        k = int((~sound).argmax())
        why = "is out of range" if np.isfinite(positions[k]).all() else "is not a number"
        raise ValueError(f"the position of atom {k} {why}")


def _positions(mol: Mol, conformer: int) -> NDArray[np.float32]:
    """(n, 3); ValueError where there are none that mean something."""
    if not mol.GetNumConformers():
        raise ValueError("has no conformer, so no coordinates")
    held = mol.GetConformer(conformer)
    if not held.Is3D():
        raise ValueError("has the coordinates of a drawing (2-D) only")
    positions = np.asarray(held.GetPositions()).reshape(-1, 3)
    check_positions(positions)
    if len(positions) > 1 and (positions == positions[0]).all():
        raise ValueError("all of its atoms lie at one point")
    return positions.astype(np.float32)


def _check(atoms: Atoms) -> None:
    n = len(atoms)
    if n == 0:
        raise ValueError("has no atoms")
    if n > MAX_ATOMS:
        raise ValueError(f"has {n} atoms; at most {MAX_ATOMS} are taken")
    if atoms.positions.shape != (n, 3) or atoms.charges.shape != (n,) or atoms.bonds.shape[1:] != (3,):
        raise ValueError(
            f"{n} atoms need positions ({n}, 3), charges ({n},) and bonds (m, 3); got "
            f"{atoms.positions.shape}, {atoms.charges.shape} and {atoms.bonds.shape}"
        )
    check_positions(atoms.positions)
    if not len(atoms.bonds):
        return
    i, j, order = atoms.bonds.astype(np.int64).T
    if i.min() < 0 or j.max() >= n or (i >= j).any():
        raise ValueError(
            f"bonds must join atoms i < j of {n}; got the pairs {atoms.bonds[:, :2].tolist()!s:.80}"
        )
    if order.min() < 1 or order.max() > 3:
        raise ValueError(f"orders of bonds must be 1, 2 or 3; got {sorted(set(order.tolist()))}")
    if len(np.unique(i * n + j)) < len(i):
        raise ValueError("two atoms are bonded twice")
