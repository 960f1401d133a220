"""What a model does beyond drawing samples: variations, inversion, paths, likelihoods and steering.

Each is a function of a model and a method of :class:`~langevin.core.model.Model`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from langevin.core import grids, likelihood
from langevin.core.batches import slerp, to
from langevin.core.draw import Counter, Draw, Steering
from langevin.core.errors import unknown
from langevin.core.guidance.base import guided
from langevin.core.objects import encoded, listed, spec_of
from langevin.core.parametrisations import NOISELESS
from langevin.core.processes import State, split
from langevin.core.records import given
from langevin.core.request import Guidance, broadcast_conditions, checked_batch, checked_seed, resolve
from langevin.core.rng import Stream
from langevin.core.samplers import Multistep, Restart, Sampler, Single, preset
from langevin.core.samplers import sample as drive
from langevin.core.samplers.base import GridLike

if TYPE_CHECKING:
    from langevin.core.model import Model

__all__ = ["interpolate", "invert", "score", "steer", "vary"]

# First times of the way from data to noise for models that output x. Their noise is (x_t − α x̂) / σ, and the error of x̂
# grows by 1 / σ: an early start carries it into the noise, a late one loses what the data differ by at that level. Lowest
# error of a round trip over 0.001 … 0.1, for exact beliefs with errors of 0.01 to 0.03 and for a trained model of clips.
_INVERT = 0.01
# Of 0.001, 0.01, 0.02, 0.05, 0.1 and 0.2, the earliest at which that trained model stays, to 0.03 at 20 steps too, within
# the bound of any density after noise of this level, −log(√(2π) σ / α) a dimension; errors of 0.01 to 0.03 cost 0.003 to
# 0.014 there.
_SCORE = 0.05


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

    Models that output x say nothing about the noise at t = 0: their way begins at t = 0.01, where the objects stand as they
    are.

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
    times = [_INVERT, *(t for t in run.times if t > _INVERT)] if _noiseless(model) else run.times
    for step in drive(  # noqa: B007
        denoiser,
        run.sampler,
        times,
        rng,
        x=to(state, model.device),
        condition=condition,
        mask=to(mask, model.device),
    ):
        pass
    return to(step.x, "cpu")


def _noiseless(model: Model) -> bool:
    """Whether the network's output for some leaf says nothing about the noise at t = 0."""
    kinds = getattr(model.denoiser, "parametrisation", None)
    return any(kind in NOISELESS for kind in (kinds.values() if isinstance(kinds, dict) else [kinds]))


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

    Of the state that the modality encodes (latents for a latent model), with noise of t = 1e-3, or of t = 0.05 for models
    that output x: below, their errors would be counted for noise. Scores of the two kinds of model do not compare. See
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
            start=_SCORE if _noiseless(model) else 1e-3,
        ).cpu()


def steer(
    model: Model,
    /,
    reward: Callable[[list[Any]], Any],
    n: int | None = None,
    *,
    particles: int = 8,
    strength: float | None = None,
    rounds: int = 8,
    back: float = 0.5,
    begin: float = 0.0,
    floor: float | None = -math.inf,
    choose: str | None = None,
    steps: int | None = None,
    evaluations: int | None = None,
    sampler: str | Sampler | None = None,
    grid: str | GridLike | None = None,
    guidance: float | Guidance | None = None,
    negative: Mapping[str, Any] | str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool | None = None,
    **conditions: Any,
) -> Any:
    """Samples of high reward, by particles that are judged, resampled, noised and drawn again.

    Without a strength, the best that can be found: gains are kept, whatever the scale of the reward, and the best
    particle of each sample is returned. With one, samples of the law p(x) exp(strength · reward), by sequential Monte Carlo;
    see :mod:`langevin.core.samplers.particles`. ``run.options["steering"]`` tells what became of the particles: at each
    judging its time, and the means over samples of the effective sample size, of the lineages left (of ``particles``) and
    of the particles that differ; the share of new states that each round accepted; how many states were judged, and how
    many of them could not be decoded; with a strength, the mean estimate of log E[exp(strength · reward)].

    Args:
        reward: decoded objects ↦ one number for each; larger is better.
        n: samples, as many as a condition has entries, else 1; each has its own particles.
        particles: K for each.
        strength: λ; None for the best.
        rounds: how often particles are noised and drawn again after they were first drawn.
        back: the time they go back to. Every round costs the steps of the grid below it: by default, all rounds together
            about four times the first descent.
        begin: time from which on beliefs of clean objects steer particles on their way down, with a strength only;
            0 judges finished objects alone. Early beliefs may say little.
        floor: reward of what could not be decoded, which ``reward`` is not given then; at −∞ it is not preferred to
            anything. None passes failures to ``reward``.
        choose: what is returned of the particles of a sample: "best", or one drawn by "weight", whose law is the
            tilted one; None for "best" without a strength and "weight" with one.
        steps: of the first descent.
        evaluations: of the network for each particle, all rounds together, in place of ``steps``.
        sampler: of every particle; None for the model's own without a strength, else the ancestral ``Single(1.0)``, under
            which rounds leave the tilted law as it is. With ``begin`` it must be stochastic (``"ddpm"``, ``"dpm++2m-sde"``).
        batch_size: samples at a time, with all their particles; halved when memory runs out, with the same samples.
        grid, guidance, negative, seed, progress, conditions: as for ``sample``.

    Raises:
        ValueError: fewer than 2 particles, a setting out of range, a deterministic sampler or no strength with ``begin``,
            a reward that is not finite, or what ``sample`` refuses.
    """
    best = _best(choose, strength)
    spec, sizes, conditions = spec_of(model.modality, conditions)
    if model.modality.windowed(spec):
        raise ValueError("particles are whole samples, which are not drawn in windows; leave the window out")
    n, raw = broadcast_conditions(conditions, n, model.conditions)

    def of_state(x: State, mask: Tensor | None) -> Tensor:
        items = model.modality.decode(x, mask)
        return _judged(reward, items, [floor is None or not model.modality.failed(item) for item in items])

    settings = {"strength": strength, "rounds": rounds, "back": back, "begin": begin}
    steering = Steering(
        of_state, particles, best, settings | {"floor": -math.inf if floor is None else floor}
    )
    if sampler is None:
        sampler, grid = _inner(model, strength), grid or model.defaults.get("grid")
    run = resolve(
        model.process,
        steps=steps,
        evaluations=evaluations,
        sampler=sampler,
        grid=grid,
        guidance=guidance,
        negative=model._negative(negative),
        defaults=model.defaults,
        around=steering.around,
    )
    draw = Draw(model, run, n, raw, checked_seed(seed), spec, steering=steering)
    size = min(checked_batch(batch_size, max(1, 64 // max(1, particles))), n)
    model.network.eval()
    counter = Counter()
    state, mask = draw.all(size, counter, progress)
    record = draw.record(counter) | {
        "negative": {"prompt": negative} if isinstance(negative, str) else negative or None,
        "spec": sizes,
        "reward": given(reward),
        "reward_strength": strength,
        "reward_begin": begin or None,
        "reward_floor": "passed" if floor is None else None if floor == -math.inf else floor,
        "rounds": rounds,
        "back": back,
        "choose": "best" if best else "weight",
        "steering": _told(counter.told, particles, strength),
    }
    return model.modality.collect(state, mask, record, raw, None, None)


def _inner(model: Model, strength: float | None) -> str | Sampler:
    """The sampler of particles where none is asked for; without restarts, which the rounds are already."""
    if strength is not None:
        return Single(1.0)
    name = model.defaults.get("sampler", "angle")
    own = preset(name).sampler
    return own.inner if isinstance(own, Restart) else name  # type: ignore[no-any-return]


def _best(choose: str | None, strength: float | None) -> bool:
    """Whether the best particle is returned, not one drawn by weight.

    Raises:
        ValueError: an unknown choice, or weights without a strength.
    """
    if choose not in (None, "best", "weight"):
        raise ValueError(unknown("choice", choose, ("best", "weight")))
    if strength is None and choose == "weight":
        raise ValueError("particles have weights under a strength only; give one, or choose='best'")
    return strength is None if choose is None else choose == "best"


def _judged(reward: Callable[[list[Any]], Any], items: list[Any], where: list[bool]) -> Tensor:
    """Rewards (B,) of the objects where ``where`` says so, NaN of others.

    Raises:
        ValueError: another number of rewards than of objects, or one that is not finite.
    """
    out = torch.full((len(items),), math.nan, dtype=torch.float64)
    asked = [item for item, there in zip(items, where, strict=True) if there]
    if asked:
        found = torch.as_tensor(reward(asked), dtype=torch.float64).cpu()
        if found.shape != (len(asked),):
            raise ValueError(
                f"reward must give one number for each of the {len(asked)} objects, got shape {tuple(found.shape)}"
            )
        if not bool(found.isfinite().all()):
            raise ValueError("reward gave a value that is not finite")
        out[torch.tensor(where)] = found
    return out


def _told(parts: list[dict[str, Tensor]], particles: int, strength: float | None) -> dict[str, Any]:
    """What became of the particles, for the record."""
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    rows, judgings = whole["ess"].shape
    mean = lambda name: [round(v, 4) for v in whole[name].double().mean(0).tolist()]  # noqa: E731
    told: dict[str, Any] = {name: mean(name) for name in ("time", "ess", "lineages", "different", "accepted")}
    told |= {"judged": rows * judgings * particles, "undecoded": int(whole["undecoded"].sum())}
    if strength is not None:
        told["log_normaliser"] = round(float(whole["log_normaliser"].mean()), 4)
    return told
