r"""Discrete leaves: tokens, elements, charges, bonds, residues.

α_t of the schedule is the probability that a class is unchanged at time t; with 1 − α_t it has become the mask token
(``masked``, index ``classes``) or a uniform draw (``uniform``). Both reverse steps are exact for any step size given the
belief about the clean class (Austin et al., 2021, D3PM, arXiv 2107.03006, Eq. 3; Sahoo et al., 2024, MDLM, arXiv
2406.07524; Shi et al., 2024, arXiv 2406.04329):

* masked: an unmasked element stays; a masked one is revealed with probability (α_s − α_t) / (1 − α_t);
* uniform: q(x_s | x_t, x) averaged over the belief.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from langevin.core.errors import unknown
from langevin.core.posteriors import Categorical
from langevin.core.processes.base import LeafProcess
from langevin.core.rng import Stream
from langevin.core.schedules import Linear, Schedule
from langevin.core.times import Time, broadcast, shaped

__all__ = ["Discrete"]


@dataclass(frozen=True)
class Discrete(LeafProcess):
    """A leaf of class indices, int64 of shape (B, L) — or (B, L, L) with ``pair=True``, symmetric, one draw per pair.

    Args:
        classes: number of clean classes; the mask token of ``kind="masked"`` is the index ``classes``.
        schedule: its α_t is the probability of being unchanged.
        kind: "masked" (absorbing) or "uniform".
        pair: two element axes and symmetric draws.
    """

    classes: int
    schedule: Schedule = Linear()
    kind: str = "masked"
    pair: bool = False

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"classes must be at least 2, got {self.classes}")
        if self.kind not in ("masked", "uniform"):
            raise ValueError(unknown("kind of Discrete", self.kind, ("masked", "uniform")))

    @property
    def tokens(self) -> int:
        """How many values a noisy element can take: the classes, and the mask token if there is one."""
        return self.classes + (self.kind == "masked")

    @property
    def target(self) -> str:
        """The bound on −log p where there is one (masked), else the cross-entropy."""
        return "elbo" if self.kind == "masked" else "cross-entropy"

    @property
    def targets(self) -> tuple[str, ...]:
        return ("cross-entropy", "elbo") if self.kind == "masked" else ("cross-entropy",)

    def _alpha(self, t: Time, like: Tensor) -> Tensor:
        """α_t, shaped to multiply the leaf ``like``."""
        if isinstance(t, Tensor):
            own: Any = self.clock(t)
            return shaped(self.schedule(own.to(like.device))[0], like)
        return torch.tensor(self.schedule.at(t)[0], device=like.device, dtype=torch.float32)

    def _unit(self, like: Tensor, rng: Stream) -> Tensor:
        """Uniforms in (0, 1), one per element; one per unordered pair for a pair leaf."""
        u = rng.uniform(like.shape).to(like.device)
        if self.pair:
            u = u.triu() + u.triu(1).transpose(1, 2)
        return u

    def _uniform_class(self, like: Tensor, rng: Stream) -> Tensor:
        return (self._unit(like, rng) * self.classes).long().clamp_(max=self.classes - 1)

    def _draw(self, probabilities: Tensor, rng: Stream) -> Tensor:
        """A class for each element by inversion of the cumulative distribution, (B, …, K) → (B, …)."""
        total = probabilities.double() if probabilities.device.type != "mps" else probabilities
        cumulative = total.cumsum(-1)
        u = self._unit(probabilities[..., 0], rng).to(cumulative.dtype)
        drawn = (u[..., None] * cumulative[..., -1:] >= cumulative).sum(-1)
        return drawn.clamp_(max=probabilities.shape[-1] - 1)

    def prior(self, like: Tensor, rng: Stream, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        if self.kind == "masked":
            return self.fill(torch.full_like(like, self.classes), mask)
        return self.fill(self._uniform_class(like, rng.fold("noise")), mask)

    def corrupt(  # type: ignore[override]
        self, x: Tensor, t: Time, rng: Stream, since: Time = 0.0, mask: Tensor | None = None
    ) -> Tensor:
        alpha_t, alpha_s = self._alpha(t, x), self._alpha(since, x)
        kept = alpha_t / alpha_s.clamp(min=1e-38)
        change = (self._unit(x, rng.fold("noise")) >= kept) & (alpha_t != alpha_s)
        other = (
            torch.full_like(x, self.classes)
            if self.kind == "masked"
            else self._uniform_class(x, rng.fold("noise", "class"))
        )
        return self.fill(torch.where(change, other, x), mask)

    def posterior(self, output: Tensor, x_t: Tensor, t: Time, kind: Any = None) -> Categorical:  # type: ignore[override]
        """The belief of logits (B, …, classes).

        Raises:
            ValueError: the last axis is not the number of classes.
        """
        if output.shape[-1] != self.classes:
            raise ValueError(
                f"logits of a Discrete leaf need {self.classes} classes, got shape {tuple(output.shape)}"
            )
        logits = output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
        if self.pair:
            logits = (logits + logits.transpose(1, 2)) / 2
        return Categorical(logits)

    def update(  # type: ignore[override]
        self,
        x_t: Tensor,
        posterior: Categorical,
        t: Time,
        s: Time,
        rng: Stream,
        eta: float = 0.0,
        mask: Tensor | None = None,
    ) -> Tensor:
        """An exact draw of x_s given x_t and the belief; random whatever η. For s > t it is a forward corruption."""
        if not isinstance(t, Tensor) and not isinstance(s, Tensor):
            if t == s:
                return x_t
            if s > t:
                return self.corrupt(x_t, s, rng.fold("forward"), since=t, mask=mask)
        alpha_t, alpha_s = self._alpha(t, x_t), self._alpha(s, x_t)
        rng = rng.fold("update")
        if self.kind == "masked":
            drawn = self._draw(posterior.probabilities, rng.fold("class"))
            reveal = self._unit(x_t, rng) * (1 - alpha_t) < alpha_s - alpha_t
            return self.fill(torch.where(reveal & (x_t == self.classes), drawn, x_t), mask)
        drawn = self._draw(self._uniform_posterior(x_t, posterior, alpha_t, alpha_s), rng.fold("class"))
        return self.fill(torch.where(alpha_s == alpha_t, x_t, drawn), mask)

    def _uniform_posterior(
        self, x_t: Tensor, posterior: Categorical, alpha_t: Tensor, alpha_s: Tensor
    ) -> Tensor:
        """Σ_k p(x = k) q(x_s | x_t, x = k) for the uniform kernel, (B, …, K)."""
        k = self.classes
        alpha_t, alpha_s = alpha_t[..., None], alpha_s[..., None]
        step = alpha_t / alpha_s
        here = torch.nn.functional.one_hot(x_t, k).to(posterior.logits.dtype)
        # q(x_t | x = k); floored, because at t = 0 a belief in another class has probability 0 and must not divide
        likelihood = (alpha_t * here + (1 - alpha_t) / k).clamp(min=1e-30)
        weight = posterior.probabilities / likelihood
        mixed = alpha_s * weight + (1 - alpha_s) / k * weight.sum(-1, keepdim=True)
        return (step * here + (1 - step) / k) * mixed

    def loss(  # type: ignore[override]
        self,
        posterior: Categorical,
        x: Tensor,
        x_t: Tensor,
        t: Time,
        rng: Stream,
        kind: Any = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy of the clean class, shape (B,): over masked elements (``masked``) or over all (``uniform``).

        ``kind="elbo"`` weighs a masked element by −α'/(1 − α), whose mean over uniform times bounds −log p(x) per
        element (Sahoo et al., 2024, Eq. 10); "cross-entropy", or None, weighs all alike.

        Raises:
            ValueError: another ``kind``, or "elbo" for the uniform kernel.
        """
        if kind not in (None, "cross-entropy", "elbo") or (kind == "elbo" and self.kind != "masked"):
            raise ValueError(
                f"Discrete(kind={self.kind!r}) has the losses 'cross-entropy' and, masked, 'elbo'; got {kind!r}"
            )
        logs = posterior.logits.log_softmax(-1)
        error = -logs.gather(-1, x[..., None])[..., 0]
        if self.kind == "uniform":
            return self.mean(error, mask)
        hidden = (x_t == self.classes).to(error.dtype)
        if kind == "elbo":
            time = broadcast(self.clock(t), error)
            slope = self.schedule.derivative(time)[0]
            return self.mean(error * hidden * -slope / (1 - self.schedule(time)[0]).clamp(min=1e-12), mask)
        real = self.real(mask)
        hidden = hidden if real is None else hidden * real
        return (error * hidden).flatten(1).sum(1) / hidden.flatten(1).sum(1).clamp(min=1)
