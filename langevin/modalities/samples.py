"""Samples: what a run gave, as native objects with everything that is needed to repeat it.

A folder of samples holds the native files and ``samples.json``, one object:

    format        1
    model, modality, sampler, grid, guidance, negative, steps, seed     what was asked for
    spec, options                                                       the shape, and what else was asked for
    evaluations, network_rows, backward_passes, particles               what it cost
    versions, licence, attribution                                      of the software, of the weights
    samples       [{file, index, condition}], ``file`` relative to the folder; null, with ``failure``,
                  where a state could not be decoded; with ``seed``, where each sample has its own
    files         names of what a modality writes about all of them together, if it does

Where samples were drawn until enough passed a test, the option ``passing`` says what was asked (filter …), how many were
wanted, passed and drawn, and the numbers and reasons of those among them that could not be decoded.

``index`` is the number of the sample under its seed: the same model, settings, seed and index give the
same sample whatever else was in the batch. Settings are names, values, or nodes {name, …}; what only the caller
had (a picture to begin from, noise, a function) is {given, sha256}, by which it can be recognised.
"""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from langevin import __version__
from langevin.core.errors import unknown
from langevin.folders import FolderError, read_text, together
from langevin.modalities.slugs import file_name
from langevin.tables import shown

if TYPE_CHECKING:
    from langevin.modalities.base import Modality
    from langevin.report import Figure, Page
    from langevin.tables import Table

__all__ = ["MANIFEST", "Failure", "Run", "Samples", "plain", "read_manifest", "suffix_of"]

MANIFEST = "samples.json"
FORMAT = 1
SHOWN = 64  # samples in a notebook's or a report's gallery
_EACH = ("items", "conditions", "indices", "scores")  # of Samples, one for each
PASSING = (
    "wanted",
    "draws",
    "drawn",
    "passed",
    "stopped",
    "failures",
)  # of the option, beside what was asked


@dataclass(frozen=True)
class Failure:
    """In place of a sample whose state could not be decoded."""

    reason: str


@dataclass(frozen=True)
class Run:
    """How samples were made, in plain values (numbers, strings, lists, dicts), as in ``samples.json``.

    Attributes:
        model: a shipped name or a folder.
        modality: its name.
        sampler: a preset's name, or the node of a sampler.
        grid: a grid's name or node, or its times; None for the sampler's own.
        guidance: a scale or the node of a guidance; None without.
        negative: values of the conditions to move away from, by name; None without.
        spec: what was said about the shape (height, width, seconds …), by name.
        steps: solver steps.
        seed: of the random stream; one for each sample where they have their own.
        evaluations: beliefs asked for of one sample; the most of any batch, where a sampler controls its error.
        network_rows: rows that passed the network, over all samples, every branch of a guidance counted.
        backward_passes: gradients that guidance took for one sample; the most of any batch likewise.
        particles: per sample.
        options: what else was asked for (start, strength, keep, noise, reward, passing …).
        licence: of the weights, as SPDX.
        attribution: to be given with the samples.
    """

    model: str = ""
    modality: str = ""
    sampler: Any = None
    grid: Any = None
    guidance: Any = None
    negative: Mapping[str, Any] | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    seed: int | Sequence[int] = 0
    evaluations: int | None = None
    network_rows: int | None = None
    backward_passes: int = 0
    particles: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    attribution: str = ""

    @property
    def made_in(self) -> int | None:
        """Solver steps: as asked for, or as its grid of times has them."""
        return (
            len(self.grid) - 1 if self.steps is None and isinstance(self.grid, (list, tuple)) else self.steps
        )


class Samples(Sequence[Any]):
    """Native objects, or :class:`Failure` in the place of those that could not be decoded.

    Args:
        items: one per sample.
        modality: knows how to save and show them.
        run: how they were made.
        state: the raw tensors (B, …) that were decoded, or a dict of them by leaf.
        mask: (B, L), True on real elements, or None.
        conditions: by name, for each sample; empty when None.
        indices: the number of each sample under the seed; 0, 1, … when None.
        scores: what was measured of each on the way, by name; empty when None.

    Raises:
        ValueError: another number of conditions, indices, scores or seeds than of items.
    """

    def __init__(
        self,
        items: Sequence[Any],
        modality: Modality,
        run: Run | None = None,
        state: Any = None,
        mask: Any = None,
        conditions: Sequence[Mapping[str, Any]] | None = None,
        indices: Sequence[int] | None = None,
        scores: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.items, self.modality, self.run = tuple(items), modality, run or Run(modality=modality.name)
        self.state, self.mask = state, mask
        self.conditions = (
            tuple({} for _ in self.items) if conditions is None else tuple(map(dict, conditions))
        )
        self.indices = tuple(range(len(self.items))) if indices is None else tuple(indices)
        self.scores = tuple({} for _ in self.items) if scores is None else tuple(map(dict, scores))
        for what in ("conditions", "indices", "scores", "seeds"):
            if len(getattr(self, what)) != len(self.items):
                raise ValueError(f"{len(self.items)} samples cannot have {len(getattr(self, what))} {what}")

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> Any:
        """A native object; a slice gives Samples."""
        if isinstance(index, slice):
            return self.chosen(range(len(self))[index])
        return self.items[index]

    @property
    def valid(self) -> Samples:
        """Those that could be decoded."""
        return self.chosen([k for k, item in enumerate(self.items) if not isinstance(item, Failure)])

    @property
    def failures(self) -> Samples:
        """Those that could not."""
        return self.chosen([k for k, item in enumerate(self.items) if isinstance(item, Failure)])

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each sample."""
        seed = self.run.seed
        return (seed,) * len(self) if isinstance(seed, int) else tuple(seed)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if len(self.failures) else ""
        return f"Samples({len(self)} of {self.run.model or self.modality.name}{failed})"

    def chosen(self, rows: Iterable[int], scores: Sequence[Mapping[str, Any]] | None = None) -> Samples:
        """Some of them, by their places here.

        Args:
            rows: places, in the order that they shall have.
            scores: what was measured of each, beside what had been.
        """
        rows = list(rows)

        def take(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: take(leaf) for name, leaf in value.items()}
            return None if value is None else value[rows]

        own = not isinstance(self.run.seed, int)
        return Samples(
            [self.items[k] for k in rows],
            self.modality,
            replace(self.run, seed=tuple(self.seeds[k] for k in rows)) if own else self.run,
            take(self.state),
            take(self.mask),
            [self.conditions[k] for k in rows],
            [self.indices[k] for k in rows],
            [{**self.scores[k], **({} if scores is None else scores[place])} for place, k in enumerate(rows)],
        )

    def joined(self, others: Sequence[Samples], options: Mapping[str, Any] | None = None) -> Samples:
        """These and others of the same model and settings, as one run; their seeds may differ.

        Args:
            others: what follows, in order.
            options: to be added to those of the run.
        """
        from langevin.core.batches import join

        parts = [self, *others]
        one = isinstance(self.run.seed, int) and all(p.run.seed == self.run.seed for p in parts)
        run = replace(
            self.run,
            seed=self.run.seed if one else tuple(seed for p in parts for seed in p.seeds),
            evaluations=max(
                (p.run.evaluations for p in parts if p.run.evaluations is not None), default=None
            ),
            network_rows=sum(p.run.network_rows or 0 for p in parts) or None,
            backward_passes=max(p.run.backward_passes for p in parts),
            options={**self.run.options, **(options or {})},
        )
        every = {name: [row for p in parts for row in getattr(p, name)] for name in _EACH}
        full = [p for p in parts if len(p)] or parts[:1]  # ragged states of no samples have a width too
        state, mask = (join([getattr(p, name) for p in full]) for name in ("state", "mask"))
        return Samples(every.pop("items"), self.modality, run, state, mask, **every)

    def measured(self, *names: str) -> Samples:
        """The same samples with more scores: the modality's measures of these names.

        Raises:
            ValueError: the modality has no measures, or an unknown name.
        """
        return self.chosen(range(len(self)), self.modality.measure(self.items, names))

    def manifest(self, suffix: str | None = None) -> dict[str, Any]:
        """What ``samples.json`` holds, of files with this suffix; see :meth:`save`."""
        suffix = suffix_of(self.modality, suffix)
        entries = []
        own = not isinstance(self.run.seed, int)  # numbers under several seeds are no names
        every = zip(self.items, self.indices, self.seeds, self.conditions)
        for place, (item, index, seed, condition) in enumerate(every):
            failed = isinstance(item, Failure)
            name = file_name(place if own else index, seed, condition, suffix)
            entry = {"file": None if failed else name, "index": index} | ({"seed": seed} if own else {})
            reason = {"failure": item.reason} if failed else {}
            entries.append({**entry, "condition": plain(condition), **reason})
        run = {f.name: plain(getattr(self.run, f.name)) for f in fields(self.run)}
        more = sorted(self.modality.files(self))
        about = {"files": more} if more else {}
        return {"format": FORMAT, **run, "versions": _versions(), "samples": entries, **about}

    def save(self, folder: str | Path, overwrite: bool = False, suffix: str | None = None) -> list[Path]:
        """Write native files and ``samples.json``, all or none.

        Args:
            folder: made if it is not there.
            overwrite: replace the samples of another run. Files that no ``samples.json`` lists are never
                replaced.
            suffix: of the native files, one of the modality's ``written``; its usual one when None.

        Returns:
            The paths of the native files, then those of what the modality writes about all of them together.

        Raises:
            ValueError: another suffix.
            FileExistsError: the folder holds another run, or files of the same names that belong to none.
        """
        folder, manifest = Path(folder), self.manifest(suffix)
        earlier = read_manifest(folder) if (folder / MANIFEST).exists() else None
        if earlier is not None and not overwrite and earlier != manifest:
            raise FileExistsError(
                f"{folder} holds {described(earlier)}; choose another folder, or overwrite them"
            )
        earlier = earlier or {"samples": []}
        listed = {entry["file"] for entry in earlier["samples"] if entry["file"]} | set(
            earlier.get("files", ())
        )
        names = [entry["file"] for entry in manifest["samples"]]
        more = self.modality.files(self)
        for name in [*names, *more]:
            if name is not None and name not in listed and (folder / name).exists():
                raise FileExistsError(
                    f"{folder / name} is there already and belongs to no samples.json; it stays"
                )
        folder.mkdir(parents=True, exist_ok=True)
        with together() as write:
            for item, name in zip(self.items, names):
                if name is not None:
                    write(folder / name, functools.partial(self.modality.save, item))
            for name, content in more.items():
                write(folder / name, content)
            write(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
        for name in listed - {*names, *more}:
            (folder / name).unlink(missing_ok=True)
        return [folder / name for name in [*names, *more] if name is not None]

    def figures(self, limit: int | None = SHOWN) -> list[Figure]:
        """A card for each of the first ``limit`` samples."""
        from langevin.report import Figure

        cards = []
        for item, index, condition in list(zip(self.items, self.indices, self.conditions))[:limit]:
            said = [value for value in plain(condition).values() if isinstance(value, (str, int, float))]
            caption = ", ".join(map(str, said))
            if isinstance(item, Failure):
                cards.append(Figure.failure(item.reason, caption, f"# {index}"))
            else:
                more = self.modality.note(item)
                cards.append(Figure(self.modality.html(item), caption, f"# {index}{more and f': {more}'}"))
        return cards

    def page(self, title: str | None = None, metrics: Table | None = None) -> Page:
        """The samples, how they were made and how to make them again, as a page."""
        from langevin.modalities.recipes import recipe, written
        from langevin.report import Code, Gallery, Page, Section

        run, failed = self.run, len(self.failures)
        passing = run.options.get("passing")
        if metrics is None and len(self.valid):
            metrics = self.modality.evaluate(list(self))
        facts = {
            "model": run.model,
            "samples": f"{len(self)}, of which {failed} failed" if failed else len(self),
            "sampler": run.sampler if isinstance(run.sampler, (str, type(None))) else written(run.sampler),
            "steps": run.made_in,
            "evaluations": run.evaluations,
            "guidance": None if run.guidance is None else written(run.guidance),
            "seed": run.seed if isinstance(run.seed, int) else "of each sample",
            "passed": f"{passing['passed']} of {passing['drawn']} drawn" if passing else None,
        }
        more = f" The first {SHOWN} of {len(self)} are shown." if len(self) > SHOWN else ""
        whole = self.indices == tuple(range(len(self)))
        about = "Consecutive samples of one seed, none left out." if whole else "A selection from one seed."
        if not isinstance(run.seed, int):
            about = "Samples of several seeds."
        if passing:
            asked = {name: passing[name] for name in passing if name not in PASSING}
            about = f"Samples of one seed that passed a test: {'; '.join(f'{k} {shown(v)}' for k, v in asked.items())}."
        sections = [Section("Samples", about + more, (Gallery(self.figures(), self.modality.card_width),))]
        if metrics is not None:
            sections.append(Section("Metrics", metrics.caption, (replace(metrics, caption=""),)))
        if run.model:
            code, whole = recipe(self)
            given = "" if whole else ", given what the comments name"
            sections.append(Section("Again", f"The same samples, from Python{given}.", (Code(code),)))
        owed = [line for line in (run.licence and f"Weights: {run.licence}.", run.attribution) if line]
        facts = {name: value for name, value in facts.items() if value not in (None, "")}
        return Page(title or run.model or "Samples", sections, facts=facts, footer=owed)

    def report(self, path: str | Path, title: str | None = None, metrics: Table | None = None) -> Path:
        """Write :meth:`page` as one self-contained file.

        Args:
            path: of the page.
            title: its heading; the name of the model when None.
            metrics: a table to show; what the modality measures without a reference when None.
        """
        return self.page(title, metrics).write(path)

    def _repr_html_(self) -> str:
        from langevin.report import once

        cards = "".join(
            f'<div style="flex:0 0 {self.modality.card_width}px;font:12px sans-serif">{figure.html}'
            f'<div style="opacity:.7">{escape(figure.caption)}</div></div>'
            for figure in self.figures()
        )
        return once(f'<div style="display:flex;flex-wrap:wrap;gap:8px">{cards}</div>')


def suffix_of(modality: Modality, suffix: str | None = None) -> str:
    """The suffix of a modality's files: the one that is asked for, the usual one when None.

    Raises:
        ValueError: none that it writes.
    """
    if suffix is not None and suffix not in (written := modality.written or (modality.suffix,)):
        raise ValueError(unknown(f"suffix of {modality.name} files", suffix, written))
    return suffix or modality.suffix


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """``samples.json`` of a folder, checked.

    Raises:
        FolderError: absent, of another format, or it names a file outside the folder.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(read_text(folder, MANIFEST, limit=64 << 20))
        files = [entry["file"] for entry in manifest["samples"]]
        more = list(manifest.get("files", ()))
        version = manifest["format"]
    except FolderError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FolderError(f"{path} is not a list of samples ({type(error).__name__})") from None
    if version != FORMAT:
        raise FolderError(f"{path} is of format {version!r}; this version reads {FORMAT}")
    if not all(file is None or isinstance(file, str) for file in files) or not all(
        isinstance(file, str) for file in more
    ):
        raise FolderError(f"{path} is not a list of samples: a file is a name or null")
    for file in [*files, *more]:
        if file is not None and (Path(file).name != file or "\\" in file or file in ("", ".", "..")):
            raise FolderError(f"{path} names {file!r}, which is not a file in the folder")
    return manifest


def described(manifest: Mapping[str, Any]) -> str:
    """A run in a few words, for messages."""
    model = manifest.get("model") or "a model without a name"
    seed = manifest.get("seed")
    said = "seeds of their own" if isinstance(seed, list) else f"seed {seed}"
    return f"{len(manifest['samples'])} samples of {model} with {said}"


def _versions() -> dict[str, str]:
    import importlib.metadata

    found = {"langevin": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def plain(value: Any) -> Any:
    """A value as JSON can hold it; what has no plain form is named by its type and digest."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist") and getattr(value, "size", None) is not None:
        count = value.numel() if hasattr(value, "numel") else value.size
        if count <= SHOWN:
            return plain(value.tolist())
    from langevin.core.records import given

    return given(value)
