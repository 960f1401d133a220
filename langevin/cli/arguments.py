"""Arguments: a parser that suggests the nearest name, and the types of values."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NoReturn

from langevin.core.errors import unknown

__all__ = [
    "Parser",
    "add_fields",
    "count",
    "device",
    "lag",
    "one_of",
    "positive",
    "seed",
    "share",
    "temperature",
]


class Once(argparse.Action):
    """Stores a value; a flag that is given again is an error, as its first value would be lost."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        flag: str | None = None,
    ) -> None:
        seen = vars(namespace).setdefault("flags_given", set())
        if flag is not None and self.dest in seen:
            parser.error(f"{flag} is given twice; give it once")
        seen.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, whose errors are one line and suggest a spelling; exit code 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **kwargs}
        super().__init__(*args, **kwargs)
        self.register("action", None, Once)
        self.register("action", "store", Once)

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments; an unknown flag is an error that names the nearest one."""
        args, extra = self.parse_known_args(list(argv))
        if extra:
            self.refuse(extra[0])
        return args

    def refuse(self, argument: str) -> NoReturn:
        """End with the error for an argument that is not known."""
        if not argument.startswith("-"):
            self.error(f"unexpected argument {argument!r}; a value with spaces needs quotes")
        flag = argument.partition("=")[0]
        near = difflib.get_close_matches(flag, self._option_string_actions, n=1, cutoff=0.5)
        self.error(f"unknown flag {flag!r}{f'; did you mean {near[0]!r}?' if near else ''}")

    def error(self, message: str) -> NoReturn:
        """Print the error and end with exit code 2."""
        if message.endswith("expected one argument"):
            message += "; a value that starts with '-' is written --flag=VALUE"
        print(f"{self.prog}: error: {message}\n(see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def one_of(kind: str, allowed: Iterable[str]) -> Callable[[str], str]:
    """The type of a name from a list; another name is an error that suggests the nearest."""
    names = tuple(allowed)

    def parse(value: str) -> str:
        if value not in names:
            raise argparse.ArgumentTypeError(unknown(kind, value, names))
        return value

    return parse


def _number(value: str, kind: type, accepted: Callable[[Any], bool], expected: str) -> Any:
    try:
        number = kind(value)
    except ValueError:
        number = None
    if number is None or not accepted(number):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {value!r}")
    return number


def count(value: str) -> int:
    """A whole number from 1."""
    return _number(value, int, lambda n: n >= 1, "a whole number from 1")


def seed(value: str) -> int:
    """A whole number of 64 bits."""
    return _number(value, int, lambda n: 0 <= n < 2**64, "a whole number from 0 to 2^64 - 1")


def positive(value: str) -> float:
    """A finite number from 0."""
    return _number(value, float, lambda x: 0 <= x < float("inf"), "a number from 0")


def share(value: str) -> float:
    """A number above 0, at most 1."""
    return _number(value, float, lambda x: 0 < x <= 1, "a number above 0 and at most 1")


def temperature(value: str) -> float | dict[str, float]:
    """A number above 0, or one by leaf, as elements=0.5,bonds=0.2."""
    if "=" in value:
        return _by_leaf(value, _temperature)
    return _temperature(value)


def lag(value: str) -> dict[str, float]:
    """A number above 0 and at most 1 by leaf, as elements=0.7,bonds=0.7; of no leaf for none."""
    return {} if value == "none" else _by_leaf(value, share)


def _temperature(value: str) -> float:
    return _number(value, float, lambda x: 0 < x < float("inf"), "a number above 0")


def _by_leaf(value: str, number: Callable[[str], float]) -> dict[str, float]:
    """Names and numbers of ``name=number,name=number``."""
    found: dict[str, float] = {}
    for part in value.split(","):
        name, _, text = (word.strip() for word in part.partition("="))
        if not name or not text:
            raise argparse.ArgumentTypeError(f"expected LEAF=NUMBER,LEAF=NUMBER…, got {value!r}")
        if name in found:
            raise argparse.ArgumentTypeError(f"{name} is given twice in {value!r}")
        try:
            found[name] = number(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{name}: {error}") from None
    return found


def device(value: str) -> str:
    """The spelling of a device; whether it is there is found out when torch is loaded."""
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", value):
        raise argparse.ArgumentTypeError(f"expected cpu, cuda, cuda:N or mps, got {value!r}")
    return value


def add_fields(parser: argparse.ArgumentParser, spec: type) -> list[str]:
    """A flag for every field of a dataclass, by its type: a number, text, yes/no, a choice, some numbers, texts (repeated).

    The metadata of a field may hold ``help``, and ``short``, further flags as ("-n",).

    Returns:
        The names of the fields.

    Raises:
        TypeError: a field whose type has no flag.
    """
    hints = typing.get_type_hints(spec)
    names = []
    for field in dataclasses.fields(spec):
        options: dict[str, Any] = {"default": None, "help": field.metadata.get("help", "").replace("%", "%%")}
        annotation = _inner(hints[field.name])
        origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Literal:
            options["type"] = one_of(field.name, inner)
        elif annotation is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif annotation in (int, float, str):
            options |= {"type": annotation, "metavar": annotation.__name__.upper()}
        elif annotation in (Sequence[str], tuple[str, ...]):
            options |= {"action": "append", "metavar": field.metadata.get("metavar", "TEXT")}
        elif origin is tuple and set(inner) <= {int, float}:
            options |= {"type": inner[0], "nargs": len(inner), "metavar": inner[0].__name__.upper()}
        else:
            raise TypeError(f"{spec.__name__}.{field.name}: {annotation} cannot be a flag")
        flags = [*field.metadata.get("short", ()), f"--{field.name.replace('_', '-')}"]
        parser.add_argument(*flags, dest=field.name, **options)
        names.append(field.name)
    return names


def _inner(annotation: Any) -> Any:
    """X of ``X | None``."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [option for option in typing.get_args(annotation) if option is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation
