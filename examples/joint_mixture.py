"""Positions × types × rotations sampled together by one sampler, and their correlations recovered.

Three components fix where a point lies, which type it has and how it is turned. The belief about the mixture
is known in closed form, so whatever is wrong in the table that this prints is the sampler's doing: nothing
here is trained.

    python examples/joint_mixture.py
"""

import torch

import langevin as lv
from langevin.core import so3
from langevin.core.analytic import JointMixtureDenoiser
from langevin.tables import Table

process = lv.processes.Product(
    positions=lv.processes.Gaussian(lv.schedules.Cosine()),  # (B, 1, 2)
    types=lv.processes.Discrete(3, kind="masked"),  # (B, 1)
    frames=lv.processes.Rotations(),  # (B, 1, 3, 3)
)
weights = [0.5, 0.3, 0.2]
means = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
chances = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])  # of each type
turns = so3.exp(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]]))
denoiser = JointMixtureDenoiser(process, weights, means[:, None], 0.3, chances, turns)

rng = lv.Stream.of(seed=0, samples=2000)
like = {"positions": torch.zeros(2000, 1, 2), "types": torch.zeros(2000, 1, dtype=torch.long),
        "frames": torch.eye(3).expand(2000, 1, 3, 3)}  # fmt: skip
# second order on positions, first on rotations, exact reverse steps on types
sampler = lv.samplers.Multistep(2, of="v", corrector=True)
*_, last = lv.samplers.sample(denoiser, sampler, lv.grids.uniform(50), rng, like=like)

where = torch.cdist(last.x["positions"][:, 0], means).argmin(1)  # the component that each leaf tells of
turned = torch.stack([so3.log(last.x["frames"][:, 0].mT @ r).norm(dim=-1) for r in turns], 1).argmin(1)
rows = []
for k, weight in enumerate(weights):
    types = last.x["types"][where == k, 0].bincount(minlength=3)
    share, agrees = (where == k).float().mean(), (turned[where == k] == k).float().mean()
    found, true = [f"{p:.3f}" for p in types / types.sum()], chances[k].tolist()
    rows.append({"component": k, "share": share.item(), "true share": weight,
                 "P(type | position)": found, "true": true, "frame agrees": agrees.item()})  # fmt: skip
print(Table(rows).text())
