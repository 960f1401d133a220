"""Values of conditions as users write them; without torch, so that the command line can refuse what no model will take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from langevin.core.errors import unknown

__all__ = ["class_index", "finite"]


def class_index(value: Any, classes: int | Sequence[str]) -> int:
    """The index of a class that is given by its index or name.

    Args:
        value: 3, "3" or a name.
        classes: their number, or their names.

    Raises:
        ValueError: an unknown name, an index out of range, or neither.
    """
    count = classes if isinstance(classes, int) else len(classes)
    if isinstance(value, str):
        if not isinstance(classes, int):
            if value in classes:
                return list(classes).index(value)
            if not value.strip().isdigit():
                raise ValueError(unknown("class", value, classes))
        if not value.strip().isdigit():
            raise ValueError(f"class {value!r} is a name, but these classes are numbers 0 … {count - 1}")
    try:
        index = int(value)
    except (TypeError, ValueError, OverflowError):
        index = None
    if index is None or _truth(value):
        raise ValueError(f"{value!r} is not a class; give an index or a name")
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"class {value!r} is not a whole number")
    if not 0 <= index < count:
        raise ValueError(f"class {index} is out of range: there are {count} classes, 0 … {count - 1}")
    return index


def finite(value: Any) -> float:
    """A finite number, or a text that says one.

    Raises:
        ValueError: something else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or _truth(value):
        raise ValueError(f"{value!r} is not a number")
    if not math.isfinite(number):
        raise ValueError(f"a condition must be a finite number, not {value!r}; leave it out to say nothing")
    return number


def _truth(value: Any) -> bool:
    """Whether it is a yes or no, Python's, numpy's or torch's, which count as 1 and 0 where numbers are read."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")
