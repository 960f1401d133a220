r"""Parametrisations: every training target of a Gaussian leaf is one row of a 2 × 2 linear map.

A network that outputs :math:`o = c\,x + d\,\epsilon`, together with what is known, :math:`x_t = \alpha x + \sigma
\epsilon`, determines both unknowns:

.. math:: \begin{pmatrix} \alpha & \sigma \\ c & d \end{pmatrix} \begin{pmatrix} x \\ \epsilon \end{pmatrix} =
          \begin{pmatrix} x_t \\ o \end{pmatrix}, \qquad \Delta = \alpha d - \sigma c .

========== ======================================= ================ ==========================
name       row (c, d)                              Δ                says nothing at
========== ======================================= ================ ==========================
eps        (0, 1)                                  α                t = 1 of zero terminal SNR
x          (1, 0)                                  −σ               t = 0 (about ε)
v          (−σ, α)                                 α² + σ²          –
velocity   (α', σ')                                α σ' − σ α'      where a slope is 0 or infinite
score      (0, −1/σ)                               −α/σ             both ends
edm        (σ/s, −α s) / √(α²s² + σ²), s = σ_data  −√(α²s² + σ²)/s  –
========== ======================================= ================ ==========================

A residual of any row is the residual of any other times the ratio of their Δ, which is how weightings that are stated
for one target are carried to another.

References: Ho et al., 2020 (eps); Salimans & Ho, 2022, arXiv 2202.00512 (v); Karras et al., 2022, arXiv 2206.00364,
Eq. 7, generalised to α ≠ 1 (edm).
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from langevin.core.errors import unknown
from langevin.core.times import Time, broadcast, scales

if TYPE_CHECKING:
    from langevin.core.schedules import Schedule

__all__ = ["NOISELESS", "PARAMETRISATIONS", "check", "determinant", "inverse", "row"]

PARAMETRISATIONS = ("eps", "x", "v", "velocity", "score", "edm")
NOISELESS = ("x", "score")  # say nothing about the noise where sigma = 0


def check(kind: str) -> str:
    """``kind``, or a ValueError that suggests the nearest parametrisation."""
    if kind not in PARAMETRISATIONS:
        raise ValueError(unknown("parametrisation", kind, PARAMETRISATIONS))
    return kind


def row(kind: str, schedule: Schedule, t: Time, like: Tensor, sigma_data: float = 1.0) -> tuple[Time, Time]:
    """(c, d) of the target ``c x + d ε`` at time t; floats for a float time, else tensors that multiply ``like``."""
    check(kind)
    if not isinstance(t, Tensor):
        return _float_row(kind, schedule, t, sigma_data)
    alpha, sigma = scales(schedule, t, like)
    if kind == "velocity":
        return schedule.derivative(broadcast(t, like))
    return _row(kind, alpha, sigma, sigma_data)


def _row(kind: str, alpha: Time, sigma: Time, sigma_data: float) -> tuple[Time, Time]:
    if kind == "eps":
        return 0.0, 1.0
    if kind == "x":
        return 1.0, 0.0
    if kind == "v":
        return -sigma, alpha
    if kind == "score":
        return 0.0, -1 / sigma
    total = (alpha * alpha * sigma_data**2 + sigma * sigma) ** 0.5
    return sigma / (sigma_data * total), -alpha * sigma_data / total


@functools.lru_cache(maxsize=65536)
def _float_row(kind: str, schedule: Schedule, t: float, sigma_data: float) -> tuple[float, float]:
    alpha, sigma = schedule.at(t)
    if kind == "velocity":
        d_alpha, d_sigma = schedule.derivative(torch.tensor(t, dtype=torch.float64))
        return d_alpha.item(), d_sigma.item()
    if kind == "score" and sigma == 0:
        return 0.0, -math.inf
    c, d = _row(kind, alpha, sigma, sigma_data)
    return float(c), float(d)


def determinant(kind: str, schedule: Schedule, t: Time, like: Tensor, sigma_data: float = 1.0) -> Time:
    """Δ = α d − σ c at time t."""
    alpha, sigma = scales(schedule, t, like)
    c, d = row(kind, schedule, t, like, sigma_data)
    return alpha * d - sigma * c


@functools.lru_cache(maxsize=65536)
def _float_inverse(
    kind: str, schedule: Schedule, t: float, sigma_data: float
) -> tuple[float, float, float, float]:
    alpha, sigma = schedule.at(t)
    _refuse(kind, alpha == 0, sigma == 0, f"t = {t:g}")
    c, d = _float_row(kind, schedule, t, sigma_data)
    if kind == "velocity" and (alpha * d == sigma * c or not math.isfinite(c) or not math.isfinite(d)):
        raise ValueError(
            f"the parametrisation 'velocity' says nothing at t = {t:g}, where the slope of {schedule!r} is ({c:g}, {d:g}); "
            "use 'v' or 'edm', or keep the grid away from this time"
        )
    return _inverse(kind, alpha, sigma, c, d)  # type: ignore[return-value]


def _refuse(kind: str, no_signal: bool, no_noise: bool, where: str) -> None:
    if no_signal and kind in ("eps", "score"):
        raise ValueError(
            f"the parametrisation {kind!r} says nothing about x at {where}, where alpha = 0; "
            "train with 'v', 'velocity', 'x' or 'edm', or begin the grid below this time"
        )
    if no_noise and kind in NOISELESS:
        raise ValueError(
            f"the parametrisation {kind!r} says nothing about the noise at {where}, where sigma = 0; "
            "use 'v', 'velocity', 'eps' or 'edm', or begin the grid above this time"
        )


def _inverse(kind: str, alpha: Time, sigma: Time, c: Time, d: Time) -> tuple[Time, Time, Time, Time]:
    if kind == "eps":
        return 1 / alpha, -sigma / alpha, 0.0, 1.0
    if kind == "x":
        return 0.0, 1.0, 1 / sigma, -alpha / sigma
    if kind == "score":
        return 1 / alpha, sigma * sigma / alpha, 0.0, -sigma
    delta = alpha * d - sigma * c
    return d / delta, -sigma / delta, -c / delta, alpha / delta


def inverse(
    kind: str, schedule: Schedule, t: Time, like: Tensor, sigma_data: float = 1.0
) -> tuple[Time, Time, Time, Time]:
    """(a, b, e, f) with x = a x_t + b o and ε = e x_t + f o, for the network output o.

    Raises:
        ValueError: at a float t where the parametrisation does not determine x and ε: the message names one that does.
            Tensors of times may hold 0, where elements are given.
    """
    check(kind)
    if not isinstance(t, Tensor):
        return _float_inverse(kind, schedule, t, sigma_data)
    alpha, sigma = scales(schedule, t, like)
    if kind == "x" and isinstance(sigma, Tensor) and bool((clean := sigma == 0).any()):
        return _inverse_given(alpha, sigma, clean)
    return _inverse(kind, alpha, sigma, *row(kind, schedule, t, like, sigma_data))


def _inverse_given(
    alpha: Tensor | float, sigma: Tensor, clean: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The inverse of "x" where some elements are clean, as given ones are: x there is what is shown, and ε said to be 0."""
    safe, zero = torch.where(clean, torch.ones_like(sigma), sigma), torch.zeros_like(sigma)
    a = torch.where(clean, torch.ones_like(sigma) / alpha, zero)
    b = torch.where(clean, zero, torch.ones_like(sigma))
    return a, b, torch.where(clean, zero, 1 / safe), torch.where(clean, zero, -alpha / safe)
