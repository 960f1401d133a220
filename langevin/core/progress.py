"""Progress of long work on standard error: a bar with an estimate where it is a terminal, nothing where it is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

__all__ = ["bar", "note"]

T = TypeVar("T")


def bar(
    items: Iterable[T],
    total: int,
    what: str,
    show: bool | None = None,
    *,
    reached: Callable[[T], int] | None = None,
    start: int = 0,
    figures: Callable[[T], Mapping[str, str]] | None = None,
) -> Iterator[T]:
    """``items``, counted on a bar named ``what``.

    Args:
        items: what is passed on.
        total: where the bar ends.
        what: stands before the bar.
        show: None asks whether standard error is a terminal.
        reached: where the bar stands after an item; each counts for one when None.
        start: where the bar stands at first.
        figures: what stands behind the bar after an item, by name; a bar with figures stays when the work is done.
    """
    if show is None:
        show = sys.stderr.isatty()
    if show:
        try:
            from tqdm import tqdm
        except ImportError:
            show = False
    if not show:
        yield from items
        return
    with tqdm(total=total, initial=start, desc=what, leave=figures is not None, file=sys.stderr) as shown:
        for item in items:
            if figures is not None:
                shown.set_postfix(figures(item), refresh=False)
            shown.update(1 if reached is None else reached(item) - shown.n)
            if figures is not None:
                shown.refresh()  # figures are rare, and each of them is wanted
            yield item


def note(text: str) -> None:
    """A line on standard error, about something that is done otherwise than one may expect."""
    shown: Any = sys.modules.get("tqdm")
    if shown is None:
        print(text, file=sys.stderr, flush=True)
    else:
        shown.tqdm.write(text, file=sys.stderr)  # above a bar that is shown there
