r"""Tokens of a protein: one for each residue, seen from its own frame, and what is known of every pair of them.

    residue   its place relative to the centre, seen from its own frame; its four neighbours on either side likewise, with
              how they are turned; the torsions φ, ψ and ω; how far the peptide bonds on its two sides are from
              closed, at three scales; its type and secondary structure as one-hot vectors; whether a chain begins or ends,
              and whether it is a hotspot
    pair      the distance of CA as Gaussian bumps; the direction to each other as each of the two sees it; how one is
              turned against the other; how far apart they stand in the chain, and whether it is the same chain

All of this stays the same when the protein is turned or moved, and changes when it is mirrored. What the network answers
is read in the frame of each residue, so that the velocity of positions turns with the protein,

    v_i = R_i u_i + Σ_j pull_ij (x_i − x_j) / (1 + d_ij)    (the sum where there are pairs),

and rotations move in body coordinates: the model is equivariant to rotations whichever backbone it has (the frames of
Jumper et al., 2021, with invariant features in place of invariant points). The places along the chain are the
positions that rotary attention sees; each chain begins 200 further on (the gap of RoseTTAFold, Baek et al., 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from langevin.core.processes.base import State
from langevin.core.tokens import Tokens
from langevin.modalities.protein import local
from langevin.modalities.protein.closure import C_CA, CA_N
from langevin.modalities.protein.rigid import C_N, CA_CA, ideal_atoms

__all__ = ["SECONDARY", "TYPES", "ResidueTokens"]

TYPES, SECONDARY = 20, 3  # of residues; helix, strand, other
_BESIDE = local.BESIDE + 2 * (4 * len(local.SCALES) + 1) + 6


@dataclass(frozen=True)
class ResidueTokens:
    """The way between states and tokens.

    Args:
        unit: Å of one unit of the state's positions.
        paired: whether there are features of pairs, for a network that takes them.
    """

    unit: float
    paired: bool = True

    @property
    def inputs(self) -> dict[str, int]:
        return {
            "positions": 3,
            "frames": _BESIDE,
            "residues": TYPES + 1,
            "secondary": SECONDARY + 1,
            "places": 3,
        }

    @property
    def outputs(self) -> dict[str, int]:
        return {"positions": 3, "frames": 3, "residues": TYPES, "secondary": SECONDARY}

    @property
    def pairs(self) -> int:
        """Width of the features of a pair."""
        return local.PAIRS if self.paired else 0

    @property
    def pair_outputs(self) -> dict[str, int]:
        """The pull along the line between two residues."""
        return {"pull": 1} if self.paired else {}

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """Tokens (B, N, D) of a state, and pair features (B, N, N, P)."""
        assert isinstance(state, dict)
        with torch.autocast(state["positions"].device.type, enabled=False):  # which would round coordinates
            x, r = state["positions"].float(), state["frames"].float()
            places, hot = state["places"][..., :2].float(), state["places"][..., 2].float()
            first, last = local.ends(places, mask)
            values = {
                "positions": local.seen(r, x),
                "frames": self._beside(x, r, places, mask),
                "residues": local.shares(state["residues"], TYPES + 1, x),
                "secondary": local.shares(state["secondary"], SECONDARY + 1, x),
                "places": torch.stack([first.to(x), last.to(x), hot], -1),
            }
            pair = local.pairs(x, r, places, self.unit) if self.paired else None
            return Tokens(values, local.line(places), mask, pair, frames=(r, x))

    def _beside(self, x: Tensor, r: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        """What a residue sees of its neighbours along the chain, (B, N, D)."""
        follows = local.follows(places, mask)
        atoms = ideal_atoms(r, x * self.unit)
        n, ca, c = atoms.unbind(2)
        n_, ca_, c_ = (local.shifted(part, -1) for part in (n, ca, c))
        bond = torch.stack(
            [(c_ - n).norm(dim=-1) - C_N, (ca_ - n).norm(dim=-1) - CA_N]
            + [(c_ - ca).norm(dim=-1) - C_CA, (ca_ - ca).norm(dim=-1) - CA_CA],
            -1,
        )
        off = torch.cat(
            [torch.tanh(bond / scale) for scale in local.SCALES] + [torch.ones_like(bond[..., :1])], -1
        )
        before = off * follows[..., None]
        after = F.pad(before[:, 1:], (0, 0, 0, 1))
        phi, omega = local.torsion(c_, n, ca, c), local.torsion(ca_, c_, n, ca)
        psi = local.shifted(local.torsion(n_, ca_, c_, n), 1)
        next_ = F.pad(follows[:, 1:], (0, 1))[..., None]
        turns = torch.cat([phi * follows[..., None], omega * follows[..., None], psi * next_], -1)
        return torch.cat([local.beside(x, r, places, mask), before, after, turns], -1)

    def untokens(self, values: dict[str, Tensor], like: State) -> dict[str, Tensor]:
        """Output by leaf: the velocity of positions (B, N, 3), rates of rotation (B, N, 3), and logits."""
        assert isinstance(like, dict)
        x, r = like["positions"], like["frames"]
        # sums, not matrix products, which autocast would round to half the digits
        moved = (r * values["positions"].to(x)[..., None, :]).sum(-1)
        if self.paired:
            moved = moved + local.pulled(x, values["pull"])
        return {
            "positions": moved,
            "frames": values["frames"],
            "residues": values["residues"],
            "secondary": values["secondary"],
            "places": like["places"],
        }
