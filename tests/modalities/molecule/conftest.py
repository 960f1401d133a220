"""Molecules for tests, made here: no data is needed."""

from __future__ import annotations

import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

SMILES = ("O", "CC=O", "C[C@H](N)C(=O)O", "c1ccoc1", "C#N", "C[N+](C)(C)CC(=O)[O-]", "C/C=C\\C", "C1CC1")


def embedded(smiles: str, seed: int = 0) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=seed) == 0
    return mol


@pytest.fixture(scope="session")
def mols() -> list[Chem.Mol]:
    return [embedded(smiles) for smiles in SMILES]
