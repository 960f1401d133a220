"""CA traces: proteins of which only the CA are drawn, with types and secondary structure (Lin & AlQuraishi, 2023, Genie,
arXiv 2301.12485).

A trace says less than a backbone, and takes less: files with CA alone can be learned from, and half of the numbers are
drawn. What is drawn has CA alone, too; other programs build the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.conditioning import Embedder
from langevin.core.parts import Part
from langevin.core.processes import Constant, Discrete, Gaussian, Product, State
from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.schedules import Linear, Schedule
from langevin.core.times import Times, of_leaf
from langevin.modalities.protein.lddt import of_points
from langevin.modalities.protein.modality import ProteinModality
from langevin.modalities.protein.protein import Protein
from langevin.modalities.protein.tokens import SECONDARY, TYPES
from langevin.modalities.protein.trace_tokens import TraceTokens

__all__ = ["TraceModality", "make"]


class TraceModality(ProteinModality):
    """CA traces of proteins.

    The state has the leaves of :class:`~langevin.modalities.protein.modality.ProteinModality` but ``frames``: what the
    network sees of a residue is seen from a frame that follows from the noisy positions
    (:mod:`~langevin.modalities.protein.trace_tokens`). Structures of CA alone are encoded as well as whole ones; where
    their hydrogen bonds cannot be known, secondary structure is that of the trace
    (:mod:`~langevin.modalities.protein.secondary`). Decoded structures have CA alone, but for residues that a design keeps,
    which have the user's own atoms.

    Args:
        sizes: number of chains by number of residues (as text, as configurations have it); new lengths are drawn from it.
        unit: Å of one unit of the state.
        pad: encoded batches have a multiple of this many places.
        schedule: of all leaves.
        conditions: embedders by name.
        paired: whether residues have features of pairs.
        repulsion: of residues that overlap, as of proteins.

    Raises:
        ValueError: no sizes, or a unit that is not positive.
    """

    name = "protein-trace"
    clocks = ("positions", "residues", "secondary")

    def __init__(
        self,
        sizes: Mapping[str, int] | None = None,
        unit: float = 10.0,
        pad: int = 1,
        schedule: Schedule | None = None,
        conditions: Mapping[str, Embedder] | None = None,
        paired: bool = True,
        repulsion: float = 0.0,
    ) -> None:
        super().__init__(sizes, unit, pad, schedule, None, conditions, paired, repulsion)
        self._tokens = TraceTokens(self.unit, paired)  # type: ignore[assignment]  # of the same interface
        self.pairs, self.pair_outputs = self._tokens.pairs, self._tokens.pair_outputs
        path = schedule or Linear()
        self._process = Product(
            positions=Gaussian(path, centred=True),
            residues=Discrete(TYPES, path),
            secondary=Discrete(SECONDARY, path),
            places=Constant(),
        )

    def encode(self, items: Sequence[Any]) -> tuple[State, Tensor | None]:
        """Structures, or :class:`~langevin.modalities.protein.protein.Protein` objects, to the leaves and a mask (B, N).

        Raises:
            ValueError: a protein that has no state; the message gives its place and the reason.
        """
        state, mask = super().encode(items)
        return self._own(state), mask

    def _check(self, protein: Protein) -> None:
        """A residue has a CA, or it would be none."""

    def _backbone(
        self, row: dict[str, Tensor], close: bool, fixed: Tensor | None, own: Protein | None
    ) -> Tensor:
        """CA among N, C and O that are not known, (n, 4, 3) Å."""
        atoms = torch.full((len(row["positions"]), 4, 3), torch.nan)
        atoms[:, 1] = row["positions"] * self.unit
        return atoms

    def blank(
        self, indices: Sequence[int], rng: Stream, conditions: Mapping[str, Any], spec: Any
    ) -> tuple[State, Tensor | None]:
        """As of proteins; frames are made of places, so padding has none that follow one another."""
        state, mask = super().blank(indices, rng, conditions, spec)
        own = self._own(state)
        assert mask is not None
        return {**own, "places": own["places"] * mask[..., None]}, mask

    def _own(self, state: State) -> dict[str, Tensor]:
        assert isinstance(state, dict)
        return {name: state[name] for name in self._process.leaves}

    def auxiliary(self, belief: State, x: State, t: Times, mask: Tensor | None = None) -> Tensor:
        """How far distances of CA are off (:func:`~langevin.modalities.protein.lddt.of_points`), times 1 − t."""
        assert isinstance(belief, dict) and isinstance(x, dict)
        with torch.autocast(x["positions"].device.type, enabled=False):  # which would round coordinates
            own, real = (part["positions"].float() * self.unit for part in (belief, x))
            loss = of_points([(own, own, real, real)], mask)
            time = torch.as_tensor(of_leaf(t, "positions"), dtype=loss.dtype, device=loss.device)
            return loss * (1 - (time if time.ndim < 2 else time.amax(1)))

    def parts(self, x: State, rng: Stream, mask: Tensor | None, share: float) -> Sequence[Part]:
        """As of proteins: a given motif or target, the whole trace, the sequence, or the secondary structure."""
        found = super().parts(x, rng, mask, share)
        return [replace(part, given=self._clocked(part.given)) for part in found]

    def _clocked(self, given: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        return {name: there for name, there in (given or {}).items() if name in self.clocks}


MODALITIES = Registry("protein-trace modality", TraceModality)
MODALITIES.register("protein-trace")(TraceModality)


def make(settings: Mapping[str, Any]) -> TraceModality:
    """The modality that a configuration describes."""
    return build(MODALITIES, {"name": "protein-trace", **settings})  # type: ignore[no-any-return]
