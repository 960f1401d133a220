"""Whether two runs see the same data: a digest of its size and of some of its items.

The items are spread evenly over the set, first and last included, so that a set of up to :data:`ITEMS` is read whole.
What a value is made of goes into the digest: the bytes of tensors, arrays and pictures, plain values, and the attributes of
other objects.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from langevin.core.training.data import Dataset

__all__ = ["ITEMS", "fingerprint"]

ITEMS = 32
_DEPTH = 12  # attributes within attributes: beyond it an object counts by its type


def fingerprint(data: Dataset) -> str:
    """The digest of a data set: its length, and some items with their conditions."""
    size = len(data)
    places = sorted({round(i * (size - 1) / (ITEMS - 1)) for i in range(ITEMS)})
    items, conditions = data.batch(places)
    digest = hashlib.sha256()
    for value in (size, items, conditions):
        _add(digest, value, 0)
    return digest.hexdigest()


def _add(digest: Any, value: Any, depth: int) -> None:
    """Feeds a value to a digest, headed by its kind, so that no two values run into one."""
    plain = value is None or isinstance(value, (bool, int, float, complex, str, bytes))
    digest.update(f"{type(value).__name__}:".encode())
    if plain or depth > _DEPTH:
        digest.update(repr(value).encode("utf-8", "backslashreplace") if plain else b"")
    elif isinstance(value, Tensor):
        held = value.detach().cpu().contiguous()
        digest.update(f"{held.dtype}{tuple(held.shape)}".encode())
        digest.update(ctypes.string_at(held.data_ptr(), held.nbytes) if held.numel() else b"")
    elif hasattr(value, "tobytes"):  # arrays of numpy, pictures of PIL
        about = [getattr(value, name, None) for name in ("dtype", "shape", "mode", "size")]
        pointers = getattr(about[0], "hasobject", False)
        digest.update(repr(about).encode())
        if pointers:
            _add(digest, value.tolist(), depth + 1)
        else:
            digest.update(value.tobytes())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            _add(digest, str(key), depth + 1)
            _add(digest, value[key], depth + 1)
    elif isinstance(value, (list, tuple)):
        digest.update(f"{len(value)}:".encode())
        for entry in value:
            _add(digest, entry, depth + 1)
    else:
        _add(digest, getattr(value, "__dict__", {}), depth + 1)
    digest.update(b";")
