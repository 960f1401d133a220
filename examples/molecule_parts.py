"""The rest of a molecule: geometries for a SMILES, bonds for bare atoms, a grown fragment, two linked ones, another core.

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
    samples.report(out / f"{name}.html")


show(
    "geometry", edits.geometry(model, "C[C@H](O)C(N)=O", n=4, seed=0)
)  # R/S as asked; laid on ETKDG's in the page

alanine = of_smiles("C[C@H](N)C(=O)O")  # a molecule whose bonds are to be found again
show("bonds", edits.bonds(model, alanine))

furan = of_smiles("c1ccoc1")
show("grown", edits.grow(model, furan, atoms=(4, 8), at=[1], n=8, seed=0))  # on atom 1, a hydrogen less

pair = of_smiles("N#CCCCC#N")  # two nitriles as they lie in a molecule
ends = Chem.GetMolFrags(
    Chem.FragmentOnBonds(pair, [1, 4]), asMols=True
)  # a dummy atom where each bond was cut
nitriles = [end for end in ends if end.HasSubstructMatch(Chem.MolFromSmarts("C#N"))]
show("linked", edits.link(model, nitriles, atoms=(5, 9), n=8, seed=0))

lead = of_smiles("CC1CC1C#N")
show("another core", edits.replace(model, lead, [1, 2, 3], n=8, seed=0))
