r"""Rolling noise: long samples that are drawn element by element, under a noise level that rises along them.

A window of L elements moves over a sample without end. At its left stand elements that are drawn already, clean; to their
right each element is noisier than the one before, up to pure noise. In every step all of them become a little cleaner;
when the first noisy one is clean it leaves as a result, and fresh noise enters at the right (Ruhe et al., 2024, "Rolling
diffusion models", arXiv 2402.09470; Chen et al., 2024, "Diffusion forcing", arXiv 2407.01392, §3.3). Element k is at

.. math:: t_k(m) = \tau_{\min(\max(m - d k, 0), S)}

after m steps, with the times :math:`\tau_0 = 1 > … > \tau_S = 0` of the grid and the delay
:math:`d = \lceil S / (L - C) \rceil` of an element behind the one before, for C clean elements.

Memory is that of one window. The noise of an element belongs to it, so that a sample which ends sooner is the beginning of
one that goes on. Moves are those of DDIM. It is for models that were trained with clocks of single elements
(``objective.forcing``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from langevin.core.guidance.base import at_rows, guided
from langevin.core.rng import Stream

if TYPE_CHECKING:
    from langevin.core.draw import Draw
    from langevin.core.streaming import Windows

__all__ = ["delay", "rolled", "times_of"]


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


def rolled(draw: Draw, windows: Windows, count: Callable[[int, int], None]) -> Iterator[Tensor]:
    """New elements (n, u, …) of all samples, u = ``windows.unit``, as they become clean, on the CPU, without an end.

    Args:
        draw: of one window.
        windows: length, overlap (most clean elements that are seen), unit and context.
        count: called with (evaluations, rows of the network) of every step.

    Raises:
        ValueError: times by leaf, or a model that was not trained with clocks of single elements.
    """
    model, run, unit = draw.model, draw.run, windows.unit
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
    device, process = model.device, model.process
    denoiser = guided(model.denoiser, at_rows(run.guidance, slice(0, draw.n), draw.n))
    condition = model.network.embed(model.parse(draw.raw))

    def noise(k: int) -> Tensor:
        """Element k before the first move."""
        part: Any = process.prior(like[:, :unit], rng.fold("element", k))
        return part.to(device)

    clean = 0 if windows.context is None else min(seen, windows.context.shape[1] // unit)
    parts = [] if windows.context is None or not clean else [windows.context[:, -clean * unit :].to(device)]
    x = torch.cat([*parts, *(noise(k) for k in range(length - clean))], 1)
    first, moves, eta = 0, 0, float(getattr(run.sampler, "eta", 0.0))
    while True:
        now, then = (
            torch.tensor(times_of(grid, behind, m, first - clean, length), device=device)
            .repeat_interleave(unit)
            .expand(draw.n, -1)
            for m in (moves, moves + 1)
        )
        with torch.no_grad():
            belief, _ = denoiser(x, now, condition)
            moved: Any = process.update(x, belief, now, then, rng.fold("move", moves), eta)
            x = moved
        count(1, draw.n * denoiser.rows(float(now.max())))
        moves += 1
        if moves - behind * first < len(grid) - 1:
            continue
        yield x[:, clean * unit : (clean + 1) * unit].cpu()
        first, clean = first + 1, clean + 1
        if clean > seen:
            clean = seen
            x = torch.cat([x[:, unit:], noise(first + length - clean - 1)], 1)
