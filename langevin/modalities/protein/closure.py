r"""Rigid residues whose peptide bonds are closed.

Where real residues are made rigid, or a network has drawn them, the lengths and angles of the bonds between them are a
little off: N–CA–C of real residues varies by 3°, which moves C and N by .04 Å each, and lengths of C–N vary by .014 Å. So
frames are moved to the nearest minimum of

    E = Σ_atoms |a − a⁰|² / s_a²  +  Σ_bonds Σ_k (d_k − d_k⁰)² / s_k²

with N, CA and C of every residue, a⁰ where they were, and four distances over each bond between i and i + 1: C–N, CA–N and
C–CA (which fix the two angles) and CA–CA (which makes the bond planar). d⁰ are those of a trans bond, or of a cis bond
where CA–CA is nearer to it. For residues that were drawn there is a third sum, over backbone atoms of residues three or more
apart that overlap,

    Σ max(0, r_ab − |a − b|)² / s_r²

with r_ab the sum of van der Waals radii (Bondi, 1964) less .5 Å, and 3.9 Å for CA and CA. E is quadratic but for the turns
and these, so that some dozens of steps of L-BFGS (Liu & Nocedal, 1989) with a line search come to the minimum: near enough
that of what a trained network draws, rounding, as of another batch size, moves nothing by more than thousandths of an Å.

Where a drawn residue meets a fixed one the bond is trans: a short way there is a gap that was missed, and no cis bond.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from langevin.core import so3
from langevin.modalities.protein.rigid import C_N, C_N_CA, CA_C, CA_C_N, N_CA, ideal_atoms, oxygens

__all__ = ["closed"]

CIS_BELOW = 3.4  # Å of CA–CA
STEPS, _HISTORY, _STILL = 150, 50, 1e-6  # at most; rad and Å of a step that ends it
_ATOMS = 0.06  # s_a, Å
_LOOSE, _BESIDE = 0.25, 4  # s_a, Å, of as many residues beside fixed ones, and around those that overlap
_MORE = 3  # times the steps where some are fixed
_OVERLAPS, _MUCH = 0.02, 0.2  # s_r, Å; and Å of overlap from which residues are as loose as that
_NEAR = 7.5  # Å of CA–CA, beyond which residues do not overlap
_LEAST_CA = 3.9  # Å
_RADII = (1.55, 1.70, 1.70, 1.52)  # Å, of N, CA, C and O
_ALLOWED = 0.5  # Å of overlap
_BONDS = (0.008, 0.02, 0.02, 0.02)  # s_k, Å, of C–N, CA–N, C–CA and CA–CA


def _across(a: float, b: float, angle: float) -> float:
    """The distance of the ends of two bonds that make an angle in degrees."""
    return math.sqrt(a * a + b * b - 2 * a * b * math.cos(math.radians(angle)))


CA_N, C_CA = _across(CA_C, C_N, CA_C_N), _across(C_N, N_CA, C_N_CA)
TRANS, CIS = 3.80, 2.95


@torch.enable_grad()
def closed(
    rotations: Tensor,
    ca: Tensor,
    follows: Tensor,
    target: Tensor | None = None,
    fixed: Tensor | None = None,
    apart: bool = False,
    steps: int = STEPS,
    anchors: Tensor | None = None,
    copies: int = 1,
) -> tuple[Tensor, Tensor]:
    """Frames near the given ones with closed peptide bonds.

    Args:
        rotations: (n, 3, 3).
        ca: (n, 3), Å.
        follows: (n,) bool, whether a residue is bound to the one before; chains may stand one after another.
        target: atoms N, CA, C (n, 3, 3) to stay near to; those of the frames when None.
        fixed: (n,) bool, residues that do not move; none when None.
        apart: whether residues that overlap are moved apart, too.
        steps: of the minimisation.
        anchors: atoms N, CA, C (n, 3, 3) of residues that are ``fixed``, to which their neighbours are bound; those of the
            frames when None. Real residues differ from the rigid one by some hundredths of an Å.
        copies: of a unit that the residues are, one after another, and that move alike.

    Returns:
        Rotations and CA, in the dtype of the given ones, without gradients.
    """
    first, second = torch.nonzero(follows)[:, 0] - 1, torch.nonzero(follows)[:, 0]
    start_r, start_x = rotations.detach().double(), ca.detach().double()
    goal = ideal_atoms(start_r, start_x) if target is None else target.detach().double()
    long = (start_x[second] - start_x[first]).norm(dim=-1)
    cis = long < CIS_BELOW
    if fixed is not None:
        cis = cis & (fixed[first] == fixed[second])
    wanted = torch.stack(
        [torch.full_like(long, d) for d in (C_N, CA_N, C_CA)]
        + [torch.where(cis, torch.full_like(long, CIS), torch.full_like(long, TRANS))]
    )
    pairs = _near(start_x, follows) if apart else None
    scale = torch.tensor(_BONDS, dtype=torch.float64, device=ca.device)[:, None]
    moves = torch.ones(len(ca), 1, dtype=torch.float64, device=ca.device)
    near = torch.full((len(ca), 1, 1), _ATOMS, dtype=torch.float64, device=ca.device)
    if pairs is not None:
        over = _overlap(ideal_atoms(start_r, start_x), follows, pairs).amax((1, 2))
        most = torch.zeros(len(ca), dtype=torch.float64, device=ca.device)
        for those in pairs:
            most.scatter_reduce_(0, those, over, "amax")
        near += (_LOOSE - _ATOMS) * (_around(most, follows) / _MUCH).clamp(max=1)[:, None, None]
    if fixed is not None and bool(fixed.any()):
        moves = moves * (~fixed)[:, None]
        # what is between a fixed residue and the rest must bridge their gap
        near[_around(fixed.double(), follows) > 0] = _LOOSE
        steps = _MORE * steps
    unit = start_x[: len(start_x) // copies]
    turn, shift = torch.zeros_like(unit).requires_grad_(), torch.zeros_like(unit).requires_grad_()

    def frames() -> tuple[Tensor, Tensor]:
        # turns and shifts in a residue's own axes are the same for all copies
        turned, along = (part.repeat(copies, 1) * moves for part in (turn, shift))
        return start_r @ so3.exp(turned), start_x + (start_r * along[..., None, :]).sum(-1)

    held = None if fixed is None or anchors is None else (fixed[:, None, None], anchors.detach().double())

    def energy() -> Tensor:
        atoms = ideal_atoms(*frames())
        if held is not None:
            atoms = torch.where(held[0], held[1], atoms)
        n, x, c = atoms.unbind(1)
        found = torch.stack(
            [(p[first] - q[second]).norm(dim=-1) for p, q in ((c, n), (x, n), (c, x), (x, x))]
        )
        total = ((atoms - goal) / near).square().sum() + ((found - wanted) / scale).square().sum()
        if pairs is not None:
            total = total + (_overlap(atoms, follows, pairs) / _OVERLAPS).square().sum()
        return total

    descent = torch.optim.LBFGS(
        [turn, shift],
        max_iter=steps,
        tolerance_change=_STILL,
        history_size=_HISTORY,
        line_search_fn="strong_wolfe",
    )

    def slope() -> Tensor:
        descent.zero_grad()
        value = energy()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    descent.step(slope)  # type: ignore[no-untyped-call, arg-type]
    with torch.no_grad():
        moved, at = frames()
    return moved.to(rotations), at.to(ca)


def _around(values: Tensor, follows: Tensor) -> Tensor:
    """(n,) the largest of the values (n,), from 0, of each residue and of those bound to it by at most so many bonds."""
    reached = values
    for _ in range(_BESIDE):
        up = torch.cat([reached.new_zeros(1), reached[:-1]]) * follows
        down = torch.cat([(reached * follows)[1:], reached.new_zeros(1)])
        reached = torch.maximum(reached, torch.maximum(up, down))
    return reached


def _near(ca: Tensor, follows: Tensor) -> Tensor:
    """(2, m) pairs of residues that may overlap: three or more apart, or of other chains."""
    chain = (~follows).long().cumsum(0)
    first, second = torch.triu_indices(len(ca), len(ca), 1, device=ca.device)
    other = (second - first >= 3) | (chain[first] != chain[second])
    close = (ca[first] - ca[second]).norm(dim=-1) < _NEAR
    return torch.stack([first, second])[:, other & close]


def _overlap(atoms: Tensor, follows: Tensor, pairs: Tensor) -> Tensor:
    """(m, 4, 4) Å by which backbone atoms of pairs of residues are nearer than they may be; 0 where they are not."""
    whole = torch.cat([atoms, oxygens(atoms, follows)[:, None]], 1)
    one, other = whole[pairs[0]], whole[pairs[1]]
    distance = ((one[:, :, None] - other[:, None]).square().sum(-1) + 1e-6).sqrt()
    radii = torch.tensor(_RADII, dtype=atoms.dtype, device=atoms.device)
    least = radii[:, None] + radii - _ALLOWED
    least[1, 1] = _LEAST_CA
    return (least - distance).clamp(min=0)
