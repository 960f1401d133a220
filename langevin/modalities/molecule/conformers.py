"""Coordinates for a graph, and a graph for coordinates.

:func:`embed` places atoms by distance geometry with torsion preferences (ETKDG version 3: Wang, Witek, Landrum,
Riniker, J. Chem. Inf. Model. 60, 2044, 2020) and relaxes them in MMFF94s (Halgren, J. Comput. Chem. 20, 720, 1999), or in
UFF where MMFF lacks a type. The same seed gives the same coordinates, whatever else is in the list.

:func:`perceive` finds bonds, their orders and formal charges from elements and positions: connectivity by
rdkit's connect-the-dots rule, orders by the search of xyz2mol (Kim and Kim, Bull. Korean Chem. Soc. 36, 1769, 2015).
Where that fails, connectivity by covalent radii is tried, each factor of FACTORS in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.molecule.atoms import MAX_ATOMS, assign_stereo, quiet, reason

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["FACTORS", "embed", "graph", "of_smiles", "open_stereo", "perceive"]

FACTORS = (1.2, 1.15, 1.1)  # of the sum of two covalent radii
GAP = 3.0  # Å
STEPS = 1000
BOXES = 40
LETTERS = 10_000  # of a SMILES
SEARCH = 100_000  # combinations of bond orders


def of_smiles(text: str, seed: int = 0, relax: bool = True, most: int = MAX_ATOMS) -> Mol:
    """A molecule from a SMILES, with explicit hydrogens and a conformer.

    Args:
        text: the SMILES.
        seed: of the conformer, and of centres whose stereo the SMILES leaves open.
        relax: whether to minimise it; otherwise the coordinates are ETKDG's.
        most: atoms that are taken, hydrogens included.

    Raises:
        ValueError: why there is none: not a SMILES, too long, or :func:`embed`'s reasons.
    """
    return embed(graph(text, most), seed, relax, most)


def graph(text: str, most: int = MAX_ATOMS) -> Mol:
    """The sanitised molecule of a SMILES, without coordinates, hydrogens as written.

    Raises:
        ValueError: why it is none.
    """
    from rdkit import Chem

    if not text.strip():
        raise ValueError("is empty")
    if len(text) > LETTERS:
        raise ValueError(f"is a SMILES of {len(text)} characters; at most {LETTERS} are taken")
    with quiet():
        mol = Chem.MolFromSmiles(text, sanitize=False)
        if mol is None:
            raise ValueError(f"{text!r:.80} is not a SMILES")
        if mol.GetNumAtoms() > most:
            raise ValueError(f"has {mol.GetNumAtoms()} atoms; at most {most} are taken")
        if mol.GetNumAtoms() == 0:
            raise ValueError("has no atoms")
        try:
            Chem.SanitizeMol(mol)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"cannot be sanitised: {reason(error)}") from None
        Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    return mol


def open_stereo(mol: Mol) -> int:
    """How many centres and double bonds could be either, and are not said."""
    from rdkit import Chem

    with quiet():
        found = Chem.FindPotentialStereo(mol)
    return sum(1 for site in found if site.specified == Chem.StereoSpecified.Unspecified)


def embed(mol: Mol, seed: int = 0, relax: bool = True, most: int = MAX_ATOMS) -> Mol:
    """A copy with explicit hydrogens, one conformer, and stereo assigned from it.

    Args:
        mol: sanitised; its conformers are not looked at.
        seed: of the embedding.
        relax: whether to minimise (MMFF94s, UFF where a type is missing, at most STEPS steps).
        most: atoms that are taken, hydrogens included.

    Raises:
        ValueError: too many atoms, attachment points, no conformer of its stereo found, or no force field for it.
    """
    from rdkit import Chem

    with quiet():
        mol = Chem.AddHs(mol)
        if mol.GetNumAtoms() > most:
            raise ValueError(f"has {mol.GetNumAtoms()} atoms with hydrogens; at most {most} are taken")
        dummy = next((a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() == 0), None)
        if dummy is not None:
            raise ValueError(f"atom {dummy} is an attachment point, which has no place in space")
        asked, inchi = _stereo(mol), Chem.MolToInchi(mol)
        if not any(_place(mol, how) and _as_asked(mol, asked, inchi) for how in _ways(seed)):
            raise ValueError("ETKDG finds no conformer with its stereo")
        _beside(mol, Chem.GetMolFrags(mol))
        if relax and mol.GetNumBonds():
            mol.GetConformer().SetPositions(_relaxed(mol))
        assign_stereo(mol)
        if not _as_asked(mol, asked, inchi):
            raise ValueError("its stereo changes when it is minimised")
    if not np.isfinite(mol.GetConformer().GetPositions()).all():
        raise ValueError("its minimisation diverged")
    return mol


def _ways(seed: int) -> Iterator[Any]:
    """Settings of ETKDG to try: from the eigenvectors of the distances, from a random box, and then, for cages whose centres
    fail the test of volumes that enforces chirality, without it from several boxes; the stereo that comes out decides."""
    from rdkit.Chem import rdDistGeom

    for attempt in range(2 + BOXES):
        how: Any = rdDistGeom.ETKDGv3()
        how.randomSeed = (seed + max(attempt - 1, 0) * 1_000_003) % 2**31
        how.maxIterations = 20
        how.numThreads = 1
        how.useRandomCoords = attempt > 0
        how.enforceChirality = attempt < 2
        yield how


def _place(mol: Mol, how: Any) -> bool:
    """Gives the molecule a conformer; whether one was found."""
    from rdkit.Chem import rdDistGeom

    return bool(rdDistGeom.EmbedMolecule(mol, how) >= 0)


def _stereo(mol: Mol) -> dict[tuple[Any, int], Any]:
    """What is said of each stereo site, by its kind and place."""
    from rdkit import Chem

    return {
        (site.type, site.centeredOn): (site.descriptor, tuple(site.controllingAtoms))
        for site in Chem.FindPotentialStereo(mol)
        if site.specified == Chem.StereoSpecified.Specified
    }


def _as_asked(mol: Mol, asked: dict[tuple[Any, int], Any], inchi: str) -> bool:
    """Whether the stereo of the coordinates is what was asked; sites that were left open may be either.

    At bridgeheads that are almost flat the mark that rdkit reads from coordinates may be either of two that mean
    the same in that cage; there the InChI of the whole decides.
    """
    from rdkit import Chem

    if not asked:
        return True
    placed = Chem.Mol(mol)
    assign_stereo(placed)
    found = _stereo(placed)
    if all(found.get(site) == what for site, what in asked.items()):
        return True
    return bool(inchi) and Chem.MolToInchi(placed) == inchi


def _relaxed(mol: Mol) -> NDArray[np.float64]:
    """(n, 3) minimised positions. The force field works on a copy: rdkit rewrites its aromaticity for MMFF."""
    from rdkit import Chem
    from rdkit.Chem import rdForceFieldHelpers

    mol = Chem.Mol(mol)
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, mmffVariant="MMFF94s", maxIters=STEPS)
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.UFFOptimizeMolecule(mol, maxIters=STEPS)
    else:
        raise ValueError("neither MMFF nor UFF has parameters for it")
    return np.asarray(mol.GetConformer().GetPositions(), np.float64)


def _beside(mol: Mol, fragments: tuple[tuple[int, ...], ...]) -> None:
    """Fragments, which were embedded on top of each other, in a row along x with GAP between their spheres."""
    if len(fragments) < 2:
        return
    positions, edge = mol.GetConformer().GetPositions(), 0.0
    for atoms in map(list, fragments):
        positions[atoms] -= positions[atoms].mean(0)
        radius = float(np.linalg.norm(positions[atoms], axis=1).max())
        positions[atoms, 0] += edge + radius
        edge += 2 * radius + GAP
    mol.GetConformer().SetPositions(positions)


def perceive(numbers: NDArray[Any], positions: NDArray[Any], charge: int = 0) -> Mol:
    """The molecule that elements and positions imply, hydrogens explicit, stereo assigned.

    Args:
        numbers: (n,) atomic numbers.
        positions: (n, 3), Å.
        charge: of the whole.

    Raises:
        ValueError: why no bonds were found: rdkit's reason for its own connectivity, once all were tried.
    """
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    if len(numbers) > MAX_ATOMS:
        raise ValueError(f"has {len(numbers)} atoms; at most {MAX_ATOMS} are taken")
    bare = Chem.RWMol()
    for number in np.asarray(numbers).tolist():
        atom = Chem.Atom(int(number))
        atom.SetNoImplicit(True)
        bare.AddAtom(atom)
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(np.asarray(positions, np.float64))
    bare.AddConformer(conformer, assignId=True)
    first = ""
    for factor in (None, *FACTORS):
        mol = Chem.Mol(bare)
        how: dict[str, Any] = {} if factor is None else {"useVdw": True, "covFactor": factor}
        try:
            with quiet():
                if len(numbers) == 1:
                    mol.GetAtomWithIdx(0).SetFormalCharge(charge)
                    Chem.SanitizeMol(mol)
                else:
                    rdDetermineBonds.DetermineBonds(mol, charge=charge, maxIterations=SEARCH, **how)
                    Chem.SanitizeMol(mol)
                    assign_stereo(mol)
            return mol
        except (ValueError, RuntimeError) as error:
            first = first or reason(error)
    raise ValueError(f"its positions imply no bonds that rdkit can settle ({first})")
