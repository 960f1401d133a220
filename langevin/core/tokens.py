"""Tokens: what a backbone sees of a state, without parameters.

A modality turns its state into tokens and back (:class:`Tokeniser`). Values are given by leaf, so that each leaf has its
own embedding on the way in and its own head on the way out; positions are real coordinates for rotary attention.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from langevin.core.processes.base import State

__all__ = ["Tokeniser", "Tokens"]


@dataclass(frozen=True)
class Tokens:
    """A state as a sequence.

    Attributes:
        values: by leaf, (B, N, D_leaf).
        positions: (B, N, p) or (1, N, p), in the units that rotary attention sees.
        mask: (B, N), True on real tokens; None if all are.
        pair: (B, N, N, P) or None.
        order: (B, N) or (1, N), whole numbers: a token sees those whose number is not above its own, as frames those before
            them in causal attention; None where all see all.
        frames: rotations (B, N, 3, 3) and translations (B, N, 3), which take a point u of a token's own axes to R u + t in
            space; None where tokens have none. A backbone that takes them (``framed``) answers the same for frames that are
            rotated and shifted together if values and pair are the same; vectors that are read out are then in the token's
            own axes, and :meth:`Tokeniser.untokens` turns them into space, R u. Other backbones do not look at them.
    """

    values: dict[str, Tensor]
    positions: Tensor
    mask: Tensor | None = None
    pair: Tensor | None = None
    order: Tensor | None = None
    frames: tuple[Tensor, Tensor] | None = None


class Tokeniser(Protocol):
    """A modality's way between states and tokens.

    A tokeniser may say more:

    * ``places``: along how many axes of the positions the origin means something; 0 where it does not;
    * ``pairs``: width of the pair features in :meth:`tokens`; 0 where there are none;
    * ``pair_outputs``: width of what is read out of pairs of tokens, by name, as bonds are; it joins the values of
      :meth:`untokens` as (B, N, N, D), symmetric where the pair features are;
    * ``points``: name of the leaf whose values (B, N, p) are points in space, where one is. A backbone that moves points
      sees them by their distances alone and answers with a displacement, which stands among the values of
      :meth:`untokens` as that leaf; to every other backbone they are values like any. All else that such a modality
      gives, features of pairs among it, must be the same for points that are shifted, rotated or reflected together;
    * ``token_times(t, state)``: the times (B, G) of groups of N / G tokens that follow one another, of times of single
      elements (B, L), where tokens are not the elements one by one: a frame of a clip has many tokens, and a token may be
      of several frames.

    To :meth:`tokens` of a model that is shown its own beliefs (:mod:`langevin.core.recall`) a discrete leaf may come as
    probabilities, floats with one more axis than indices have.
    """

    @property
    def inputs(self) -> dict[str, int]:
        """Width of each leaf's values on the way in."""
        ...

    @property
    def outputs(self) -> dict[str, int]:
        """Width of each leaf's values on the way out."""
        ...

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """The state as tokens."""
        ...

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        """Output values by leaf, (B, N, D), and those of pairs, as an output of the shape of ``like``."""
        ...


@dataclass(frozen=True)
class PlainTokens:
    """The rows of a lone leaf (B, L, D) as they are, at positions 0 … L − 1: for points, toy data and tests."""

    width: int
    inputs: dict[str, int] = field(init=False)
    outputs: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", {"": self.width})
        object.__setattr__(self, "outputs", {"": self.width})

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        assert isinstance(state, Tensor)
        positions = state.new_tensor(range(state.shape[1]))[None, :, None]
        return Tokens({"": state}, positions, mask)

    def untokens(self, values: dict[str, Tensor], like: State) -> Tensor:
        return values[""]
