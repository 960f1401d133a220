"""Langevin predictor–corrector: after each move, a few steps of Langevin dynamics at the noise level reached."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from langevin.core.denoiser import Memory
from langevin.core.processes import Process, State, join, split
from langevin.core.processes.gaussian import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers.base import Asking, GridLike, Move, Sampler
from langevin.core.samplers.single import Single
from langevin.core.times import of_leaf

__all__ = ["Langevin"]


@dataclass(frozen=True)
class Langevin(Sampler):
    r"""Song et al., 2021, arXiv 2011.13456, Alg. 2–5, on the Gaussian leaves that have noise left; other leaves wait.

    A corrector step at noise level σ is :math:`x \leftarrow x - 2 r^2 \sigma \hat\epsilon + 2 r \sigma z`: Song's step
    size with the norms of score and noise at their expectation, so that samples of a batch do not influence each other.

    Args:
        inner: the predictor; the ancestral sampler by default.
        corrections: Langevin steps after each move.
        snr: r, the ratio of the signal of a step to its noise.
    """

    inner: Sampler = Single(1.0)
    corrections: int = 1
    snr: float = 0.16
    order: int = 0  # type: ignore[misc]
    stochastic = True

    def __post_init__(self) -> None:
        if self.corrections < 1 or not 0 < self.snr < 1:
            raise ValueError(
                f"Langevin needs corrections >= 1 and 0 < snr < 1, got {self.corrections}, {self.snr}"
            )

    def plan(self, process: Process, grid: GridLike) -> list[Move]:
        return self.inner.plan(process, grid)

    def cost(self, move: Move, process: Process) -> int:
        own = self.corrections if _noisy(process, move) else 0
        return self.inner.cost(move, process) + own

    def step(
        self,
        move: Move,
        process: Process,
        x_t: State,
        rng: Stream,
        memory: Memory,
        mask: Tensor | None = None,
    ) -> Asking:
        x, memory = yield from self.inner.step(move, process, x_t, rng, memory, mask)
        noisy = _noisy(process, move)
        for k in range(self.corrections if noisy else 0):
            q = yield x, move.s
            parts, beliefs = dict(split(x)), split(q)
            for name, sigma in noisy.items():
                # x + δ score + √(2δ) z with δ = 2 (r σ)² and score = −ε/σ
                delta = 2 * (self.snr * sigma) ** 2
                z = process.leaves[name].noise(parts[name], rng.fold("langevin", k, name), mask)  # type: ignore[attr-defined]
                drifted = parts[name] - (delta / sigma) * beliefs[name].eps
                parts[name] = torch.add(drifted, z, alpha=math.sqrt(2 * delta))
            x = join(process, parts)
        return x, memory


def _noisy(process: Process, move: Move) -> dict[str, float]:
    """σ by name of the Gaussian leaves that still have noise at the end of an integrating move: a score to follow."""
    if move.kind != "integrate":
        return {}
    levels = {
        name: leaf.schedule.at(of_leaf(move.s, name))[1]  # type: ignore[arg-type]
        for name, leaf in process.leaves.items()
        if isinstance(leaf, Gaussian)
    }
    return {name: sigma for name, sigma in levels.items() if sigma > 0}
