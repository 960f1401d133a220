"""A protein as ribbons: helices and strands as flat bands, strands with an arrow at their end, the rest as a tube.

A band follows a cubic Hermite curve through the CA atoms. With v = 2 CA(i) - CA(i-1) - CA(i+1), which points out of a
helix and across the pleats of a sheet, and the direction t = CA(i+1) - CA(i-1) of the chain, it lies along v × t: along
the axis of a helix, in the plane of a sheet. The sign is that of the residue before, so that the band does not twist by
the pleats (the idea is M. Carson and C. Bugg's, J. Mol. Graphics 4:121, 1986, who took the plane of the peptide; by the
CA atoms it needs no oxygen). Strands are smoothed over three residues, so that they are flat.

What is drawn is a list of strips. A strip is a row of rungs, each a closed section across the strip

    p(θ) = c + w s sgn(cos θ) |cos θ|^e + h u sgn(sin θ) |sin θ|^e

at a centre c with half the width w along a side s and half the height h along u = t × s. e is 1 for a round section and
0.6 for a flat one (:func:`exponents`). Side chains are strips too, round ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.protein.protein import Protein
from langevin.modalities.protein.secondary import runs

__all__ = ["Strips", "chain_strips", "exponents", "side_strips"]

Floats: TypeAlias = NDArray[np.float32]

TUBE, THIN, BALL = 0.36, 0.14, 1.0  # radii of loops, gaps and of a residue alone, Å
STICK = 0.22  # of side chains
HELIX, STRAND, ARROW = (1.42, 0.24), (1.15, 0.26), 2.0  # half width and height; half width of an arrow's base
HEAD = 1.45  # residues that an arrow's head is long
BLEND = 0.7  # residues in which a band widens
TENSION = {"H": 0.93, "E": 0.5, "-": 0.5}  # of the curve: 0.93 makes steps of 100° round
CAP = (30.0, 60.0, 90.0)  # degrees of the rungs of a round end
BOND = 1.95  # Å: side-chain atoms that are nearer are bonded
GAP = 45.0  # Å over which missing residues are marked by dashes
DASH = 1.1  # Å, as are the spaces


@dataclass(frozen=True, eq=False)
class Strips:
    """Rows of rungs, one after another.

    Attributes:
        centres: (r, 3) Å.
        sides: (r, 3) of length 1.
        halves: (r, 2) half width and half height, Å.
        residues: (r,) the residue that each rung belongs to.
        starts: (s + 1,) the first rung of each strip, and their number.
        tints: (s,) colour of a strip, an index; -1 where it has that of its residues.
    """

    centres: Floats
    sides: Floats
    halves: Floats
    residues: NDArray[np.int32]
    starts: NDArray[np.int32]
    tints: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.tints)

    @staticmethod
    def of(rows: Sequence[tuple[Any, ...]]) -> Strips:
        """Strips from (centres, sides, halves, residues, tint) of each."""
        if not rows:
            empty = np.zeros((0, 3), np.float32)
            none = np.zeros(0, np.int32)
            return Strips(empty, empty, empty[:, :2], none, np.zeros(1, np.int32), none)
        centres, sides, halves, residues = (np.concatenate([row[k] for row in rows]) for k in range(4))
        starts = np.cumsum([0, *(len(row[0]) for row in rows)])
        return Strips(
            centres.astype(np.float32),
            sides.astype(np.float32),
            halves.astype(np.float32),
            residues.astype(np.int32),
            starts.astype(np.int32),
            np.array([row[4] for row in rows], np.int32),
        )

    def join(self, other: Strips, offset: int = 0) -> Strips:
        """These strips and then others, whose residues count from ``offset``."""
        return Strips(
            np.concatenate([self.centres, other.centres]),
            np.concatenate([self.sides, other.sides]),
            np.concatenate([self.halves, other.halves]),
            np.concatenate([self.residues, other.residues + np.int32(offset)]),
            np.concatenate([self.starts, other.starts[1:] + self.starts[-1]]),
            np.concatenate([self.tints, other.tints]),
        )


def exponents(halves: NDArray[Any]) -> NDArray[Any]:
    """(r,) the e of each section: 1 for a round one, 0.6 from a width of three heights on."""
    ratio = halves[:, 0] / np.maximum(halves[:, 1], 1e-6)
    return np.asarray(1 - 0.4 * ((ratio - 1) / 2).clip(0, 1))


def chain_strips(protein: Protein, letters: str, per: int = 6, dashes: bool = True) -> tuple[Strips, Floats]:
    """The ribbons of all chains.

    Args:
        protein: what is drawn.
        letters: secondary structure, H, E or - for each residue; all - gives a tube.
        per: rungs for each residue.
        dashes: mark missing residues by dashes from one end of the gap to the other.

    Returns:
        Strips, and (n, 3) where the ribbon passes each residue, from which its side chain starts.
    """
    ca = protein.backbone[:, 1].astype(np.float64)
    starts = np.flatnonzero(protein.breaks).tolist()
    rows: list[tuple[Any, ...]] = []
    passed = ca.copy()
    for a, b in zip(starts, [*starts[1:], len(ca)]):
        if np.ptp(ca[a:b], axis=0).max() < 1e-3:  # one residue, or all at one place
            rows.append((*_ball(ca[a], BALL), np.full(7, a), -1))
        else:
            row, passed[a:b] = _band(ca[a:b], letters[a:b], per)
            rows.append((*row[:3], row[3] + a, -1))
    for b in starts[1:] if dashes else ():
        apart = float(np.linalg.norm(passed[b - 1] - passed[b]))
        if 0 < apart < GAP and protein.chains[b - 1] == protein.chains[b]:
            for ends in _dashes(passed[b - 1], passed[b], apart):
                rows.append((*ends, np.full(len(ends[0]), b - 1), -1))
    return Strips.of(rows), passed.astype(np.float32)


def side_strips(
    protein: Protein, chosen: NDArray[np.bool_], passed: NDArray[Any], palette: Sequence[str]
) -> Strips:
    """Side chains of some residues as sticks, each half of a bond in the colour of its element.

    Args:
        protein: with ``side``.
        chosen: (n,) which residues.
        passed: (n, 3) where the ribbon is.
        palette: elements in the order of the strips' tints; carbon, which is not in it, has its residue's colour.
    """
    rows: list[tuple[Any, ...]] = []
    if protein.side is None:
        return Strips.of(rows)
    for k in np.flatnonzero(chosen).tolist():
        atoms = {name: xyz for name, xyz in protein.side.of(k).items() if name != "OXT"}
        names = ["CA", *atoms]
        places = np.array([protein.backbone[k, 1], *atoms.values()], dtype=np.float64)
        away = np.linalg.norm(places[:, None] - places, axis=-1)
        places[0] = passed[k]
        for i, j in zip(*np.nonzero(np.triu(away < BOND, 1))):
            centre = (places[i] + places[j]) / 2
            for end in (i, j):
                element = names[end][0]
                row = _capsule(places[end], centre, STICK)
                tint = palette.index(element) if element in palette else -1
                rows.append((*row, np.full(len(row[0]), k), tint))
    return Strips.of(rows)


def _band(ca: NDArray[Any], letters: str, per: int) -> tuple[tuple[NDArray[Any], ...], NDArray[Any]]:
    """Rungs of one unbroken stretch of two residues or more, and the points (n, 3) that it passes."""
    n = len(ca)
    bands = [(key, a, b) for key, a, b in runs(letters) if key != "-" and b - a >= 3]
    along = np.concatenate([2 * ca[:1] - ca[1:2], ca, 2 * ca[-1:] - ca[-2:-1]])
    out, forward = 2 * ca - along[:-2] - along[2:], along[2:] - along[:-2]
    sides = np.cross(out, forward)
    if n > 2:
        sides[0], sides[-1] = sides[1], sides[-2]
    short = np.linalg.norm(sides, axis=1) < 1e-3
    sides[short] = np.cross(forward[short], np.eye(3)[np.abs(forward[short]).argmin(1)])
    sides /= np.maximum(np.linalg.norm(sides, axis=1, keepdims=True), 1e-9)
    turned = np.sign((sides[1:] * sides[:-1]).sum(1))
    sides[1:] *= np.cumprod(np.where(turned < 0, -1, 1))[:, None]

    points, tension = ca.copy(), np.full(n, TENSION["-"])
    for key, a, b in bands:
        tension[a:b] = TENSION[key]
        if key == "E":
            inside = np.arange(max(a, 1), min(b, n - 1))
            points[inside] = (ca[inside - 1] + 2 * ca[inside] + ca[inside + 1]) / 4
            sides[inside] = sides[inside - 1] + 2 * sides[inside] + sides[inside + 1]
    along = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    slopes = tension[:, None] * (along[2:] - along[:-2])

    heads = [b - 0.6 - min(HEAD, 0.55 * (b - a)) for key, a, b in bands if key == "E"]
    s = np.concatenate([np.linspace(0, n - 1, (n - 1) * per + 1), *([e - 1e-4, e + 1e-4] for e in heads)])
    s = np.sort(s)
    i = np.minimum(s.astype(int), n - 2)
    u = (s - i)[:, None]
    centres = (
        (2 * u**3 - 3 * u**2 + 1) * points[i]
        + (u**3 - 2 * u**2 + u) * slopes[i]
        + (3 * u**2 - 2 * u**3) * points[i + 1]
        + (u**3 - u**2) * slopes[i + 1]
    )
    across = (1 - u) * sides[i] + u * sides[i + 1]
    halves = _halves(s, bands)
    residues = np.floor(s + 0.5).clip(0, n - 1)
    tangents = np.gradient(centres, axis=0)
    first, last = (_cap(centres[k], tangents[k] * sign, halves[k].min()) for k, sign in ((0, -1), (-1, 1)))
    shrink = np.cos(np.radians(CAP))[:, None]
    centres = np.concatenate([first[::-1], centres, last])
    halves = np.concatenate([halves[0] * shrink[::-1], halves, halves[-1] * shrink])
    across = np.concatenate([across[:1].repeat(3, 0), across, across[-1:].repeat(3, 0)])
    residues = np.concatenate([residues[:1].repeat(3), residues, residues[-1:].repeat(3)])
    return (centres, _upright(across, np.gradient(centres, axis=0)), halves, residues), points


def _halves(s: NDArray[Any], bands: Sequence[tuple[str, int, int]]) -> NDArray[Any]:
    """(r, 2) half widths and heights at the places ``s``, in residues."""
    halves = np.full((len(s), 2), TUBE)

    def smooth(x: NDArray[Any]) -> NDArray[Any]:
        x = x.clip(0, 1)
        return x * x * (3 - 2 * x)

    for key, a, b in bands:
        first, last = a - 0.4, b - 0.6
        wide = np.array(HELIX if key == "H" else STRAND)
        share = smooth((s - first) / BLEND) * smooth((last - s) / (BLEND if key == "H" else 0.25))
        inside = (s >= first) & (s <= last)
        halves[inside] += (share[:, None] * (wide - TUBE))[inside]
        if key == "E":
            length = min(HEAD, 0.55 * (b - a))
            head = inside & (s > last - length)
            halves[head, 0] = TUBE + (ARROW - TUBE) * (last - s[head]) / length
    return halves


def _cap(centre: NDArray[Any], direction: NDArray[Any], radius: float) -> NDArray[Any]:
    """(3, 3) centres of the rungs of a round end."""
    direction = direction / max(np.linalg.norm(direction), 1e-9)
    return np.asarray(centre + radius * np.sin(np.radians(CAP))[:, None] * direction)


def _upright(sides: NDArray[Any], tangents: NDArray[Any]) -> NDArray[Any]:
    """Sides made perpendicular to the tangents."""
    tangents = tangents / np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9)
    sides = sides - (sides * tangents).sum(1, keepdims=True) * tangents
    return np.asarray(sides / np.maximum(np.linalg.norm(sides, axis=1, keepdims=True), 1e-9))


def _capsule(a: NDArray[Any], b: NDArray[Any], radius: float) -> tuple[NDArray[Any], ...]:
    """A stick from a to b, round at a and flat at b: centres, sides and halves."""
    axis = (b - a) / max(np.linalg.norm(b - a), 1e-9)
    side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    side /= np.linalg.norm(side)
    centres = np.concatenate([_cap(a, -axis, radius)[::-1], [a, b]])
    halves = radius * np.concatenate([np.cos(np.radians(CAP))[::-1], [1, 1]])
    return centres, np.tile(side, (5, 1)), np.stack([halves, halves], 1)


def _ball(centre: NDArray[Any], radius: float) -> tuple[NDArray[Any], ...]:
    """Centres, sides and halves of a ball."""
    angles = np.radians([-90, -60, -30, 0, 30, 60, 90])
    centres = centre + radius * np.sin(angles)[:, None] * np.array([1.0, 0, 0])
    halves = radius * np.cos(angles)
    return centres, np.tile([0.0, 1, 0], (7, 1)), np.stack([halves, halves], 1)


def _dashes(a: NDArray[Any], b: NDArray[Any], apart: float) -> list[tuple[Any, ...]]:
    """Short sticks on the line from a to b."""
    count = max(1, int(apart / (2 * DASH)))
    out: list[tuple[Any, ...]] = []
    for k in range(count):
        middle = a + (b - a) * (k + 0.5) / count
        half = (b - a) / apart * DASH / 2
        centres, sides, halves = _capsule(middle - half, middle, THIN)
        out.append((
            np.concatenate([centres, 2 * middle - centres[::-1]]), np.tile(sides[:1], (10, 1)),
            np.concatenate([halves, halves[::-1]]),
        ))  # fmt: skip
    return out
