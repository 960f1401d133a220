"""Molecules steered towards a reward without training, beside the best of as many plain samples.

A reward is any function of decoded molecules. Particles carry each sample, are weighted by how their reward grows, and
are resampled (Feynman–Kac steering). Where plain samples already come near the target, the best of n of them is hard to
beat, as here: the lines say what either gives for the same number of network evaluations.

    python examples/steer_molecules.py          # molecule-qm9-heavy; runs/steered
"""

from pathlib import Path

import torch
from rdkit import Chem
from rdkit.Chem import QED, Crippen

import langevin as lv

N, PARTICLES, STEPS = 16, 8, 50
model, out = lv.load("molecule-qm9-heavy"), Path("runs/steered")
nearly = lv.samplers.Single(0.2)  # a little noise in positions; classes are drawn anyway


def reward_of(function, floor):
    """A reward in which what could not be decoded has the value ``floor``."""
    return lambda mols: torch.tensor([floor if isinstance(m, lv.Failure) else function(m) for m in mols])


REWARDS = {
    "logP near 2": (reward_of(lambda mol: -abs(Crippen.MolLogP(mol) - 2.0), -4.0), 3.0),
    "QED": (reward_of(QED.qed, 0.0), 30.0),
}
plain = model.sample(N * PARTICLES, sampler=nearly, steps=STEPS, seed=1)
for name, (reward, strength) in REWARDS.items():
    one = {"particles": PARTICLES, "strength": strength, "begin": 0.5}
    steered = model.steer(reward, N, **one, sampler=nearly, steps=STEPS, seed=0)
    groups = reward(list(plain)).view(N, PARTICLES)
    best = [plain[PARTICLES * i + int(k)] for i, k in enumerate(groups.argmax(1))]
    print(f"{name}: plain {groups.mean():.3f}, {STEPS * N * PARTICLES} rows of the network for either of")
    for how, mols in (("steered", list(steered)), (f"best of {PARTICLES}", best)):
        kept = [Chem.MolToSmiles(m) for m in mols if not isinstance(m, lv.Failure)]
        print(
            f"  {how}: mean {reward(mols).mean():.3f}, {len(kept)} of {N} decoded, {len(set(kept))} different"
        )
    steered.save(out / name.replace(" ", "-"), overwrite=True)
