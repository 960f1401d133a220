r"""Asked R/S and E/Z as a guidance of positions.

A graph says of a centre in which sense its neighbours turn, and of a double bond on which sides its neighbours lie. With
neighbours a, b, c of a centre d, and neighbours a of b and d of c of a double bond b=c, both are the sign of a number,

.. math:: V = (a - d) \cdot ((b - d) \times (c - d)), \qquad
          C = (a - b)_\perp \cdot (d - c)_\perp ,

where :math:`\perp` is the part across the bond. Where the belief about clean positions has the wrong sign, or too small a
value, it is moved until the number has its asked sign and a margin, which grows from 0 at t = 1: one site after another
(Kaczmarz's method), a few times. A belief that has the asked senses is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance import Guidance
from langevin.core.guidance.base import Index, Question, answer
from langevin.core.posteriors import Point, Posterior
from langevin.core.processes import split
from langevin.core.times import of_leaf, shaped
from langevin.modalities.molecule.conformers import embed

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["Handed", "Site", "handed", "sides", "sites", "volumes"]

_LEAST = 0.5, 0.8  # of V in Å³ and of C in Å², at t = 0; half of what is usual
_SWEEPS = 4


@dataclass(frozen=True)
class Site:
    """A centre or a double bond whose sense is asked.

    Attributes:
        atoms: a, b, c, d; see the head of this file.
        sense: +1 or −1, the sign of V or C.
        flat: a double bond.
    """

    atoms: tuple[int, int, int, int]
    sense: int
    flat: bool


def sites(mol: Mol, seed: int = 0) -> list[Site]:
    """The senses that a graph asks for, read from a conformer that has them.

    Args:
        mol: sanitised, with stereo assigned; sites that it leaves open are not among them.
        seed: of that conformer.

    Raises:
        ValueError: no conformer has its stereo.
    """
    from rdkit import Chem

    said = [s for s in Chem.FindPotentialStereo(mol) if s.specified == Chem.StereoSpecified.Specified]
    if not said:
        return []
    where = embed(mol, seed, relax=False).GetConformer().GetPositions()
    found = []
    for site in said:
        if site.type == Chem.StereoType.Atom_Tetrahedral:
            near = [
                a.GetIdx() for a in mol.GetAtomWithIdx(site.centeredOn).GetNeighbors() if a.GetAtomicNum() > 1
            ]
            if len(near) < 3:
                continue
            atoms = (*sorted(near)[:3], site.centeredOn)
            flat = False
        elif site.type == Chem.StereoType.Bond_Double:
            bond = mol.GetBondWithIdx(site.centeredOn)
            b, c = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            ends = [_beside(mol, b, c), _beside(mol, c, b)]
            if None in ends:
                continue
            atoms, flat = (ends[0], b, c, ends[1]), True
        else:
            continue
        points = torch.from_numpy(where[list(atoms)])[None]
        number = sides(points)[0] if flat else volumes(points)[0]
        found.append(Site(atoms, 1 if number > 0 else -1, flat))  # type: ignore[arg-type]
    return found


def _beside(mol: Mol, atom: int, other: int) -> int | None:
    near = [a.GetIdx() for a in mol.GetAtomWithIdx(atom).GetNeighbors() if a.GetIdx() != other]
    heavy = [k for k in near if mol.GetAtomWithIdx(k).GetAtomicNum() > 1]
    return min(heavy, default=None)


@dataclass(frozen=True)
class Handed(Guidance):
    """Positions whose asked senses are kept; ``handed([sites, …], unit)``, one list for each sample.

    Args:
        atoms: (n, K, 4) indices.
        senses: (n, K), ±1; 0 for none.
        flat: (n, K), True for double bonds.
        unit: Å of one unit of positions.
    """

    atoms: Tensor = field(repr=False)
    senses: Tensor = field(repr=False)
    flat: Tensor = field(repr=False)
    unit: float = 1.0

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        beliefs, memory = answer(inner, q)
        return [self._kept(belief, q) for belief in beliefs], memory

    def at(self, index: Index, total: int) -> Handed:
        if len(self.atoms) == 1:
            return self
        return replace(self, atoms=self.atoms[index], senses=self.senses[index], flat=self.flat[index])

    def _kept(self, belief: Posterior, q: Question) -> Posterior:
        parts = dict(split(belief))
        point = parts["positions"]
        assert isinstance(point, Point)
        t = torch.as_tensor(of_leaf(q.t, "positions"), dtype=point.x.dtype, device=point.x.device)
        left = (1 - shaped(t, point.x)[:, 0, 0]) if t.ndim else (1 - t).expand(len(point.x))
        parts["positions"] = point.with_x(self._moved(point.x * self.unit, left) / self.unit)
        return parts

    def _moved(self, x: Tensor, left: Tensor) -> Tensor:
        """Positions (B, N, 3) in Å with the asked senses; ``left`` (B,) is 1 − t."""
        rows = torch.arange(len(x), device=x.device)
        atoms, senses, flat = (
            part.to(x.device).expand(len(x), *part.shape[1:]) for part in (self.atoms, self.senses, self.flat)
        )
        for _ in range(_SWEEPS):
            for k in range(atoms.shape[1]):
                place, sense, double = atoms[:, k], senses[:, k].to(x), flat[:, k]
                points = x[rows[:, None], place]  # (B, 4, 3)
                turned = torch.where(
                    double[:, None, None],
                    _sided(points, sense, _LEAST[1] * left),
                    _wound(points, sense, _LEAST[0] * left),
                )
                x = x.index_put(
                    (rows[:, None], place), torch.where(sense[:, None, None] != 0, turned, points)
                )
        return x


def _wound(points: Tensor, sense: Tensor, least: Tensor) -> Tensor:
    """a, b, c, d (B, 4, 3) with sense · V ≥ ``least``, by a step along the gradient of V where it is less."""
    volume, slope = volumes(points)
    short = (least - sense * volume).clamp(min=0)
    size = slope.square().sum((1, 2)).clamp(min=0.05)
    return points + (sense * short / size)[:, None, None] * slope


def _sided(points: Tensor, sense: Tensor, least: Tensor) -> Tensor:
    """a, b, c, d (B, 4, 3) with sense · C ≥ ``least``: d moves across the bond, towards the asked side of a.

    C has no slope where a and d lie opposite in one plane with the bond, which is where a wrong isomer has them.
    """
    across, here, there = sides(points)
    length = here.norm(dim=-1).clamp(min=0.3)
    aim = (sense / length)[:, None] * here * there.norm(dim=-1).clamp(min=0.3)[:, None]
    reach = sense * (here * aim).sum(-1)  # of sense · C at the aim
    signed = sense * across
    share = ((least - signed) / (reach - signed).clamp(min=1e-3)).clamp(0, 1)
    moved = points.clone()
    moved[:, 3] = points[:, 3] + share[:, None] * (aim - there)
    return moved


def volumes(points: Tensor) -> tuple[Tensor, Tensor]:
    """V (B,) of four points (B, 4, 3), and its gradient (B, 4, 3)."""
    a, b, c, d = points.unbind(1)
    u, v, w = a - d, b - d, c - d
    slopes = torch.linalg.cross(v, w), torch.linalg.cross(w, u), torch.linalg.cross(u, v)
    return (u * slopes[0]).sum(-1), torch.stack([*slopes, -(slopes[0] + slopes[1] + slopes[2])], 1)


def sides(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """C (B,) of four points (B, 4, 3), and the parts of a − b and d − c across the bond (B, 3)."""
    a, b, c, d = points.unbind(1)
    axis = torch.nn.functional.normalize(c - b, dim=-1)
    here, there = (e - (e * axis).sum(-1, keepdim=True) * axis for e in (a - b, d - c))
    return (here * there).sum(-1), here, there


def handed(asked: Sequence[Sequence[Site]], unit: float) -> Handed:
    """The guidance that keeps the senses of some samples, one list for each, or one list for all."""
    most = max(1, *(len(each) for each in asked)) if asked else 1
    atoms = torch.zeros(len(asked), most, 4, dtype=torch.long)
    senses, flat = torch.zeros(len(asked), most), torch.zeros(len(asked), most, dtype=torch.bool)
    for i, each in enumerate(asked):
        for k, site in enumerate(each):
            atoms[i, k], senses[i, k], flat[i, k] = torch.tensor(site.atoms), site.sense, site.flat
    return Handed(atoms, senses, flat, unit)
