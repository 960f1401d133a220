"""Names of files that say what is in them: number, seed, and what was asked for in a few plain characters.

0003_seed7_the-digit-seven-spoken-by-theo.wav
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

__all__ = ["LONGEST", "file_name", "slug"]

LONGEST = 60  # characters of a slug
_TEXTS = 1000  # characters that are looked at


def file_name(number: int, seed: int, condition: Mapping[str, Any], suffix: str) -> str:
    """The name of a sample's file: its number, its seed, and the :func:`slug` of its condition where there is one."""
    said = slug(condition)
    return f"{number:04d}_seed{seed}{'_' if said else ''}{said}{suffix}"


def slug(condition: Mapping[str, Any]) -> str:
    """What was asked for, as at most 60 of a-z, 0-9, hyphens and points within numbers; safe on every file system.

    The prompt where there is one; otherwise all conditions, numbers with their names, and of paths the last part. Accents
    are dropped, other writing than Latin is left out, and a longer text ends with a whole word where it can.
    """
    prompt = condition.get("prompt")
    said = [prompt] if isinstance(prompt, str) else [_said(name, value) for name, value in condition.items()]
    text = unicodedata.normalize("NFKD", " ".join(said)[:_TEXTS]).encode("ascii", "ignore").decode().lower()
    text = re.sub(r"(?:[^a-z0-9.]|(?<!\d)\.|\.(?!\d))+", "-", text).strip("-")
    if len(text) > LONGEST:
        text = text[: LONGEST + 1].rpartition("-")[0] or text[:LONGEST]
    return text.strip("-.")


def _said(name: str, value: Any) -> str:
    if isinstance(value, str) and not re.fullmatch(r"[-+.\d]+(e[-+]?\d+)?", value):
        return re.split(r"[\\/]", value)[-1]
    if isinstance(value, (bool, int, float, str)):
        return f"{name} {str(value).replace('-', 'minus ', 1)}"
    return ""
