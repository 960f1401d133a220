"""The loss of a batch: draw times, corrupt, ask, compare. The whole of diffusion training in one place.

Samples may have shapes of their own (:mod:`langevin.core.packing`): times are drawn for all, states are noised and compared
shape by shape, and all questions are asked at once. A sample's loss does not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from langevin.core.batches import pick
from langevin.core.conditioning import Embedded
from langevin.core.denoiser import Denoiser, Question, under
from langevin.core.losses import NEAREST, Objective
from langevin.core.packing import Batch
from langevin.core.parts import Part, clocks, unknown_of
from langevin.core.processes import Process, State, join, split
from langevin.core.recall import believed, shown_twice
from langevin.core.rng import Stream
from langevin.core.times import Times
from langevin.core.training.distortion import distorted

__all__ = ["draw_times", "losses", "losses_of"]

Couple: TypeAlias = Callable[..., State]
Parts: TypeAlias = Callable[[State, Stream, Tensor | None, float], Sequence[Part]]
Auxiliary: TypeAlias = Callable[[State, State, Times, "Tensor | None"], Tensor]


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
    couple: Couple | None = None,
    parts: Parts | None = None,
) -> tuple[Tensor, dict[str, Tensor], Times]:
    """:func:`losses_of` of samples that all have one shape: clean states ``x`` and their mask (B, L)."""
    return losses_of(denoiser, objective, [Batch.whole(x, mask)], condition, rng, rows, couple, parts)


def losses_of(
    denoiser: Denoiser,
    objective: Objective,
    batches: Sequence[Batch],
    condition: Mapping[str, Embedded],
    rng: Stream,
    rows: tuple[int, int] | None = None,
    couple: Couple | None = None,
    parts: Parts | None = None,
    auxiliary: Auxiliary | None = None,
) -> tuple[Tensor, dict[str, Tensor], Times]:
    """The loss of each sample (B,), its parts by leaf, and the times that were drawn.

    Args:
        denoiser: what is trained.
        objective: target, times and weighting, and the shares of independent clocks and of given parts.
        batches: the B samples by shape.
        condition: embeddings, with some rows already replaced by the null.
        rng: one row for each sample; the same key gives the same times and noise.
        rows: (first, total) of these rows in a batch that processes share.
        couple: (x, noise, rng, mask, given, apart) ↦ one among equivalent clean states, given the noise that each will
            meet; see :meth:`langevin.modalities.base.Modality.couple`.
        parts: (x, rng, mask, share) ↦ a batch by what is given of it; needed where ``objective.given`` is not 0.
        auxiliary: (belief, x, t, mask) ↦ a further loss (B,) of clean estimates, which stands as ``auxiliary`` among the
            parts; asked for where ``objective.auxiliary`` is not 0.
    """
    process = denoiser.process
    lengths = [next(iter(split(batch.x).values())).shape[1] for batch in batches]
    t, apart = draw_times(objective, process, rng, rows, max(lengths))
    times = [pick(t, batch.rows) for batch in batches]
    if objective.forcing:
        times = [own[:, :length] for own, length in zip(times, lengths, strict=True)]
    asked = [
        _asked(
            denoiser,
            objective,
            batch,
            own,
            {name: value.select(batch.rows) for name, value in condition.items()},
            rng.rows(batch.rows),
            pick(apart, batch.rows),
            couple,
            parts,
        )
        for batch, own in zip(batches, times, strict=True)
    ]
    beliefs = iter(denoiser.together([one.question for some in asked for one in some]))
    total: dict[str, Tensor] = {}
    by_leaf: dict[str, Tensor] = {}
    for batch, own, some in zip(batches, times, asked, strict=True):
        each: dict[str, Tensor] = {}
        more: dict[str, Tensor] = {}
        for one in some:
            belief = next(beliefs)
            _put(each, split(one.loss(objective, belief)), one.rows, len(batch.rows))
            if objective.auxiliary and auxiliary is not None:
                q = one.question
                extra = objective.auxiliary * auxiliary(believed(belief), one.x, q.t, q.mask)
                _put(more, {"auxiliary": extra}, one.rows, len(batch.rows))
        whole, leaves = objective.total(process, join(process, each), own)
        for name, extra in more.items():
            whole, leaves = whole + extra, {**leaves, name: extra}
        _put(total, {"": whole}, batch.rows, len(rng))
        _put(by_leaf, leaves, batch.rows, len(rng))
    return total[""], by_leaf, t


@dataclass(frozen=True)
class _Asked:
    """A question about samples of one shape, of which alike is given, and what its answer is compared with.

    Attributes:
        question: what the denoiser is asked.
        rows: of the batch.
        x: clean states.
        key: of the noise.
        unknown: masks of what is not given, for the loss.
    """

    question: Question
    rows: Tensor
    x: State
    key: Stream
    unknown: Any

    def loss(self, objective: Objective, belief: Any) -> Any:
        """By leaf, before weighting."""
        process, q = self.question.process, self.question
        kinds = join(process, objective.kinds(process))
        return process.loss(belief, self.x, q.x_t, q.t, self.key, kinds, self.unknown)


def _asked(
    denoiser: Denoiser,
    objective: Objective,
    batch: Batch,
    t: Times,
    condition: Mapping[str, Embedded],
    rng: Stream,
    apart: Tensor | None,
    couple: Couple | None,
    parts: Parts | None,
) -> list[_Asked]:
    """The questions about a batch: one, or one for each of its parts."""
    if not objective.given or parts is None:
        whole = Part(torch.arange(len(rng)), batch.x, None, denoiser.process)
        return [_of_part(denoiser, objective, whole, t, condition, rng, batch.mask, apart, couple)]
    out = []
    for part in parts(batch.x, rng.fold("part"), batch.mask, objective.given):
        i = part.rows
        some = {name: value.select(i) for name, value in condition.items()}
        mask, own = pick(batch.mask, i), pick(apart, i)
        out.append(_of_part(denoiser, objective, part, pick(t, i), some, rng.rows(i), mask, own, couple))
    return out


def _of_part(
    denoiser: Denoiser,
    objective: Objective,
    part: Part,
    t: Times,
    condition: Mapping[str, Embedded],
    rng: Stream,
    mask: Tensor | None,
    apart: Tensor | None,
    couple: Couple | None,
) -> _Asked:
    """The question about one part of a batch."""
    process, x, given = distorted(part.process, objective.distortion), part.x, part.given
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
        own = under(denoiser, process)
        memory = shown_twice(own, objective.recall, x_t, t, condition, rng.fold("recall"), mask)
    return _Asked(Question(process, x_t, t, condition, mask, memory), part.rows, x, key, unknown)


def _put(out: dict[str, Tensor], values: Mapping[str, Tensor], rows: Tensor, count: int) -> None:
    """Writes values (b,) to their rows of (count,) by name."""
    for name, value in values.items():
        there = out.setdefault(name, value.new_zeros(count))
        out[name] = there.index_put((rows.to(value.device),), value)
