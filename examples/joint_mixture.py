"""Positions × types × rotations sampled together by one sampler, and their correlations recovered.

Three components fix where a point lies, which type it has and how it is turned. The belief about the mixture
is known in closed form, so whatever is wrong in the table that this prints is the sampler's doing: nothing
here is trained.

    python examples/joint_mixture.py --samples 4000 --steps 100
"""

import argparse

import torch

import langevin as lv
from langevin.core import so3
from langevin.core.analytic import JointMixtureDenoiser
from langevin.tables import Table

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--samples", type=int, default=4000)
parser.add_argument("--steps", type=int, default=100)
args = parser.parse_args()

process = lv.processes.Product(
    positions=lv.processes.Gaussian(lv.schedules.Cosine()),  # (B, 1, 2)
    types=lv.processes.Discrete(3, kind="masked"),  # (B, 1)
    frames=lv.processes.Rotations(),  # (B, 1, 3, 3)
)
turns = so3.exp(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]]))
means = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
truth = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
denoiser = JointMixtureDenoiser(process, [0.5, 0.3, 0.2], means[:, None], 0.3, truth, turns)

rng = lv.Stream.of(0, args.samples)
like = {"positions": torch.zeros(args.samples, 1, 2), "types": torch.zeros(args.samples, 1, dtype=torch.long),
        "frames": torch.eye(3).expand(args.samples, 1, 3, 3)}  # fmt: skip
# second order on positions, first on rotations, exact reverse steps on types
sampler = lv.samplers.Multistep(2, of="v", corrector=True)
*_, last = lv.samplers.sample(denoiser, sampler, lv.grids.uniform(args.steps), rng, like=like)

where = torch.cdist(last.x["positions"][:, 0], means).argmin(1)  # the component that each leaf tells of
turned = torch.stack([so3.log(last.x["frames"][:, 0].mT @ r).norm(dim=-1) for r in turns], 1).argmin(1)
types = last.x["types"][:, 0]
rows = []
for k, weight in enumerate((0.5, 0.3, 0.2)):
    here = where == k
    found = torch.bincount(types[here], minlength=3) / here.sum()
    rows.append({"component": k, "share": here.float().mean().item(), "true share": weight,
                 "P(type | position)": [round(p, 3) for p in found.tolist()], "true": truth[k].tolist(),
                 "frame agrees": (turned[here] == k).float().mean().item()})  # fmt: skip
print(Table(rows).text())
spread = (last.x["positions"][:, 0] - means[where]).std()
print(f"{last.evaluations} beliefs a sample; standard deviation of positions {spread:.3f}, true 0.3")
