"""A product of processes: a dict of leaves noised each by its own process, with coupled or separate clocks.

Every operation maps over the leaves; random streams are folded with the leaf's name, so that leaves are independent
draws and adding a leaf does not change the noise of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from langevin.core.errors import unknown
from langevin.core.posteriors import Posterior
from langevin.core.processes.base import LeafProcess, Process
from langevin.core.processes.gaussian import Gaussian
from langevin.core.rng import Stream
from langevin.core.times import Times, of_leaf

__all__ = ["Product"]


class Product(Process):
    """``Product(positions=Gaussian(centred=True), types=Discrete(5))``: a process of states ``{"positions", "types"}``.

    A time is one clock for all leaves, or a dict of clocks by leaf. Parametrisations and losses are given by leaf, in a
    dict, or for all alike; so is the mask of a loss.

    Raises:
        ValueError: no leaves.
        KeyError: a state with other leaves than these.
    """

    def __init__(self, **leaves: LeafProcess) -> None:
        if not leaves:
            raise ValueError("Product needs at least one leaf, as Product(positions=Gaussian(), …)")
        self._leaves = MappingProxyType(dict(leaves))

    @property
    def leaves(self) -> Mapping[str, LeafProcess]:
        return self._leaves

    def __repr__(self) -> str:
        return f"Product({', '.join(f'{name}={leaf!r}' for name, leaf in self._leaves.items())})"

    def _check(self, x: Any) -> None:
        if not isinstance(x, dict):
            raise TypeError(
                f"a product of {list(self._leaves)} needs a dict of tensors, got {type(x).__name__}"
            )
        for name in x:
            if name not in self._leaves:
                raise KeyError(unknown("leaf", name, self._leaves))
        missing = [name for name in self._leaves if name not in x]
        if missing:
            raise KeyError(f"the state lacks the leaves {missing}; it has {list(x)}")

    def prior(self, like: Any, rng: Stream, mask: Tensor | None = None) -> dict[str, Tensor]:
        self._check(like)
        return {name: leaf.prior(like[name], rng.fold(name), mask) for name, leaf in self._leaves.items()}  # type: ignore[misc]

    def corrupt(
        self, x: Any, t: Times, rng: Stream, since: Times = 0.0, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        self._check(x)
        return {
            name: leaf.corrupt(x[name], of_leaf(t, name), rng.fold(name), of_leaf(since, name), mask)  # type: ignore[misc]
            for name, leaf in self._leaves.items()
        }

    def posterior(self, output: Any, x_t: Any, t: Times, kind: Any = None) -> Posterior:
        self._check(x_t)
        return {
            name: leaf.posterior(output[name], x_t[name], of_leaf(t, name), _by_leaf(kind, name, leaf))  # type: ignore[misc]
            for name, leaf in self._leaves.items()
        }

    def update(
        self,
        x_t: Any,
        posterior: Any,
        t: Times,
        s: Times,
        rng: Stream,
        eta: float = 0.0,
        mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        return {
            name: leaf.update(  # type: ignore[misc]
                x_t[name], posterior[name], of_leaf(t, name), of_leaf(s, name), rng.fold(name), eta, mask
            )
            for name, leaf in self._leaves.items()
        }

    def loss(
        self,
        posterior: Any,
        x: Any,
        x_t: Any,
        t: Times,
        rng: Stream,
        kind: Any = None,
        mask: Any = None,
    ) -> dict[str, Tensor]:
        return {
            name: leaf.loss(
                posterior[name],
                x[name],
                x_t[name],
                of_leaf(t, name),
                rng.fold(name),
                _by_leaf(kind, name, leaf),
                mask[name] if isinstance(mask, dict) else mask,
            )
            for name, leaf in self._leaves.items()
        }


def _by_leaf(kind: Any, name: str, leaf: LeafProcess) -> Any:
    """A setting given by leaf, or one for all Gaussian leaves (the only ones that have a choice in common)."""
    if isinstance(kind, dict):
        return kind.get(name)
    return kind if isinstance(leaf, Gaussian) else None
