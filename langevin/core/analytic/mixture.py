r"""Mixtures: a component k with probability w_k, and leaves that are independent given the component.

Every leaf is evidence about the component, so the belief of one depends on the noisy state of all:

.. math:: r_k \propto w_k \prod_{\text{leaves}} p(x_t^{(l)} \mid k), \qquad
          \text{belief}^{(l)} = \sum_k r_k\, \text{belief}_k^{(l)} .

A sampler that keeps the leaves' clocks, beliefs or noise apart wrongly loses the correlations between them,
which is what a test looks for. Clocks may differ by leaf: the likelihoods multiply all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from langevin.core.analytic.leaves import Classes, Component, Frames, Points
from langevin.core.analytic.normals import Normals, checked_weights
from langevin.core.denoiser import Condition, Denoiser, Memory
from langevin.core.errors import unknown
from langevin.core.posteriors import Posterior
from langevin.core.processes import Discrete, Gaussian, Process, Product, Rotations, State, join, split
from langevin.core.rng import Stream
from langevin.core.times import Time, Times, of_leaf

__all__ = ["JointMixtureDenoiser", "MixtureDenoiser"]


class _Mixture(Denoiser):
    """What mixtures of one leaf and of several have in common.

    The condition ``label`` (int64, (B,)) multiplies the weight of component k by ``labels[label, k]``;
    without ``labels``, label k is component k.
    """

    def __init__(
        self,
        process: Process,
        weights: Sequence[float] | Tensor,
        parts: Mapping[str, Component],
        labels: Any = None,
    ) -> None:
        self.process = process
        self.weights = checked_weights(weights)
        self.parts = dict(parts)
        count = self.weights.numel()
        factors = torch.eye(count) if labels is None else torch.as_tensor(labels)
        self.labels = factors.double()
        if self.labels.ndim != 2 or self.labels.shape[1] != count or bool((self.labels < 0).any()):
            raise ValueError(
                f"labels must be factors of at least 0, shape (labels, {count}), "
                f"got shape {tuple(self.labels.shape)}"
            )
        if bool((self.labels @ self.weights <= 0).any()):
            raise ValueError("every label must leave some component possible")

    def log_weights(self, condition: Condition | None, rows: int) -> Tensor:
        """log-probabilities of the components under a condition, float64 (B, K).

        Raises:
            KeyError: another condition than ``label``.
            ValueError: a label out of range, or not one for each row.
        """
        for name in condition or {}:
            if name != "label":
                raise KeyError(unknown("condition", name, ["label"]))
        if not condition:
            return self.weights.log().expand(rows, -1)
        label = torch.as_tensor(condition["label"])
        if label.shape != (rows,) or label.min() < 0 or label.max() >= len(self.labels):
            raise ValueError(
                f"label needs {rows} integers in 0 … {len(self.labels) - 1}, "
                f"got {label.flatten()[:8].tolist()}"
            )
        joint = self.weights.to(label.device) * self.labels.to(label.device)[label]
        return (joint / joint.sum(1, keepdim=True)).log()

    def _read(
        self, x_t: State, t: Times, condition: Condition | None, mask: Tensor | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """(log of w_k p(x_t | k), (B, K); for each leaf the belief as a function of the components'
        weights).
        """
        states = split(x_t)
        first = next(iter(states.values()))
        total = self.log_weights(condition, first.shape[0]).to(first.device)
        believe = {}
        for name, part in self.parts.items():
            log, believe[name] = part.read(self.process.leaves[name], states[name], of_leaf(t, name), mask)
            total = total + log
        return total, believe

    def components(
        self, x_t: State, t: Times, condition: Condition | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """log p(k | x_t), float64 (B, K); differentiable in x_t."""
        return self._read(x_t, t, condition, mask)[0].log_softmax(1)

    def __call__(
        self,
        x_t: State,
        t: Times,
        condition: Condition | None = None,
        mask: Tensor | None = None,
        memory: Memory = None,
    ) -> tuple[Posterior, Memory]:
        total, believe = self._read(x_t, t, condition, mask)
        share = total.softmax(1)
        return join(self.process, {name: f(share) for name, f in believe.items()}), memory

    def draw(self, n: int, rng: Stream, condition: Condition | None = None) -> tuple[State, Tensor]:
        """``n`` draws of clean data and the components they came from, (n,); ``rng`` has n rows."""
        p = self.log_weights(condition, n).exp().cpu()
        u = rng.fold("component").uniform((n, 1), torch.float64).cpu()
        index = (u >= p.cumsum(1)).sum(1).clamp(max=p.shape[1] - 1)
        parts = {name: part.draw(index, rng.fold("data", name)) for name, part in self.parts.items()}
        return join(self.process, parts), index

    def sample_data(self, n: int, rng: Stream, condition: Condition | None = None) -> State:
        """``n`` draws of clean data (float64, int64); ``rng`` has n rows."""
        return self.draw(n, rng, condition)[0]


class MixtureDenoiser(_Mixture):
    """The exact denoiser of a mixture of normals on one Gaussian leaf.

    Args:
        process: how the leaf is noised.
        weights: K probabilities; normalised.
        means: (K, …), of the shape of one sample.
        stds: a number, (K,), or what broadcasts to ``means``.
        covariances: (D, D) or (K, D, D) over flattened features, instead of ``stds``.
        labels: (labels, K) factors that ``condition={"label": (B,)}`` puts on the weights; rows of 0 and 1
            restrict to some components. None: label k is component k.

    Raises:
        ValueError: shapes or numbers of components that do not fit.
    """

    def __init__(
        self,
        process: Gaussian,
        weights: Sequence[float] | Tensor,
        means: Any,
        stds: Any = None,
        covariances: Any = None,
        labels: Any = None,
    ) -> None:
        super().__init__(process, weights, {"": Points(Normals.of(means, stds, covariances))}, labels)
        _count("means", means, self.weights)

    def log_prob(self, x: Tensor, t: Time = 0.0, condition: Condition | None = None) -> Tensor:
        """log p_t(x), (B,), in nats."""
        return self._read(x, t, condition, None)[0].logsumexp(1)


class JointMixtureDenoiser(_Mixture):
    """The exact denoiser of a mixture over a product of a Gaussian, a discrete and a rotation leaf, or some
    of these.

    Each component fixes a normal for the positions, a categorical for the types and a rotation for the
    frames. The leaves are found by their kind; their names are free. Elements of a leaf are independent
    given the component.

    Args:
        process: a product with at most one leaf of each kind.
        weights: K probabilities; normalised.
        means, stds, covariances: of the Gaussian leaf, as in :class:`MixtureDenoiser`.
        type_probabilities: of the discrete leaf (B, L): (K, classes), or (K, L, classes).
        rotations: of the rotation leaf (B, L, 3, 3): (K, 3, 3), or (K, L, 3, 3).
        labels: as in :class:`MixtureDenoiser`.

    Raises:
        ValueError: laws that are missing or have no leaf, two leaves of one kind, or numbers that do not fit.
    """

    def __init__(
        self,
        process: Product,
        weights: Sequence[float] | Tensor,
        means: Any = None,
        stds: Any = None,
        type_probabilities: Any = None,
        rotations: Any = None,
        covariances: Any = None,
        labels: Any = None,
    ) -> None:
        checked = checked_weights(weights)
        parts: dict[str, Component] = {}
        for kind, what, given in (
            (Gaussian, "means", means),
            (Discrete, "type_probabilities", type_probabilities),
            (Rotations, "rotations", rotations),
        ):
            names = [name for name, leaf in process.leaves.items() if isinstance(leaf, kind)]
            if len(names) != (given is not None):
                raise ValueError(
                    f"{what} describe a {kind.__name__} leaf: give them where the product has one, "
                    f"and only there (it has {names or 'none'})"
                )
            if given is None:
                continue
            _count(what, given, checked)
            if kind is Gaussian:
                parts[names[0]] = Points(Normals.of(given, stds, covariances))
            else:
                parts[names[0]] = Classes.of(given) if kind is Discrete else Frames.of(given)
        _complete(parts, process.leaves)
        super().__init__(process, checked, {name: parts[name] for name in process.leaves}, labels)


def _count(what: str, given: Any, weights: Tensor) -> None:
    if len(given) != weights.numel():
        raise ValueError(
            f"{what} must have one entry for each of the {weights.numel()} weights, got {len(given)}"
        )


def _complete(parts: Mapping[str, Component], names: Iterable[str]) -> None:
    missing = [name for name in names if name not in parts]
    if missing:
        raise ValueError(
            f"a joint mixture has Gaussian, discrete and rotation leaves; it cannot describe {missing}"
        )
