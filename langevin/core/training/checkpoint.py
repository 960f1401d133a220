"""Checkpoints: tensors in one safetensors file with the plain settings in its header; whole or absent."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "clear",
    "exists",
    "load_into",
    "load_optimizer",
    "optimizer_tensors",
    "read",
    "read_snapshots",
    "set_aside",
    "write",
    "write_snapshot",
]

_NAME = "checkpoint.safetensors"


def exists(folder: Path) -> bool:
    """Whether the folder holds a checkpoint."""
    return (folder / _NAME).is_file()


def clear(folder: Path) -> None:
    """Removes what writers that were killed left behind: files under temporary names whose process is gone."""
    for place in (folder, folder / "snapshots"):
        for path in place.glob(".*.safetensors.*"):
            process = path.suffix.removeprefix(".")
            # a number that is this process's own was given again: nothing is being written now
            if process.isdigit() and (int(process) == os.getpid() or not _alive(int(process))):
                with contextlib.suppress(OSError):  # Windows refuses what another process has open
                    path.unlink()


def set_aside(folder: Path) -> Path | None:
    """Renames the folder's checkpoint, and the snapshots beside it, so that a new run replaces neither.

    Returns:
        Where the checkpoint is now; None if there was none.
    """
    if not exists(folder):
        return None
    for k in itertools.count(1):
        weights, averages = folder / f"checkpoint-{k}.safetensors", folder / f"snapshots-{k}"
        if not weights.exists() and not averages.exists():
            break
    if (folder / "snapshots").is_dir():
        (folder / "snapshots").rename(averages)
    return (folder / _NAME).rename(weights)


def _alive(process: int) -> bool:
    """Whether a process of this number runs; on Windows, which cannot be asked by a signal, False."""
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _save(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    from safetensors.torch import save

    # safetensors refuses tensors that share memory: each is copied
    data = save(
        {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, {"langevin": json.dumps(meta)}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Replaces the folder's checkpoint in one move."""
    clear(folder)
    _save(folder / _NAME, tensors, meta)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, settings) of the folder's checkpoint.

    Raises:
        ValueError: the file is not a checkpoint of this library.
    """
    return _read(folder / _NAME, "a checkpoint")


def _read(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["langevin"])
            return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not {what} of langevin: {error}") from error


def write_snapshot(
    folder: Path,
    step: int,
    averages: Sequence[Mapping[str, Tensor]],
    rules: Sequence[Mapping[str, float]],
    keep: int,
) -> None:
    """Adds the averages of a step to the folder, in half precision, and drops the oldest beyond ``keep``.

    Args:
        folder: of the run.
        step: after which they were taken.
        averages: weights by name.
        rules: what each of them is: ``{"width": σ_rel}`` or ``{"decay": β}``.
        keep: snapshots that stay.
    """
    tensors = {
        f"{i}.{k}": v.half() if v.is_floating_point() else v
        for i, a in enumerate(averages)
        for k, v in a.items()
    }
    _save(
        folder / "snapshots" / f"{step:09d}.safetensors",
        tensors,
        {"step": step, "averages": [dict(rule) for rule in rules]},
    )
    for old in sorted((folder / "snapshots").glob("*.safetensors"))[:-keep]:
        old.unlink()


def read_snapshots(folder: Path) -> list[tuple[int, list[dict[str, float]], dict[str, Tensor]]]:
    """(step, rules, tensors) of the folder's snapshots by step; the tensors of average i are named ``i.<name>``.

    Raises:
        ValueError: a file there is not a snapshot of this library.
    """
    found = [_read(path, "a snapshot") for path in sorted((folder / "snapshots").glob("[0-9]*.safetensors"))]
    return [(meta["step"], meta["averages"], tensors) for tensors, meta in found]


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Loads the tensors under ``prefix`` into a module.

    Raises:
        ValueError: names or shapes differ; the message lists them.
    """
    given = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    own = module.state_dict()
    wrong = [k for k in own if k not in given] + [k for k in given if k not in own]
    shared = [k for k in own if k in given and own[k].shape != given[k].shape]
    wrong += [f"{k}: {tuple(given[k].shape)} for {tuple(own[k].shape)}" for k in shared]
    if wrong:
        raise ValueError(
            f"the weights do not fit this network: {', '.join(wrong[:5])}{' …' if len(wrong) > 5 else ''}"
        )
    module.load_state_dict(given)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as tensors by the position of their parameter."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"optimizer.{i}.{name}": torch.as_tensor(value)
        for i, p in enumerate(parameters)
        for name, value in optimizer.state.get(p, {}).items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`optimizer_tensors`."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, position, name = key.split(".", 2)
            p = parameters[int(position)]
            scalar = value.ndim == 0
            optimizer.state[p][name] = value.clone() if scalar else value.to(p.device, copy=True)
