"""Given elements: shown to the network clean, at time 0, as in training with given parts.

Where :class:`~langevin.core.guidance.known.Known` keeps known elements on the noisy path to their value, which any model can
be asked for, this is for models that were trained with parts of their samples at time 0 (``objective.given``): before each
question the given elements take their value and the time 0 (:mod:`langevin.core.parts`), and the belief about them is what
is given. Like ``known`` it goes outermost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Question, answer
from langevin.core.guidance.known import Known
from langevin.core.keep import paste
from langevin.core.parts import clocks
from langevin.core.posteriors import Point, Posterior, Tangent
from langevin.core.processes import split
from langevin.core.times import of_leaf

__all__ = ["Given", "given"]


@dataclass(frozen=True)
class Given(Known):
    """Some elements are given clean; ``given(x, chosen)``. The arguments and errors are those of :class:`Known`."""

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        chosen: dict[str, Tensor] = split(self.chosen)
        shown = paste(q.x_t, self.x, self.chosen)
        times = clocks(inner.process, q.t, chosen, q.rows)
        beliefs, memory = answer(inner, replace(q, x_t=shown, t=times))
        return [self._corrected(inner.process, self._moved(belief, q), q) for belief in beliefs], memory

    def _moved(self, belief: Posterior, q: Question) -> Any:
        """The belief as one about the state and the times that were asked for."""
        parts, states = dict(split(belief)), split(q.x_t)
        for name, leaf in parts.items():
            if isinstance(leaf, Point):
                parts[name] = replace(leaf, x_t=states[name], t=of_leaf(q.t, name)).with_x(leaf.x)
            elif isinstance(leaf, Tangent):
                parts[name] = replace(leaf, x_t=states[name])
        return parts if isinstance(belief, dict) else parts[""]


given = Given
