"""Passing: samples are drawn until enough of them are what was asked for.

Samples 0, 1, 2 … of a seed are judged in that order, and the drawing ends with the n-th that passes. Which samples these
are, and how many were drawn for them, depends on the seed and not on how they are cut into batches, nor
on what is asked of them beside. Both are on record: a yield of 100 of 412 says what the model is worth, and the 100 alone
do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from langevin.core.progress import bar, note
from langevin.core.records import given
from langevin.core.request import checked_batch, checked_seed

if TYPE_CHECKING:
    from langevin.core.model import Model

__all__ = ["passing"]

_BATCH = 64
_LEAST, _EACH = 1000, 20  # samples that are drawn at most: for few, and for each that is asked for
_LONE = ("start", "like")


@dataclass
class _Found:
    """What has come of a drawing so far.

    Attributes:
        drawn: samples that were judged.
        parts: those that passed, by batch.
        failures: number and reason of each that could not be decoded.
        stopped: "interrupted" or "draws" where it ended before enough passed; empty if it did not.
    """

    drawn: int = 0
    passed: int = 0
    parts: list[Any] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""


def passing(
    model: Model,
    /,
    n: int,
    test: str | Callable[[Any], Any] = "",
    *,
    draws: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Any:
    """The first ``n`` samples of a seed that pass a test.

        model.passing(100, "sound and strain < 20", must_not=["[N+](=O)[O-]"])
        model.passing(16, lambda picture: np.asarray(picture).mean() > 128)

    An interruption (Ctrl-C) ends the drawing, and what has passed by then is returned.

    Args:
        n: how many are to pass.
        test: a condition on the modality's measures, or a function of a native object that says whether it passes.
            What cannot be decoded never does, and no function sees it.
        draws: at most so many are drawn; by default 20 for each that is asked for, and at least 1000.
        seed: of all random numbers.
        batch_size: samples at a time, at most; changes no sample.
        progress: show a bar; by default if standard error is a terminal.
        options: more that the modality can test for (fields of its ``filter``), and keywords of ``sample``. Conditions
            have one value for all samples, and so have ``start`` and ``like``.

    Returns:
        The samples that passed, under their numbers, with what was measured of them; fewer than ``n``, and a line on
        standard error, where ``draws`` were not enough. The run's option "passing" says what was asked, how many were
        drawn, and which of those could not be decoded.

    Raises:
        ValueError: nothing to test, a condition that is none, or what ``sample`` refuses.
        KeyboardInterrupt: an interruption before any has passed.
    """
    for name, value in (("n", n), ("draws", draws)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    seed = checked_seed(seed)
    for name in ("first", "noise"):
        if name in options:
            raise ValueError(f"{name} does not go with a test: samples are drawn from number 0 on")
    for name, value in options.items():
        many = isinstance(value, (list, tuple)) and (name in _LONE or name in model.conditions)
        if many and len(value) != 1:
            raise ValueError(
                f"{name} has {len(value)} values, and how many samples are drawn is not known; give one"
            )
    judge, asked = _judge(model, test, options)
    draws = max(_LEAST, _EACH * n) if draws is None else draws
    size, found = checked_batch(batch_size, _BATCH), _Found()

    def batches() -> Iterator[_Found]:
        while found.passed < n and found.drawn < draws:
            rate = (found.passed + 1) / (found.drawn + 2)
            rows = min(size, draws - found.drawn, math.ceil((n - found.passed) / rate))
            drawn = model.sample(
                rows, seed=seed, first=found.drawn, batch_size=rows, progress=False, **options
            )
            _sift(drawn, judge, n, found)
            yield found

    try:
        for _ in bar(batches(), n, "passed", progress, reached=lambda f: f.passed, figures=_figures):
            pass
    except KeyboardInterrupt:
        if not found.passed:
            raise
        found.stopped = "interrupted"
    if found.passed < n and not found.stopped:
        found.stopped = "draws"
    if found.stopped:
        why = "interrupted" if found.stopped == "interrupted" else "the limit of draws was reached"
        note(f"{found.passed} of the {n} samples asked for passed, of {found.drawn} drawn: {why}")
    record = {**asked, "wanted": n, "draws": draws, "drawn": found.drawn, "passed": found.passed}
    return found.parts[0].joined(
        found.parts[1:],
        {"passing": {**record, "stopped": found.stopped or None, "failures": found.failures}},
    )


def _judge(
    model: Model, test: str | Callable[[Any], Any], options: dict[str, Any]
) -> tuple[Callable[[Any], tuple[bool, Mapping[str, Any]]], dict[str, Any]]:
    """What judges a native object, and what it asks, for records; takes what is its own out of the options."""
    modality, function = model.modality, test if callable(test) else None
    names = {f.name for f in fields(modality.filter)} if modality.filter is not None else set()
    said = {name: options.pop(name) for name in names & set(options)}
    if "filter" in said and isinstance(test, str) and test:
        raise ValueError("the test and filter say the same; give one of them")
    if isinstance(test, str) and test:
        if modality.filter is None:
            modality.test(test)  # says that there are no measures
        said["filter"] = test
    sieve = modality.test(modality.filter(**said)) if said else None
    if function is None and sieve is None:
        raise ValueError(f"passing needs a test: a condition as text, or a function of a {modality.name}")
    asked = ({} if sieve is None else dict(getattr(sieve, "record", {}))) | (
        {} if function is None else {"function": given(function)}
    )

    def judge(item: Any) -> tuple[bool, Mapping[str, Any]]:
        if function is not None and not function(item):
            return False, {}
        return (True, {}) if sieve is None else sieve(item)

    return judge, asked


def _sift(drawn: Any, judge: Callable[[Any], tuple[bool, Mapping[str, Any]]], n: int, found: _Found) -> None:
    """Judges samples in their order until enough pass."""
    rows: list[int] = []
    scores: list[Mapping[str, Any]] = []
    failed = set(drawn.failures.indices)
    try:
        for row, (index, item) in enumerate(zip(drawn.indices, drawn)):
            if index in failed:
                found.failures.append({"index": index, "failure": item.reason})
            else:
                passes, measured = judge(item)
                if passes:
                    rows.append(row)
                    scores.append(measured)
            found.drawn = index + 1
            if found.passed + len(rows) == n:
                break
    finally:  # an interruption in between keeps what has passed
        found.passed += len(rows)
        found.parts.append(drawn.chosen(rows, scores))


def _figures(found: _Found) -> dict[str, str]:
    return {"drawn": str(found.drawn), "yield": f"{found.passed / max(found.drawn, 1):.1%}"}
