r"""Proteins with side chains: the state of a protein with the torsions of every residue as a further leaf, a torus.

The leaf ``torsions`` (B, N, 5) has ψ and χ1 to χ4 (:mod:`~langevin.modalities.protein.sidechains`). Which of them a residue
has follows from its type, so all five stand in the state of every residue. One that is not there, as χ1 of an alanine
or of a residue whose file lacks the atom, is 0 exactly in clean states. In training it is noise at every time: its path has
no length, its velocity is 0, and it tells nothing of the type. So torsions may be drawn before types are, and

    p(torsions, types) = p(types) · ∏ p(χ | type) · ∏ uniform(χ that the type lacks)

is what the flow draws from, without a mask. Where the type is seen, what it lacks is neither shown to the network nor asked
of it, and adds nothing to the loss.

Of the two values of a torsion of period π, training takes the one nearer to its noise.

Side chains are drawn together with the backbone, or for one that is there (packing)::

    model.sample(like=own, keep=lv.keep.leaves("positions", "frames", "residues", "secondary"))

The oxygen lies in the plane of the peptide bond that follows, which the frames tell; ψ places it where no residue
follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from langevin.core.conditioning import Embedder
from langevin.core.keep import Keep
from langevin.core.parts import Part
from langevin.core.processes import Product, State
from langevin.core.processes.rotations import Kernel
from langevin.core.processes.torus import Torus, wrap
from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.schedules import Linear, Schedule
from langevin.core.times import Times
from langevin.core.tokens import Tokens
from langevin.modalities.base import Failure
from langevin.modalities.protein.local import shares
from langevin.modalities.protein.modality import ProteinModality
from langevin.modalities.protein.places import follows
from langevin.modalities.protein.protein import UNKNOWN, Protein
from langevin.modalities.protein.rigid import frames_of
from langevin.modalities.protein.sidechains import (
    TORSIONS,
    atoms_of,
    defined,
    periods,
    side_chains,
    torsions_of,
)
from langevin.modalities.protein.tokens import TYPES, ResidueTokens

__all__ = ["SidechainModality", "make"]

_LEAST = 1e-6  # radians, in place of a torsion of 0


class SidechainTokens(ResidueTokens):
    """Tokens of proteins with the sines and cosines of the torsions that a residue has, or may have."""

    @property
    def inputs(self) -> dict[str, int]:
        return {**super().inputs, "torsions": 2 * len(TORSIONS)}

    @property
    def outputs(self) -> dict[str, int]:
        return {**super().outputs, "torsions": len(TORSIONS)}

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        assert isinstance(state, dict)
        made = super().tokens(state, mask)
        angles = state["torsions"].float()
        there = _possible(state["residues"], angles)
        seen = torch.cat([angles.sin() * there, angles.cos() * there], -1)
        return replace(made, values={**made.values, "torsions": seen})

    def untokens(self, values: dict[str, Tensor], like: State) -> dict[str, Tensor]:
        assert isinstance(like, dict)
        arcs = values["torsions"]
        return {**super().untokens(values, like), "torsions": arcs * _possible(like["residues"], arcs)}


class SidechainModality(ProteinModality):
    """Proteins with side chains and oxygens, as torsions.

    Args:
        sizes, unit, pad, schedule, rotations, conditions, paired, repulsion: as of
            :class:`~langevin.modalities.protein.modality.ProteinModality`; the schedule is that of torsions, too.
        packing: of the samples of which something is given in training (``objective.given``), the share that shows all but
            the torsions.

    Raises:
        ValueError: as there; a schedule that does not end in noise alone; or a share outside [0, 1].
    """

    name = "protein-sidechains"
    clocks = (*ProteinModality.clocks, "torsions")

    def __init__(
        self,
        sizes: Mapping[str, int] | None = None,
        unit: float = 10.0,
        pad: int = 1,
        schedule: Schedule | None = None,
        rotations: Kernel | None = None,
        conditions: Mapping[str, Embedder] | None = None,
        paired: bool = True,
        repulsion: float = 0.0,
        packing: float = 0.25,
    ) -> None:
        super().__init__(sizes, unit, pad, schedule, rotations, conditions, paired, repulsion)
        if not 0 <= packing <= 1:
            raise ValueError(f"packing must be a share from 0 to 1, got {packing!r}")
        self.packing = float(packing)
        self._tokens = SidechainTokens(self.unit, paired)
        self._process = Product(**self._process.leaves, torsions=Torus(schedule or Linear()))

    def encode(self, items: Sequence[Any]) -> tuple[State, Tensor | None]:
        """As of every protein, with torsions; 0 where one is not there."""
        held = [self._protein(item, i) for i, item in enumerate(items)]
        state, mask = super().encode(held)
        assert isinstance(state, dict)
        torsions = torch.zeros(*state["residues"].shape, len(TORSIONS))
        for i, protein in enumerate(held):
            angles, there = torsions_of(protein)
            angles = wrap(angles)
            angles = torch.where(angles.abs() < _LEAST, _LEAST, angles)
            torsions[i, : len(protein)] = torch.where(there, angles, 0.0)
        return {**state, "torsions": torsions}, mask

    def proteins(
        self,
        state: State,
        mask: Tensor | None = None,
        close: bool = True,
        fixed: Tensor | None = None,
        own: Sequence[Protein] | None = None,
    ) -> list[Any]:
        """As of every protein, with side chains where the type of a residue is known."""
        assert isinstance(state, dict)
        out: list[Any] = []
        for i, item in enumerate(super().proteins(state, mask, close, fixed, own)):
            if isinstance(item, Failure):
                out.append(item)
                continue
            n, types = len(item), torch.from_numpy(item.types)
            rotations, ca = frames_of(torch.from_numpy(item.backbone).double())
            atoms, _ = atoms_of(rotations, ca, types, state["torsions"][i, :n].cpu().double())
            tied = follows(state["places"][i, :n].cpu())
            free = ~torch.cat([tied[1:], tied.new_zeros(1)]).numpy()
            backbone = item.backbone.copy()
            backbone[free, 3] = atoms[:, 0].numpy()[free]
            out.append(replace(item, backbone=backbone, side=side_chains(atoms, types)))
        return out

    def blank(
        self, indices: Sequence[int], rng: Stream, conditions: Mapping[str, Any], spec: Any
    ) -> tuple[State, Tensor | None]:
        state, mask = super().blank(indices, rng, conditions, spec)
        assert isinstance(state, dict)
        return {**state, "torsions": torch.zeros(*state["residues"].shape, len(TORSIONS))}, mask

    def couple(
        self,
        x: State,
        noise: State,
        rng: Stream,
        mask: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        apart: Tensor | None = None,
    ) -> State:
        """The proteins turned to lie near their noise, and their torsions as the module says."""
        return _met(super().couple(x, noise, rng, mask, given, apart), noise)

    def noised(self, x: State, t: Times, rng: Stream, mask: Tensor | None = None) -> State:
        return super().noised(_met(x, self.process.prior(x, rng, mask)), t, rng, mask)

    def parts(self, x: State, rng: Stream, mask: Tensor | None, share: float) -> Sequence[Part]:
        """Proteins of which all but the torsions is given, and the others as of every protein; a motif has the torsions of
        its residues whose side chains are whole."""
        assert isinstance(x, dict)
        device, packed = x["residues"].device, share * self.packing
        first = rng.fold("packing").uniform((len(rng),)) < packed
        out: list[Part] = []
        some, others = (torch.nonzero(rows)[:, 0] for rows in (first, ~first))
        if len(some):
            rows = some.to(device)
            shown = dict.fromkeys(ProteinModality.clocks, torch.ones_like(rows, dtype=torch.bool))
            out.append(Part(rows, {name: part[rows] for name, part in x.items()}, shown, self.process))
        if len(others):
            rows = others.to(device)
            state, real = {name: part[rows] for name, part in x.items()}, None if mask is None else mask[rows]
            left = (share - packed) / max(1 - packed, 1e-12)
            for part in super().parts(state, rng.rows(others), real, left):
                given = dict(part.given or {})
                if given["frames"].ndim > 1:
                    assert isinstance(part.x, dict)
                    given["torsions"] = given["frames"] & _whole(part.x)
                out.append(replace(part, rows=rows[part.rows], given=given))
        return out

    def chosen(self, keep: Keep, known: State, items: Sequence[Any] = ()) -> State:
        """As of every protein; torsions are kept of residues whose side chains are whole, and drawn for others."""
        assert isinstance(known, dict)
        out = super().chosen(keep, known, items)
        assert isinstance(out, dict)
        if "torsions" in out:
            # of the items where there are some: ``known`` may be a sample of them, in which nothing is missing
            whole = self._dressed(items, known["residues"]) if len(items) else _whole(known)
            out = {**out, "torsions": out["torsions"] & whole.to(out["torsions"].device)}
        return out

    def _dressed(self, items: Sequence[Any], like: Tensor) -> Tensor:
        """(B, N), as ``like``: residues of items, one for all rows or one for each, whose side chains are whole."""
        out = torch.zeros(like.shape, dtype=torch.bool)
        for row in range(len(out)):
            protein = self._protein(items[row if len(items) > 1 else 0], row)
            _, there = torsions_of(protein)
            out[row, : len(protein)] = (there >= defined(torch.from_numpy(protein.types))).all(-1)
        return out


def _possible(residues: Tensor, like: Tensor) -> Tensor:
    """(B, N, 5), from 0 to 1: whether residues have each torsion, as far as their types (B, N) or the probabilities of their
    types (B, N, 20) tell; all where the type is hidden."""
    table = defined(torch.arange(TYPES + 1, device=like.device)).to(like)
    table[UNKNOWN] = 1
    return (shares(residues, TYPES + 1, like)[..., None] * table).sum(-2)


def _whole(x: Mapping[str, Tensor]) -> Tensor:
    """(B, N): whether all torsions that the types of residues have are there."""
    return ((x["torsions"] != 0) >= defined(x["residues"])).all(-1)


def _met(x: State, noise: State) -> State:
    """Clean states as they meet their noise: by half turns that lead nearer to it; where there is none, the noise itself."""
    assert isinstance(x, dict) and isinstance(noise, dict)
    clean, drawn = x["torsions"], noise["torsions"]
    other = (periods(x["residues"]) < 2 * math.pi) & (wrap(clean - drawn).abs() > math.pi / 2)
    near = torch.where(other, wrap(clean + math.pi), clean)
    return {**x, "torsions": torch.where(clean != 0, near, drawn)}


MODALITIES = Registry("protein modality with side chains", SidechainModality)
MODALITIES.register(SidechainModality.name)(SidechainModality)


def make(settings: Mapping[str, Any]) -> SidechainModality:
    """The modality that a configuration describes."""
    return build(MODALITIES, {"name": SidechainModality.name, **settings})  # type: ignore[no-any-return]
