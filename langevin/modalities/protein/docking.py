r"""Chains that stand off one another: whole chains move as rigid bodies on their way until none runs into another.

A network that has seen single chains draws two chains as one globule, and a binder into its target. A force on residues
that are too near takes chains apart residue by residue, and their folds with them; here chain c of the clean estimate is
moved by one vector v_c. With d_ij the distance of CA i and j of different chains as they are moved, v goes down

    E = Σ_ij max(0, r − d_ij)² / 2  +  Σ_h max(0, min_i d_ih − a)² / 2

r the clearance, h hotspots, which want a CA of a moving chain within a = 7 Å; where nobody asks for hotspots, each chain's
ten nearest pairs, which make an interface, want to be as near, with a tenth of the weight. The gradient of E does not know
the way out of a chain, so that chains that are inside of one another first go out of it in a line: that of their middles, or
out of the target's surface at the hotspots.

What is believed at every step stands clear, so that the network draws the rest of the way what fits there. Vectors turn
with the estimate: an equivariant denoiser stays one, and symmetric assemblies stay symmetric. Chains of which residues are
kept in their place do not move. Nothing of this is in training.

It goes outside of forces, which push single residues, and inside of what is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Guidance, Index, Question, answer, anywhere, gates, select
from langevin.core.guidance.known import known_rows
from langevin.core.posteriors import Point, Posterior
from langevin.core.processes import Gaussian, Process, join, split
from langevin.core.recall import remember, remembered

__all__ = ["CLEARANCE", "Docking", "parted"]

Pairs = tuple[Tensor, Tensor, Tensor]  # row, first and second residue

CLEARANCE = 5.0  # Å of CA and CA: strands of a sheet have 4.8, helices side by side 6 and more
_UNTIL = 0.6  # before that a belief is no chain yet, and chains that are led by it lose each other
_TOUCH = 7.0  # Å; a hotspot counts as touched below 8
_AROUND = 15.0  # Å, of the target's residues around the hotspots
_FURTHEST = 40  # Å on the way out
_MUCH = 4.0  # Å², sum of squares of overlaps that is left to the descent
_STEPS, _RATE = 40, 0.5  # of the descent
_LONGEST = 1.0  # Å of a step of the descent
_RANGE = 10.0  # Å by which pairs come nearer in a descent, at most
_MEETING, _PULL = 10, 0.1  # pairs that make an interface, and their pull beside what is too near
_STILL = 1e-3  # Å of a step that ends it


@dataclass(frozen=True, eq=False)
class Docking(Guidance):
    """Whole chains moved off one another, and onto hotspots.

    Args:
        chains: (1 or B, N), number of the chain of each residue from 0; −1 where there is none.
        moving: (1 or B, N), residues of chains that move.
        hotspots: (1 or B, N), residues that moving chains are to touch; nobody asks for any when None.
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
        if not anywhere(gate):
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
    # a state that is not finite is a failure of its own row, not of all
    x = torch.nan_to_num(ca.detach().double(), 0.0, 0.0, 0.0)
    there, free = chains >= 0, moving & (chains >= 0)
    each = int(chains.max()) + 2  # bodies of a row; the last is all that does not move
    body = torch.where(free, chains, each - 1) + each * torch.arange(len(x), device=x.device)[:, None]
    hot = None if hotspots is None else hotspots & there & ~free
    row, i, j = torch.nonzero(
        (there[:, :, None] & there[:, None] & (body[:, :, None] != body[:, None])).triu(), as_tuple=True
    )
    shift = _out(x, body, there, free, hot, (row, i, j), each, clearance)
    shift = _settled(x, body, free, hot, (row, i, j), clearance, shift)
    return torch.where(free[..., None], shift[body], 0.0).to(ca)


def _out(
    x: Tensor,
    body: Tensor,
    there: Tensor,
    free: Tensor,
    hot: Tensor | None,
    pairs: Pairs,
    each: int,
    clearance: float,
) -> Tensor:
    """Shifts (bodies, 3) that take bodies that are inside one another apart, roughly.

    Two bodies go along the line of their middles, a single one that has hotspots out of the surface there, until not much
    of them overlaps.
    """
    size = x.new_zeros(len(x) * each).index_add_(0, body[there], x.new_ones(int(there.sum())))
    middle = torch.zeros(len(size), 3).to(x).index_add_(0, body[there], x[there]) / size.clamp(min=1)[:, None]
    row, i, j = pairs
    one, other = body[row, i], body[row, j]
    way = middle[one] - middle[other]
    if hot is not None:
        moving = torch.zeros_like(size).index_fill_(0, body[free], 1.0).view(-1, each).sum(1)
        weight = hot.to(x)[..., None]
        spot = (x * weight).sum(1) / weight.sum(1).clamp(min=1)
        around = (there & ~free & ((x - spot[:, None]).norm(dim=-1) < _AROUND)).to(x)[..., None]
        normal = spot - (x * around).sum(1) / around.sum(1).clamp(min=1)
        single = (hot.any(1) & (moving == 1))[row]
        outward = torch.where(free[row, i][:, None], normal[row], -normal[row])
        way = torch.where(single[:, None], outward, way)
    way = torch.nn.functional.normalize(way, dim=-1)
    p = x[row, i] - x[row, j]
    along = (p * way).sum(-1)
    meet = (p.square().sum(-1) - along.square() < clearance**2) & (along < clearance)
    p, way, one, other = p[meet], way[meet], one[meet], other[meet]
    key, of = torch.unique(one * len(size) + other, return_inverse=True)
    far, open_ = x.new_zeros(len(key)), torch.ones(len(key), dtype=torch.bool, device=x.device)
    for _ in range(_FURTHEST):
        inside = (clearance - (p + far[of][:, None] * way).norm(dim=-1)).clamp(min=0)
        open_ = x.new_zeros(len(key)).index_add_(0, of, inside.square()) > _MUCH
        if not bool(open_.any()):
            break
        far = far + open_.to(x)
    ways = torch.zeros(len(key), 3).to(x).index_copy_(0, of, way) * far[:, None]
    mobile = torch.zeros_like(size).index_fill_(0, body[free], 1.0)[:, None]
    a, b = key // len(size), key % len(size)
    share = mobile[a] + mobile[b]  # two that move go half the way each
    shift = torch.zeros(len(size), 3).to(x)
    shift.index_add_(0, a, ways / share)
    shift.index_add_(0, b, -ways / share)
    return shift * mobile


def _settled(
    x: Tensor, body: Tensor, free: Tensor, hot: Tensor | None, pairs: Pairs, clearance: float, shift: Tensor
) -> Tensor:
    """Shifts (bodies, 3) from which E has come down."""
    row, i, j = pairs
    moved = x + shift[body] * free[..., None]
    near = (moved[row, i] - moved[row, j]).norm(dim=-1) < clearance + _RANGE
    row, i, j = row[near], i[near], j[near]
    one, other = body[row, i], body[row, j]
    apart = x[row, i] - x[row, j]
    mobile = torch.zeros(len(shift), 1).to(x).index_fill_(0, body[free], 1.0)
    asked = torch.zeros(len(x), dtype=torch.bool, device=x.device) if hot is None else hot.any(1)
    lonely = ~asked.repeat_interleave(len(shift) // len(x))
    for _ in range(_STEPS):
        between = apart + shift[one] - shift[other]
        distance = between.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        inside = (clearance - distance).clamp(min=0)
        push, crowded = inside / distance * between, (inside > 0).to(x)
        slope, met = torch.zeros_like(shift), torch.ones_like(mobile)
        for bodies, sign in ((one, 1), (other, -1)):
            slope.index_add_(0, bodies, sign * push)
            met.index_add_(0, bodies, crowded)
        slope = slope + _PULL * _joined(between, distance[:, 0], one, other, len(shift), lonely)
        if hot is not None:
            slope = slope + _drawn(x + shift[body], body, free, hot, len(shift))
        step = _RATE * slope / met.sqrt() * mobile
        step = step / (step.norm(dim=-1, keepdim=True) / _LONGEST).clamp(min=1)
        shift = shift + step
        if float(step.abs().amax()) < _STILL:
            break
    return shift


def _joined(
    between: Tensor, distance: Tensor, one: Tensor, other: Tensor, bodies: int, lonely: Tensor
) -> Tensor:
    """The pull of the nearest pairs of each body on it, (bodies, 3)."""
    mine = torch.cat([one, other])
    away, length = torch.cat([between, -between]), distance.repeat(2)
    order = (mine * 1e4 + length).argsort()
    count = torch.bincount(mine, minlength=bodies)
    rank = torch.arange(len(mine), device=mine.device) - (count.cumsum(0) - count)[mine[order]]
    nearest = order[(rank < _MEETING) & lonely[mine[order]]]
    far = (length[nearest] - _TOUCH).clamp(min=0) / length[nearest]
    return between.new_zeros(bodies, 3).index_add_(0, mine[nearest], -far[:, None] * away[nearest])


def _drawn(x: Tensor, body: Tensor, free: Tensor, hotspots: Tensor, bodies: int) -> Tensor:
    """The pull of hotspots that no moving chain touches on the chain whose residue is nearest, (bodies, 3)."""
    pull = x.new_zeros(bodies, 3)
    row, h = torch.nonzero(hotspots & free.any(1, keepdim=True), as_tuple=True)
    to = x[row, h][:, None] - x[row]  # (hotspots, N, 3)
    distance = to.norm(dim=-1).masked_fill(~free[row], torch.inf)
    far, nearest = distance.min(1)
    each = torch.arange(len(row), device=x.device)
    vector = to[each, nearest] * ((far - _TOUCH).clamp(min=0) / far.clamp(min=1e-6))[:, None]
    return pull.index_add_(0, body[row, nearest], vector)
