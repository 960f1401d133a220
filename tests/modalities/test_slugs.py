"""Names of files: number, seed and a few plain characters."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langevin.modalities.slugs import LONGEST, file_name, slug


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"prompt": "The digit seven, spoken by Theo!", "label": 7}, "the-digit-seven-spoken-by-theo"),
        ({"label": "seven", "speaker": "theo"}, "seven-theo"),
        ({"label": 3}, "label-3"),
        ({"label": "3"}, "label-3"),
        ({"logP": -0.5}, "logp-minus-0.5"),
        ({"style": "/home/me/My Voice.wav"}, "my-voice-wav"),
        ({"style": "..\\up.wav"}, "up-wav"),
        ({"prompt": "crème brûlée 🍎 日本"}, "creme-brulee"),
        ({"prompt": "日本"}, ""),
        ({"prompt": "../../etc/passwd"}, "etc-passwd"),
        ({"reference": object()}, ""),
        ({}, ""),
    ],
)
def test_a_condition_in_plain_characters(condition: dict[str, Any], said: str) -> None:
    assert slug(condition) == said
    assert file_name(3, 7, condition, ".wav") == f"0003_seed7{'_' if said else ''}{said}.wav"


def test_long_texts_end_with_a_word() -> None:
    said = slug({"prompt": "a dog that barks at the moon " * 5})
    assert said == "a-dog-that-barks-at-the-moon-a-dog-that-barks-at-the-moon-a"
    assert slug({"prompt": "x" * 100}) == "x" * LONGEST


@given(st.text(max_size=300))
def test_every_text_is_a_safe_name(text: str) -> None:
    said = slug({"prompt": text})
    assert len(said) <= LONGEST and re.fullmatch(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?", said)
    assert ".." not in said
