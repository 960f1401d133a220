"""How to train: the settings of a run, checked where they are made. Needs the standard library alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from langevin.core.errors import unknown

__all__ = ["Settings"]

_CHOICES = {
    "decay": ("cosine", "constant"),
    "optimizer": ("muon", "adamw"),
    "precision": ("fp32", "bf16", "fp16"),
}
_FROM_1 = ("steps", "batch", "accumulate", "log", "save")
_FROM_0 = ("lr", "warmup", "weight_decay", "clip", "constant", "show", "snapshots")


@dataclass(frozen=True)
class Settings:
    """How to train; every field has a default that works for small models.

    Args:
        steps: optimiser steps.
        batch: global batch size, over all processes and accumulation steps.
        lr: peak learning rate.
        warmup: steps of linear warm-up.
        decay: "cosine" to zero at ``steps``, or "constant".
        optimizer: "muon" (matrices of the backbone by Muon, the rest by AdamW) or "adamw".
        weight_decay: decoupled.
        clip: largest gradient norm; 0 does not clip.
        accumulate: backward passes per step, each on its share of the batch.
        precision: "fp32", "bf16" (autocast of the network, and Muon's iteration) or "fp16" (autocast, with a scaled
            loss; on GPUs, through :mod:`langevin.accelerated`).
        compile: compile the backbone with torch.compile; the first steps take a minute. Needs a C++ compiler.
        average: widths σ_rel of power-function averages of the weights; the first one becomes the model.
        constant: decay of a constant-rate average, which takes the place of the first; 0 for none.
        seed: of everything random.
        log: steps between lines of the log.
        save: steps between checkpoints.
        show: steps between sample grids; 0 for none.
        snapshots: how many checkpointed averages to keep for post-hoc reconstruction.

    Raises:
        ValueError: a value of another type, out of its range, or at odds with another.
    """

    steps: int = 10_000
    batch: int = 128
    lr: float = 1e-3
    warmup: int = 100
    decay: str = "cosine"
    optimizer: str = "muon"
    weight_decay: float = 0.01
    clip: float = 1.0
    accumulate: int = 1
    precision: str = "fp32"
    compile: bool = False
    average: tuple[float, ...] = (0.1, 0.05)
    constant: float = 0.0
    seed: int = 0
    log: int = 50
    save: int = 500
    show: int = 0
    snapshots: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = _typed(field.name, getattr(self, field.name), type(field.default))
            object.__setattr__(self, field.name, value)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(unknown(f"training.{name}", getattr(self, name), allowed))
        for least, names in ((1, _FROM_1), (0, _FROM_0)):
            for name in names:
                if getattr(self, name) < least:
                    raise ValueError(f"training.{name} must be at least {least}, got {getattr(self, name)}")
        if self.batch % self.accumulate:
            raise ValueError(
                f"training.batch {self.batch} must be a multiple of accumulate {self.accumulate}"
            )
        if not self.average:
            raise ValueError("training.average needs at least one width, as (0.1,)")

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Settings:
        """The settings that a plain tree names.

        Raises:
            ValueError: a key that is no setting, with the nearest that is; a value that is refused.
        """
        known = [field.name for field in fields(cls)]
        for name in tree:
            if name not in known:
                raise ValueError(unknown("key of training", name, known))
        return cls(**tree)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, …"""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        if self.decay == "constant":
            return self.lr * warm
        return self.lr * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))


def _typed(name: str, value: Any, kind: type) -> Any:
    """``value`` in the type of the setting's default."""
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and _number(value):
        return float(value)
    if kind is str and isinstance(value, str):
        return value
    if kind is tuple and isinstance(value, (tuple, list)) and all(map(_number, value)):
        return tuple(map(float, value))
    expected = {
        bool: "true or false",
        int: "a whole number",
        float: "a finite number",
        str: "a name",
        tuple: "a list of numbers",
    }
    raise ValueError(f"training.{name} must be {expected[kind]}, got {value!r}")


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
