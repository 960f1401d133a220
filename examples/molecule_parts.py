"""The rest of a molecule: a geometry for a SMILES, bonds for bare atoms, a grown and a linked fragment.

    python examples/molecule_parts.py           # molecule-qm9; runs/molecule-parts

The model was trained with given parts, so that any of positions, elements and bonds can be drawn given the others.
"""

from pathlib import Path

from rdkit import Chem

import langevin as lv
from langevin.modalities.molecule import edits
from langevin.modalities.molecule.conformers import of_smiles
from langevin.modalities.molecule.files import write_sdf
from langevin.modalities.molecule.view import depict

model, out = lv.load("molecule-qm9"), Path("runs/molecule-parts")
out.mkdir(parents=True, exist_ok=True)


def show(name: str, samples: lv.Samples) -> None:
    found = [mol for mol in samples if not isinstance(mol, lv.Failure)]
    names = [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in found]
    print(f"{name}: {len(found)} of {len(samples)}:", *sorted(set(names)))
    if found:
        write_sdf(found, out / f"{name}.sdf")
        depict(found, 4, names).save(out / f"{name}.png")


show("geometry", edits.geometry(model, "C[C@H](O)C(N)=O", n=4, seed=0))  # R/S as asked

alanine = of_smiles("C[C@H](N)C(=O)O")  # a molecule whose bonds are to be found again
show("bonds", edits.bonds(model, alanine))

furan = of_smiles("c1ccoc1")
show("grown", edits.grow(model, furan, atoms=(4, 8), at=[1], n=8, seed=0))  # on atom 1, a hydrogen less

pair = of_smiles("N#CCCCC#N")  # two nitriles as they lie in a molecule: what joined them is drawn anew
show("relinked", edits.replace(model, pair, [2, 3, 4], atoms=(5, 9), n=8, seed=0))
