"""Resampling: weights of the particles of each sample, and the rows that are drawn by them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from langevin.core.rng import Stream

__all__ = ["different", "sharpened", "systematic"]


def sharpened(reward: Tensor, ess: float) -> Tensor:
    """Weights exp(λ r) (B, K), normalised, with the λ at which the effective sample size is ``ess``, or the largest."""
    alive = reward > -math.inf
    reward = torch.where(alive.any(1, keepdim=True), reward, 0.0)
    top = reward.amax(1, keepdim=True)
    below = torch.where(reward > -math.inf, top - reward, 0.0)
    scaled = (reward - top) / below.amax(1, keepdim=True).clamp(min=1e-300)  # λ is then a pure number
    low, high = torch.full_like(top, -5.0), torch.full_like(top, 15.0)  # of log λ
    for _ in range(40):
        middle = (low + high) / 2
        w = (middle.exp() * scaled).softmax(1)
        rich = 1 / w.square().sum(1, keepdim=True) > ess
        low, high = torch.where(rich, middle, low), torch.where(rich, high, middle)
    return (high.exp() * scaled).softmax(1)


def systematic(w: Tensor, where: Tensor, rng: Stream) -> Tensor:
    """Rows (B · K,) drawn by weights (B, K), one uniform for each sample; their own where ``where`` (B,) is False."""
    batch, k = w.shape
    u = rng.rows(slice(None, None, k)).fold("resample").uniform((batch, 1), torch.float64).to(w.device)
    points = (torch.arange(k, device=w.device, dtype=torch.float64) + u) / k
    index = torch.searchsorted(w.cumsum(1).contiguous(), points.contiguous()).clamp(max=k - 1)
    index = torch.where(where[:, None], index, torch.arange(k, device=w.device))
    return (index + torch.arange(batch, device=w.device)[:, None] * k).reshape(-1)


def different(labels: Tensor) -> Tensor:
    """How many different labels each row has, (B, K) → (B,) as float64."""
    return 1.0 + (labels.sort(1).values.diff(dim=1) != 0).sum(1).double()
