"""A new sampler in twenty lines, and its certificate: the order of convergence, measured on an exact flow.

The step is a generator: it yields (x, t) where it wants the belief about clean data, and is sent the belief.
The certificate is printed; pictures that the new sampler draws are in runs/write_a_sampler.

    python examples/write_a_sampler.py
"""

import math
from dataclasses import dataclass

import torch

import langevin as lv
from langevin.core.analytic import GaussianDenoiser
from langevin.core.posteriors import Point, leafwise
from langevin.core.processes import split


@dataclass(frozen=True)  # equal by value, and named in samples.json
class Midpoint(lv.samplers.Sampler):
    """Euler to the middle of the step, then the whole step with the clean estimate found there."""

    order = 2

    def cost(self, move, process):
        return 2

    def step(self, move, process, x_t, rng, memory, mask=None):
        q_t = yield x_t, move.t  # ask for the belief at t …
        half = (move.t + move.s) / 2
        x_half = process.update(x_t, q_t, move.t, half, rng.fold("half"), 0.0, mask)
        middle = split((yield x_half, half))  # … and once more in the middle
        # with_x: ε follows from α_t x + σ_t ε = x_t. Leaves that are not Gaussian keep their belief at t
        effective = leafwise(q_t, lambda name, q: q.with_x(middle[name].x) if isinstance(q, Point) else q)
        return process.update(x_t, effective, move.t, move.s, rng, 0.0, mask), None


def errors(sampler, schedule):
    """Against the exact flow of N(0.7, 0.4²) from t = 0.9 to 0.1, in 16, 32, 64 and 128 steps."""
    denoiser = GaussianDenoiser(lv.processes.Gaussian(schedule), mean=0.7, std=0.4)
    x = torch.linspace(-2, 3, 64, dtype=torch.float64)[:, None]
    for n in (16, 32, 64, 128):
        grid = [0.9 - 0.8 * i / n for i in range(n + 1)]
        *_, last = lv.samplers.sample(denoiser, sampler, grid, lv.Stream.of(0, len(x)), x=x)
        yield (last.x - denoiser.exact(x, 0.9, 0.1)).abs().max().item()


for schedule in (lv.schedules.Linear(), lv.schedules.Cosine(), lv.schedules.VP()):
    for sampler in (lv.samplers.Single(), lv.samplers.Heun(), Midpoint()):
        *first, coarse, fine = errors(sampler, schedule)
        order = math.log2(coarse / fine)
        print(f"{schedule} {sampler}: error {fine:.1e}, order {order:.2f}, declared {sampler.order}")
        assert order > sampler.order - 0.2, "the sampler does not converge as it declares"

samples = lv.load("image-digits").sample(16, sampler=Midpoint(), evaluations=20)
print(*samples.save("runs/write_a_sampler", overwrite=True), sep="\n")
