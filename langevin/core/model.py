"""Model: a modality, a network and a process, with the verbs that users call.

Every verb is an operation of the core on a state; the modality only encodes, decodes and says what shapes are. Samples
are numbered: sample i of a seed is the same whatever the batch size, and a run in batches is the run in one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from langevin.core import streaming, verbs
from langevin.core.conditioning import Embedded
from langevin.core.denoiser import NetworkDenoiser
from langevin.core.draw import Counter, Draw
from langevin.core.errors import unknown
from langevin.core.keep import Keep
from langevin.core.losses import Objective, Times, Uncertainty
from langevin.core.network import Network
from langevin.core.objects import count, encoded, listed, shapes, spec_of
from langevin.core.passing import passing
from langevin.core.processes import Process, State
from langevin.core.records import digest, given
from langevin.core.request import (
    Guidance,
    broadcast_conditions,
    check_names,
    checked_batch,
    checked_numbers,
    resolve,
)
from langevin.core.rng import Stream
from langevin.core.samplers import Sampler, Step
from langevin.core.samplers.base import GridLike
from langevin.core.training.loss import losses_of

__all__ = ["Model"]

_BATCH = 64


class Model:
    """A trained (or trainable) generator.

    Args:
        modality: everything the core does not know; see ``langevin.modalities.base``.
        network: the trainable part.
        process: what the network was trained on.
        parametrisation: of the network's output on Gaussian leaves, or a dict by leaf.
        objective: what it is trained for.
        drop: rate at which each condition is dropped in training.
        defaults: ``sampler``, ``steps``, ``guidance`` and curvature ``density`` used where a call does not say.
        config: the plain tree it was built from, which :meth:`save` writes.
    """

    def __init__(
        self,
        modality: Any,
        network: Network,
        process: Process,
        parametrisation: str | dict[str, str] = "velocity",
        objective: Objective | None = None,
        drop: Mapping[str, float] | None = None,
        defaults: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.modality, self.network, self.process = modality, network, process
        self.objective = objective or Objective()
        if self.objective.uncertainty:
            network.uncertainty = (
                Uncertainty()
            )  # a part of the network, so that it is trained, averaged and saved
        self.drop = dict(drop or {})
        self.defaults = dict(defaults or {})
        self.config = dict(config or {})
        self.source = ""  # how langevin.load finds it; set when it is loaded
        taken = [*inspect.signature(self.sample).parameters, *(f.name for f in fields(modality.spec))]
        check_names(self.conditions, taken)
        recall = float(self.defaults.get("recall") or 0.0)
        self.denoiser = NetworkDenoiser(network, process, parametrisation, recall=recall)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self.parameters:,} parameters, conditions={list(self.conditions)}, on {self.device})"

    @property
    def name(self) -> str:
        """Its name, for records."""
        return str(self.config.get("name", "unnamed"))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of what samples can be conditioned on."""
        return tuple(self.network.conditions.keys())

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(p.numel() for p in self.network.parameters())

    def to(self, device: str | torch.device) -> Model:
        """The same model with its network on another device."""
        self.network.to(device)
        return self

    def cast(self, dtype: Any) -> Model:
        """The same model computing in another dtype ("bfloat16" or a torch dtype); states stay float32."""
        if dtype is not None:
            wanted = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
            if wanted not in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
                raise ValueError(f"dtype must be float32, float64, bfloat16 or float16, got {dtype!r}")
            self.network.to(wanted)
            self.denoiser = replace(self.denoiser, dtype=wanted)
        return self

    def parse(self, conditions: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        """Users' values, one for each sample, as the tensors that embedders take."""
        return {
            name: self.network.conditions[name].parse(values).to(self.device)  # type: ignore[operator]
            for name, values in conditions.items()
        }

    def embed(self, n: int | None = None, **conditions: Any) -> dict[str, Embedded]:
        """Users' values as the conditions that guidances hold.

            both = lv.guidance.compose([(model.embed(label=3), 2.0), (model.embed(label=8), 2.0)])
            away = lv.guidance.cfg(3.0, negative=model.embed(prompt="a red star"))
            model.sample(16, guidance=both)

        One row serves every sample of a run, n rows are for its n samples.

        Args:
            n: rows; as many as the values of a list when None, else 1.
            conditions: by name, one value for all rows or a list with one for each; None to say nothing.

        Raises:
            TypeError: a name that the model does not take.
            ValueError: a value that a condition does not take, or lists of different lengths.
        """
        n, raw = broadcast_conditions(conditions, n, self.conditions)
        with torch.no_grad():
            return self.network.embed(self.parse(raw))

    def choices(self, name: str) -> str:
        """What values a condition takes, in words.

        Raises:
            KeyError: a name that the model does not take.
        """
        if name not in self.conditions:
            raise KeyError(unknown("condition", name, self.conditions))
        return self.network.conditions[name].describe()  # type: ignore[operator, no-any-return]

    def loss(
        self,
        items: Any,
        conditions: Mapping[str, Sequence[Any]],
        rng: Stream,
        rows: tuple[int, int] | None = None,
        times: Times | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The training loss of each item, shape (B,), and its parts by leaf.

        Args:
            items: native objects; their shapes may differ (:mod:`langevin.core.packing`).
            conditions: raw values by name, None for an item that has none; names that the network does not take are
                ignored.
            rng: one row for each item.
            rows: (first, total) of these rows in a batch that processes share.
            times: a density of times in place of the objective's own.
        """
        objective = replace(self.objective, times=times) if times is not None else self.objective
        batches = [batch.to(self.device) for batch in self.modality.batches(items)]
        known, absent = _known({k: v for k, v in conditions.items() if k in self.network.conditions})
        condition = self.network.drop(self.parse(known), self.drop, rng, absent)
        each, parts, t = losses_of(
            self.denoiser,
            objective,
            batches,
            condition,
            rng,
            rows,
            self.modality.couple,
            self.modality.parts,
            self.modality.auxiliary,
        )
        if self.objective.uncertainty:
            assert isinstance(t, Tensor)
            schedule = next(leaf.schedule for leaf in self.process.leaves.values() if leaf.order > 1)  # type: ignore[attr-defined]
            u = self.network.uncertainty(schedule.log_snr(t.to(each.device)))  # type: ignore[operator]
            each = each * torch.exp(-u) + u
        return each, parts

    def sample(
        self,
        n: int | None = None,
        *,
        steps: int | None = None,
        evaluations: int | None = None,
        sampler: str | Sampler | None = None,
        grid: str | GridLike | None = None,
        guidance: float | Guidance | None = None,
        negative: Mapping[str, Any] | str | None = None,
        temperature: float | Mapping[str, float] | None = None,
        lag: Mapping[str, float] | None = None,
        seed: int | Sequence[int] = 0,
        first: int | Sequence[int] = 0,
        batch_size: int | None = None,
        start: Any = None,
        strength: float | None = None,
        like: Any = None,
        keep: Keep | None = None,
        noise: State | None = None,
        progress: bool | None = None,
        watch: Callable[[Step], None] | None = None,
        **conditions: Any,
    ) -> Any:
        """Draws samples.

        Args:
            n: how many; by default as many as ``start``, ``like``, ``noise`` or a condition have entries, else 1.
            steps: solver steps; the model's own number by default.
            evaluations: in place of steps: the most network evaluations of one sample under no guidance.
            sampler: a name (``lv.samplers.PRESETS``) or a sampler.
            grid: a name, a grid (``lv.grids.karras(12)``) or a list of times.
            guidance: weight of classifier-free guidance, 1 for none; or a guidance (``lv.guidance``), whose own
                conditions :meth:`embed` makes.
            negative: conditions to move away from, by name, one value or one for each sample; a text stands for the
                prompt.
            temperature: of draws of classes (elements, bonds, words), one number or one by leaf; below 1 the likelier
                ones come more often. The model's own by default.
            lag: by leaf, the common time at which its clock begins to fall, as {"bonds": 0.7}: classes are drawn when
                points are almost in place. The model's own by default; {} for none.
            seed: of all random numbers, 0 … 2⁶⁴ − 1; sample i does not depend on n or the batch size. A list has one for
                each sample, which is then number ``first`` of its own seed.
            first: number of the first sample under the seed: n samples from 8 on are samples 8 … of a longer run. A list
                has the number of each sample.
            batch_size: samples at a time; halved when memory runs out, with the same samples.
            start: native object(s) to begin from in place of noise, with ``strength`` (image-to-image and its kin).
            strength: time at which to begin from ``start``, in (0, 1].
            like: native object(s) that give shapes, and the known values for ``keep``.
            keep: which elements of ``like``, or of ``start``, are kept; see ``lv.keep``.
            noise: states at t = 1, as :meth:`invert` gives them, in place of fresh noise.
            progress: show a bar; by default if standard error is a terminal. A run that will take more than 30 s says so
                there in either case, unless this is False.
            watch: called with every :class:`Step` of every batch, for previews.
            conditions: by name, one value for all samples or a list with one for each; and the fields of the modality's
                spec, which say what shape new samples have (height and width, seconds, atoms …); ``start`` and ``like``
                have shapes of their own. Where these ask for
                windows, samples are drawn as by :meth:`stream`.

        Returns:
            The modality's samples: a sequence of native objects, with ``save`` and ``report``.

        Raises:
            TypeError, ValueError: an argument is wrong or contradicts another; the message says what is allowed.
        """
        if start is not None and (like is not None or noise is not None):
            raise ValueError("start replaces the noise; it does not go with like or noise")
        if strength is not None and start is None:
            raise ValueError("strength says how far to go from start; give start as well")
        if (keep is None) != (like is None) and (keep is None or start is None):
            raise ValueError(
                "like and keep go together: like has the known values, keep says which of them count; "
                "keep may go with start, too"
            )
        spec, sizes, conditions = spec_of(self.modality, conditions)
        name, objects = ("start", start) if start is not None else ("like", like)
        if objects is not None and (twice := shapes(self.modality, sizes)):
            raise ValueError(
                f"{name} says what shape the samples have; leave out {', '.join(twice)}, or resize it"
            )
        if self.modality.windowed(spec):
            if noise is not None:
                raise ValueError("noise is that of a sample drawn at once; it does not go with window")
            how = {"steps": steps, "evaluations": evaluations, "sampler": sampler, "grid": grid}
            more = {"guidance": guidance, "negative": negative, "temperature": temperature, "lag": lag}
            which = {"seed": seed, "first": first, "batch_size": batch_size}
            seen = {"progress": progress, "watch": watch}
            return self.stream(n, **how, **more, **which, **seen, **sizes, **conditions).collect()  # type: ignore[arg-type]
        n, raw = broadcast_conditions(conditions, count(objects, noise) if n is None else n, self.conditions)
        if noise is not None and count(None, noise) != n:
            raise ValueError(f"noise has {count(None, noise)} states for {n} samples; give one for each")
        run = resolve(
            self.process,
            steps=steps,
            evaluations=evaluations,
            sampler=sampler,
            grid=grid,
            guidance=guidance,
            negative=self._negative(negative),
            defaults=self.defaults,
            strength=(0.6 if strength is None else strength) if start is not None else None,
            temperature=temperature,
            lag=lag,
        )
        counter, (seed, numbers) = Counter(watch), checked_numbers(seed, first, n)
        held, kept = objects, keep
        if objects is None:  # what the spec says to be there from the start
            rng = Stream.of(seed, numbers).fold("sample")
            held, kept = self.modality.known(spec, rng) or (None, None)
        known, known_mask = encoded(self.modality, held, n)
        chosen = self.modality.chosen(kept, known, listed(held)) if kept is not None else None
        size = min(checked_batch(batch_size, _BATCH), n)
        self.network.eval()
        draw = Draw(
            self,
            run,
            n,
            raw,
            seed,
            spec,
            known,
            known_mask,
            start is not None,
            chosen,
            noise,
            numbers=numbers,
        )
        state, mask = draw.all(size, counter, progress)
        record = draw.record(counter) | {
            "negative": {"prompt": negative} if isinstance(negative, str) else negative or None,
            "spec": sizes,
            "strength": (0.6 if strength is None else strength) if start is not None else None,
            name: None if objects is None else given(listed(objects)[0], [known, known_mask]),
            "keep": None if keep is None else {"given": keep.name, "sha256": digest(chosen)},
            "noise": None if noise is None else given(noise),
        }
        return self.modality.collect(
            state,
            mask,
            record,
            raw,
            None if held is None else listed(held),
            kept,
            numbers,
        )

    # functions of a model, on a page of their own
    vary = verbs.vary
    passing = passing
    invert = verbs.invert
    interpolate = verbs.interpolate
    score = verbs.score
    steer = verbs.steer
    stream = streaming.stream
    extend = streaming.extend

    def _negative(self, negative: Mapping[str, Any] | str | None) -> dict[str, Embedded] | None:
        """Negative conditions by name; a text stands for the prompt. One row, which guidance repeats, or one a sample."""
        if not negative:
            return None
        return self.embed(**({"prompt": negative} if isinstance(negative, str) else negative))

    @staticmethod
    def load(path: str | Path, device: str | None = None, dtype: Any = None) -> Model:
        """A model folder, ready to sample; the same as ``langevin.load(path)``."""
        from langevin.assembly import load_model

        return load_model(Path(path), device, dtype)

    def save(self, path: str | Path, *, card: str | None = None) -> Path:
        """Writes a model folder: config.yaml, model.safetensors in half precision, card.md."""
        from langevin.assembly import save_model

        return save_model(self, Path(path), card)


def _known(conditions: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Sequence[Any]], dict[str, Tensor]]:
    """Conditions with another item's value in place of None, and where; those that are None throughout are left out."""
    known: dict[str, Sequence[Any]] = {}
    absent: dict[str, Tensor] = {}
    for name, values in conditions.items():
        there = [value for value in values if value is not None]
        if len(there) == len(values):
            known[name] = values
        elif there:
            known[name] = [there[0] if value is None else value for value in values]
            absent[name] = torch.tensor([value is None for value in values])
    return known, absent
