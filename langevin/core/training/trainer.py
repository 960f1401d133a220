"""The training loop: any model that has a loss, any data set that has batches.

Everything random in a step — which items, their times, noise and dropped conditions — follows from (seed, step, row of
the global batch). So a resumed run repeats the uninterrupted one, and two processes give the losses of one with the same
global batch. A checkpoint is whole or absent.

The loop needs torch alone. Device, precision and processes are the matter of its engine
(:mod:`langevin.core.training.engine`): every process takes its rows of the global batch, gradients are averaged over the
processes, and the first one writes.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from langevin.core.losses import LossAdaptive
from langevin.core.rng import Stream
from langevin.core.training import checkpoint, ema
from langevin.core.training.data import Dataset, Order
from langevin.core.training.engine import Engine, Plain
from langevin.core.training.fingerprint import fingerprint
from langevin.core.training.muon import MuonAdamW
from langevin.core.training.settings import Settings

__all__ = ["Progress", "Settings", "Trainer", "train"]

# what a resumed run shares with the one before it, and what it shares when nothing is left to train
_SHARED = ("batch", "seed", "optimizer", "average", "constant")
_SHAPING = ("lr", "warmup", "decay", "weight_decay", "clip", "accumulate", "precision")


@dataclass(frozen=True)
class Progress:
    """One line of the log: the means since the last one."""

    step: int
    loss: float
    parts: dict[str, float]
    lr: float
    grad_norm: float
    samples_per_second: float

    def __str__(self) -> str:
        rate = f"{self.samples_per_second:.0f} samples/s"
        return f"step {self.step}  loss {self.loss:.4f}  lr {self.lr:.2e}  {rate}"


@dataclass
class Trainer:
    """A run of training in a folder.

    Args:
        model: has ``network`` (an nn.Module) and ``loss(batch, rng, rows) -> (losses (B,), parts)``.
        data: items with raw conditions.
        settings: how.
        out: folder of checkpoints and logs; None keeps nothing.
        device: where the network is trained, if no engine says so.
        engine: device, precision and processes; torch by itself on ``device`` when None.
        record: what the run is made of, in plain values (the data's options, the model's configuration): a run that
            goes on from a checkpoint must have the same.
        source: where the data came from, in words, for messages.

    Raises:
        ValueError: a batch that the processes cannot share, or a precision that the engine does not have.
    """

    model: Any
    data: Dataset
    settings: Settings = field(default_factory=Settings)
    out: Path | None = None
    device: str = "cpu"
    engine: Engine | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        settings = self.settings
        self.step = 0
        self._fingerprint: str | None = None
        self._engine: Engine = self.engine or Plain(self.device, settings.precision)
        self.device, self.rank, self.world = self._engine.device, self._engine.rank, self._engine.world
        self.network: nn.Module = self.model.network.to(self.device)
        if settings.compile:
            getattr(self.network, "backbone", self.network).compile()
        lengths = getattr(self.data, "lengths", None)
        self.order = Order(len(self.data), settings.batch, settings.seed, lengths)
        if (settings.batch // settings.accumulate) % self.world:
            raise ValueError(
                f"training.batch / accumulate = {settings.batch // settings.accumulate} must be a multiple of the "
                f"{self.world} processes"
            )
        self.optimizer = self._engine.prepare(self._optimizer())
        rules: list[ema.Power | ema.Constant] = [ema.Power(width) for width in settings.average]
        if settings.constant:
            rules[0] = ema.Constant(settings.constant)
        self.rules = rules
        times = getattr(getattr(self.model, "objective", None), "times", None)
        self.times = times if isinstance(times, LossAdaptive) else None
        self.seen = self.times.start() if self.times else torch.zeros(0)
        self.averages = [{k: v.detach().clone() for k, v in self.network.state_dict().items()} for _ in rules]

    def _optimizer(self) -> torch.optim.Optimizer:
        settings = self.settings
        parameters = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        muon = settings.optimizer == "muon"
        matrices = [p for n, p in parameters if muon and p.ndim == 2 and n.startswith("backbone.blocks")]
        chosen = {id(p) for p in matrices}
        others = [p for _, p in parameters if id(p) not in chosen]
        low = torch.bfloat16 if settings.precision == "bf16" else None
        return MuonAdamW(matrices, others, settings.lr, weight_decay=settings.weight_decay, dtype=low)

    def run(self, watch: Callable[[Progress], None] | None = None) -> Iterator[Progress]:
        """Trains from the current step to the end, yielding a :class:`Progress` every ``settings.log`` steps."""
        settings = self.settings
        total, parts, count, started, norm = 0.0, {}, 0, time.perf_counter(), 0.0  # type: ignore[var-annotated]
        while self.step < settings.steps:
            loss, split, norm = self.advance()
            total, count = total + loss, count + 1
            for name, value in split.items():
                parts[name] = parts.get(name, 0.0) + value
            last = self.step == settings.steps
            if self.step % settings.log == 0 or last:
                seconds = max(time.perf_counter() - started, 1e-9)
                means = {name: value / count for name, value in parts.items()}
                yield Progress(
                    self.step,
                    total / count,
                    means,
                    settings.rate(self.step - 1),
                    norm,
                    count * settings.batch / seconds,
                )
                total, parts, count, started = 0.0, {}, 0, time.perf_counter()
            if self.out is not None and (self.step % settings.save == 0 or last):
                self.save()

    def advance(self) -> tuple[float, dict[str, float], float]:
        """One optimiser step; (mean loss, its parts, gradient norm) over the global batch.

        Raises:
            FloatingPointError: the loss is not finite; the message says at which step.
        """
        settings = self.settings
        indices = self.order.indices(self.step)
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate(self.step)
        share = settings.batch // settings.accumulate
        mine = share // self.world
        total, parts = 0.0, {}  # type: ignore[var-annotated]
        density = self.times.bind(self.seen) if self.times else None
        extra = {"times": density} if density else {}
        drawn: list[tuple[Tensor, Tensor]] = []
        for k in range(settings.accumulate):
            low = k * share + self.rank * mine
            rows = range(low, low + mine)
            items, conditions = self.data.batch([indices[i] for i in rows])
            rng = Stream.of(settings.seed, rows).fold("train", self.step)
            with self._engine.autocast():
                losses, split = self.model.loss(items, conditions, rng, rows=(low, settings.batch), **extra)
            if density:
                drawn.append((density(rng.fold("time")), losses.detach()))
            loss = losses.mean() / settings.accumulate
            self._engine.backward(loss)
            total += loss.item()
            for name, value in split.items():
                parts[name] = parts.get(name, 0.0) + value.detach().mean().item() / settings.accumulate
        total, parts = self._means(total, parts)
        if self.times:
            self.seen = self.times.observe(self.seen, *self._gathered(drawn))
        if not math.isfinite(total):
            raise FloatingPointError(
                f"the loss is {total} at step {self.step}; lower training.lr ({settings.lr}) or check the data for NaN"
            )
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = self._engine.clip(parameters, settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        weights = self.network.state_dict()
        for rule, average in zip(self.rules, self.averages, strict=True):
            ema.update(average, weights, rule.keep(self.step))
        return total, parts, norm

    def _means(self, total: float, parts: dict[str, float]) -> tuple[float, dict[str, float]]:
        """Means over processes of the losses and, in place, of the gradients."""
        if self.world == 1:
            return total, parts
        self._engine.average([p.grad for p in self.network.parameters() if p.grad is not None])
        values = torch.tensor([total, *parts.values()], dtype=torch.float64)
        self._engine.average([values])
        return values[0].item(), dict(zip(parts, values[1:].tolist(), strict=True))

    def _gathered(self, drawn: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Times and losses of a step from all processes, in the order of the global batch's processes."""
        own = [torch.cat([pair[i].cpu().double() for pair in drawn]) for i in (0, 1)]
        t, loss = (torch.cat(values) for values in zip(*self._engine.gather(own), strict=True))
        return t, loss

    def averaged(self, index: int = 0) -> dict[str, Tensor]:
        """The averaged weights that become the model."""
        return self.averages[index]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a resumed run needs, as tensors by name and plain settings."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for i, average in enumerate(self.averages):
            tensors |= {f"average.{i}.{k}": v for k, v in average.items()}
        tensors |= checkpoint.optimizer_tensors(self.optimizer)
        if self.times:
            tensors["times.seen"] = self.seen
        return tensors, {
            "step": self.step,
            "settings": _plain(asdict(self.settings)),
            "items": len(self.data),
            "fingerprint": self.fingerprint,
            "record": _plain(self.record),
            "source": self.source,
            "engine": self._engine.state(),
        }

    @property
    def fingerprint(self) -> str:
        """The digest of the data, taken once; see :mod:`langevin.core.training.fingerprint`."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.data)
        return self._fingerprint

    def save(self) -> None:
        """Writes the checkpoint of this step; the one before stays until this is whole."""
        if self.out is None or self.rank:
            return
        tensors, meta = self.state()
        checkpoint.write(Path(self.out), tensors, meta)
        if self.settings.snapshots:
            rules = [asdict(rule) for rule in self.rules]
            checkpoint.write_snapshot(
                Path(self.out), self.step, self.averages, rules, self.settings.snapshots
            )

    def resume(self, folder: Path | None = None) -> bool:
        """Goes on from a folder's checkpoint, its own by default; False if it has none.

        Raises:
            ValueError: the checkpoint belongs to another network, other data, or another batch or seed; or it has reached
                the last step, and was made with other settings. The checkpoint stays as it is.
        """
        folder = folder or self.out
        if folder is None:
            return False
        if self.rank == 0:
            checkpoint.clear(Path(folder))
        if not checkpoint.exists(Path(folder)):
            return False
        tensors, meta = checkpoint.read(Path(folder))
        reason = self._other(meta)
        if reason:
            raise ValueError(
                f"the checkpoint in {folder} {reason}; name another folder (out=…), or start anew there (resume=false)"
            )
        checkpoint.load_into(self.network, tensors, "network.")
        for i, average in enumerate(self.averages):
            for name in average:
                average[name].copy_(tensors[f"average.{i}.{name}"])
        checkpoint.load_optimizer(self.optimizer, tensors)
        if self.times:
            self.seen = tensors["times.seen"]
        self._engine.load(meta.get("engine", {}))
        self.step = meta["step"]
        return True

    def _other(self, meta: Mapping[str, Any]) -> str | None:
        """Why a checkpoint is not one of this run; None if it is."""
        done = meta["step"] >= self.settings.steps
        mine = _plain(asdict(self.settings))
        for name in (*_SHARED, *(_SHAPING if done else ())):
            saved = meta["settings"].get(name)
            if saved != mine[name]:
                over = ", and it has no step left to train" if name in _SHAPING else ""
                return f"was made with training.{name} = {saved}, not {mine[name]}{over}"
        if meta["items"] != len(self.data):
            return f"saw {meta['items']} items, the data now has {len(self.data)}"
        if "record" in meta:
            saved, now = dict(_leaves(meta["record"])), dict(_leaves(_plain(self.record)))
            for name in sorted(saved.keys() | now.keys()):
                if saved.get(name) != now.get(name):
                    was, here = (str(values.get(name, "unset"))[:60] for values in (saved, now))
                    return f"was made with {name} = {was}, not {here}"
        seen = meta.get("fingerprint", self.fingerprint)
        # a set that gives other items each time it is read cannot be told by them
        if seen != self.fingerprint and fingerprint(self.data) == self.fingerprint:
            where = f": {meta.get('source')}, and now {self.source}" if self.source else ""
            return f"saw other data{where}"
        return None


def train(trainer: Trainer, watch: Callable[[Progress], None]) -> None:
    """Runs a trainer to its end, passing each line of the log to ``watch``; on Ctrl-C the work so far is saved."""
    try:
        for progress in trainer.run():
            watch(progress)
    except KeyboardInterrupt:
        trainer.save()
        raise


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree as JSON would give it back; what JSON has not is named."""
    return json.loads(json.dumps(tree, default=str))  # type: ignore[no-any-return]


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a tree by their dotted names."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree
