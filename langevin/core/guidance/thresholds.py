r"""Thresholds: clean estimates kept in the range of the data (Saharia et al., 2022, arXiv 2205.11487, §2.3).

Both edit x̂ of Gaussian leaves and re-derive ε̂ from x_t. They are for data with a known range, as pixels;
latents and coordinates have none. ``leaves`` names the leaves of a product that are meant.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Guidance, Question, answer, checked, checked_leaves, real_elements
from langevin.core.posteriors import Point, Posterior
from langevin.core.processes import Process, join, split

__all__ = ["DynamicThreshold", "StaticThreshold", "dynamic_threshold", "static_threshold"]


class Threshold(Guidance):
    """A rule that edits the clean estimate of Gaussian leaves, sample by sample."""

    leaves: Sequence[str] | None

    @abstractmethod
    def edit(self, x: Tensor, real: Tensor | None) -> Tensor:
        """The edited estimate (B, …); ``real`` has its shape, True on real elements."""

    def check(self, inner: Denoiser) -> None:
        checked_leaves(inner.process, self.leaves)

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        beliefs, memory = answer(inner, q)
        return [self._edited(inner.process, belief, q.mask) for belief in beliefs], memory

    def _edited(self, process: Process, belief: Posterior, mask: Tensor | None) -> Posterior:
        parts = dict(split(belief))
        for name, leaf in parts.items():
            if isinstance(leaf, Point) and (self.leaves is None or name in self.leaves):
                parts[name] = leaf.with_x(self.edit(leaf.x, real_elements(process, name, mask, leaf.x)))
        return join(process, parts)


@dataclass(frozen=True)
class StaticThreshold(Threshold):
    """x̂ clipped to [low, high]; ``static_threshold()`` for pixels.

    Args:
        low, high: the range of the data.
        leaves: which Gaussian leaves of a product; None for all.

    Raises:
        ValueError: a range that does not rise.
        KeyError: when applied, a name that is no leaf.
    """

    low: float = -1.0
    high: float = 1.0
    _: KW_ONLY
    leaves: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not checked("low", self.low) < checked("high", self.high):
            raise ValueError(f"static_threshold needs low < high, got {self.low}, {self.high}")

    def edit(self, x: Tensor, real: Tensor | None) -> Tensor:
        return x.clamp(self.low, self.high)


@dataclass(frozen=True)
class DynamicThreshold(Threshold):
    """x̂ clipped to a percentile of its own absolute values and brought back into the range.

    x̂ ← clip(x̂, ±s) · limit / s, with s the percentile in each sample, at least ``limit``.

    Args:
        percentile: as a fraction, in (0, 1].
        limit: half the range of data that is centred at 0.
        leaves: which Gaussian leaves of a product; None for all.

    Raises:
        ValueError: a percentile outside (0, 1], or a limit that is not positive.
        KeyError: when applied, a name that is no leaf.
    """

    percentile: float = 0.995
    limit: float = 1.0
    _: KW_ONLY
    leaves: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not 0 < checked("percentile", self.percentile) <= 1:
            raise ValueError(f"percentile must lie in (0, 1] (0.995 for 99.5 %), got {self.percentile}")
        if not checked("limit", self.limit) > 0:
            raise ValueError(f"limit must be positive, got {self.limit}")

    def edit(self, x: Tensor, real: Tensor | None) -> Tensor:
        s = _quantile(x.abs(), self.percentile, real).clamp(min=self.limit)
        return torch.minimum(torch.maximum(x, -s), s) * (self.limit / s)


def _quantile(x: Tensor, q: float, real: Tensor | None) -> Tensor:
    """The quantile of the real elements of each sample by linear interpolation, (B, 1, …), for samples of
    any size.
    """
    flat = x.flatten(1)
    if real is None:
        count = torch.full((len(flat), 1), flat.shape[1], device=x.device)
    else:
        flat = flat.masked_fill(~real.flatten(1), torch.inf)
        count = real.flatten(1).sum(1, keepdim=True)
    ordered = flat.sort(1).values
    place = q * (count - 1).clamp(min=0)
    low, high = place.floor().long(), place.ceil().long()
    value = torch.lerp(ordered.gather(1, low), ordered.gather(1, high), (place - low).to(x.dtype))
    # a sample without real elements has nothing to limit
    return torch.where(count > 0, value, torch.zeros_like(value)).reshape(-1, *(1,) * (x.ndim - 1))


dynamic_threshold = DynamicThreshold
static_threshold = StaticThreshold
