"""The loss of a batch: draw times, corrupt, ask, compare. The whole of diffusion training in one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser
from langevin.core.losses import NEAREST, Objective
from langevin.core.processes import Process, State, join
from langevin.core.rng import Stream
from langevin.core.times import Times

__all__ = ["draw_times", "losses"]


def draw_times(
    objective: Objective,
    process: Process,
    rng: Stream,
    rows: tuple[int, int] | None = None,
    independent: float = 0.0,
) -> Times:
    """Training times (B,), or a dict of them by leaf where clocks are drawn independently for a share of the samples.

    They keep :data:`~langevin.core.losses.NEAREST` away from 0 and 1, where a target may be infinite.

    Args:
        objective: holds the density of times.
        process: names the leaves.
        rng: one row for each sample.
        rows: (first, total) of these rows in a batch that processes share.
        independent: share of samples whose leaves have clocks of their own; 0 gives one clock.
    """

    def drawn(key: Stream) -> Tensor:
        return objective.times(key, rows).clamp(NEAREST, 1 - NEAREST)

    common = drawn(rng.fold("time"))
    if not independent:
        return common
    own = rng.fold("independent").uniform((len(rng),)) < independent
    return {name: torch.where(own, drawn(rng.fold("time", name)), common) for name in process.leaves}


def losses(
    denoiser: Denoiser,
    objective: Objective,
    x: State,
    condition: Mapping[str, Any],
    rng: Stream,
    mask: Tensor | None = None,
    rows: tuple[int, int] | None = None,
    independent: float = 0.0,
    couple: Callable[[State, State, Stream, Tensor | None], State] | None = None,
) -> tuple[Tensor, dict[str, Tensor], Times]:
    """The loss of each sample (B,), its parts by leaf, and the times that were drawn.

    Args:
        denoiser: what is trained.
        objective: target, times and weighting.
        x: clean states.
        condition: embeddings, with some rows already replaced by the null.
        rng: one row for each sample; the same key gives the same times and noise.
        mask: (B, L), True on real elements.
        rows: (first, total) of these rows in a batch that processes share.
        independent: share of samples with a clock for every leaf.
        couple: chooses among equivalent clean states, given the noise that each will meet.
    """
    process = denoiser.process
    t = draw_times(objective, process, rng, rows, independent)
    key = rng.fold("corrupt")
    if couple is not None:
        x = couple(
            x, process.prior(x, key, mask), rng.fold("couple"), mask
        )  # the noise that corrupt draws again
    x_t = process.corrupt(x, t, key, mask=mask)
    posterior, _ = denoiser(x_t, t, condition, mask)
    each = process.loss(posterior, x, x_t, t, key, join(process, objective.kinds(process)), mask)
    total, parts = objective.total(process, each, t)
    return total, parts, t
