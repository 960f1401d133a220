"""Times and how they meet a state.

A time is a Python float (the whole batch, the usual case in sampling: coefficients stay floats), or a tensor of shape
(), (B,) — one per sample — or (B, L) — one per element: frame, residue, atom. A product with separate clocks takes a
dict of times by leaf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from langevin.core.schedules import Schedule

__all__ = ["Time", "Times", "broadcast", "of_leaf", "scales", "shaped"]

Time: TypeAlias = float | Tensor
Times: TypeAlias = Time | dict[str, Time]


def shaped(value: Tensor, like: Tensor) -> Tensor:
    """``value`` of shape (), (B,) or (B, L), with trailing axes of size 1 so that it multiplies ``like`` (B, L, …).

    Raises:
        ValueError: its leading axes are not those of ``like``.
    """
    if value.ndim > like.ndim or any(
        a not in (1, b) for a, b in zip(value.shape, like.shape[: value.ndim], strict=True)
    ):
        raise ValueError(
            f"times of shape {tuple(value.shape)} do not fit a state of shape {tuple(like.shape)}"
        )
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim))


def broadcast(t: Time, like: Tensor) -> Tensor:
    """A time as a tensor that multiplies ``like``, of its dtype and device."""
    if isinstance(t, Tensor):
        return shaped(t.to(like.dtype), like)
    return torch.tensor(t, dtype=like.dtype, device=like.device)


def scales(schedule: Schedule, t: Time, like: Tensor) -> tuple[Time, Time]:
    """(α_t, σ_t): floats for a float time, else tensors that multiply ``like``."""
    if isinstance(t, Tensor):
        alpha, sigma = schedule(t)
        return shaped(alpha.to(like.dtype), like), shaped(sigma.to(like.dtype), like)
    return schedule.at(t)


def of_leaf(t: Times, name: str) -> Time:
    """The clock of one leaf: its own in a dict of clocks, else the common one."""
    return t[name] if isinstance(t, dict) else t
