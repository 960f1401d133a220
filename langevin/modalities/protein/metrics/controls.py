"""Backbones that a measure must tell from real ones: an ideal helix, a random walk, mirror images.

helix          right: every bond, Ramachandran; wrong: no strand, not compact, all designs alike
random walk    right: CA–CA, geometry inside residues; wrong: all else between residues, clashes, no structure
mirror         right: lengths, angles, compactness; wrong: phi > 0, Ramachandran
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from langevin.modalities.protein import rigid
from langevin.modalities.protein.protein import UNKNOWN, Protein

__all__ = ["from_torsions", "helix", "mirrored", "protein_of", "random_walk"]

HELIX = (-57.8, -47.0)  # phi and psi, degrees, of the alpha helix of Arnott & Dover (1967)
TRANS = 180.0


def protein_of(backbone: ArrayLike, chain: str = "A") -> Protein:
    """A chain without types of backbones (n, 4, 3), Å, numbered from 1."""
    atoms = np.asarray(backbone, np.float32)
    n = len(atoms)
    return Protein(
        atoms,
        np.full(n, UNKNOWN, np.int8),
        np.full(n, chain),
        np.arange(1, n + 1, dtype=np.int32),
        np.full(n, ""),
    )


def from_torsions(phi: Sequence[float], psi: Sequence[float], omega: float = TRANS) -> Protein:
    """A chain of ideal geometry.

    Args:
        phi, psi: (n,) degrees; the first phi and the last psi are not used.
        omega: of all bonds, degrees.

    Raises:
        ValueError: no residues, or as many phi as there are no psi.
    """
    if not len(phi) or len(phi) != len(psi):
        raise ValueError(f"each residue has a phi and a psi; got {len(phi)} and {len(psi)}")
    corner = math.radians(rigid.N_CA_C)
    atoms: list[NDArray[np.float64]] = [
        np.array([rigid.N_CA, 0.0, 0.0]),
        np.zeros(3),
        rigid.CA_C * np.array([math.cos(corner), math.sin(corner), 0.0]),
    ]
    for k in range(1, len(phi)):
        for length, angle, torsion in (
            (rigid.C_N, rigid.CA_C_N, psi[k - 1]),
            (rigid.N_CA, rigid.C_N_CA, omega),
            (rigid.CA_C, rigid.N_CA_C, phi[k]),
        ):
            a, b, c = atoms[-3:]
            atoms.append(_placed(a, b, c, length, math.radians(angle), math.radians(torsion)))
    return _with_oxygens(np.stack(atoms).reshape(-1, 3, 3))


def helix(n: int) -> Protein:
    """An ideal alpha helix of n residues."""
    return from_torsions([HELIX[0]] * n, [HELIX[1]] * n)


def random_walk(n: int, rng: np.random.Generator) -> Protein:
    """n rigid residues with random turns, their CA on a walk of steps of 3.8 Å in random directions."""
    steps = rng.standard_normal((n, 3))
    steps *= rigid.CA_CA / np.linalg.norm(steps, axis=1, keepdims=True)
    turns, _ = np.linalg.qr(rng.standard_normal((n, 3, 3)))
    turns *= np.linalg.det(turns)[:, None, None]
    atoms = rigid.ideal_atoms(torch.from_numpy(turns), torch.from_numpy(np.cumsum(steps, 0)))
    return _with_oxygens(atoms.numpy())


def mirrored(protein: Protein) -> Protein:
    """The mirror image of a protein, without its types and side chains."""
    image = protein.backbone * np.array([-1, 1, 1], np.float32)
    n = len(protein)
    return Protein(image, np.full(n, UNKNOWN, np.int8), protein.chains, protein.numbers, protein.insertions)


def _with_oxygens(atoms: NDArray[np.float64]) -> Protein:
    oxygens = rigid.oxygens(torch.from_numpy(atoms)).numpy()
    return protein_of(np.concatenate([atoms, oxygens[:, None]], 1))


def _placed(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    length: float,
    angle: float,
    torsion: float,
) -> NDArray[np.float64]:
    """The point bound to c, with an angle at c and a torsion about b–c (radians)."""
    along = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, along)
    normal /= np.linalg.norm(normal)
    side = np.cross(normal, along)
    return c + length * (
        -math.cos(angle) * along + math.sin(angle) * (math.cos(torsion) * side + math.sin(torsion) * normal)
    )
