"""Batches of states: rows taken, put together, moved and joined by great circles. None stands for "no mask"."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["join", "pick", "slerp", "to"]


def slerp(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Points on the great circle from a to b, (n, …); straight where they are parallel."""
    cosine = torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    w = weights.reshape(-1, *(1,) * a.ndim).to(a)
    if angle < 1e-4 or angle > torch.pi - 1e-4:
        return (1 - w) * a + w * b
    return (torch.sin((1 - w) * angle) * a + torch.sin(w * angle) * b) / torch.sin(angle)


def to(value: Any, device: Any) -> Any:
    """A state, a mask or None on a device."""
    if isinstance(value, dict):
        return {k: v.to(device) for k, v in value.items()}
    return None if value is None else value.to(device)


def pick(value: Any, index: Any) -> Any:
    """Rows of a state, times or a mask; None and a time that all share as they are."""
    if isinstance(value, dict):
        return {k: pick(v, index) for k, v in value.items()}
    return value[index] if isinstance(value, Tensor) else value


def join(parts: list[Any]) -> Any:
    """Batches one after another, padded to the longest where they are ragged."""
    if parts[0] is None:
        return None
    if isinstance(parts[0], dict):
        return {k: join([p[k] for p in parts]) for k in parts[0]}
    if len({p.shape[1:] for p in parts}) > 1:
        longest = [max(sizes) for sizes in zip(*(p.shape[1:] for p in parts), strict=True)]
        parts = [
            torch.nn.functional.pad(
                p,
                [
                    v
                    for have, want in zip(p.shape[:0:-1], longest[::-1], strict=True)
                    for v in (0, want - have)
                ],
            )
            for p in parts
        ]
    return torch.cat(parts)
