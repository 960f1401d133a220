"""Training through accelerate: the engine of ``lv.train`` and ``langevin train``.

``accelerate.Accelerator`` finds the processes that ``accelerate launch`` or ``torchrun`` started and gives each its device;
its autocast, scaled loss, clipping and reductions are those of the step. Weights are not wrapped: every process holds all of
them.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from langevin import optional
from langevin.assembly import pick_device

__all__ = ["Accelerated", "engine"]

_PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_SHARDING = {"FSDP": "FSDP", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}
_TURN = threading.RLock()


class Accelerated:
    """An :class:`langevin.core.training.engine.Engine` around an ``accelerate.Accelerator``.

    The network is not wrapped in DistributedDataParallel. Its reducer follows one call of the module's ``forward`` for each
    backward pass, while a loss may call the network several times or only parts of it (embeddings of conditions, learned
    uncertainty), and each share of an accumulated batch would be reduced by itself. So gradients are averaged once, after
    the last backward pass: the same mean, and the rows of the global batch stay with the streams that belong to them.

    Args:
        accelerator: that accumulates nothing by itself; see :func:`engine`.
    """

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        self.device = str(accelerator.device)
        self.rank, self.world = int(accelerator.process_index), int(accelerator.num_processes)

    def prepare(self, optimizer: torch.optim.Optimizer) -> Any:
        # the state's scalars stay on the CPU, where MuonAdamW keeps them
        return self.accelerator.prepare_optimizer(optimizer, device_placement=False)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        return self.accelerator.autocast()  # type: ignore[no-any-return]

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def average(self, tensors: Sequence[Tensor]) -> None:
        if self.world == 1:
            return
        for tensor in tensors:
            tensor.copy_(self.accelerator.reduce(tensor.to(self.device), "mean"))

    def clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        # gradients of a scaled loss are unscaled here
        return float(self.accelerator.clip_grad_norm_(parameters, limit or math.inf))

    def gather(self, value: Any) -> list[Any]:
        return list(optional.accelerate().utils.gather_object([value]))

    def state(self) -> dict[str, Any]:
        scaler = self.accelerator.scaler
        return {} if scaler is None else {"scaler": scaler.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(dict(state["scaler"]))


@contextlib.contextmanager
def engine(precision: str = "fp32", device: str | None = None) -> Iterator[Accelerated]:
    """The engine of a training; processes that were launched together are joined for as long as the block lasts.

    accelerate keeps one state for a whole Python process. It is put back when the block ends, so that trainings of several
    precisions may follow one another, also beside an Accelerator of the caller; those of several threads take turns.

    Args:
        precision: "fp32", "bf16" or "fp16".
        device: where to train; when None the best there is, which is a GPU for each process of a machine.

    Raises:
        ValueError: a device that is not there, "fp16" on the CPU, a launch that shards weights (FSDP, DeepSpeed), or
            processes that a launcher's environment does not describe.
    """
    chosen = pick_device(device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    kind = torch.device(chosen).type
    if world > 1 and kind == "mps":
        raise ValueError(
            "several processes cannot share the GPU of a Mac: give device=cpu, or start one process"
        )
    if precision == "fp16" and kind == "cpu":
        raise ValueError(
            "training.precision 'fp16' needs a GPU, and this trains on the CPU; use 'bf16' or 'fp32'"
        )
    for name, plugin in _SHARDING.items():
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise ValueError(
                f"accelerate was configured for {plugin}, which shards weights; here every process holds all of them: "
                "launch with --multi_gpu"
            )
    accelerate = optional.accelerate()
    dist = torch.distributed
    joined = dist.is_available() and dist.is_initialized()
    if world > 1 and not joined and dist.is_available():
        # has the group as the default of its functions: imported later, by an optimizer, it would hold the group for
        # ever, and gloo's threads of a held group may abort the process at its end
        importlib.import_module("torch.distributed.nn")
    with _own_state(accelerate):
        with _environment("ACCELERATE_TORCH_DEVICE", None if world > 1 else chosen):
            accelerator = accelerate.Accelerator(
                mixed_precision=_PRECISIONS[precision],
                cpu=kind == "cpu",
                # the trainer itself divides a batch into shares, whatever accelerate's configuration says
                gradient_accumulation_plugin=accelerate.utils.GradientAccumulationPlugin(num_steps=1),
            )
        try:
            expected = dist.get_world_size() if joined else world
            if accelerator.num_processes != expected:
                raise ValueError(
                    f"accelerate found {accelerator.num_processes} of {expected} processes, as the environment of a "
                    "launcher (RANK, WORLD_SIZE, LOCAL_RANK) is not whole: start them with torchrun or accelerate launch"
                )
            yield Accelerated(accelerator)
        finally:
            if not joined and dist.is_available() and dist.is_initialized():
                dist.destroy_process_group()


@contextlib.contextmanager
def _own_state(accelerate: Any) -> Iterator[None]:
    """A fresh state of accelerate; the one before is put back."""
    state = accelerate.state
    with _TURN:
        shared = [
            kind._shared_state for kind in (state.AcceleratorState, state.PartialState, state.GradientState)
        ]
        kept = [dict(values) for values in shared]
        try:
            for values in shared:
                values.clear()
            yield
        finally:
            for values, before in zip(shared, kept, strict=True):
                values.clear()
                values.update(before)


@contextlib.contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """The environment with one variable set; None leaves it as it is."""
    before = os.environ.get(name)
    try:
        if value is not None:
            os.environ[name] = value
        yield
    finally:
        if value is not None:
            del os.environ[name]
            if before is not None:
                os.environ[name] = before
