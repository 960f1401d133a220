"""A new sampler in twenty lines, and its certificate: the order of convergence, measured on an exact flow.

The step is a generator: it yields (x, t) where it wants the belief about clean data, and is sent the belief.

    python examples/write_a_sampler.py                          # the certificate
    python examples/write_a_sampler.py --model image-digits     # and pictures, in runs/write_a_sampler
"""

import argparse
import math
from dataclasses import dataclass

import torch

import langevin as lv
from langevin.core.analytic import GaussianDenoiser
from langevin.core.posteriors import Point, leafwise
from langevin.core.processes import split


@dataclass(frozen=True)  # equal by value, and named in samples.json
class Midpoint(lv.samplers.Sampler):
    """Euler to the middle of the step, then the whole step with the clean estimate found there.

    ``with_x`` makes that estimate a belief about x_t: ε follows from α_t x + σ_t ε = x_t. Leaves that are not
    Gaussian keep their belief at t, so that the sampler works on every product.
    """

    order = 2

    def cost(self, move, process):
        return 2

    def step(self, move, process, x_t, rng, memory, mask=None):
        q_t = yield x_t, move.t  # ask for the belief at t …
        half = (move.t + move.s) / 2
        x_half = process.update(x_t, q_t, move.t, half, rng.fold("half"), 0.0, mask)
        q_half = yield x_half, half  # … and once more in the middle
        middle = split(q_half)
        effective = leafwise(q_t, lambda name, q: q.with_x(middle[name].x) if isinstance(q, Point) else q)
        return process.update(x_t, effective, move.t, move.s, rng, 0.0, mask), None


def measured_order(sampler, schedule, steps=(16, 32, 64, 128)):
    """Errors against the exact flow of N(0.7, 0.4²) from t = 0.9 to 0.1, and the slope of their logs."""
    denoiser = GaussianDenoiser(lv.processes.Gaussian(schedule), mean=0.7, std=0.4)
    x = torch.linspace(-2, 3, 64, dtype=torch.float64)[:, None]
    errors = []
    for n in steps:
        grid = [0.9 - 0.8 * i / n for i in range(n + 1)]
        *_, last = lv.samplers.sample(denoiser, sampler, grid, lv.Stream.of(0, len(x)), x=x)
        errors.append((last.x - denoiser.exact(x, 0.9, 0.1)).abs().max().item())
    return errors, math.log2(errors[-2] / errors[-1])


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", help="draw with the new sampler from this model too")
args = parser.parse_args()

for schedule in (lv.schedules.Linear(), lv.schedules.Cosine(), lv.schedules.VP()):
    for sampler in (lv.samplers.Single(), lv.samplers.Heun(), Midpoint()):
        errors, order = measured_order(sampler, schedule)
        shown = "  ".join(f"{e:.1e}" for e in errors)
        names = f"{type(schedule).__name__:7} {type(sampler).__name__:9}"
        print(f"{names} errors {shown}   order {order:.2f}, declared {sampler.order}")
        assert order > sampler.order - 0.2, "the sampler does not converge as it declares"
if args.model:
    samples = lv.load(args.model).sample(16, sampler=Midpoint(), evaluations=20)
    print(*samples.save("runs/write_a_sampler", overwrite=True), sep="\n")
