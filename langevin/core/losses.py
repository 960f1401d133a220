r"""Training objectives: which times, which target, which weight.

The loss of one sample is the mean squared residual of a target (:mod:`langevin.core.parametrisations`) times a weight of
the log-SNR λ. A weighting is stated for one target — min-SNR for x, P2 for ε — and carried to the one in use by the
squared ratio of their determinants, so that "min-SNR with v-prediction" is the right formula without a special case.

Times are drawn from a density on [0, 1] by each sample's own stream. A weight that counterbalances the density is the
user's choice; none is applied in secret.

The ends themselves are not trained at. Where a slope of the schedule is infinite (σ' ~ t^−½ at t = 0 of every schedule
whose σ² begins linearly: VP, sigmoid, and zero terminal SNR made of them; α' at t = 1 of the sigmoid) the velocity and
its loss have no limit: the mean of the loss over times grows as log 1/t towards the end. Training times therefore keep
:data:`NEAREST` = 1e-5 away from both ends, and :func:`langevin.core.training.loss.draw_times` sees to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from langevin.core import parametrisations
from langevin.core.errors import unknown
from langevin.core.processes.base import Process
from langevin.core.processes.gaussian import Gaussian
from langevin.core.rng import Stream

__all__ = [
    "NEAREST",
    "P2",
    "LogitNormal",
    "LossAdaptive",
    "MinSNR",
    "Mode",
    "Objective",
    "Sigmoid",
    "Stratified",
    "Times",
    "Uncertainty",
    "Uniform",
    "UniformTimes",
    "Weighting",
]

NEAREST = 1e-5  # of a training time to 0 and to 1


class Times(Protocol):
    """A density of training times."""

    def __call__(self, rng: Stream, rows: tuple[int, int] | None = None) -> Tensor:
        """One time in (0, 1) for each row, shape (B,), float32.

        ``rows`` = (first, total) places these rows in a batch that several processes share; None: they are all of it.
        """
        ...


@dataclass(frozen=True)
class UniformTimes:
    """t uniform in (0, 1)."""

    def __call__(self, rng: Stream, rows: tuple[int, int] | None = None) -> Tensor:
        return rng.uniform((len(rng),))


@dataclass(frozen=True)
class LogitNormal:
    """logit t normal with ``mean`` and ``std``: most training at medium noise (Esser et al., 2024, arXiv 2403.03206)."""

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, rng: Stream, rows: tuple[int, int] | None = None) -> Tensor:
        return torch.sigmoid(self.mean + self.std * rng.normal((len(rng),)))


@dataclass(frozen=True)
class Mode:
    """t = 1 − u − s (cos²(πu/2) − 1 + u): a mode of adjustable height (Esser et al., 2024, Eq. 20), −1 ≤ s ≤ 2/(π−2)."""

    scale: float = 1.29

    def __post_init__(self) -> None:
        if not -1 <= self.scale <= 2 / (math.pi - 2):
            raise ValueError(f"scale must lie in [-1, {2 / (math.pi - 2):.4f}], got {self.scale}")

    def __call__(self, rng: Stream, rows: tuple[int, int] | None = None) -> Tensor:
        u = rng.uniform((len(rng),))
        return 1 - u - self.scale * (torch.cos(math.pi / 2 * u) ** 2 - 1 + u)


@dataclass(frozen=True)
class Stratified:
    """One time in each of B equal slices of the density: row i draws from slice i (Kingma et al., 2021, VDM, App. I.1).

    Args:
        base: None for uniform times, or :class:`LogitNormal`, whose quantiles are then sliced.
    """

    base: LogitNormal | None = None

    def __call__(self, rng: Stream, rows: tuple[int, int] | None = None) -> Tensor:
        first, total = rows or (0, len(rng))
        u = rng.uniform((len(rng),))
        # kept inside its slice: in float32 the sum may round up to the next, and the last one to t = 1
        row = torch.arange(first, first + len(rng), device=u.device)
        u = torch.minimum((row + u) / total, torch.nextafter((row + 1) / total, torch.zeros_like(u)))
        if self.base is None:
            return u
        return torch.sigmoid(self.base.mean + self.base.std * torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6)))


@dataclass(frozen=True)
class LossAdaptive:
    """Times in proportion to the root mean square loss seen at them (Nichol & Dhariwal, 2021, §3.3, on a grid of bins).

    The object is frozen; what was seen is a tensor that is passed in and returned: ``seen = times.observe(seen, t, loss)``
    and ``times.bind(seen)`` is the density that follows from it.

    Args:
        bins: number of equal slices of [0, 1].
        decay: of the running mean square.
        floor: share of uniform times.
    """

    bins: int = 32
    decay: float = 0.99
    floor: float = 0.1
    weights: tuple[float, ...] = ()

    def start(self) -> Tensor:
        """The memory before any loss was seen: (bins,)."""
        return torch.ones(self.bins, dtype=torch.float64)

    def observe(self, seen: Tensor, t: Tensor, loss: Tensor) -> Tensor:
        """The running mean square of the loss in each bin after a batch with times (B,) and losses (B,)."""
        index = (t.detach().cpu() * self.bins).long().clamp(0, self.bins - 1)
        new = seen.clone()
        total = torch.zeros_like(seen).index_add_(0, index, loss.detach().cpu().double() ** 2)
        count = torch.zeros_like(seen).index_add_(
            0, index, torch.ones_like(loss, dtype=torch.float64, device="cpu")
        )
        hit = count > 0
        new[hit] = self.decay * seen[hit] + (1 - self.decay) * total[hit] / count[hit]
        return new

    def bind(self, seen: Tensor) -> LossAdaptive:
        """The density in proportion to √seen, mixed with ``floor`` of uniform."""
        root = seen.sqrt()
        share = (1 - self.floor) * root / root.sum() + self.floor / self.bins
        return LossAdaptive(self.bins, self.decay, self.floor, tuple(share.tolist()))

    def __call__(self, rng: Stream, rows: tuple[int, int] | None = None) -> Tensor:
        if not self.weights:
            return rng.uniform((len(rng),))
        u = rng.uniform((len(rng),), torch.float64)
        edges = torch.tensor((0.0, *self.weights), dtype=torch.float64, device=u.device).cumsum(0)
        index = (torch.searchsorted(edges, u * edges[-1], right=True) - 1).clamp(0, self.bins - 1)
        inside = (u * edges[-1] - edges[index]) / (edges[index + 1] - edges[index])
        return ((index + inside.clamp(0, 1 - 1e-6)) / self.bins).float()


class Weighting(Protocol):
    """A weight of the squared residual of one target, as a function of λ."""

    target: ClassVar[str | None]

    def __call__(self, log_snr: Tensor) -> Tensor:
        """The weight at log-SNR (B,), for the residual of ``target`` (None: of whichever is used)."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Weight 1 on the target in use."""

    target: ClassVar[str | None] = None

    def __call__(self, log_snr: Tensor) -> Tensor:
        return torch.ones_like(log_snr)


@dataclass(frozen=True)
class MinSNR:
    """min(SNR, γ) on x (Hang et al., 2023, arXiv 2303.09556)."""

    gamma: float = 5.0
    target: ClassVar[str | None] = "x"

    def __call__(self, log_snr: Tensor) -> Tensor:
        return log_snr.exp().clamp(max=self.gamma)


@dataclass(frozen=True)
class P2:
    """1 / (k + SNR)^γ on ε (Choi et al., 2022, arXiv 2204.00227)."""

    gamma: float = 1.0
    k: float = 1.0
    target: ClassVar[str | None] = "eps"

    def __call__(self, log_snr: Tensor) -> Tensor:
        return (self.k + log_snr.exp()) ** -self.gamma


@dataclass(frozen=True)
class Sigmoid:
    """sigmoid(b − λ) on ε (Kingma & Gao, 2023, arXiv 2303.00848; Hoogeboom et al., 2024, SiD2, arXiv 2410.19324)."""

    bias: float = -1.0
    target: ClassVar[str | None] = "eps"

    def __call__(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(self.bias - log_snr)


class Uncertainty(nn.Module):
    """A learned log-variance u(λ) of the loss (Karras et al., 2024, EDM2, arXiv 2312.02696, Eq. 14): L e^{−u} + u.

    At its optimum every noise level contributes 1 to the loss whatever its raw scale.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, features: int = 128) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("frequencies", torch.randn(features, generator=generator))
        self.register_buffer("phases", torch.rand(features, generator=generator) * 2 * math.pi)
        self.linear = nn.Linear(features, 1, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, log_snr: Tensor) -> Tensor:
        """u at log-SNR (B,), shape (B,)."""
        angle = log_snr.clamp(-20, 20)[:, None] / 4 * self.frequencies + self.phases
        return self.linear(math.sqrt(2) * angle.cos())[:, 0]


@dataclass(frozen=True)
class Objective:
    """What a model is trained for.

    Args:
        target: residual of Gaussian leaves that is squared: "velocity", "eps", "x", "v", "edm", or a dict by leaf (which
            also names the losses of other leaves, as ``{"types": "cross-entropy"}``). A leaf that is not named, and
            every leaf where the target is None, has its own: the velocity for Gaussian leaves, the ELBO for masked
            classes, the cross-entropy for uniform ones, the tangent for rotations and angles.
        times: density of the training times.
        weighting: of Gaussian leaves.
        scales: factor of each leaf's loss in the sum; 1 where not given.
        uncertainty: learn the log-variance of the loss at each noise level (:class:`Uncertainty`), after the weighting.
        independent: share of the samples of a product whose leaves are noised by clocks of their own.
        forcing: share of the samples whose elements along axis 1, as the frames of a clip, have clocks of their own
            (Chen et al., 2024, "Diffusion Forcing", arXiv 2407.01392).
        given: share of the samples of which a part is shown clean (:mod:`langevin.core.parts`); which parts, the
            modality says.
        recall: share of the samples that are shown a first answer of the network (:mod:`langevin.core.recall`,
            self-conditioning); 0 for a network that does not see its beliefs.
        distortion: how much further off than their clock says some elements of Gaussian leaves are, in units of the
            noise (:mod:`langevin.core.training.distortion`); 0 for none.
        auxiliary: factor of the modality's own loss of what the network believes
            (:meth:`langevin.modalities.base.Modality.auxiliary`), added to the sum; 0 for none.
    """

    target: str | dict[str, str] | None = None
    times: Times = LogitNormal()
    weighting: Weighting = Uniform()
    scales: Mapping[str, float] | None = None
    uncertainty: bool = False
    independent: float = 0.0
    forcing: float = 0.0
    given: float = 0.0
    recall: float = 0.0
    distortion: float = 0.0
    auxiliary: float = 0.0

    def __post_init__(self) -> None:
        for name in ("independent", "forcing", "given", "recall"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, got {getattr(self, name)}")
        if (self.independent or self.forcing or self.given) and self.uncertainty:
            raise ValueError(
                "uncertainty is learned by noise level, of which independent clocks and given parts have several"
            )
        if self.independent and self.forcing:
            raise ValueError(
                "independent gives every leaf of a product a clock, forcing every element; choose one of them"
            )
        for name in ("distortion", "auxiliary"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number of at least 0, got {getattr(self, name)}")

    def kinds(self, process: Process) -> dict[str, str | None]:
        """The target of every leaf by name, as :meth:`Process.loss` takes it.

        Raises:
            ValueError: a target for a leaf that the process does not have.
        """
        given = self.target
        if isinstance(given, Mapping):
            for name in given:
                if name not in process.leaves:
                    raise ValueError(unknown("leaf of the target", name, process.leaves))
            return {name: given.get(name, leaf.target) for name, leaf in process.leaves.items()}
        return {
            name: given if given and (isinstance(leaf, Gaussian) or not name) else leaf.target
            for name, leaf in process.leaves.items()
        }

    def weigh(self, process: Gaussian, loss: Tensor, t: Tensor, target: str) -> Tensor:
        """``loss`` (B,) of a Gaussian leaf under the weighting, carried from its own target to the one in use."""
        if isinstance(self.weighting, Uniform):
            return loss
        flat = t if t.ndim == 1 else t.flatten(1).amax(1)
        flat = flat.double() if flat.device.type != "mps" else flat
        flat = flat.clamp(
            1e-7, 1 - 1e-7
        )  # at an end a weight is its limit, of which the factors are 0 and infinite
        log_snr = process.schedule.log_snr(flat)
        weight = self.weighting(log_snr)
        if self.weighting.target is not None:
            like = torch.empty_like(log_snr)
            stated, used = (
                parametrisations.determinant(
                    k, process.schedule, flat.to(like.dtype), like, process.sigma_data
                )
                for k in (self.weighting.target, target)
            )
            weight = weight * (torch.as_tensor(stated) / torch.as_tensor(used)) ** 2
        return loss * weight.to(loss.dtype)

    def total(self, process: Any, losses: Any, t: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each sample (B,) and its parts by leaf, from what ``process.loss`` gave."""
        parts = losses if isinstance(losses, dict) else {"": losses}
        kinds, out = self.kinds(process), {}
        for name, leaf in process.leaves.items():
            loss = parts[name]
            if isinstance(leaf, Gaussian):
                loss = self.weigh(leaf, loss, t[name] if isinstance(t, dict) else t, str(kinds[name]))
            out[name] = loss * (self.scales or {}).get(name, 1.0)
        return torch.stack(list(out.values())).sum(0), out
