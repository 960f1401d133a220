"""Figures of molecules that need no coordinates: drug-likeness, ease of synthesis, identity, variety.

    QED         drug-likeness in [0, 1] (Bickerton et al. 2012)
    SA          difficulty of synthesis, 1 easy to 10 hard (Ertl and Schuffenhauer 2009)
    logP        octanol–water partition (Wildman and Crippen 1999)
    diversity   1 - mean Tanimoto similarity of two molecules, Morgan fingerprints of radius 2 and 2048 bits

Every function takes molecules that rdkit could sanitise, and looks at them without their explicit hydrogens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from langevin.modalities.molecule.atoms import quiet

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["diversity", "figures", "histograms", "smiles"]


def smiles(mol: Mol) -> str:
    """Canonical SMILES without hydrogens, with the stereo that is assigned; of all pieces."""
    from rdkit import Chem

    with quiet():
        return str(Chem.MolToSmiles(_bare(mol)))


def figures(mol: Mol) -> dict[str, float]:
    """ "qed", "sa" and "logp" of a molecule."""
    from rdkit.Chem import QED, rdMolDescriptors
    from rdkit.Contrib.SA_Score import sascorer

    with quiet():
        bare = _bare(mol)
        return {
            "qed": float(QED.qed(bare)),
            "sa": float(sascorer.calculateScore(bare)),
            "logp": float(rdMolDescriptors.CalcCrippenDescriptors(bare)[0]),
        }


def diversity(mols: Sequence[Mol], most: int = 1000) -> float:
    """Mean of 1 - Tanimoto similarity over all pairs of the first ``most`` molecules.

    Raises:
        ValueError: fewer than two molecules.
    """
    from rdkit import DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    if len(mols) < 2:
        raise ValueError(f"diversity needs at least 2 molecules; got {len(mols)}")
    make = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    with quiet():
        prints = [make.GetFingerprint(_bare(mol)) for mol in mols[:most]]
    total = sum(sum(DataStructs.BulkTanimotoSimilarity(one, prints[:k])) for k, one in enumerate(prints))
    return float(1 - total / (len(prints) * (len(prints) - 1) / 2))


def histograms(mols: Sequence[Mol]) -> dict[str, Counter[str | int]]:
    """How often each element, number of atoms, ring size and number of rings occurs.

    Atoms are those that are there: hydrogens only where they are explicit. Rings are the smallest set of smallest
    ones.
    """
    found: dict[str, Counter[str | int]] = {
        name: Counter() for name in ("elements", "atoms per molecule", "ring sizes", "rings per molecule")
    }
    for mol in mols:
        rings = mol.GetRingInfo().AtomRings()
        found["elements"].update(atom.GetSymbol() for atom in mol.GetAtoms())
        found["atoms per molecule"][mol.GetNumAtoms()] += 1
        found["ring sizes"].update(map(len, rings))
        found["rings per molecule"][len(rings)] += 1
    return found


def _bare(mol: Mol) -> Mol:
    """Without explicit hydrogens; implicit ones take their place."""
    from rdkit import Chem

    return Chem.RemoveHs(mol)
