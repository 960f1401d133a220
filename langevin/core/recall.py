"""Self-conditioning: a network that sees its own last belief (Chen, Zhang & Hinton, 2022, arXiv 2208.04202).

In training a share of the samples is asked twice: the first answer, without a gradient, is shown beside the noisy state
when the question is asked again. In sampling the answer of one step is shown at the next, at no further cost; it travels
as memory of the denoiser, so that samplers and guidance need not know of it.

Near the data the last answer can do harm: its errors are those of the answer before it, and stay, where the state alone
would tell better. So a model says below which time it draws without (``sampling.recall``).

A belief is shown as a state: the clean estimate of Gaussian leaves and of leaves on manifolds, the probabilities
(…, classes) of discrete ones. The tokeniser makes tokens of it as of any state; discrete leaves come to it as floats with
one more axis. It enters through layers that are 0 at first, so that a model trained without can be trained on with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.batches import pick
from langevin.core.posteriors import Categorical, Point, Posterior
from langevin.core.processes import Process, State, join, split
from langevin.core.rng import Stream
from langevin.core.times import Times

if TYPE_CHECKING:
    from langevin.core.denoiser import Denoiser, Memory

__all__ = ["Recalled", "believed", "remember", "remembered", "shown_twice"]

_LEAF, _ROWS = "recall.", "recalled"


@dataclass(frozen=True)
class Recalled:
    """A belief as the network sees it.

    Attributes:
        state: clean estimates and probabilities by leaf.
        rows: (B,), the samples that have one; None for all.
    """

    state: State
    rows: Tensor | None = None

    def repeat(self, count: int) -> Recalled:
        """``count`` copies one after another."""

        def copies(value: Tensor) -> Tensor:
            return value.repeat(count, *(1,) * (value.ndim - 1))

        state = {name: copies(part) for name, part in split(self.state).items()}
        return Recalled(
            state if isinstance(self.state, dict) else state[""],
            None if self.rows is None else copies(self.rows),
        )


def believed(belief: Posterior) -> State:
    """A belief as a state: estimates, and probabilities of classes."""
    out: dict[str, Tensor] = {}
    for name, leaf in split(belief).items():
        if isinstance(leaf, Point):
            out[name] = leaf.x
        elif isinstance(leaf, Categorical):
            out[name] = leaf.probabilities
        elif leaf.x_t.ndim > 2 and leaf.x_t.shape[-2:] == (3, 3):
            out[name] = so3.unrounded(torch.matmul)(leaf.x_t, so3.exp(leaf.vector.to(leaf.x_t)))
        else:
            out[name] = leaf.x_t + leaf.vector
    return out if isinstance(belief, dict) else out[""]


def remembered(process: Process, memory: Memory) -> Recalled | None:
    """The belief in a denoiser's memory; None if there is none."""
    parts = {k.removeprefix(_LEAF): v for k, v in (memory or {}).items() if k.startswith(_LEAF)}
    return Recalled(join(process, parts), (memory or {}).get(_ROWS)) if parts else None


def remember(memory: Memory, belief: Posterior) -> Memory:
    """The memory with this belief in the place of the last."""
    kept = {k: v for k, v in (memory or {}).items() if k != _ROWS and not k.startswith(_LEAF)}
    return {**kept, **{_LEAF + name: part for name, part in split(believed(belief)).items()}}


def shown_twice(
    denoiser: Denoiser,
    share: float,
    x_t: State,
    t: Times,
    condition: Any,
    rng: Stream,
    mask: Tensor | None = None,
) -> Memory:
    """The memory for a training question: first answers, without a gradient, of a share of the samples.

    Args:
        denoiser: what is trained.
        share: of samples, drawn by ``rng``.
        x_t, t, condition, mask: what will be asked.
        rng: one row for each sample.
    """
    chosen = rng.uniform((len(rng),)) < share
    i = torch.nonzero(chosen)[:, 0]
    i = i if len(i) else torch.zeros(1, dtype=torch.long)  # asked in any case, for what an answer looks like
    with torch.no_grad():
        some = {name: value.select(i) for name, value in condition.items()}
        belief, _ = denoiser(pick(x_t, i), pick(t, i), some, pick(mask, i))
        first = split(believed(belief))
    # autocast keeps its copies of the weights, and those of this question have no gradient
    torch.clear_autocast_cache()
    out = {}
    for name, part in first.items():
        out[_LEAF + name] = part.new_zeros(len(rng), *part.shape[1:]).index_copy_(0, i.to(part.device), part)
    device = next(iter(out.values())).device
    return {**out, _ROWS: chosen.to(device)}
