r"""CFG-Zero*: an optimised scale and a still start for flows (Fan et al., 2025, arXiv 2503.18886).

In the space of velocities, u is first multiplied by the number that brings it nearest to c in each sample,

.. math:: s^* = \langle c, u \rangle / \|u\|^2, \qquad g = s^* u + w\,(c - s^* u),

because an imperfect u of the wrong length is what classifier-free guidance amplifies; and where the flow is
still hardest to predict, at times above 1 − ``zero_init``, the velocity is 0. The velocity of a belief is
that of its process, α' x + σ' ε (ε − x for the linear schedule), and the belief with another velocity is
the one that keeps α x + σ ε = x_t. At σ = 0, and on leaves that are not Gaussian, the rule is that of
:class:`~langevin.core.guidance.classifier_free.CFG`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from langevin.core import parametrisations
from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Question, answer, checked, dot, gates, real_elements, select
from langevin.core.guidance.classifier_free import Contrast
from langevin.core.posteriors import Leaf, Point, Posterior, leafwise
from langevin.core.processes import Process, join, split
from langevin.core.times import Times, scales

__all__ = ["CFGZeroStar", "cfg_zero_star"]


def with_velocity(point: Point, velocity: Tensor) -> Point:
    """The belief about the same x_t whose velocity is another; σ_t must not be 0."""
    a, b, e, f = parametrisations.inverse("velocity", point.schedule, point.t, point.x)
    return replace(point, x=a * point.x_t + b * velocity, eps=e * point.x_t + f * velocity)


@dataclass(frozen=True)
class CFGZeroStar(Contrast):
    """CFG-Zero*; ``cfg_zero_star(4.0)``.

    Args:
        zero_init: length of the beginning, in t, in which Gaussian leaves stand still and only the
            conditional belief is asked for; 0 is off.
    """

    zero_init: float = 0.04

    def __post_init__(self) -> None:
        super().__post_init__()
        if checked("zero_init", self.zero_init, 0.0) >= 1:
            raise ValueError(f"zero_init must lie in [0, 1), got {self.zero_init}: nothing would move")

    def _still(self, process: Process, t: Times) -> dict[str, bool | Tensor]:
        """Where the beginning is."""
        if not self.zero_init or self.weight == 1:
            return dict.fromkeys(process.leaves, False)
        return gates(process, t, (1 - self.zero_init, 1.0))

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        process, still = inner.process, self._still(inner.process, q.t)
        if all(g is True for g in still.values()):
            beliefs, memory = answer(inner, q)
            return [leafwise(belief, _held) for belief in beliefs], memory
        beliefs, memory = super().believe(inner, q)
        return [select(process, still, leafwise(belief, _held), belief) for belief in beliefs], memory

    def blend(self, process: Process, strong: Posterior, weak: Posterior, q: Question) -> Posterior:
        parts, c, u = dict(split(super().blend(process, strong, weak, q))), split(strong), split(weak)
        for name, leaf in parts.items():
            if isinstance(leaf, Point):
                parts[name] = self._scaled(
                    leaf, c[name], u[name], real_elements(process, name, q.mask, leaf.x)
                )
        return join(process, parts)

    def _scaled(self, plain: Point, c: Point, u: Point, real: Tensor | None) -> Point:
        sigma = scales(plain.schedule, plain.t, plain.x)[1]
        if isinstance(sigma, float) and sigma == 0:
            return plain
        strong, weak = c.velocity, u.velocity
        # samples whose u is 0 have nothing to scale
        star = (dot(strong, weak, real) / dot(weak, weak, real).clamp(min=1e-30)).to(strong.dtype)
        weak = star * weak
        out = with_velocity(c, torch.lerp(weak, strong, self.weight))
        if isinstance(sigma, float):
            return out
        return replace(
            out, x=torch.where(sigma == 0, plain.x, out.x), eps=torch.where(sigma == 0, plain.eps, out.eps)
        )

    def asks(self, inner: Denoiser, t: Times) -> int:
        if all(g is True for g in self._still(inner.process, t).values()):
            return 1
        return super().asks(inner, t)


def _held(name: str, leaf: Leaf) -> Leaf:
    return with_velocity(leaf, torch.zeros_like(leaf.x)) if isinstance(leaf, Point) else leaf


cfg_zero_star = CFGZeroStar
