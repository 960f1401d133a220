"""Training for users: ten lines of Python, or ``langevin train``; one function behind both."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from langevin import accelerated
from langevin.assembly import build_model, save_model
from langevin.core.errors import unknown
from langevin.core.model import Model
from langevin.core.progress import bar, note
from langevin.core.training import checkpoint
from langevin.core.training.log import Log
from langevin.core.training.settings import Settings
from langevin.core.training.trainer import Progress, Trainer
from langevin.hub import load
from langevin.modalities.base import Autoencoder, Plugin
from langevin.modalities.plugins import plugin
from langevin.starting import descent, inherited, take_over

__all__ = ["run", "train", "train_codec"]

_KEYS = ("data", "model", "training", "start", "out", "resume", "device")
_ABOUT = (
    "name",
    "summary",
    "licence",
    "attribution",
    "sampling",
)  # of a model: what its weights do not follow from
_MOVABLE = (
    "path",
    "labels",
    "errors",
)  # of data: they may change under a run, for its items say whether they are the same


MEASURED = 5000  # items seen; a shorter training would take less time than measuring its grid, and has no flow to measure


def train(
    data: Any,
    modality: str = "image",
    *,
    steps: int = 10_000,
    out: str | Path | None = None,
    model: Mapping[str, Any] | None = None,
    start: str | Path | None = None,
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
        start: a shipped name, or the folder of a model, whose configuration and weights the training begins with; see
            :mod:`langevin.starting`.
        device: the best there is when None.
        resume: go on from the folder's checkpoint, if there is one, which must be of the same data and configuration;
            where nothing is left to train, a line on standard error says so. False starts anew and renames an earlier
            checkpoint.
        progress: show a bar; by default if standard error is a terminal.
        watch: called with every line of the log.
        split, size, options: passed to the modality's ``open``.
        settings: fields of :class:`langevin.core.training.trainer.Settings` (batch, lr, seed …).

    Raises:
        ValueError, TypeError: data or settings that cannot work, before anything is computed.
    """
    if "autoencoder" in (model or {}):
        raise ValueError("model has an 'autoencoder': lv.train_codec trains it")
    opening = {"path": data, "modality": modality, "split": split, "size": size, **(options or {})}
    rest = {"start": start, "out": out, "resume": resume, "device": device}
    config = {"data": opening, "model": dict(model or {}), "training": {"steps": steps, **settings}, **rest}
    return run(config, progress=progress, watch=watch)  # type: ignore[no-any-return]


def train_codec(
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
) -> Any:
    """Trains an autoencoder on your data and writes it to a folder, which later trainings name as their codec.

        lv.train_codec("my/pictures", size=64, steps=20000, out="my-vae")
        lv.train("my/pictures", size=64, model={"modality": {"codec": {"name": "vae", "folder": "my-vae"}}})

    Args:
        data, modality, steps, out, device, resume, progress, watch, split, size, options, settings: as of :func:`train`;
            matrices of transformers there are none, so that AdamW trains everything.
        model: ``autoencoder``, ``objective`` (weights of the loss), ``name``, ``summary``, ``licence``, ``attribution``.

    Returns:
        The codec: ``encode`` takes native objects to states, ``decode`` takes states back.

    Raises:
        ValueError, TypeError: data or settings that cannot work, before anything is computed.
    """
    opening = {"path": data, "modality": modality, "split": split, "size": size, **(options or {})}
    rest = {"out": out, "resume": resume, "device": device}
    node = {"autoencoder": {}, **(model or {})}
    config = {"data": opening, "model": node, "training": {"steps": steps, **settings}, **rest}
    return run(config, progress=progress, watch=watch)


def run(
    config: Mapping[str, Any], progress: bool | None = None, watch: Callable[[Progress], None] | None = None
) -> Any:
    """Trains what a configuration (``configs/train.yaml``) describes and writes it to its folder.

    Returns:
        The model; or the codec, where the configuration's ``model`` has an ``autoencoder``.

    Raises:
        ValueError: keys or values that cannot work.
        OSError: no such data.
    """
    for key in config:
        if key not in _KEYS:
            raise ValueError(unknown("key of a training run", key, _KEYS))
    settings = Settings.of(config["training"])
    training: dict[str, Any] = {name: getattr(settings, name) for name in config["training"]}
    data = dict(config["data"])
    found = plugin(str(data.pop("modality", "image")))
    opened = _open(found, locate(data.pop("path")), {k: v for k, v in data.items() if v is not None})
    given, record = dict(config.get("model") or {}), {"training": training, "data": _record(config["data"])}
    start = None if config.get("start") is None else load(config["start"], device="cpu", dtype="float32")
    if "autoencoder" in given:
        if start is not None:
            raise ValueError("start is for models; the training of an autoencoder begins anew")
        if found.autoencoder is None:
            raise ValueError(f"the modality {found.name!r} has no autoencoder that could be trained")
        coder: Autoencoder = found.autoencoder(opened, given, settings.seed)
        made = {key: value for key, value in given.items() if key not in _ABOUT}
        trainer = _fit(coder, opened, settings, config, made, progress, watch, lambda: coder.sheet(opened))
        training["steps"] = trainer.step
        coder.network.load_state_dict(trainer.averaged())
        coder.complete(opened, settings.seed)
        return (
            coder.save(folder_of(config, coder.name), record, trained(trainer), opened)
            if trainer.rank == 0
            else coder.codec
        )
    if start is not None:
        given = inherited(start, found, given)
    node = found.defaults(opened, given)
    model = build_model({**node, **record}, settings.seed)
    made = {key: value for key, value in node.items() if key not in _ABOUT}
    if start is not None:
        take_over(model, start)
        made["start"] = training["start"] = str(config["start"])
    trainer = _fit(model, opened, settings, config, made, progress, watch, lambda: _samples(model, opened))
    training["steps"] = trainer.step  # of a folder's checkpoint, where it was further
    model.network.load_state_dict(trainer.averaged())
    if trainer.step * settings.batch >= MEASURED:
        _measure(model, opened)
    if trainer.rank == 0:
        save_model(model, folder_of(config, model.name), card(model, trainer, start))
    model.network.eval().requires_grad_(False)
    return model


def folder_of(config: Mapping[str, Any], name: str) -> Path:
    """The folder of a run."""
    return Path(str(config.get("out") or Path("runs") / str(name)))


def _open(found: Plugin, path: Any, options: Mapping[str, Any]) -> Any:
    """A modality's data set, or the one that is given.

    Raises:
        ValueError: an option that it does not know.
    """
    if hasattr(path, "batch") and not options:  # a data set, made by hand
        return path
    try:
        return found.open(path, **options)
    except TypeError as error:
        wrong = [name for name in options if f"unexpected keyword argument {name!r}" in str(error)]
        if not wrong:
            raise
        raise ValueError(f"data of the modality {found.name!r} has no option {wrong[0]!r}") from error


def _fit(
    model: Any,
    data: Any,
    settings: Settings,
    config: Mapping[str, Any],
    made: Mapping[str, Any],
    progress: bool | None,
    watch: Callable[[Progress], None] | None,
    draw: Callable[[], Any],
) -> Trainer:
    """Runs a trainer to its end in its folder, with checkpoints, a log, a bar and pictures by ``draw``.

    ``made`` is the part of the configuration from which the weights follow.
    """
    out = folder_of(config, model.name)
    told = _record(config["data"])
    record = {"data": {k: v for k, v in told.items() if k not in _MOVABLE}, "model": made}
    with accelerated.engine(settings.precision, config.get("device")) as engine:
        out.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(
            model, data, settings, out, engine=engine, record=record, source=str(told.get("path", ""))
        )
        first = trainer.rank == 0
        resumed = _begin(trainer, out, bool(config.get("resume", True)))
        with Log(out, append=resumed) if first else contextlib.nullcontext() as log:
            lines = bar(
                trainer.run(),
                settings.steps,
                f"training {model.name}",
                (progress if first else False) if trainer.step < settings.steps else False,
                reached=lambda line: line.step,
                start=trainer.step,
                figures=_figures,
            )
            try:
                for line in lines:
                    if log is None:
                        continue
                    log.write(line)
                    if watch is not None:
                        watch(line)
                    if settings.show and line.step % settings.show < settings.log:
                        _show(trainer, draw, out / f"samples-{line.step:07d}.png")
            except KeyboardInterrupt:
                trainer.save()
                raise
    return trainer


def _begin(trainer: Trainer, out: Path, resume: bool) -> bool:
    """Whether a trainer goes on from its folder's checkpoint; what one may not expect is said on standard error."""
    if not resume:
        kept = checkpoint.set_aside(out) if trainer.rank == 0 else None
        if kept is not None:
            note(f"{out}: the earlier checkpoint is kept as {kept.name}")
        return False
    resumed = trainer.resume()
    if resumed and trainer.step >= trainer.settings.steps and trainer.rank == 0:
        note(
            f"{out}: its checkpoint is at step {trainer.step} of {trainer.settings.steps}, so nothing is trained; "
            "more training.steps go on, resume=false starts anew"
        )
    return resumed


def _figures(line: Progress) -> dict[str, str]:
    """What a bar says of a line of the log."""
    return {"loss": f"{line.loss:.4f}", "samples/s": f"{line.samples_per_second:.0f}"}


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


def _measure(model: Model, data: Any, rows: int = 8) -> None:
    """Stores the density of steps that this model's own flow asks for; see :mod:`langevin.core.curvature`."""
    import torch

    from langevin.core import curvature
    from langevin.core.guidance import cfg
    from langevin.core.processes.gaussian import Gaussian
    from langevin.core.rng import Stream

    if not any(isinstance(leaf, Gaussian) for leaf in model.process.leaves.values()):
        return
    if model.defaults.get("grid", "curvature") != "curvature":
        return  # no step of this model is placed by its density
    items, conditions = data.batch(list(range(min(rows, len(data)))))
    like, mask = model.modality.encode(items)
    given = _said(model, conditions)
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


def _said(model: Model, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """What the model takes of these conditions, where every item has it."""
    held = {name: list(values) for name, values in conditions.items() if name in model.conditions}
    return {name: values for name, values in held.items() if all(value is not None for value in values)}


def _show(trainer: Trainer, draw: Callable[[], Any], path: Path) -> None:
    """A picture drawn with the averaged weights; the trained weights are put back afterwards."""
    from langevin.folders import write_atomic

    network = trainer.network
    kept = {k: v.detach().clone() for k, v in network.state_dict().items()}
    network.load_state_dict(trainer.averaged())
    picture = draw()
    network.load_state_dict(kept)
    write_atomic(path, picture.save)


def _samples(model: Model, data: Any) -> Any:
    """Samples of a model in training, for the conditions of the first items."""
    _, conditions = data.batch(list(range(min(16, len(data)))))
    given = _said(model, conditions)
    samples = model.sample(len(next(iter(given.values()))) if given else 16, progress=False, **given)
    return model.modality.sheet(list(samples))


def trained(trainer: Trainer) -> str:
    """How long something was trained on how much, for its card."""
    settings = trainer.settings
    return f"{trainer.step:,} steps of {settings.batch}, {len(trainer.data):,} items, seed {settings.seed}"


def card(model: Model, trainer: Trainer, start: Model | None = None) -> str:
    """What is known about a model that was just trained, from the weights of ``start`` if there is one."""
    config, data = model.config, trainer.data
    licence = config.get("licence") or getattr(data, "licence", None) or "not stated: that of your data"
    attribution = config.get("attribution") or getattr(data, "attribution", None) or "not stated"
    return (
        f"# {model.name}\n\n{config.get('summary', 'A model trained with langevin.')}\n\n"
        f"- parameters: {model.parameters:,}\n"
        f"- conditions: {', '.join(model.conditions) or 'none'}\n"
        f"- trained: {trained(trainer)}\n"
        f"- licence: {licence}\n- attribution: {attribution}\n{descent(start) if start else ''}\n"
        "The loss curve is in log.csv; settings are in config.yaml under training and data.\n"
    )
