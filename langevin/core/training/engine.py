"""Where a trainer computes, and how its processes agree.

One step of training leaves to its engine what depends on the machine: the device, the precision of the network, the
backward pass, the mean of gradients and of logged values over the processes, clipping, and the optimiser's step, which an
engine that scales the loss may skip. :class:`Plain` needs torch alone; :mod:`langevin.accelerated` holds an engine around
``accelerate.Accelerator``. With one process in float32 all engines do the same arithmetic.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = ["Engine", "Plain"]


class Engine(Protocol):
    """What a trainer asks of the machine.

    Attributes:
        device: of this process.
        rank: of this process; the first one, 0, writes.
        world: number of processes.
    """

    device: str
    rank: int
    world: int

    def prepare(self, optimizer: torch.optim.Optimizer) -> Any:
        """The optimiser as the trainer is to step it; its state stays where it was."""
        ...

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """A block in which the network computes in the engine's precision."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of a loss ()."""
        ...

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Means over the processes, in place; every process gives tensors of the same shapes."""
        ...

    def clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """The norm of all gradients together, which are then scaled down to ``limit``; 0 does not scale."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """The value of every process, in their order."""
        ...

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to know of the engine, in plain values."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`; a state of another engine is passed over."""
        ...


@dataclass
class Plain:
    """torch by itself; the processes are those of ``torch.distributed`` where that is initialised.

    Args:
        device: of this process.
        precision: "fp32" or "bf16".

    Raises:
        ValueError: "fp16", whose gradients need a scaled loss.
    """

    device: str = "cpu"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.precision == "fp16":
            raise ValueError(
                "training.precision 'fp16' needs a scaled loss: give the trainer an engine of langevin.accelerated, "
                "or use 'bf16'"
            )
        self.rank, self.world, self._meeting = 0, 1, self.device
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            self.rank, self.world = dist.get_rank(), dist.get_world_size()
            # NCCL reduces what is on GPUs, gloo what is on the CPU
            self._meeting = self.device if dist.get_backend() == "nccl" else "cpu"

    def prepare(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        return optimizer

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def average(self, tensors: Sequence[Tensor]) -> None:
        if self.world == 1:
            return
        import torch.distributed as dist

        for tensor in tensors:
            there = tensor.to(self._meeting)
            dist.all_reduce(there)
            tensor.copy_(there / self.world)

    def clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        return nn.utils.clip_grad_norm_(parameters, limit or math.inf).item()

    def gather(self, value: Any) -> list[Any]:
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, value)
        return parts

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        pass
