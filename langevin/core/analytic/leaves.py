r"""Leaves of a mixture: what each says about the component behind a noisy state, and what each believes.

``read`` gives, for K components, log p(x_t | k) up to a term common to all k, and a function from the
posterior weights of the components (B, K) to the belief of the leaf.

Rotations under :class:`~langevin.core.processes.Geodesic`. R_t = R_0 Exp(σ v), where v is the logarithm of
a uniform rotation: uniform directions, and an angle of density (1 − cos ω)/π on [0, π]. As densities of the
rotation vector, v has :math:`(1 - \cos ω) / 4π^2 ω^2`, and w = σ v has :math:`(1 - \cos(ω/σ)) / 4π^2 σ ω^2`
for ω = |w| ≤ σπ and 0 beyond. The uniform measure itself has the former, so with respect to it

.. math:: f_σ(ω) = \frac{1 - \cos(ω/σ)}{σ\,(1 - \cos ω)} = \frac{\sin^2(ω/2σ)}{σ \sin^2(ω/2)}, \qquad ω ≤ σπ,

which tends to σ^{-3} at ω → 0 and to 1 at σ = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.analytic.normals import Normals
from langevin.core.posteriors import Categorical, Point, Tangent
from langevin.core.processes import Discrete, Gaussian, Geodesic, LeafProcess, Rotations
from langevin.core.rng import Stream
from langevin.core.times import Time, scales

__all__ = ["Classes", "Component", "Frames", "Points", "geodesic_log_density"]

Believe: TypeAlias = Callable[[Tensor], Any]


class Component(Protocol):
    """K laws of one leaf."""

    def read(self, leaf: Any, x_t: Tensor, t: Time, mask: Tensor | None) -> tuple[Tensor, Believe]:
        """(log p(x_t | k) (B, K) up to what k does not change, posterior weights (B, K) ↦ belief)."""
        ...

    def draw(self, index: Tensor, rng: Stream) -> Tensor:
        """Clean data of the component named for each row, (B, …)."""
        ...


def counted(leaf: LeafProcess, like: Tensor, mask: Tensor | None) -> Tensor | None:
    """The elements that carry evidence, broadcasting to ``like``: real ones, and of a symmetric pair only
    one.
    """
    real = leaf.real(mask)
    if leaf.pair:
        upper = torch.ones(like.shape[1:3], dtype=torch.bool, device=like.device).triu()
        real = upper.expand(like.shape[:3]) if real is None else real & upper
    return None if real is None else real.reshape(real.shape + (1,) * (like.ndim - real.ndim)).expand_as(like)


@dataclass(frozen=True)
class Points:
    """Normals on a Gaussian leaf."""

    normals: Normals

    def read(self, leaf: Gaussian, x_t: Tensor, t: Time, mask: Tensor | None) -> tuple[Tensor, Believe]:
        if self.normals.shape != tuple(x_t.shape[1:]):
            raise ValueError(f"the means have shape {self.normals.shape}, the state {tuple(x_t.shape[1:])}")
        t = leaf.clock(t)
        real = counted(leaf, x_t, mask)
        x, eps, log = self.normals.estimate(
            x_t, *self.normals.coefficients(leaf.schedule, t, x_t), None if real is None else real.flatten(1)
        )

        def believe(r: Tensor) -> Point:
            share = r.to(x.dtype)[..., None]
            return Point(
                (share * x).sum(1).view_as(x_t), (share * eps).sum(1).view_as(x_t), x_t, t, leaf.schedule
            )

        return log, believe

    def draw(self, index: Tensor, rng: Stream) -> Tensor:
        return self.normals.draw(index, rng)


@dataclass(frozen=True)
class Classes:
    """Categorical laws on a discrete leaf, independent among elements given the component.

    Attributes:
        probabilities: float64 (K, L, C), L = 1 where all elements have the same.
    """

    probabilities: Tensor

    @staticmethod
    def of(probabilities: Any) -> Classes:
        """From (K, C) or (K, L, C), each row normalised.

        Raises:
            ValueError: negative entries or rows of zeros.
        """
        p = torch.as_tensor(probabilities, dtype=torch.float64)
        if bool((p < 0).any()) or bool((p.sum(-1) <= 0).any()):
            raise ValueError("type_probabilities must be at least 0 with a positive sum in each row")
        p = p / p.sum(-1, keepdim=True)
        return Classes(p[:, None] if p.ndim == 2 else p)

    def read(self, leaf: Discrete, x_t: Tensor, t: Time, mask: Tensor | None) -> tuple[Tensor, Believe]:
        if self.probabilities.shape[-1] != leaf.classes:
            raise ValueError(
                f"type_probabilities name {self.probabilities.shape[-1]} classes, the leaf {leaf.classes}"
            )
        rows = x_t.shape[0]
        p = self.probabilities.to(x_t.device).expand(-1, x_t[0].numel(), -1)  # (K, L, C)
        alpha = scales(leaf.schedule, leaf.clock(t), x_t.double())[0]
        if isinstance(alpha, Tensor):
            alpha = alpha.expand(x_t.shape).reshape(rows, 1, -1, 1)
        here = torch.nn.functional.one_hot(x_t.reshape(rows, -1), leaf.tokens).double()[
            :, None
        ]  # (B, 1, L, tokens)
        if leaf.kind == "masked":
            hidden = here[..., -1:]
            # what is not hidden is unchanged
            joint = p * torch.where(hidden == 1, 1.0, here[..., :-1])
        else:
            joint = p * (alpha * here + (1 - alpha) / leaf.classes)
        evidence = joint.sum(-1)  # (B, K, L)
        log = evidence.clamp(min=1e-300).log()
        real = counted(leaf, x_t, mask)
        log = log if real is None else log * real.reshape(rows, 1, -1)
        each = joint / evidence.clamp(min=1e-300)[..., None]

        def believe(r: Tensor) -> Categorical:
            mixed = (r[..., None, None] * each).sum(1)
            return Categorical(mixed.log().float().view(*x_t.shape, leaf.classes))

        return log.sum(-1), believe

    def draw(self, index: Tensor, rng: Stream) -> Tensor:
        p = self.probabilities[index]  # (B, L, C)
        u = rng.uniform(tuple(p.shape[:2]), torch.float64)
        return (u[..., None] >= p.cumsum(-1)).sum(-1).clamp(max=p.shape[-1] - 1)


def geodesic_log_density(angle: Tensor, sigma: Tensor) -> Tensor:
    """log f_σ(ω) of the geodesic kernel with respect to the uniform measure, float64; see the module's page.

    Beyond its support, where the density is 0, a large negative number that falls with the angle: a state
        that a finite
    step has brought outside the support of every component belongs to the nearest.

    Args:
        angle: ω in [0, π].
        sigma: σ_t in [0, 1], broadcasting to ``angle``.
    """
    omega = angle.double().clamp(1e-9, math.pi)
    sigma = sigma.double().clamp(min=1e-9)
    inside = (omega / (2 * sigma)).clamp(max=math.pi / 2)
    log = 2 * (inside.sin().log() - (omega / 2).sin().log()) - sigma.log()
    excess = (omega / sigma - math.pi).clamp(min=0)
    return torch.where(excess > 1e-6, -100 * (1 + excess), log)


@dataclass(frozen=True)
class Frames:
    """One clean rotation per component (and element) on a rotation leaf.

    Attributes:
        rotations: float64 (K, L, 3, 3), L = 1 where all elements have the same.
    """

    rotations: Tensor

    @staticmethod
    def of(rotations: Any) -> Frames:
        """From (K, 3, 3) or (K, L, 3, 3).

        Raises:
            ValueError: matrices that are not rotations.
        """
        r = torch.as_tensor(rotations, dtype=torch.float64)
        r = r[:, None] if r.ndim == 3 else r
        if (
            r.shape[-2:] != (3, 3)
            or (r @ r.mT - torch.eye(3)).abs().max() > 1e-4
            or torch.linalg.det(r).min() < 0
        ):
            raise ValueError("rotations must be matrices R with R Rᵀ = 1 and determinant 1, shape (K, 3, 3)")
        return Frames(r)

    def read(self, leaf: Rotations, x_t: Tensor, t: Time, mask: Tensor | None) -> tuple[Tensor, Believe]:
        angles = x_t[..., 0, 0]  # (B, L), for shapes
        sigma = torch.as_tensor(scales(leaf.schedule, t, angles)[1], dtype=x_t.dtype, device=x_t.device)
        logs, targets = [], []
        for clean in self.rotations.to(x_t):
            goal = clean.reshape(x_t.shape[1:]) if clean.numel() == x_t[0].numel() else clean
            goal = goal.expand_as(x_t)
            angle = so3.log(x_t.mT @ goal).norm(dim=-1)
            if isinstance(leaf.kernel, Geodesic):
                log = geodesic_log_density(angle, sigma)
            else:
                log = so3.igso3_log_density(angle, sigma.clamp(min=1e-4))
            real = counted(leaf, angle, mask)
            log = log if real is None else log * real
            logs.append(log.reshape(log.shape[0], -1).sum(1))
            targets.append(leaf.kernel.target(goal, x_t, sigma))
        target = torch.stack(targets, 1)  # (B, K, …, 3)

        def believe(r: Tensor) -> Tangent:
            share = r.to(target.dtype).reshape(r.shape + (1,) * (target.ndim - 2))
            return Tangent((share * target).sum(1), x_t)

        return torch.stack(logs, 1), believe

    def draw(self, index: Tensor, rng: Stream) -> Tensor:
        return self.rotations[index]
