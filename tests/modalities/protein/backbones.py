"""Backbones for tests, from torsions and ideal geometry, without data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.protein.protein import Protein

HELIX, STRAND, LOOP = (-62.0, -43.0), (-120.0, 130.0), (-75.0, 150.0)


def placed(a: NDArray, b: NDArray, c: NDArray, length: float, angle: float, torsion: float) -> NDArray:
    """A point at a length from c, with the angle b–c–d and the torsion a–b–c–d in degrees."""
    angle, torsion = math.radians(angle), math.radians(torsion)
    bc = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, bc)
    normal /= np.linalg.norm(normal)
    across = np.cross(normal, bc)
    local = -math.cos(angle) * bc + math.sin(angle) * (
        math.cos(torsion) * across + math.sin(torsion) * normal
    )
    return c + length * local


def built(torsions: Sequence[tuple[float, float]], cis: int | None = None) -> NDArray[np.float32]:
    """(n, 4, 3) Å, of (φ, ψ) in degrees; trans, but for the bond before residue ``cis``."""
    n, ca = np.zeros(3), np.array([1.458, 0, 0])
    c = placed(np.array([0.0, 1.0, 0.0]), n, ca, 1.525, 111.0, -60.0)
    out = [[n, ca, c]]
    for (_, psi), (phi, _) in zip(torsions[:-1], torsions[1:], strict=True):
        n = placed(*out[-1], 1.329, 117.2, psi)
        ca = placed(*out[-1][1:], n, 1.458, 121.7, 0.0 if len(out) == cis else 180.0)
        c = placed(out[-1][2], n, ca, 1.525, 111.0, phi)
        out.append([n, ca, c])
    atoms = []
    for k, (n, ca, c) in enumerate(out):
        turn = torsions[k][1] + 180.0
        atoms.append([n, ca, c, placed(n, ca, c, 1.231, 120.1, turn)])
    return np.array(atoms, np.float32)


def protein(
    torsions: Sequence[tuple[float, float]] | int = 40,
    types: str | None = None,
    chain: str = "A",
    seed: int = 0,
) -> Protein:
    """A chain of these torsions; of so many random ones from helices, strands and loops where a number is given."""
    rng = np.random.default_rng(seed)
    if isinstance(torsions, int):
        kinds = [(HELIX, STRAND, LOOP)[k] for k in rng.integers(0, 3, torsions)]
        torsions = [(a + rng.normal() * 8, b + rng.normal() * 8) for a, b in kinds]
    n = len(torsions)
    letters = "ACDEFGHIKLMNPQRSTVWY"
    indices = [letters.index(x) for x in types] if types else rng.integers(0, 20, n)
    return Protein(
        built(torsions),
        np.array(indices, np.int8),
        np.full(n, chain),
        np.arange(1, n + 1, dtype=np.int32),
        np.full(n, ""),
    )
