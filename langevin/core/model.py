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

from langevin.core import grids, likelihood
from langevin.core.batches import join, pick, slerp, to
from langevin.core.denoiser import Denoiser, NetworkDenoiser
from langevin.core.keep import Keep, Known, paste
from langevin.core.losses import Objective, Times, Uncertainty
from langevin.core.network import Network
from langevin.core.processes import Process, State, split
from langevin.core.progress import bar
from langevin.core.request import Guidance, Run, broadcast_conditions, check_names, resolve
from langevin.core.rng import Stream
from langevin.core.samplers import Multistep, Particles, Sampler, Single, Step
from langevin.core.samplers import sample as drive
from langevin.core.samplers.base import GridLike
from langevin.core.samplers.particles import choose
from langevin.core.training.loss import losses

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
        self.denoiser = NetworkDenoiser(network, process, parametrisation)

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
            items: native objects.
            conditions: raw values by name; names that the network does not take are ignored.
            rng: one row for each item.
            rows: (first, total) of these rows in a batch that processes share.
            times: a density of times in place of the objective's own.
        """
        objective = replace(self.objective, times=times) if times is not None else self.objective
        x, mask = self.modality.encode(items)
        known = {name: values for name, values in conditions.items() if name in self.network.conditions}
        condition = self.network.drop(self.parse(known), self.drop, rng)
        each, parts, t = losses(
            self.denoiser, objective, to(x, self.device), condition, rng, to(mask, self.device), rows
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
        seed: int = 0,
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
            guidance: weight of classifier-free guidance, 1 for none; or a guidance (``lv.guidance``).
            negative: conditions to move away from; a text stands for the prompt.
            seed: of all random numbers; sample i does not depend on n or the batch size.
            batch_size: samples at a time; halved when memory runs out, with the same samples.
            start: native object(s) to begin from in place of noise, with ``strength`` (image-to-image and its kin).
            strength: time at which to begin from ``start``, in (0, 1].
            like: native object(s) that give shapes, and the known values for ``keep``.
            keep: which elements of ``like`` are kept; see ``lv.keep``.
            noise: states at t = 1, as :meth:`invert` gives them, in place of fresh noise.
            progress: show a bar; by default if standard error is a terminal.
            watch: called with every :class:`Step` of every batch, for previews.
            conditions: by name, one value for all samples or a list with one for each; and the fields of the modality's
                spec, which say what shape new samples have (height and width, seconds, atoms …).

        Returns:
            The modality's samples: a sequence of native objects, with ``save`` and ``report``.

        Raises:
            TypeError, ValueError: an argument is wrong or contradicts another; the message says what is allowed.
        """
        if start is not None and (like is not None or noise is not None):
            raise ValueError("start replaces the noise; it does not go with like or noise")
        if strength is not None and start is None:
            raise ValueError("strength says how far to go from start; give start as well")
        if (keep is None) != (like is None):
            raise ValueError(
                "like and keep go together: like has the known values, keep says which of them count"
            )
        spec, conditions = self._spec(conditions)
        n = _count(start if start is not None else like, noise) if n is None else n
        n, raw = broadcast_conditions(conditions, n, self.conditions)
        run = resolve(
            self.process,
            steps=steps,
            evaluations=evaluations,
            sampler=sampler,
            grid=grid,
            guidance=guidance,
            negative=self._negative(negative, n),
            defaults=self.defaults,
            strength=(0.6 if strength is None else strength) if start is not None else None,
        )
        known, known_mask = self._known(start if start is not None else like, n)
        chosen = self.modality.chosen(keep, known) if keep is not None else None
        watching = _Counter(watch)
        size = min(batch_size or _BATCH, n)
        parts: list[tuple[State, Tensor | None]] = []
        done = 0
        self.network.eval()
        while done < n:
            rows = range(done, min(done + size, n))
            try:
                parts.append(
                    self._batch(
                        run,
                        rows,
                        raw,
                        seed,
                        known,
                        known_mask,
                        chosen,
                        start,
                        noise,
                        spec,
                        progress,
                        watching,
                    )
                )
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size = (size + 1) // 2
                continue
            done = rows.stop
        state, mask = join([p[0] for p in parts]), join([p[1] for p in parts])
        record = {
            "model": self.source or self.name,
            **run.about,
            "steps": len(run.times) - 1,
            "seed": seed,
            "evaluations": watching.evaluations,
            "network_rows": watching.rows * n,
            "strength": strength if start is not None else None,
            "keep": keep.name if keep is not None else None,
            "licence": self.config.get("licence"),
            "attribution": self.config.get("attribution"),
        }
        return self.modality.collect(
            state, mask, record, raw, _listed(like) if keep is not None else None, keep
        )

    def _batch(
        self,
        run: Run,
        rows: range,
        raw: Mapping[str, list[Any]],
        seed: int,
        known: State | None,
        known_mask: Tensor | None,
        chosen: State | None,
        start: Any,
        noise: State | None,
        spec: Any,
        progress: bool | None,
        watching: _Counter,
    ) -> tuple[State, Tensor | None]:
        """The samples of some rows of a run: (state, mask), on the CPU."""
        rng = Stream.of(seed, rows).fold("sample")
        condition = self.network.embed(self.parse({k: [v[i] for i in rows] for k, v in raw.items()}))
        here = slice(rows.start, rows.stop)
        if known is not None:
            like, mask = pick(known, here), pick(known_mask, here)
        else:
            like, mask = self.modality.blank(
                rows, rng, {k: [v[i] for i in rows] for k, v in raw.items()}, spec
            )
        like, mask = to(like, self.device), to(mask, self.device)
        denoiser: Denoiser = run.guidance(self.denoiser) if run.guidance else self.denoiser
        x: State | None = to(pick(noise, here), self.device)
        if start is not None:
            x = self.process.corrupt(like, run.times[0], rng.fold("start"), mask=mask)
        where = to(pick(chosen, here), self.device)
        if where is not None:
            denoiser = Known(denoiser, like, where)
        moves = len(run.sampler.plan(self.process, run.times))
        stepping = drive(
            denoiser, run.sampler, run.times, rng, x=x, like=like, condition=condition, mask=mask
        )
        with torch.no_grad():
            for step in bar(stepping, moves, f"samples {rows.start}–{rows.stop - 1}", progress):
                watching(step, denoiser)
        state = paste(step.x, like, where) if where is not None else step.x
        return to(state, "cpu"), to(mask, "cpu")

    def _spec(self, given: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The modality's spec from the keywords that are its fields, and the other keywords."""
        names = {f.name for f in fields(self.modality.spec)}
        chosen = {k: v for k, v in given.items() if k in names}
        return self.modality.spec(**chosen), {k: v for k, v in given.items() if k not in names}

    def _negative(self, negative: Mapping[str, Any] | str | None, n: int) -> dict[str, Any] | None:
        """Negative conditions by name; a text stands for the prompt. Embedded for one row, which guidance repeats."""
        if not negative:
            return None
        named = {"prompt": negative} if isinstance(negative, str) else dict(negative)
        _, raw = broadcast_conditions(named, 1, self.conditions)
        return dict(self.network.embed(self.parse(raw)))

    def _known(self, items: Any, n: int) -> tuple[State | None, Tensor | None]:
        """The states of native objects, one for each sample: a lone object serves all.

        Raises:
            ValueError: neither one object nor n of them.
        """
        if items is None:
            return None, None
        listed = _listed(items)
        if len(listed) not in (1, n):
            raise ValueError(f"{len(listed)} objects for {n} samples; give one, or one for each")
        state, mask = self.modality.encode(listed)
        if len(listed) == 1 and n > 1:
            state, mask = (pick(part, torch.zeros(n, dtype=torch.long)) for part in (state, mask))
        return state, mask

    def vary(self, item: Any, amount: float = 0.3, n: int = 4, **options: Any) -> Any:
        """``n`` variations of an object: noised to the time ``amount`` and sampled again. Options as for :meth:`sample`."""
        return self.sample(n, start=item, strength=amount, **options)

    def invert(
        self, items: Any, *, steps: int = 50, guidance: float | Guidance | None = 1.0, **conditions: Any
    ) -> State:
        """The noise from which the deterministic flow makes these objects: states at t = 1, for ``sample(noise=…)``.

        Args:
            items: a native object or a list of them.
            steps: of the rising grid.
            guidance: 1 by default; inversion under strong guidance does not return.
            conditions: by name.
        """
        listed = _listed(items)
        n, raw = broadcast_conditions(conditions, len(listed), self.conditions)
        state, mask = self._known(listed, n)
        assert state is not None
        run = resolve(
            self.process,
            steps=steps,
            evaluations=None,
            sampler=Multistep(2, of="v", corrector=True),
            grid="uniform",
            guidance=guidance,
            negative=None,
            defaults={},
            rising=True,
        )
        self.network.eval()
        denoiser = run.guidance(self.denoiser) if run.guidance else self.denoiser
        condition = self.network.embed(self.parse(raw))
        rng = Stream.of(0, n).fold("invert")
        for step in drive(  # noqa: B007
            denoiser,
            run.sampler,
            run.times,
            rng,
            x=to(state, self.device),
            condition=condition,
            mask=to(mask, self.device),
        ):
            pass
        return to(step.x, "cpu")

    def interpolate(self, a: Any, b: Any, n: int = 7, *, steps: int = 50, **conditions: Any) -> Any:
        """``n`` objects from ``a`` to ``b``: both inverted, their noises joined along the great circle, sampled.

        The ends are what inversion and sampling make of ``a`` and ``b``, close to them and not equal. Conditions with two
        values apply to the ends of the inversion and, halfway each, to the path.
        """
        if n < 2:
            raise ValueError(f"interpolate needs at least 2 samples, its ends, got {n}")
        ends = {k: v if isinstance(v, (list, tuple)) else [v, v] for k, v in conditions.items()}
        noise = self.invert([a, b], steps=steps, **ends)  # type: ignore[arg-type]
        weights = torch.linspace(0, 1, n)
        path: dict[str, Any] = {
            k: [v[0] if w < 0.5 else v[-1] for w in weights.tolist()] for k, v in ends.items()
        }
        start = {name: slerp(part[0], part[1], weights) for name, part in split(noise).items()}
        joined = start if isinstance(noise, dict) else start[""]
        sampler = Multistep(2, of="v", corrector=True)
        return self.sample(n, noise=joined, sampler=sampler, grid=grids.uniform(steps), guidance=1.0, **path)

    def score(
        self, items: Any, *, steps: int = 50, probes: int = 4, seed: int = 0, **conditions: Any
    ) -> Tensor:
        """log p of each object in nats under the probability flow, shape (B,): higher is likelier under the model.

        Of the state that the modality encodes (latents for a latent model), at noise 1e-3; see
        :func:`langevin.core.likelihood.log_likelihood`.
        """
        listed = _listed(items)
        n, raw = broadcast_conditions(conditions, len(listed), self.conditions)
        state, mask = self._known(listed, n)
        if not isinstance(state, Tensor):
            raise TypeError("score covers models of one Gaussian leaf")
        self.network.eval()
        condition = self.network.embed(self.parse(raw))
        rng = Stream.of(seed, n).fold("score")
        with torch.no_grad():
            return likelihood.log_likelihood(
                self.denoiser,
                state.to(self.device),
                rng,
                condition=condition,
                mask=to(mask, self.device),
                grid=grids.uniform(steps),
                probes=probes,
            ).cpu()

    def steer(
        self,
        reward: Callable[[list[Any]], Any],
        n: int = 1,
        *,
        particles: int = 8,
        strength: float = 1.0,
        steps: int | None = None,
        seed: int = 0,
        guidance: float | Guidance | None = None,
        **conditions: Any,
    ) -> Any:
        """Samples from the model tilted by exp(strength · reward), by sequential Monte Carlo over particles.

        Args:
            reward: decoded objects ↦ one number for each; larger is better. Failures to decode are passed as they are.
            n: samples; each has its own particles.
            particles: K for each.
            strength: λ.
        """
        spec, conditions = self._spec(conditions)
        n, raw = broadcast_conditions(conditions, n, self.conditions)
        run = resolve(
            self.process,
            steps=steps,
            evaluations=None,
            sampler=Single(1.0),
            grid="uniform",
            guidance=guidance,
            negative=None,
            defaults=self.defaults,
        )
        rows = [i for i in range(n) for _ in range(particles)]
        like, mask = self.modality.blank(
            range(n), Stream.of(seed, n).fold("sample"), {k: list(v) for k, v in raw.items()}, spec
        )
        index = torch.tensor(rows)
        like, mask = to(pick(like, index), self.device), to(pick(mask, index), self.device)

        def of_state(x: State) -> Tensor:
            values = reward(self.modality.decode(to(x, "cpu"), to(mask, "cpu")))
            return torch.as_tensor(values, dtype=torch.float64)

        sampler = Particles(of_state, particles, run.sampler, strength)
        self.network.eval()
        denoiser = run.guidance(self.denoiser) if run.guidance else self.denoiser
        condition = self.network.embed(self.parse({k: [v[i] for i in rows] for k, v in raw.items()}))
        rng = Stream.of(seed, n).fold("sample").particles(particles)
        for step in drive(denoiser, sampler, run.times, rng, like=like, condition=condition, mask=mask):  # noqa: B007
            pass
        state = choose(step.x, step.memory, particles, rng)
        first = torch.arange(n) * particles
        record = {
            "model": self.source or self.name,
            **run.about,
            "seed": seed,
            "particles": particles,
            "reward_strength": strength,
            "evaluations": step.evaluations,
            "network_rows": step.evaluations * particles * n,
            "licence": self.config.get("licence"),
            "attribution": self.config.get("attribution"),
        }
        return self.modality.collect(to(state, "cpu"), to(pick(mask, first), "cpu"), record, raw, None, None)

    @staticmethod
    def load(path: str | Path, device: str | None = None, dtype: Any = None) -> Model:
        """A model folder, ready to sample; the same as ``langevin.load(path)``."""
        from langevin.assembly import load_model

        return load_model(Path(path), device, dtype)

    def save(self, path: str | Path, *, card: str | None = None) -> Path:
        """Writes a model folder: config.yaml, model.safetensors in half precision, card.md."""
        from langevin.assembly import save_model

        return save_model(self, Path(path), card)


class _Counter:
    """Counts evaluations and network rows of one sample, and passes steps on."""

    def __init__(self, watch: Callable[[Step], None] | None) -> None:
        self.watch, self.evaluations, self.rows, self._before = watch, 0, 0, 0

    def __call__(self, step: Step, denoiser: Denoiser) -> None:
        if step.index == 0:
            self.evaluations = self.rows = self._before = 0
        asked, self._before = step.evaluations - self._before, step.evaluations
        self.evaluations = step.evaluations
        self.rows += asked * denoiser.rows(step.move.t)
        if self.watch is not None:
            self.watch(step)


def _listed(items: Any) -> list[Any]:
    """Native objects as a list: those of a list or of samples, or a lone one."""
    return list(items) if isinstance(items, Sequence) else [items]


def _count(items: Any, noise: State | None) -> int | None:
    """How many samples are asked for by what they begin from; None where one object serves any number."""
    if noise is not None:
        return next(iter(split(noise).values())).shape[0]
    listed = _listed(items)
    return len(listed) if len(listed) > 1 else None
