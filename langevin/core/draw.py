"""Draw: one run of a model, made in batches.

All samples of a run share its grid, sampler and guidance; each has rows of its own in everything else. Random numbers
belong to samples, so that how the rows are cut into batches, and cut again when memory runs out, changes no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from langevin.core.batches import join, pick, to
from langevin.core.denoiser import Denoiser
from langevin.core.forecast import Forecast
from langevin.core.guidance.base import at_rows, guided
from langevin.core.guidance.given import Given
from langevin.core.guidance.known import Known
from langevin.core.keep import paste
from langevin.core.processes import State, split
from langevin.core.progress import bar
from langevin.core.request import Run
from langevin.core.rng import Stream
from langevin.core.samplers import Particles, Sampler, Step, sample
from langevin.core.samplers.base import Noised
from langevin.core.samplers.particles import choose, summary

if TYPE_CHECKING:
    from langevin.core.model import Model

__all__ = ["Counter", "Draw", "Steering"]


class Counter:
    """Counts what a run costs, batch by batch, and passes steps on.

    Attributes:
        evaluations: beliefs asked for of one sample, the most of any batch.
        rows: rows that passed the network, over all batches.
        gradients: backward passes of one sample, the most of any batch.
        told: what became of the particles, one dict of tensors (B, …) for each batch.
    """

    def __init__(self, watch: Callable[[Step], None] | None = None) -> None:
        self.watch = watch
        self.evaluations = self.rows = self.gradients = 0
        self.told: list[dict[str, Tensor]] = []
        self._asked = self._rows = self._gradients = 0  # of the batch that is being made

    def __call__(self, step: Step, denoiser: Denoiser) -> None:
        if step.index == 0:
            self._asked = self._rows = self._gradients = 0
        asked, self._asked = step.evaluations - self._asked, step.evaluations
        self._rows += asked * denoiser.rows(step.move.t)
        self._gradients += asked * denoiser.gradients(step.move.t)
        if self.watch is not None:
            self.watch(step)

    def close(self, rows: int, told: dict[str, Tensor] | None = None) -> None:
        """A batch of so many rows is made; one that ran out of memory is not counted."""
        self.evaluations = max(self.evaluations, self._asked)
        self.gradients = max(self.gradients, self._gradients)
        self.rows += rows * self._rows
        if told is not None:
            self.told.append(told)


@dataclass(frozen=True)
class Steering:
    """How samples are steered.

    Attributes:
        reward: of clean states, one number for each particle, given (states, mask); NaN where there is none.
        count: particles of each sample.
        best: return the particle with the highest reward, not one drawn by weight.
        settings: more of :class:`~langevin.core.samplers.Particles`.
    """

    reward: Callable[[State, Tensor | None], Tensor]
    count: int
    best: bool
    settings: Mapping[str, Any]

    def around(self, inner: Sampler, mask: Tensor | None = None, noised: Noised | None = None) -> Particles:
        """The sampler of the particles of a batch."""
        reward = lambda x: self.reward(to(x, "cpu"), mask)  # noqa: E731
        return Particles(reward, self.count, inner, noised=noised, **self.settings)


@dataclass(frozen=True)
class Draw:
    """What the samples of a run are made of.

    Attributes:
        model: what is asked.
        run: sampler, times and guidance.
        n: samples.
        raw: users' conditions by name, one value for each sample.
        seed: of all random numbers; one for each sample where they have their own.
        spec: the modality's, says what shape new samples have.
        known: states that give shapes, and values to begin from or to keep; None for new shapes.
        mask: theirs, (n, L).
        begin: noise ``known`` to the first time and begin there.
        chosen: booleans by leaf, True where ``known`` is kept; None to keep nothing.
        noise: states to begin from; None for the prior.
        steering: by a reward; None for none.
        numbers: of the samples under their seed; 0, 1, … when None.
        window: number of the window, where samples are drawn in several.
    """

    model: Model
    run: Run
    n: int
    raw: Mapping[str, list[Any]]
    seed: int | Sequence[int]
    spec: Any
    known: State | None = None
    mask: Tensor | None = None
    begin: bool = False
    chosen: State | None = None
    noise: State | None = None
    steering: Steering | None = None
    numbers: Sequence[int] | None = None
    window: int = 0

    def all(self, size: int, counter: Counter, progress: bool | None) -> tuple[State, Tensor | None]:
        """(states, mask) of all samples on the CPU, ``size`` at a time; halved when memory runs out."""
        parts: list[tuple[State, Tensor | None]] = []
        forecast = None if progress is False else Forecast(self.n, self.model.device)
        done = 0
        while done < self.n:
            rows = range(done, min(done + size, self.n))
            try:
                parts.append(self.rows(rows, counter, progress, forecast))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size = (size + 1) // 2
                continue
            done = rows.stop
        return join([p[0] for p in parts]), join([p[1] for p in parts])

    def rows(
        self, rows: range, counter: Counter, progress: bool | None, forecast: Forecast | None = None
    ) -> tuple[State, Tensor | None]:
        """(states, mask) of some samples, on the CPU."""
        model, run, here = self.model, self.run, slice(rows.start, rows.stop)
        numbers = rows if self.numbers is None else self.numbers[here]
        rng = Stream.of(self.seed if isinstance(self.seed, int) else self.seed[here], numbers).fold("sample")
        rng = rng.fold("window", self.window) if self.window else rng
        raw = {name: values[here] for name, values in self.raw.items()}
        if self.known is not None:
            like, mask = pick(self.known, here), pick(self.mask, here)
        else:
            like, mask = model.modality.blank(numbers, rng, raw, self.spec)
        noise, kept, sampler = pick(self.noise, here), pick(self.chosen, here), run.sampler
        if noise is not None and self.spec != type(self.spec)():
            _check_shapes(noise, like)
        index = torch.arange(len(rows))  # rows of this batch
        place: slice | Tensor = here  # and of the run
        steering = self.steering
        if steering is not None:  # particles of a sample stand next to each other
            index = index.repeat_interleave(steering.count)
            rng, place = rng.particles(steering.count), index + rows.start
            like, mask, noise, kept = (pick(part, index) for part in (like, mask, noise, kept))
            sampler = steering.around(sampler, mask, model.modality.noised)
        like, mask, x, kept = (to(part, model.device) for part in (like, mask, noise, kept))
        denoiser: Denoiser = model.denoiser
        clean = kept is not None and model.objective.given > 0 and model.modality.shows(kept)
        if clean:
            like, process = model.modality.framed(like, kept, mask)
            denoiser = replace(model.denoiser, process=process)
        if self.begin and denoiser.process is not model.process:  # of the frame of what is given
            x = denoiser.process.corrupt(like, run.times[0], rng.fold("start"), mask=mask)
        elif self.begin:
            x = model.modality.noised(like, run.times[0], rng.fold("start"), mask)
        denoiser = model.modality.seen(denoiser, self.spec, run.times)
        denoiser = guided(denoiser, at_rows(run.guidance, place, self.n))
        if kept is not None:
            denoiser = (Given if clean else Known)(like, kept)(denoiser)
        condition = model.network.embed(
            model.parse({k: [v[i] for i in index.tolist()] for k, v in raw.items()})
        )
        moves = sampler.plan(denoiser.process, run.times)
        asked = sampler.evaluations(moves, denoiser.process)
        named = numbers if isinstance(numbers, range) else rows
        stepping = sample(
            denoiser,
            sampler,
            run.times,
            rng,
            x=x,
            like=like,
            condition=condition,
            mask=mask,
            noised=None if kept is not None else model.modality.noised,  # which knows nothing of what is kept
        )
        with torch.no_grad():
            if forecast is not None:
                forecast.begin()
            for step in bar(stepping, len(moves), f"samples {named.start}–{named.stop - 1}", progress):
                if forecast is not None:
                    last = (
                        step.index == len(moves) - 1
                    )  # samplers that control their error plan for the worst
                    forecast.step(
                        step.evaluations, step.evaluations if last else asked, len(rows), len(moves)
                    )
                counter(step, denoiser)
        told = None if steering is None else to(summary(step.memory, steering.count), "cpu")
        counter.close(len(index), told)
        state = paste(step.x, like, kept) if kept is not None else step.x
        if steering is not None:
            state = choose(state, step.memory, steering.count, rng, steering.best)
            mask = pick(mask, slice(None, None, steering.count))
        return to(state, "cpu"), to(mask, "cpu")

    def record(self, counter: Counter) -> dict[str, Any]:
        """How the samples were made, for the modality's ``collect``."""
        config, dtype = self.model.config, self.model.denoiser.dtype
        return {
            "model": self.model.source or self.model.name,
            **self.run.about,
            "steps": len(self.run.times) - 1,
            "seed": self.seed,
            "evaluations": counter.evaluations,
            "network_rows": counter.rows,
            "backward_passes": counter.gradients,
            "particles": 1 if self.steering is None else self.steering.count,
            "dtype": None if dtype == torch.float32 else str(dtype).removeprefix("torch."),
            "unsaved": None if self.model.source else True,
            "licence": config.get("licence"),
            "attribution": config.get("attribution"),
        }


def _check_shapes(noise: State, like: State) -> None:
    theirs, ours = ({k: tuple(v.shape[1:]) for k, v in split(x).items()} for x in (noise, like))
    if theirs != ours:
        raise ValueError(
            f"noise has states of {theirs}, but {ours} are asked for; leave the size to the noise"
        )
