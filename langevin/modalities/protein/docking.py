r"""Chains that stand off one another: whole chains move as rigid bodies on their way until none runs into another.

A network that has seen single chains draws two chains as one globule, and a binder into its target. A force on residues
that are too near takes chains apart residue by residue, and their folds with them; here chain c of the clean estimate is
moved by one vector v_c. With d_ij the distance of CA i and j of different chains as they are moved, v goes down

    E = Σ_ij max(0, r − d_ij)² / 2  +  Σ_h max(0, min_i d_ih − a)² / 2

r the clearance, h hotspots, which want a CA of a moving chain within a = 7 Å; where nobody asks for hotspots, the ten
residues of each chain that are nearest to others, which make an interface, want to be as near, with a tenth of the weight.
The gradient of E does not know the way out of a chain: chains that are inside of one another first go out in a line, that of
their middles, or out of the target's surface at the hotspots. At the end the first sum goes down alone.

What is believed at every step below t = 0.6 stands clear, so that the network draws the rest of the way what fits there.
Vectors turn with the estimate: an equivariant denoiser stays one. Chains of which residues are kept in their place do not
move. Nothing of this is in training.

It goes outside of forces, which push single residues, and inside of what is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Guidance, Index, Question, answer, gates, select
from langevin.core.guidance.known import known_rows
from langevin.core.posteriors import Point, Posterior
from langevin.core.processes import Gaussian, Process, join, split
from langevin.core.recall import remember, remembered

__all__ = ["CLEARANCE", "LARGEST", "Docking", "parted"]

CLEARANCE = 5.0  # Å of CA and CA: strands of a sheet have 4.8, helices side by side 6 and more
LARGEST = 20.0  # Å of clearance that may be asked for
_UNTIL = 0.6  # before that a belief is no chain yet, and chains that are led by it lose each other
_TOUCH = 7.0  # Å; a hotspot counts as touched below 8
_AROUND = 15.0  # Å, of the target's residues around the hotspots
_FURTHEST = 40  # Å on the way out, in steps of one
_MUCH = 4.0  # Å², sum of squares of overlaps of two bodies that is left to the descent
_STEPS, _LAST, _RATE = 40, 20, 0.5  # of the descent, and of its end without pulls
_LONGEST = 1.0  # Å of a step
_MEETING, _PULL = 10, 0.1  # residues that make an interface, and their pull beside what is too near
_STILL = 1e-3  # Å of a step that ends it


@dataclass(frozen=True, eq=False)
class Docking(Guidance):
    """Whole chains moved off one another, and onto hotspots.

    Args:
        chains: (1 or B, N), number of the chain of each residue from 0; −1 where there is none.
        moving: (1 or B, N), residues of chains that move.
        hotspots: (1 or B, N), residues that moving chains are to touch, of chains that do not move; nobody asks for any when
            None.
        clearance: r, Å.
        until: the time below which chains move.
        unit: Å of one unit of the state.
    """

    chains: Tensor = field(repr=False)
    moving: Tensor = field(repr=False)
    hotspots: Tensor | None = field(default=None, repr=False)
    clearance: float = CLEARANCE
    until: float = _UNTIL
    unit: float = 10.0

    def at(self, index: Index, total: int) -> Docking:
        names = [name for name in ("chains", "moving", "hotspots") if getattr(self, name) is not None]
        cut = {name: known_rows(getattr(self, name), index, total) for name in names}
        return replace(self, **cut)  # type: ignore[arg-type]

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        beliefs, memory = answer(inner, q)
        gate = gates(inner.process, q.t, (0.0, self.until))
        assert isinstance(q.x_t, dict)
        moving = _fitted(self.moving, q.x_t["positions"], 0)
        if not bool((_open(gate["positions"], moving) & moving).any()):  # what is kept has its time at 0
            return beliefs, memory
        beliefs = [
            select(inner.process, gate, self._parted(inner.process, belief, q), belief) for belief in beliefs
        ]
        if remembered(inner.process, memory) is not None:
            memory = remember(memory, beliefs[0])
        return beliefs, memory

    def _parted(self, process: Process, belief: Posterior, q: Question) -> Posterior:
        parts = dict(split(belief))
        point, leaf = parts["positions"], process.leaves["positions"]
        assert isinstance(point, Point) and isinstance(leaf, Gaussian)
        chains, moving = _fitted(self.chains, point.x, -1), _fitted(self.moving, point.x, False)
        hotspots = None if self.hotspots is None else _fitted(self.hotspots, point.x, False)
        shift = parted(point.x * self.unit, chains, moving, hotspots, self.clearance) / self.unit
        # the centre of a centred leaf stays where it is
        parts["positions"] = point.with_x(point.x + (leaf.centre(shift, q.mask) if leaf.centred else shift))
        return join(process, parts)


def _fitted(part: Tensor, x: Tensor, none: int) -> Tensor:
    """(1 or B, n) as (B, N) of positions (B, N, 3), which have a batch's padding."""
    n = x.shape[1]
    wide = torch.nn.functional.pad(part[:, :n], (0, max(0, n - part.shape[1])), value=none)
    return wide.to(x.device).expand(len(x), n)


def parted(
    ca: Tensor,
    chains: Tensor,
    moving: Tensor,
    hotspots: Tensor | None = None,
    clearance: float = CLEARANCE,
) -> Tensor:
    """By how much each residue moves with its chain, (B, N, 3) Å; 0 where nothing is too near and hotspots are touched.

    Args:
        ca: (B, N, 3) Å.
        chains, moving, hotspots: as of :class:`Docking`, (B, N).
        clearance: Å.
    """
    # a state that is not finite is a failure of its own row, not of all; mps has no float64
    x = torch.nan_to_num(
        ca.detach().to(torch.float32 if ca.device.type == "mps" else torch.float64), 0.0, 0.0, 0.0
    )
    there, free = chains >= 0, moving & (chains >= 0)
    each = int(chains.max()) + 2  # bodies of a row; the last is all that does not move
    body = torch.where(free, chains, each - 1) + each * torch.arange(len(x), device=x.device)[:, None]
    other = there[:, :, None] & there[:, None] & (body[:, :, None] != body[:, None])
    hot = torch.zeros_like(free) if hotspots is None else hotspots & there & ~free
    bodies = _Bodies(x, body, there, free, hot, other, each, clearance)
    return (bodies.settled(bodies.out()))[body].to(ca)


@dataclass(frozen=True, eq=False)
class _Bodies:
    """Residues (B, N) of bodies that move, numbered through all rows, and of one in each row that does not."""

    x: Tensor  # (B, N, 3)
    body: Tensor  # (B, N)
    there: Tensor
    free: Tensor
    hot: Tensor
    other: Tensor  # (B, N, N), pairs of different bodies
    each: int  # bodies of a row
    clearance: float

    @property
    def count(self) -> int:
        return self.each * len(self.x)

    @property
    def mobile(self) -> Tensor:
        """(bodies, 1), 1 for those that move."""
        return self.x.new_zeros(self.count, 1).index_fill_(0, self.body[self.free], 1.0)

    def summed(self, values: Tensor, bodies: Tensor) -> Tensor:
        """Values (m, …) by body, (bodies, …)."""
        return self.x.new_zeros(self.count, *values.shape[1:]).index_add_(0, bodies, values)

    def near(self, shift: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of each pair nearer than the clearance the two bodies, what lies between (m, 3), and how much too near."""
        at = self.x + shift[self.body]
        row, i, j = torch.nonzero((torch.cdist(at, at) < self.clearance) & self.other, as_tuple=True)
        one, other = self.body[row, i], self.body[row, j]
        row, i, j, one, other = (part[one < other] for part in (row, i, j, one, other))
        between = at[row, i] - at[row, j]
        return one, other, between, (self.clearance - between.norm(dim=-1)).clamp(min=0)

    def out(self) -> Tensor:
        """Shifts (bodies, 3) that take bodies that are inside one another apart, roughly."""
        size = self.summed(self.there.to(self.x).flatten(), self.body.flatten())[:, None]
        middle = self.summed(
            (self.x * self.there[..., None]).flatten(0, 1), self.body.flatten()
        ) / size.clamp(min=1)
        normal, single = self._normals()
        mobile, shift = self.mobile, torch.zeros_like(middle)
        for _ in range(_FURTHEST):
            one, other, _, depth = self.near(shift)
            key, of = torch.unique(one * self.count + other, return_inverse=True)
            deep = self.x.new_zeros(len(key)).index_add_(0, of, depth.square()) > _MUCH
            if not bool(deep.any()):
                break
            a, b = key[deep] // self.count, key[deep] % self.count
            # a body that does not move is the last of its row, and so the second
            way = torch.where(single[a // self.each, None], normal[a // self.each], middle[a] - middle[b])
            way = torch.nn.functional.normalize(way, dim=-1) / (
                mobile[a] + mobile[b]
            )  # of two, each goes half
            step = (self.summed(way, a) - self.summed(way, b)) * mobile
            shift = shift + step / step.norm(dim=-1, keepdim=True).clamp(min=1)
        return shift

    def _normals(self) -> tuple[Tensor, Tensor]:
        """Out of the surface at the hotspots, (B, 3); and (B,) in which rows that is the way: where one body moves."""
        weight = self.hot.to(self.x)[..., None]
        spot = (self.x * weight).sum(1) / weight.sum(1).clamp(min=1)
        far = (self.x - spot[:, None]).norm(dim=-1)
        around = (self.there & ~self.free & (far < _AROUND)).to(self.x)[..., None]
        normal = spot - (self.x * around).sum(1) / around.sum(1).clamp(min=1)
        return normal, self.hot.any(1) & (self.mobile.view(-1, self.each).sum(1) == 1)

    def settled(self, shift: Tensor) -> Tensor:
        """Shifts (bodies, 3) from which E has come down; rows that stand still are left alone."""
        mobile = self.mobile
        going = mobile.view(-1, self.each).amax(1) > 0
        for k in range(_STEPS + _LAST):
            one, other, between, depth = self.near(shift)
            push = (depth / between.norm(dim=-1).clamp(min=1e-6))[:, None] * between
            slope = self.summed(push, one) - self.summed(push, other)
            ones = torch.ones_like(depth)[:, None]
            met = 1 + self.summed(ones, one) + self.summed(ones, other)
            if k < _STEPS:
                slope = slope + self._pulled(self.x + shift[self.body])
            step = _RATE * slope / met.sqrt() * mobile * going.repeat_interleave(self.each)[:, None]
            step = step / (step.norm(dim=-1, keepdim=True) / _LONGEST).clamp(min=1)
            shift = shift + step
            going = step.norm(dim=-1).view(-1, self.each).amax(1) > _STILL
            if k == _STEPS - 1:  # all rows end alike
                going = torch.ones_like(going)
            elif not bool(going.any()) and k >= _STEPS:
                break
        return shift

    def _pulled(self, at: Tensor) -> Tensor:
        """The pull of hotspots, or of an interface, (bodies, 3)."""
        distance = torch.cdist(at, at).masked_fill(~self.other, torch.inf)
        asked = self.hot.any(1)
        # a hotspot pulls the moving residue that is nearest to it; of a free chain those nearest to others are pulled there
        far, nearest = distance.masked_fill(~self.free[:, None], torch.inf).min(2)
        row, h = torch.nonzero(self.hot & far.isfinite(), as_tuple=True)
        i = nearest[row, h]
        pull = self.summed(_towards(at[row, h] - at[row, i]), self.body[row, i])
        far, nearest = distance.min(2)
        row, i = torch.nonzero(self.free & ~asked[:, None] & far.isfinite(), as_tuple=True)
        length, mine = far[row, i], self.body[row, i]
        order = torch.argsort(length, stable=True)
        order = order[torch.argsort(mine[order], stable=True)]
        count = torch.bincount(mine, minlength=self.count)
        rank = torch.arange(len(mine), device=mine.device) - (count.cumsum(0) - count)[mine[order]]
        row, i = (part[order[rank < _MEETING]] for part in (row, i))
        j = nearest[row, i]
        half = _PULL / 2 * _towards(at[row, j] - at[row, i])  # of both, so that together they do not wander
        return pull + self.summed(half, self.body[row, i]) - self.summed(half, self.body[row, j])


def _towards(way: Tensor) -> Tensor:
    """Ways (m, 3) to what should be touched, as far as it is out of reach."""
    length = way.norm(dim=-1, keepdim=True)
    return way * (length - _TOUCH).clamp(min=0) / length.clamp(min=1e-6)


def _open(gate: bool | Tensor, like: Tensor) -> Tensor:
    """A gate of all, of samples (B,) or of elements (B, N), as (B, N)."""
    wide = torch.as_tensor(gate, device=like.device)
    return (wide if wide.ndim != 1 else wide[:, None]).expand(like.shape)
