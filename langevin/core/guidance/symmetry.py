r"""Symmetric samples of a denoiser that knows nothing of symmetry.

The guided denoiser noises and un-noises by :class:`~langevin.core.processes.Symmetric`, and its belief is that of the
denoiser inside about the whole, averaged over the copies in the frame of the unit,

.. math:: \hat x^{(0)} = \tfrac1K \sum_k R_k^\top \hat x^{(k)}, \qquad \hat x^{(k)} = R_k\, \hat x^{(0)},

tangents (body frame) and logits averaged as they are. For a symmetric x_t and an equivariant denoiser the average changes
nothing; of another denoiser it is the belief that is nearest to its own among the symmetric ones. What a network remembers
of its last belief (self-conditioning) is the symmetric one.

It goes innermost, around the network's denoiser. Elements that are known or given of the unit hold for all copies; those
that are known of other copies only do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Guidance, Question, answer
from langevin.core.posteriors import Posterior
from langevin.core.processes import Symmetric
from langevin.core.processes.symmetric import Copies
from langevin.core.recall import remember, remembered
from langevin.core.times import Times

__all__ = ["Symmetry", "symmetry"]


@dataclass(frozen=True, eq=False)
class Symmetry(Guidance):
    """Symmetric samples; ``symmetry(rotations)``.

    Args:
        rotations: (K, 3, 3), a group with the identity first.
        points: leaves whose values are points in space and turn with the copies.

    Raises:
        ValueError, KeyError: when applied, as :class:`~langevin.core.processes.Symmetric`; when asked, a number of
            elements that is no multiple of K.
    """

    rotations: Tensor = field(repr=False)
    points: Sequence[str] = ("positions",)

    def process(self, inner: Denoiser) -> Symmetric:
        return Symmetric(inner.process, self.rotations, self.points)

    def check(self, inner: Denoiser) -> None:
        self.process(inner)

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        process = self.process(inner)
        x_t = process.symmetrised(q.x_t, q.mask)
        asked = replace(q, x_t=x_t, t=_symmetric(q.t, process.copies(x_t, q.mask)))
        beliefs, memory = answer(inner, asked)
        beliefs = [process.believed(belief, x_t, q.mask) for belief in beliefs]
        if remembered(inner.process, memory) is not None:
            memory = remember(memory, beliefs[0])
        return beliefs, memory


def _symmetric(t: Times, at: Copies) -> Times:
    """Times of single elements as they are in the unit."""
    if isinstance(t, dict):
        return {name: _symmetric(part, at) for name, part in t.items()}  # type: ignore[misc]
    return at.spread(at.unit(t)) if isinstance(t, Tensor) and t.ndim > 1 else t


symmetry = Symmetry
