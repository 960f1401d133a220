"""Conditions that users write about samples: ``sound and 1 <= rings < 4 and logp + 0.5 * qed > 1``.

The language, a part of Python's expressions and read by its parser:

    names of measures     yes or no, or a number
    numbers               finite; True and False
    + - * /               of numbers
    < <= > >= == !=       and chains of them
    and, or, not          of yes or no; a number is compared with something first

Nothing else is one of its words: no call, attribute, index, text or power. A text is measured before it is parsed, and a
tree before it is kept, so that what a stranger wrote costs little and runs nothing.

A measure that has no value for a sample, as the strain of a molecule that its force field does not know, is unknown, and so
is a division by zero. Unknown is passed on by Kleene's rules: "no and unknown" is no, "yes or unknown" is yes, anything else
stays unknown, and what is unknown does not pass. By these rules the order of the operands changes no result, so
the cheap ones are asked first and dear ones only where it still depends on them.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from langevin.core.errors import unknown

__all__ = ["Expression", "Name"]

LETTERS = 1000
NODES = 300
DEPTH = 40
_ALLOWED = "names of measures, numbers, + - * /, < <= > >= == !=, and, or, not, parentheses"
_ARITHMETIC: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type, Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}

Value = bool | float | None


@dataclass(frozen=True)
class Name:
    """A measure as an expression sees it.

    Attributes:
        about: what it is, with its unit; begins with a small letter.
        yes_no: whether it is yes or no, and not a number.
        cost: milliseconds that it takes, roughly: the cheap ones are asked first.
    """

    about: str
    yes_no: bool = False
    cost: float = 0.0


@dataclass(frozen=True)
class Expression:
    """A condition, checked when it is made.

    Args:
        text: the condition; see the module's page.
        names: what may be named. Capitals do not matter where only one name has those letters.

    Raises:
        ValueError: not of this language, too long or too deep, an unknown name, or not a yes or no.
    """

    text: str
    names: Mapping[str, Name] = field(repr=False)
    _tree: ast.expr = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", self._parsed())
        if not self._yes_no(self._tree, DEPTH):
            self._refuse("is a number; compare it with another, as in 'qed > 0.5'")
        if not self.used:
            self._refuse("names no measure, so it says nothing about a sample")

    @property
    def used(self) -> tuple[str, ...]:
        """The measures that it names, each once."""
        found = (self._called(node.id) for node in ast.walk(self._tree) if isinstance(node, ast.Name))
        return tuple(dict.fromkeys(found))

    def __call__(self, measure: Callable[[str], Value]) -> Value:
        """True, False, or None where it is unknown.

        Args:
            measure: the value of a measure by its name; None where it has none. Asked for what decides only.
        """
        return self._value(self._tree, measure)

    def _refuse(self, why: str) -> NoReturn:
        shown = self.text if len(self.text) <= 80 else f"{self.text[:77]}…"
        raise ValueError(f"the condition {shown!r} {why}")

    def _parsed(self) -> ast.expr:
        if len(self.text) > LETTERS:
            self._refuse(f"has {len(self.text)} letters; at most {LETTERS} are taken")
        if "#" in self.text:
            self._refuse("has a comment in it; write the condition alone")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "is" with a number, which is refused below
                tree = ast.parse(" ".join(self.text.split()), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            at = f" at letter {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
            self._refuse(f"cannot be read{at}; it is made of {_ALLOWED}")
        if sum(1 for _ in ast.walk(tree)) > NODES:
            self._refuse(f"is too long: it has more than {NODES} parts")
        return tree

    def _called(self, name: str) -> str:
        """The measure that a name means.

        Raises:
            ValueError: none; the nearest is suggested.
        """
        if name in self.names:
            return name
        alike = [known for known in self.names if known.lower() == name.lower()]
        if len(alike) != 1:
            raise ValueError(unknown("measure", name, self.names))
        return alike[0]

    def _yes_no(self, node: ast.expr, depth: int) -> bool:
        """Whether a part is a yes or no; refuses all that is not of the language."""
        if depth == 0:
            self._refuse(f"is nested more than {DEPTH} deep")
        if isinstance(node, ast.Name):
            return self.names[self._called(node.id)].yes_no
        if isinstance(node, ast.Constant):
            if not isinstance(node.value, (bool, int, float)) or not _finite(node.value):
                self._refuse(f"has {str(node.value)[:20]!r} in it, which is not a finite number")
            return isinstance(node.value, bool)
        if isinstance(node, (ast.BoolOp, ast.UnaryOp)) and not isinstance(node.op, (ast.UAdd, ast.USub)):
            parts = node.values if isinstance(node, ast.BoolOp) else [node.operand]
            for part in parts:
                if not self._yes_no(part, depth - 1):
                    self._refuse(
                        f"has {ast.unparse(part)[:40]!r}, a number, where a yes or no is needed; compare it"
                    )
            if isinstance(node, ast.BoolOp) or isinstance(node.op, ast.Not):
                return True
        children = _operands(node)
        if not children:
            self._refuse(f"has {ast.unparse(node)[:40]!r} in it; it is made of {_ALLOWED}")
        for child in children:
            self._yes_no(child, depth - 1)
        return isinstance(node, ast.Compare)

    def _cost(self, node: ast.expr) -> float:
        named = (n.id for n in ast.walk(node) if isinstance(n, ast.Name))
        return max((self.names[self._called(name)].cost for name in named), default=0.0)

    def _value(self, node: ast.expr, measure: Callable[[str], Value]) -> Value:
        def of(part: ast.expr) -> Value:
            return self._value(part, measure)

        if isinstance(node, ast.Name):
            name = self._called(node.id)
            return _known(measure(name), self.names[name].yes_no)
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, bool) else float(node.value)  # type: ignore[arg-type]
        if isinstance(node, ast.BoolOp):
            parts = sorted(node.values, key=self._cost)
            return _joined(map(of, parts), isinstance(node.op, ast.Or))
        if isinstance(node, ast.UnaryOp):
            value = of(node.operand)
            if value is None or isinstance(node.op, ast.UAdd):
                return value
            return not value if isinstance(node.op, ast.Not) else -value
        if isinstance(node, ast.BinOp):
            a, b = of(node.left), of(node.right)
            if a is None or b is None or (b == 0 and isinstance(node.op, ast.Div)):
                return None
            return _known(_ARITHMETIC[type(node.op)](a, b))
        assert isinstance(node, ast.Compare)
        return _joined(self._pairs(node, of), False)

    @staticmethod
    def _pairs(node: ast.Compare, of: Callable[[ast.expr], Value]) -> Iterator[Value]:
        """The comparisons of a chain, one after the other."""
        left = of(node.left)
        for sign, part in zip(node.ops, node.comparators):
            right = of(part)
            yield None if left is None or right is None else bool(_COMPARISONS[type(sign)](left, right))
            left = right


def _operands(node: ast.expr) -> list[ast.expr]:
    """The parts of a comparison or of arithmetic; empty for what is not of the language."""
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        return [node.operand]
    if isinstance(node, ast.Compare) and all(type(sign) in _COMPARISONS for sign in node.ops):
        return [node.left, *node.comparators]
    return []


def _joined(values: Iterator[Value], wanted: bool) -> Value:
    """ "or" if ``wanted`` is True, "and" if it is False: the first that decides, else unknown if any is."""
    found: Value = not wanted
    for value in values:
        if value is wanted:
            return wanted
        if value is None:
            found = None
    return found


def _known(value: Any, yes_no: bool = False) -> Value:
    """A value as Python's own; None for what is no number."""
    if value is None or math.isnan(value):
        return None
    return bool(value) if yes_no else float(value)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
