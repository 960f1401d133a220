"""Training for users: ten lines of Python, or ``langevin train``; one function behind both."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from langevin.assembly import build_model, pick_device, save_model
from langevin.core.model import Model
from langevin.core.progress import bar
from langevin.core.training.log import Log
from langevin.core.training.trainer import Progress, Settings, Trainer
from langevin.modalities.plugins import plugin

__all__ = ["run", "train"]


def train(
    data: Any,
    modality: str = "image",
    *,
    steps: int = 10_000,
    out: str | Path | None = None,
    model: Mapping[str, Any] | None = None,
    device: str | None = None,
    resume: bool = True,
    progress: bool | None = None,
    watch: Callable[[Progress], None] | None = None,
    split: str | None = None,
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Model:
    """Trains a model on your data and writes it to a folder.

        model = lv.train("my/pictures", steps=20000, out="my-model")
        model.sample(4, prompt="…").save("out")

    Args:
        data: a path or a name that the modality's ``open`` understands, or a data set.
        modality: its name.
        steps: optimiser steps.
        out: folder of the model, its checkpoint and its logs; ``runs/<name>`` by default.
        model: keys of a model's configuration that override what follows from the data.
        device: the best there is when None.
        resume: go on from the folder's checkpoint, if there is one.
        progress: show a bar; by default if standard error is a terminal.
        watch: called with every line of the log.
        split, size, options: passed to the modality's ``open``.
        settings: fields of :class:`langevin.core.training.trainer.Settings` (batch, lr, seed …).

    Raises:
        ValueError, TypeError: data or settings that cannot work, before anything is computed.
    """
    config = {
        "data": {"path": data, "modality": modality, "split": split, "size": size, **(options or {})},
        "model": dict(model or {}),
        "training": {"steps": steps, **settings},
        "out": None if out is None else str(out),
        "resume": resume,
        "device": device,
    }
    return run(config, progress=progress, watch=watch)


def run(
    config: Mapping[str, Any], progress: bool | None = None, watch: Callable[[Progress], None] | None = None
) -> Model:
    """Trains what a configuration (``configs/train.yaml``) describes and writes the model to its folder."""
    known = set(Settings.__dataclass_fields__)
    training = dict(config["training"])
    wrong = [name for name in training if name not in known]
    if wrong:
        from langevin.core.errors import unknown

        raise ValueError(unknown("key of training", wrong[0], known))
    if "average" in training:
        training["average"] = tuple(training["average"])
    settings = Settings(**training)
    data = dict(config["data"])
    found = plugin(str(data.pop("modality", "image")))
    opened = found.open(locate(data.pop("path")), **{k: v for k, v in data.items() if v is not None})
    node = found.defaults(opened, dict(config.get("model") or {}))
    model = build_model({**node, "training": training, "data": _record(config["data"])}, settings.seed)
    out = Path(config.get("out") or Path("runs") / model.name)
    out.mkdir(parents=True, exist_ok=True)
    with _processes(config.get("device")) as device:
        trainer = Trainer(model, opened, settings, out, device)
        resumed = trainer.resume() if config.get("resume", True) else False
        first = trainer.rank == 0
        with Log(out, append=resumed) if first else contextlib.nullcontext() as log:
            lines = trainer.run()
            total = -(-(settings.steps - trainer.step) // settings.log)
            what = f"training {model.name}, lines of {settings.log} steps"
            try:
                for line in bar(lines, total, what, progress if first else False):
                    if log is None:
                        continue
                    log.write(line)
                    if watch is not None:
                        watch(line)
                    if settings.show and line.step % settings.show < settings.log:
                        _show(model, trainer, out / f"samples-{line.step:07d}.png")
            except KeyboardInterrupt:
                trainer.save()
                raise
    _load(model, trainer)
    _measure(model, opened)
    if trainer.rank == 0:
        save_model(model, out, card(model, trainer, opened))
    model.network.eval().requires_grad_(False)
    return model


def _record(data: Mapping[str, Any]) -> dict[str, Any]:
    """Where the data came from, in plain values; an object is named by its type."""
    plain = (bool, int, float, str, dict, list)
    named = {k: str(v) if isinstance(v, Path) else v for k, v in data.items() if v is not None}
    return {k: v if isinstance(v, plain) else type(v).__name__ for k, v in named.items()}


def locate(path: Any) -> Any:
    """A path as it is if it exists or names no file; else the same below $LANGEVIN_DATA."""
    root = os.environ.get("LANGEVIN_DATA")
    if isinstance(path, str) and root and not Path(path).exists() and (Path(root) / path).exists():
        return str(Path(root) / path)
    return path


@contextlib.contextmanager
def _processes(name: Any) -> Iterator[str]:
    """The device of this process, joined with the others that ``torchrun`` or ``accelerate launch`` started.

    Args:
        name: the device asked for; when None the best there is, which is a GPU for each process of a machine.
    """
    import torch
    import torch.distributed as dist

    device = pick_device(name)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _load(model: Model, trainer: Trainer) -> None:
    """Puts the averaged weights into the network."""
    model.network.load_state_dict(trainer.averaged())


def _measure(model: Model, data: Any, rows: int = 8) -> None:
    """Stores the density of steps that this model's own flow asks for; see :mod:`langevin.core.curvature`."""
    import torch

    from langevin.core import curvature
    from langevin.core.guidance import cfg
    from langevin.core.processes.gaussian import Gaussian
    from langevin.core.rng import Stream

    if not any(isinstance(leaf, Gaussian) for leaf in model.process.leaves.values()):
        return
    items, conditions = data.batch(list(range(min(rows, len(data)))))
    like, mask = model.modality.encode(items)
    given = {name: list(values) for name, values in conditions.items() if name in model.conditions}
    weight = float(model.defaults.get("guidance", 1.0))
    model.network.eval()
    with torch.no_grad():
        condition = model.network.embed(model.parse(given))
        denoiser = cfg(weight)(model.denoiser) if given and weight != 1 else model.denoiser
        like = (
            like.to(model.device)
            if not isinstance(like, dict)
            else {k: v.to(model.device) for k, v in like.items()}
        )
        steps = min(max(int(model.defaults.get("steps", 20)), 8), 40)
        density = curvature.measure(
            denoiser, like, Stream.of(0, len(items)), condition=condition, mask=mask, steps=steps
        )
    model.defaults["density"] = list(density)
    model.config["sampling"] = dict(model.defaults)


def _show(model: Model, trainer: Trainer, path: Path) -> None:
    """A picture of samples from the averaged weights, with the trained weights put back afterwards."""
    from langevin.folders import write_atomic

    kept = {k: v.detach().clone() for k, v in model.network.state_dict().items()}
    model.network.load_state_dict(trainer.averaged())
    _, conditions = trainer.data.batch(list(range(min(16, len(trainer.data)))))
    given: dict[str, Any] = {
        name: list(values) for name, values in conditions.items() if name in model.conditions
    }
    samples = model.sample(len(next(iter(given.values()))) if given else 16, progress=False, **given)
    model.network.load_state_dict(kept)
    write_atomic(path, lambda target: model.modality.sheet(list(samples)).save(target))


def card(model: Model, trainer: Trainer, data: Any) -> str:
    """What is known about a model that was just trained."""
    config, settings = model.config, trainer.settings
    licence = config.get("licence") or getattr(data, "licence", None) or "not stated: that of your data"
    attribution = config.get("attribution") or getattr(data, "attribution", None) or "not stated"
    return (
        f"# {model.name}\n\n{config.get('summary', 'A model trained with langevin.')}\n\n"
        f"- parameters: {model.parameters:,}\n"
        f"- conditions: {', '.join(model.conditions) or 'none'}\n"
        f"- trained: {trainer.step:,} steps of {settings.batch}, {len(data):,} items, seed {settings.seed}\n"
        f"- licence: {licence}\n- attribution: {attribution}\n\n"
        "The loss curve is in log.csv; settings are in config.yaml under training and data.\n"
    )
