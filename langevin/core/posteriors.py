r"""Posteriors: what the network believes about clean data, whatever it was trained to output.

A :class:`Point` is the belief of a Gaussian leaf. Since :math:`x_t = \alpha x + \sigma \epsilon` is known, an estimate
of any one of x, ε, v, velocity, score is an estimate of all; the pair (x, ε) is kept because every update is linear in
it. A :class:`Categorical` is the belief of a discrete leaf, a :class:`Tangent` that of a leaf on a manifold (the vector
at :math:`x_t` that points to the clean value). A product's belief is a dict of these.

Two operations are all that guidance needs: :func:`combine` (a weighted sum: means and tangents add, log-probabilities
add and are normalised, which is the tempered product of the distributions; where these share no class, the one with
the largest weight holds) and :func:`project` (edit the clean estimate, and re-derive what follows from it). Because both
act here and not on raw outputs, guidance written once holds for every parametrisation and every leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from langevin.core.schedules import Schedule
from langevin.core.times import Time, broadcast, scales

__all__ = ["Categorical", "Point", "Posterior", "Tangent", "combine", "leafwise", "project"]


@dataclass(frozen=True)
class Point:
    """A belief about a Gaussian leaf, as consistent estimates of x and ε.

    Attributes:
        x: the clean estimate E[x | x_t], shape (B, …).
        eps: the noise estimate; α_t x + σ_t ε = x_t.
        x_t: the noisy state that the belief is about.
        t: its time; a float, or a tensor of shape (), (B,) or (B, L).
        schedule: gives (α_t, σ_t).
        log_var: optional log-variance of the belief, shape of ``x``, for models that learn it.
    """

    x: Tensor
    eps: Tensor
    x_t: Tensor
    t: Time
    schedule: Schedule
    log_var: Tensor | None = None

    @property
    def v(self) -> Tensor:
        """v = α ε − σ x (Salimans & Ho, 2022, arXiv 2202.00512)."""
        alpha, sigma = scales(self.schedule, self.t, self.x)
        return alpha * self.eps - sigma * self.x

    @property
    def velocity(self) -> Tensor:
        """dx_t/dt along the probability flow, α' x + σ' ε; for the linear schedule ε − x."""
        t = broadcast(self.t, self.x)
        d_alpha, d_sigma = self.schedule.derivative(t)
        return d_alpha * self.x + d_sigma * self.eps

    @property
    def score(self) -> Tensor:
        """∇ log p_t(x_t) = −ε / σ_t; not defined at σ_t = 0."""
        _, sigma = scales(self.schedule, self.t, self.x)
        return -self.eps / sigma

    def with_x(self, x: Tensor) -> Point:
        """The belief with another clean estimate; ε follows from x_t (kept as it is where σ_t = 0)."""
        alpha, sigma = scales(self.schedule, self.t, self.x)
        if isinstance(sigma, float):
            eps = self.eps if sigma == 0 else (self.x_t - alpha * x) / sigma
        else:
            safe = torch.where(sigma == 0, torch.ones_like(sigma), sigma)
            eps = torch.where(sigma == 0, self.eps, (self.x_t - alpha * x) / safe)
        return replace(self, x=x, eps=eps)


@dataclass(frozen=True)
class Categorical:
    """A belief about a discrete leaf: unnormalised log-probabilities of the clean class, shape (B, …, classes)."""

    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """Normalised probabilities, shape (B, …, classes)."""
        return self.logits.softmax(-1)


@dataclass(frozen=True)
class Tangent:
    """A belief about a leaf on a manifold: the tangent vector at x_t whose exponential is the clean estimate.

    Attributes:
        vector: rotations (B, …, 3) in radians, in the body frame (R = R_t Exp(vector)); torus: same shape as x_t.
        x_t: the noisy state at which the vector lives.
    """

    vector: Tensor
    x_t: Tensor


Leaf: TypeAlias = Point | Categorical | Tangent
Posterior: TypeAlias = Leaf | dict[str, Leaf]


def _combine(weights: Sequence[float], leaves: Sequence[Leaf]) -> Leaf:
    first = leaves[0]
    if any(type(leaf) is not type(first) for leaf in leaves):
        raise TypeError(
            f"cannot combine beliefs of different kinds: {[type(leaf).__name__ for leaf in leaves]}"
        )

    def total(values: Sequence[Tensor]) -> Tensor:
        if len(values) == 2 and abs(weights[0] + weights[1] - 1) < 1e-12:
            return torch.lerp(values[0], values[1], weights[1])
        out = weights[0] * values[0]
        for weight, value in zip(weights[1:], values[1:], strict=True):
            out = torch.add(out, value, alpha=weight)
        return out

    if isinstance(first, Point):
        return replace(first, x=total([p.x for p in leaves]), eps=total([p.eps for p in leaves]))  # type: ignore[union-attr]
    if isinstance(first, Categorical):
        # a class that a belief with a weight rules out (log 0) stays ruled out, whatever the sign of that weight
        logs = [p.logits.log_softmax(-1) for p in leaves]  # type: ignore[union-attr]
        zeros = [log == -torch.inf for log in logs]
        barred = torch.stack([zero & (weight != 0) for weight, zero in zip(weights, zeros, strict=True)]).any(
            0
        )
        joint = total([log.masked_fill(zero, 0.0) for log, zero in zip(logs, zeros, strict=True)])
        heaviest = logs[max(range(len(logs)), key=lambda i: weights[i])]
        left = joint.masked_fill(barred, -torch.inf)
        return Categorical(torch.where(barred.all(-1, keepdim=True), heaviest, left))
    return replace(first, vector=total([p.vector for p in leaves]))  # type: ignore[union-attr]


def combine(weights: Sequence[float], posteriors: Sequence[Posterior]) -> Posterior:
    """Σ wᵢ pᵢ: of x and ε for points, of log-probabilities for categoricals, of vectors for tangents; leaf by leaf.

    A class that one categorical rules out is ruled out. Where that leaves no class, because the beliefs agree on none,
    the belief with the largest weight stands in that element (under guidance with w > 1/2: the conditional one).

    Args:
        weights: one number for each posterior; they should sum to 1, so that α x + σ ε = x_t goes on to hold.
        posteriors: beliefs about the same x_t.

    Raises:
        ValueError: no posteriors, or not as many as weights.
        TypeError: beliefs of different kinds.
    """
    if not posteriors or len(weights) != len(posteriors):
        raise ValueError(
            f"combine needs one weight for each posterior, got {len(weights)} and {len(posteriors)}"
        )
    first = posteriors[0]
    if isinstance(first, dict):
        return {name: _combine(weights, [p[name] for p in posteriors]) for name in first}  # type: ignore[index]
    return _combine(weights, posteriors)  # type: ignore[arg-type]


def leafwise(posterior: Posterior, f: Callable[[str, Leaf], Leaf]) -> Posterior:
    """``f(name, leaf)`` on every leaf of a belief; the name of a lone leaf is ``""``."""
    if isinstance(posterior, dict):
        return {name: f(name, leaf) for name, leaf in posterior.items()}
    return f("", posterior)


def project(posterior: Posterior, f: Callable[[Tensor], Tensor]) -> Posterior:
    """Edits the clean estimate of every Gaussian leaf by ``f`` and re-derives its ε; other leaves are left as they are."""
    return leafwise(posterior, lambda _, leaf: leaf.with_x(f(leaf.x)) if isinstance(leaf, Point) else leaf)
