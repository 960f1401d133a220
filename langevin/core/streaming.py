"""Streaming: long samples, window after window, with memory that does not grow with their length.

A window is as long as what the model was trained on. Its first elements along axis 1 of the state (frames of a sound or of a
clip), ``overlap`` of them, are the last ones of the window before, known and kept as ``keep`` keeps them; the rest is drawn:

    window 0   ████████████
    window 1           ▒▒▒▒████████        ▒ known, █ drawn
    window 2                   ▒▒▒▒████████

What a window holds depends on the windows before it and never on those after, and its random numbers are those of the
sample in window k (window 0 has the sample's own). So of streams longer than
a window, one that ends sooner is the beginning of one that goes on; one that fits into a window is what :meth:`Model.sample`
draws at that length.

The modality says how long windows are (:meth:`Modality.windows`), and plays the states as they are drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from langevin.core.draw import Counter, Draw
from langevin.core.forecast import WORTH, duration
from langevin.core.objects import count, listed, spec_of
from langevin.core.progress import bar, note
from langevin.core.records import given
from langevin.core.request import (
    Guidance,
    broadcast_conditions,
    checked_batch,
    checked_numbers,
    resolve,
)
from langevin.core.rolling import followed, rolled
from langevin.core.samplers import Sampler, Step
from langevin.core.samplers.base import GridLike

if TYPE_CHECKING:
    from langevin.core.model import Model

__all__ = ["Costs", "Streaming", "Windows", "extend", "stream"]

_BATCH = 64


@dataclass(frozen=True)
class Windows:
    """How a modality draws and plays a long sample.

    Attributes:
        spec: of one window, for its :meth:`blank`.
        length: elements of a window along axis 1 of the state.
        overlap: how many of them are those of the window before; at least 1 and fewer than ``length``.
        total: elements that are wanted, with those of ``context``.
        play: states (n, t, …) that follow one another ↦ native pieces that do, a list of n after the other; reads the states
            as it needs them.
        said: fields of the user's spec by name that were left to the modality, for records.
        context: states (n, L, …), L < ``length``, of what comes before the first element that is drawn; None for nothing.
        chosen: (n, L) or (n, L, …), True where ``context`` is kept; all of it when None.
        rolling: draw under a noise level that rises along the sample (:mod:`langevin.core.rolling`) in place of one window
            after the other.
        unit: elements that stay together, as those of a patch do.
    """

    spec: Any
    length: int
    overlap: int
    total: int
    play: Callable[[Iterable[Tensor]], Iterator[list[Any]]]
    said: Mapping[str, Any] = field(default_factory=dict)
    context: Tensor | None = None
    chosen: Tensor | None = None
    rolling: bool = False
    unit: int = 1

    @property
    def count(self) -> int:
        """Windows that are drawn."""
        return 1 + -(-max(0, self.total - self.length) // (self.length - self.overlap))


class Streaming:
    """Long samples that are drawn as they are read: pieces of native objects, a list of one for each sample after the other.

        for (piece,) in model.stream(seconds=600, window=5):
            play(piece)

    Every iteration begins anew, and gives the same. Pieces of a sample follow one another without a gap; how long they are
    is the modality's choice.

    Args:
        draw: of one window.
        windows: how many, and how they are played.
        size: samples at a time.
        about: of the run, for records.
        watch: called with every step.
        progress: show a bar; by default if standard error is a terminal.
    """

    def __init__(
        self,
        draw: Draw,
        windows: Windows,
        size: int,
        about: Mapping[str, Any],
        watch: Callable[[Step], None] | None = None,
        progress: bool | None = None,
    ) -> None:
        self.draw, self.windows = draw, windows
        self._size, self._about, self._watch, self._progress = size, about, watch, progress

    @property
    def modality(self) -> Any:
        """Of the model."""
        return self.draw.model.modality

    @property
    def indices(self) -> Sequence[int]:
        """The number of each sample under its seed."""
        return range(self.draw.n) if self.draw.numbers is None else self.draw.numbers

    def __iter__(self) -> Iterator[list[Any]]:
        return self.played(Costs())

    def collect(self) -> Any:
        """The modality's samples, each as one object; memory grows with their length."""
        costs, states = Costs(), []

        def kept(parts: Iterator[Tensor]) -> Iterator[Tensor]:
            for state in parts:
                states.append(state)
                yield state

        rows = zip(*self.windows.play(kept(self._states(costs))), strict=True)
        items = [self.modality.joined(pieces) for pieces in rows]
        return self.gathered(items, costs, torch.cat(states, 1)[:, : self.windows.total])

    def save(self, path: str | Path, overwrite: bool = False, suffix: str | None = None) -> list[Path]:
        """Writes the samples while they are drawn, with memory that does not grow.

        Args:
            path: a file of the modality's, for one sample; or a folder, which is made if it is not there, for a file of each
                and samples.json.
            overwrite: replace a file, or the samples of another run.
            suffix: of the files in a folder; the modality's usual one when None.

        Returns:
            The paths of the native files. A run that is interrupted leaves none.

        Raises:
            ValueError: several samples for one file, or a suffix that the modality does not write.
            FileExistsError: the file is there, or the folder holds another run.
        """
        return self.modality.save_stream(self, Path(path), overwrite, suffix)  # type: ignore[no-any-return]

    def gathered(self, items: list[Any], costs: Costs, state: Tensor | None = None) -> Any:
        """Items, one for each sample, as the modality's samples."""
        record = {**self.draw.record(Counter()), **costs.record(), **self._about}
        return self.modality.gathered(items, state, None, record, self.draw.raw, self.indices)

    def played(self, costs: Costs) -> Iterator[list[Any]]:
        """The pieces; what they cost is counted while they are drawn."""
        return self.windows.play(self._states(costs))

    def _states(self, costs: Costs) -> Iterator[Tensor]:
        """What is new in each window, (n, t, …), on the CPU; the first begins with the context."""
        if self.windows.rolling:
            yield from self._rolled(costs)
            return
        windows, one = self.windows, self.windows.count == 1
        before, chosen = windows.context, windows.chosen
        numbers, begun = range(windows.count), time.perf_counter()
        for k in numbers if one else bar(numbers, len(numbers), "windows", self._progress):
            if k == 2 and self._progress is not False:  # the first window also warms things up
                left = (time.perf_counter() - begun) * (windows.count - 2)
                if left >= WORTH:
                    note(f"about {duration(left)}: {windows.count - 2} more windows")
            begun, counter = time.perf_counter(), Counter(self._watch)
            state, mask = self._window(k, before, chosen).all(
                self._size, counter, self._progress if one else False
            )
            if not isinstance(state, Tensor) or mask is not None:
                raise TypeError(f"samples of {self.modality.name} have no single state that goes on")
            costs.add(counter)
            yield state if k == 0 else state[:, windows.overlap :]
            before, chosen = state[:, -windows.overlap :].clone(), None

    def _rolled(self, costs: Costs) -> Iterator[Tensor]:
        """Elements as they become clean under rolling noise."""
        windows, context = self.windows, self.windows.context
        done = 0 if context is None else context.shape[1]
        left = range(done, windows.total, windows.unit)
        parts = rolled(self.draw, windows, costs.count, self._size, self._watch)
        for _, part in zip(bar(left, len(left), "elements", self._progress), parts):
            yield part if context is None else torch.cat([context, part], 1)
            context = None

    def _window(self, k: int, before: Tensor | None, chosen: Tensor | None) -> Draw:
        """The draw of window k after the elements that come before it."""
        if before is None:
            return self.draw
        size = before.shape[1]
        known = before.new_zeros(before.shape[0], self.windows.length, *before.shape[2:])
        known[:, :size] = before
        keep = torch.zeros(known.shape[: 2 if chosen is None else chosen.ndim], dtype=torch.bool)
        keep[:, :size] = True if chosen is None else chosen
        return replace(self.draw, known=known, chosen=keep, window=k)


@dataclass
class Costs:
    """What the windows of a stream have cost together; as of :class:`~langevin.core.draw.Counter`."""

    evaluations: int = 0
    rows: int = 0
    gradients: int = 0

    def add(self, counter: Counter) -> None:
        """One more window."""
        self.evaluations += counter.evaluations
        self.rows += counter.rows
        self.gradients += counter.gradients

    def count(self, evaluations: int, rows: int) -> None:
        """Beliefs that were asked for of one sample, and rows that passed the network."""
        self.evaluations += evaluations
        self.rows += rows

    def record(self) -> dict[str, int]:
        """For :meth:`Streaming.gathered`."""
        return {
            "evaluations": self.evaluations,
            "network_rows": self.rows,
            "backward_passes": self.gradients,
        }


def stream(
    model: Model,
    /,
    n: int | None = None,
    *,
    after: Any = None,
    steps: int | None = None,
    evaluations: int | None = None,
    sampler: str | Sampler | None = None,
    grid: str | GridLike | None = None,
    guidance: float | Guidance | None = None,
    negative: Mapping[str, Any] | str | None = None,
    temperature: float | Mapping[str, float] | None = None,
    lag: Mapping[str, float] | None = None,
    seed: int | Sequence[int] = 0,
    first: int | Sequence[int] = 0,
    batch_size: int | None = None,
    progress: bool | None = None,
    watch: Callable[[Step], None] | None = None,
    **conditions: Any,
) -> Streaming:
    """Long samples, drawn window after window while they are read or written.

        model.stream(seconds=600, window=5, overlap=1, seed=0).save("long.flac")

    Nothing is drawn before the stream is iterated, collected or saved.

    Args:
        n: how many; by default as many as ``after`` or a condition have entries, else 1.
        after: native object(s) that the samples continue: the result begins with them, and what the spec says of a duration
            is what is added.
        steps, evaluations: of each window.
        progress: show a bar of windows; by default if standard error is a terminal. A stream of three windows
            or more that will take more than 30 s says so there in either case, unless this is False.
        conditions: as for ``sample``; and the fields of the modality's spec, among them the length of the whole, of a
            ``window`` and of the ``overlap``.
        sampler, grid, guidance, negative, temperature, lag, seed, first, batch_size, watch: as for ``sample``. Under
            rolling noise the sampler is one of ``Single`` ("ddim", "ddpm", "euler" …), "ddim" where the model's own is
            another; steps have times (B, L) of single elements.

    Raises:
        TypeError, ValueError: a modality whose samples cannot be streamed, an overlap that is not shorter than the window,
            or what ``sample`` refuses. A sample that cannot be decoded ends the stream: there are no failures in windows.
    """
    spec, sizes, conditions = spec_of(model.modality, conditions)
    n, raw = broadcast_conditions(conditions, count(after, None) if n is None else n, model.conditions)
    objects = None if after is None else listed(after)
    if objects is not None and len(objects) not in (1, n):
        raise ValueError(f"{len(objects)} objects for {n} samples; give one, or one for each")
    windows: Windows = model.modality.windows(spec, None if objects is None else (objects * n)[:n])
    if windows.rolling:
        sampler, grid = followed(sampler, grid, model.defaults)
    run = resolve(
        model.process,
        steps=steps,
        evaluations=evaluations,
        sampler=sampler,
        grid=grid,
        guidance=guidance,
        negative=model._negative(negative),
        defaults=model.defaults,
        temperature=temperature,
        lag=lag,
    )
    about = {
        "negative": {"prompt": negative} if isinstance(negative, str) else negative or None,
        "spec": {**sizes, **windows.said},
        "after": None if objects is None else given(objects[0], windows.context),
        **({"rolling": True} if windows.rolling else {"windows": windows.count}),
    }
    model.network.eval()
    seed, numbers = checked_numbers(seed, first, n)
    draw = Draw(model, run, n, raw, seed, windows.spec, numbers=numbers)
    return Streaming(draw, windows, min(checked_batch(batch_size, _BATCH), n), about, watch, progress)


def extend(model: Model, /, items: Any, n: int | None = None, **options: Any) -> Any:
    """Objects with what comes after them: they begin the result unchanged, and what the spec says is added.

        model.extend(recording, seconds=4)

    Args:
        items: a native object, or a list of them.
        n: samples; as many as objects, or as a condition has entries, when None.
        options: as for :func:`stream`, of which this collects the samples.
    """
    return stream(model, n, after=items, **options).collect()
