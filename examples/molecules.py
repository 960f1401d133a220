"""Molecules in three dimensions: draw, keep the sound ones, vary one, and keep a part while the rest is drawn anew.

    python examples/molecules.py                # molecule-qm9-heavy; runs/molecules

A molecule is sound when its graph, its coordinates and their agreement pass; the report turns with the mouse.
"""

from pathlib import Path

from rdkit import Chem
from rdkit.Chem import QED

import langevin as lv
from langevin.modalities.molecule.files import write_sdf
from langevin.modalities.molecule.soundness import inspect
from langevin.modalities.molecule.view import depict

model, out = lv.load("molecule-qm9-heavy"), Path("runs/molecules")
out.mkdir(parents=True, exist_ok=True)
drawn = model.sample(32, seed=0)  # rdkit molecules with a conformer, or lv.Failure with its reason
judged = inspect(drawn, hydrogens=False, busted=None)  # graph, coordinates, PoseBusters
sound = [mol for mol, found in zip(drawn, judged) if found.sound]
print(f"{len(sound)} of {len(drawn)} are sound; mean QED {sum(map(QED.qed, sound)) / len(sound):.2f}")
write_sdf(sound, out / "sound.sdf")
depict(sound, 6, [Chem.MolToSmiles(mol) for mol in sound]).save(out / "sound.png")
drawn.report(out / "report.html")

lead = max(sound, key=QED.qed)
for amount in (0.2, 0.5, 0.8):  # the later the time to which it is noised, the less is left of it
    near = [mol for mol in model.vary(lead, amount, n=8, seed=1) if not isinstance(mol, lv.Failure)]
    print(f"noised to {amount}:", *sorted({Chem.MolToSmiles(mol) for mol in near}))

core = model.sample(8, like=lead, keep=lv.keep.elements(*range(5)), seed=2)  # five atoms and their bonds stay
print("five atoms kept:", *(Chem.MolToSmiles(mol) for mol in core if not isinstance(mol, lv.Failure)))
