r"""Composition: several conditions hold at once, each with its weight (Liu et al., 2022, arXiv 2206.01714).

.. math:: g = p_\varnothing + \sum_i w_i\,(p_i - p_\varnothing)

A negative weight asks for the opposite of a condition. With one condition this is classifier-free guidance.
All branches share one batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from langevin.core.denoiser import Condition, Denoiser, Memory
from langevin.core.guidance.base import Guidance, Index, Question, answer, checked, cut, spread
from langevin.core.posteriors import Posterior, combine
from langevin.core.times import Times

__all__ = ["Composed", "compose"]


@dataclass(frozen=True)
class Composed(Guidance):
    """Several conditions, each with a weight.

    ``compose({"prompt": 4.0, "label": 1.5})`` weighs the named parts of the condition that is sampled with;
    ``compose([({"label": red}, 2.0), ({"label": square}, 2.0), ({"label": large}, -1.0)])`` weighs
    conditions of its own, as ``model.embed`` makes them, with one row or one for each sample. What the call's
    condition has besides is part of every branch, the null's too.

    Args:
        parts: weights by name, or pairs (name or condition, weight).
        batched: ask for all beliefs in one batch.

    Raises:
        ValueError: no parts, or weights that are not finite.
        KeyError: when called, a name that the condition does not have.
    """

    parts: Mapping[str, float] | Sequence[tuple[str | Mapping[str, Any], float]]
    _: KW_ONLY
    batched: bool = True

    def __post_init__(self) -> None:
        given = self.parts.items() if isinstance(self.parts, Mapping) else self.parts
        if not given or any(isinstance(pair, str) or len(pair) != 2 for pair in given):
            raise ValueError(
                f"compose needs weights by name, or pairs (condition, weight); got {self.parts!r}"
            )
        for what, weight in self.pairs:
            if not isinstance(what, (str, Mapping)):
                raise TypeError(f"compose weighs names or conditions (dicts), got {what!r}")
            checked(f"the weight of {_named(what)}", weight)

    def __repr__(self) -> str:
        pairs = ", ".join(f"({_named(what)}, {weight})" for what, weight in self.pairs)
        parts = dict(self.parts) if isinstance(self.parts, Mapping) else f"[{pairs}]"
        return f"Composed(parts={parts}, batched={self.batched})"

    @property
    def pairs(self) -> list[tuple[str | Mapping[str, Any], float]]:
        """(name or condition, weight) of every part."""
        return list(self.parts.items() if isinstance(self.parts, Mapping) else self.parts)

    def at(self, index: Index, total: int) -> Composed:
        return replace(
            self,
            parts=[
                (what if isinstance(what, str) else cut(what, index, total), weight)
                for what, weight in self.pairs
            ],
        )

    def _weights(self) -> list[float]:
        """Of the null and of every part; those of 0 are never asked for."""
        each = [weight for _, weight in self.pairs]
        null = 1 - sum(each)
        return [0.0 if abs(null) < 1e-12 else null, *each]

    def _branches(self, inner: Denoiser, condition: Condition, rows: int) -> list[dict[str, Any]]:
        names = [what for what, _ in self.pairs if isinstance(what, str)]
        own = {
            name for what, _ in self.pairs if isinstance(what, Mapping) for name in what if name in condition
        }
        null = inner.without(condition, [*dict.fromkeys(names), *sorted(own - set(names))])
        return [
            null,
            *(
                null | ({what: condition[what]} if isinstance(what, str) else spread(what, rows))
                for what, _ in self.pairs
            ),
        ]

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        weights = self._weights()
        used = [k for k, weight in enumerate(weights) if weight]
        asked = []
        for condition in q.conditions:
            branches = self._branches(inner, condition, q.rows)
            asked += [branches[k] for k in used]
        beliefs, memory = answer(inner, replace(q, conditions=asked, batched=q.batched and self.batched))
        chosen, out = [weights[k] for k in used], []
        for start in range(0, len(beliefs), len(used)):
            group = beliefs[start : start + len(used)]
            out.append(group[0] if len(group) == 1 else combine(chosen, group))
        return out, memory

    def asks(self, inner: Denoiser, t: Times) -> int:
        """One branch for every weight that is not 0, the null's among them."""
        return sum(weight != 0 for weight in self._weights())


def _named(what: str | Mapping[str, Any]) -> str:
    """A part by the names of what it asks for, without the tensors of a condition."""
    return repr(what) if isinstance(what, str) else f"{{{', '.join(f'{name!r}: …' for name in what)}}}"


compose = Composed
