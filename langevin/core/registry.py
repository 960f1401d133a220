"""Objects from plain trees, and plain trees from objects.

A *tree* is what a configuration file holds: ``None``, booleans, numbers, strings, lists and string-keyed
dicts. A *node* is a dict with a ``name``; :func:`build` looks the name up in a registry and calls what is
registered there with the node's other keys as keyword arguments:

    build("schedule", {"name": "shifted", "factor": 3.0, "base": {"name": "linear"}})
    # Shifted(Linear(), 3.0)

Every argument is checked and built by its annotation:

- a registry's ``base`` (``base: Schedule``), a class below it or a registered class is a node of that
  registry, whose name must give an object of that class;
- any other dataclass is a dict of its fields, without a name;
- ``Sequence[X]``, ``tuple[X, …]``, ``Mapping[str, X]``, ``X | Y`` and ``Literal`` are checked element by
  element;
- ``Tensor`` is a nested list of numbers (float32), or ``{dtype: …, values: […]}``;
- where the annotation says nothing (``Any``, ``object``, none), plain values pass through, and a dict that
  holds both ``registry`` and ``name`` is built from the registry of that name.

An integer is accepted as a float; nothing else is converted. A tree can only call what has been registered:
nothing is imported or evaluated by name, so a tree may come from a stranger. Register only what may be built
from one.

:func:`describe` is the inverse: it reads the arguments from the attributes of the same names (``**leaves``
from the mapping ``leaves``), which every dataclass has. The annotations of what is registered must resolve
at run time, so they cannot be imported under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

import torch
from torch import Tensor

from langevin.core.errors import unknown

__all__ = ["BuildError", "Registry", "build", "describe", "register"]

T = TypeVar("T")
DEPTH = 64  # nodes within nodes: a tree that is deeper is a mistake or an attack
RESERVED = ("name", "registry")
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "int64": torch.int64,
    "int32": torch.int32,
    "bool": torch.bool,
}

_REGISTRIES: dict[str, Registry] = {}


class BuildError(ValueError):
    """A tree that cannot be built; the message starts with the path of the offending entry."""


class Registry(Mapping[str, Callable[..., Any]]):
    """Names for the classes and factories of one kind.

    Args:
        kind: what the names name, in the singular ("schedule"); at most one registry has a kind.
        base: the class of everything that is built; parameters annotated with it are nodes of this registry.

    Raises:
        ValueError: a registry of that kind exists.
    """

    def __init__(self, kind: str, base: type | None = None) -> None:
        if kind in _REGISTRIES:
            raise ValueError(f"there is a registry of {kind!r} already; get it with Registry.of({kind!r})")
        self.kind, self.base = kind, base
        self._targets: dict[str, Callable[..., Any]] = {}
        _REGISTRIES[kind] = self

    @staticmethod
    def of(kind: str) -> Registry:
        """The registry of that kind.

        Raises:
            BuildError: there is none; the nearest kind is suggested.
        """
        if kind not in _REGISTRIES:
            raise BuildError(unknown("registry", kind, _REGISTRIES))
        return _REGISTRIES[kind]

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that enters a class or a function under ``name`` and returns it unchanged.

        Raises:
            ValueError: the name is taken, or the target has a parameter called ``name`` or ``registry``.
        """

        def enter(target: T) -> T:
            assert callable(target)
            if self._targets.get(name, target) is not target:
                raise ValueError(f"{self.kind} {name!r} is registered already, as {self._targets[name]!r}")
            for reserved in RESERVED:
                if reserved in inspect.signature(target).parameters:
                    raise ValueError(
                        f"{target!r} has a parameter {reserved!r}, which nodes keep for themselves"
                    )
            self._targets[name] = target
            return target

        return enter

    def name_of(self, target: object) -> str | None:
        """The first name under which a class or function is registered, or None."""
        return next((name for name, known in self._targets.items() if known is target), None)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._targets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}: {', '.join(self._targets)})"

    # a registry is one thing, not the value of its entries
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def register(registry: Registry | str, name: str) -> Callable[[T], T]:
    """A decorator: ``@register("schedule", "linear")``. The registry must exist."""
    return (registry if isinstance(registry, Registry) else Registry.of(registry)).register(name)


def build(registry: Registry | str, node: object) -> Any:
    """The object that a node describes.

    Args:
        registry: where the node's name is looked up.
        node: ``{name: …, **arguments}``, or the name alone where every argument has a default.

    Raises:
        BuildError: unknown names and keys (with the nearest valid one), missing or ill-typed arguments, and
            whatever the target refuses with ValueError or TypeError, headed by the path within the tree.
    """
    registry = registry if isinstance(registry, Registry) else Registry.of(registry)
    return _node(registry, node, registry.kind, 0)


def describe(target: object, registry: Registry | str | None = None) -> dict[str, Any]:
    """The node from which :func:`build` makes an equal object.

    Args:
        target: an instance of a registered class.
        registry: where its class is looked up; found by the class when None.

    Raises:
        BuildError: the class is not registered, or an argument is neither plain nor describable.
    """
    if registry is None:
        registry = _home(type(target))
    elif isinstance(registry, str):
        registry = Registry.of(registry)
    name = None if registry is None else registry.name_of(type(target))
    if name is None:
        raise BuildError(
            f"{type(target).__name__} is not registered{'' if registry is None else f' as a {registry.kind}'}"
        )
    return {"name": name, **_arguments(target, type(target).__name__)}


# --- from tree to object ------------------------------------------------------------------------------------


def _node(registry: Registry, node: object, path: str, depth: int) -> Any:
    if depth > DEPTH:
        raise BuildError(f"a tree of more than {DEPTH} levels, at {path[:60]}…")
    if isinstance(node, str):
        node = {"name": node}
    if not isinstance(node, Mapping):
        raise BuildError(f"{path}: expected a {registry.kind}, as a name or {{name: …}}, got {_shown(node)}")
    given = {key: value for key, value in node.items() if key != "name"}
    if given.get("registry") == registry.kind:
        del given["registry"]
    name = node.get("name")
    if not isinstance(name, str) or name not in registry:
        problem = "has no name" if name is None else unknown(registry.kind, name, registry)
        allowed = f" (allowed: {', '.join(sorted(registry)) or 'none'})" if name is None else ""
        raise BuildError(f"{path}: {problem}{allowed}")
    return _call(registry[name], given, f"{path}({name})", depth)


def _call(target: Callable[..., Any], given: Mapping[str, object], path: str, depth: int) -> Any:
    parameters, rest = _parameters(target)
    arguments: dict[str, Any] = {}
    for key, value in given.items():
        if key not in parameters and rest is None:
            raise BuildError(f"{path}: {unknown('argument', key, parameters)}")
        parameter = parameters.get(key) or typing.cast(inspect.Parameter, rest)
        arguments[key] = _value(parameter.annotation, value, f"{path}.{key}", depth + 1)
    missing = [key for key, p in parameters.items() if p.default is p.empty and key not in arguments]
    if missing:
        raise BuildError(f"{path}: missing {', '.join(missing)}")
    try:
        return target(**arguments)
    except (TypeError, ValueError) as error:
        raise BuildError(f"{path}: {error}") from error


def _value(annotation: Any, value: object, path: str, depth: int) -> Any:
    """``value`` as the annotation says, built where it is a node."""
    if depth > DEPTH:
        raise BuildError(f"a tree of more than {DEPTH} levels, at {path[:60]}…")
    if annotation in (Any, object, inspect.Parameter.empty) or isinstance(annotation, TypeVar):
        return _free(value, path, depth)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return _union(inner, value, path, depth)
    if origin is Literal:
        # 1 == True in Python: the type has to agree too
        if any(value == choice and type(value) is type(choice) for choice in inner):
            return value
        raise BuildError(f"{path}: {unknown('value', value, inner)}")
    if annotation is None or annotation is type(None):
        return _expect(value, value is None, "nothing", path)
    if annotation is bool:
        return _expect(value, isinstance(value, bool), "true or false", path)
    if annotation is int:
        return _expect(value, isinstance(value, int) and not isinstance(value, bool), "a whole number", path)
    if annotation is float:
        _expect(value, isinstance(value, (int, float)) and not isinstance(value, bool), "a number", path)
        return float(value)  # type: ignore[arg-type]
    if annotation is str:
        return _expect(value, isinstance(value, str), "a string", path)
    if annotation is Tensor:
        return _tensor(value, path)
    kind = origin or annotation
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        entries = _list(value, path)
        if len(entries) != len(inner):
            raise BuildError(f"{path}: expected a list of {len(inner)}, got {_shown(value)}")
        return tuple(_value(a, v, f"{path}[{i}]", depth + 1) for i, (a, v) in enumerate(zip(inner, entries)))
    if isinstance(kind, type) and issubclass(kind, Mapping):
        each = inner[1] if len(inner) == 2 else Any
        _expect(value, isinstance(value, Mapping), "a mapping", path)
        return {k: _value(each, v, f"{path}.{k}", depth + 1) for k, v in typing.cast(Mapping, value).items()}
    if isinstance(kind, type) and issubclass(kind, Sequence):
        each = inner[0] if inner else Any
        entries = [_value(each, v, f"{path}[{i}]", depth + 1) for i, v in enumerate(_list(value, path))]
        return entries if kind is list else tuple(entries)
    return _object(kind, value, path, depth)


def _union(options: Sequence[Any], value: object, path: str, depth: int) -> Any:
    reasons = []
    # exact types first, so that an int in `float | int` stays an int
    for option in sorted(options, key=lambda option: option is not type(value)):
        try:
            return _value(option, value, path, depth)
        except BuildError as error:
            reasons.append(str(error).removeprefix(f"{path}: "))
    # a node has one sensible reading: say what was wrong with it rather than list every option
    best = [r for r in reasons if not r.startswith("expected")] if isinstance(value, (Mapping, str)) else []
    if best:
        raise BuildError(best[0] if best[0].startswith(path) else f"{path}: {best[0]}")
    expected = " or ".join(r.removeprefix("expected ").partition(", got ")[0] for r in reasons)
    raise BuildError(f"{path}: expected {expected}, got {_shown(value)}")


def _object(annotation: Any, value: object, path: str, depth: int) -> Any:
    """A value whose annotation is a class that is not plain."""
    registry = _home(annotation)
    if registry is not None:
        built = _node(registry, value, path, depth)
    elif isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        _expect(value, isinstance(value, Mapping), f"a mapping of the fields of {annotation.__name__}", path)
        return _call(annotation, typing.cast(Mapping, value), path, depth)
    else:
        built = _free(value, path, depth)
        if isinstance(value, Mapping) and built is not value:
            return built
        raise BuildError(
            f"{path}: a {getattr(annotation, '__name__', annotation)} cannot be built from {_shown(value)}"
        )
    if (
        isinstance(annotation, type)
        and not getattr(annotation, "_is_protocol", False)
        and not isinstance(built, annotation)
    ):
        raise BuildError(f"{path}: expected a {annotation.__name__}, got a {type(built).__name__}")
    return built


def _free(value: object, path: str, depth: int) -> Any:
    """A value about which the annotation says nothing: plain, or a node that names its registry."""
    if isinstance(value, Mapping):
        if {"registry", "name"} <= set(value):
            try:
                registry = Registry.of(typing.cast(str, value["registry"]))
            except (BuildError, TypeError) as error:
                raise BuildError(f"{path}: {error}") from None
            return _node(registry, {k: v for k, v in value.items() if k != "registry"}, path, depth)
        return {key: _value(Any, entry, f"{path}.{key}", depth + 1) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(Any, entry, f"{path}[{i}]", depth + 1) for i, entry in enumerate(value)]
    return _expect(value, value is None or isinstance(value, (bool, int, float, str)), "a plain value", path)


def _tensor(value: object, path: str) -> Tensor:
    dtype = "float32"
    if isinstance(value, Mapping):
        if set(value) != {"dtype", "values"}:
            raise BuildError(
                f"{path}: expected a list of numbers or {{dtype: …, values: […]}}, got {_shown(value)}"
            )
        dtype, value = value["dtype"], value["values"]
        if dtype not in DTYPES:
            raise BuildError(f"{path}: {unknown('dtype', dtype, DTYPES)}")
    _expect(value, isinstance(value, (list, tuple, int, float)), "a list of numbers", path)
    try:
        return torch.tensor(value, dtype=DTYPES[dtype])
    except (TypeError, ValueError, RuntimeError) as error:
        raise BuildError(f"{path}: {error}") from error


def _list(value: object, path: str) -> Sequence[object]:
    _expect(value, isinstance(value, (list, tuple)), "a list", path)
    return typing.cast(Sequence[object], value)


def _expect(value: object, fits: bool, expected: str, path: str) -> object:
    if not fits:
        raise BuildError(f"{path}: expected {expected}, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        return "a mapping" if isinstance(value, Mapping) else f"a list of {len(value)}"
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    return f"the string {shown}" if isinstance(value, str) else shown


# --- from object to tree ------------------------------------------------------------------------------------


def _arguments(target: object, path: str) -> dict[str, Any]:
    parameters, rest = _parameters(type(target))
    tree = {}
    for key, parameter in parameters.items():
        if not hasattr(target, key):
            raise BuildError(f"{path} does not keep its argument {key!r} as an attribute")
        tree[key] = _plain(parameter.annotation, getattr(target, key), f"{path}.{key}")
    if rest is not None:
        for key, value in getattr(target, rest.name).items():
            tree[key] = _plain(rest.annotation, value, f"{path}.{key}")
    return tree


def _plain(annotation: Any, value: object, path: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        dtype = next((name for name, dtype in DTYPES.items() if dtype == value.dtype), None)
        if dtype is None:
            raise BuildError(f"{path}: a tensor of {value.dtype} has no tree")
        return {"dtype": dtype, "values": value.detach().cpu().tolist()}
    options = typing.get_args(annotation)
    if isinstance(value, Mapping):
        return {
            str(key): _plain(options[1] if len(options) == 2 else Any, v, f"{path}.{key}")
            for key, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        each = options[0] if options else Any
        return [_plain(each, v, f"{path}[{i}]") for i, v in enumerate(value)]
    registry = _home(type(value))
    if registry is not None:
        says = any(_home(option) is registry for option in (annotation, *options))
        return {**({} if says else {"registry": registry.kind}), **describe(value, registry)}
    if dataclasses.is_dataclass(value):
        return _arguments(value, path)
    raise BuildError(f"{path}: {_shown(value)} has no tree; register {type(value).__name__}")


# --- signatures ---------------------------------------------------------------------------------------------


def _home(annotation: Any) -> Registry | None:
    """The registry to which an annotation points: as one of its classes, as its base, or below its base."""
    if not isinstance(annotation, type):
        return None
    known = next((r for r in _REGISTRIES.values() if r.name_of(annotation) is not None), None)
    bases = [r for r in _REGISTRIES.values() if r.base is not None and r.base in annotation.__mro__]
    # the nearest base wins where one registry's base is a class of another's
    return known or min(bases, key=lambda r: annotation.__mro__.index(r.base), default=None)


def _parameters(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], inspect.Parameter | None]:
    """The keyword parameters of a target, with their annotations resolved, and its ``**rest``."""
    owner: Any = target
    while isinstance(owner, functools.partial):
        owner = owner.func
    if isinstance(owner, type) and not _generated(owner):
        owner = owner.__init__  # type: ignore[misc]
    try:
        hints = typing.get_type_hints(owner)
    except NameError as error:
        raise TypeError(f"an annotation of {target!r} does not resolve at run time: {error}") from error
    parameters, rest = {}, None
    for name, parameter in inspect.signature(target).parameters.items():
        annotation = hints.get(name, Any)
        annotation = annotation.type if isinstance(annotation, dataclasses.InitVar) else annotation
        parameter = parameter.replace(annotation=annotation)
        if parameter.kind is parameter.VAR_KEYWORD:
            rest = parameter
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            parameters[name] = parameter
    return parameters, rest


def _generated(target: type) -> bool:
    """Whether ``dataclass`` wrote the constructor; inherited fields then resolve in their own modules."""
    if not dataclasses.is_dataclass(target):
        return False
    return {f.name for f in dataclasses.fields(target) if f.init} == set(inspect.signature(target).parameters)
