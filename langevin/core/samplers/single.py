"""One belief, one update: DDIM (η = 0, which is Euler in every coordinate that moves x and ε in a straight line) to the
ancestral sampler of DDPM (η = 1); exact reverse steps of discrete leaves, geodesic steps of rotations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from langevin.core.denoiser import Memory
from langevin.core.errors import unknown
from langevin.core.processes import Process, State
from langevin.core.rng import Stream
from langevin.core.samplers.base import Asking, Move, Sampler

__all__ = ["Single"]


@dataclass(frozen=True)
class Single(Sampler):
    """DDIM … DDPM (Song et al., 2021, arXiv 2010.02502; Ho et al., 2020, arXiv 2006.11239).

    Args:
        eta: fresh noise, from 0 (deterministic) to 1 (ancestral).
        noise_scale: factor of that noise. Below 1 samples are drawn to likelier places than the data's own spread: fewer
            failures, less variety, as protein design wants it (``noise_scale_ca`` of RFdiffusion, Watson et al., 2023; the γ
            of Proteina, Geffner et al., 2025, arXiv 2503.00710). Draws of classes are as they were. One for all leaves, or
            a dict by leaf, with 1 for those that are not named.

    Raises:
        ValueError: a negative eta, or a scale that is negative or not finite.
    """

    eta: float = 0.0
    noise_scale: float | Mapping[str, float] = field(default=1.0, hash=False)
    order: ClassVar[int] = 1  # type: ignore[misc]

    def __post_init__(self) -> None:
        if self.eta < 0:
            raise ValueError(f"eta must be at least 0, got {self.eta}")
        own = self.noise_scale
        for factor in own.values() if isinstance(own, Mapping) else (own,):
            if not isinstance(factor, (int, float)) or not 0 <= factor < math.inf:
                raise ValueError(f"noise_scale must be a number of at least 0, got {factor!r}")

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.eta > 0

    def step(
        self,
        move: Move,
        process: Process,
        x_t: State,
        rng: Stream,
        memory: Memory,
        mask: Tensor | None = None,
    ) -> Asking:
        q_t = yield x_t, move.t
        fresh = self.cooled(rng, process)
        return process.update(x_t, q_t, move.t, move.s, fresh, self.eta, mask), None

    def cooled(self, rng: Stream, process: Process) -> Stream:
        """The stream whose normals are scaled as the noise of a step is.

        Raises:
            ValueError: a scale for a leaf that the process does not have.
        """
        if isinstance(self.noise_scale, Mapping):
            for name in self.noise_scale:
                if name not in process.leaves:
                    raise ValueError(unknown("leaf of noise_scale", name, process.leaves))
        return rng if self.noise_scale == 1 else rng.scaled(self.noise_scale)
