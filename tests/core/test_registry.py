"""Trees build typed objects, objects describe themselves, wrong trees are refused with their path."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from langevin.core.registry import BuildError, Registry, build, describe, register


class Curve:
    """Base of the test schedules."""


@dataclass(frozen=True)
class Line(Curve):
    slope: float = 1.0


@dataclass(frozen=True)
class Moved(Curve):
    base: Curve
    by: float


class Noise:
    """Base of the test processes."""


class Leaf(Noise):
    """A process of one tensor."""


@dataclass(frozen=True)
class Normal(Leaf):
    curve: Curve = field(default_factory=Line)
    centred: bool = False
    kind: Literal["a", "b"] = "a"
    shape: tuple[int, ...] = ()
    bounds: tuple[float, float] | None = None


class Joint(Noise):
    def __init__(self, **leaves: Leaf) -> None:
        self.leaves = leaves


@dataclass(frozen=True)
class Options:
    depth: int = 2
    label: str | None = None
    curve: Curve | None = None


@dataclass(frozen=True)
class Recipe:
    options: Options
    curves: Mapping[str, Curve] = field(default_factory=dict)
    order: Sequence[Curve] = ()
    extra: Any = None


@dataclass(frozen=True, eq=False)
class Table:
    values: torch.Tensor


CURVES = Registry("test curve", base=Curve)
NOISES = Registry("test noise", base=Noise)
RECIPES = Registry("test recipe")
CURVES.register("line")(Line)
register("test curve", "moved")(Moved)
register(NOISES, "normal")(Normal)
register(NOISES, "joint")(Joint)
RECIPES.register("recipe")(Recipe)
RECIPES.register("table")(Table)


@CURVES.register("steep")
def steep(factor: float = 10.0) -> Curve:
    return Line(factor)


def test_a_node_becomes_an_object_with_nested_nodes_built_by_annotation() -> None:
    node = {"name": "moved", "by": 2, "base": {"name": "line", "slope": 3.0}}
    assert build("test curve", node) == Moved(Line(3.0), 2.0)
    assert build(CURVES, "line") == Line()
    assert build(CURVES, {"name": "moved", "by": 1.0, "base": "steep"}) == Moved(Line(10.0), 1.0)


def test_kind_is_an_ordinary_argument() -> None:
    assert build("test noise", {"name": "normal", "kind": "b"}) == Normal(kind="b")


def test_variable_keywords_are_built_by_their_annotation() -> None:
    joint = build(NOISES, {"name": "joint", "x": {"name": "normal", "centred": True}, "y": "normal"})
    assert joint.leaves == {"x": Normal(centred=True), "y": Normal()}
    with pytest.raises(BuildError, match=r"joint\)\.x: expected a Leaf, got a Joint"):
        build(NOISES, {"name": "joint", "x": {"name": "joint", "z": "normal"}})


def test_plain_dataclasses_mappings_and_sequences_are_built_inside() -> None:
    node = {
        "name": "recipe",
        "options": {"depth": 3, "curve": {"name": "line"}},
        "curves": {"a": {"name": "line", "slope": 2}},
        "order": ["line", {"name": "steep"}],
        "extra": [{"registry": "test curve", "name": "line"}, {"plain": 1}],
    }
    built = build("test recipe", node)
    assert built == Recipe(
        Options(3, None, Line()), {"a": Line(2.0)}, (Line(), Line(10.0)), [Line(), {"plain": 1}]
    )


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "lien"}, r"^test curve: unknown test curve 'lien'; did you mean 'line'\?"),
        ({"slope": 1.0}, r"^test curve: has no name \(allowed: line, moved, steep\)"),
        (
            {"name": "line", "slop": 1.0},
            r"^test curve\(line\): unknown argument 'slop'; did you mean 'slope'\?",
        ),
        (
            {"name": "line", "slope": "0.1"},
            r"^test curve\(line\)\.slope: expected a number, got the string '0\.1'$",
        ),
        ({"name": "line", "slope": True}, r"slope: expected a number, got True"),
        ({"name": "line", "slope": None}, r"slope: expected a number, got None"),
        ({"name": "line", "slope": [1.0]}, r"slope: expected a number, got a list of 1"),
        ({"name": "moved", "by": 1.0}, r"^test curve\(moved\): missing base$"),
        (
            {"name": "moved", "by": 1.0, "base": {"name": "line", "slope": "x"}},
            r"moved\)\.base\(line\)\.slope: expected a num",
        ),
        (
            {"name": "moved", "by": 1.0, "base": 3},
            r"\.base: expected a test curve, as a name or \{name: …\}, got 3",
        ),
        (7, r"^test curve: expected a test curve"),
        ({"name": ["line"]}, r"unknown test curve"),
        ({"name": "os.system"}, r"unknown test curve 'os.system'"),
    ],
)
def test_wrong_trees_are_refused_with_their_path(node: object, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        build("test curve", node)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "c"}, r"\.kind: unknown value 'c'"),
        ({"centred": 1}, r"\.centred: expected true or false, got 1"),
        ({"shape": [1, 2.5]}, r"\.shape\[1\]: expected a whole number, got 2\.5"),
        ({"shape": "12"}, r"\.shape: expected a list, got the string '12'"),
        ({"bounds": [1.0]}, r"\.bounds: expected a list of 2 or nothing, got a list of 1"),
        ({"bounds": "no"}, r"\.bounds: expected a list or nothing, got the string 'no'"),
        ({"curve": {"name": "line", "slop": 1}}, r"\.curve\(line\): unknown argument 'slop'"),
    ],
)
def test_wrong_arguments_name_what_was_expected(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        build("test noise", {"name": "normal", **arguments})


def test_an_optional_node_reports_what_is_wrong_inside_it() -> None:
    with pytest.raises(
        BuildError, match=r"options\.curve\(line\)\.slope: expected a number, got the string 'x'"
    ):
        build("test recipe", {"name": "recipe", "options": {"curve": {"name": "line", "slope": "x"}}})
    with pytest.raises(BuildError, match=r"options\.curve: unknown test curve 'lime'; did you mean 'line'"):
        build("test recipe", {"name": "recipe", "options": {"curve": "lime"}})


def test_what_a_constructor_refuses_is_reported_at_its_path() -> None:
    registry = Registry("test picky")

    @registry.register("picky")
    def picky(x: float) -> float:
        raise ValueError("x must be positive")

    with pytest.raises(BuildError, match=r"^test picky\(picky\): x must be positive$"):
        build(registry, {"name": "picky", "x": -1})


def test_nesting_has_a_limit() -> None:
    node: dict[str, object] = {"name": "line"}
    for _ in range(200):
        node = {"name": "moved", "by": 1.0, "base": node}
    with pytest.raises(BuildError, match="more than 64 levels"):
        build("test curve", node)
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(BuildError, match="more than 64 levels"):
        build("test recipe", {"name": "recipe", "options": {}, "extra": deep})


def test_an_unknown_registry_is_refused() -> None:
    with pytest.raises(BuildError, match=r"extra: unknown registry 'os'"):
        build("test recipe", {"name": "recipe", "options": {}, "extra": {"registry": "os", "name": "system"}})


def test_names_are_taken_once_and_reserved_words_are_refused() -> None:
    registry = Registry("test names")
    registry.register("a")(Line)
    registry.register("a")(Line)
    with pytest.raises(ValueError, match="registered already"):
        registry.register("a")(Moved)
    with pytest.raises(ValueError, match="parameter 'name'"):
        registry.register("b")(lambda name: name)
    with pytest.raises(ValueError, match="already"):
        Registry("test names")


def test_unresolvable_annotations_are_an_error_of_the_author() -> None:
    registry = Registry("test annotations")

    def broken(x: NotImported) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Its annotation exists nowhere."""

    registry.register("broken")(broken)
    with pytest.raises(TypeError, match="does not resolve"):
        build(registry, {"name": "broken", "x": 1})


@pytest.mark.parametrize(
    "target",
    [
        Line(0.5),
        Moved(Moved(Line(1 / 3), 2.0), -1.0),
        Normal(Moved(Line(), 1.0), True, "b", (1, 2), (0.0, math.inf)),
        Recipe(Options(4, "x", Line(2.0)), {"a": Line()}, (Line(), Moved(Line(), 0.1)), Line(9.0)),
    ],
)
def test_building_a_description_gives_an_equal_object(target: object) -> None:
    node = describe(target)
    kind = next(k for k in ("test curve", "test noise", "test recipe") if node["name"] in Registry.of(k))
    assert build(kind, node) == target


def test_a_product_describes_its_leaves() -> None:
    joint = Joint(x=Normal(centred=True), y=Normal())
    assert build("test noise", describe(joint)).leaves == joint.leaves
    assert describe(joint)["x"]["curve"] == {"name": "line", "slope": 1.0}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int64, torch.bool])
def test_tensors_round_trip(dtype: torch.dtype) -> None:
    values = (torch.rand(2, 3, dtype=torch.float64) * 5).to(dtype)
    again = build("test recipe", describe(Table(values))).values
    assert again.dtype == dtype and torch.equal(again, values)
    assert build("test recipe", {"name": "table", "values": [1, 2]}).values.dtype == torch.float32
    for wrong in ("12", ["a"], [[1.0], [1.0, 2.0]], {"dtype": "complex64", "values": [1.0]}):
        with pytest.raises(BuildError):
            build("test recipe", {"name": "table", "values": wrong})


def test_what_is_not_registered_has_no_description() -> None:
    with pytest.raises(BuildError, match="not registered"):
        describe(Options())
    function: Callable[[], int] = lambda: 0  # noqa: E731
    with pytest.raises(BuildError, match="has no tree"):
        describe(Recipe(Options(), extra=function))


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "registry", "by", "base", "slope", "x", ""]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(node=trees)
def test_no_tree_escapes_the_one_error(node: object) -> None:
    for kind in ("test curve", "test noise", "test recipe"):
        try:
            build(kind, node)
        except BuildError:
            continue
