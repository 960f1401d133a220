r"""Gaussian leaves: pixels, latents, spectrograms, coordinates.

:math:`x_t = \alpha_t x + \sigma_t \epsilon`. One update covers DDIM (η = 0), the ancestral sampler of DDPM (η = 1) and
everything between, for every schedule (Song et al., 2021, DDIM, arXiv 2010.02502, Eq. 12 and 16):

.. math:: x_s = \alpha_s \hat x + \sqrt{\sigma_s^2 - \tau^2}\,\hat\epsilon + \tau z, \qquad
          \tau^2 = \eta^2 \sigma_s^2 \Bigl(1 - \frac{\alpha_t^2 \sigma_s^2}{\alpha_s^2 \sigma_t^2}\Bigr) .

At s = 0, where σ_s = 0, this is α_s x̂ by itself: no solver needs a terminal case.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from langevin.core import parametrisations
from langevin.core.posteriors import Point
from langevin.core.processes.base import LeafProcess
from langevin.core.rng import Stream
from langevin.core.schedules import Linear, Schedule
from langevin.core.times import Time, broadcast, scales, shaped

__all__ = ["Gaussian"]


@functools.lru_cache(maxsize=65536)
def _move(schedule: Schedule, t: float, s: float, eta: float) -> tuple[float, float, float]:
    """(α_s, √(σ_s² − τ²), τ) of a reverse move."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
    if eta == 0 or s >= t or sigma_s == 0:
        return alpha_s, sigma_s, 0.0
    tau = eta * sigma_s * math.sqrt(max(0.0, 1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2))
    tau = min(tau, sigma_s)  # η > 1 must not ask for more noise than there is at s
    return alpha_s, math.sqrt(max(0.0, sigma_s**2 - tau**2)), tau


def _tensors(schedule: Schedule, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """(α_t, σ_t) of a tensor of times, shaped to multiply ``like``."""
    alpha, sigma = schedule(t)
    return shaped(alpha, like), shaped(sigma, like)


def _line(a: Time, x_t: Tensor, b: Time, output: Tensor) -> Tensor:
    """a x_t + b o; the output itself where the row says so (no 0 · x_t, which is NaN where x_t is not finite)."""
    if isinstance(a, float) and a == 0:
        return output if isinstance(b, float) and b == 1 else b * output
    return a * x_t + b * output


@dataclass(frozen=True)
class Gaussian(LeafProcess):
    """A leaf noised by x_t = α_t x + σ_t ε.

    Args:
        schedule: gives (α_t, σ_t).
        centred: noise and states have their centre of mass (over the real elements) at the origin, as positions do whose
            frame carries no information; data must be centred by the modality.
        sigma_data: standard deviation of the data, used by the parametrisation "edm" only.
        pair: two element axes.
    """

    schedule: Schedule = Linear()
    centred: bool = False
    sigma_data: float = 1.0
    pair: bool = False
    order: ClassVar[int] = 4

    @property
    def parametrisations(self) -> tuple[str, ...]:
        return parametrisations.PARAMETRISATIONS

    @property
    def target(self) -> str:
        """The velocity: of flow matching on :class:`~langevin.core.schedules.Linear`."""
        return "velocity"

    @property
    def targets(self) -> tuple[str, ...]:
        return parametrisations.PARAMETRISATIONS

    def centre(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` (B, L, …) minus its mean over real elements, zero outside the mask."""
        if mask is None:
            return x - x.mean(1, keepdim=True)
        weight = mask.reshape(mask.shape + (1,) * (x.ndim - 2)).to(x.dtype)
        mean = (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
        return (x - mean) * weight

    def noise(self, like: Tensor, rng: Stream, mask: Tensor | None = None) -> Tensor:
        """Standard normal noise of the shape of ``like``, centred if the leaf is, zero outside the mask."""
        eps = rng.normal(like.shape, like.dtype).to(like.device)
        if self.pair:
            upper = torch.ones(like.shape[1:3], dtype=torch.bool, device=like.device).triu()
            upper = upper.reshape(upper.shape + (1,) * (like.ndim - 3))
            eps = torch.where(upper, eps, eps.transpose(1, 2))
        if self.centred:
            return self.centre(eps, mask)
        return self.fill(eps, mask)

    def prior(self, like: Tensor, rng: Stream, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        # α_1 = 0 makes this exact; where a schedule keeps a little signal at t = 1, σ_1 is still the right scale
        return self.schedule.at(1.0)[1] * self.noise(like, rng.fold("noise"), mask)

    def corrupt(  # type: ignore[override]
        self, x: Tensor, t: Time, rng: Stream, since: Time = 0.0, mask: Tensor | None = None
    ) -> Tensor:
        t, since = self.clock(t), self.clock(since)
        alpha_t, sigma_t = scales(self.schedule, t, x)
        eps = self.noise(x, rng.fold("noise"), mask)
        if not isinstance(since, Tensor) and since == 0:
            alpha_0, _ = self.schedule.at(0.0)
            return self.fill(alpha_t / alpha_0 * x + sigma_t * eps, mask)
        if not isinstance(t, Tensor) and not isinstance(since, Tensor) and t == since:
            return self.fill(x, mask)
        alpha_s, sigma_s = scales(self.schedule, since, x)
        ratio = alpha_t / alpha_s
        variance = sigma_t**2 - (ratio * sigma_s) ** 2
        std = math.sqrt(max(0.0, variance)) if isinstance(variance, float) else variance.clamp(min=0).sqrt()
        moved = ratio * x + std * eps
        if isinstance(t, Tensor) or isinstance(since, Tensor):
            moved = torch.where(broadcast(t, x) == broadcast(since, x), x, moved)
        return self.fill(moved, mask)

    def posterior(self, output: Tensor, x_t: Tensor, t: Time, kind: Any = None) -> Point:  # type: ignore[override]
        """The belief that a network output of shape (B, …) expresses in the parametrisation ``kind``.

        Raises:
            ValueError: unknown kind, or one that says nothing at this time (eps at α = 0).
        """
        t = self.clock(t)
        a, b, e, f = parametrisations.inverse(kind or "velocity", self.schedule, t, x_t, self.sigma_data)
        output = output.to(x_t.dtype)
        return Point(_line(a, x_t, b, output), _line(e, x_t, f, output), x_t, t, self.schedule)

    def update(  # type: ignore[override]
        self,
        x_t: Tensor,
        posterior: Point,
        t: Time,
        s: Time,
        rng: Stream,
        eta: float = 0.0,
        mask: Tensor | None = None,
    ) -> Tensor:
        if isinstance(t, Tensor) or isinstance(s, Tensor):
            return self._update_tensor(x_t, posterior, t, s, rng, eta, mask)
        if t == s:
            return x_t
        alpha_s, scale, tau = _move(self.schedule, t, s, eta)
        if scale == 0 and tau == 0:
            return self._frame(alpha_s * posterior.x, mask)
        x_s = torch.add(alpha_s * posterior.x, posterior.eps, alpha=scale)
        if tau:
            x_s = x_s.add_(self.noise(x_t, rng.fold("update"), mask), alpha=tau)
        return self._frame(x_s, mask)

    def _frame(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.centre(x, mask) if self.centred else self.fill(x, mask)

    def _update_tensor(
        self, x_t: Tensor, posterior: Point, t: Time, s: Time, rng: Stream, eta: float, mask: Tensor | None
    ) -> Tensor:
        """The same with one time per sample or per element; rows with t = s stay as they are."""
        t, s = (torch.as_tensor(self.clock(u), dtype=x_t.dtype, device=x_t.device) for u in (t, s))
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (_tensors(self.schedule, u, x_t) for u in (t, s))
        tau = torch.zeros_like(sigma_s)
        if eta:
            ratio = (alpha_t * sigma_s / (alpha_s * sigma_t)).nan_to_num(1.0, 1.0, 1.0)
            tau = torch.minimum(eta * sigma_s * (1 - ratio**2).clamp(min=0).sqrt(), sigma_s)
        x_s = alpha_s * posterior.x + (sigma_s**2 - tau**2).clamp(min=0).sqrt() * posterior.eps
        if eta:
            x_s = x_s + tau * self.noise(x_t, rng.fold("update"), mask)
        return torch.where(broadcast(t, x_t) == broadcast(s, x_t), x_t, self._frame(x_s, mask))

    def loss(  # type: ignore[override]
        self,
        posterior: Point,
        x: Tensor,
        x_t: Tensor,
        t: Time,
        rng: Stream,
        kind: Any = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Mean squared residual of the target ``kind`` ("velocity", "eps", "v", "x", "edm"), shape (B,)."""
        t = self.clock(t)
        c, d = parametrisations.row(kind or "velocity", self.schedule, t, x_t, self.sigma_data)
        eps = self.noise(x, rng.fold("noise"), mask)
        residual = c * (posterior.x - x) + d * (posterior.eps - eps)
        return self.mean(residual**2, mask)
