"""Molecules steered towards a reward without training, beside the best of as many evaluations of plain samples.

A reward is any function of decoded molecules. Eight particles carry each sample: they are judged, the better ones are
copied, noised to t = 0.5 and drawn again, and what is no worse is kept. The best is returned. What is printed tells
whether the particles are still many: lineages are those of the first eight that are left, and different are the
particles that are not copies of each other.

    python examples/steer_molecules.py          # molecule-qm9-heavy; runs/steered
"""

from pathlib import Path

import torch
from rdkit import Chem
from rdkit.Chem import QED, Crippen

import langevin as lv

N, PARTICLES, EVALUATIONS = 16, 8, 50  # molecules, particles of each, evaluations of each particle
model, out = lv.load("molecule-qm9-heavy"), Path("runs/steered")


def near_two(mols):
    return [-abs(Crippen.MolLogP(mol) - 2.0) for mol in mols]


def qed(mols):
    return [QED.qed(mol) for mol in mols]


def rewards_of(mols, reward, floor):
    return torch.tensor([floor if isinstance(m, lv.Failure) else reward([m])[0] for m in mols])


plain = model.sample(N * PARTICLES, steps=EVALUATIONS, seed=1)
for name, reward, floor in (("logP near 2", near_two, -4.0), ("QED", qed, 0.0)):
    steered = model.steer(reward, N, particles=PARTICLES, evaluations=EVALUATIONS, seed=0)
    groups = rewards_of(plain, reward, floor).view(N, PARTICLES)
    best = [plain[PARTICLES * i + int(k)] for i, k in enumerate(groups.argmax(1))]
    rows = f"{steered.run.network_rows} and {plain.run.network_rows} rows of the network"
    print(f"{name}: plain {groups.mean():.3f}, {rows}")
    for how, mols in (("steered", list(steered)), (f"best of {PARTICLES}", best)):
        kept = [Chem.MolToSmiles(m) for m in mols if not isinstance(m, lv.Failure)]
        mean = rewards_of(mols, reward, floor).mean()
        print(f"  {how}: mean {mean:.3f}, {len(kept)} of {N} decoded, {len(set(kept))} different")
    told = steered.run.options["steering"]
    for what in ("ess", "lineages", "different", "accepted"):
        print(f"  {what}: {', '.join(f'{v:.2f}' for v in told[what])}")
    print(f"  {told['undecoded']} of {told['judged']} that were judged could not be decoded")
    steered.save(out / name.replace(" ", "-"), overwrite=True)
