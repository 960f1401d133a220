r"""Data of one normal distribution: the exact belief, the exact probability flow, the exact density.

In the eigenbasis of Σ the flow scales each coordinate by the ratio of its standard deviations,

.. math:: x_s = \alpha_s \mu + \sqrt{
          \frac{\alpha_s^2 \lambda + \sigma_s^2}{\alpha_t^2 \lambda + \sigma_t^2}} \,(x_t - \alpha_t \mu),

which is what a solver's order of convergence is measured against.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from langevin.core.analytic.normals import Normals
from langevin.core.denoiser import Condition, Denoiser, Memory
from langevin.core.posteriors import Point, Posterior
from langevin.core.processes import Gaussian, State
from langevin.core.rng import Stream
from langevin.core.times import Time, Times

__all__ = ["GaussianDenoiser"]


class GaussianDenoiser(Denoiser):
    """The exact denoiser of data N(mean, Σ); conditions are ignored.

    Args:
        process: how the leaf is noised.
        mean: of one sample, any shape (…), or a number for features of any shape.
        std: a number, or of the shape of ``mean``; at least 0.
        covariance: (D, D) over flattened features, instead of ``std``.

    Raises:
        ValueError: both or neither of std and covariance, or shapes that do not fit.
    """

    def __init__(self, process: Gaussian, mean: Any, std: Any = None, covariance: Any = None) -> None:
        mean = torch.as_tensor(mean, dtype=torch.float64)
        if std is not None:
            mean = mean.expand(torch.broadcast_shapes(mean.shape, torch.as_tensor(std).shape))
            std = torch.as_tensor(std, dtype=torch.float64).expand_as(mean)[None]
        if covariance is not None and mean.ndim == 0:
            mean = mean.expand(torch.as_tensor(covariance).shape[-1])
        self.process: Gaussian = process
        self.normals = Normals.of(mean[None], std, covariance)

    def _fitted(self, x: Tensor) -> Normals:
        """The normal over the features of ``x``: a number stands for features of any shape."""
        own = self.normals
        if own.shape == tuple(x.shape[1:]):
            return own
        if own.shape != () or own.basis is not None:
            raise ValueError(f"the data has samples of shape {own.shape}, the state {tuple(x.shape[1:])}")
        size = x[0].numel()
        return Normals(tuple(x.shape[1:]), own.mean.expand(1, size), own.variance.expand(1, size))

    def __call__(
        self,
        x_t: State,
        t: Times,
        condition: Condition | None = None,
        mask: Tensor | None = None,
        memory: Memory = None,
    ) -> tuple[Posterior, Memory]:
        assert isinstance(x_t, Tensor) and not isinstance(t, dict)
        own, t = self._fitted(x_t), self.process.clock(t)
        x, eps, _ = own.estimate(x_t, *own.coefficients(self.process.schedule, t, x_t))
        return Point(x[:, 0].view_as(x_t), eps[:, 0].view_as(x_t), x_t, t, self.process.schedule), memory

    def exact(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """The probability flow from time t to time s, (B, …); times are floats or (B,)."""
        own = self._fitted(x).like(x)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (
            own.coefficients(self.process.schedule, u, x) for u in (t, s)
        )
        r = own.into(x.flatten(1)[:, None] - alpha_t * own.mean)
        before, after = (a * a * own.variance + b * b for a, b in ((alpha_t, sigma_t), (alpha_s, sigma_s)))
        # a direction without any width has no deviation to carry
        ratio = torch.where(before > 0, after / before.clamp(min=1e-300), 0.0).sqrt()
        return (alpha_s * own.mean + own.out(ratio * r))[:, 0].view_as(x)

    def log_prob(self, x: Tensor, t: Time = 0.0) -> Tensor:
        """log p_t(x), (B,), in nats.

        Raises:
            ValueError: a density at t = 0 of data that has no width in some direction.
        """
        own = self._fitted(x)
        alpha, sigma = own.coefficients(self.process.schedule, t, x)
        if not bool((torch.as_tensor(alpha**2 * own.variance.min() + sigma**2) > 0).all()):
            raise ValueError("data with a standard deviation of 0 has no density at t = 0")
        return own.estimate(x, alpha, sigma)[2][:, 0]

    def sample_data(self, n: int, rng: Stream) -> Tensor:
        """``n`` draws of clean data, float64 (n, …); ``rng`` has n rows."""
        return self.normals.draw(torch.zeros(n, dtype=torch.long), rng)
