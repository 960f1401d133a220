"""What can be said against the overrides of ``langevin train`` before hydra and torch are imported.

The groups that overrides choose are read as they stand in ``configs/``; hydra's own composition comes later and has the last
word. A value that only hydra can read (an interpolation, a function, a sweep) is left to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langevin import names, trees
from langevin.core.errors import unknown
from langevin.core.training.settings import Settings

__all__ = ["Override", "check", "override"]

KEYS = (
    "data", "training", "model", "start", "out", "resume", "device", "experiment", "process", "network", "hydra",
)  # fmt: skip
GROUPS = ("data", "training", "model", "experiment", "process", "network")
BUILT_IN = {
    "image": ("shapes",),
    "molecule": (),
    "pocket": (),
}  # data that is no path, of the modalities that are our own
MISSING = "???"
_OVERRIDE = re.compile(r"(?P<add>\+{0,2}|~)(?P<key>[\w./@-]+)(=(?P<value>.*))?", re.DOTALL)
_LATER = object()


@dataclass(frozen=True)
class Override:
    """``key=value``; ``+key=value`` adds a key, ``~key`` takes one away."""

    add: str
    key: str
    text: str | None

    @property
    def group(self) -> str:
        """The configuration group that it chooses from, if it is one."""
        return self.key.partition("@")[0]

    @property
    def value(self) -> Any:
        """The plain value; the object ``_LATER`` where only hydra can tell."""
        return _value(self.text or "")


def override(text: str) -> Override | None:
    """An argument as an override; None if it is none."""
    match = _OVERRIDE.fullmatch(text)
    if match is None or (match["value"] is None and match["add"] != "~"):
        return None
    return Override(match["add"], match["key"], match["value"])


def check(overrides: Sequence[Override], configs: Path, whole: bool = True) -> None:
    """Raises for what cannot work.

    Args:
        overrides: of one run.
        configs: the folder of configuration groups.
        whole: what is composed will be run, so that nothing may be missing.

    Raises:
        ValueError: an unknown key, with the nearest that is known; a value of the wrong type; no data.
        FileNotFoundError: nothing is at the path of the data.
    """
    plain = [o for o in overrides if not (o.group in GROUPS and "." not in o.key)]
    for each in plain:
        _check_key(each)
    tree = _composed(overrides, configs)
    for each in plain:
        if each.add != "~":
            _put(tree, each.key, each.value)
    known = {key: value for key, value in tree.get("training", {}).items() if value is not _LATER}
    Settings.of(known)
    resume = tree.get("resume", True)
    if resume is not _LATER and not isinstance(resume, bool):
        raise ValueError(f"resume must be true or false, got {resume!r}")
    data = tree.get("data", {})
    size = data.get("size")
    if size is not None and size is not _LATER and (not isinstance(size, int) or size < 1):
        raise ValueError(f"data.size must be a whole number from 1, got {size!r}")
    hues = data.get("hues")
    number = isinstance(hues, (int, float)) and not isinstance(hues, bool)
    if hues is not None and hues is not _LATER and not (number and 0 <= hues <= 1):
        raise ValueError(f"data.hues must be a share from 0 to 1, got {hues!r}")
    if whole:
        _check_path(data.get("path"), data.get("modality", "image"))


def _check_key(each: Override) -> None:
    head, _, rest = each.key.partition(".")
    if head not in KEYS:
        if head in Settings.__dataclass_fields__:
            raise ValueError(f"unknown key {head!r}; did you mean 'training.{head}'?")
        raise ValueError(unknown("key", head, KEYS))
    first = rest.partition(".")[0]
    if head == "training" and first and first not in Settings.__dataclass_fields__:
        raise ValueError(unknown("key of training", first, Settings.__dataclass_fields__))
    if head == "model" and first and first not in (*names.MODEL, "autoencoder"):
        raise ValueError(unknown("key of a model", first, (*names.MODEL, "autoencoder")))


def _composed(overrides: Sequence[Override], configs: Path) -> dict[str, Any]:
    """Data and training settings of the chosen groups and of the experiment; empty where the choice is a sweep's."""
    chosen = {"data": "folder", "training": "default"}
    for each in overrides:
        if each.key in GROUPS:
            chosen[each.key] = (each.text or "").strip("'\"")
    tree: dict[str, Any] = {}
    for group in ("data", "training"):
        tree[group] = _read(configs / group / f"{chosen[group]}.yaml")
    experiment = _read(configs / "experiment" / f"{chosen.get('experiment')}.yaml")
    for group in ("data", "training"):
        tree[group] = {**tree[group], **(experiment.get(group) or {})}
    if any("," in name for name in chosen.values()):
        tree["data"]["path"] = _LATER
    return tree


def _read(path: Path) -> dict[str, Any]:
    tree = trees.read(path.read_bytes()) if path.is_file() else None
    return tree if isinstance(tree, dict) else {}


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
        tree = tree[name]
    tree[last] = value


def _check_path(path: Any, modality: Any) -> None:
    if path is _LATER or modality is _LATER:
        return
    if path in (None, MISSING):
        raise ValueError(
            "data.path is missing: give data.path=my/pictures (a folder or an archive), "
            "data=shapes (nothing to download), or an experiment with data of its own"
        )
    if modality not in BUILT_IN or path in BUILT_IN[modality]:
        return
    root = os.environ.get("LANGEVIN_DATA")
    places = [Path(str(path)).expanduser(), *([Path(root) / str(path)] if root else [])]
    if not any(place.exists() for place in places):
        built_in = "".join(f"; {name!r} is built in" for name in BUILT_IN[modality])
        where = "" if root else "; a relative path may also lie below the folder that $LANGEVIN_DATA names"
        raise FileNotFoundError(f"data.path={path}: there is no such file or folder{built_in}{where}")


def _value(text: str) -> Any:
    """A value as hydra's grammar reads it, as far as it is plain."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1] if text[0] not in text[1:-1] and "\\" not in text and "${" not in text else _LATER
    if text.startswith("[") and text.endswith("]"):
        entries = [_value(part) for part in _split(text[1:-1])]
        return _LATER if any(entry is _LATER for entry in entries) else entries
    if re.search(r"[\\,(){}\[\]'\"]|\$\{", text):
        return _LATER
    low = text.lower()
    if low in ("true", "false", "null", ""):
        return {"true": True, "false": False}.get(low)
    if re.fullmatch(r"[+-]?\d[\d_]*", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d[\d_]*)?\.?(\d[\d_]*)?(e[+-]?\d+)?|[+-]?(inf|nan)", low):
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _split(text: str) -> Iterator[str]:
    """The parts between commas; one with brackets of its own is not plain, and is found to be so by its bracket."""
    return (part for part in text.split(",") if part.strip() or "," in text)
