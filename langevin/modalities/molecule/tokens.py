"""Tokens of a molecule: one for each atom, and what is known of every pair of atoms.

    atom    position in units of the data's deviation, element and charge as one-hot vectors (the mask token among them)
    pair    distance d as Gaussian bumps, d and 1 / (1 + d); the bond as a one-hot vector

A token holds no place in a sequence: atoms are a set. Out of the pairs come bonds, and a pull along the line between two
atoms, which joins the displacement that the transformer gives to each atom by itself:

    v_i = head_i + sum_j pull_ij (x_i − x_j) / (1 + d_ij) .

The second term turns with the molecule (Satorras et al., 2021, E(n)-equivariant graph networks, arXiv 2102.09844, Eq. 4);
bond lengths and angles are adjusted by it whatever way the molecule lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from langevin.core.processes.base import State
from langevin.core.tokens import Tokens

__all__ = ["ORDERS", "AtomTokens"]

ORDERS = 4  # no bond, single, double, triple
_BUMPS = 24


@dataclass(frozen=True)
class AtomTokens:
    """The way between states and tokens.

    Args:
        elements: number of elements.
        charges: number of formal charges.
        unit: Å of one unit of the state's positions.
    """

    elements: int
    charges: int
    unit: float

    @property
    def inputs(self) -> dict[str, int]:
        """Widths of the leaves of atoms; those of classes have one more for the mask."""
        return {"positions": 3, "elements": self.elements + 1, "charges": self.charges + 1}

    @property
    def outputs(self) -> dict[str, int]:
        return {"positions": 3, "elements": self.elements, "charges": self.charges}

    @property
    def points(self) -> str:
        """The leaf that an equivariant backbone takes as points in space."""
        return "positions"

    @property
    def pairs(self) -> int:
        """Width of the features of a pair."""
        return _BUMPS + 2 + ORDERS + 1

    @property
    def pair_outputs(self) -> dict[str, int]:
        """Bonds, and the pull along the line between two atoms."""
        return {"bonds": ORDERS, "pull": 1}

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """Tokens (B, N, D) of a state, and pair features (B, N, N, P)."""
        assert isinstance(state, dict)
        x = state["positions"]
        values = {
            "positions": x,
            "elements": _shares(state["elements"], self.elements + 1, x),
            "charges": _shares(state["charges"], self.charges + 1, x),
        }
        d = _distance(x) * self.unit  # Å
        # bumps every 0.15 Å where bonds are told apart, wider apart beyond
        centres = torch.cat([torch.linspace(0.8, 2.3, 11), torch.linspace(2.7, 9.0, _BUMPS - 11)]).to(x)
        widths = torch.cat([torch.full((11,), 0.15), torch.full((_BUMPS - 11,), 0.5)]).to(x)
        bumps = torch.exp(-0.5 * ((d[..., None] - centres) / widths) ** 2)
        near = torch.stack([d / 5, 1 / (1 + d)], -1)
        bonds = _shares(state["bonds"], ORDERS + 1, x)
        nowhere = x.new_zeros(1, x.shape[1], 1)  # atoms are a set; a backbone with axes sees one place
        return Tokens(values, nowhere, mask, torch.cat([bumps, near, bonds], -1))

    def untokens(self, values: dict[str, Tensor], like: State) -> dict[str, Tensor]:
        """Output by leaf: the velocity of positions (B, N, 3), and logits of elements, charges and bonds."""
        assert isinstance(like, dict)
        x = like["positions"]
        weight = values["pull"].to(x) / (1 + _distance(x))[..., None]
        # not a matrix product, which autocast would round to half the digits
        pulled = (weight * (x[:, :, None] - x[:, None])).sum(2)
        return {
            "positions": values["positions"] + pulled,
            "elements": values["elements"],
            "charges": values["charges"],
            "bonds": values["bonds"],
        }


def _shares(classes: Tensor, count: int, like: Tensor) -> Tensor:
    """Indices (…) as one-hot vectors (…, count); probabilities (…, fewer) as they are, with 0 for the rest."""
    if not classes.is_floating_point():
        return F.one_hot(classes, count).to(like.dtype)
    return F.pad(classes.to(like.dtype), (0, count - classes.shape[-1]))


def _distance(x: Tensor) -> Tensor:
    """Distances (B, N, N) of positions (B, N, 3), with a gradient that is finite at 0."""
    square = (x[:, :, None] - x[:, None]).square().sum(-1)
    return (square + 1e-12).sqrt()
