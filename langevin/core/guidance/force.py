r"""Guidance by a force: points are pushed up a potential on their way, by its gradient at the clean estimate.

With the potential U of clean data, a scale s and a decay :math:`t^p`, the flow of a Gaussian leaf gains the velocity −F,

.. math:: \frac{dx_t}{dt} = u(x_t, t) - F, \qquad F = s\, t^p\, \nabla U(\hat x),

so that from t = 1 to 0 all pushes together come to ∫ F dt, in however many steps. In terms of beliefs, which must
keep α x + σ ε = x_t,

.. math:: \hat x \leftarrow \hat x + \frac{\sigma}{W} F, \qquad \hat\epsilon \leftarrow \hat\epsilon - \frac{\alpha}{W} F,
          \qquad W = \alpha \sigma' - \alpha' \sigma ,

where W = 1 for the linear schedule. The estimate is moved less and less towards t = 0, where it is the sample itself. The
gradient is taken by x̂ and not by x_t, with no pass through the network: unlike
:class:`~langevin.core.guidance.Classifier`, which follows a density, this is a bias, at no cost. Guiding potentials
of protein design work so (Watson et al., 2023, RFdiffusion, doi 10.1038/s41586-023-06415-8, Supplementary Methods).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import (
    Guidance,
    Index,
    Question,
    answer,
    anywhere,
    checked,
    checked_interval,
    gates,
    select,
)
from langevin.core.guidance.classifier import clean
from langevin.core.posteriors import Point, Posterior
from langevin.core.processes import Gaussian, Process, join, split
from langevin.core.times import Time, broadcast, of_leaf, scales

__all__ = ["Force", "force"]


@dataclass(frozen=True)
class Force(Guidance):
    """Points are pushed up a potential; ``force(lambda x, q: -x["positions"].square().sum((1, 2)), scale=2.0)``.

    Args:
        potential: (clean estimate, :class:`Question`) ↦ (B,), of which row i depends on sample i only, differentiable;
            larger is better. The estimate is a state: of classes it has the probabilities (B, …, classes). Where it has a
            method ``at``, it holds something for each sample, and is cut to the rows of a batch as guidances are.
        scale: s, in units of x² over units of the potential: what all pushes come to where the gradient is 1 throughout.
        power: p of the decay t^p: 0 constant, 1 linear, 2 quadratic, 3 cubic.
        interval: times (low, high) in which to push.

    Raises:
        ValueError: a scale that is not finite, a negative power; when called, a potential that is not (B,), or does not
            depend on a Gaussian leaf by a differentiable way, or whose gradient is not finite.
    """

    potential: Callable[[Any, Question], Tensor]
    scale: float = 1.0
    power: float = 0.0
    _: KW_ONLY
    interval: Sequence[float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        checked("scale", self.scale)
        checked("power", self.power, 0.0)
        object.__setattr__(self, "interval", checked_interval(self.interval))

    def at(self, index: Index, total: int) -> Force:
        cut = getattr(self.potential, "at", None)
        return self if cut is None else replace(self, potential=cut(index, total))

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        beliefs, memory = answer(inner, q)
        process = inner.process
        gate = gates(process, q.t, self.interval)  # type: ignore[arg-type]
        if self.scale == 0 or not anywhere(gate):
            return beliefs, memory
        return [select(process, gate, self._pushed(process, belief, q), belief) for belief in beliefs], memory

    def _pushed(self, process: Process, belief: Posterior, q: Question) -> Posterior:
        parts = dict(split(belief))
        for name, slope in self._slopes(process, belief, q).items():
            leaf: Any = process.leaves[name]
            slope = leaf.centre(slope, q.mask) if leaf.centred else leaf.fill(slope, q.mask)
            point: Any = parts[name]
            x, eps = _gains(point, leaf.clock(of_leaf(q.t, name)), self.power)
            parts[name] = replace(
                point, x=point.x + self.scale * x * slope, eps=point.eps - self.scale * eps * slope
            )
        return join(process, parts)  # type: ignore[no-any-return]

    def _slopes(self, process: Process, belief: Posterior, q: Question) -> dict[str, Tensor]:
        """∇U by leaf, for the Gaussian leaves that it depends on."""
        state = {name: part.detach() for name, part in split(clean(belief, q.x_t)).items()}
        points = [
            name
            for name, leaf in split(belief).items()
            if isinstance(leaf, Point) and isinstance(process.leaves[name], Gaussian)
        ]
        with torch.enable_grad():
            for name in points:
                state[name].requires_grad_()
            value = self.potential(join(process, state), q)
            if value.shape != (q.rows,):
                raise ValueError(
                    f"potential must give one number for each of the {q.rows} samples, got {tuple(value.shape)}"
                )
            if not value.requires_grad:
                raise ValueError("potential does not depend on any points by a differentiable way")
            found = torch.autograd.grad(value.sum(), [state[name] for name in points], allow_unused=True)
        slopes = {name: slope for name, slope in zip(points, found, strict=True) if slope is not None}
        if not all(bool(slope.isfinite().all()) for slope in slopes.values()):
            raise ValueError("the gradient of the potential is not finite")
        return slopes


def _gains(point: Point, t: Time, power: float) -> tuple[Any, Any]:
    """t^p σ/W and t^p α/W; 0 where a schedule stands still."""
    like = point.x
    alpha, sigma = scales(point.schedule, t, like)
    d_alpha, d_sigma = point.schedule.derivative(broadcast(t, like).double())
    w = alpha * d_sigma - d_alpha * sigma
    decay = broadcast(t, like).double() ** power
    gain = torch.where((w > 0) & w.isfinite(), decay / w, torch.zeros_like(w)).to(like.dtype)
    return gain * sigma, gain * alpha


force = Force
