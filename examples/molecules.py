"""Molecules in three dimensions: draw until enough are sound, analogues of a lead, and a part that stays as it is.

    python examples/molecules.py                # molecule-qm9-heavy; runs/molecules

A molecule is sound when its graph, its coordinates and their agreement pass; the report turns with the mouse, and colours
what is new beside what was kept.
"""

from pathlib import Path

from rdkit import Chem
from rdkit.Chem import QED
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import TanimotoSimilarity

import langevin as lv
from langevin.modalities.molecule.view import depict

model, out = lv.load("molecule-qm9-heavy"), Path("runs/molecules")
sound = model.passing(24, "sound and rings < 4", seed=0)  # rdkit molecules with a conformer
drawn = sound.run.options["passing"]["drawn"]
print(f"{len(sound)} of {drawn} drawn pass; mean QED {sum(map(QED.qed, sound)) / len(sound):.2f}")
sound.save(out / "sound", overwrite=True)  # molecules.sdf, scores.csv, samples.json
depict(sound, 6, [Chem.MolToSmiles(mol) for mol in sound]).save(out / "sound.png")

lead = max(sound, key=QED.qed)
print("lead:", Chem.MolToSmiles(lead))
bits = GetMorganGenerator(radius=2).GetFingerprint
for amount in (0.2, 0.4, 0.6, 0.8):  # the later the time to which it is noised, the less is left of it
    near = model.vary(lead, amount, n=8, seed=1).valid  # without each lv.Failure, which could not be decoded
    like = sum(TanimotoSimilarity(bits(lead), bits(mol)) for mol in near) / max(1, len(near))
    print(f"noised to {amount}, similarity {like:.2f}:", *sorted({Chem.MolToSmiles(mol) for mol in near}))

core = model.sample(8, like=lead, keep=lv.keep.elements(*range(5)), seed=2)  # five atoms and their bonds stay
print("five atoms kept:", *(Chem.MolToSmiles(mol) for mol in core.valid))
core.report(out / "report.html")
