r"""The grid that a model measures on itself.

In the angle θ = atan(σ/α) a trajectory is X(θ) = cos θ x + sin θ ε with velocity V = dX/dθ. A second-order predictor with
its free corrector makes a local error in proportion to h⁴ |V'''|, so that equal errors want steps as dense as
|V'''|^{1/4}. What an error becomes by the end is another matter: one made among the noise can turn a sample into another,
one made close to the data stays as small as it was. So the density that the curvature asks for is one candidate, and
beside it stand densities :math:`\sin^{-a} θ \cos^{-b} θ` that favour one end or the other; each is run, and the one that
comes closest to a fine run of the same samples is stored with the model.

The idea of a grid fitted to a model is that of Sabour et al., 2024, Align Your Steps, arXiv 2404.14507, with the solver's
own error in place of a bound on the divergence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from langevin.core import grids
from langevin.core.denoiser import Condition, Denoiser
from langevin.core.posteriors import Point
from langevin.core.processes import State, split
from langevin.core.processes.gaussian import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import coordinates
from langevin.core.samplers.base import Step, sample
from langevin.core.samplers.multistep import Multistep
from langevin.core.times import of_leaf

__all__ = ["measure"]

_EXPONENTS = (0.0, 0.35, 0.7, 1.0)
_SOLVER = Multistep(2, of="v", corrector=True)


def measure(
    denoiser: Denoiser,
    like: State,
    rng: Stream,
    *,
    condition: Condition | None = None,
    mask: Tensor | None = None,
    steps: int = 20,
    fine: int | None = None,
    slices: int = 48,
) -> tuple[float, ...]:
    """The density of steps from data to noise, for :func:`langevin.core.grids.curvature`.

    Asks for about 75 times as many beliefs as ``steps``.

    Args:
        denoiser: guided as it will be used.
        like: shapes of the pilot's samples; 8 are enough.
        rng: one row for each of them.
        condition: of the pilot's samples.
        mask: of the pilot's samples.
        steps: for which the grid is meant; from a quarter of them to twice as many are tried.
        fine: steps of the run that stands for the truth; 12 times ``steps`` when None.
        slices: entries of the density.

    Raises:
        ValueError: no Gaussian leaf, or a fine run that is not at least four times as fine.
    """
    fine = 12 * steps if fine is None else fine
    if fine < 6 * steps or steps < 4:
        raise ValueError(f"a pilot needs at least 4 steps and a run 6 times as fine, got {steps} and {fine}")
    process = denoiser.process
    name = next((n for n, leaf in process.leaves.items() if isinstance(leaf, Gaussian)), None)
    if name is None:
        raise ValueError("the curvature grid is measured on a Gaussian leaf; this process has none")
    leaf = process.leaves[name]
    assert isinstance(leaf, Gaussian)
    end = grids.angle_of(leaf.schedule, 1.0)

    def run(count: int, density: Sequence[float]) -> list[Step]:
        grid = grids.curvature(count, density)
        return list(sample(denoiser, _SOLVER, grid, rng, like=like, condition=condition, mask=mask))

    # even in the place z of a density: fine at both ends, where a model may change fastest
    truth = run(fine, [1.0] * slices)
    candidates = [_curved(truth, name, leaf, end, slices), *_family(end, slices)]
    target = split(truth[-1].x)[name]

    def score(density: tuple[float, ...]) -> float:
        """The mean logarithm of the samples' errors, so that one that turned into another counts as one."""
        total = 0.0
        for count in (steps // 4, steps // 2, steps, 2 * steps):
            away = split(run(count, density)[-1].x)[name] - target
            total += float(away.flatten(1).double().square().mean(1).clamp(min=1e-24).log().mean())
        return total

    return min(candidates, key=score)


def _family(end: float, slices: int) -> Iterator[tuple[float, ...]]:
    """Densities that favour the data (a) and the noise (b), levelled off at the ends."""
    angles, widths = grids.slots(end, slices)
    for a in _EXPONENTS:
        for b in _EXPONENTS:
            yield _normalised(
                [
                    width * math.hypot(math.sin(u), 2e-3) ** -a * math.hypot(math.cos(u), 0.0125) ** -b
                    for u, width in zip(angles, widths, strict=True)
                ]
            )


def _curved(run: Sequence[Step], name: str, leaf: Gaussian, end: float, slices: int) -> tuple[float, ...]:
    """|V'''|^{1/4} along a fine run, as a density over the slices."""
    velocity, nodes = [], []
    for step in run:
        belief, t = split(step.posterior)[name], of_leaf(step.move.t, name)  # type: ignore[arg-type]
        assert isinstance(belief, Point) and isinstance(t, float)
        velocity.append(coordinates.quantity("v", belief, t).flatten(1).double())
        nodes.append(grids.angle_of(leaf.schedule, t))
    difference, theta = (
        torch.stack(velocity),
        torch.tensor(nodes, dtype=torch.float64, device=velocity[0].device),
    )
    for k in range(1, 4):  # divided differences on the uneven nodes
        difference = (difference[1:] - difference[:-1]) / (theta[k:] - theta[:-k])[:, None, None]
    size = (
        difference.square().mean((1, 2)).pow(1 / 8).flip(0).cpu()
    )  # the fourth root of the root mean square
    middle = ((theta[:-3] + theta[1:-2] + theta[2:-1] + theta[3:]) / 4).flip(0).cpu()
    angles, widths = (torch.tensor(v, dtype=torch.float64) for v in grids.slots(end, slices))
    right = torch.searchsorted(middle, angles).clamp(1, len(middle) - 1)
    f = ((angles - middle[right - 1]) / (middle[right] - middle[right - 1])).clamp(0, 1)
    at = torch.lerp(size[right - 1], size[right], f)
    at = torch.nn.functional.pad(at[None, None], (2, 2), mode="replicate")
    smooth = torch.nn.functional.avg_pool1d(at, 5, 1)[0, 0]  # a derivative of third order is rough
    return _normalised((smooth * widths).tolist())


def _normalised(density: Sequence[float]) -> tuple[float, ...]:
    """With mean 1, and no slice starved: smoothness of a few samples says little about the others."""
    mean = sum(density) / len(density)
    return tuple(round(max(d / mean, 0.05), 4) for d in density)
