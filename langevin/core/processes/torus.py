r"""Torus leaves: torsions, phases, fractional coordinates; angles in radians, in [−π, π).

x_t lies on the shortest arc from x to a uniform x_1 at the fraction σ_t of the schedule; the conditional target is the
arc from x_t to x, whose mean generates the marginal flow (Chen & Lipman, 2024, arXiv 2302.03660). Deterministic: η is
not used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from langevin.core.posteriors import Tangent
from langevin.core.processes.base import LeafProcess
from langevin.core.rng import Stream
from langevin.core.schedules import Linear, Schedule
from langevin.core.times import Time, scales

__all__ = ["Torus", "wrap"]


def wrap(angle: Tensor) -> Tensor:
    """Angles in radians brought to [−π, π)."""
    wrapped = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    return torch.where(wrapped >= math.pi, -math.pi, wrapped)  # just below −π the remainder rounds to 2π


@dataclass(frozen=True)
class Torus(LeafProcess):
    """A leaf of angles (B, L, …) in radians.

    Args:
        schedule: its σ_t is the fraction of the way to the uniform angle; it must reach 1 (linear, cosine …).
    """

    schedule: Schedule = Linear()

    def __post_init__(self) -> None:
        if abs(self.schedule.at(1.0)[1] - 1) > 1e-9:
            raise ValueError(f"Torus needs a schedule with sigma = 1 at t = 1, got {self.schedule!r}")

    def _sigma(self, t: Time, like: Tensor) -> Tensor:
        """σ_t, shaped to multiply the leaf ``like``."""
        return torch.as_tensor(scales(self.schedule, t, like)[1], dtype=like.dtype, device=like.device)

    def _draw(self, like: Tensor, rng: Stream) -> Tensor:
        return (rng.uniform(like.shape, like.dtype).to(like.device) * 2 - 1) * math.pi

    def prior(self, like: Tensor, rng: Stream, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        return self.fill(self._draw(like, rng.fold("noise")), mask)

    def corrupt(  # type: ignore[override]
        self, x: Tensor, t: Time, rng: Stream, since: Time = 0.0, mask: Tensor | None = None
    ) -> Tensor:
        sigma_s, sigma_t = self._sigma(since, x), self._sigma(t, x)
        arc = wrap(self._draw(x, rng.fold("noise")) - x)
        moved = wrap(x + (sigma_t - sigma_s) / (1 - sigma_s).clamp(min=1e-12) * arc)
        return self.fill(torch.where(sigma_t == sigma_s, x, moved), mask)

    def posterior(self, output: Tensor, x_t: Tensor, t: Time, kind: Any = None) -> Tangent:  # type: ignore[override]
        """The belief of an arc from x_t to the clean angle, shape of ``x_t``, radians."""
        return Tangent(output.to(x_t.dtype), x_t)

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
            raise ValueError("angles cannot be inverted from t = 0 exactly; begin the rising grid above 0")
        moved = wrap(x_t + (1 - sigma_s / sigma_t) * posterior.vector)
        return self.fill(torch.where(sigma_t == sigma_s, x_t, moved), mask)

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
        """Mean squared error of the flow's velocity, the arc over σ_t, in units of π, shape (B,).

        Without division: along the path the arc is σ_t times the whole arc to x_1, which the key draws again.
        """
        sigma = self._sigma(t, x_t)
        whole = wrap(x - self._draw(x, rng.fold("noise")))
        error = posterior.vector / sigma.clamp(min=0.02) - whole * sigma / sigma.clamp(min=0.02)
        return self.mean((error / math.pi) ** 2, mask)
