r"""Adaptive projected guidance: large weights without oversaturation (Sadat et al., arXiv 2410.02416).

The update Δ = c − u between the clean estimates is averaged over the trajectory with a (usually negative)
momentum β, limited to a norm r, and split into a part along c, which mostly changes contrast, and a part
across it:

.. math:: \Delta_i \leftarrow \Delta_i + \beta\,\Delta_{i-1}, \qquad
          \Delta \leftarrow \Delta\,\min(1, r / \|\Delta\|), \qquad
          g = c + (w - 1)\,(\Delta_\perp + \eta\,\Delta_\parallel) .

η = 1, r off, β = 0 is classifier-free guidance. The average is memory, passed in and returned. Leaves that
are not Gaussian are guided as by :class:`~langevin.core.guidance.classifier_free.CFG`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Question, checked, dot, pack, real_elements, select, unpack
from langevin.core.guidance.classifier_free import Contrast
from langevin.core.posteriors import Point, Posterior
from langevin.core.processes import Process, join, split

__all__ = ["APG", "apg"]


@dataclass(frozen=True)
class APG(Contrast):
    """Adaptive projected guidance; ``apg(8.0, norm=2.5, momentum=-0.75)``.

    Args:
        eta: η, share of the part along the conditional estimate that is kept; 1 keeps all.
        norm: r, the largest norm of the update of one sample, in units of the data; 0 is off.
        momentum: β, in (−1, 1); 0 is off.
    """

    eta: float = 0.0
    norm: float = 0.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checked("eta", self.eta)
        checked("norm", self.norm, 0.0)
        if not -1 < checked("momentum", self.momentum) < 1:
            raise ValueError(f"momentum must lie in (-1, 1), got {self.momentum}")

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        process = inner.process
        past = unpack(q.memory, "apg") or {}
        strong, weak, gate, theirs = self.pairs(
            inner, Question(q.x_t, q.t, q.conditions, q.mask, unpack(q.memory, "inner"), q.batched)
        )
        if weak is None:
            return strong, pack(apg=past, inner=theirs)
        out, kept = [], dict(past)
        for k, (c, u) in enumerate(zip(strong, weak)):
            # one average for each condition and leaf
            belief, updates = self.push(process, c, u, q, {n: past.get(f"{k}.{n}") for n in process.leaves})
            out.append(select(process, gate, belief, c))
            kept |= {f"{k}.{name}": update for name, update in updates.items()}
        return out, pack(apg=kept if self.momentum else None, inner=theirs)

    def push(
        self,
        process: Process,
        strong: Posterior,
        weak: Posterior,
        q: Question,
        past: dict[str, Tensor | None],
    ) -> tuple[Posterior, dict[str, Tensor]]:
        """(guided belief, averaged updates of Gaussian leaves)."""
        parts, c = dict(split(self.blend(process, strong, weak, q))), split(strong)
        u, updates = split(weak), {}
        for name, leaf in parts.items():
            if not isinstance(leaf, Point):
                continue
            here = c[name].x
            delta = here - u[name].x
            before = past[name]
            if before is not None:
                delta = torch.add(delta, before, alpha=self.momentum)
            updates[name] = delta
            real = real_elements(process, name, q.mask, delta)
            if self.norm:
                size = dot(delta, delta, real).sqrt()
                delta = delta * (self.norm / size.clamp(min=1e-30)).clamp(max=1).to(delta.dtype)
            along = dot(delta, here, real) / dot(here, here, real).clamp(min=1e-30)
            # Δ⊥ + η Δ∥
            delta = delta + (self.eta - 1) * along.to(delta.dtype) * here
            parts[name] = c[name].with_x(here + (self.weight - 1) * delta)
        return join(process, parts), updates


apg = APG
