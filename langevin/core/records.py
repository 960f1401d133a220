"""Records: what a run was made of, as plain data that files can hold.

    3.0, "karras", [1.0, 0.5, 0.0]                     values as they are
    {"name": "Multistep", "order": 3}                  a sampler or a guidance of langevin: its name, and those of its
                                                       settings that differ from their defaults
    {"given": "PIL.Image.Image", "sha256": "9f86…"}    what only the caller has (a picture, noise, a function, a network),
                                                       by its type and by its values, where it has any

Two runs that differ in anything recorded have different records, and what has a name can be made again from its record.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from langevin.core import guidance, samplers
from langevin.core.guidance.base import Chain

__all__ = ["digest", "given", "record"]

_NAMES: dict[type, str] = {
    **{cls: name for name, cls in guidance.GUIDANCE.items() if isinstance(cls, type)},
    **{
        cls: name
        for name in samplers.__all__
        if isinstance(cls := getattr(samplers, name), type) and issubclass(cls, samplers.Sampler)
    },
    Chain: "chain",
}


def record(value: Any) -> Any:
    """A setting as plain data; see the module's page."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0):
        number = value.item() if hasattr(value, "item") else value
        return int(number) if isinstance(number, int) else float(number)
    if isinstance(value, Mapping):
        return {str(key): record(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [record(entry) for entry in value]
    if type(value) not in _NAMES:
        return given(value)
    return {"name": _NAMES[type(value)]} | {
        f.name: record(getattr(value, f.name)) for f in fields(value) if not _is_default(f, value)
    }


def _is_default(field: Any, owner: Any) -> bool:
    value = getattr(owner, field.name)
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return value is default or (type(value) is type(default) and bool(value == default))


def given(value: Any, values: Any = None) -> dict[str, str]:
    """What only the caller has, by its type (a function by its name) and the digest of its values.

    Args:
        value: the object.
        values: what the digest is taken of in its place, as the state that it is encoded to.
    """
    named = value if hasattr(value, "__qualname__") else type(value)
    module = getattr(named, "__module__", None)
    own = named.__qualname__ if module in (None, "builtins") else f"{module}.{named.__qualname__}"
    found = digest(value if values is None else values)
    return {"given": own} | ({} if found is None else {"sha256": found})


def digest(value: Any) -> str | None:
    """SHA-256 of the values in tensors, arrays, pictures, networks, dataclasses, and sequences and mappings of them.

    None where there are no values to be found, as in a function.
    """
    hashed, seen = hashlib.sha256(), False
    for piece in _pieces(value):
        hashed.update(len(piece).to_bytes(8, "little") + piece)
        seen = True
    return hashed.hexdigest() if seen else None


def _pieces(value: Any) -> Iterator[bytes]:
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        yield repr(value).encode("utf-8", "surrogatepass")
    elif isinstance(value, (bytes, bytearray)):
        yield bytes(value)
    elif isinstance(value, Tensor):
        here = value.detach().cpu().contiguous()
        yield f"{here.dtype} {tuple(here.shape)}".encode()
        yield ctypes.string_at(here.data_ptr(), here.numel() * here.element_size()) if here.numel() else b""
    elif isinstance(value, nn.Module):
        yield from _pieces(value.state_dict())
    elif hasattr(value, "tobytes"):  # arrays, PIL images
        about = [str(getattr(value, name, "")) for name in ("dtype", "shape", "mode", "size")]
        yield " ".join(about).encode()
        yield value.tobytes()
        if getattr(value, "mode", None) == "P":
            yield bytes(value.getpalette())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield str(key).encode("utf-8", "surrogatepass")
            yield from _pieces(value[key])
    elif isinstance(value, Sequence):
        yield b"[%d]" % len(value)
        for entry in value:
            yield from _pieces(entry)
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            yield from _pieces(getattr(value, f.name))
