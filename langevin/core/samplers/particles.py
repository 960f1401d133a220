r"""Particles: steering by a reward with sequential Monte Carlo, on any inner sampler and any process.

Each sample is carried by K particles; the state has B · K rows, particle k of sample i at row i K + k. There are three
places where a reward can act, and each can be used alone.

*On the way down* (``begin`` > 0), at times t ≤ ``begin``, a weight is multiplied by the gain between two beliefs,

.. math:: G = \exp\bigl(\lambda\,[r(\hat x_s) - r(\hat x_t)]\bigr),

and where the effective sample size of a sample falls below a share of K its particles are resampled, systematically and
only among themselves (Feynman–Kac steering with the difference potential: Singhal et al., 2025, arXiv 2501.06848; twisted
SMC: Wu et al., 2023, arXiv 2306.17775). What the beliefs said cancels: the last factor has the reward of x itself.

*At the end of a descent* x is judged, and the weight is complete: the weighted particles have the law p(x) exp(λ r(x)).

*In rounds* after that, particles are resampled, noised to the time ``back`` and drawn again: copies part, whatever the
sampler. This move x → x_t → x' is reversible under p where x' is drawn from p(x | x_t), so accepting x' with probability
min(1, exp(λ [r(x') − r(x)])), else keeping x, leaves p exp(λ r) as it is (Metropolis and Hastings; moves between
reweightings: Del Moral et al., 2006, "Sequential Monte Carlo samplers"). Where nothing was steered on the way down, λ rises
over the rounds in equal parts. A sampler that is not ancestral (η < 1), and large steps, make the invariance approximate.

Without a strength the particles look for the best x instead, at any scale of the reward: each round resamples with
the λ at which the effective sample size is a share of K, and x' is kept if its reward is not less. The best is never lost.

A state without a reward (the molecule cannot be decoded) has reward ``floor``. At −∞ its weight is 0 at the end and it
is never preferred; a belief without a reward leaves the weight of its particle as it was.
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
from langevin.core.samplers.base import ROWS, Asking, GridLike, Move, Noised, Sampler, renumber, times_of
from langevin.core.samplers.resampling import different, sharpened, systematic
from langevin.core.samplers.single import Single
from langevin.core.times import Times

__all__ = ["Particles", "choose", "clean", "summary", "weights"]

_NEAR = 1e-6  # a float32 time is rounded
_OWN = "particles."  # of names in the memory that are ours and not the inner sampler's


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
class _End(Move):
    """The last move of a descent; ``back`` is the time to which particles go from there, None where they stay."""

    back: Times | None = None


@dataclass(frozen=True)
class _Cloud:
    """What is known of the particles, (B · K, …); see :class:`Particles`."""

    log_weights: Tensor
    log_normaliser: Tensor
    reward: Tensor
    tilt: Tensor  # λ r, as far as it is in the weight
    lineage: Tensor
    label: Tensor
    undecoded: Tensor
    trace: Tensor
    accepted: Tensor

    @staticmethod
    def new(like: Tensor, count: int) -> _Cloud:
        rows, zero = like.shape[0], torch.zeros(like.shape[0], dtype=torch.float64, device=like.device)
        own = torch.arange(rows, device=like.device) % count
        none = zero.new_zeros(rows, 0)
        return _Cloud(
            torch.full_like(zero, -math.log(count)),
            zero,
            torch.full_like(zero, -math.inf),
            zero,
            own,
            own,
            zero.long(),
            none.reshape(rows, 0, 4),
            none,
        )

    def pick(self, rows: Tensor) -> _Cloud:
        """Particles in the places of others; what counts events stays in its place."""
        moved = {name: getattr(self, name)[rows] for name in ("reward", "tilt", "lineage", "label")}
        return replace(self, **moved)

    def note(self, t: Times, ess: Tensor, count: int) -> _Cloud:
        """With a line in the trace; ``ess`` (B,)."""
        each = [different(part.reshape(-1, count)) for part in (self.lineage, self.label)]
        line = torch.stack([torch.full_like(ess, _latest(t)), ess, *each], -1).repeat_interleave(count, 0)
        return replace(self, trace=torch.cat([self.trace, line[:, None]], 1))


@dataclass(frozen=True)
class Particles(Sampler):
    """K weighted particles for every sample.

    Args:
        reward: clean states (B · K, …) ↦ rewards (B · K,); NaN where a state has none.
        count: K.
        inner: the sampler of every particle; stochastic if they are resampled on the way down.
        strength: λ; None looks for the best.
        threshold: share of K below which the effective sample size triggers resampling; without a strength, the share
            that every resampling of a round leaves.
        begin: time from which on beliefs are judged, 0 for none: only finished x are. Early beliefs say little, and
            particles that are chosen by them are soon copies of one; the target does not depend on it.
        rounds: times that particles are noised and drawn again.
        back: the time they go back to, the latest of the grid that is not above it.
        floor: reward of states that have none.
        noised: (x, t, rng, mask) ↦ x_t, for the rounds; the process's own corruption when None.

    Memory holds, by ``particles.`` and the name: ``log_weights`` (B · K,), normalised within each sample;
    ``log_normaliser`` (B · K,), the estimate of log E[exp(λ r)] so far, equal within a sample; ``reward`` (B · K,);
    ``undecoded`` (B · K,), how many of its states had no reward; ``lineage`` (B · K,), which of the first K it descends
    from, and ``label``, equal for copies; ``trace`` (B · K, J, 4), at each judging the time, the effective
    sample size before resampling, and the lineages and different particles after it; ``accepted`` (B · K, rounds).
    :func:`summary` reads it.

    Raises:
        ValueError: a setting out of range, a deterministic ``inner`` where particles are resampled on the way down, a
            reward of another shape or infinite, or a grid that does not end at 0 or has no step below ``back``.
    """

    reward: Callable[[State], Tensor]
    count: int = 8
    inner: Sampler = Single(1.0)
    strength: float | None = 1.0
    threshold: float = 0.5
    begin: float = 1.0
    rounds: int = 0
    back: float = 0.5
    floor: float = -math.inf
    noised: Noised | None = None
    order: int = 0  # type: ignore[misc]
    stochastic = True

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"count must be at least 2 particles, got {self.count}")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], got {self.threshold}")
        if not 0 <= self.begin <= 1:
            raise ValueError(f"begin is a time in [0, 1], got {self.begin}")
        if self.begin and self.strength is None:
            raise ValueError(
                "beliefs are weighed by a strength; give one, or begin=0 to judge finished samples only"
            )
        if self.begin and not self.inner.stochastic:
            raise ValueError(
                "Particles that are resampled on the way down need a stochastic inner sampler (Single(1.0), "
                "Multistep(2, sde=True)): copies would never part under a deterministic one; or begin=0"
            )
        if self.strength is not None and not math.isfinite(self.strength):
            raise ValueError(f"strength must be finite, or None to look for the best, got {self.strength}")
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 0:
            raise ValueError(f"rounds must be a whole number of at least 0, got {self.rounds!r}")
        if not 0 < self.back <= 1:
            raise ValueError(f"back is a time in (0, 1], got {self.back}")
        if math.isnan(self.floor) or self.floor == math.inf:
            raise ValueError(f"floor must be a reward, or -inf, got {self.floor}")

    def plan(self, process: Process, grid: GridLike) -> list[Move]:
        times = times_of(grid, process)
        if _latest(times[-1]) > 0:
            raise ValueError(f"particles are judged at t = 0; the grid ends at {times[-1]}")
        again = [t for t in times if _latest(t) <= self.back + _NEAR]
        if self.rounds and len(again) < 2:
            raise ValueError(
                f"the grid has no step below back={self.back}; take more steps, or a larger back"
            )
        moves: list[Move] = []
        for after in range(self.rounds + 1):
            *first, last = self.inner.plan(process, again if after else times)  # type: ignore[arg-type]
            back = again[0] if after < self.rounds else None
            moves += [*first, _End(**{f.name: getattr(last, f.name) for f in fields(last)}, back=back)]
        return renumber(moves)

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
        cloud, kept, theirs = self._remembered(memory, x_t)
        rows: Tensor | None = None
        if kept is None and _latest(move.t) <= self.begin + _NEAR:
            x_s, theirs, cloud, rows = yield from self._believed(move, process, x_t, rng, theirs, cloud, mask)
        else:
            x_s, theirs = yield from self.inner.step(move, process, x_t, rng, theirs, mask)
        if isinstance(move, _End):
            x_s, kept, cloud, taken = self._judged(move, process, x_s, kept, cloud, rng, mask)
            theirs = None  # of another descent
            rows = taken if rows is None or taken is None else rows[taken]
        after = {**(theirs or {}), **{_OWN + f.name: getattr(cloud, f.name) for f in fields(cloud)}}
        if kept is not None:
            after |= {f"{_OWN}kept.{name}": leaf for name, leaf in split(kept).items()}
        if rows is not None:
            after[ROWS] = rows  # the driver moves the denoiser's own memory along
        return x_s, after

    def _remembered(self, memory: Memory, x_t: State) -> tuple[_Cloud, State | None, Memory]:
        """The particles, the states that a round began from, and the inner sampler's memory."""
        own = {k.removeprefix(_OWN): v for k, v in (memory or {}).items() if k.startswith(_OWN)}
        theirs = {k: v for k, v in (memory or {}).items() if not k.startswith(_OWN)}
        leaves = {k.removeprefix("kept."): own.pop(k) for k in [*own] if k.startswith("kept.")}
        kept = None if not leaves else leaves if isinstance(x_t, dict) else leaves[""]
        cloud = _Cloud(**own) if own else _Cloud.new(next(iter(split(x_t).values())), self.count)  # type: ignore[arg-type]
        return cloud, kept, theirs or None

    def _believed(
        self,
        move: Move,
        process: Process,
        x_t: State,
        rng: Stream,
        theirs: Memory,
        cloud: _Cloud,
        mask: Tensor | None,
    ) -> Any:
        """A move of which the first belief, that at its start, reweights the particles before it goes on."""
        asking = self.inner.step(move, process, x_t, rng, theirs, mask)
        x, t = next(asking)
        belief = yield x, t
        reward, nothing = self._rewards(clean(belief, process, x), len(rng), move.t)
        potential = _times(float(self.strength or 0.0), reward)
        cloud = replace(cloud, reward=reward, undecoded=cloud.undecoded + nothing)
        cloud, rows = self._reweigh(cloud, torch.where(potential.isinf(), cloud.tilt, potential), move.t, rng)
        if rows is not None:
            # the move is planned again from the resampled particles, with the belief that belongs to each
            pick = lambda value: _pick(value, rows)  # noqa: E731
            asking = self.inner.step(move, process, pick(x_t), rng, pick(theirs) if theirs else None, mask)
            next(asking)
            belief = _belief(belief, rows)
        while True:
            try:
                question = asking.send(belief)
            except StopIteration as done:
                x_s, theirs = done.value
                return x_s, theirs, cloud, rows
            belief = yield question

    def _judged(
        self,
        move: _End,
        process: Process,
        x: State,
        kept: State | None,
        cloud: _Cloud,
        rng: Stream,
        mask: Tensor | None,
    ) -> tuple[State, State | None, _Cloud, Tensor | None]:
        """The end of a descent: x accepted or not, reweighted, and sent back where a round follows.

        Returns:
            the state, what the next round begins from, the particles, and the rows taken.
        """
        reward, nothing = self._rewards(x, len(rng), 0.0)
        cloud = replace(cloud, undecoded=cloud.undecoded + nothing)
        done = cloud.accepted.shape[1] + (kept is not None)  # rounds
        if kept is None:
            cloud = replace(cloud, reward=reward)
        else:
            x, cloud = self._accepted(x, reward, kept, cloud, self._strength(done - 1), rng)
        last = move.back is None
        if self.strength is None:
            cloud, rows = self._best(cloud, last, rng)
        else:
            potential = _times(self._strength(done), cloud.reward)
            cloud, rows = self._reweigh(cloud, potential, 0.0, rng, last)
        if rows is not None:
            x = _pick(x, rows)
        if move.back is None:
            return x, None, cloud, rows
        again = rng.fold("again")
        x_t = (
            self.noised(x, move.back, again, mask)
            if self.noised
            else process.corrupt(x, move.back, again, mask=mask)
        )
        return x_t, x, cloud, rows

    def _strength(self, done: int) -> float:
        """λ after so many rounds; infinite where the best is looked for."""
        if self.strength is None:
            return math.inf
        rises = self.rounds > 0 and self.begin == 0
        return self.strength * (min(1.0, (done + 1) / self.rounds) if rises else 1.0)

    def _accepted(
        self, x: State, reward: Tensor, kept: State, cloud: _Cloud, strength: float, rng: Stream
    ) -> tuple[State, _Cloud]:
        """The new states where they are accepted, else those that the round began from."""
        gain = torch.where(cloud.reward == -math.inf, math.inf, reward - cloud.reward)
        if strength == math.inf:
            new = gain >= 0
        else:
            u = rng.fold("accept").uniform((len(rng),), torch.float64).to(gain.device)
            new = u.log() < strength * gain if strength else torch.ones_like(gain, dtype=torch.bool)
        old = split(kept)
        joined = {
            name: torch.where(new.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, old[name])
            for name, leaf in split(x).items()
        }
        reward = torch.where(new, reward, cloud.reward)
        fresh = torch.arange(len(rng), device=new.device) % self.count
        fresh = fresh + self.count * (1 + cloud.accepted.shape[1])
        tilt = cloud.tilt if strength == math.inf else _times(strength, reward)
        return joined if isinstance(x, dict) else joined[""], replace(
            cloud,
            reward=reward,
            tilt=torch.where(tilt.isinf(), 0.0, tilt),  # a group without any reward starts over
            label=torch.where(new, fresh, cloud.label),
            accepted=torch.cat([cloud.accepted, new[:, None].double()], 1),
        )

    def _rewards(self, x: State, rows: int, t: Times) -> tuple[Tensor, Tensor]:
        """Rewards with the floor where there is none, and where that is."""
        reward = self.reward(x).detach().double()
        if reward.shape != (rows,):
            raise ValueError(
                f"reward must give one number for each of the {rows} particles, got {tuple(reward.shape)}"
            )
        if bool(reward.isinf().any()):
            raise ValueError(f"reward gave a value that is not finite at t = {_latest(t)}")
        return reward.masked_fill(reward.isnan(), self.floor), reward.isnan()

    def _reweigh(
        self, cloud: _Cloud, potential: Tensor, t: Times, rng: Stream, last: bool = False
    ) -> tuple[_Cloud, Tensor | None]:
        """Weights brought to a log potential, and particles resampled where they are poor; rows taken, or None."""
        alive = cloud.log_weights > -math.inf
        weight = torch.where(alive, cloud.log_weights + potential - cloud.tilt, -math.inf)
        groups = weight.reshape(-1, self.count)
        normaliser = groups.logsumexp(1)
        total = cloud.log_normaliser + normaliser.repeat_interleave(self.count)
        none = (normaliser == -math.inf)[
            :, None
        ]  # no particle of a sample has a reward: they go on as equals
        groups = torch.where(none, -math.log(self.count), groups - normaliser[:, None])
        potential = torch.where(potential.isinf(), 0.0, potential)
        cloud = replace(cloud, log_normaliser=total, tilt=potential)
        w = groups.exp()
        ess = 1 / w.square().sum(1)
        poor = ess < self.threshold * self.count
        rows = None
        if not last and bool(poor.any()):
            rows = systematic(w, poor, rng)
            cloud = cloud.pick(rows)
            groups = torch.where(poor[:, None], -math.log(self.count), groups)
        return replace(cloud, log_weights=groups.reshape(-1)).note(t, ess, self.count), rows

    def _best(self, cloud: _Cloud, last: bool, rng: Stream) -> tuple[_Cloud, Tensor | None]:
        """Particles resampled with the strength at which a share of them is left."""
        w = sharpened(cloud.reward.reshape(-1, self.count), self.threshold * self.count)
        ess = 1 / w.square().sum(1)
        if last:
            return cloud.note(0.0, ess, self.count), None
        rows = systematic(w, torch.ones_like(ess, dtype=torch.bool), rng)
        return cloud.pick(rows).note(0.0, ess, self.count), rows


def _times(strength: float, reward: Tensor) -> Tensor:
    """λ r, −∞ where r is, whatever λ."""
    return torch.where(reward == -math.inf, -math.inf, strength * reward)


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


def choose(x: State, memory: dict[str, Tensor], count: int, rng: Stream, best: bool = False) -> State:
    """One particle for each sample, B rows of the B · K: drawn by its weight, or the one with the highest reward."""
    if best:
        index = memory["sampler.particles.reward"].reshape(-1, count).argmax(1)
    else:
        w = weights(memory, count)
        u = rng.rows(slice(None, None, count)).fold("choose").uniform((w.shape[0], 1), torch.float64)
        index = torch.searchsorted(w.cumsum(1).contiguous(), u.to(w.device)).clamp(max=count - 1)[:, 0]
    return _pick(x, index + torch.arange(index.shape[0], device=index.device) * count)


def summary(memory: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """What became of the particles of each sample, from the ``Step.memory`` of the end of a run.

    Returns:
        ``time``, ``ess``, ``lineages`` and ``different`` (B, J), at each judging; ``accepted`` (B, rounds), the share;
        ``undecoded`` (B,), how many of the judged states had no reward; ``log_normaliser`` (B,).
    """
    part = lambda name: memory[f"sampler.{_OWN}{name}"]  # noqa: E731
    trace = part("trace")[::count]
    out = dict(zip(("time", "ess", "lineages", "different"), trace.unbind(-1), strict=True))
    accepted = part("accepted")
    out["accepted"] = accepted.unflatten(0, (-1, count)).mean(1)
    out["undecoded"] = part("undecoded").reshape(-1, count).sum(1)
    out["log_normaliser"] = part("log_normaliser")[::count]
    return out
