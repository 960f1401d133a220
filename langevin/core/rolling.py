r"""Rolling noise: long samples that are drawn element by element, under a noise level that rises along them.

A window of L elements moves over a sample without end. At its left stand elements that are drawn already, clean; to their
right each element is noisier than the one before, up to pure noise. In every step all of them become a little cleaner;
when the first noisy one is clean it leaves as a result, and fresh noise enters at the right (Ruhe et al., 2024, "Rolling
diffusion models", arXiv 2402.09470; Chen et al., 2024, "Diffusion forcing", arXiv 2407.01392, §3.3). Element k is at

.. math:: t_k(m) = \tau_{\min(\max(m - d k, 0), S)}

after m steps, with the times :math:`\tau_0 = 1 > … > \tau_S = 0` of the grid and the delay
:math:`d = \lceil S / (L - C) \rceil` of an element behind the one before, for C clean elements.

Memory is that of one window. The noise of an element belongs to it, so that a sample which ends sooner is the beginning of
one that goes on. Moves are those of :class:`~langevin.core.samplers.Single`, of DDIM or with fresh noise; samplers that
combine several beliefs are not followed. It is for models that were trained with clocks of single elements
(``objective.forcing``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from langevin.core.batches import pick
from langevin.core.denoiser import Denoiser
from langevin.core.guidance.base import at_rows, guided
from langevin.core.rng import Stream
from langevin.core.samplers import PRESETS, Move, Sampler, Single, Step, preset
from langevin.core.samplers.base import GridLike

if TYPE_CHECKING:
    from langevin.core.draw import Draw
    from langevin.core.streaming import Windows

__all__ = ["delay", "followed", "rolled", "times_of"]


def followed(
    sampler: str | Sampler | None, grid: str | GridLike | None, defaults: Mapping[str, Any]
) -> tuple[str | Sampler | None, str | GridLike | None]:
    """The sampler and the grid that rolling noise draws with: DDIM where the model's own sampler cannot be followed.

    Args:
        sampler, grid: what is asked for; None for the model's own.
        defaults: the model's own.

    Raises:
        ValueError: a sampler is asked for whose moves are not those of ``Single``.
    """
    name = defaults.get("sampler", "angle") if sampler is None else sampler
    chosen = preset(name).sampler if isinstance(name, str) else name
    if isinstance(chosen, Single) or not isinstance(
        chosen, Sampler
    ):  # what is no sampler is refused with all runs
        return sampler, grid
    if sampler is None:
        return "ddim", grid or defaults.get("grid")
    allowed = ", ".join(key for key, known in PRESETS.items() if isinstance(known.sampler, Single))
    raise ValueError(
        f"rolling noise makes moves of one belief each and cannot follow {name!r}; leave the sampler out, or choose "
        f"{allowed} or Single(eta)"
    )


def delay(steps: int, length: int, clean: int) -> int:
    """Steps that an element is behind the one before it, so that the noisy ones of a window span all times."""
    return -(-steps // (length - clean))


def times_of(grid: list[float], behind: int, moves: int, first: int, count: int) -> list[float]:
    """Times of the elements first, first + 1, … after so many moves.

    Args:
        grid: falling times of one element.
        behind: moves that an element is behind the one before it.
        moves: that were made.
        first: number of the first element; elements before the sample are clean.
        count: elements.
    """
    last = len(grid) - 1
    return [
        grid[-1] if k < 0 else grid[min(max(moves - behind * k, 0), last)]
        for k in range(first, first + count)
    ]


def rolled(
    draw: Draw,
    windows: Windows,
    count: Callable[[int, int], None],
    size: int | None = None,
    watch: Callable[[Step], None] | None = None,
) -> Iterator[Tensor]:
    """New elements (n, u, …) of all samples, u = ``windows.unit``, as they become clean, on the CPU, without an end.

    Args:
        draw: of one window, by a :class:`~langevin.core.samplers.Single`.
        windows: length, overlap (most clean elements that are seen), unit and context.
        count: called with (evaluations, rows of the network) of every step.
        size: samples that are asked about at a time, all by default; halved when memory runs out, with the same samples.
        watch: called with every step of every batch, whose times are tensors (B, L), one for each element.

    Raises:
        ValueError: times by leaf, or a model that was not trained with clocks of single elements.
    """
    model, run, unit, sampler = draw.model, draw.run, windows.unit, draw.run.sampler
    assert isinstance(sampler, Single)  # see followed()
    if not model.objective.forcing:
        raise ValueError(
            f"{model.name} was not trained with clocks of single elements (objective.forcing), which rolling noise needs; "
            "draw in windows instead"
        )
    if any(isinstance(t, dict) for t in run.times):
        raise ValueError("rolling noise needs one clock for all leaves")
    grid = [float(t) for t in run.times]
    length, seen = windows.length // unit, windows.overlap // unit
    behind = delay(len(grid) - 1, length, seen)
    numbers = range(draw.n) if draw.numbers is None else draw.numbers
    rng = Stream.of(draw.seed, numbers).fold("sample")
    like, _ = model.modality.blank(numbers, rng, draw.raw, draw.spec)
    device, asking = model.device, _Asking(draw, size or draw.n)

    def noise(k: int) -> Tensor:
        """Element k before the first move."""
        part: Any = model.process.prior(like[:, :unit], rng.fold("element", k))
        return part.to(device)

    clean = 0 if windows.context is None else min(seen, windows.context.shape[1] // unit)
    parts = [] if windows.context is None or not clean else [windows.context[:, -clean * unit :].to(device)]
    x = torch.cat([*parts, *(noise(k) for k in range(length - clean))], 1)
    first, moves = 0, 0
    while True:
        now, then = (
            torch.tensor(times_of(grid, behind, m, first - clean, length), device=device)
            .repeat_interleave(unit)
            .expand(draw.n, -1)
            for m in (moves, moves + 1)
        )
        move = Move(moves, now, then)
        fresh = sampler.cooled(rng.fold("move", moves), model.process)
        x, rows = asking.moved(x, move, fresh, sampler.eta, watch)
        count(1, rows)
        moves += 1
        if moves - behind * first < len(grid) - 1:
            continue
        yield x[:, clean * unit : (clean + 1) * unit].cpu()
        first, clean = first + 1, clean + 1
        if clean > seen:
            clean = seen
            x = torch.cat([x[:, unit:], noise(first + length - clean - 1)], 1)


class _Asking:
    """Moves of all samples, of which so many are asked about at a time."""

    def __init__(self, draw: Draw, size: int) -> None:
        self.draw, self.size = draw, size
        self._parts: dict[tuple[int, int], tuple[Denoiser, Any]] = {}

    def _part(self, here: slice) -> tuple[Denoiser, Any]:
        """The denoiser of some samples and their conditions, which are embedded once."""
        key, draw = (here.start, here.stop), self.draw
        if key not in self._parts:
            model = draw.model
            raw = {name: values[here] for name, values in draw.raw.items()}
            denoiser = guided(model.denoiser, at_rows(draw.run.guidance, here, draw.n))
            self._parts[key] = denoiser, model.network.embed(model.parse(raw))
        return self._parts[key]

    def moved(
        self, x: Tensor, move: Move, rng: Stream, eta: float, watch: Callable[[Step], None] | None
    ) -> tuple[Tensor, int]:
        """(the state of all samples after a move, rows of the network that it took)."""
        done, rows, out = 0, 0, []
        while done < len(x):
            here = slice(done, min(done + self.size, len(x)))
            part = Move(move.index, pick(move.t, here), pick(move.s, here))
            try:
                with torch.no_grad():
                    denoiser, condition = self._part(here)
                    belief, _ = denoiser(x[here], part.t, condition)
                    made: Any = denoiser.process.update(x[here], belief, part.t, part.s, rng.rows(here), eta)
            except torch.OutOfMemoryError:
                if here.stop - here.start == 1:
                    raise
                self.size = (min(self.size, len(x)) + 1) // 2
                self._parts.clear()
                continue
            rows += len(made) * denoiser.rows(float(part.t.max()))  # type: ignore[union-attr]
            if watch is not None:
                watch(Step(move.index, part, made, belief, {}, move.index + 1))
            out.append(made)
            done = here.stop
        return torch.cat(out), rows
