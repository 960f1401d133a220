r"""Side chains and oxygens from torsions: the rigid groups of residues, hung one on the other.

A residue has five torsions in radians, ψ and χ1 to χ4, as many as its type has. The group behind the bond b–c that χ_k turns

    x = b→c,    y = what of c→d is across x,    z = x × y,    origin c          (a, b, c, d: the four atoms of χ_k)

is the group before it, moved and turned for good to where χ_k = 0 and then turned by χ_k around x (Jumper et al., 2021,
AlphaFold 2, Suppl. 1.8.1 and Alg. 24). CB belongs to the backbone (:mod:`~langevin.modalities.protein.rigid`), an atom of
the Greek letter γ to the group of χ1, of δ to that of χ2, and so on to the last χ of the type: rings are rigid. ψ is
N–CA–C–O turned by 180°, the backbone's ψ where the peptide bond that follows is planar, and places the oxygen.

    ψ       all types, and residues without one
    χ1      all but ALA and GLY           χ2      all but these, CYS, SER, THR and VAL
    χ3      ARG GLN GLU LYS MET           χ4      ARG LYS (χ5 of ARG is 0: its guanidinium is planar)

A half turn of χ2 of ASP, PHE and TYR and of χ3 of GLU gives the same residue with other names of atoms: these have the
period π. PRO has χ1 and χ2, and its ring closes as far as they fit to each other.

Bond lengths, angles and the planes of rings are Biopython's defaults of internal coordinates (``Bio.PDB.ic_data``: means
over chains of the Protein Data Bank). Lengths in Å.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langevin.modalities.protein.protein import ALPHABET, THREE, UNKNOWN, Protein, SideChains
from langevin.modalities.protein.rigid import C_O, CA_C_O, IDEAL
from langevin.modalities.residues import SIDE_CHAINS

__all__ = ["NAMES", "TORSIONS", "atoms_of", "defined", "periods", "side_chains", "torsions_of", "turned_by"]

TORSIONS = ("psi", "chi1", "chi2", "chi3", "chi4")
NAMES = tuple(("O", *SIDE_CHAINS[THREE[letter]]) for letter in ALPHABET) + (("O",),)
"""Names of the atoms of :func:`atoms_of` by type, of UNKNOWN last."""

_MOST = max(map(len, NAMES))  # atoms: the oxygen and ten of TRP
_CHIS = len(TORSIONS) - 1
_SYMMETRIC = {"D": 2, "E": 3, "F": 2, "Y": 2}  # the χ of period π
_FRAME = ("N", "CA", "C")
_FIRST = dict(zip(_FRAME, IDEAL))


@dataclass(frozen=True)
class _Geometry:
    """Ideal geometry by type.

    Attributes:
        has: (21, 5) bool, the torsions of each.
        quads: (21, 5, 4), the four atoms of each: places in N, CA, C and then NAMES of the type.
        group: (21, 11), of each atom: 0 the backbone, k that of χ_k.
        local: (21, 11, 3), where it is in its group, Å; of the oxygen nothing.
        turn, shift: (21, 4, 3, 3) and (21, 4, 3), the group of χ_k at χ_k = 0 in the one before.
    """

    has: Tensor
    quads: NDArray[np.int64]
    group: Tensor
    local: Tensor
    turn: Tensor
    shift: Tensor


def defined(types: Tensor) -> Tensor:
    """(…, 5) bool: which torsions residues of these types (…) have; UNKNOWN has ψ alone."""
    return _geometry().has.to(types.device)[types.long()]


def periods(types: Tensor) -> Tensor:
    """(…, 5) radians: π where a half turn gives the same residue, 2π otherwise."""
    table = torch.full((UNKNOWN + 1, len(TORSIONS)), 2 * math.pi)
    for letter, k in _SYMMETRIC.items():
        table[ALPHABET.index(letter), k] = math.pi
    return table.to(types.device)[types.long()]


def turned_by(one: Tensor, other: Tensor, types: Tensor) -> Tensor:
    """(…, 5) radians, from 0 to π: the angle between torsions (…, 5) of residues of these types (…), up to a period."""
    period = periods(types).to(one)
    apart = torch.remainder(one - other, period)
    return torch.minimum(apart, period - apart)


def torsions_of(protein: Protein) -> tuple[Tensor, Tensor]:
    """ψ and χ1 to χ4 of residues, (n, 5) float32 in radians, 0 where there is none; and (n, 5) bool, where there is one.

    One is there if the type has it and its four atoms have positions.
    """
    geometry, n = _geometry(), len(protein)
    types = protein.types.astype(np.int64)
    atoms = np.full((n, len(_FRAME) + _MOST, 3), np.nan)
    atoms[:, : len(_FRAME) + 1] = protein.backbone  # N CA C, and O is the first of NAMES
    if protein.side is not None:
        places = _places()
        kinds, names = types[protein.side.residue].tolist(), protein.side.name.tolist()
        slot = np.array([places.get(pair, -1) for pair in zip(kinds, names)], np.int64)
        known = slot >= 0
        atoms[protein.side.residue[known], slot[known]] = protein.side.xyz[known]
    chosen = np.take_along_axis(atoms[:, None], geometry.quads[types][..., None], 2)  # (n, 5, 4, 3)
    there = geometry.has.numpy()[types] & np.isfinite(chosen).all((2, 3))
    angles = _torsion(torch.from_numpy(np.where(there[..., None, None], chosen, 0.0)))
    angles[:, 0] = torch.remainder(angles[:, 0] + 2 * math.pi, 2 * math.pi) - math.pi
    mask = torch.from_numpy(there)
    return torch.where(mask, angles, 0.0).float(), mask


def atoms_of(rotations: Tensor, ca: Tensor, types: Tensor, torsions: Tensor) -> tuple[Tensor, Tensor]:
    """The oxygen and the heavy atoms of the side chain of residues, in the order of NAMES of their types.

    Args:
        rotations: (…, 3, 3), frames of residues.
        ca: (…, 3), Å.
        types: (…), UNKNOWN for a residue that has no side chain.
        torsions: (…, 5), radians; those that a type lacks are not looked at.

    Returns:
        (…, 11, 3) Å, and (…, 11) bool, which there are.
    """
    geometry, types = _geometry(), types.long().to(ca.device)
    turn, shift, local = (
        part.to(ca)[types] for part in (geometry.turn, geometry.shift, geometry.local)
    )  # (…, 4, 3, 3), (…, 4, 3), (…, 11, 3)
    turns, origins = [rotations], [ca]
    for k in range(_CHIS):
        origins.append(origins[-1] + (turns[-1] @ shift[..., k, :, None])[..., 0])
        turns.append(turns[-1] @ turn[..., k, :, :] @ _around_x(torsions[..., k + 1]))
    group = geometry.group.to(ca.device)[types][..., None]  # (…, 11, 1)
    own = torch.take_along_dim(torch.stack(turns, -3), group[..., None], -3)  # (…, 11, 3, 3)
    side = (own @ local[..., None])[..., 0] + torch.take_along_dim(torch.stack(origins, -2), group, -2)
    oxygen = ca + (rotations @ _oxygen(torsions[..., 0])[..., None])[..., 0]
    atoms = torch.cat([oxygen[..., None, :], side[..., 1:, :]], -2)
    count = torch.tensor([len(names) for names in NAMES], device=ca.device)[types]
    return atoms, torch.arange(_MOST, device=ca.device) < count[..., None]


def side_chains(atoms: Tensor, types: Tensor, chosen: Tensor | None = None) -> SideChains:
    """What :func:`atoms_of` gave, without the oxygens, as atoms with names.

    Args:
        atoms: (n, 11, 3), Å.
        types: (n,).
        chosen: (n,) bool, the residues whose side chains are wanted; all when None.
    """
    kinds = types.tolist()
    wanted = [True] * len(kinds) if chosen is None else chosen.tolist()
    rows = [
        (k, place, name)
        for k, kind in enumerate(kinds)
        if wanted[k]
        for place, name in enumerate(NAMES[kind])
        if place
    ]
    residue = np.array([k for k, _, _ in rows], np.int32)
    slots = np.array([place for _, place, _ in rows], np.int64)
    xyz = atoms.detach().cpu().numpy()[residue, slots].astype(np.float32).reshape(-1, 3)
    return SideChains(residue, np.array([name for _, _, name in rows], np.str_), xyz)


@functools.cache
def _places() -> dict[tuple[int, str], int]:
    """Place among N, CA, C and NAMES by type and name of the atom."""
    return {
        (kind, name): place
        for kind, names in enumerate(NAMES)
        for place, name in enumerate((*_FRAME, *names))
        if name not in (*_FRAME, "O")
    }


@functools.cache
def _geometry() -> _Geometry:
    """From Biopython's tables."""
    from langevin import optional

    optional.biopython()
    from Bio.PDB.ic_data import ic_data_sidechains
    from Bio.PDB.PICIO import read_PIC_seq
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    rows = UNKNOWN + 1
    has = torch.zeros(rows, len(TORSIONS), dtype=torch.bool)
    has[:, 0] = True
    quads = np.zeros((rows, len(TORSIONS), 4), np.int64)
    quads[:, 0] = range(4)  # N CA C O
    group = torch.zeros(rows, _MOST, dtype=torch.long)
    local = torch.zeros(rows, _MOST, 3, dtype=torch.float64)
    turn = torch.eye(3, dtype=torch.float64).repeat(rows, _CHIS, 1, 1)
    shift = torch.zeros(rows, _CHIS, 3, dtype=torch.float64)
    structure = read_PIC_seq(SeqRecord(Seq(ALPHABET), id="ideal"))
    for kind, residue in enumerate(structure.get_residues()):
        table, names = residue.internal_coord, [*_FRAME, *NAMES[kind]]
        at = {name: torch.tensor(xyz, dtype=torch.float64) for name, xyz in _FIRST.items()}
        chis: list[list[str]] = []
        if "CB" in names:
            at["CB"] = _beta(
                table.get_length("CA:CB"), table.get_angle("N:CA:CB"), table.get_angle("CB:CA:C")
            )
        for row in ic_data_sidechains.get(ALPHABET[kind], ()):
            a, b, c, d, *label = row if len(row) > 3 else (*row, "H")
            if d.startswith("H"):  # a hydrogen, or an angle
                continue
            length, angle = table.get_length(f"{c}:{d}"), table.get_angle(f"{b}:{c}:{d}")
            at[d] = _placed(at[a], at[b], at[c], length, angle, table.get_angle(f"{a}:{b}:{c}:{d}"))
            if label and len(chis) < _CHIS:
                chis.append([a, b, c, d])
        frames = [(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))]
        for k, quad in enumerate(chis):
            a, b, c, d = (at[name] for name in quad)
            before, origin = frames[-1]
            turn[kind, k] = before.T @ _axes(b, c, a - b)
            shift[kind, k] = before.T @ (c - origin)
            frames.append((_axes(b, c, d - c), c))
            has[kind, k + 1] = True
            quads[kind, k + 1] = [names.index(name) for name in quad]
        for place, name in enumerate(NAMES[kind]):
            if place:
                group[kind, place] = min("BGDEZH".index(name[1]), len(chis))
                own, origin = frames[int(group[kind, place])]
                local[kind, place] = own.T @ (at[name] - origin)
    return _Geometry(has, quads, group, local, turn, shift)


def _axes(b: Tensor, c: Tensor, toward: Tensor) -> Tensor:
    """(3, 3), columns: x along b→c, and y to the side of ``toward``."""
    x = (c - b) / (c - b).norm()
    y = toward - (toward @ x) * x
    y = y / y.norm()
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def _placed(a: Tensor, b: Tensor, c: Tensor, length: float, angle: float, torsion: float) -> Tensor:
    """A point at a length (Å) from c, with the angle b–c–d and the torsion a–b–c–d in degrees."""
    bend, turn = math.radians(angle), math.radians(torsion)
    step = (-math.cos(bend), math.sin(bend) * math.cos(turn), math.sin(bend) * math.sin(turn))
    return c + length * (_axes(b, c, a - b) @ torch.tensor(step, dtype=c.dtype))


def _beta(length: float, to_n: float, to_c: float) -> Tensor:
    """CB of an L residue, from the angles N–CA–CB and CB–CA–C in degrees."""
    n, c = (torch.tensor(_FIRST[name], dtype=torch.float64) for name in ("N", "C"))
    n, c = n / n.norm(), c / c.norm()
    inside, p, q = float(n @ c), math.cos(math.radians(to_n)), math.cos(math.radians(to_c))
    across = torch.linalg.cross(n, c)
    flat = ((p - q * inside) * n + (q - p * inside) * c) / (1 - inside**2)
    up = math.sqrt(1 - float(flat @ flat))
    return length * (flat + up * across / across.norm())


def _oxygen(psi: Tensor) -> Tensor:
    """(…, 3): O in the frame of its residue, Å."""
    n, ca, c = (torch.tensor(xyz, dtype=torch.float64) for xyz in IDEAL)
    bend, round_ = math.radians(CA_C_O), psi + math.pi
    step = [
        psi.new_full(psi.shape, -math.cos(bend)),
        *(math.sin(bend) * f(round_) for f in (torch.cos, torch.sin)),
    ]
    return c.to(psi) + C_O * (_axes(ca, c, n - ca).to(psi) @ torch.stack(step, -1)[..., None])[..., 0]


def _around_x(angle: Tensor) -> Tensor:
    """(…, 3, 3), turns around x."""
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [one, zero, zero, zero, angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos()]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def _torsion(points: Tensor) -> Tensor:
    """(…) radians, of four points (…, 4, 3)."""
    first, axis, last = (points[..., 1:, :] - points[..., :-1, :]).unbind(-2)
    p, q = torch.linalg.cross(first, axis), torch.linalg.cross(axis, last)
    return torch.atan2((first * q).sum(-1) * axis.norm(dim=-1), (p * q).sum(-1))
