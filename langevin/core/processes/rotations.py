r"""Rotation leaves: frames in SO(3), as matrices (B, L, 3, 3).

The belief is a :class:`~langevin.core.posteriors.Tangent` ``v`` at R_t in the body frame, and one update serves both
kernels, the analogue of the Gaussian rule with the flat difference replaced by the exponential:

.. math:: R_s = R_t \,\mathrm{Exp}\bigl((1 - \kappa)\,v\bigr)\,\mathrm{Exp}(\tau z), \qquad
          \kappa = \sqrt{\sigma_s^2 - \tau^2} / \sigma_t .

* :class:`Geodesic` (flow): R_t lies on the geodesic from R_0 to a uniform R_1 at the fraction σ_t. The conditional
  target is v = Log(R_tᵀ R_0), whose mean generates the marginal flow (Chen & Lipman, 2024, arXiv 2302.03660). The flow
  is deterministic: η is not used.
* :class:`IGSO3` (diffusion): R_t = R_0 Exp(w), w isotropic with the heat kernel of variance σ_t² (Leach et al., 2022;
  Yim et al., 2023, FrameDiff, arXiv 2302.02277). The target is v = σ_t² ∇ log p(R_t | R_0), whose mean is σ_t² times the
  marginal score (Tweedie's formula, which on a curved space holds for the score and not for the mean of Log). To first
  order in the step the update is then the exact probability flow (η = 0) or reverse diffusion (η = 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.errors import unknown
from langevin.core.parametrisations import PARAMETRISATIONS
from langevin.core.posteriors import Tangent
from langevin.core.processes.base import LeafProcess
from langevin.core.rng import Stream
from langevin.core.schedules import VE, Linear, Schedule
from langevin.core.times import Time, scales

__all__ = ["IGSO3", "Geodesic", "Kernel", "Rotations"]

KINDS = ("tangent", "rate")  # of the output


class Kernel(Protocol):
    """What a family of noise on SO(3) must answer; σ arrives as a tensor that multiplies (B, L)."""

    @property
    def schedule(self) -> Schedule:
        """Its σ_t is the noise level."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether a reverse step may add noise (η)."""
        ...

    def noise(self, x: Tensor, sigma_s: Tensor, sigma_t: Tensor, rng: Stream) -> Tensor:
        """R_t given R at an earlier noise level."""
        ...

    def target(self, x: Tensor, x_t: Tensor, sigma_t: Tensor) -> Tensor:
        """The tangent (B, L, 3) at ``x_t`` that a belief regresses."""
        ...


@dataclass(frozen=True)
class Geodesic:
    """Interpolation along geodesics to a uniform rotation; σ_t of the schedule is the fraction of the way."""

    schedule: Schedule = Linear()
    stochastic = False

    def noise(self, x: Tensor, sigma_s: Tensor, sigma_t: Tensor, rng: Stream) -> Tensor:
        end = so3.uniform(x, rng)
        fraction = (sigma_t - sigma_s) / (1 - sigma_s).clamp(min=1e-12)
        return x @ so3.exp(fraction[..., None] * so3.log(x.mT @ end))

    def target(self, x: Tensor, x_t: Tensor, sigma_t: Tensor) -> Tensor:
        return so3.log(x_t.mT @ x)


@dataclass(frozen=True)
class IGSO3:
    """Brownian motion on SO(3) with variance σ_t²; at σ ≥ 3 its density is uniform to 1.2e-3 (9 e^{−σ²} where R_t = R_0)."""

    schedule: Schedule = VE(sigma_min=0.05, sigma_max=3.0)
    stochastic = True

    def noise(self, x: Tensor, sigma_s: Tensor, sigma_t: Tensor, rng: Stream) -> Tensor:
        std = (sigma_t**2 - sigma_s**2).clamp(min=0).sqrt().expand(x.shape[:-2])
        direction = torch.nn.functional.normalize(
            rng.fold("axis").normal((*x.shape[:-2], 3), x.dtype).to(x.device), dim=-1
        )
        angle = so3.igso3_angle(rng.fold("angle").uniform(x.shape[:-2], torch.float64).to(x.device), std)
        return x @ so3.exp(angle.to(x.dtype)[..., None] * direction)

    def target(self, x: Tensor, x_t: Tensor, sigma_t: Tensor) -> Tensor:
        return so3.igso3_score(x, x_t, sigma_t) * (sigma_t * sigma_t)[..., None]


@dataclass(frozen=True)
class Rotations(LeafProcess):
    """A leaf of rotation matrices (B, L, 3, 3).

    Args:
        kernel: :class:`Geodesic` (flow, the default) or :class:`IGSO3` (diffusion).
    """

    kernel: Kernel = Geodesic()

    @property
    def schedule(self) -> Schedule:
        return self.kernel.schedule

    @property
    def parametrisations(self) -> tuple[str, ...]:
        return KINDS

    def _sigma(self, t: Time, like: Tensor) -> Tensor:
        """σ_t, shaped to multiply (B, L)."""
        flat = like[..., 0, 0]
        sigma = scales(self.kernel.schedule, t, flat)[1]
        return (
            sigma if isinstance(sigma, Tensor) else torch.tensor(sigma, dtype=like.dtype, device=like.device)
        )

    def _frame(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Identity outside the mask."""
        if mask is None:
            return x
        return torch.where(mask[..., None, None], x, torch.eye(3, dtype=x.dtype, device=x.device))

    def prior(self, like: Tensor, rng: Stream, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        return self._frame(so3.uniform(like, rng.fold("noise")), mask)

    @so3.unrounded
    def corrupt(  # type: ignore[override]
        self, x: Tensor, t: Time, rng: Stream, since: Time = 0.0, mask: Tensor | None = None
    ) -> Tensor:
        sigma_s, sigma_t = self._sigma(since, x), self._sigma(t, x)
        moved = self.kernel.noise(x, sigma_s, sigma_t, rng.fold("noise"))
        return self._frame(torch.where((sigma_s == sigma_t)[..., None, None], x, moved), mask)

    @so3.unrounded
    def posterior(self, output: Tensor, x_t: Tensor, t: Time, kind: Any = None) -> Tangent:  # type: ignore[override]
        """The belief of a tangent (B, L, 3) in radians, or of a clean rotation (B, L, 3, 3).

        Args:
            kind: "rate" where the output is the tangent over σ_t, of one size at all times, so that errors of the tangent
                vanish with the noise; "tangent" or None where it is the tangent itself.

        Raises:
            ValueError: an output of another shape, or an unknown kind.
        """
        # one that is given for all leaves alike, or by default, is that of Gaussian ones
        if kind is not None and kind not in KINDS and kind not in PARAMETRISATIONS:
            raise ValueError(unknown("parametrisation of rotations", kind, KINDS))
        output = output.to(x_t.dtype)
        if output.shape == x_t.shape:
            return Tangent(self.kernel.target(output, x_t, self._sigma(t, x_t)), x_t)
        if output.shape != (*x_t.shape[:-2], 3):
            raise ValueError(
                f"the output for rotations must be tangents {(*x_t.shape[:-2], 3)} or matrices {tuple(x_t.shape)}, "
                f"got {tuple(output.shape)}"
            )
        if kind == "rate":
            output = output * self._sigma(t, x_t)[..., None]
        return Tangent(output, x_t)

    @so3.unrounded
    def update(  # type: ignore[override]
        self,
        x_t: Tensor,
        posterior: Tangent,
        t: Time,
        s: Time,
        rng: Stream,
        eta: float = 0.0,
        mask: Tensor | None = None,
    ) -> Tensor:
        sigma_t, sigma_s = self._sigma(t, x_t), self._sigma(s, x_t)
        if bool(((sigma_t == 0) & (sigma_s > 0)).any()):
            raise ValueError("rotations cannot be inverted from t = 0 exactly; begin the rising grid above 0")
        safe = torch.where(sigma_t == 0, torch.ones_like(sigma_t), sigma_t)
        tau = torch.zeros_like(sigma_s)
        if eta and self.kernel.stochastic:
            tau = torch.minimum(eta * sigma_s * (1 - (sigma_s / safe) ** 2).clamp(min=0).sqrt(), sigma_s)
        kappa = (sigma_s**2 - tau**2).clamp(min=0).sqrt() / safe
        x_s = x_t @ so3.exp((1 - kappa)[..., None] * posterior.vector)
        if bool((tau > 0).any()):
            z = rng.fold("update").normal(posterior.vector.shape, x_t.dtype).to(x_t.device)
            x_s = x_s @ so3.exp(tau[..., None] * z)
        return self._frame(torch.where((sigma_t == sigma_s)[..., None, None], x_t, x_s), mask)

    @so3.unrounded
    def loss(  # type: ignore[override]
        self,
        posterior: Tangent,
        x: Tensor,
        x_t: Tensor,
        t: Time,
        rng: Stream,
        kind: Any = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Mean squared error of the tangent over σ_t (radians per unit of noise), shape (B,).

        Dividing by σ_t makes the loss of a small rotation at little noise weigh as much as that of a large one at much;
        the floor of 0.02 keeps t = 0, where the target is 0, finite.
        """
        sigma = self._sigma(t, x_t)
        error = (posterior.vector - self.kernel.target(x, x_t, sigma)) / sigma.clamp(min=0.02)[..., None]
        return self.mean(error**2 / math.pi**2, mask)
