"""Proteins: rigid residues × types × secondary structure as one product state, Biopython structures outside."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import langevin.core.catalogue  # noqa: F401  (names of processes and conditions)
from langevin.core.conditioning import Embedder
from langevin.core.denoiser import Denoiser
from langevin.core.errors import unknown
from langevin.core.keep import Keep
from langevin.core.parts import Part
from langevin.core.processes import Constant, Discrete, Gaussian, Geodesic, Process, Product, Rotations, State
from langevin.core.processes.rotations import Kernel
from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.schedules import Linear, Schedule
from langevin.core.times import Times, of_leaf, scales
from langevin.core.tokens import Tokens
from langevin.modalities.base import Failure, Modality, Samples, Table
from langevin.modalities.protein import givens
from langevin.modalities.protein.alignment import aligned, rotation_to
from langevin.modalities.protein.closure import closed
from langevin.modalities.protein.edits import carried, restored
from langevin.modalities.protein.guiding import guiding
from langevin.modalities.protein.lddt import smooth_lddt
from langevin.modalities.protein.places import chain_name, follows, placed
from langevin.modalities.protein.placing import placed as bodies_placed
from langevin.modalities.protein.plugin import SUFFIXES, WRITTEN, ProteinSpec
from langevin.modalities.protein.protein import UNKNOWN, Protein, of_structure, to_structure
from langevin.modalities.protein.rigid import backbone_of, frames_of
from langevin.modalities.protein.secondary import secondary_of
from langevin.modalities.protein.templates import KeepTemplates, Template, bodies_in
from langevin.modalities.protein.tokens import SECONDARY, TYPES, ResidueTokens

__all__ = ["ProteinModality", "make"]

LEAST, MOST = 4, 4096  # residues


class ProteinModality(Modality):
    """Protein backbones.

    The state has the leaves ``positions`` (B, N, 3), centred CA in units of ``unit``; ``frames`` (B, N, 3, 3), rotations of
    residues (:mod:`~langevin.modalities.protein.rigid`); ``residues`` (B, N), indices of the twenty types; ``secondary``
    (B, N), helix, strand or other; and ``places`` (B, N, 3), number of the chain and of the residue in it, and whether the
    residue is a hotspot, which are never noised. The mask tells proteins of several lengths apart.

    Args:
        sizes: number of chains by number of residues (as text, as configurations have it); new lengths are drawn from it.
        unit: Å of one unit of the state.
        pad: encoded batches have a multiple of this many places: a compiled network sees fewer shapes.
        schedule: of all leaves but rotations.
        rotations: how frames are noised: the geodesic flow by default, or IGSO(3) diffusion.
        conditions: embedders by name.
        paired: whether residues have features of pairs; without them a network with ``pair_width: 0`` is faster, of which
            ``ipa`` sees the geometry all the same.
        repulsion: of residues that overlap, where nobody says another number: a force on what the network believes,
            (:class:`~langevin.modalities.protein.potentials.Repulsion`, its ``guide_scale``); 0 for none.

    Raises:
        ValueError: no sizes, or a unit that is not positive.
    """

    name = "protein"
    suffix = ".pdb"
    suffixes = SUFFIXES
    written = WRITTEN
    spec = ProteinSpec
    card_width = 200
    clocks: tuple[str, ...] = ("positions", "frames", "residues", "secondary")

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
    ) -> None:
        if not 0 <= repulsion < math.inf:
            raise ValueError(f"repulsion must be a number of at least 0, got {repulsion!r}")
        if not unit > 0:
            raise ValueError(f"unit must be above 0 Å, got {unit}")
        self.sizes = {int(n): int(count) for n, count in (sizes or {"100": 1}).items()}
        self.unit, self.pad = float(unit), max(1, int(pad))
        self.repulsion = float(repulsion)
        self._conditions = dict(conditions or {})
        self._tokens = ResidueTokens(self.unit, paired)
        self.pairs, self.pair_outputs = self._tokens.pairs, self._tokens.pair_outputs
        path = schedule or Linear()
        self._process = Product(
            positions=Gaussian(path, centred=True),
            frames=Rotations(rotations or Geodesic()),
            residues=Discrete(TYPES, path),
            secondary=Discrete(SECONDARY, path),
            places=Constant(),
        )

    @property
    def process(self) -> Process:
        return self._process

    @property
    def conditions(self) -> Mapping[str, Embedder]:
        return self._conditions

    @property
    def inputs(self) -> dict[str, int]:
        return self._tokens.inputs

    @property
    def outputs(self) -> dict[str, int]:
        return self._tokens.outputs

    def encode(self, items: Sequence[Any]) -> tuple[State, Tensor | None]:
        """Structures, or :class:`Protein` objects, to the leaves and a mask (B, N).

        Residues without a type, or whose type is not one of the twenty, are masked in the state.

        Raises:
            ValueError: a protein that has no state; the message gives its place and the reason.
        """
        held = [self._protein(item, i) for i, item in enumerate(items)]
        rows, most = len(held), max(map(len, held), default=0)
        most = -(-most // self.pad) * self.pad
        positions, places = torch.zeros(rows, most, 3), torch.zeros(rows, most, 3)
        frames = torch.eye(3).repeat(rows, most, 1, 1)
        residues = torch.zeros(rows, most, dtype=torch.long)
        secondary, mask = torch.zeros_like(residues), torch.zeros(rows, most, dtype=torch.bool)
        for i, protein in enumerate(held):
            n = len(protein)
            mask[i, :n] = True
            rotations, ca = frames_of(torch.from_numpy(protein.backbone[:, :3].astype(np.float64)))
            positions[i, :n] = ((ca - ca.mean(0)) / self.unit).float()
            frames[i, :n] = rotations.float()
            types = torch.from_numpy(protein.types.astype(np.int64))
            residues[i, :n] = torch.where(types == UNKNOWN, TYPES, types)
            if isinstance(protein, Template):
                letters, at = np.array(["HE-".index(x) for x in protein.letters]), protein.places
            else:
                letters, at = secondary_of(protein), placed(protein)
            secondary[i, :n], places[i, :n] = torch.from_numpy(letters), torch.from_numpy(at)
        return {
            "positions": positions,
            "frames": frames,
            "residues": residues,
            "secondary": secondary,
            "places": places,
        }, mask

    def _protein(self, item: Any, place: int) -> Protein:
        """A native object as residues with whole backbones."""
        try:
            protein = item if isinstance(item, Protein) else of_structure(item)
            if not LEAST <= len(protein) <= MOST:
                raise ValueError(f"has {len(protein)} residues; a model takes {LEAST} to {MOST}")
            self._check(protein)
        except ValueError as error:
            raise ValueError(f"protein {place} {error}") from None
        return protein

    def _check(self, protein: Protein) -> None:
        """ValueError for residues that have no frame."""
        missing = np.flatnonzero(~np.isfinite(protein.backbone[:, :3]).all((1, 2)))
        if len(missing):
            named = ", ".join(protein.label(int(k)) for k in missing[:4])
            raise ValueError(f"lacks N or C in {len(missing)} residues ({named}); leave these out")

    def decode(self, state: State, mask: Tensor | None = None) -> list[Any]:
        """A Biopython structure per row, its peptide bonds closed; a failure where a state is not finite."""
        return [
            item if isinstance(item, Failure) else to_structure(item) for item in self.proteins(state, mask)
        ]

    def proteins(
        self,
        state: State,
        mask: Tensor | None = None,
        close: bool = True,
        fixed: Tensor | None = None,
        own: Sequence[Protein] | None = None,
    ) -> list[Any]:
        """A :class:`Protein` per row, or a failure.

        Args:
            state: by leaf.
            mask: (B, N).
            close: whether peptide bonds are closed (:mod:`~langevin.modalities.protein.closure`).
            fixed: (B, N), residues that do not move when they are.
            own: B proteins whose atoms the fixed residues will have, and to which their neighbours are bound.
        """
        assert isinstance(state, dict)
        held = {name: part.cpu() for name, part in state.items()}
        rows, most = held["residues"].shape
        count = [most] * rows if mask is None else mask.sum(1).tolist()
        out: list[Any] = []
        for i, n in enumerate(count):
            row = {name: part[i, :n] for name, part in held.items()}
            if not all(bool(torch.isfinite(part).all()) for part in row.values()):
                out.append(Failure("the state holds NaN or infinity"))
                continue
            chain, number, _ = row["places"].long().unbind(1)
            still = None if fixed is None else fixed[i, :n].cpu()
            atoms = self._backbone(row, close, still, None if own is None else own[i])
            types = row["residues"].clamp(max=UNKNOWN).numpy().astype(np.int8)
            named = np.array([chain_name(c) for c in chain.tolist()])
            out.append(
                Protein(
                    atoms.numpy().astype(np.float32),
                    types,
                    named,
                    (number + 1).numpy().astype(np.int32),
                    np.full(n, ""),
                )
            )
        return out

    def _backbone(
        self, row: dict[str, Tensor], close: bool, fixed: Tensor | None, own: Protein | None
    ) -> Tensor:
        """N, CA, C and O (n, 4, 3) of one protein, Å."""
        ca, rotations, tied = row["positions"] * self.unit, row["frames"], follows(row["places"])
        if close:
            anchors = None if own is None else carried(own, rotations, ca)
            copies = own.copies if isinstance(own, Template) else 1
            rotations, ca = closed(
                rotations, ca, tied, fixed=fixed, apart=True, anchors=anchors, copies=copies
            )
        return backbone_of(rotations, ca, tied)

    def blank(
        self, indices: Sequence[int], rng: Stream, conditions: Mapping[str, Any], spec: Any
    ) -> tuple[State, Tensor | None]:
        """Zeros of the length that ``spec`` asks for, or of lengths drawn from those trained on; one chain.

        Raises:
            ValueError: a length that cannot be.
        """
        asked = getattr(spec, "length", None)
        if asked is not None and (
            isinstance(asked, bool) or not isinstance(asked, int) or not LEAST <= asked <= MOST
        ):
            raise ValueError(f"length must be a whole number from {LEAST} to {MOST}, got {asked!r}")
        if asked is None:
            lengths, weights = torch.tensor(list(self.sizes)), torch.tensor(list(self.sizes.values()))
            edges = weights.double().cumsum(0) / weights.sum()
            count = lengths[torch.searchsorted(edges, rng.fold("size").uniform((len(rng),)).double())]
        else:
            count = torch.full((len(rng),), asked)
        rows, most = len(rng), int(count.max())
        line = torch.arange(most)
        none = torch.zeros(rows, most, dtype=torch.long)
        return {
            "positions": torch.zeros(rows, most, 3),
            "frames": torch.eye(3).repeat(rows, most, 1, 1),
            "residues": none,
            "secondary": none.clone(),
            "places": torch.stack(
                [torch.zeros(rows, most), line.expand(rows, -1), torch.zeros(rows, most)], -1
            ),
        }, line < count[:, None]

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        return self._tokens.tokens(state, mask)

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        return self._tokens.untokens(values, like)

    def couple(
        self,
        x: State,
        noise: State,
        rng: Stream,
        mask: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        apart: Tensor | None = None,
    ) -> State:
        """The proteins turned to lie near their noise."""
        return aligned(x, noise, mask, given, apart)

    def auxiliary(self, belief: State, x: State, t: Times, mask: Tensor | None = None) -> Tensor:
        """:func:`~langevin.modalities.protein.lddt.smooth_lddt`, times 1 − t of positions and 1 − t of frames: what is
        believed of noise is a mean of many proteins, whose distances are those of none."""
        assert isinstance(belief, dict) and isinstance(x, dict)
        with torch.autocast(x["positions"].device.type, enabled=False):  # which would round coordinates
            own, real = (
                (part["frames"].float(), part["positions"].float() * self.unit) for part in (belief, x)
            )
            loss = smooth_lddt(own, real, mask)
            for name in ("positions", "frames"):
                time = torch.as_tensor(of_leaf(t, name), dtype=loss.dtype, device=loss.device)
                loss = loss * (1 - (time if time.ndim < 2 else time.amax(1)))
        return loss

    def noised(self, x: State, t: Times, rng: Stream, mask: Tensor | None = None) -> State:
        """Noised, with the noise of positions turned to lie near the proteins, as these were in training."""
        assert isinstance(x, dict)
        noisy = self.process.corrupt(x, t, rng, mask=mask)
        prior = self.process.prior(x, rng, mask)
        assert isinstance(prior, dict)
        eps = prior["positions"]
        turn = rotation_to(eps, x["positions"], mask)
        near = (turn[:, None] * eps[..., None, :]).sum(-1)
        schedule = self.process.leaves["positions"].schedule  # type: ignore[attr-defined]
        alpha, sigma = scales(schedule, of_leaf(t, "positions"), near)
        return {**noisy, "positions": alpha * x["positions"] + sigma / schedule.at(1.0)[1] * near}  # type: ignore[dict-item]

    def seen(self, denoiser: Denoiser, spec: Any, times: Sequence[Any]) -> Denoiser:
        """The denoiser, with a force that keeps residues apart where that is asked for.

        Raises:
            ValueError: a strength that is negative or not finite.
        """
        asked = getattr(spec, "repulsion", None)
        strength = self.repulsion if asked is None else asked
        if not strength:
            return denoiser
        return guiding(
            "type:repulsion", guide_scale=strength, guide_decay="constant", unit=self.unit
        ).guidance()(denoiser)

    def parts(self, x: State, rng: Stream, mask: Tensor | None, share: float) -> Sequence[Part]:
        """Proteins with a given motif, and all others; see :mod:`langevin.modalities.protein.givens`."""
        return givens.parts(self.process, x, rng, mask, share, self.unit)

    def framed(self, x: State, given: Mapping[str, Tensor], mask: Tensor | None) -> tuple[State, Process]:
        """Centred on the given residues where some are; as they are where positions are given whole or not at all."""
        assert isinstance(x, dict)
        chosen = given.get("positions")
        real = torch.ones_like(x["residues"], dtype=torch.bool) if mask is None else mask
        if chosen is None or not bool(chosen.any()) or bool((chosen | ~real).all()):
            return x, self.process
        return givens.centred_on(x, chosen & real, mask), givens.free(self.process)

    def chosen(self, keep: Keep, known: State, items: Sequence[Any] = ()) -> State:
        """Where the state is kept: whole leaves, or all that the residues chosen are.

        Raises:
            ValueError: an unknown leaf, or all of them.
        """
        assert isinstance(known, dict)
        rows, most = known["residues"].shape
        if isinstance(keep, KeepTemplates):
            given = keep.chosen(items, rows, most)
            return {name: there for name, there in given.items() if name in self.clocks}
        if keep.leaves:
            for name in keep.leaves:
                if name not in self.clocks:
                    raise ValueError(unknown("leaf of a protein", name, self.clocks))
            if len(set(keep.leaves)) == len(self.clocks):
                raise ValueError(f"keep={keep.name} keeps all of the protein; nothing is left to generate")
            return {name: torch.ones(rows, most, dtype=torch.bool) for name in keep.leaves}
        residues = keep((most,)).expand(rows, most)
        return {name: residues.clone() for name in self.clocks}

    def collect(
        self,
        state: State,
        mask: Tensor | None,
        record: Mapping[str, Any],
        conditions: Mapping[str, Sequence[Any]],
        like: Any = None,
        keep: Keep | None = None,
        indices: Sequence[int] | None = None,
    ) -> Samples:
        """As for every modality; residues that are kept do not move when bonds are closed, and have the user's own atoms,
        those of free bodies where these came to lie, and designs of templates have their names. B-factors are 1 where the
        type is kept, and 0 where it is designed."""
        assert isinstance(state, dict)
        if keep is None and not any(isinstance(item, Template) for item in like or ()):
            return super().collect(state, mask, record, conditions, like, keep, indices)
        nowhere = torch.zeros(state["residues"].shape, dtype=torch.bool)
        originals = list(like) * (len(nowhere) if len(like) == 1 else 1)
        chosen = {} if keep is None else self.chosen(keep, state, originals)
        assert isinstance(chosen, dict)
        fixed = ~nowhere
        for name in {"positions", "frames"} & {*self.clocks}:
            fixed = fixed & chosen.get(name, nowhere)
        bodies = bodies_in(originals, nowhere.shape[1])
        if bool((bodies >= 0).any()):  # once more, for samplers whose last step is not the last belief
            held, _ = self.encode(originals)
            assert isinstance(held, dict)
            state = bodies_placed(bodies, state, held, self.unit)
        fixed = fixed | (bodies >= 0)
        typed = chosen.get("residues", nowhere)
        dressed = chosen.get("torsions", nowhere if "torsions" in self.clocks else typed)
        owners = [self._protein(item, i) for i, item in enumerate(originals)]
        items: list[Any] = []
        for i, item in enumerate(self.proteins(state, mask, fixed=fixed, own=owners)):
            if isinstance(item, Failure):
                items.append(item)
                continue
            n, own = len(item), owners[i]
            tied = follows(state["places"][i, :n].cpu())
            kept = (fixed[i, :n].numpy(), tied.numpy(), typed[i, :n].numpy(), dressed[i, :n].numpy())
            made = restored(item, own, *kept)
            items.append(to_structure(made, bfactors=typed[i, :n].float().tolist()))
        return self.gathered(items, state, mask, record, conditions, indices)

    def save(self, item: Any, path: Path) -> None:
        from langevin.modalities.protein.files import write

        write(item, path)

    def read(self, path: Path) -> Any:
        from langevin.modalities.protein.files import read

        return read(path)

    def files(self, samples: Samples) -> Mapping[str, Callable[[Path], object]]:
        """Lists, sequences, scores and files for ProteinMPNN; see :mod:`langevin.modalities.protein.records`."""
        from langevin.modalities.protein.records import files

        return files(samples)

    def picture(self, item: Any) -> Any:
        from langevin.modalities.protein.view import picture

        return picture(item)

    def html(self, item: Any) -> str:
        from langevin.modalities.protein.view import to_html

        return to_html(item)

    def evaluate(self, items: Sequence[Any], reference: Sequence[Any] | None = None) -> Table | None:
        from langevin.modalities.protein.metrics.evaluate import evaluate

        return evaluate(items, reference)


MODALITIES = Registry("protein modality", ProteinModality)
MODALITIES.register("protein")(ProteinModality)


def make(settings: Mapping[str, Any]) -> ProteinModality:
    """The modality that a configuration describes."""
    return build(MODALITIES, {"name": "protein", **settings})  # type: ignore[no-any-return]
