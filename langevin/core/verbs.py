"""What a model does beyond drawing samples: variations, inversion, paths, likelihoods and steering.

Each is a function of a model and a method of :class:`~langevin.core.model.Model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from langevin.core import grids, likelihood
from langevin.core.batches import slerp, to
from langevin.core.draw import Counter, Draw
from langevin.core.guidance.base import guided
from langevin.core.objects import encoded, listed, spec_of
from langevin.core.processes import State, split
from langevin.core.records import given
from langevin.core.request import Guidance, broadcast_conditions, checked_batch, checked_seed, resolve
from langevin.core.rng import Stream
from langevin.core.samplers import Multistep, Sampler, Single
from langevin.core.samplers import sample as drive
from langevin.core.samplers.base import GridLike

if TYPE_CHECKING:
    from langevin.core.model import Model

__all__ = ["interpolate", "invert", "score", "steer", "vary"]


def vary(model: Model, /, item: Any, amount: float = 0.3, n: int = 4, **options: Any) -> Any:
    """``n`` variations of an object: noised to the time ``amount`` and sampled again. Options as for ``sample``."""
    return model.sample(n, start=item, strength=amount, **options)


def invert(
    model: Model,
    /,
    items: Any,
    *,
    steps: int = 50,
    guidance: float | Guidance | None = 1.0,
    **conditions: Any,
) -> State:
    """The noise from which the deterministic flow makes these objects: states at t = 1, for ``sample(noise=…)``.

    Args:
        items: a native object or a list of them.
        steps: of the rising grid.
        guidance: 1 by default; inversion under strong guidance does not return.
        conditions: by name.
    """
    objects = listed(items)
    n, raw = broadcast_conditions(conditions, len(objects), model.conditions)
    state, mask = encoded(model.modality, objects, n)
    assert state is not None
    run = resolve(
        model.process,
        steps=steps,
        evaluations=None,
        sampler=Multistep(2, of="v", corrector=True),
        grid="uniform",
        guidance=guidance,
        negative=None,
        defaults={},
        rising=True,
    )
    model.network.eval()
    denoiser = guided(model.denoiser, run.guidance)
    condition = model.network.embed(model.parse(raw))
    rng = Stream.of(0, n).fold("invert")
    for step in drive(  # noqa: B007
        denoiser,
        run.sampler,
        run.times,
        rng,
        x=to(state, model.device),
        condition=condition,
        mask=to(mask, model.device),
    ):
        pass
    return to(step.x, "cpu")


def interpolate(model: Model, /, a: Any, b: Any, n: int = 7, *, steps: int = 50, **conditions: Any) -> Any:
    """``n`` objects from ``a`` to ``b``: both inverted, their noises joined along the great circle, sampled.

    The ends are what inversion and sampling make of ``a`` and ``b``, close to them and not equal. Conditions with two
    values apply to the ends of the inversion and, halfway each, to the path.
    """
    if n < 2:
        raise ValueError(f"interpolate needs at least 2 samples, its ends, got {n}")
    ends = {k: v if isinstance(v, (list, tuple)) else [v, v] for k, v in conditions.items()}
    noise = model.invert([a, b], steps=steps, **ends)  # type: ignore[arg-type]
    weights = torch.linspace(0, 1, n)
    path: dict[str, Any] = {
        k: [v[0] if w < 0.5 else v[-1] for w in weights.tolist()] for k, v in ends.items()
    }
    start = {name: slerp(part[0], part[1], weights) for name, part in split(noise).items()}
    joined = start if isinstance(noise, dict) else start[""]
    sampler = Multistep(2, of="v", corrector=True)
    return model.sample(n, noise=joined, sampler=sampler, grid=grids.uniform(steps), guidance=1.0, **path)


def score(
    model: Model, /, items: Any, *, steps: int = 50, probes: int = 4, seed: int = 0, **conditions: Any
) -> Tensor:
    """log p of each object in nats under the probability flow, shape (B,): higher is likelier under the model.

    Of the state that the modality encodes (latents for a latent model), at noise 1e-3; see
    :func:`langevin.core.likelihood.log_likelihood`.
    """
    objects = listed(items)
    n, raw = broadcast_conditions(conditions, len(objects), model.conditions)
    state, mask = encoded(model.modality, objects, n)
    if not isinstance(state, Tensor):
        raise TypeError("score covers models of one Gaussian leaf")
    model.network.eval()
    condition = model.network.embed(model.parse(raw))
    rng = Stream.of(checked_seed(seed), n).fold("score")
    with torch.no_grad():
        return likelihood.log_likelihood(
            model.denoiser,
            state.to(model.device),
            rng,
            condition=condition,
            mask=to(mask, model.device),
            grid=grids.uniform(steps),
            probes=probes,
        ).cpu()


def steer(
    model: Model,
    /,
    reward: Callable[[list[Any]], Any],
    n: int | None = None,
    *,
    particles: int = 8,
    strength: float = 1.0,
    begin: float = 1.0,
    steps: int | None = None,
    sampler: str | Sampler | None = None,
    grid: str | GridLike | None = None,
    guidance: float | Guidance | None = None,
    negative: Mapping[str, Any] | str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool | None = None,
    **conditions: Any,
) -> Any:
    """Samples from the model tilted by exp(strength · reward), by sequential Monte Carlo over particles.

    Args:
        reward: decoded objects ↦ one number for each; larger is better. Failures to decode are passed as they are.
        n: samples, as many as a condition has entries, else 1; each has its own particles.
        particles: K for each.
        strength: λ.
        begin: time from which on the reward counts; early beliefs of clean objects may say little.
        sampler: of every particle, stochastic (``"ddpm"``, ``"dpm++2m-sde"``, an object); ``Single(1.0)`` by default.
        batch_size: samples at a time, with all their particles; halved when memory runs out, with the same samples.
        steps, grid, guidance, negative, seed, progress, conditions: as for ``sample``.

    Raises:
        ValueError: a deterministic sampler, fewer than 2 particles, or what ``sample`` refuses.
    """
    spec, sizes, conditions = spec_of(model.modality, conditions)
    n, raw = broadcast_conditions(conditions, n, model.conditions)
    run = resolve(
        model.process,
        steps=steps,
        evaluations=None,
        sampler=Single(1.0) if sampler is None else sampler,
        grid=grid,
        guidance=guidance,
        negative=model._negative(negative),
        defaults=model.defaults,
    )

    def of_state(x: State, mask: Tensor | None) -> Tensor:
        return torch.as_tensor(reward(model.modality.decode(x, mask)), dtype=torch.float64)

    draw = Draw(
        model,
        run,
        n,
        raw,
        checked_seed(seed),
        spec,
        particles=particles,
        reward=of_state,
        strength=strength,
        reward_from=begin,
    )
    size = min(checked_batch(batch_size, max(1, 64 // max(1, particles))), n)
    model.network.eval()
    counter = Counter()
    state, mask = draw.all(size, counter, progress)
    record = draw.record(counter) | {
        "negative": {"prompt": negative} if isinstance(negative, str) else negative or None,
        "spec": sizes,
        "reward": given(reward),
        "reward_strength": strength,
        "reward_begin": None if begin == 1 else begin,
    }
    return model.modality.collect(state, mask, record, raw, None, None)
