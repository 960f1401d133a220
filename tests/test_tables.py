"""Tables print aligned, and their numbers survive CSV and JSON."""

from __future__ import annotations

import csv
import io
import json

from langevin.tables import Table, shown

TABLE = Table(
    [
        {"name": "a", "value": 0.123456, "n": 3},
        {"name": "bb", "value": float("nan")},
        {"name": "c", "ok": True},
    ],
    "about",
)


def test_text_is_aligned_and_numbers_stand_to_the_right() -> None:
    assert TABLE.text().splitlines() == [
        "name   value  n  ok",
        "----  ------  -  ---",
        "a     0.1235  3",
        "bb       nan",
        "c                yes",
    ]
    assert Table([]).text() == ""


def test_csv_keeps_every_digit() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert float(rows[0]["value"]) == 0.123456 and rows[2]["value"] == ""


def test_plain_values_are_json() -> None:
    again = json.loads(json.dumps(TABLE.plain(), allow_nan=False))
    assert again["caption"] == "about" and again["rows"][1] == {"name": "bb", "value": None}


def test_cells_are_short() -> None:
    assert [shown(v) for v in (None, True, 1234567, 1234567.0, 1e-9, [1, 2.5])] == [
        "",
        "yes",
        "1234567",
        "1.235e+06",
        "1e-09",
        "1, 2.5",
    ]
