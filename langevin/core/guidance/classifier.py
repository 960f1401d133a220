r"""Guidance by the gradient of a log-probability (Dhariwal & Nichol, 2021, arXiv 2105.05233, Alg. 2).

Bayes' rule adds :math:`\nabla_{x_t} \log p(y \mid x_t)` to the score. In terms of beliefs, with scale s,

.. math:: \epsilon \leftarrow \epsilon - \sigma s \nabla, \qquad
          x \leftarrow x + \frac{\sigma^2}{\alpha} s \nabla,

which keeps α x + σ ε = x_t. At α = 0, where x_t says nothing about x and the gradient is 0, the belief
stays as it is. The log-probability may be one of x_t and t (a classifier that was trained on noisy data),
or one of clean data taken at the estimate x̂(x_t), the gradient then passing through the denoiser (Chung et
al., 2023, DPS, arXiv 2209.14687; Bansal et al., 2023, arXiv 2302.07121).

Rotations under IGSO(3) believe in σ² times the score, which takes σ² s times the gradient along the
tangent. Other leaves have no score, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.denoiser import Denoiser, Memory
from langevin.core.errors import unknown
from langevin.core.guidance.base import (
    Guidance,
    Question,
    answer,
    anywhere,
    checked,
    checked_interval,
    gates,
    select,
)
from langevin.core.posteriors import Categorical, Point, Posterior
from langevin.core.processes import Gaussian, Process, Rotations, State, join, split
from langevin.core.times import Times, of_leaf, scales

__all__ = ["Classifier", "classifier"]


@dataclass(frozen=True)
class Classifier(Guidance):
    """Classifier guidance; ``classifier(lambda x_t, t: net(x_t, t).log_softmax(-1)[:, 3], scale=2.0)``.

    Args:
        log_prob: (state, t) ↦ log-probabilities (B,), of which row i depends on sample i only,
            differentiable.
        scale: s; 0 is off.
        on: "x_t", the state is the noisy one; "x", it is the clean estimate (points: x̂; classes:
            probabilities (B, …, classes); rotations: matrices), which costs a backward pass through the
            denoiser.
        interval: times (low, high) in which to guide.

    Raises:
        ValueError: a scale that is not finite, an unknown ``on``; when called, a result that is not (B,) or
            does not depend on the state.
    """

    log_prob: Callable[[Any, Times], Tensor]
    scale: float = 1.0
    on: str = "x_t"
    _: KW_ONLY
    interval: Sequence[float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        checked("scale", self.scale)
        object.__setattr__(self, "interval", checked_interval(self.interval))
        if self.on not in ("x_t", "x"):
            raise ValueError(unknown("argument on of classifier", self.on, ("x_t", "x")))

    def _on(self, inner: Denoiser, t: Times) -> bool:
        return self.scale != 0 and anywhere(gates(inner.process, t, self.interval))  # type: ignore[arg-type]

    def gradients(self, inner: Denoiser, t: Times, count: int = 1) -> int:
        """Where guidance is on, one more of the noisy state, or one more of each clean estimate."""
        own = (1 if self.on == "x_t" else count) if self._on(inner, t) else 0
        return inner.gradients(t, count) + own

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        process, gate = inner.process, gates(inner.process, q.t, self.interval)  # type: ignore[arg-type]
        if not self._on(inner, q.t):
            return answer(inner, q)
        if self.on == "x_t":
            beliefs, memory = answer(inner, q)
            with torch.enable_grad():
                x_t = _leaf_state(q.x_t)
                slopes = [self._slope(x_t, x_t, q)] * len(beliefs)
        else:
            with torch.enable_grad():
                x_t = _leaf_state(q.x_t)
                alive, memory = answer(inner, replace(q, x_t=x_t))
                slopes = [self._slope(clean(belief, x_t), x_t, q) for belief in alive]
            beliefs = [_detached(process, belief, q.x_t) for belief in alive]
            memory = None if memory is None else {k: v.detach() for k, v in memory.items()}
        return [
            select(process, gate, self._shifted(process, belief, slope, q), belief)
            for belief, slope in zip(beliefs, slopes)
        ], memory

    def _slope(self, state: State, x_t: State, q: Question) -> dict[str, Tensor]:
        """The gradient of each sample's log-probability, by leaf; none for leaves that it does not depend
        on.
        """
        value = self.log_prob(state, q.t)
        if value.shape != (q.rows,):
            raise ValueError(
                f"log_prob must give one number for each of the {q.rows} samples, got {tuple(value.shape)}"
            )
        wanted = {name: leaf for name, leaf in split(x_t).items() if leaf.requires_grad}
        if not value.requires_grad:
            raise ValueError(
                "log_prob does not depend on the state by a differentiable way (was it detached?)"
            )
        found = torch.autograd.grad(value.sum(), list(wanted.values()), retain_graph=True, allow_unused=True)
        return {name: slope for name, slope in zip(wanted, found) if slope is not None}

    def _shifted(
        self, process: Process, belief: Posterior, slopes: dict[str, Tensor], q: Question
    ) -> Posterior:
        parts = dict(split(belief))
        for name, slope in slopes.items():
            leaf, kind = parts[name], process.leaves[name]
            if isinstance(leaf, Point) and isinstance(kind, Gaussian):
                slope = kind.centre(slope, q.mask) if kind.centred else kind.fill(slope, q.mask)
                parts[name] = self._point(leaf, slope)
            elif isinstance(kind, Rotations) and kind.kernel.stochastic:
                sigma = scales(kind.schedule, of_leaf(q.t, name), leaf.vector[..., 0])[1]
                gain = torch.as_tensor(self.scale * sigma * sigma, dtype=slope.dtype, device=slope.device)[
                    ..., None
                ]
                vector = leaf.vector + gain * _body(leaf.x_t, slope)
                parts[name] = replace(leaf, vector=kind.fill(vector, q.mask))
        return join(process, parts)

    def _point(self, p: Point, slope: Tensor) -> Point:
        alpha, sigma = scales(p.schedule, p.t, p.x)
        if not isinstance(alpha, Tensor) and not isinstance(sigma, Tensor):
            if alpha == 0:
                return p
            return replace(
                p,
                x=torch.add(p.x, slope, alpha=self.scale * sigma * sigma / alpha),
                eps=torch.add(p.eps, slope, alpha=-self.scale * sigma),
            )
        alpha, sigma = torch.as_tensor(alpha), torch.as_tensor(sigma)
        slope = torch.where(alpha == 0, 0.0, slope) * self.scale
        safe = torch.where(alpha == 0, 1.0, alpha)
        return replace(p, x=p.x + sigma * sigma / safe * slope, eps=p.eps - sigma * slope)


def _leaf_state(x: State) -> State:
    """The state cut off from any graph, its real-valued leaves ready for a gradient."""
    parts = {name: part.detach() for name, part in split(x).items()}
    parts = {
        name: part.requires_grad_() if part.is_floating_point() else part for name, part in parts.items()
    }
    return parts if isinstance(x, dict) else parts[""]


def _detached(process: Process, belief: Posterior, x_t: State) -> Posterior:
    """The same belief about the caller's x_t, without a graph."""
    states, out = split(x_t), {}
    for name, leaf in split(belief).items():
        values = {f.name: getattr(leaf, f.name) for f in fields(leaf)}
        cut = {key: value.detach() for key, value in values.items() if isinstance(value, Tensor)}
        if "x_t" in cut:
            cut["x_t"] = states[name]
        out[name] = replace(leaf, **cut)
    return join(process, out)


def clean(belief: Posterior, x_t: State) -> Any:
    """The differentiable clean estimate of a belief: x̂, class probabilities, the end of the tangent."""
    states, out = split(x_t), {}
    for name, leaf in split(belief).items():
        if isinstance(leaf, Point):
            out[name] = leaf.x
        elif isinstance(leaf, Categorical):
            out[name] = leaf.probabilities
        else:
            here = states[name]
            out[name] = here + leaf.vector if leaf.vector.shape == here.shape else here @ so3.exp(leaf.vector)
    return out if isinstance(belief, dict) else out[""]


def _body(r: Tensor, slope: Tensor) -> Tensor:
    """A gradient by the entries of R as one by v of R Exp(v) at v = 0: (…, 3, 3) to (…, 3)."""
    a = r.mT @ slope
    return torch.stack(
        [a[..., 2, 1] - a[..., 1, 2], a[..., 0, 2] - a[..., 2, 0], a[..., 1, 0] - a[..., 0, 1]], -1
    )


classifier = Classifier
