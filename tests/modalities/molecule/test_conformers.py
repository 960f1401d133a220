from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from langevin.modalities.molecule.atoms import of_mol, smiles
from langevin.modalities.molecule.conformers import embed, of_smiles, open_stereo, perceive

GIVEN = (
    "C[C@H](N)C(=O)O",
    "F/C=C\\C",
    "C[C@@H]1CC[C@H](O)C1",
    "O=c1[nH]c(=O)c2[nH]cnc2[nH]1",
    "c1ccc2c(c1)c1ccccc1c1ccccc21",
    "[H]/N=C(/C)CC",
)
CAGES = (  # bridgeheads that fail the test of volumes in plain ETKDG
    "C[C@]12CC(=O)[C@H]1[C@H]1O[C@H]12",
    "C1=C[C@]23CC[C@@H]4[C@H]2[C@H]1[C@@H]43",
)


@pytest.mark.parametrize("text", GIVEN)
@pytest.mark.parametrize("relax", [True, False])
def test_a_conformer_has_the_stereo_and_the_aromaticity_that_were_asked(text: str, relax: bool) -> None:
    assert smiles(of_smiles(text, seed=1, relax=relax)) == Chem.CanonSmiles(text)


@pytest.mark.parametrize("text", CAGES)
def test_strained_cages_get_a_conformer_of_the_same_inchi(text: str) -> None:
    mol = of_smiles(text)
    assert Chem.MolToInchi(mol) == Chem.MolToInchi(Chem.MolFromSmiles(text))


def test_an_impossible_isomer_is_refused() -> None:
    with pytest.raises(ValueError, match="no conformer with its stereo"):
        of_smiles("C[C@]12N=CN3[C@H]1[C@@H]3C2=O")


def test_open_sites_are_counted() -> None:
    assert [open_stereo(Chem.MolFromSmiles(t)) for t in ("CCO", "CC(F)Cl", "CC=CC", "C[C@H](F)C(O)Cl")] == [
        0,
        1,
        1,
        1,
    ]


def test_minimising_shortens_the_way_to_the_minimum_and_leaves_the_molecule_alone() -> None:
    from rdkit.Chem import rdForceFieldHelpers

    graph = Chem.MolFromSmiles("OC(=O)c1ccccc1OC(C)=O")
    before = graph.ToBinary()
    energies = []
    for relax in (False, True):
        mol = Chem.Mol(embed(graph, seed=2, relax=relax))
        settings = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
        energies.append(rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, settings).CalcEnergy())
    assert energies[1] < energies[0] - 5
    assert graph.ToBinary() == before


def test_fragments_do_not_overlap() -> None:
    positions = of_smiles("CC(=O)[O-].[Na+].O").GetConformer().GetPositions()
    apart = np.linalg.norm(positions[:, None] - positions, axis=-1) + 9 * np.eye(len(positions))
    assert apart.min() > 0.9
    assert positions.std() < 5


@pytest.mark.parametrize(
    "text", ["CCO", "C[N+](C)(C)CC(=O)[O-]", "C[C@H](N)C(=O)O", "c1ccc2[nH]ccc2c1", "C#N", "CC(=O)[O-]"]
)
def test_positions_imply_the_molecule(text: str) -> None:
    atoms = of_mol(of_smiles(text))
    assert smiles(perceive(atoms.numbers, atoms.positions, int(atoms.charges.sum()))) == Chem.CanonSmiles(
        text
    )


def test_a_lone_atom_needs_no_force_field() -> None:
    assert smiles(of_smiles("[Ar]")) == "[Ar]"


def test_positions_that_imply_nothing_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="imply no bonds that rdkit can settle"):
        perceive(np.full(20, 6), rng.normal(size=(20, 3)))
    with pytest.raises(ValueError, match="1001 atoms"):
        perceive(np.full(1001, 6), rng.normal(size=(1001, 3)))
    assert smiles(perceive(np.array([17]), np.zeros((1, 3)), -1)) == "[Cl-]"
    assert capfd.readouterr() == ("", "")
