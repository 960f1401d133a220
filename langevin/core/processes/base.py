"""Process: how a leaf is noised and un-noised. A product of processes is a process.

A process is pure: it holds a schedule and settings, never a trajectory. ``update`` is the leaf rule — one reverse (or,
for s > t, forward) move from a given belief — and leaves the question of how often the network is asked, and how beliefs
are combined, to the sampler.

Conventions. A leaf is (B, L, …) with one element axis, or (B, L, L, …) with two (bonds: ``pair=True``). The mask is
(B, L), True on real elements, and never a leaf; elements outside the mask are set to the leaf's ``padding``. A pair is
real where both its elements are, and lives at the later of their two times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from langevin.core.times import Time, Times

if TYPE_CHECKING:
    from langevin.core.posteriors import Posterior
    from langevin.core.rng import Stream

__all__ = ["LeafProcess", "Process", "State", "join", "split"]

State: TypeAlias = Tensor | dict[str, Tensor]


class Process(ABC):
    """prior · corrupt · posterior · update · loss, on a tensor or on a dict of them; all take the mask."""

    @property
    @abstractmethod
    def leaves(self) -> Mapping[str, LeafProcess]:
        """The leaf processes by name; a lone leaf is named ``""``."""

    @abstractmethod
    def prior(self, like: State, rng: Stream, mask: Tensor | None = None) -> State:
        """A draw at t = 1 with the shape, dtype and device of ``like``."""

    @abstractmethod
    def corrupt(
        self, x: State, t: Times, rng: Stream, since: Times = 0.0, mask: Tensor | None = None
    ) -> State:
        """A draw of x_t given x at time ``since`` ≤ t; t = ``since`` gives x back."""

    @abstractmethod
    def posterior(self, output: Any, x_t: State, t: Times, kind: Any = None) -> Posterior:
        """The belief that a network output expresses, in the parametrisation ``kind``."""

    @abstractmethod
    def update(
        self,
        x_t: State,
        posterior: Posterior,
        t: Times,
        s: Times,
        rng: Stream,
        eta: float = 0.0,
        mask: Tensor | None = None,
    ) -> State:
        """x_s from x_t and a belief about clean data; η scales the fresh noise from none (0) to ancestral (1)."""

    @abstractmethod
    def loss(
        self,
        posterior: Posterior,
        x: State,
        x_t: State,
        t: Times,
        rng: Stream,
        kind: Any = None,
        mask: Tensor | None = None,
    ) -> Any:
        """The training loss of each sample, shape (B,), a dict of them for a product.

        ``rng`` is the key that ``corrupt`` was given: keys are immutable, so a leaf draws its noise again instead of
        recovering it by a division that fails at t = 0.
        """


class LeafProcess(Process):
    """A process of one tensor.

    Class attributes:
        order: the highest order of a multistep solver that this leaf can use.
        pair: whether the leaf has two element axes.
    """

    order: ClassVar[int] = 1
    pair: bool = False

    @property
    def target(self) -> str | None:
        """The loss that the leaf is trained for where nobody chooses: a ``kind`` of :meth:`loss`; None is its only one."""
        return None

    @property
    def parametrisations(self) -> tuple[str, ...]:
        """Every ``kind`` of :meth:`posterior` that can be chosen by name."""
        return ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Every ``kind`` of :meth:`loss` that can be chosen by name."""
        return ()

    @property
    def leaves(self) -> Mapping[str, LeafProcess]:
        return {"": self}

    def real(self, mask: Tensor | None) -> Tensor | None:
        """The mask of this leaf: (B, L), or (B, L, L) for pairs."""
        if mask is None or not self.pair:
            return mask
        return mask[:, :, None] & mask[:, None, :]

    def clock(self, t: Time) -> Time:
        """The time of each element of this leaf: a pair takes the later of its two."""
        if self.pair and isinstance(t, Tensor) and t.ndim == 2:
            return torch.maximum(t[:, :, None], t[:, None, :])
        return t

    def mean(self, error: Tensor, mask: Tensor | None) -> Tensor:
        """The mean of an elementwise error over features and real elements, shape (B,)."""
        real = self.real(mask)
        if real is None:
            return error.flatten(1).mean(1)
        weight = real.reshape(real.shape + (1,) * (error.ndim - real.ndim)).expand_as(error).to(error.dtype)
        return (error * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1)

    def fill(self, x: Tensor, mask: Tensor | None, value: float = 0.0) -> Tensor:
        """``x`` with ``value`` outside the mask."""
        real = self.real(mask)
        if real is None:
            return x
        return torch.where(
            real.reshape(real.shape + (1,) * (x.ndim - real.ndim)), x, torch.as_tensor(value, dtype=x.dtype)
        )


def split(value: Any) -> dict[str, Any]:
    """A state, belief or clock by leaf: a dict as it is, anything else as the lone leaf ``""``."""
    return value if isinstance(value, dict) else {"": value}


def join(process: Process, parts: dict[str, Any]) -> Any:
    """The inverse of :func:`split` for this process."""
    return parts[""] if "" in process.leaves else parts
