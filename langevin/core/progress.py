"""Progress of long work on standard error: a bar with an estimate where it is a terminal, nothing where it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["bar"]

T = TypeVar("T")


def bar(items: Iterable[T], total: int, what: str, show: bool | None = None) -> Iterator[T]:
    """``items``, counted on a bar named ``what``; ``show`` None asks whether standard error is a terminal."""
    if show is None:
        show = sys.stderr.isatty()
    if show:
        try:
            from tqdm import tqdm
        except ImportError:
            show = False
        else:
            yield from tqdm(items, total=total, desc=what, leave=False, file=sys.stderr)
            return
    yield from items
