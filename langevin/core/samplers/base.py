"""Sampler: a plan of moves over a grid, and a step that asks for beliefs.

``plan`` turns a process and a grid into moves with all coefficients as Python floats. ``step`` is a generator: it yields
(x, t) wherever it wants the belief about clean data, is sent the belief, and returns the next state and its memory. It
never holds the network, so that one solver serves our own loop, another library's loop, and inverse problems alike; and
because it may ask more than once, methods of several evaluations are written as they are in their papers.

:func:`sample` is the driver: it answers the yields with a denoiser and yields a :class:`Step` after every move.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from langevin.core.denoiser import Condition, Denoiser, Memory
from langevin.core.posteriors import Posterior
from langevin.core.processes import Process, State, split
from langevin.core.rng import Stream
from langevin.core.times import Times

__all__ = ["ROWS", "Asking", "GridLike", "Move", "Sampler", "Step", "sample", "times_of"]

Asking: TypeAlias = Generator[tuple[State, Times], Posterior, tuple[State, Memory]]
Noised: TypeAlias = Callable[[State, Times, Stream, Tensor | None], State]
GridLike: TypeAlias = Callable[[Process], Any] | Sequence[float] | Mapping[str, Sequence[float]]


# the entry of a sampler's memory by which it tells the driver that it took other rows of the batch (resampling)
ROWS = "rows"


@dataclass(frozen=True)
class Move:
    """One move of a plan.

    Attributes:
        index: its place in the plan; it names the move's random draws.
        t: where it starts; a float, a dict of floats by leaf, or a tensor (B, L) by element under rolling noise.
        s: where it ends.
        kind: "integrate" (towards the data, or away from it on a rising grid) or "renoise" (forward, with fresh noise).
        noise: scale of the fresh noise of a renoise move (Karras' S_noise).
        coefficients: what the sampler computed in advance for this move.
    """

    index: int
    t: Times
    s: Times
    kind: str = "integrate"
    noise: float = 1.0
    coefficients: Any = None


@dataclass(frozen=True)
class Step:
    """What the driver yields after a move.

    Attributes:
        index: of the move that was made.
        move: that move.
        x: the state after it.
        posterior: the last belief that the move asked for; None after a renoise move.
        memory: of the denoiser and of the sampler, flat; pass the step as ``resume`` to go on.
        evaluations: beliefs asked for since the start.
        mask: (B, L), True on real elements; None where all are.
    """

    index: int
    move: Move
    x: State
    posterior: Posterior | None
    memory: dict[str, Tensor]
    evaluations: int
    mask: Tensor | None = None


def times_of(grid: GridLike, process: Process) -> list[Times]:
    """The times of a grid in order: floats, or dicts of floats by leaf.

    Raises:
        ValueError: fewer than two times, times outside [0, 1], or not all falling or all rising.
    """
    times: Any = grid(process) if callable(grid) else grid
    if not isinstance(times, Mapping) and len(times) and isinstance(times[0], Mapping):
        times = {name: [t[name] for t in times] for name in times[0]}  # what this function gave before
    if isinstance(times, Mapping):
        lengths = {len(v) for v in times.values()}
        if len(lengths) != 1 or set(times) != set(process.leaves):
            raise ValueError(
                f"a grid by leaf needs as many times for each of {list(process.leaves)}; "
                f"got { ({k: len(v) for k, v in times.items()}) }"
            )
        for name, column in times.items():
            _check([float(u) for u in column], f"the grid of leaf {name!r}", strict=False)
        return [{k: float(v[i]) for k, v in times.items()} for i in range(lengths.pop())]
    out = [float(u) for u in times]
    _check(out, "the grid", strict=True)
    return list(out)


def _check(times: list[float], what: str, strict: bool) -> None:
    if len(times) < 2:
        raise ValueError(f"{what} needs at least two times, got {times}")
    if not all(0 <= u <= 1 for u in times):
        raise ValueError(f"{what} must lie in [0, 1], got {[u for u in times if not 0 <= u <= 1][:3]}")
    steps = [b - a for a, b in zip(times[:-1], times[1:], strict=True)]
    falls, rises = (all(d * sign > 0 if strict else d * sign >= 0 for d in steps) for sign in (-1, 1))
    if not (falls or rises):
        raise ValueError(
            f"{what} must fall (sampling) or rise (inversion) from one time to the next, got {times[:6]} …"
        )


class Sampler(ABC):
    """A way from noise to data.

    Attributes:
        order: order of convergence on the probability flow that its certificate measures; 0 for stochastic samplers.
        stochastic: whether it draws fresh noise on Gaussian leaves.
    """

    order: int = 1
    stochastic: bool = False

    def plan(self, process: Process, grid: GridLike) -> list[Move]:
        """The moves over a grid of N + 1 times: N of them unless the sampler adds some."""
        times = times_of(grid, process)
        return [Move(i, t, s) for i, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True))]

    @abstractmethod
    def step(
        self,
        move: Move,
        process: Process,
        x_t: State,
        rng: Stream,
        memory: Memory,
        mask: Tensor | None = None,
    ) -> Asking:
        """A generator that makes one move; see the module's page."""

    def cost(self, move: Move, process: Process) -> int:
        """Beliefs that a move asks for."""
        return 0 if move.kind == "renoise" else 1

    def evaluations(self, plan: Sequence[Move], process: Process) -> int:
        """Beliefs that a plan asks for."""
        return sum(self.cost(move, process) for move in plan)


def renoise(
    move: Move, process: Process, x: State, rng: Stream, mask: Tensor | None, noised: Noised | None = None
) -> State:
    """The state after a renoise move: a draw of x_s given x_t, its fresh part scaled by ``move.noise``; from clean data
    by ``noised`` where there is one."""
    if noised is not None and _clean(move.t) and move.noise == 1:
        return noised(x, move.s, rng.fold("renoise"), mask)
    drawn = process.corrupt(x, move.s, rng.fold("renoise"), since=move.t, mask=mask)
    if move.noise == 1:
        return drawn
    if isinstance(drawn, dict):
        assert isinstance(x, dict) and isinstance(move.s, float) and isinstance(move.t, float)
        return {name: _scaled(leaf, x[name], drawn[name], move) for name, leaf in process.leaves.items()}
    return _scaled(process.leaves[""], x, drawn, move)


def _scaled(leaf: Any, x: Any, drawn: Tensor, move: Move) -> Tensor:
    if leaf.order == 1:  # only Gaussian leaves have a scale of noise
        return drawn
    mean = x * (leaf.schedule.at(move.s)[0] / leaf.schedule.at(move.t)[0])
    return mean + move.noise * (drawn - mean)


def sample(
    denoiser: Denoiser,
    sampler: Sampler,
    grid: GridLike,
    rng: Stream,
    *,
    x: State | None = None,
    like: State | None = None,
    condition: Condition | None = None,
    mask: Tensor | None = None,
    resume: Step | None = None,
    noised: Noised | None = None,
) -> Iterator[Step]:
    """Runs a sampler over a grid, yielding a :class:`Step` after every move.

    Args:
        denoiser: answers with beliefs; guided or not. Its process is sampled.
        sampler: makes the plan and the moves.
        grid: times including both ends.
        rng: one row for each sample.
        x: the state at the first time of the grid; None draws the prior, of the shapes of ``like``.
        like: a state of the wanted shapes, dtype and device.
        condition: passed to the denoiser.
        mask: (B, L), True on real elements.
        resume: a step that this very call has yielded before: goes on exactly after it.
        noised: (clean state, t, rng, mask) ↦ a noisy one, in the place of the process where a sample that is clean is
            noised again: by a model trained with noise that was coupled to its data.

    Raises:
        ValueError: neither ``x`` nor ``like`` nor ``resume``, an empty batch, or as many keys as samples do not match.
    """
    process = denoiser.process
    plan = sampler.plan(process, grid)
    start, evaluations = 0, 0
    mine: Memory = None
    memory: Memory = None
    if resume is not None:
        start, evaluations, x = resume.index + 1, resume.evaluations, resume.x
        mine, memory = _of(resume.memory, "sampler."), _of(resume.memory, "denoiser.")
    elif x is None:
        if like is None:
            raise ValueError(
                "sample needs a start x, shapes to draw the prior in (like), or a step to resume"
            )
        x = process.prior(like, rng.fold("prior"), mask)
    first = next(iter(x.values())) if isinstance(x, dict) else x
    if first.shape[0] == 0:
        raise ValueError("the batch is empty; ask for at least one sample")
    if first.shape[0] != len(rng):
        raise ValueError(f"{first.shape[0]} samples need as many random streams, got {len(rng)}")
    for i, move in enumerate(plan[start:], start):
        if i and _clean(plan[i - 1].s):
            memory = None  # of a descent that is over: what was believed at its end says nothing of the next
        posterior: Posterior | None = None
        key = rng.fold("move", move.index)
        with torch.no_grad():
            if move.kind == "renoise":
                x = renoise(move, process, x, key, mask, noised)
            else:
                asking = sampler.step(move, process, x, key, mine, mask)
                question = next(asking)
                while True:
                    posterior, memory = denoiser(*question, condition, mask, memory)
                    evaluations += 1
                    try:
                        question = asking.send(posterior)
                    except StopIteration as done:
                        x, mine = done.value
                        break
                rows = (mine or {}).pop(ROWS, None)
                if rows is not None and memory is not None:
                    memory = {name: value[rows] for name, value in memory.items()}
        yield Step(move.index, move, x, posterior, _flat(mine, memory), evaluations, mask)


def _clean(t: Times) -> bool:
    """Whether all leaves are at time 0."""
    return all(u == 0 for u in split(t).values())


def _flat(mine: Memory, memory: Memory) -> dict[str, Tensor]:
    """The sampler's and the denoiser's memories as one."""
    return {
        **{f"sampler.{name}": value for name, value in (mine or {}).items()},
        **{f"denoiser.{name}": value for name, value in (memory or {}).items()},
    }


def _of(memory: Mapping[str, Tensor], prefix: str) -> Memory:
    """The part of a flat memory under a prefix; None if there is none."""
    part = {k.removeprefix(prefix): v for k, v in memory.items() if k.startswith(prefix)}
    return part or None


def renumber(moves: Sequence[Move]) -> list[Move]:
    """Moves with their places in this sequence as indices."""
    return [replace(move, index=i) for i, move in enumerate(moves)]
