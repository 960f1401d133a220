"""Conditions on measures: what they say, what they ask, and all that they refuse."""

from __future__ import annotations

import math
import operator
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin.modalities.expressions import Expression, Name

NAMES = {
    "sound": Name("holds together", True, 40),
    "strict": Name("a strict graph", True),
    "strain": Name("kcal/mol", cost=20),
    "qed": Name("drug-likeness", cost=2),
    "rings": Name("rings"),
    "logp": Name("partition", cost=2),
    "C": Name("carbons"),
}


def value(text: str, **values: Any) -> Any:
    return Expression(text, NAMES)(values.get)


@pytest.mark.parametrize(
    ("text", "values", "wanted"),
    [
        ("sound and strain < 20", {"sound": True, "strain": 19.9}, True),
        ("sound and strain < 20", {"sound": True, "strain": 20.0}, False),
        ("1 < rings <= 3", {"rings": 3}, True),
        ("1 < rings <= 3", {"rings": 1}, False),
        ("rings == 2 or not sound", {"rings": 1, "sound": False}, True),
        ("logp + 2 * qed - 1 / 4 > -0.5 * C", {"logp": -1.0, "qed": 0.5, "C": 2}, True),
        ("-logp >= +1", {"logp": -1.0}, True),
        ("sound != strict", {"sound": True, "strict": False}, True),
        ("sound == (qed > 0.3)", {"sound": True, "qed": 0.4}, True),
        ("sound == True", {"sound": True}, True),
        ("SOUND and logP > 1", {"sound": True, "logp": 2}, True),
        ("  sound\n  and qed > 0 ", {"sound": True, "qed": 1}, True),
    ],
)
def test_what_it_says(text: str, values: dict[str, Any], wanted: bool) -> None:
    assert value(text, **values) is wanted


@pytest.mark.parametrize(
    ("text", "values", "wanted"),
    [
        ("strain < 20", {}, None),
        ("not strain < 20", {}, None),
        ("strain < 20 or sound", {"sound": True}, True),
        ("strain < 20 and sound", {"sound": False}, False),
        ("strain < 20 and sound", {"sound": True}, None),
        ("qed / rings > 1", {"qed": 1.0, "rings": 0}, None),
        ("0 < strain + 1 < 3", {"strain": math.nan}, None),
        ("strain < 20", {"strain": math.inf}, False),
    ],
)
def test_what_has_no_value_is_unknown_and_does_not_pass(text: str, values: Any, wanted: Any) -> None:
    assert value(text, **values) is wanted


def test_dear_measures_are_asked_only_where_the_answer_depends_on_them() -> None:
    asked: list[str] = []

    def measure(name: str) -> float:
        asked.append(name)
        return {"strict": False, "qed": 0.9, "rings": 9}.get(name, 1.0)

    assert Expression("sound and strain < 20 and strict and qed > 0.5", NAMES)(measure) is False
    assert asked == ["strict"]
    asked.clear()
    assert Expression("strain < 0 or sound or qed > 0.5", NAMES)(measure) is True and asked == ["qed"]
    asked.clear()
    assert Expression("1 < 0 < strain or rings < 3", NAMES)(measure) is False and asked == ["rings"]


def test_what_it_names() -> None:
    used = Expression("SOUND and sound and logP + qed > C", NAMES).used
    assert sorted(used) == ["C", "logp", "qed", "sound"]


HOSTILE = [
    "__import__('os')", "__import__('os').system('id')", "sound.__class__", "sound[0]", "(lambda: sound)()",
    "[sound for sound in (1,)]", "(sound := True)", "sound if sound else strict", "f'{sound}'", "'a' < qed", "b'a' < qed",
    "9 ** 9 ** 9 ** 9 > qed", "qed ** 2 > 1", "qed // 2 > 1", "qed % 2 > 1", "rings << 99 > 1", "sound & strict",
    "sound | strict", "~rings > 0", "rings is 1", "qed in rings", "1j < qed", "1e999 < qed", "9" * 900 + " < qed",
    "...", "()", "[]", "{}", "None", "print(1)", "sound and", "qed = 1", "sound && strict", "sound; strict", "*sound",
    "await sound", "yield", "import os", "sound # and strain < 20", "\x00", "\ud800", "", "   ", "(" * 400,
    "-" * 400 + "qed", "not " * 200 + "sound", "(" * 90 + "qed" + ")" * 90 + "> -" * 300, "qed<" * 200 + "1",
    "x" * 1_000_000, "(" * 500_000 + "1" + ")" * 500_000, "sound and " * 90_000 + "sound",
    "-(" * 60 + "qed" + ")" * 60 + " < 1",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_not_of_the_language_is_refused_quickly(text: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="^the condition") as caught:
        Expression(text, NAMES)
    assert time.process_time() - started < 1 and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("strian < 20", "unknown measure 'strian'; did you mean 'strain'\\? \\(allowed: C, logp, qed"),
        ("qed > nan", "unknown measure 'nan'"),
        ("qed", "is a number; compare it with another"),
        ("qed + 1", "is a number; compare it with another"),
        ("sound and strain", "has 'strain', a number, where a yes or no is needed; compare it"),
        ("not rings", "has 'rings', a number"),
        ("1 < 2", "names no measure"),
        ("True", "names no measure"),
        ("qed > 1 and", "cannot be read"),
        ("qed == 'x'", "has 'x' in it, which is not a finite number"),
    ],
)
def test_mistakes_are_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Expression(text, NAMES)


@given(
    st.recursive(
        st.sampled_from(["qed", "rings", "2", "0.5"]),
        lambda part: st.tuples(part, st.sampled_from("+-*/"), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        max_leaves=6,
    ),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.floats(-3, 3),
    st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_arithmetic_is_pythons(left: str, sign: str, qed: float, rings: int) -> None:
    functions = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
    functions |= {"==": operator.eq, "!=": operator.ne}
    try:
        number = _python(left, {"qed": qed, "rings": float(rings)})
        wanted = None if math.isnan(number) else functions[sign](number, 1.0)
    except ZeroDivisionError:
        wanted = None
    assert value(f"{left} {sign} 1 and qed == qed", qed=qed, rings=rings) is wanted


def _python(text: str, values: dict[str, float]) -> float:
    """The number of a text in parentheses, by hand."""
    if not text.startswith("("):
        return values[text] if text in values else float(text)
    depth, inner = 0, text[1:-1]
    for k, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and letter in "+-*/" and inner[k - 1] == " ":
            functions = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
            return float(functions[letter](_python(inner[: k - 1], values), _python(inner[k + 2 :], values)))
    raise AssertionError(text)
