r"""Motifs that lie where a run puts them: kept residues as rigid bodies, free of the input's frame.

A contig keeps its residues where the input has them, so that two motifs keep their relative place. Those of a free body
keep their place among themselves alone. They are noised like the rest, and at every question the belief about a body is
replaced by the body itself, superposed on that belief: with a the N, CA and C of the input and b those believed,

.. math:: (Q, s) = \arg\min_{\det Q = 1} \sum_i |Q a_i + s - b_i|^2, \qquad \hat x_i = Q x_i + s, \quad \hat R_i = Q R_i

(Kabsch, 1976), of a trace by CA alone. Superposition turns with what it is made on, so that an equivariant denoiser stays
one. Positions follow as points, frames as the tangent from where they are: the last belief is the sample, in which a body
is the input's, moved. Nothing of this is in training: to the network a free motif is noise of known types at first.

It goes outermost among what moves residues, so that nothing bends a body after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Guidance, Index, Question, answer
from langevin.core.guidance.classifier import clean
from langevin.core.guidance.known import known_rows
from langevin.core.posteriors import Point, Posterior
from langevin.core.processes import Gaussian, Process, State, join, split
from langevin.core.recall import remember, remembered
from langevin.core.times import of_leaf
from langevin.modalities.protein.alignment import rotation_to
from langevin.modalities.protein.contigs import Contig, ContigError, Motif, residues
from langevin.modalities.protein.rigid import IDEAL

__all__ = ["EACH", "Placing", "bodies_of", "placed"]

EACH = "each"  # kept stretch by itself


@dataclass(frozen=True, eq=False)
class Placing(Guidance):
    """Rigid bodies that lie where they are believed to.

    Args:
        x: clean states that hold the bodies, with one row or one for each sample.
        bodies: (1 or B, N), the number of the body that a residue is of, from 0; −1 for others.
        unit: Å of one unit of the state.
    """

    x: State = field(repr=False)
    bodies: Tensor = field(repr=False)
    unit: float = 10.0

    def at(self, index: Index, total: int) -> Placing:
        bodies = known_rows(self.bodies, index, total)
        assert isinstance(bodies, Tensor)
        return replace(self, x=known_rows(self.x, index, total), bodies=bodies)

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        beliefs, memory = answer(inner, q)
        beliefs = [self._placed(inner.process, belief, q) for belief in beliefs]
        if remembered(inner.process, memory) is not None:
            memory = remember(memory, beliefs[0])
        return beliefs, memory

    def _placed(self, process: Process, belief: Posterior, q: Question) -> Posterior:
        parts, states = dict(split(belief)), split(q.x_t)
        there = placed(self.bodies, split(clean(belief, q.x_t)), split(self.x), self.unit)
        at, point, leaf = there["positions"], parts["positions"], process.leaves["positions"]
        assert isinstance(point, Point) and isinstance(leaf, Gaussian)
        # the centre of a centred leaf stays where it is
        parts["positions"] = point.with_x(point.x + leaf.centre(at - point.x, q.mask) if leaf.centred else at)
        if "frames" in parts:
            tangent = parts["frames"]
            exact = process.leaves["frames"].posterior(
                there["frames"], states["frames"], of_leaf(q.t, "frames")
            )
            chosen = (self.bodies >= 0).to(at.device)[..., None]
            vector = torch.where(chosen, exact.vector, tangent.vector)  # type: ignore[union-attr]
            parts["frames"] = replace(tangent, vector=vector)  # type: ignore[call-arg]
        return join(process, parts)


def placed(
    bodies: Tensor, state: Mapping[str, Tensor], x: Mapping[str, Tensor], unit: float
) -> dict[str, Tensor]:
    """Clean states with the bodies of ``x`` superposed on what they have in their place.

    In float64, which autocast leaves alone.

    Args:
        bodies: as of :class:`Placing`.
        state: ``positions`` (B, N, 3), ``frames`` (B, N, 3, 3) if there are any, and others.
        x: the bodies, 1 or B rows.
        unit: Å of one unit of the positions.
    """
    out = dict(state)
    like = state["positions"]
    names = [name for name in ("positions", "frames") if name in state]
    own = {name: x[name].to(like.device).double().expand(state[name].shape) for name in names}
    moving, fixed = (_atoms(part, unit) for part in (own, {name: state[name].double() for name in names}))
    each = moving.shape[2]
    for number in range(int(bodies.max()) + 1):
        there = (bodies == number).to(like.device).expand(like.shape[:2])
        weight = there[..., None, None].double()
        count = (each * there.sum(1)).clamp(min=1)[:, None]
        a, b = ((weight * atoms).sum((1, 2)) / count for atoms in (moving, fixed))
        from_, onto = (
            (atoms - middle[:, None, None]).flatten(1, 2) for atoms, middle in ((moving, a), (fixed, b))
        )
        # a state that is not finite is a failure of its own row, not of all
        onto = torch.nan_to_num(onto, 0.0, 0.0, 0.0)
        turn = rotation_to(from_, onto, there.repeat_interleave(each, 1))
        at = (own["positions"] - a[:, None]) @ turn.mT + b[:, None]
        out["positions"] = torch.where(there[..., None], at.to(like), out["positions"])
        if "frames" in out:
            turned = (turn[:, None] @ own["frames"]).to(out["frames"])
            out["frames"] = torch.where(there[..., None, None], turned, out["frames"])
    return out


def _atoms(state: Mapping[str, Tensor], unit: float) -> Tensor:
    """(B, N, 3, 3) of N, CA and C; (B, N, 1, 3) of CA where there are no frames."""
    ca = state["positions"][..., None, :]
    if "frames" not in state:
        return ca
    ideal = torch.tensor(IDEAL, dtype=ca.dtype, device=ca.device) / unit
    return ca + torch.einsum("bnij,aj->bnai", state["frames"], ideal)


def bodies_of(contig: Contig, free: bool | str) -> list[int]:
    """For each segment of a contig the number of its body; −1 for what is built, or kept in the frame of the input.

    Args:
        contig: that keeps two stretches or more.
        free: True or "each" for every stretch by itself; or stretches as the contig has them, with commas between those of
            one body and semicolons between bodies, "A10-25;A60-72,B1-5". Those that are not named stay where they are.

    Raises:
        ContigError: a contig with fewer stretches; a text that cannot be read, or names a stretch twice or one that the
            contig does not have.
    """
    kept = contig.motifs
    if len(kept) < 2:
        raise ContigError(
            "free is of kept stretches that may move against each other, at least two; the contig keeps "
            f"{kept[0] if kept else 'none'}"
        )
    if free is True or free == EACH:
        number = {motif: k for k, motif in enumerate(kept)}
    elif isinstance(free, str):
        number = {}
        for k, text in enumerate(free.split(";")):
            named = residues(text) if text.strip() else ()
            if not named:
                raise ContigError(
                    f"free: a body without residues in {free!r}; write {kept[0]};{kept[1]}, or {EACH}"
                )
            for motif in named:
                if motif not in kept:
                    raise ContigError(
                        f"free: {motif} is no stretch of the contig, which keeps {', '.join(map(str, kept))}",
                        motif.span,
                    )
                if motif in number:
                    raise ContigError(f"free: {motif} stands twice", motif.span)
                number[motif] = k
    else:
        raise ContigError(f"free is True, {EACH!r} or stretches as {kept[0]};{kept[1]}; got {free!r}")
    return [number[one] if isinstance(one, Motif) and one in number else -1 for one in contig.segments]
