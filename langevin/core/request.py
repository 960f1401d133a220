"""What a user asked of a sampler, made definite: names become objects, budgets become steps, strengths become grids."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langevin.core import grids
from langevin.core.denoiser import Denoiser
from langevin.core.grids import Grid
from langevin.core.guidance import Temperature, cfg, chain
from langevin.core.processes import Discrete, Process
from langevin.core.records import record
from langevin.core.samplers import PRESETS, Restart, Sampler, preset
from langevin.core.samplers.base import GridLike, times_of

__all__ = [
    "Run",
    "broadcast_conditions",
    "check_names",
    "checked_batch",
    "checked_numbers",
    "checked_seed",
    "resolve",
    "within",
]

Guidance = Callable[[Denoiser], Denoiser]


@dataclass(frozen=True)
class Run:
    """A definite way to sample.

    Attributes:
        sampler: what makes the moves.
        times: of the grid, in order.
        guidance: wraps the denoiser; None for none.
        about: sampler, grid and guidance as :mod:`langevin.core.records` has them.
    """

    sampler: Sampler
    times: list[Any]
    guidance: Guidance | None
    about: dict[str, Any]


def resolve(
    process: Process,
    *,
    steps: int | None,
    evaluations: int | None,
    sampler: str | Sampler | None,
    grid: str | GridLike | None,
    guidance: float | Guidance | None,
    negative: Mapping[str, Any] | None,
    defaults: Mapping[str, Any],
    strength: float | None = None,
    rising: bool = False,
    temperature: float | Mapping[str, float] | None = None,
    lag: Mapping[str, float] | None = None,
    around: Callable[[Sampler], Sampler] | None = None,
) -> Run:
    """The run that a call describes.

    Args:
        process: what is sampled.
        steps, evaluations, grid: how long; at most one of the first two, and neither with an explicit grid.
        sampler: a preset's name, a sampler, or None for the model's own.
        guidance: a weight (classifier-free), a guidance, or None for the model's own.
        negative: embedded conditions in place of the null.
        defaults: the model's own ``sampler``, ``grid``, ``steps``, ``guidance``, ``temperature``, ``lag`` and curvature
            ``density``.
        strength: begin at the time nearest to it, with all steps below it.
        rising: from data to noise.
        temperature: of draws of classes, one number or one by leaf; None for the model's own.
        lag: common time at which the clock of a leaf begins to fall (:func:`~langevin.core.grids.lagged`); None for the
            model's own. Times that are given by leaf stay as they are.
        around: what the sampler will be wrapped in, which says how long a grid ``evaluations`` allow.

    Raises:
        ValueError: contradictory or unknown settings; the message names what is allowed.
    """
    explicit = grid is not None and not isinstance(grid, str)
    given = [name for name, value in (("steps", steps), ("evaluations", evaluations)) if value is not None]
    if explicit:
        given.append("grid")
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} say the same thing twice; give one of them")
    name = sampler if sampler is not None else defaults.get("sampler", "angle")
    if grid is None and sampler is None:
        grid = defaults.get("grid")
    found = preset(name) if isinstance(name, str) else None
    chosen = found.sampler if found else name
    if isinstance(chosen, Restart) and (rising or (sampler is None and strength is not None)):
        # on the way up there is nothing to repeat; and a strength says how far to go from a start, passages go further
        chosen = chosen.inner
        name = next((key for key, known in PRESETS.items() if known.sampler == chosen), chosen)
    if not isinstance(chosen, Sampler):
        raise TypeError(f"sampler must be a name or a Sampler, got {type(chosen).__name__}")
    make = _maker(grid, found.grid if found else None, defaults) if not explicit else None

    def plan_of(count: int) -> list[Any]:
        assert make is not None
        return _falling(make, count, process, strength)

    if make is None:
        times = within(times_of(grid, process), strength)  # type: ignore[arg-type]
    elif evaluations is not None:
        times = _largest(plan_of, around(chosen) if around else chosen, process, evaluations)
    else:
        times = plan_of(steps if steps is not None else int(defaults.get("steps", 20)))
    behind = dict(lag if lag is not None else defaults.get("lag") or {})
    if rising:
        times = times[::-1]
    elif behind and not isinstance(times[0], dict):
        times = grids.lagged(times, behind, process)
    weight = guidance if guidance is not None else defaults.get("guidance", 1.0)
    if callable(weight) and negative:
        raise ValueError(
            "a negative condition goes with a guidance weight; with an own guidance give it there (cfg(w, negative=…))"
        )
    if weight == 1 and negative:
        raise ValueError(
            "at guidance=1 a negative condition has no effect; give a larger weight, as guidance=2"
        )
    guide: Guidance | None = weight if callable(weight) else None
    if not callable(weight) and weight != 1:
        guide = cfg(float(weight), negative=dict(negative or {}) or None)
    guide, tau = _tempered(process, guide, temperature, defaults)
    about = {
        "sampler": record(name),
        "grid": _described(grid, times),
        "guidance": record(weight),
        "temperature": tau,
        "lag": behind or None,
    }
    return Run(chosen, times, guide, about)


def _tempered(
    process: Process,
    guide: Guidance | None,
    asked: float | Mapping[str, float] | None,
    defaults: Mapping[str, Any],
) -> tuple[Guidance | None, Any]:
    """The guidance with the temperature of classes around it, and that temperature; None where there are no classes.

    Raises:
        ValueError: a temperature for a process without classes, or one that is not positive.
    """
    if not any(isinstance(leaf, Discrete) for leaf in process.leaves.values()):
        if asked is not None:
            raise ValueError("temperature is that of draws of classes, and this model has no discrete leaf")
        return guide, None
    tau = asked if asked is not None else defaults.get("temperature", 1.0)
    sharper = Temperature(tau)
    if tau == 1:
        return guide, tau
    return (sharper if guide is None else chain(guide, sharper)), tau


def _described(grid: Any, times: list[Any]) -> Any:
    """A grid for records: its name, its settings, or its times, by leaf where clocks differ; None for the sampler's own."""
    if grid is None or isinstance(grid, str):
        return grid
    if isinstance(grid, Grid):
        return grid.describe()
    if times and isinstance(times[0], dict):
        return {leaf: [t[leaf] for t in times] for leaf in times[0]}
    return times


def _maker(
    grid: Any, own: Callable[[int], Grid] | None, defaults: Mapping[str, Any]
) -> Callable[[int], Grid]:
    """Number of steps ↦ grid: the one named, the preset's, or uniform; the model's density where curvature is used."""
    make: Callable[[int], Grid] = (lambda n: grids.named(grid, n)) if grid else own or grids.uniform
    if grid == "curvature" or (grid is None and own is grids.curvature):
        return lambda n: grids.curvature(n, defaults.get("density"))
    return make


def within(times: list[Any], strength: float | None) -> list[Any]:
    """The falling times from the one nearest to ``strength`` on.

    Raises:
        ValueError: a strength outside (0, 1], or a grid by leaf.
    """
    if strength is None:
        return times
    if not 0 < strength <= 1:
        raise ValueError(f"strength must lie in (0, 1], got {strength}")
    if any(isinstance(t, dict) for t in times):
        raise ValueError("strength needs one clock for all leaves")
    first = min(range(len(times) - 1), key=lambda i: abs(times[i] - strength))
    return times[first:]


def _falling(make: Callable[[int], Grid], count: int, process: Process, strength: float | None) -> list[Any]:
    """A grid of ``count`` steps below ``strength``: the coarsest whole grid that has as many there."""
    times = times_of(make(count), process)
    if strength is None or strength == 1:
        return within(times, strength)
    total = count
    part = within(times, strength)
    while len(part) - 1 < count and total < 100 * count:
        total += 1
        part = within(times_of(make(total), process), strength)
    return part


def _largest(
    plan_of: Callable[[int], list[Any]], sampler: Sampler, process: Process, budget: int
) -> list[Any]:
    """The longest grid whose plan asks for at most ``budget`` beliefs."""
    if budget < 1:
        raise ValueError(f"evaluations must be at least 1, got {budget}")
    best, refusal = None, None
    for count in range(1, budget + 1):
        try:
            times = plan_of(count)
            plan = sampler.plan(process, times)
        except ValueError as error:  # a plan that needs more steps than these
            refusal = error
            continue
        if sampler.evaluations(plan, process) > budget:
            refusal = None
            break
        best = times
    if best is None and refusal is not None:
        raise refusal
    if best is None:
        raise ValueError(f"no plan of this sampler fits in {budget} evaluations; allow more")
    return best


def checked_seed(seed: Any) -> int:
    """A seed of random numbers.

    Raises:
        TypeError: not a whole number.
        ValueError: outside 0 … 2⁶⁴ − 1, where two seeds would give the same numbers.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be a whole number, got {seed!r}")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must lie in 0 … 2^64 - 1, got {seed}")
    return seed


def checked_batch(batch_size: Any, default: int) -> int:
    """A batch size; the default for None.

    Raises:
        ValueError: not a whole number of at least 1.
    """
    if batch_size is None:
        return default
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    return batch_size


def checked_numbers(seed: Any, first: Any, n: int) -> tuple[int | tuple[int, ...], Sequence[int]]:
    """(seed, or one for each of n samples; the number of each under its seed).

    Args:
        seed: one for all samples, which then have the numbers from ``first`` on; or a list with one for each.
        first: a number, of each sample where they have seeds of their own; or a list with the number of each.
        n: samples.

    Raises:
        TypeError: a seed that is no whole number.
        ValueError: a seed or a number out of range, or lists of another length.
    """
    for name, value in (("seed", seed), ("first", first)):
        if isinstance(value, (list, tuple, range)) and len(value) != n:
            raise ValueError(
                f"{name} has {len(value)} values for {n} samples; give one value, or one for each"
            )
    own = isinstance(seed, (list, tuple, range))
    for number in first if isinstance(first, (list, tuple, range)) else [first]:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 62:
            raise ValueError(f"first must be a whole number of at least 0, got {number!r}")
    found: int | tuple[int, ...] = tuple(map(checked_seed, seed)) if own else checked_seed(seed)
    if isinstance(first, (list, tuple, range)):
        return found, list(first)
    return found, [first] * n if own else range(first, first + n)


def check_names(conditions: Iterable[str], taken: Collection[str]) -> None:
    """Raises a ValueError for a condition that is called like another argument of ``Model.sample``."""
    for name in conditions:
        if name in taken:
            raise ValueError(
                f"a condition cannot be called {name!r}: model.sample has an argument of that name; choose another"
            )


def broadcast_conditions(
    given: Mapping[str, Any], n: int | None, known: Sequence[str]
) -> tuple[int, dict[str, list[Any]]]:
    """(number of samples, one value per sample of each condition); a lone value serves all, a list must have n entries.

    Raises:
        TypeError: a name the model does not take.
        ValueError: lists of different lengths, or fewer than one sample.
    """
    out: dict[str, list[Any]] = {}
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else ";"
            raise TypeError(
                f"this model takes no condition {name!r}{hint} (conditions: {', '.join(known) or 'none'})"
            )
        if value is None:
            continue
        listed = isinstance(value, (list, tuple)) or (
            hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1
        )
        if listed and n is None:
            n = len(value)
        out[name] = list(value) if listed else [value]
    n = 1 if n is None else n
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
    for name, values in out.items():
        if len(values) not in (1, n):
            raise ValueError(
                f"{name} has {len(values)} values for {n} samples; give one value, or one for each"
            )
        out[name] = values * n if len(values) == 1 else values
    return n, out
