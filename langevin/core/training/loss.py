"""The loss of a batch: draw times, corrupt, ask, compare. The whole of diffusion training in one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.batches import pick
from langevin.core.conditioning import Embedded
from langevin.core.denoiser import Denoiser
from langevin.core.losses import NEAREST, Objective
from langevin.core.parts import Part, clocks, unknown_of
from langevin.core.processes import Process, State, join, split
from langevin.core.recall import shown_twice
from langevin.core.rng import Stream
from langevin.core.times import Times
from langevin.core.training.distortion import distorted

__all__ = ["draw_times", "losses"]


def draw_times(
    objective: Objective,
    process: Process,
    rng: Stream,
    rows: tuple[int, int] | None = None,
    elements: int = 1,
) -> tuple[Times, Tensor | None]:
    """Training times (B,), or (B, L), or a dict of them by leaf; and which samples have a clock for every leaf (None for
    none).

    They keep :data:`~langevin.core.losses.NEAREST` away from 0 and 1, where a target may be infinite.

    Args:
        objective: holds the density of times, and the share of samples whose leaves have clocks of their own.
        process: names the leaves.
        rng: one row for each sample.
        rows: (first, total) of these rows in a batch that processes share.
        elements: L, of a sample along axis 1; times are theirs where some samples have a clock for each of them.
    """

    def drawn(key: Stream) -> Tensor:
        return objective.times(key, rows).clamp(NEAREST, 1 - NEAREST)

    common = drawn(rng.fold("time"))
    if objective.forcing:
        single = rng.fold("forcing").uniform((len(rng),)) < objective.forcing
        each = torch.stack([drawn(rng.fold("time", k)) for k in range(elements)], 1)
        return torch.where(single[:, None], each, common[:, None]), None
    if not objective.independent:
        return common, None
    own = rng.fold("independent").uniform((len(rng),)) < objective.independent
    return {name: torch.where(own, drawn(rng.fold("time", name)), common) for name in process.leaves}, own


def losses(
    denoiser: Denoiser,
    objective: Objective,
    x: State,
    condition: Mapping[str, Embedded],
    rng: Stream,
    mask: Tensor | None = None,
    rows: tuple[int, int] | None = None,
    couple: Callable[..., State] | None = None,
    parts: Callable[[State, Stream, Tensor | None, float], Sequence[Part]] | None = None,
) -> tuple[Tensor, dict[str, Tensor], Times]:
    """The loss of each sample (B,), its parts by leaf, and the times that were drawn.

    Args:
        denoiser: what is trained.
        objective: target, times and weighting, and the shares of independent clocks and of given parts.
        x: clean states.
        condition: embeddings, with some rows already replaced by the null.
        rng: one row for each sample; the same key gives the same times and noise.
        mask: (B, L), True on real elements.
        rows: (first, total) of these rows in a batch that processes share.
        couple: (x, noise, rng, mask, given, apart) ↦ one among equivalent clean states, given the noise that each will
            meet; see :meth:`langevin.modalities.base.Modality.couple`.
        parts: (x, rng, mask, share) ↦ the batch by what is given of it; needed where ``objective.given`` is not 0.
    """
    process = denoiser.process
    t, apart = draw_times(objective, process, rng, rows, next(iter(split(x).values())).shape[1])
    if not objective.given or parts is None:
        whole = Part(torch.arange(len(rng)), x, None, process)
        each = _loss(denoiser, objective, whole, t, condition, rng, mask, apart, couple)
    else:
        each = {}
        for part in parts(x, rng.fold("part"), mask, objective.given):
            i = part.rows
            some = {name: value.select(i) for name, value in condition.items()}
            own = _loss(
                denoiser,
                objective,
                part,
                pick(t, i),
                some,
                rng.rows(i),
                pick(mask, i),
                pick(apart, i),
                couple,
            )
            for name, loss in split(own).items():
                total = each.setdefault(name, loss.new_zeros(len(rng)))
                each[name] = total.index_put((i.to(loss.device),), loss)
        each = join(process, each)
    total, by_leaf = objective.total(process, each, t)
    return total, by_leaf, t


def _loss(
    denoiser: Denoiser,
    objective: Objective,
    part: Part,
    t: Times,
    condition: Mapping[str, Embedded],
    rng: Stream,
    mask: Tensor | None,
    apart: Tensor | None,
    couple: Callable[..., State] | None,
) -> Any:
    """The loss of one part of a batch by leaf, before weighting."""
    process, x, given = distorted(part.process, objective.distortion), part.x, part.given
    if process is not denoiser.process:
        denoiser = replace(denoiser, process=process)  # type: ignore[type-var]
    key = rng.fold("corrupt")
    if couple is not None:
        noise = process.prior(x, key, mask)  # what corrupt draws again
        x = couple(x, noise, rng.fold("couple"), mask, given, apart)
    unknown: Any = mask
    if given is not None:
        t = clocks(process, t, given, len(rng))
        unknown = unknown_of(process, x, given, mask)
    x_t = process.corrupt(x, t, key, mask=mask)
    memory = None
    if objective.recall:
        memory = shown_twice(denoiser, objective.recall, x_t, t, condition, rng.fold("recall"), mask)
    posterior, _ = denoiser(x_t, t, condition, mask, memory)
    return process.loss(posterior, x, x_t, t, key, join(process, objective.kinds(process)), unknown)
