r"""The grid that a model measures on itself.

In the angle θ = atan(σ/α) a trajectory is X(θ) = cos θ x + sin θ ε with velocity V = dX/dθ. A second-order predictor with
its free corrector makes a local error in proportion to h⁴ |V'''|, so that equal errors want steps in proportion to
|V'''|^{-1/4}. One pilot run over fine, even steps in θ measures that density; it depends on the model and not on the
samples, and is stored with the model. The idea is that of Sabour et al., 2024, Align Your Steps, arXiv 2404.14507,
with the solver's own error in place of a bound on the divergence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from langevin.core.denoiser import Condition, Denoiser
from langevin.core.posteriors import Point
from langevin.core.processes import State, split
from langevin.core.processes.gaussian import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import coordinates
from langevin.core.samplers.base import sample
from langevin.core.samplers.multistep import Multistep
from langevin.core.times import of_leaf

__all__ = ["measure"]


def measure(
    denoiser: Denoiser,
    like: State,
    rng: Stream,
    *,
    condition: Condition | None = None,
    mask: Tensor | None = None,
    steps: int = 64,
    slices: int = 32,
) -> tuple[float, ...]:
    """The density of steps in equal slices of θ from data to noise, for :func:`langevin.core.grids.curvature`.

    Args:
        denoiser: guided as it will be used.
        like: shapes of the pilot's samples; 16 are enough.
        rng: one row for each of them.
        condition: of the pilot's samples.
        mask: of the pilot's samples.
        steps: of the pilot, even in θ.
        slices: entries of the density.

    Raises:
        ValueError: no Gaussian leaf, or fewer than 16 steps.
    """
    if steps < 16:
        raise ValueError(f"a pilot needs at least 16 steps, got {steps}")
    process = denoiser.process
    name, leaf = next(((n, p) for n, p in process.leaves.items() if isinstance(p, Gaussian)), ("", None))
    if leaf is None:
        raise ValueError("the curvature grid is measured on a Gaussian leaf; this process has none")
    alpha, sigma = leaf.schedule.at(1.0)
    end = math.atan2(sigma, alpha)
    angles = torch.linspace(end, 0, steps + 1, dtype=torch.float64)
    times = leaf.schedule.time(-2 * torch.tan(angles[1:-1]).log()).tolist()
    solver = Multistep(2, of="v", corrector=True)
    velocity = []
    for step in sample(denoiser, solver, [1.0, *times, 0.0], rng, like=like, condition=condition, mask=mask):
        belief = split(step.posterior)[name]
        assert isinstance(belief, Point)
        velocity.append(coordinates.quantity("v", belief, of_leaf(step.move.t, name)).flatten(1))  # type: ignore[arg-type]
    v = torch.stack(velocity).double()  # (steps, B, D), at the even angles from noise to data
    third = v[3:] - 3 * v[2:-1] + 3 * v[1:-2] - v[:-3]
    size = third.square().mean((1, 2)).pow(1 / 8)  # the fourth root of the root mean square
    # the difference of four nodes stands at their middle; ends take the nearest value, and neighbours are averaged
    size = torch.cat([size[:1].expand(2), size, size[-1:].expand(1)]).flip(0)
    size = torch.nn.functional.avg_pool1d(
        torch.nn.functional.pad(size[None, None], (2, 2), mode="replicate"), 5, 1
    )[0, 0]
    slots = torch.nn.functional.interpolate(size[None, None], slices, mode="linear")[0, 0]
    slots = slots / slots.mean()
    # no slice may be starved: a pilot's smoothness at an end says little about a guided run of few steps
    return tuple(round(d, 5) for d in slots.clamp(min=0.1).tolist())
