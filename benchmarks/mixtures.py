r"""Flows that are known to any accuracy: mixtures with closed-form beliefs, and a shipped network.

    gmm64     16 Gaussians in d = 64 with different full covariances; means and covariances fall as i^{-1} along the axes
    gmm64cfg  the same under classifier-free guidance of weight 4 towards three of the components
    board2    32 thin Gaussians on the dark fields of an 8 x 8 board in the plane

each of unit variance, under two schedules: ``vp`` (the scaled-linear table of Stable Diffusion, σ/α from 0.029 to 14.6)
and ``flow`` (α = 1 − t, σ = t, from pure noise). A mixture is smoother than a network, so the name of a shipped model
of one Gaussian leaf may stand for a problem too, as ``image-digits/flow``: in float64, with the model's own guidance.

In the angle θ = atan(σ/α) a state of unit norm is X = cos θ x + sin θ ε and the flow is dX/dθ = −sin θ x̂ + cos θ ε̂,
whatever the schedule: :func:`exact` integrates that in float64 with SciPy's DOP853, which shares no code with our samplers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import langevin
from langevin.core.analytic import MixtureDenoiser
from langevin.core.denoiser import Condition, Denoiser
from langevin.core.guidance import cfg
from langevin.core.posteriors import Point
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.schedules import Linear, Schedule, Tabulated

__all__ = ["BETAS", "CELLS", "Problem", "believe", "exact", "problem"]

BETAS = (np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2).tolist()  # Stable Diffusion's
CELLS = [f"{data}/{schedule}" for data in ("gmm64", "gmm64cfg", "board2") for schedule in ("vp", "flow")]


@dataclass(frozen=True)
class Problem:
    """A denoiser, its condition, and samples at t = 1 with the clean samples that the exact flow makes of them.

    Attributes:
        denoiser: guided where the problem is.
        conditions: number of samples ↦ their condition.
        x: (n, …), states at t = 1.
        clean: (n, …), at t = 0.
    """

    name: str
    denoiser: Denoiser
    schedule: Schedule
    conditions: Callable[[int], Condition]
    x: Tensor
    clean: Tensor

    @functools.cached_property
    def condition(self) -> Condition:
        """The condition of the samples."""
        return self.conditions(len(self.x))

    def error(self, x: Tensor) -> tuple[float, float]:
        """(RMS over everything, 90th percentile of the samples' own RMS) of an endpoint; inf where it is not finite."""
        each = (x.double() - self.clean).square().flatten(1).mean(1).nan_to_num(torch.inf)
        return each.mean().sqrt().item(), each.sqrt().quantile(0.9).item()


def _gmm64(seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    k, d = 16, 64
    spectrum = 1 / torch.arange(1, d + 1, dtype=torch.float64)
    means = torch.randn(k, d, generator=draw, dtype=torch.float64) * spectrum.sqrt()
    factors = (
        torch.randn(k, d, 2 * d, generator=draw, dtype=torch.float64)
        * spectrum.sqrt()[:, None]
        / (2 * d) ** 0.5
    )
    means = means - means.mean(0)
    covariances = factors @ factors.mT
    variance = means.square().mean() + covariances.diagonal(dim1=1, dim2=2).mean()
    return means / variance.sqrt(), covariances / variance


def _board2() -> tuple[Tensor, float]:
    fields = [(i, j) for i in range(8) for j in range(8) if (i + j) % 2 == 0]
    means = torch.tensor(fields, dtype=torch.float64) - 3.5
    std = 0.1  # of the side of a field
    scale = (means.square().mean() + std**2).sqrt()
    return means / scale, std / scale.item()


def problem(name: str, n: int, seed: int = 0, tolerance: float = 1e-10) -> Problem:
    """One cell of the table, as ``data/schedule``.

    Args:
        name: one of ``CELLS``, or a shipped model's name and ``/flow`` or ``/vp``.
        n: samples.
        seed: of the mixture and of the samples.
        tolerance: of the reference, relative and absolute.
    """
    if name not in CELLS:
        return _shipped(name, n, seed)
    data, clock = name.split("/")
    schedule: Schedule = Tabulated.from_betas(BETAS) if clock == "vp" else Linear()
    process = Gaussian(schedule)
    denoiser: Denoiser
    if data == "board2":
        means, std = _board2()
        denoiser = MixtureDenoiser(process, [1 / 32] * 32, means, std)
    else:
        means, covariances = _gmm64(seed)
        towards = torch.zeros(1, 16)
        towards[0, :3] = 1
        denoiser = MixtureDenoiser(process, [1 / 16] * 16, means, covariances=covariances, labels=towards)
    guided = data == "gmm64cfg"
    noise = Stream.of(seed, n).normal((n, means.shape[1]), torch.float64)
    return _solved(
        name,
        cfg(4.0)(denoiser) if guided else denoiser,
        schedule,
        lambda rows: {"label": torch.zeros(rows, dtype=torch.long)} if guided else {},
        noise,
        tolerance,
    )


def _shipped(name: str, n: int, seed: int) -> Problem:
    """A network's flow under the model's own guidance; labels are 0, 1, … in turn."""
    model = langevin.load(name.split("/")[0]).cast("float64")
    classes = {c: e.classes for c, e in model.network.conditions.items()}

    def conditions(rows: int) -> Condition:
        labels = {c: [i % count for i in range(rows)] for c, count in classes.items()}
        with torch.no_grad():
            return model.network.embed(model.parse(labels))

    weight = float(model.defaults.get("guidance", 1.0))
    blank, _ = model.modality.blank(range(n), Stream.of(seed, n), {}, model.modality.spec())
    noise = Stream.of(seed, n).normal(tuple(blank.shape), torch.float64)
    denoiser = cfg(weight)(model.denoiser) if weight != 1 else model.denoiser
    # a network is not smooth: 1e-6 is far below the errors that are compared
    return _solved(name, denoiser, model.process.schedule, conditions, noise, 1e-6)


def _solved(
    name: str,
    denoiser: Denoiser,
    schedule: Schedule,
    conditions: Callable[[int], Condition],
    noise: Tensor,
    tolerance: float,
) -> Problem:
    x = schedule.at(1.0)[1] * noise
    start = Problem(name, denoiser, schedule, conditions, x, x)
    return Problem(name, denoiser, schedule, conditions, x, exact(start, 0.0, tolerance))


def angle(schedule: Schedule, t: float) -> float:
    """θ of a time."""
    alpha, sigma = schedule.at(t)
    return math.atan2(sigma, alpha)


def believe(given: Problem, x: Tensor, theta: float) -> Point:
    """The belief at a state of unit norm at the angle θ, (n, …)."""
    if theta <= 0:
        t = 0.0
    elif theta >= angle(given.schedule, 1.0):
        t = 1.0
    else:
        t = given.schedule.time(torch.tensor(-2 * math.log(math.tan(theta)), dtype=torch.float64)).item()
    alpha, sigma = given.schedule.at(t)
    with torch.no_grad():
        belief, _ = given.denoiser(x.double() * math.hypot(alpha, sigma), t, given.condition)
    assert isinstance(belief, Point)
    return belief


def exact(given: Problem, theta: float, tolerance: float = 1e-10) -> Tensor:
    """The states of unit norm at the angle θ on the trajectories that begin at ``given.x`` at t = 1, (n, …)."""
    start = angle(given.schedule, 1.0)
    x = given.x / math.hypot(*given.schedule.at(1.0))
    shape = tuple(x.shape)

    def slope(at: float, flat: np.ndarray) -> np.ndarray:
        belief = believe(given, torch.from_numpy(flat).view(shape), at)
        return (math.cos(at) * belief.eps - math.sin(at) * belief.x).flatten().numpy()

    if theta == start:
        return x
    answer = solve_ivp(slope, (start, theta), x.flatten().numpy(), "DOP853", rtol=tolerance, atol=tolerance)
    if not answer.success:
        raise RuntimeError(f"the reference of {given.name} failed: {answer.message}")
    return torch.from_numpy(answer.y[:, -1].copy()).view(shape)
