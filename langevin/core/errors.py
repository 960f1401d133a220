"""Messages for wrong names: what was given, what is allowed, and the nearest valid spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["unknown"]


def unknown(kind: str, name: object, allowed: Iterable[object]) -> str:
    """The message for a name that is not in a list: ``unknown sampler 'eular'; did you mean 'euler'? (allowed: …)``.

    Args:
        kind: what the name should have named ("sampler", "grid", "argument of Linear").
        name: what was given.
        allowed: every valid name.
    """
    names = sorted(str(a) for a in allowed)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"unknown {kind} {str(name)!r}{hint} (allowed: {', '.join(names) or 'none'})"
