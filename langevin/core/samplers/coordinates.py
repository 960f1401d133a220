r"""Coordinates in which the probability flow of a Gaussian leaf is integrated.

A multistep or Runge–Kutta method replaces a quantity m along the trajectory by a polynomial in some variable u, with a
weight :math:`e^{c u}` that comes from solving the linear part exactly. Four choices cover the published families; λ is
here *half* the log-SNR, log(α/σ):

========== ============================== ============================ ==================================
of         quantity m                     variable u, weight           families
========== ============================== ============================ ==================================
x          x̂                              λ, :math:`e^{λ}`             DPM-Solver++, UniPC (data)
eps        ε̂                              λ, :math:`e^{-λ}`            DPM-Solver, DEIS (log ρ), UniPC
velocity   ε̂ − x̂                          σ/(α + σ), 1                 flow Euler, Heun, Adams–Bashforth
v          −sin θ x̂ + cos θ ε̂             θ = atan(σ/α), 1             Adams–Bashforth in the angle
sigma      ε̂                              σ/α, 1                       EDM's Euler and Heun, LMS
========== ============================== ============================ ==================================

Once the mean :math:`\bar m = \int e^{cu} m\,du / \int e^{cu} du` over a step is known, there is exactly one pair (x, ε)
with α_t x + σ_t ε = x_t whose *single* step from t to s equals the integral: the **effective posterior**
(:func:`lift`). Handing that pair to ``Process.update`` makes the multistep move, adds the noise of an SDE, and lets the
other leaves of a product take part.

References: Lu et al., 2022, DPM-Solver++, arXiv 2211.01095; Zhang & Chen, 2023, DEIS, arXiv 2204.13902; Zhao et al.,
2023, UniPC, arXiv 2302.04867; Karras et al., 2022, arXiv 2206.00364.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from langevin.core.posteriors import Point
from langevin.core.schedules import Schedule

__all__ = ["COORDINATES", "lift", "moments", "quantity", "row", "usable", "variable", "weights"]

COORDINATES = ("x", "eps", "velocity", "v", "sigma")


@functools.lru_cache(maxsize=65536)
def variable(of: str, schedule: Schedule, t: float) -> float:
    """u at time t; ±inf where the coordinate has no finite value."""
    alpha, sigma = schedule.at(t)
    if of == "v":
        return math.atan2(sigma, alpha)
    if of == "velocity":
        return sigma / (alpha + sigma)
    if of == "sigma":
        return sigma / alpha if alpha else math.inf
    if sigma == 0:
        return math.inf
    return math.log(alpha / sigma) if alpha else -math.inf


def usable(of: str, schedule: Schedule, t: float) -> bool:
    """Whether a node at time t can carry a polynomial of degree ≥ 1."""
    return math.isfinite(variable(of, schedule, t))


@functools.lru_cache(maxsize=65536)
def row(of: str, schedule: Schedule, t: float) -> tuple[float, float]:
    """(c, d) of the quantity m = c x̂ + d ε̂ at time t."""
    if of == "x":
        return 1.0, 0.0
    if of in ("eps", "sigma"):
        return 0.0, 1.0
    if of == "velocity":
        return -1.0, 1.0
    alpha, sigma = schedule.at(t)
    norm = math.hypot(alpha, sigma)
    return -sigma / norm, alpha / norm


def quantity(of: str, belief: Point, t: float) -> Tensor:
    """m of a belief at time t, shape of x."""
    c, d = row(of, belief.schedule, t)
    if c == 1 and d == 0:
        return belief.x
    eps = belief.eps if d == 1 else d * belief.eps
    return torch.add(eps, belief.x, alpha=c) if c else eps


@functools.lru_cache(maxsize=65536)
def lift(of: str, schedule: Schedule, t: float, s: float | None) -> tuple[float, float, float, float]:
    """(p, q, u, w): the effective posterior x = p x_t + q m̄, ε = u x_t + w m̄ of a step from t to s.

    Args:
        of: the coordinate.
        schedule: of the leaf.
        t: where the step begins.
        s: where it ends; None for a step from a lone belief, whose pair is that belief again (DDIM). Only "v" tells
            the two apart: its straight step in the angle is Euler's, while a lone (x̂, ε̂) that stays what it is turns.

    Raises:
        ValueError: the coordinate is singular at t ("eps" and "sigma" at α = 0, "x" at σ = 0).
    """
    alpha, sigma = schedule.at(t)
    if (alpha == 0 and of in ("eps", "sigma")) or (sigma == 0 and of == "x"):
        raise ValueError(
            f"a step of={of!r} cannot start at t = {t:g}, where {'alpha' if alpha == 0 else 'sigma'} = 0; "
            "use of='v' or of='velocity'"
        )
    if of == "x":
        return 0.0, 1.0, 1 / sigma, -alpha / sigma
    if of in ("eps", "sigma"):
        return 1 / alpha, -sigma / alpha, 0.0, 1.0
    if of == "velocity":
        norm = alpha + sigma
        return 1 / norm, -sigma / norm, 1 / norm, alpha / norm
    # the straight step X + Δ m̄ in the angle, as a rotation by Δ with the effective velocity V = a X + b m̄
    norm = math.hypot(alpha, sigma)
    cos, sin = alpha / norm, sigma / norm
    a, b = 0.0, 1.0
    if s is not None:
        delta = variable("v", schedule, s) - variable("v", schedule, t)
        a, b = math.tan(delta / 2), delta / math.sin(delta)
    return (cos - sin * a) / norm, -sin * b, (sin + cos * a) / norm, cos * b


def moments(exponent: float, count: int) -> list[float]:
    """∫₀¹ e^{az} zᵏ dz / ∫₀¹ e^{az} dz for k = 0 … count − 1, to float64 for every a (scaled, never overflowing)."""
    a = exponent
    if abs(a) < 1:
        raw, term = [0.0] * count, 1.0  # term: aⁿ / n!
        for n in range(20):
            raw = [m + term / (n + k + 1) for k, m in enumerate(raw)]
            term *= a / (n + 1)
            if term == 0:
                break
    else:
        # M_k = (e^a − k M_{k−1}) / a, divided by e^{max(a, 0)}
        top, low = (1.0, math.exp(-a)) if a > 0 else (math.exp(a), 1.0)
        raw = [(top - low) / a]
        for k in range(1, count):
            raw.append((top - k * raw[-1]) / a)
    return [m / raw[0] for m in raw]


def weights(
    nodes: Sequence[float], start: float, end: float, exponent: float, midpoint: bool = False
) -> list[float]:
    """The weight of each node in m̄ over the step u: start → end, by exact integration of the interpolating polynomial.

    Args:
        nodes: values u of the nodes, distinct.
        start: u where the step begins.
        end: u where it ends; may be infinite for a lone node.
        exponent: c of the weight e^{cu}.
        midpoint: with two nodes, take the interpolant at the middle of the step instead (DPM-Solver++ 2M and UniPC-2 as
            published, which differ from exact integration at the next order).
    """
    count = len(nodes)
    if count == 1:
        return [1.0]
    h = end - start
    z = [(u - start) / h for u in nodes]
    m = [1.0, 0.5] if midpoint and count == 2 else moments(exponent * h, count)
    return [_integral(z, j, m) for j in range(count)]


def _integral(z: Sequence[float], j: int, m: Sequence[float]) -> float:
    """Σ_k m_k [zᵏ] of the Lagrange polynomial that is 1 at z_j and 0 at the other nodes."""
    powers = [1.0]
    for i, other in enumerate(z):
        if i != j:  # times (z − z_i) / (z_j − z_i)
            gap = z[j] - other
            raised = [0.0, *powers]
            powers = [(up - other * low) / gap for up, low in zip(raised, [*powers, 0.0])]
    return sum(a * b for a, b in zip(powers, m))
