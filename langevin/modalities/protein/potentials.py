r"""Guiding potentials: functions of CA positions that designs are pushed up, as RFdiffusion has them.

    monomer_ROG            −w √(mean max(d, min_dist)²), d the distances from the centre
    binder_ROG             the same of the binder
    dimer_ROG              the mean of the same for the binder and for the rest
    monomer_contacts       w Σ s(d) over all pairs of residues
    binder_ncontacts       the same of the binder
    interface_ncontacts    w Σ s(d) between the binder and the rest
    olig_contacts          Σ s(d) within chains and between chains, each with its weight
    substrate_contacts     w Σ s(d) of designed residues with the nearest atom of a small molecule, less a repulsion
    fold                   −w cost of blocks that should touch and do not, or do and should not; not one of RFdiffusion's

They are written ``"type:olig_contacts,weight_intra:1,weight_inter:0.1"`` (Watson et al., 2023, doi
10.1038/s41586-023-06415-8, and RFdiffusion's documentation, whose names and defaults these are). Larger is better.
Contacts are counted by the switching function of PLUMED's COORDINATION with exponents 6 and 12,

.. math:: s(d) = \frac{1 - u^6}{1 - u^{12}} = \frac{1}{1 + u^6}, \qquad u = (d - d_0) / r_0 ,

which is 1 at d_0 and 1/2 at d_0 + r_0; the form on the right has no 0/0. Sums run over ordered pairs, a residue with itself
included, but for ``olig_contacts``, where each pair counts once.

Against RFdiffusion: the second part of ``dimer_ROG`` is measured from its own centre (there, from that of the first);
the binder may be any residues, not the first ``binderlen`` alone; and the gradient is taken at the clean estimate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from langevin.modalities.protein.adjacency import cost

__all__ = ["POTENTIALS", "Layout", "Potential", "Substrate"]


@dataclass(frozen=True, eq=False)
class Substrate:
    """A small molecule beside a motif, in one frame.

    Args:
        atoms: (M, 3) of the molecule, Å.
        motif: (m, 3) CA of the motif, Å, m at least 3 and not on a line.
        places: (m,) of the motif's residues in the design.

    Raises:
        ValueError: no atoms, or a motif that does not fix the frame.
    """

    atoms: Tensor = field(repr=False)
    motif: Tensor = field(repr=False)
    places: Tensor = field(repr=False)

    def __post_init__(self) -> None:
        if self.atoms.ndim != 2 or self.atoms.shape[1:] != (3,) or not len(self.atoms):
            raise ValueError(
                f"a substrate has atoms of shape (M, 3), at least one; got {tuple(self.atoms.shape)}"
            )
        if self.motif.shape != (len(self.places), 3):
            raise ValueError(
                f"the motif of a substrate has {len(self.places)} places and positions {tuple(self.motif.shape)}"
            )
        spread = torch.linalg.svdvals((self.motif - self.motif.mean(0)).double()) if len(self.motif) else None
        if len(self.motif) < 3 or spread is None or float(spread[1]) < 0.5:
            raise ValueError(
                f"substrate_contacts places the substrate by the CA of the motif, of which there are {len(self.motif)}; "
                "it takes three that are not on a line"
            )

    def placed(self, ca: Tensor) -> Tensor:
        """The atoms (B, M, 3) beside the motif of designs (B, N, 3): by the best superposition (Kabsch, 1976)."""
        there = ca[:, self.places.to(ca.device)].detach().double()
        here, atoms = self.motif.to(there), self.atoms.to(there)
        middle, centre = here.mean(0), there.mean(1, keepdim=True)
        u, _, v = torch.linalg.svd((there - centre).mT @ (here - middle))
        flip = torch.ones_like(u[..., 0])
        flip[:, -1] = torch.sign(torch.linalg.det(u @ v))
        return ((atoms - middle) @ (u * flip[:, None] @ v).mT + centre).to(ca.dtype)


@dataclass(frozen=True, eq=False)
class Layout:
    """What residues are, as far as potentials ask.

    Args:
        chains: (N,) or (B, N), number of the chain of each residue from 0; None for equal shares of the residues.
        binder: (N,) or (B, N) bool; None for the first ``binderlen``.
        designed: (N,) or (B, N) bool, residues that are not given; None for all.
        substrate: of ``substrate_contacts``.
        hotspots: (N,) or (B, N) bool, of ``hotspot_ncontacts``.
        blocks: (N,) or (B, N), number of the block (helix or strand) that a residue is in, from 1; 0 for none.
        adjacent: (K, K) bool, of the blocks of a fold, the same for all rows.
    """

    chains: Tensor | None = None
    binder: Tensor | None = None
    designed: Tensor | None = None
    substrate: Substrate | None = None
    hotspots: Tensor | None = None
    blocks: Tensor | None = None
    adjacent: Tensor | None = None

    def at(self, index: Tensor | slice, total: int) -> Layout:
        """The same for some rows of a run of ``total`` samples.

        Raises:
            ValueError: something that has neither one row nor ``total``.
        """
        parts = {name: getattr(self, name) for name in ("chains", "binder", "designed", "hotspots", "blocks")}
        for name, part in parts.items():
            if part is not None and part.ndim > 1 and len(part) > 1:
                if len(part) != total:
                    raise ValueError(f"{name} of a layout has {len(part)} rows for {total} samples")
                parts[name] = part[index]
        return Layout(**parts, substrate=self.substrate, adjacent=self.adjacent)


@dataclass(frozen=True)
class Potential(ABC):
    """A potential of one type; its fields are the parameters that may be written in its string."""

    type: ClassVar[str]

    @abstractmethod
    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        """The potential of each sample, (B,).

        Args:
            ca: (B, N, 3) Å.
            real: (B, N), True on real residues.
            layout: which residues are what.
        """


@dataclass(frozen=True)
class MonomerROG(Potential):
    """Small radius of gyration; residues nearer than ``min_dist`` (Å) to the centre are not drawn nearer."""

    type = "monomer_ROG"
    weight: float = 1.0
    min_dist: float = 15.0

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        return -self.weight * _gyration(ca, real, self.min_dist)


@dataclass(frozen=True)
class BinderROG(Potential):
    """Small radius of gyration of the binder."""

    type = "binder_ROG"
    weight: float = 1.0
    min_dist: float = 15.0
    binderlen: int | None = None

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        binder = _binder(self.type, self.binderlen, real, layout)
        return -self.weight * _gyration(ca, binder, self.min_dist)


@dataclass(frozen=True)
class DimerROG(Potential):
    """Small radii of gyration of the binder and of the rest, each from its own centre."""

    type = "dimer_ROG"
    weight: float = 1.0
    min_dist: float = 15.0
    binderlen: int | None = None

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        one = _binder(self.type, self.binderlen, real, layout)
        parts = (one, real & ~one)
        first, second = (_gyration(ca, part, self.min_dist) for part in parts)
        return -self.weight / 2 * (first + second)


@dataclass(frozen=True)
class MonomerContacts(Potential):
    """Many contacts of all residues. ``eps`` is taken as RFdiffusion takes it, which does not use it."""

    type = "monomer_contacts"
    weight: float = 1.0
    r_0: float = 8.0
    d_0: float = 2.0
    eps: float = 1e-6

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        return self.weight * (_contacts(ca, self.r_0, self.d_0) * _pairs(real, real)).sum((1, 2))


@dataclass(frozen=True)
class BinderContacts(Potential):
    """Many contacts within the binder."""

    type = "binder_ncontacts"
    weight: float = 1.0
    r_0: float = 8.0
    d_0: float = 4.0
    binderlen: int | None = None

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        binder = _binder(self.type, self.binderlen, real, layout)
        return self.weight * (_contacts(ca, self.r_0, self.d_0) * _pairs(binder, binder)).sum((1, 2))


@dataclass(frozen=True)
class InterfaceContacts(Potential):
    """Many contacts between the binder and the rest."""

    type = "interface_ncontacts"
    weight: float = 1.0
    r_0: float = 8.0
    d_0: float = 6.0
    binderlen: int | None = None

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        binder = _binder(self.type, self.binderlen, real, layout)
        return self.weight * (_contacts(ca, self.r_0, self.d_0) * _pairs(binder, real & ~binder)).sum((1, 2))


@dataclass(frozen=True)
class HotspotContacts(Potential):
    """Many contacts between what is designed and the hotspots; not one of RFdiffusion's, whose network is told of them."""

    type = "hotspot_ncontacts"
    weight: float = 1.0
    r_0: float = 8.0
    d_0: float = 6.0

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        if layout.hotspots is None or layout.designed is None:
            raise ValueError(f"{self.type} needs hotspots and what is designed; give hotspots with a contig")
        hot, new = real & _rows(layout.hotspots, real), real & _rows(layout.designed, real)
        return self.weight * (_contacts(ca, self.r_0, self.d_0) * _pairs(hot, new)).sum((1, 2))


@dataclass(frozen=True)
class Repulsion(Potential):
    """No two residues, three or more apart, with their CA nearer than ``reach`` (Å); not one of RFdiffusion's.

    −weight Σ max(0, reach − d)² / 2, over unordered pairs.
    """

    type = "repulsion"
    weight: float = 1.0
    reach: float = 4.5

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        inside = (self.reach - _norm(ca[:, :, None] - ca[:, None])).clamp(min=0)
        place = torch.arange(ca.shape[1], device=ca.device)
        apart = place[None] - place[:, None] >= 3
        return -0.5 * self.weight * (inside.square() * (_pairs(real, real) & apart)).sum((1, 2))


@dataclass(frozen=True)
class FoldAdjacency(Potential):
    """Adjacent blocks of a fold near, others apart (Å): −weight cost of :mod:`langevin.modalities.protein.adjacency`."""

    type = "fold"
    weight: float = 1.0
    near: float = 6.0
    apart: float = 7.5
    softness: float = 1.0

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        if layout.blocks is None or layout.adjacent is None:
            raise ValueError(f"{self.type} needs a fold with two helices or strands at least: design(fold=…)")
        blocks = torch.where(real, _rows(layout.blocks, real), 0)
        return -self.weight * cost(ca, blocks, layout.adjacent, self.near, self.apart, self.softness)


@dataclass(frozen=True)
class OligomerContacts(Potential):
    """Contacts within and between chains, attractive (1), repulsive (−1) or neither (0) by a matrix of the chains."""

    type = "olig_contacts"
    weight_intra: float = 1.0
    weight_inter: float = 1.0
    r_0: float = 8.0
    d_0: float = 2.0
    _: KW_ONLY
    contact_matrix: tuple[tuple[int, ...], ...] = field(default=(), metadata={"written": False})

    def __post_init__(self) -> None:
        rows = self.contact_matrix
        if not rows:
            raise ValueError(
                "olig_contacts needs to know which chains touch: give olig_intra_all=True, olig_inter_all=True or "
                "olig_custom_contact='A&B', and the symmetry or the chains"
            )
        columns = list(zip(*rows, strict=False))
        if any(len(row) != len(rows) for row in rows) or columns != [tuple(row) for row in rows]:
            raise ValueError(f"a contact matrix is square and symmetric, got {rows}")
        if any(value not in (-1, 0, 1) for row in rows for value in row):
            raise ValueError(
                f"a contact matrix holds 1 (attractive), -1 (repulsive) and 0 (neither), got {rows}"
            )

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        count = len(self.contact_matrix)
        chain = _chains(count, real, layout)
        weights = torch.tensor(self.contact_matrix, dtype=ca.dtype, device=ca.device)
        same = torch.eye(count).to(weights)
        weights = weights * (self.weight_inter + (self.weight_intra - self.weight_inter) * same)
        of_pair = weights[chain[:, :, None], chain[:, None]] * _pairs(real, real)
        return 0.5 * (_contacts(ca, self.r_0, self.d_0) * of_pair).sum((1, 2))


@dataclass(frozen=True)
class SubstrateContacts(Potential):
    """Designed residues, but for the neighbours of given ones, near a small molecule and not inside it.

    Of each such residue the nearest atom counts: w s · s(d), less a repulsion where d is below ``rep_r_0``. With
    ``rep_r_min`` of 0 all atoms repel.
    """

    type = "substrate_contacts"
    weight: float = 1.0
    r_0: float = 8.0
    d_0: float = 2.0
    s: float = 1.0
    eps: float = 1e-6
    rep_r_0: float = 5.0
    rep_s: float = 2.0
    rep_r_min: float = 1.0

    def __call__(self, ca: Tensor, real: Tensor, layout: Layout) -> Tensor:
        if layout.substrate is None:
            raise ValueError(
                "substrate_contacts needs a substrate: a ligand of the input file, by its residue name "
                "(substrate='LIG'), beside a motif that is kept"
            )
        designed = real if layout.designed is None else real & _rows(layout.designed, real)
        given = real & ~designed
        beside = torch.nn.functional.max_pool1d(given[:, None].to(ca.dtype), 3, 1, 1)[:, 0] > 0
        distance = _norm(ca[:, :, None] - layout.substrate.placed(ca)[:, None])  # (B, N, M)
        nearest = distance.amin(-1)
        touch = self.s * _switched(nearest, self.r_0, self.d_0)
        close = nearest if self.rep_r_min else distance
        # slope · a · (r − d)^p with p = 3/2, whose slope is rep_s² at d = 0
        steep = self.rep_s**2 / (1.5 * self.rep_r_0**0.5)
        repulsion = steep * (self.rep_r_0 - close).clamp(min=0) ** 1.5
        each = touch - (repulsion if self.rep_r_min else repulsion.sum(-1))
        return self.weight * (each * (designed & ~beside)).sum(1)


POTENTIALS: dict[str, type[Potential]] = {
    cls.type: cls
    for cls in (
        MonomerROG,
        BinderROG,
        DimerROG,
        BinderContacts,
        InterfaceContacts,
        HotspotContacts,
        Repulsion,
        FoldAdjacency,
        MonomerContacts,
        OligomerContacts,
        SubstrateContacts,
    )
}
"""Potentials by the names that strings have."""


def _rows(part: Tensor, like: Tensor) -> Tensor:
    """(N,) or (B, N) as (B, N); what is longer than the batch's padding is cut, what is shorter is not there.

    Raises:
        ValueError: another number of rows.
    """
    wide = (part if part.ndim > 1 else part[None]).to(like.device)
    if wide.shape[0] not in (1, like.shape[0]):
        raise ValueError(f"a layout has {wide.shape[0]} rows for {like.shape[0]} samples")
    n = like.shape[1]
    return torch.nn.functional.pad(wide[:, :n], (0, max(0, n - wide.shape[1]))).expand(len(like), n)


def _binder(kind: str, binderlen: int | None, real: Tensor, layout: Layout) -> Tensor:
    """The residues of the binder, (B, N).

    Raises:
        ValueError: nothing says which they are, or there are none, or no others.
    """
    if binderlen is not None:
        binder = real & (real.long().cumsum(1) <= binderlen)
    elif layout.binder is not None:
        binder = real & _rows(layout.binder, real)
    else:
        raise ValueError(
            f"{kind} needs to know the binder: keep a target, or give its length, as type:{kind},binderlen:80"
        )
    if bool((~binder.any(1)).any()) or (
        kind in ("dimer_ROG", "interface_ncontacts") and bool((binder == real).all(1).any())
    ):
        raise ValueError(f"{kind} is of a binder and a target; all residues are of one of the two")
    return binder


def _chains(count: int, real: Tensor, layout: Layout) -> Tensor:
    """The number of each residue's chain, (B, N), below ``count``.

    Raises:
        ValueError: another number of chains, or residues that do not make equal ones.
    """
    if layout.chains is not None:
        chain = torch.where(real, _rows(layout.chains, real).long(), 0)
        if int(chain.max()) >= count:
            raise ValueError(f"the contact matrix is of {count} chains, and there are {int(chain.max()) + 1}")
        return chain
    sizes = real.sum(1)
    if bool((sizes % count != 0).any()):
        raise ValueError(f"{sizes.tolist()} residues are not {count} equal chains")
    rank = (real.long().cumsum(1) - 1).clamp(min=0)
    return rank // (sizes // count).clamp(min=1)[:, None]


def _norm(v: Tensor) -> Tensor:
    """Lengths (…), whose gradient at 0 is 0."""
    square = v.square().sum(-1)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def _switched(distance: Tensor, r_0: float, d_0: float) -> Tensor:
    return 1 / (1 + ((distance - d_0) / r_0) ** 6)


def _contacts(ca: Tensor, r_0: float, d_0: float) -> Tensor:
    """s(d) of all ordered pairs, (B, N, N)."""
    return _switched(_norm(ca[:, :, None] - ca[:, None]), r_0, d_0)


def _pairs(one: Tensor, other: Tensor) -> Tensor:
    return one[:, :, None] & other[:, None]


def _gyration(ca: Tensor, chosen: Tensor, least: float) -> Tensor:
    """√(mean max(d, least)²) of the distances d from the centre of the chosen residues, (B,)."""
    weight = chosen.to(ca.dtype)
    count = weight.sum(1).clamp(min=1)
    centre = (ca * weight[..., None]).sum(1, keepdim=True) / count[:, None, None]
    square = _norm(ca - centre).clamp(min=least).square()
    return ((square * weight).sum(1) / count).clamp(min=1e-12).sqrt()
