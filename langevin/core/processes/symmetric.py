r"""Symmetric states: K copies of a unit, one for each rotation of a finite group.

With elements in the order of the copies, unit 0 first, and rotations :math:`R_0 = 1, R_1, …`, a state is symmetric where

.. math:: x^{(k)} = R_k\, x^{(0)}, \qquad F^{(k)} = R_k F^{(0)}, \qquad a^{(k)} = a^{(0)}

for points x, frames F, and everything else a (classes; tangents of frames, which are in the frame of the body). Constant
leaves, as the number of an element's chain, are each copy's own.
:class:`Symmetric` noises and un-noises the unit by the leaves' own rules and carries it to the copies, so that states are
symmetric to rounding whatever the sampler and the network do. Noise is drawn for the unit and carried over: each element has
the variance that it would have alone. (A mean of independent noises over the copies would have 1/K of it.)

Where is the centre? The mean of the whole is the mean of the unit, projected on what all rotations leave in place,
:math:`P = K^{-1} \sum_k R_k`. Of D\ :sub:`n`, T, O and I nothing is: P = 0, and every symmetric state is centred. Of
C\ :sub:`n` it is the axis: the whole lies on the axis but could drift along it. So for centred leaves P times its mean is
taken from the unit, of noise and of states: along the axis the unit is centred (its noise has the variance 1 − 1/n there,
n elements), across it stands off as far as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.errors import unknown
from langevin.core.posteriors import Categorical, Leaf, Point, Posterior, Tangent
from langevin.core.processes.base import LeafProcess, Process, State, join, split
from langevin.core.processes.constant import Constant
from langevin.core.processes.gaussian import Gaussian
from langevin.core.processes.product import Product
from langevin.core.processes.rotations import Rotations
from langevin.core.rng import Stream
from langevin.core.times import Times

__all__ = ["Copies", "Symmetric"]


@dataclass(frozen=True)
class Copies:
    """Where the elements of the copies are; padding may lie at the end, or after every copy.

    Attributes:
        where: (B or 1, K, n) places of the elements of each copy along axis 1 of a state.
        element: (B or 1, L) which element of the unit stands at each place.
        copy: (B or 1, L) and of which copy.
        mask: (B, n) True on real elements of the unit; None where all are.
        real: (B, L) that of the whole.
    """

    where: Tensor
    element: Tensor
    copy: Tensor
    mask: Tensor | None
    real: Tensor | None

    @staticmethod
    def of(length: int, count: int, mask: Tensor | None, device: torch.device) -> Copies:
        """The places of ``count`` copies in states of ``length`` elements.

        Raises:
            ValueError: a number of real elements that ``count`` does not divide.
        """
        sizes = torch.tensor([length]) if mask is None else mask.sum(1)
        odd = sizes[sizes % count != 0].tolist()
        if odd:
            low = odd[0] // count * count
            near = f"{low} or {low + count}" if low else f"{count}"
            raise ValueError(
                f"{odd[0]} elements are not {count} copies of a unit; the nearest number is {near}"
            )
        place = torch.arange(length, device=device)
        unit = sizes // count  # (B,)
        n = int(unit.max())
        i, k = torch.arange(n, device=device), torch.arange(count, device=device)
        if mask is None:
            return Copies((k[:, None] * n + i)[None], (place % n)[None], (place // n)[None], None, None)
        order = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)  # places of real elements first
        rank = (k[:, None] * unit[:, None, None] + i).clamp(max=length - 1)  # (B, K, n)
        where = order.gather(1, rank.flatten(1)).view_as(rank)
        place = (mask.long().cumsum(1) - 1).clamp(min=0)
        unit = unit[:, None].clamp(min=1)
        return Copies(where, place % unit, place // unit % count, i < unit, mask)

    def unit(self, value: Any) -> Any:
        """The part of the unit: of tensors (B, L, …), and of states, beliefs and times made of these."""
        if isinstance(value, dict):
            return {name: self.unit(part) for name, part in value.items()}
        if isinstance(value, (Point, Categorical, Tangent)):
            parts = {f.name: self.unit(getattr(value, f.name)) for f in fields(value) if f.name != "schedule"}
            return replace(value, **parts)
        if not isinstance(value, Tensor) or value.ndim < 2:
            return value  # a time of whole samples, or nothing
        return self._at(value, self.where[:, 0])

    def all(self, value: Tensor) -> Tensor:
        """The copies side by side: (B, L, …) to (B, K, n, …)."""
        return self._at(value, self.where)

    def spread(self, unit: Tensor) -> Tensor:
        """The unit in the place of every copy: (B, n, …) to (B, L, …)."""
        return self._at(unit, self.element)

    def _at(self, value: Tensor, index: Tensor) -> Tensor:
        rows = torch.arange(value.shape[0], device=value.device)
        return value[rows.reshape(-1, *(1,) * (index.ndim - 1)), index]


@dataclass(frozen=True)
class _Unit(Gaussian):
    """Points of a unit, whose copies are centred together: P times the mean is taken away."""

    _: KW_ONLY
    fixed: Tensor = field(default_factory=lambda: torch.eye(3), compare=False)

    def centre(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        off = x - super().centre(x, mask)  # the mean on real elements
        return self.fill(x - off @ self.fixed.to(x).T, mask)


class Symmetric(Process):
    """A process of symmetric states around one of states without symmetry.

    Args:
        inner: how states are noised; its leaves have one element axis.
        rotations: (K, 3, 3), a group with the identity first.
        points: Gaussian leaves (B, L, …, 3) whose values turn with the copies. Rotation leaves turn too, constant leaves
            stay as they are, and all others are alike in all copies.

    Raises:
        ValueError: rotations of another shape or whose first is not the identity, or a leaf of pairs.
        KeyError: a name that is no leaf.
    """

    def __init__(self, inner: Process, rotations: Tensor, points: Sequence[str] = ()) -> None:
        if rotations.ndim != 3 or rotations.shape[1:] != (3, 3) or len(rotations) == 0:
            raise ValueError(f"rotations must have shape (K, 3, 3), got {tuple(rotations.shape)}")
        if not torch.allclose(
            rotations[0].double(), torch.eye(3, dtype=torch.float64, device=rotations.device)
        ):
            raise ValueError("the first rotation must be the identity, that of the unit")
        for name in points:
            if name not in inner.leaves:
                raise KeyError(unknown("leaf", name, inner.leaves))
            if not isinstance(inner.leaves[name], Gaussian):
                raise ValueError(
                    f"points are a Gaussian leaf; {name!r} is {type(inner.leaves[name]).__name__}"
                )
        pairs = [name for name, leaf in inner.leaves.items() if leaf.pair]
        if pairs:
            raise ValueError(f"symmetric states have no leaves of pairs; this process has {', '.join(pairs)}")
        self.inner, self.rotations, self.points = inner, rotations, tuple(points)
        fixed = rotations.double().mean(0)
        units = {name: self._of_unit(name, leaf, fixed) for name, leaf in inner.leaves.items()}
        self._unit: Process = units[""] if "" in units else Product(**units)

    def __repr__(self) -> str:
        return f"Symmetric({self.inner!r}, {len(self.rotations)} copies)"

    def _of_unit(self, name: str, leaf: LeafProcess, fixed: Tensor) -> LeafProcess:
        if name in self.points and isinstance(leaf, Gaussian) and leaf.centred:
            return _Unit(**{f.name: getattr(leaf, f.name) for f in fields(Gaussian)}, fixed=fixed)
        return leaf

    @property
    def leaves(self) -> Mapping[str, LeafProcess]:
        """Those of ``inner``: schedules, orders and kinds are theirs, the noise of a whole state is not."""
        return self.inner.leaves

    def copies(self, x: State, mask: Tensor | None = None) -> Copies:
        """Where the copies are in states (B, L, …).

        Raises:
            ValueError: a number of elements that the number of copies does not divide.
        """
        like = next(iter(split(x).values()))
        return Copies.of(like.shape[1], len(self.rotations), mask, like.device)

    def carried(self, unit: State, at: Copies, whole: State) -> State:
        """The whole state of a unit (B, n, …), with the constant leaves of ``whole``."""
        own, parts = split(whole), split(unit)
        return join(self, {name: self._carried(name, parts[name], at, own[name]) for name in parts})  # type: ignore[no-any-return]

    def symmetrised(self, x: State, mask: Tensor | None = None) -> State:
        """A state with the copies that its unit has, centred where the leaf is; symmetric states stay as they are."""
        at = self.copies(x, mask)
        parts = at.unit(split(x))
        for name, leaf in self._unit.leaves.items():
            if isinstance(leaf, Gaussian) and leaf.centred:
                parts[name] = leaf.centre(parts[name], at.mask)
        return self.carried(join(self, parts), at, x)

    def believed(self, belief: Posterior, x_t: State, mask: Tensor | None = None) -> Posterior:
        """A belief about a symmetric ``x_t``, averaged over the copies in the frame of the unit, and carried back."""
        at, states = self.copies(x_t, mask), split(x_t)
        parts = {name: self._believed(name, leaf, states[name], at) for name, leaf in split(belief).items()}
        return join(self, parts)  # type: ignore[no-any-return]

    def _believed(self, name: str, leaf: Leaf, x_t: Tensor, at: Copies) -> Leaf:
        mean = lambda value, turns: self._mean(value, turns, at)  # noqa: E731
        if isinstance(leaf, Point):
            turns = name in self.points
            more = None if leaf.log_var is None else mean(leaf.log_var, False)
            x, eps = mean(leaf.x, turns), mean(leaf.eps, turns)
            return replace(leaf, x=x, eps=eps, x_t=x_t, log_var=more)
        if isinstance(leaf, Categorical):
            return Categorical(mean(leaf.logits, False))
        return Tangent(mean(leaf.vector, False), x_t)

    def _mean(self, value: Tensor, turns: bool, at: Copies) -> Tensor:
        """The mean over copies, carried to all of them; padding stays as it is."""
        copies = at.all(value)  # (B, K, n, …)
        if turns:
            back = self.rotations.to(value).mT
            copies = _turn(back.reshape(1, -1, *(1,) * (copies.ndim - 3), 3, 3), copies)
        unit = copies.mean(1)
        return self._filled(self._turned(unit, at) if turns else at.spread(unit), at, value)

    def _turned(self, unit: Tensor, at: Copies) -> Tensor:
        """Points of the unit as points of all copies, (B, n, …, 3) to (B, L, …, 3)."""
        turns = self.rotations.to(unit)[at.copy]  # (B or 1, L, 3, 3)
        turns = turns.reshape(*turns.shape[:2], *(1,) * (unit.ndim - 3), 3, 3)
        return _turn(turns, at.spread(unit))

    def _carried(self, name: str, unit: Tensor, at: Copies, own: Tensor) -> Tensor:
        leaf = self.leaves[name]
        if isinstance(leaf, Constant):
            return leaf.fill(own, at.real)
        if isinstance(leaf, Rotations):
            return self._filled(self.rotations.to(unit)[at.copy] @ at.spread(unit), at, torch.eye(3).to(unit))
        return leaf.fill(self._turned(unit, at) if name in self.points else at.spread(unit), at.real)

    @staticmethod
    def _filled(whole: Tensor, at: Copies, padding: Tensor) -> Tensor:
        if at.real is None:
            return whole
        return torch.where(at.real.reshape(*at.real.shape, *(1,) * (whole.ndim - 2)), whole, padding)

    def prior(self, like: State, rng: Stream, mask: Tensor | None = None) -> State:
        at = self.copies(like, mask)
        return self.carried(self._unit.prior(at.unit(like), rng, at.mask), at, like)

    def corrupt(
        self, x: State, t: Times, rng: Stream, since: Times = 0.0, mask: Tensor | None = None
    ) -> State:
        at = self.copies(x, mask)
        return self.carried(self._unit.corrupt(at.unit(x), at.unit(t), rng, at.unit(since), at.mask), at, x)

    def posterior(self, output: Any, x_t: State, t: Times, kind: Any = None) -> Posterior:
        """The belief that a network output about the whole expresses; :meth:`believed` makes it symmetric."""
        return self.inner.posterior(output, x_t, t, kind)

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
        at = self.copies(x_t, mask)
        belief, times = at.unit(posterior), (at.unit(t), at.unit(s))
        return self.carried(self._unit.update(at.unit(x_t), belief, *times, rng, eta, at.mask), at, x_t)

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
        """The loss of the unit, shape (B,), a dict of them for a product."""
        at = self.copies(x_t, mask)
        belief, states = at.unit(posterior), (at.unit(x), at.unit(x_t))
        return self._unit.loss(belief, *states, at.unit(t), rng, kind, at.mask)


def _turn(rotations: Tensor, x: Tensor) -> Tensor:
    """R x for vectors (…, 3)."""
    return (rotations @ x[..., None])[..., 0]
