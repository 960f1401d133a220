"""Records: what has a name is a node of what differs from its defaults; what has not is known by its values."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from langevin.core import guidance as g
from langevin.core import samplers as s
from langevin.core.conditioning import Embedded
from langevin.core.records import digest, given, record


@pytest.mark.parametrize(
    ("value", "node"),
    [
        (s.Multistep(), {"name": "Multistep"}),
        (s.Multistep(3, of="v"), {"name": "Multistep", "order": 3, "of": "v"}),
        (s.Restart(s.Heun()), {"name": "Restart", "inner": {"name": "Heun"}}),
        (g.cfg(3, interval=(0.2, 0.8)), {"name": "cfg", "weight": 3, "interval": [0.2, 0.8]}),
        (g.chain(g.apg(2.0)), {"name": "chain", "rules": [{"name": "apg", "weight": 2.0}]}),
        (g.compose({"a": 2.0}), {"name": "compose", "parts": {"a": 2.0}}),
        (np.float32(0.5), 0.5),
        (torch.tensor(3), 3),
        ("karras", "karras"),
        (None, None),
    ],
)
def test_nodes(value: Any, node: Any) -> None:
    assert record(value) == node and json.dumps(record(value)) == json.dumps(node)


def test_what_only_the_caller_has_is_told_apart_by_its_values() -> None:
    one, two = (g.cfg(2.0, negative={"label": Embedded(torch.full((1, 4), x))}) for x in (0.0, 1.0))
    a, b = record(one), record(two)
    assert a["negative"]["label"]["given"] == "langevin.core.conditioning.embedded.Embedded"
    assert a != b and a == record(one)
    assert record(brightness) == {"given": f"{__name__}.brightness"}
    assert record(functools.partial(brightness, 1))["given"] == "functools.partial"


def brightness(x: Any) -> Any:
    return x


def test_digests_are_of_values_and_shapes() -> None:
    x = torch.arange(6.0)
    picture = Image.new("RGB", (2, 3), "red")
    values = [
        x,
        x.reshape(2, 3),
        x.double(),
        x.bfloat16(),
        x > 2,
        x + 1,
        [x, x],
        {"a": x},
        {"b": x},
        x.numpy(),
        picture,
        picture.convert("L"),
        picture.convert("P"),
        Image.new("P", (2, 3), 0),
        torch.nn.Linear(2, 2),
        torch.nn.Linear(2, 2),
        torch.empty(0),
        None,
        "text",
        b"text",
    ]
    found = [digest(value) for value in values]
    assert len(set(found)) == len(values) and None not in found
    assert digest(x.reshape(3, 2).mT.contiguous().mT) == digest(x.reshape(3, 2))
    assert digest(picture.copy()) == digest(picture)
    assert digest(lambda: 0) is None
    assert given(picture, x) == {"given": "PIL.Image.Image", "sha256": digest(x)}
