r"""K normal distributions and what a Gaussian leaf's noise makes of them, in closed form.

With :math:`x \sim N(\mu, \Sigma)`, :math:`\Sigma = Q \Lambda Q^\top`, and :math:`x_t = \alpha x + \sigma
\epsilon`,

.. math:: w = (\alpha^2 \Sigma + \sigma^2)^{-1} (x_t - \alpha \mu), \qquad
          E[x \mid x_t] = \mu + \alpha \Sigma w, \qquad E[\epsilon \mid x_t] = \sigma w, \qquad
          \log p_t(x_t) = -\tfrac12 w^\top (x_t - \alpha \mu) - \tfrac12 \log\det 2\pi(\alpha^2 \Sigma +
          \sigma^2) ,

which divide by neither α nor σ: both ends are exact. Where α and σ differ among the elements of a sample
    they are
diagonal matrices A, S, and :math:`A \Sigma A + S^2` is solved by Cholesky's factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from langevin.core.rng import Stream
from langevin.core.schedules import Schedule
from langevin.core.times import Time, scales

__all__ = ["Normals"]

_FLOOR = 1e-20  # a variance of 0, where data of no width meets no noise


@dataclass(frozen=True)
class Normals:
    """K normals on features of one shape; kept in float64, used in the dtype of the state.

    Attributes:
        shape: of one sample.
        mean: (K, D).
        variance: eigenvalues of the covariances, (K, D).
        basis: their eigenvectors in columns, (K, D, D); None where the covariances are diagonal.
    """

    shape: tuple[int, ...]
    mean: Tensor
    variance: Tensor
    basis: Tensor | None = None

    @staticmethod
    def of(means: Any, stds: Any = None, covariances: Any = None) -> Normals:
        """From K means and either standard deviations or covariances.

        Args:
            means: (K, …), one mean of the features' shape for each normal.
            stds: a number, (K,), or what broadcasts to ``means``; at least 0.
            covariances: (D, D) for all or (K, D, D), over flattened features.

        Raises:
            ValueError: both or neither of stds and covariances, negative ones, or shapes that do not fit.
        """
        mean = torch.as_tensor(means, dtype=torch.float64)
        if (stds is None) == (covariances is None):
            raise ValueError("give either a standard deviation or a covariance")
        count, shape = mean.shape[0], tuple(mean.shape[1:])
        flat = mean.reshape(count, -1)
        if stds is not None:
            std = torch.as_tensor(stds, dtype=torch.float64)
            if std.ndim == 1 and std.shape[0] == count:
                std = std.reshape(count, *(1,) * len(shape))
            if bool((std < 0).any()):
                raise ValueError(f"standard deviations must be at least 0, got {std.min().item():g}")
            return Normals(shape, flat, std.expand_as(mean).reshape(count, -1) ** 2)
        covariance = torch.as_tensor(covariances, dtype=torch.float64)
        size = flat.shape[1]
        if covariance.shape not in ((size, size), (count, size, size)):
            raise ValueError(
                f"covariances of {size} features need shape {(size, size)}, got {tuple(covariance.shape)}"
            )
        if not torch.allclose(covariance, covariance.mT):
            raise ValueError("a covariance must be symmetric")
        values, vectors = torch.linalg.eigh(covariance.expand(count, size, size))
        if values.min() < -1e-9 * values.max().abs():
            raise ValueError(f"a covariance must not have negative eigenvalues, got {values.min().item():g}")
        return Normals(shape, flat, values.clamp(min=0), vectors)

    def like(self, x: Tensor) -> Normals:
        """The same in the dtype and on the device of ``x``."""
        basis = None if self.basis is None else self.basis.to(x)
        return Normals(self.shape, self.mean.to(x), self.variance.to(x), basis)

    def coefficients(self, schedule: Schedule, t: Time, x: Tensor) -> tuple[Any, Any]:
        """(α_t, σ_t) as floats, (B, 1, 1), or (B, 1, D) where they differ among elements."""
        alpha, sigma = (_wide(c, x) for c in scales(schedule, t, x))
        return alpha, sigma

    def into(self, r: Tensor) -> Tensor:
        """Qᵀ r: (B, K, D) to the eigenbasis."""
        return r if self.basis is None else torch.einsum("kde,bkd->bke", self.basis, r)

    def out(self, r: Tensor) -> Tensor:
        """Q r: (B, K, D) back from the eigenbasis."""
        return r if self.basis is None else torch.einsum("kde,bke->bkd", self.basis, r)

    def estimate(
        self, x_t: Tensor, alpha: Any, sigma: Any, real: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(E[x | x_t], E[ε | x_t], log p_t(x_t)) of each normal: (B, K, D), (B, K, D), (B, K).

        Args:
            x_t: (B, …).
            alpha, sigma: as :meth:`coefficients` gives them.
            real: (B, D), the features that count in the density.

        Raises:
            ValueError: features that do not count, and a covariance that is not diagonal.
        """
        if real is not None and self.basis is not None:
            raise ValueError("a mask needs independent features: give stds instead of covariances")
        own = self.like(x_t)
        r = x_t.flatten(1)[:, None] - alpha * own.mean  # (B, K, D)
        if isinstance(alpha, Tensor) and alpha.shape[-1] > 1 and own.basis is not None:
            return own._solve(r, alpha, sigma)
        r = own.into(r)
        total = (alpha * alpha * own.variance + sigma * sigma).clamp(min=_FLOOR)
        w = r / total
        log = -0.5 * (w * r + (2 * math.pi * total).log())
        log = log if real is None else log * real[:, None]
        return own.mean + own.out(alpha * own.variance * w), sigma * own.out(w), log.sum(-1)

    def _solve(self, r: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same for α and σ (B, 1, D) that differ among elements with correlated features."""
        assert self.basis is not None
        covariance = (self.basis * self.variance[:, None]) @ self.basis.mT  # (K, D, D)
        a = alpha[..., None]  # (B, 1, D, 1)
        total = a * covariance * a.mT + torch.diag_embed(sigma * sigma)  # (B, K, D, D)
        factor = torch.linalg.cholesky(total)
        w = torch.cholesky_solve(r[..., None], factor)[..., 0]
        half = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log = -0.5 * (w * r).sum(-1) - half - 0.5 * r.shape[-1] * math.log(2 * math.pi)
        return self.mean + torch.einsum("kde,bke->bkd", covariance, alpha * w), sigma * w, log

    def draw(self, index: Tensor, rng: Stream) -> Tensor:
        """One draw of the normal named for each row: indices (B,) to float64 (B, …)."""
        eps = rng.normal((len(rng), self.mean.shape[1]), torch.float64)
        r = eps * self.variance[index].sqrt()
        if self.basis is not None:
            r = torch.einsum("bde,be->bd", self.basis[index], r)
        return (self.mean[index] + r).reshape(len(rng), *self.shape)


def _wide(c: Time, x: Tensor) -> Time:
    if not isinstance(c, Tensor):
        return c
    return c.expand_as(x).flatten(1)[:, None] if c.shape[1:].numel() > 1 else c.reshape(-1, 1, 1)


def checked_weights(weights: Sequence[float] | Tensor) -> Tensor:
    """Probabilities of components, float64 (K,), normalised.

    Raises:
        ValueError: none, negative ones, or all 0.
    """
    w = torch.as_tensor(weights, dtype=torch.float64).flatten()
    if w.numel() == 0 or bool((w < 0).any()) or not bool(w.isfinite().all()) or w.sum() == 0:
        raise ValueError(f"weights must be at least 0 and not all 0, got {w.tolist()}")
    return w / w.sum()
