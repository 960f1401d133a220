"""Draw: one run of a model, made in batches.

All samples of a run share its grid, sampler and guidance; each has rows of its own in everything else. Random numbers
belong to samples, so that how the rows are cut into batches, and cut again when memory runs out, changes no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from langevin.core.batches import join, pick, to
from langevin.core.denoiser import Denoiser
from langevin.core.guidance.base import at_rows, guided
from langevin.core.guidance.known import Known
from langevin.core.keep import paste
from langevin.core.processes import State
from langevin.core.progress import bar
from langevin.core.request import Run
from langevin.core.rng import Stream
from langevin.core.samplers import Step, sample

if TYPE_CHECKING:
    from langevin.core.model import Model

__all__ = ["Counter", "Draw"]


class Counter:
    """Counts evaluations and network rows of one sample, and passes steps on."""

    def __init__(self, watch: Callable[[Step], None] | None) -> None:
        self.watch, self.evaluations, self.rows, self._before = watch, 0, 0, 0

    def __call__(self, step: Step, denoiser: Denoiser) -> None:
        if step.index == 0:
            self.evaluations = self.rows = self._before = 0
        asked, self._before = step.evaluations - self._before, step.evaluations
        self.evaluations = step.evaluations
        self.rows += asked * denoiser.rows(step.move.t)
        if self.watch is not None:
            self.watch(step)


@dataclass(frozen=True)
class Draw:
    """What the samples of a run are made of.

    Attributes:
        model: what is asked.
        run: sampler, times and guidance.
        n: samples.
        raw: users' conditions by name, one value for each sample.
        seed: of all random numbers.
        spec: the modality's, says what shape new samples have.
        known: states that give shapes, and values to begin from or to keep; None for new shapes.
        mask: theirs, (n, L).
        begin: noise ``known`` to the first time and begin there.
        chosen: booleans by leaf, True where ``known`` is kept; None to keep nothing.
        noise: states to begin from; None for the prior.
    """

    model: Model
    run: Run
    n: int
    raw: Mapping[str, list[Any]]
    seed: int
    spec: Any
    known: State | None = None
    mask: Tensor | None = None
    begin: bool = False
    chosen: State | None = None
    noise: State | None = None

    def all(self, size: int, counter: Counter, progress: bool | None) -> tuple[State, Tensor | None]:
        """(states, mask) of all samples on the CPU, ``size`` at a time; halved when memory runs out."""
        parts: list[tuple[State, Tensor | None]] = []
        done = 0
        while done < self.n:
            rows = range(done, min(done + size, self.n))
            try:
                parts.append(self.rows(rows, counter, progress))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size = (size + 1) // 2
                continue
            done = rows.stop
        return join([p[0] for p in parts]), join([p[1] for p in parts])

    def rows(self, rows: range, counter: Counter, progress: bool | None) -> tuple[State, Tensor | None]:
        """(states, mask) of some samples, on the CPU."""
        model, run, here = self.model, self.run, slice(rows.start, rows.stop)
        device = model.device
        rng = Stream.of(self.seed, rows).fold("sample")
        raw = {name: values[here] for name, values in self.raw.items()}
        if self.known is not None:
            like, mask = pick(self.known, here), pick(self.mask, here)
        else:
            like, mask = model.modality.blank(rows, rng, raw, self.spec)
        like, mask = to(like, device), to(mask, device)
        x: State | None = to(pick(self.noise, here), device)
        if self.begin:
            x = model.process.corrupt(like, run.times[0], rng.fold("start"), mask=mask)
        denoiser = guided(model.denoiser, at_rows(run.guidance, here, self.n))
        kept = to(pick(self.chosen, here), device)
        if kept is not None:
            denoiser = Known(like, kept)(denoiser)
        condition = model.network.embed(model.parse(raw))
        moves = len(run.sampler.plan(model.process, run.times))
        stepping = sample(
            denoiser, run.sampler, run.times, rng, x=x, like=like, condition=condition, mask=mask
        )
        with torch.no_grad():
            for step in bar(stepping, moves, f"samples {rows.start}–{rows.stop - 1}", progress):
                counter(step, denoiser)
        state = paste(step.x, like, kept) if kept is not None else step.x
        return to(state, "cpu"), to(mask, "cpu")
