r"""Averages of weights: constant decay, power functions, and their post-hoc reconstruction.

A power-function average after n steps weighs the weights of step τ by τ^γ: its width is a constant fraction of the
training so far (σ_rel), so that no decay has to be guessed before the length of the run is known. From snapshots of a
few such averages the average of any other width follows by least squares, after training (Karras et al., 2024, EDM2,
arXiv 2312.02696, §3 and App. C).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from langevin.core.training import checkpoint

__all__ = ["Average", "Constant", "Power", "from_folder", "gamma_of", "reconstruct", "update"]


class Average(Protocol):
    """A rule for the share of the old average that a step keeps."""

    def keep(self, step: int) -> float:
        """β of step 1, 2, …: average ← β average + (1 − β) weights."""
        ...


@dataclass(frozen=True)
class Constant:
    """β = ``decay``, less at first: (1 + n) / (10 + n) until that exceeds it."""

    decay: float = 0.999

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {self.decay}")

    def keep(self, step: int) -> float:
        return min(self.decay, (1 + step) / (10 + step)) if step > 1 else 0.0


@dataclass(frozen=True)
class Power:
    """β = (1 − 1/n)^(γ + 1), of relative width ``width`` = σ_rel (Eq. 3 and 127 of EDM2)."""

    width: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.width < 0.28:
            raise ValueError(f"width must lie in (0, 0.28), got {self.width}")

    def keep(self, step: int) -> float:
        return (1 - 1 / step) ** (gamma_of(self.width) + 1)


def gamma_of(width: float) -> float:
    """The exponent γ of a power-function average of relative width σ_rel: the positive root of a cubic."""
    # σ_rel² = (γ + 1) / ((γ + 2)² (γ + 3)); the right side falls for γ > 0, so bisect
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        if (middle + 1) / ((middle + 2) ** 2 * (middle + 3)) > width**2:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@torch.no_grad()
def update(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], keep: float) -> None:
    """average ← keep · average + (1 − keep) · weights, in place; what is not floating point is copied."""
    for name, value in weights.items():
        if value.is_floating_point():
            average[name].lerp_(value.detach(), 1 - keep)
        else:
            average[name].copy_(value)


def _overlap(t_a: Tensor, gamma_a: Tensor, t_b: Tensor, gamma_b: Tensor) -> Tensor:
    """∫ of the product of two power-function profiles that end at t_a and t_b (EDM2, Eq. 145–148)."""
    earlier = torch.minimum(t_a, t_b)
    log = (
        (gamma_a + gamma_b + 1) * earlier.log() - (gamma_a + 1) * t_a.log() - (gamma_b + 1) * t_b.log()
    ) + (gamma_a + 1).log() + (gamma_b + 1).log() - (gamma_a + gamma_b + 1).log()  # fmt: skip
    return log.exp()


def reconstruct(
    snapshots: Sequence[Mapping[str, Tensor]],
    steps: Sequence[int],
    widths: Sequence[float],
    step: int,
    width: float,
) -> dict[str, Tensor]:
    """The power-function average of ``width`` at ``step``, from snapshots of others.

    Args:
        snapshots: weights by name, one mapping for each snapshot.
        steps: the training step of each.
        widths: σ_rel of each.
        step: where the wanted average ends; no later than the last snapshot.
        width: its σ_rel.

    Raises:
        ValueError: no snapshots, lists of different lengths, or a step after the last snapshot.
    """
    if not snapshots or not len(snapshots) == len(steps) == len(widths):
        raise ValueError(
            f"reconstruct needs as many steps and widths as snapshots, got {len(snapshots)}, {len(steps)}, {len(widths)}"
        )
    if step > max(steps):
        raise ValueError(f"step {step} is after the last snapshot, {max(steps)}")
    t = torch.tensor(steps, dtype=torch.float64)
    gamma = torch.tensor([gamma_of(w) for w in widths], dtype=torch.float64)
    t_wanted, gamma_wanted = torch.tensor(float(step)).double(), torch.tensor(gamma_of(width)).double()
    gram = _overlap(t[:, None], gamma[:, None], t[None], gamma[None])
    right = _overlap(t, gamma, t_wanted, gamma_wanted)
    share = torch.linalg.lstsq(gram, right[:, None], driver="gelsd").solution[:, 0]
    return {
        name: sum(
            (float(c) * s[name].double() for c, s in zip(share, snapshots, strict=True)), torch.zeros(())
        ).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in snapshots[-1].items()
    }


def from_folder(folder: str | Path, width: float, step: int | None = None) -> dict[str, Tensor]:
    """The power-function average of ``width`` from the snapshots that a run left in its folder, in float32.

        model.network.load_state_dict(ema.from_folder("my-model", 0.07))

    Args:
        folder: of a run with ``training.snapshots``.
        width: σ_rel of the average.
        step: where it ends; the last snapshot's step when None.

    Raises:
        ValueError: fewer than two power-function averages there (those of constant rate do not serve), a width that
            cannot be, or a step after the last snapshot.
    """
    Power(width)
    weights, steps, widths = [], [], []
    for at, rules, tensors in checkpoint.read_snapshots(Path(folder)):
        for i, rule in enumerate(rules):
            if "width" in rule:
                own = {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"{i}.")}
                weights.append({k: v.float() if v.is_floating_point() else v for k, v in own.items()})
                steps.append(at)
                widths.append(rule["width"])
    if len(weights) < 2:
        raise ValueError(
            f"{folder} holds {len(weights)} snapshots of power-function averages, and a width is rebuilt from at least 2: "
            "train with training.snapshots=8 and two widths in training.average"
        )
    return reconstruct(weights, steps, widths, max(steps) if step is None else step, width)
