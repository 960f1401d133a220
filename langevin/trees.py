"""Plain trees as YAML: what a configuration file may hold, read without trusting it.

A tree is ``None``, booleans, numbers, strings, lists and string-keyed dicts. The reader takes YAML with
the scalars of YAML 1.2: ``no`` and ``on`` are strings, ``1e-4`` is a number, ``010`` and dates are
strings. It refuses what can only do harm in a file that comes from a stranger: tags, more than
:data:`ALIASES` aliases, trees that grow past :data:`ENTRIES` entries when aliases are followed, duplicate
keys, keys that are not strings, hydra's instructions (``_target_`` and its kin) and ``${…}``: configuration
is composed before it is stored, so an interpolation in a stored file can only be a leak.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

__all__ = ["TreeError", "merge", "read", "write"]

BYTES = 1 << 20
ENTRIES = 100_000
ALIASES = 64
DEPTH = 100
INSTRUCTION = re.compile(r"_[a-z]+_")


class TreeError(ValueError):
    """A text that is not a plain tree; the message says where and why."""


def read(text: str | bytes) -> Any:
    """The tree that a YAML text holds.

    Args:
        text: at most 1 MiB.

    Raises:
        TreeError: not YAML, not a plain tree, or one of the things that are refused.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > BYTES:
        raise TreeError(f"larger than {BYTES} bytes")
    try:
        tree = yaml.load(data.decode("utf-8"), Loader=_Loader)  # noqa: S506, TID251 - a SafeLoader, made stricter
        return _copied(tree, "", [ENTRIES], 0)
    except yaml.YAMLError as error:
        raise TreeError(" ".join(str(error).split())) from None
    except RecursionError:
        raise TreeError("nested too deeply") from None
    except TreeError:
        raise
    except (ValueError, OverflowError) as error:  # text that is not UTF-8, a number of 5000 digits
        raise TreeError(str(error)) from None


def write(tree: Any) -> str:
    """The YAML text from which :func:`read` makes an equal tree (tuples come back as lists).

    Raises:
        TreeError: the tree is not plain.
    """
    text = yaml.dump(
        tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    if not _equal(read(text), tree):
        raise TreeError("the tree does not survive being written")
    return text


def merge(own: Any, given: Any) -> Any:
    """``own`` with what is given in its place: a dict with a ``name`` as a whole, other dicts key by key."""
    if not isinstance(own, Mapping) or not isinstance(given, Mapping) or "name" in given:
        return given
    return {**own, **{key: merge(own.get(key), value) for key, value in given.items()}}


class _Loader(yaml.SafeLoader):
    aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            self.aliases += 1
            if self.aliases > ALIASES:
                raise TreeError(f"more than {ALIASES} aliases")
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: Any) -> None:
        """Merge keys are not part of YAML 1.2."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise TreeError(f"line {key.start_mark.line + 1}: a key must be a string; put it in quotes")
            if key.value in seen:
                raise TreeError(f"line {key.start_mark.line + 1}: the key {key.value!r} stands there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _scalars(handler: Any) -> None:
    """The scalars of YAML 1.2's core schema, less octal and hexadecimal numbers."""
    handler.yaml_implicit_resolvers = {}
    for tag, pattern, first in (
        ("null", r"~|null|", ["~", "n", ""]),
        ("bool", r"true|false", list("tf")),
        ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
        (
            "float",
            r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf)|\.nan",
            list("-+0123456789."),
        ),
    ):
        handler.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), first)


_scalars(_Loader)
_scalars(_Dumper)


def _string(dumper: Any, value: str) -> Any:
    # line separators that YAML would fold away are escaped, which only double quotes can do
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if value.isprintable() else '"')


_Dumper.add_representer(str, _string)
_Dumper.add_representer(tuple, yaml.representer.SafeRepresenter.represent_list)


def _copied(value: Any, path: str, budget: list[int], depth: int) -> Any:
    """A copy without shared parts, checked; ``budget`` counts down the entries that are left."""
    budget[0] -= 1
    if budget[0] < 0:
        raise TreeError(f"more than {ENTRIES} entries")
    if depth > DEPTH:
        raise TreeError("nested too deeply")
    if isinstance(value, dict):
        for key in value:
            if INSTRUCTION.fullmatch(key):
                raise TreeError(f"{path}{key}: instructions to hydra have no place in a stored configuration")
        return {key: _copied(entry, f"{path}{key}.", budget, depth + 1) for key, entry in value.items()}
    if isinstance(value, list):
        return [_copied(entry, f"{path}{index}.", budget, depth + 1) for index, entry in enumerate(value)]
    if isinstance(value, str) and "${" in value:
        raise TreeError(
            f"{path[:-1]}: {value[:60]!r} holds an interpolation; store the configuration composed"
        )
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TreeError(f"{path[:-1]}: a {type(value).__name__} is not a plain value")


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, Mapping) and list(a) == list(b) and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and bool(a == b)
