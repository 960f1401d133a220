"""Recipes: Python that makes samples again.

Everything in a run that has a name or a value is written out. What only the caller had (a picture to begin from, noise,
a function) stays a variable of the call, and a comment says what it was, with the beginning of its digest in
``samples.json``:

    import langevin as lv

    model = lv.load('image-shapes')
    # start is yours to fill in: PIL.Image.Image, sha256 3b0c44298fc1…
    samples = model.sample(4, prompt='a red star', start=start, strength=0.6, sampler='angle', steps=20, seed=0)
    samples.save('out/')
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langevin.modalities.samples import PASSING, plain

if TYPE_CHECKING:
    from langevin.modalities.samples import Samples

__all__ = ["recipe", "written"]

_WIDTH = 100  # a longer call has a line for each argument


def written(value: Any, family: str = "", missing: list[Mapping[str, Any]] | None = None) -> str:
    """A setting of a :class:`~langevin.modalities.samples.Run` as Python, with … for what only the caller has.

    Args:
        value: as :mod:`langevin.core.records` has it.
        family: "samplers", "guidance" or "grids", where a node is to be called by its full name.
        missing: what only the caller has is added to it.
    """
    if isinstance(value, Mapping) and "given" in value:
        if missing is not None:
            missing.append(value)
        return "…"
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return _call(dict(value), family, missing)
    if isinstance(value, Mapping):
        entries = [f"{name!r}: {written(entry, family, missing)}" for name, entry in value.items()]
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(written(entry, family, missing) for entry in value)}]"
    if isinstance(value, float):  # numpy's too, which call themselves otherwise
        return repr(float(value)) if math.isfinite(value) else f"float('{float(value)}')"
    return repr(value)


def _call(node: dict[str, Any], family: str, missing: list[Mapping[str, Any]] | None) -> str:
    """A node as the call that makes it."""
    name = node.pop("name")
    if name == "listed":  # a grid whose number of steps is that of its times
        del node["steps"]
    rules = (
        node.pop("rules", []) if name == "chain" else []
    )  # the one function that takes others by their place
    arguments = [written(rule, family, missing) for rule in rules]
    arguments += [f"{key}={written(entry, family, missing)}" for key, entry in node.items()]
    return f"{f'lv.{family}.' if family else ''}{name}({', '.join(arguments)})"


def recipe(samples: Samples) -> tuple[str, bool]:
    """(the code, whether it is all that it takes) to make samples again."""
    run, options = samples.run, samples.run.options
    own = not isinstance(run.seed, int)
    numbers = tuple(range(len(samples))) if own else samples.indices
    count = max(numbers, default=-1) + 1
    rows = options.get("prompts")
    arguments, notes = [str(count)], []

    def add(name: str, value: Any, family: str = "", keyword: bool = True) -> None:
        if value is None:
            return
        missing: list[Mapping[str, Any]] = []
        code = written(value, family, missing)
        if missing:
            what = ", ".join(dict.fromkeys(map(_named, missing)))
            notes.append(f"{name} is yours to fill in: {what if code == '…' else f'{code}, … for {what}'}")
            code = name
        arguments.append(f"{name}={code}" if keyword else code)

    if rows:
        arguments[0] = "model, rows"
        for name, value in rows["usual"].items():
            add(name, value)
        add("n", rows["n"])
    else:
        for name in dict.fromkeys(name for condition in samples.conditions for name in condition):
            add(name, _each([plain(condition.get(name)) for condition in samples.conditions], numbers))
        for name, value in run.spec.items():
            add(name, plain(value))
    for name in ("start", "strength", "like", "keep", "noise"):
        add(name, options.get(name))
    add("sampler", run.sampler, "samplers")
    explicit = run.grid is not None and not isinstance(run.grid, str)
    add("steps", None if explicit else run.steps)
    add("grid", run.grid, "grids")
    add("guidance", run.guidance, "guidance")
    if "reward" not in options:  # steer has the model's own
        add("temperature", None if options.get("temperature") == 1 else options.get("temperature"))
        add("lag", options.get("lag"))
    add(
        "negative",
        None if rows or not run.negative else {k: _first(plain(v), count) for k, v in run.negative.items()},
    )
    add("seed", rows["seed"] if rows else run.seed)
    if own and not rows and any(samples.indices):
        add("first", samples.indices)
    verb = "sample"
    if "reward" in options:
        verb = "steer"
        add("reward", options["reward"], keyword=False)
        arguments.insert(0, arguments.pop())
        add("particles", run.particles)
        add("strength", options.get("reward_strength"))
        add("begin", options.get("reward_begin"))
        for name in ("rounds", "back", "choose"):
            add(name, options.get(name))
        if options.get("reward_floor") == "passed":
            arguments.append("floor=None")
        else:
            add("floor", options.get("reward_floor"))
    if "after" in options:
        verb = "extend"
        add("items", options["after"], keyword=False)
        arguments.insert(0, arguments.pop())
    passing = options.get("passing")
    if passing:
        verb, arguments[0] = "passing", str(passing["wanted"])
        add("test", passing.get("function"))
        for name in passing:
            if name not in (*PASSING, "function"):
                add(name, plain(passing[name]))
        add("draws", passing["draws"])
    call = f"samples = {'lv.prompts' if rows else 'model'}.{verb}("
    if len(call) + len(", ".join(arguments)) + 1 > _WIDTH:
        call += "\n    " + ",\n    ".join(arguments) + ",\n)"
    else:
        call += f"{', '.join(arguments)})"
    load = [repr(run.model)] + ([f"dtype={options['dtype']!r}"] if "dtype" in options else [])
    if options.get("unsaved"):
        notes.insert(0, f"model is yours to fill in: {run.model!r} was not loaded from a folder")
    lines = ["import langevin as lv", ""]
    lines += [] if options.get("unsaved") else [f"model = lv.load({', '.join(load)})"]
    if rows:
        said: list[Mapping[str, Any]] = []
        made = ["rows = [", *(f"    {written(row, missing=said)}," for row in rows["rows"]), "]"]
        if said:
            notes.append(f"… in rows is yours to fill in: {', '.join(dict.fromkeys(map(_named, said)))}")
        lines += made
    lines += [f"# {' '.join(note.split())}" for note in notes]
    lines += [call, "samples.save('out/')"]
    if rows:
        whole = len(samples) == rows["count"]
    else:
        whole = len(samples) == passing["passed"] if passing else numbers == tuple(range(count))
    if not whole and not own:
        lines.append(f"# shown here: those numbered {', '.join(map(str, samples.indices))}")
    return "\n".join(lines), not notes


def _each(values: list[Any], indices: tuple[int, ...]) -> Any:
    """One value for all samples where they agree, else a list from sample 0 on; those left out are like the first."""
    if all(value == values[0] for value in values) and not isinstance(values[0], list):
        return values[0]
    known = dict(zip(indices, values))
    return [known.get(index, values[0]) for index in range(max(indices) + 1)]


def _first(value: Any, count: int) -> Any:
    return value[:count] if isinstance(value, list) else value


def _named(given: Mapping[str, Any]) -> str:
    digest = given.get("sha256")
    return f"{given['given']}, sha256 {digest[:12]}…" if digest else str(given["given"])
