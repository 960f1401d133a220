r"""Rotations: exponential, logarithm, uniform draws and the heat kernel IGSO(3).

Tangents are body-frame rotation vectors in radians: :math:`R' = R\,\mathrm{Exp}(v)`. The heat kernel of variance σ² has
the density, with respect to the uniform measure, of the angle ω of R'

.. math:: f_\sigma(\omega) = \sum_{l \ge 0} (2l + 1)\, e^{-l(l+1)\sigma^2/2}\, \frac{\sin((l + 1/2)\omega)}{\sin(\omega/2)}

(Nikolayev & Savyolov, 1970; Leach et al., 2022). For small σ the series needs many terms and cancels; there the sum is
replaced by its Poisson dual, of which three images are exact to float64 below σ = 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from langevin.core.rng import Stream

__all__ = ["exp", "igso3_angle", "igso3_log_density", "igso3_score", "log", "uniform", "unrounded"]

_SMALL = 1.0  # σ below which the Poisson dual is used
_TERMS = 12  # e^{-12 · 13 / 2} at σ = 1: below float64


def unrounded(compute: Callable[..., Any]) -> Callable[..., Any]:
    """``compute`` outside autocast, under which products of matrices are rounded to half the digits: a rotation would no
    longer be one. Its first tensor argument says on which device."""

    @functools.wraps(compute)
    def exact(*args: Any, **kwargs: Any) -> Any:
        device = next(a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        with torch.autocast(device, enabled=False):
            return compute(*args, **kwargs)

    return exact


@unrounded
def exp(v: Tensor) -> Tensor:
    """Rotation vectors (…, 3) in radians to matrices (…, 3, 3), by Rodrigues' formula; smooth at 0."""
    angle = v.norm(dim=-1, keepdim=True)[..., None]
    zero = torch.zeros_like(v[..., 0])
    x, y, z = v.unbind(-1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*v.shape[:-1], 3, 3)
    a = torch.sinc(angle / math.pi)
    b = 0.5 * torch.sinc(angle / (2 * math.pi)) ** 2
    return torch.eye(3, dtype=v.dtype, device=v.device) + a * cross + b * (cross @ cross)


def log(r: Tensor) -> Tensor:
    """Rotation matrices (…, 3, 3) to rotation vectors (…, 3) of length ≤ π, by way of the quaternion: stable at π."""
    q = _quaternion(r)
    w, u = q[..., :1], q[..., 1:]
    # the shorter of the two ways round
    u = torch.where(w < 0, -u, u)
    w = w.abs()
    sine = u.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, w)
    scale = torch.where(sine > 1e-12, angle / sine.clamp(min=1e-12), 2.0 / w.clamp(min=0.5))
    return scale * u


def _quaternion(r: Tensor) -> Tensor:
    """Unit quaternions (…, 4), w first, from the best conditioned of the four formulas (Shepperd, 1978)."""
    m = r
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    a, b, c = m[..., 2, 1], m[..., 0, 2], m[..., 1, 0]
    d, e, f = m[..., 1, 2], m[..., 2, 0], m[..., 0, 1]
    rows = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, a - d, b - e, c - f], -1),
            torch.stack([a - d, 1 + xx - yy - zz, c + f, b + e], -1),
            torch.stack([b - e, c + f, 1 - xx + yy - zz, a + d], -1),
            torch.stack([c - f, b + e, a + d, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    best = torch.diagonal(rows, dim1=-2, dim2=-1).argmax(-1)
    chosen = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4))[..., 0, :]
    return torch.nn.functional.normalize(chosen, dim=-1)


def uniform(like: Tensor, rng: Stream) -> Tensor:
    """Uniform rotations of the shape of ``like`` (B, …, 3, 3): normalised normal quaternions."""
    q = torch.nn.functional.normalize(rng.normal((*like.shape[:-2], 4), like.dtype).to(like.device), dim=-1)
    w, x, y, z = q.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(like.shape)


def igso3_log_density(angle: Tensor, sigma: Tensor) -> Tensor:
    """log f_σ(ω) with respect to the uniform measure, float64; ``angle`` in [0, π] and ``sigma`` > 0 broadcast."""
    omega, sigma = torch.broadcast_tensors(angle.double(), sigma.double())
    half = omega.clamp(min=1e-6) / 2
    # series in characters
    level = torch.arange(_TERMS, dtype=torch.float64, device=omega.device)
    wide = sigma.clamp(min=_SMALL)[..., None]
    terms = (2 * level + 1) * torch.exp(-level * (level + 1) * wide**2 / 2)
    series = (terms * torch.sin((level + 0.5) * 2 * half[..., None])).sum(-1) / half.sin()
    # Poisson dual: images of the geodesic at ω, ω ± 2π; the common factor e^{-ω²/2σ²} is kept outside
    narrow = sigma.clamp(max=_SMALL)
    w = 2 * half
    image = w.clone()
    for k in (-1, 1):
        shift = w + 2 * math.pi * k
        image = image + (-1) ** k * shift * torch.exp(-(shift**2 - w**2) / (2 * narrow**2))
    log_dual = (
        0.5 * math.log(2 * math.pi)
        + narrow**2 / 8
        - 3 * narrow.log()
        - w**2 / (2 * narrow**2)
        + (image.clamp(min=1e-300) / (2 * half.sin())).log()
        + math.log(2.0)
    )
    return torch.where(sigma < _SMALL, log_dual, series.clamp(min=1e-300).log())


def igso3_score(x: Tensor, x_t: Tensor, sigma: Tensor) -> Tensor:
    """∇ log p(R_t | R_0) as a body-frame tangent at R_t, (B, L, 3): along Log(R_tᵀ R_0), of length −∂ω log f_σ(ω)."""
    v = log(x_t.mT @ x)
    angle = v.norm(dim=-1).double()
    sigma = sigma.expand(angle.shape).double()
    safe = sigma.clamp(min=1e-4)
    omega = angle.clamp(1e-4, math.pi - 1e-4)
    # central difference of a function that is smooth to float64: error ~1e-9 relative
    h = 1e-5
    slope = (igso3_log_density(omega + h, safe) - igso3_log_density(omega - h, safe)) / (2 * h)
    # at small angles the slope is linear in ω, so the ratio is the one at 1e-4
    return v * (-slope / omega)[..., None].to(v.dtype)


def igso3_angle(u: Tensor, sigma: Tensor) -> Tensor:
    """Angles of IGSO(3) draws by inversion: uniforms ``u`` (…) in (0, 1) and σ of the same shape to ω in [0, π]."""
    sigma = sigma.double().expand(u.shape)
    shape, u = u.shape, u.double().reshape(-1, 1)
    # elements of one sample share their σ: its table is made once
    sigma, row = sigma.reshape(-1).clamp(min=1e-6).unique(return_inverse=True)
    sigma = sigma[:, None]
    top = (10 * sigma).clamp(max=math.pi)  # beyond ten σ there is no mass to float64
    grid = torch.linspace(0, 1, 1025, dtype=torch.float64, device=u.device) * top
    middle = (grid[:, 1:] + grid[:, :-1]) / 2
    # the uniform measure has angle density (1 − cos ω)/π
    log_mass = igso3_log_density(middle, sigma) + torch.log(1 - middle.cos())
    mass = (log_mass - log_mass.max(-1, keepdim=True).values).exp()
    cumulative = torch.nn.functional.pad(mass.cumsum(-1), (1, 0))
    mass, cumulative, grid, top = (table[row] for table in (mass, cumulative, grid, top))
    target = u * cumulative[:, -1:]
    index = (torch.searchsorted(cumulative, target, right=True) - 1).clamp(0, mass.shape[-1] - 1)
    low, width = cumulative.gather(-1, index), mass.gather(-1, index).clamp(min=1e-300)
    fraction = ((target - low) / width).clamp(0, 1)
    return (grid.gather(-1, index) + fraction * top / 1024).reshape(shape)
