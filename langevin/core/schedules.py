r"""Noise schedules: how much signal and how much noise a Gaussian leaf holds at time t.

The perturbation kernel is :math:`x_t = \alpha_t x + \sigma_t \epsilon` with :math:`t \in [0, 1]`, **t = 0 data, t = 1
noise**. A schedule gives :math:`(\alpha_t, \sigma_t)`, the log signal-to-noise ratio
:math:`\lambda_t = \log(\alpha_t^2 / \sigma_t^2)` and its inverse :math:`t(\lambda)`. Every schedule is exact data at
t = 0 (σ = 0); those with a zero terminal SNR are exact noise at t = 1 (α = 0): no floor of 1e-3 hides the ends.

Two schedules differ in two independent ways: in the path of λ, and in the *norm* that splits a ratio α : σ into a pair
(variance preserving α² + σ² = 1; flow α + σ = 1; variance exploding α = 1). Shifting changes the path and keeps the norm.

References:
    Song et al., 2021, Score-Based Generative Modeling through SDEs (VP, VE) — arXiv 2011.13456
    Nichol, Dhariwal, 2021, Improved DDPM (cosine) — arXiv 2102.09672
    Karras et al., 2022, Elucidating the Design Space (EDM) — arXiv 2206.00364
    Jabri et al., 2023, Scalable Adaptive Computation (sigmoid) — arXiv 2212.11972
    Hoogeboom et al., 2023, Simple Diffusion (shift in log-SNR) — arXiv 2301.11093
    Lin et al., 2023, Common Noise Schedules are Flawed (zero terminal SNR) — arXiv 2305.08891
    Lipman et al., 2023; Liu et al., 2023 (flow, rectified flow) — arXiv 2210.02747, 2209.03003
    Esser et al., 2024, Scaling Rectified Flow Transformers (shift of a flow) — arXiv 2403.03206
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = [
    "EDM",
    "VE",
    "VP",
    "Cosine",
    "Linear",
    "Schedule",
    "Shifted",
    "Sigmoid",
    "Tabulated",
    "ZeroTerminal",
]


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class Schedule(ABC):
    """(t) → (α_t, σ_t); λ(t) and t(λ)."""

    @abstractmethod
    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise scales, each of the shape and dtype of ``t``."""

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """The t at which the log-SNR is ``log_snr``, any shape; ±inf give the ends where the schedule has them."""

    def norm(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The scale of a pair: what (α, σ) is divided by to lie on this schedule; variance preserving unless overridden."""
        return torch.hypot(alpha, sigma)

    def log_snr(self, t: Tensor) -> Tensor:
        """λ_t = log(α_t² / σ_t²); +inf at t = 0, −inf where α_t = 0."""
        alpha, sigma = self(t)
        return 2 * (alpha.log() - sigma.log())

    def at(self, t: float) -> tuple[float, float]:
        """(α_t, σ_t) of one time as Python floats, computed in float64 and remembered."""
        return _at(self, t)

    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(dα/dt, dσ/dt), by forward differentiation of the schedule itself."""
        t = t.contiguous()  # forward differentiation refuses expanded times
        tangent = torch.ones_like(t)
        _, slopes, *_ = torch.func.jvp(lambda u: self(u), (t,), (tangent,))
        return slopes


@functools.lru_cache(maxsize=65536)
def _at(schedule: Schedule, t: float) -> tuple[float, float]:
    alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    return alpha.item(), sigma.item()


@dataclass(frozen=True)
class Linear(Schedule):
    """Flow matching and rectified flow: α = 1 − t, σ = t. Zero terminal SNR."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t + 0

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)

    def norm(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return alpha + sigma


@dataclass(frozen=True)
class VP(Schedule):
    """Variance preserving with linear β(t) = β_min + t (β_max − β_min): α = exp(−½ ∫β).

    At t = 1, α = 0.0066 with the defaults: not zero. Wrap in :class:`ZeroTerminal` for exact noise.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        _check(
            0 < self.beta_min < self.beta_max,
            f"VP needs 0 < beta_min < beta_max, got {self.beta_min}, {self.beta_max}",
        )

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -t * t * (self.beta_max - self.beta_min) / 4 - t * self.beta_min / 2

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha = self._log_alpha(t)
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        # −2 log α = log(1 + e^{−λ}) =: c solves t²(β_max − β_min)/2 + t β_min = c, in the form without cancellation
        c = torch.nn.functional.softplus(-log_snr, threshold=50)
        return 2 * c / (self.beta_min + (self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * c).sqrt())


@dataclass(frozen=True)
class Cosine(Schedule):
    """α = cos(πt/2), σ = sin(πt/2): both ends exact, the angle atan(σ/α) uniform in t.

    This is Nichol & Dhariwal's schedule without its offset; their tables are read with :class:`Tabulated`.
    """

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        # the sine of the complement is 0 at t = 1; cos(π/2) in floating point is not
        return torch.sin((1 - t) * (math.pi / 2)), torch.sin(t * (math.pi / 2))

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-log_snr / 2)) * (2 / math.pi)


@dataclass(frozen=True)
class Sigmoid(Schedule):
    """ᾱ = α² falls along a logistic curve from 1 to 0 between ``start`` and ``end``; exact at both ends."""

    start: float = -3.0
    end: float = 3.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check(self.start < self.end, f"Sigmoid needs start < end, got {self.start}, {self.end}")
        _check(self.temperature > 0, f"Sigmoid needs temperature > 0, got {self.temperature}")

    def _bounds(self) -> tuple[float, float]:
        """The logistic curve's values at the two ends."""
        return tuple(1 / (1 + math.exp(-u / self.temperature)) for u in (self.start, self.end))  # type: ignore[return-value]

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self._bounds()
        span = (self.end - self.start) / self.temperature
        # g(b) − g(a) = g(b) g(−a) (1 − e^{a−b}) for the logistic g: no digits are lost near the ends
        value = t * span + self.start / self.temperature
        noise = torch.sigmoid(value) * (1 - low) * -torch.expm1(-t * span) / (high - low)
        signal = torch.sigmoid(-value) * high * (0.0 - torch.expm1((t - 1) * span)) / (high - low)
        return signal.sqrt(), noise.sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        low, high = self._bounds()
        rise = (high - low) * torch.sigmoid(-log_snr)  # of the logistic curve since t = 0
        span = (self.end - self.start) / self.temperature
        return (torch.log1p(rise / low) - torch.log1p(-rise / (1 - low))) / span


class _Exploding(Schedule):
    """α = 1: the norm of the variance-exploding family."""

    def norm(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return alpha


@dataclass(frozen=True)
class VE(_Exploding):
    """Geometric growth of the noise, shifted so that t = 0 is exact data: σ = σ_min ((1 + σ_max/σ_min)^t − 1), α = 1."""

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        _check(
            0 < self.sigma_min < self.sigma_max,
            f"VE needs 0 < sigma_min < sigma_max, got {self.sigma_min}, {self.sigma_max}",
        )

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.sigma_min * torch.expm1(
            t * math.log1p(self.sigma_max / self.sigma_min)
        )

    def time(self, log_snr: Tensor) -> Tensor:
        sigma = torch.exp(-log_snr / 2)
        return torch.log1p(sigma / self.sigma_min) / math.log1p(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class EDM(_Exploding):
    """σ = σ_max t^ρ, α = 1: times that are uniform in t are Karras' ρ-spaced noise levels down to exactly 0."""

    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        _check(self.sigma_max > 0, f"EDM needs sigma_max > 0, got {self.sigma_max}")
        _check(self.rho >= 1, f"EDM needs rho >= 1, got {self.rho}")

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.sigma_max * t**self.rho

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-(log_snr / 2 + math.log(self.sigma_max)) / self.rho)


@dataclass(frozen=True, eq=False)
class Tabulated(Schedule):
    """A table of ᾱ_k = α² as trained by discrete-time models; step k of T stands at t = (k + 1)/T.

    Between the entries log(σ/α) is linear in t. Below the first entry σ/α falls linearly to 0, so that t = 0 is exact
    data; towards a last entry of 0, α/σ falls linearly to 0, so that a zero terminal SNR is exact.

    Args:
        alphas_bar: ᾱ_0 > ᾱ_1 > …, each in (0, 1), the last may be 0; two entries at least.
    """

    alphas_bar: Sequence[float]
    _log_ratio: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        table = torch.as_tensor(self.alphas_bar, dtype=torch.float64).flatten()
        _check(table.numel() >= 2, f"alphas_bar needs at least two entries, got {table.numel()}")
        inside = bool(((table[:-1] > 0) & (table[:-1] < 1)).all()) and 0 <= table[-1].item() < 1
        falls = bool((table[1:] < table[:-1]).all())
        _check(inside and falls, "alphas_bar must fall strictly inside (0, 1); only the last entry may be 0")
        object.__setattr__(self, "alphas_bar", tuple(table.tolist()))
        # log(σ/α) at the entries; +inf for a last entry of 0
        object.__setattr__(self, "_log_ratio", 0.5 * (torch.log1p(-table) - table.log()))

    @staticmethod
    def from_betas(betas: Sequence[float] | Tensor) -> Tabulated:
        """From the β_k of a DDPM: ᾱ_k = ∏(1 − β_j)."""
        betas = torch.as_tensor(betas, dtype=torch.float64)
        return Tabulated((1 - betas).cumprod(0).tolist())

    @property
    def _terminal(self) -> bool:
        return self.alphas_bar[-1] == 0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table = self._log_ratio.to(t.device)
        steps = table.numel()
        u = t.double() if t.device.type != "mps" else t
        table = table.to(u.dtype)
        position = u * steps - 1
        low = position.floor().clamp(0, steps - 2).long()
        weight = (position - low).clamp(max=1)
        finite = torch.where(table[low + 1].isfinite(), table[low + 1], table[low])
        log_ratio = torch.lerp(table[low], finite, weight)
        ratio = log_ratio.exp()
        ratio = torch.where(position < 0, table[0].exp() * (u * steps), ratio)
        norm = torch.sqrt(1 + ratio * ratio)
        alpha, sigma = 1 / norm, ratio / norm
        if self._terminal:
            inverse = (-table[low]).exp() * (1 - weight)  # α/σ on the last interval
            norm = torch.sqrt(1 + inverse * inverse)
            last = low == steps - 2
            last = last & (position >= steps - 2)
            alpha, sigma = torch.where(last, inverse / norm, alpha), torch.where(last, 1 / norm, sigma)
        return alpha.to(t.dtype), sigma.to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        table = self._log_ratio.to(log_snr.device, log_snr.dtype)
        steps = table.numel()
        target = -log_snr / 2
        low = (torch.searchsorted(table, target.contiguous()) - 1).clamp(0, steps - 2)
        a, b = table[low], table[low + 1]
        weight = torch.where(b.isfinite(), (target - a) / (b - a), 1 - torch.exp(a - target))
        inside = (low + weight.clamp(max=1) + 1) / steps
        below = torch.exp(target - table[0]) / steps
        return torch.where(target < table[0], below, inside)


@dataclass(frozen=True)
class Shifted(Schedule):
    """σ/α multiplied by ``factor``, the norm kept: more time at high noise for factor > 1.

    On :class:`Linear` this is SD3's t ↦ f t / (1 + (f − 1) t); in log-SNR it is λ − 2 log f, Simple Diffusion's shift
    with f = the ratio of image sides.
    """

    base: Schedule
    factor: float

    def __post_init__(self) -> None:
        _check(self.factor > 0, f"factor must be positive, got {self.factor}")

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.base(t)
        sigma = self.factor * sigma
        norm = self.base.norm(alpha, sigma)
        return alpha / norm, sigma / norm

    def time(self, log_snr: Tensor) -> Tensor:
        return self.base.time(log_snr + 2 * math.log(self.factor))

    def norm(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return self.base.norm(alpha, sigma)


@dataclass(frozen=True)
class ZeroTerminal(Schedule):
    """A variance-preserving schedule with its α shifted and stretched so that t = 1 is exact noise (Lin et al., Alg. 1)."""

    base: Schedule

    def __post_init__(self) -> None:
        preserves = all(abs(math.hypot(*self.base.at(t)) - 1) < 1e-9 for t in (0.5, 1.0))
        _check(preserves, f"ZeroTerminal needs a variance-preserving base, got {self.base!r}")

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        # the end as a tensor of the same shape and dtype, so that it rounds as α does: exact at t = 1 in float32 too
        end, _ = self.base(torch.ones_like(t))
        alpha, sigma = self.base(t)
        # σ² = 1 − α'² written through the base's σ², which keeps its digits near t = 0
        scaled = ((alpha - end) / (1 - end)).clamp(min=0)
        drop = sigma * sigma / (1 + alpha) / (1 - end)  # 1 − α'
        return scaled, (drop * (1 + scaled)).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        end = self.base.at(1.0)[0]
        scaled = torch.sigmoid(log_snr).sqrt()
        # 1 − α of the base, by the same route as above and back
        drop = torch.sigmoid(-log_snr) / (1 + scaled) * (1 - end)
        alpha = 1 - drop
        return self.base.time(2 * alpha.log() - (drop * (1 + alpha)).log())
