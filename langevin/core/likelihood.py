r"""Log-likelihood along the probability flow of a Gaussian leaf, for encode, decode and score.

With y = x_t in the coordinates X = x_t / (α + σ), τ = σ / (α + σ), the flow is dX/dτ = u = ε̂ − x̂ and

.. math:: \log p(x) = \log p_1(X_1) + \int_{0}^{1} \nabla \cdot u \, d\tau - D \log(\text{scale at } t = 0) .

The divergence is estimated with a Rademacher probe that is *fixed* during the solve (Hutchinson; Grathwohl et al., 2019,
FFJORD, arXiv 1810.01367; Song et al., 2021, arXiv 2011.13456, App. D.2), so that the integrand is smooth, or exactly, one
derivative per dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from langevin.core import grids
from langevin.core.denoiser import Condition, Denoiser
from langevin.core.processes.gaussian import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers.base import GridLike, times_of
from langevin.core.schedules import Schedule

__all__ = ["log_likelihood"]


def log_likelihood(
    denoiser: Denoiser,
    x: Tensor,
    rng: Stream,
    *,
    condition: Condition | None = None,
    mask: Tensor | None = None,
    grid: GridLike | None = None,
    probes: int = 1,
    exact: bool = False,
    start: float = 1e-3,
) -> Tensor:
    """log p(x) of each sample in nats, shape (B,), by Heun's method.

    Args:
        denoiser: of one Gaussian leaf.
        x: clean states (B, …).
        rng: one row for each, for the probes.
        condition: passed to the denoiser.
        mask: (B, L); elements outside take no part.
        grid: falling times, the whole of [0, 1] by default with 50 steps; it is walked upwards from ``start``.
        probes: number of probe vectors.
        exact: sum the diagonal of the Jacobian instead, one derivative per dimension.
        start: the first time. Data has no density under the model's own noise at t = 0; the likelihood is that of data
            with noise of this level, divided by its scale. Errors of a network that outputs x grow by 1 / σ there: give
            0.05 or more.

    Raises:
        TypeError: a product or a leaf that is not Gaussian.
        ValueError: a centred leaf, whose density lives on a subspace.
    """
    leaf = denoiser.process.leaves.get("")
    if not isinstance(leaf, Gaussian):
        raise TypeError("log_likelihood needs a process of one Gaussian leaf")
    if leaf.centred:
        raise ValueError(
            "a centred leaf has a density on the centred subspace only; log_likelihood does not cover it"
        )
    schedule = leaf.schedule
    times = times_of(grid or grids.uniform(50), denoiser.process)
    rising = sorted({start, *(t for t in times if isinstance(t, float) and t > start)})
    size = x[0].numel() if mask is None else None
    directions = _probes(x, rng, probes, exact, leaf, mask)

    def flow(y: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """u and its divergence at X = y, by a vector–Jacobian product with each probe."""
        alpha, sigma = schedule.at(t)

        def u(z: Tensor) -> Tensor:
            belief, _ = denoiser((alpha + sigma) * z, t, condition, mask)
            return belief.eps - belief.x  # type: ignore[union-attr]

        return _divergence(u, y, directions, exact)

    alpha, sigma = schedule.at(rising[0])
    y = (alpha * x) / (alpha + sigma)
    total = torch.zeros(x.shape[0], dtype=x.dtype, device=x.device)
    for t, s in zip(rising[:-1], rising[1:], strict=True):
        h = _tau(schedule, s) - _tau(schedule, t)
        u_t, d_t = flow(y, t)
        u_s, d_s = flow(y + h * u_t, s)
        y = y + h * (u_t + u_s) / 2
        total = total + h * (d_t + d_s) / 2
    alpha_1, sigma_1 = schedule.at(rising[-1])
    scale = sigma_1 / (alpha_1 + sigma_1)
    count = torch.full_like(total, size) if size is not None else _count(x, leaf, mask)
    normal = -0.5 * leaf.fill((y / scale) ** 2, mask).flatten(1).sum(1) - count * (
        0.5 * math.log(2 * math.pi) + math.log(scale)
    )
    return normal + total + count * math.log(alpha / (alpha + sigma))


def _tau(schedule: Schedule, t: float) -> float:
    alpha, sigma = schedule.at(t)
    return sigma / (alpha + sigma)


def _count(x: Tensor, leaf: Gaussian, mask: Tensor | None) -> Tensor:
    return leaf.fill(torch.ones_like(x), mask).flatten(1).sum(1)


def _probes(
    x: Tensor, rng: Stream, probes: int, exact: bool, leaf: Gaussian, mask: Tensor | None
) -> list[Tensor]:
    if exact:
        eye = torch.eye(x[0].numel(), dtype=x.dtype, device=x.device)
        return [row.reshape(1, *x.shape[1:]).expand_as(x) for row in eye]
    keys = (rng.fold("probe", k) for k in range(probes))
    return [leaf.fill((key.uniform(x.shape, x.dtype) < 0.5).to(x) * 2 - 1, mask) for key in keys]


def _divergence(
    u: Callable[[Tensor], Tensor], y: Tensor, directions: list[Tensor], exact: bool
) -> tuple[Tensor, Tensor]:
    """(u(y), Σᵢ vᵢᵀ J vᵢ over probes — their mean, or their sum when they are the axes)."""
    total = torch.zeros(y.shape[0], dtype=y.dtype, device=y.device)
    value, pull, *_ = torch.func.vjp(u, y)
    for v in directions:
        (slope,) = pull(v.contiguous())
        total = total + (slope * v).flatten(1).sum(1)
    return value, total if exact else total / len(directions)
