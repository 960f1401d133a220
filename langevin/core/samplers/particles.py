r"""Particles: steering by a reward with sequential Monte Carlo, on any inner sampler and any process.

Each sample is carried by K particles; the state has B · K rows, particle k of sample i at row i K + k. After a move the
weight of a particle is multiplied by the potential

.. math:: G = \exp\bigl(\lambda\,[r(\hat x_s) - r(\hat x_t)]\bigr),

the gain of reward between two beliefs about clean data (Feynman–Kac steering with the difference potential: Singhal et
al., 2025, arXiv 2501.06848; twisted SMC: Wu et al., 2023, arXiv 2306.17775). Where the effective sample size of a sample
falls below a share of K, its particles are resampled, systematically and only among themselves. The target is the model's
distribution tilted by exp(λ r); the weights that remain at the end are part of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.denoiser import Memory
from langevin.core.posteriors import Categorical, Point, Posterior
from langevin.core.processes import Process, State, split
from langevin.core.rng import Stream
from langevin.core.samplers.base import ROWS, Asking, GridLike, Move, Sampler
from langevin.core.samplers.single import Single

__all__ = ["Particles", "choose", "clean", "weights"]

_NEAR = 1e-6  # a float32 time is rounded


def clean(posterior: Posterior, process: Process, x_t: State) -> State:
    """The clean state that a belief points to: the mean of points, the likeliest class, the end of the tangent."""
    states = split(x_t)
    out: dict[str, Tensor] = {}
    for name, leaf in split(posterior).items():
        if isinstance(leaf, Point):
            out[name] = leaf.x
        elif isinstance(leaf, Categorical):
            out[name] = leaf.logits.argmax(-1)
        else:
            out[name] = process.leaves[name].update(  # type: ignore[assignment]
                states[name], leaf, 1.0, 0.0, Stream.of(0, states[name].shape[0])
            )
    return out if isinstance(posterior, dict) else out[""]


@dataclass(frozen=True)
class Particles(Sampler):
    """K weighted particles for every sample.

    Args:
        reward: clean states (B · K, …) ↦ rewards (B · K,).
        count: K.
        inner: the sampler of every particle; it must be stochastic, or resampled copies would stay copies.
        strength: λ.
        threshold: share of K below which the effective sample size triggers resampling.
        begin: time from which on the reward counts. Early beliefs say little about the sample, and particles that are
            chosen by them are soon copies of one; the target is the same for every ``begin`` > 0.

    Memory holds ``log_weights`` (B · K,), normalised within each sample; ``log_normaliser`` (B · K,), the running estimate
    of log E[exp(λ r)], equal within a sample; and ``reward`` (B · K,), of the last belief.
    """

    reward: Callable[[State], Tensor]
    count: int = 8
    inner: Sampler = Single(1.0)
    strength: float = 1.0
    threshold: float = 0.5
    begin: float = 1.0
    order: int = 0  # type: ignore[misc]
    stochastic = True

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"count must be at least 2 particles, got {self.count}")
        if not self.inner.stochastic:
            raise ValueError(
                "Particles needs a stochastic inner sampler (Single(1.0), Multistep(2, sde=True)): copies made by "
                "resampling would never part under a deterministic one"
            )
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], got {self.threshold}")
        if not 0 < self.begin <= 1:
            raise ValueError(f"begin is a time in (0, 1], got {self.begin}")

    def plan(self, process: Process, grid: GridLike) -> list[Move]:
        return self.inner.plan(process, grid)

    def cost(self, move: Move, process: Process) -> int:
        return self.inner.cost(move, process)

    def step(
        self,
        move: Move,
        process: Process,
        x_t: State,
        rng: Stream,
        memory: Memory,
        mask: Tensor | None = None,
    ) -> Asking:
        own = {
            k.removeprefix("particles."): v for k, v in (memory or {}).items() if k.startswith("particles.")
        }
        theirs: Any = {k: v for k, v in (memory or {}).items() if not k.startswith("particles.")}
        if not own and _latest(move.t) > self.begin + _NEAR:
            x_s, theirs = yield from self.inner.step(move, process, x_t, rng, theirs or None, mask)
            return x_s, theirs
        asking = self.inner.step(move, process, x_t, rng, theirs or None, mask)
        x, t = next(asking)
        belief = yield x, t
        # the first belief of a move is that at its start: the state and the move's memory are reweighted before it goes on
        reward = self.reward(clean(belief, process, x)).detach().double()
        if reward.shape != (len(rng),):
            raise ValueError(
                f"reward must give one number for each of the {len(rng)} particles, got {tuple(reward.shape)}"
            )
        if not bool(reward.isfinite().all()):
            raise ValueError(f"reward gave a value that is not finite at t = {move.t}")
        gain = self.strength * (reward - own.get("reward", torch.zeros_like(reward)))
        old = own.get("log_weights", torch.full_like(reward, -math.log(self.count)))
        groups = (old + gain).reshape(-1, self.count)
        normaliser = groups.logsumexp(1)
        total = own.get("log_normaliser", torch.zeros_like(reward)) + normaliser.repeat_interleave(self.count)
        groups = groups - normaliser[:, None]
        rows, groups = self._resample(groups, rng)
        if rows is not None:
            # the move is planned again from the resampled particles, with the belief that belongs to each
            pick = lambda value: _pick(value, rows)  # noqa: E731
            asking = self.inner.step(move, process, pick(x_t), rng, pick(theirs) or None, mask)
            next(asking)
            belief, reward = _belief(belief, rows), reward[rows]
        while True:
            try:
                question = asking.send(belief)
            except StopIteration as done:
                x_s, theirs = done.value
                break
            belief = yield question
        kept = {"log_weights": groups.reshape(-1), "log_normaliser": total, "reward": reward}
        after = {**(theirs or {}), **{f"particles.{k}": v for k, v in kept.items()}}
        if rows is not None:
            after[ROWS] = rows  # the driver moves the denoiser's own memory along
        return x_s, after

    def _resample(self, log_weights: Tensor, rng: Stream) -> tuple[Tensor | None, Tensor]:
        """Rows to take (B · K,) and the log-weights after; None where no sample needs resampling."""
        w = log_weights.exp()
        poor = 1 / w.square().sum(1) < self.threshold * self.count
        if not bool(poor.any()):
            return None, log_weights
        batch, k = w.shape
        u = rng.rows(slice(None, None, k)).fold("resample").uniform((batch, 1), torch.float64).to(w.device)
        points = (torch.arange(k, device=w.device, dtype=torch.float64) + u) / k
        index = torch.searchsorted(w.cumsum(1).contiguous(), points.contiguous()).clamp(max=k - 1)
        index = torch.where(poor[:, None], index, torch.arange(k, device=w.device))
        rows = (index + torch.arange(batch, device=w.device)[:, None] * k).reshape(-1)
        return rows, torch.where(poor[:, None], torch.full_like(log_weights, -math.log(k)), log_weights)


def _latest(t: Any) -> float:
    """The latest of the clocks of a move."""
    return max(float(torch.as_tensor(clock).max()) for clock in split(t).values())


def _pick(value: Any, rows: Tensor) -> Any:
    if isinstance(value, dict):
        return {name: part[rows] for name, part in value.items()}
    return value[rows]


def _belief(posterior: Posterior, rows: Tensor) -> Posterior:
    if isinstance(posterior, dict):
        return {name: _belief(leaf, rows) for name, leaf in posterior.items()}  # type: ignore[misc]
    tensors = {f.name: getattr(posterior, f.name) for f in fields(posterior)}
    picked = {
        k: v[rows]
        for k, v in tensors.items()
        if isinstance(v, Tensor) and v.ndim and v.shape[0] == rows.shape[0]
    }
    return replace(posterior, **picked)  # type: ignore[arg-type]


def weights(memory: dict[str, Tensor], count: int) -> Tensor:
    """The normalised weights of the particles at the end of a run, (B, K), from ``Step.memory``."""
    return memory["sampler.particles.log_weights"].reshape(-1, count).exp()


def choose(x: State, memory: dict[str, Tensor], count: int, rng: Stream) -> State:
    """One particle for each sample, drawn by its weight: B rows of the B · K."""
    w = weights(memory, count)
    u = rng.rows(slice(None, None, count)).fold("choose").uniform((w.shape[0], 1), torch.float64).to(w.device)
    index = torch.searchsorted(w.cumsum(1).contiguous(), u).clamp(max=count - 1)[:, 0]
    return _pick(x, index + torch.arange(w.shape[0], device=w.device) * count)
