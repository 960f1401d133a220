"""Balls and sticks: a molecule as geometry, and a still picture of it without a graphics library.

A scene holds spheres (atoms) and cylinders (bonds) in Å, turned so that the molecule shows its broad side:
x to the right, y up, z towards the reader. The picture is orthographic. Each pixel (x, y) keeps the surface
nearest to the reader,

    sphere     z = c_z + sqrt(r² - |(x, y) - c|²)
    cylinder   z = p_z + s a_z + h sqrt(1 - a_z²),   h = sqrt(r² - e²)

with the axis a from p, e the distance of the pixel from the axis on the screen, and s the length along the axis
(the line of sight meets the cylinder at s = (u + h a_z) / sqrt(1 - a_z²), u the distance along the axis on the
screen). The surface is then lit: a soft light from above left, a small highlight, contours where the depth
jumps, distance fading out, and shade from near atoms by the closed form for a sphere,

    occlusion = max(0, n · d / |d|) (R / |d|)²

(I. Quilez, "Sphere ambient occlusion", 2007). ``viewer.js`` draws the same picture in a browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.turning import FADE, HALF, LIGHT, contour, middle, oriented, shrunk
from langevin.modalities.turning import rgb as _rgb

if TYPE_CHECKING:
    from PIL.Image import Image
    from rdkit.Chem import Mol

    from langevin.modalities.molecule.pockets import Pocket
else:
    Mol: TypeAlias = Any

__all__ = ["Scene", "render"]

Floats: TypeAlias = NDArray[np.float32]

# Carbon and hydrogen in greys that stand out on light and on dark ground; the others in their usual hues.
COLOURS = {
    0: "#d977c8", 1: "#f2f2f2", 3: "#b57be0", 5: "#f0a58f", 6: "#7d838c", 7: "#3f62e8", 8: "#e5322d", 9: "#8fdc5a",
    11: "#a06be0", 12: "#57a83a", 13: "#b9a3a3", 14: "#dcb27a", 15: "#f08a24", 16: "#e8c628", 17: "#27a844",
    19: "#8f55d4", 20: "#4e9a2f", 26: "#d9682e", 27: "#e58aa0", 28: "#54c454", 29: "#c58038", 30: "#7d80b0",
    33: "#b57fd6", 34: "#ef9b22", 35: "#a8402c", 50: "#668f99", 53: "#8a2fa6",
}  # fmt: skip
OTHER = "#c86f9a"
TINTS = ("#17a2a2", "#e0a021", "#b65fcf", "#7fae2a")  # of carbon in the second molecule of an overlay and on
THINNER = (1.0, 0.6, 0.52)  # the sticks of a single, double and triple bond
ASIDE = (0.0, 0.125, 0.17)  # from the axis to the outer sticks, Å
FAINT = (0.45, 184)  # kept atoms beside new ones: how much of a grey they have
STICK, THIN = 0.115, 0.13  # radii of bonds with balls and without, Å
LINE, ION = 0.04, 0.45  # radii of a pocket's bonds and metals, Å
WALL = "#a9adb5"  # of a pocket's carbons
AROUND = 3.5  # Å of the pocket that are seen beside the ligand
SMALLEST = 2.1  # Å from the centre to the edge at least: methane does not fill a card
REACH = 2.9  # Å within which atoms shade each other
NEAR = 10  # how many of them count


@dataclass(frozen=True, eq=False)
class Scene:
    """What is drawn.

    Attributes:
        numbers: (n,) atomic numbers.
        indices: (n,) place of each atom in its molecule.
        charges: (n,) formal charges.
        positions: (n, 3) Å, turned and centred.
        radii: (n,) of the balls, Å.
        colours: (n, 3) uint8.
        bonds: (m, 3) rows (i, j, order), order 1, 2 or 3.
        aside: (m, 3) from the axis of a multiple bond to its outer stick, Å.
        radius: from the centre to the edge of the picture, Å.
        stick: radius of a single bond, Å.
        around: how many atoms, the last ones, are of a pocket and drawn as lines.
    """

    numbers: NDArray[np.int64]
    indices: NDArray[np.int64]
    charges: NDArray[np.int64]
    positions: Floats
    radii: Floats
    colours: NDArray[np.uint8]
    bonds: NDArray[np.int64]
    aside: Floats
    radius: float
    stick: float
    around: int = 0

    @staticmethod
    def of(mols: Sequence[Mol], hydrogens: bool = True) -> Scene:
        """Molecules in one frame: balls and sticks for one, sticks in several colours for more.

        Args:
            mols: rdkit molecules with a conformer, as they lie; they need not be sanitised. In a single one of which
                some atoms are kept (:mod:`langevin.modalities.molecule.kept`) these are faint, and carbons among the
                others have a colour of their own.
            hydrogens: draw them.

        Raises:
            ValueError: why there is nothing to draw: no atoms, no conformer, coordinates that are no numbers.
        """
        from rdkit.Chem import GetPeriodicTable

        parts = [_read(mol, hydrogens) for mol in mols]
        if not parts or not any(len(part[0]) for part in parts):
            raise ValueError("has no atoms")
        starts = np.cumsum([0, *(len(part[0]) for part in parts)])
        numbers, indices, charges = (np.concatenate([part[k] for part in parts]) for k in range(3))
        places = np.concatenate([part[3] for part in parts])
        bonds = np.concatenate([part[4] + [start, start, 0] for part, start in zip(parts, starts)])
        if not np.isfinite(places).all():
            raise ValueError("has coordinates that are not finite")
        first = slice(0, starts[1]) if starts[1] else slice(None)
        places = oriented(places, places[first], np.where(numbers[first] > 1, 3.0, 1.0))
        from langevin.modalities.molecule.kept import kept_atoms

        table, alone = GetPeriodicTable(), len(parts) == 1
        covalent = np.array([table.GetRcovalent(int(z)) if z else 0.7 for z in numbers])
        radii = 0.18 + 0.25 * covalent if alone else np.full(len(numbers), THIN)
        colours = np.array([_rgb(COLOURS.get(int(z), OTHER)) for z in numbers], dtype=np.uint8)
        for k in range(1, len(parts)):
            _tint(colours, numbers, np.arange(len(numbers)) >= starts[k], TINTS[(k - 1) % len(TINTS)])
        old = np.isin(indices, kept_atoms(mols[0])) if alone else np.zeros(len(numbers), bool)
        if old.any() and not old.all():
            _tint(colours, numbers, ~old, TINTS[0])
            share, grey = FAINT
            colours[old] = ((1 - share) * colours[old] + share * grey).astype(np.uint8)
        places = places - middle(places)
        radius = max(SMALLEST, float((np.linalg.norm(places, axis=1) + radii).max()) * 1.03)
        return Scene(
            numbers,
            indices,
            charges,
            places.astype(np.float32),
            radii.astype(np.float32),
            colours,
            bonds,
            _aside(places, bonds),
            radius,
            STICK if alone else THIN,
        )

    @staticmethod
    def inside(mol: Mol, pocket: Pocket, hydrogens: bool = True, reach: float = 5.0) -> Scene:
        """A ligand as sticks among the lines of a pocket, of which the edge of the picture may cut some off.

        Args:
            mol: the ligand, in the frame of the pocket.
            pocket: residues of which an atom lies within ``reach`` Å of one of the ligand's are drawn; their place in
                the pocket is in ``indices``.
            hydrogens: draw those of the ligand.

        Raises:
            ValueError: as :meth:`of`.
        """
        from langevin.modalities.molecule.pockets import Role

        numbers, _, charges, places, bonds = found = _read(mol, hydrogens)
        alone = Scene.of([mol], hydrogens)  # checks it
        apart = np.linalg.norm(pocket.positions[:, None] - places[None], axis=-1).min(1)
        near = np.flatnonzero(np.isin(pocket.owners, pocket.owners[apart <= reach]))
        joined, place = pocket.bonds(), np.full(len(pocket), -1)
        place[near] = len(numbers) + np.arange(len(near))
        joined = place[joined]
        joined = joined[(joined >= 0).all(1)]
        lines = np.column_stack([joined, np.ones(len(joined), np.int64)])
        every = np.concatenate([places, pocket.positions[near].astype(np.float64)])
        every = oriented(every, places, np.where(numbers > 1, 3.0, 1.0))
        every = every - middle(every[: len(numbers)])
        both = np.concatenate([bonds, lines])
        metal = pocket.roles[near] == Role.METAL
        walls = np.array([_rgb(WALL)] * len(near), dtype=np.float64).reshape(-1, 3)
        tints = np.array([_rgb(COLOURS.get(int(z), OTHER)) for z in pocket.numbers[near]]).reshape(-1, 3)
        polar = (pocket.numbers[near] != 6)[:, None]
        colours = np.where(metal[:, None], tints, np.where(polar, 0.5 * walls + 0.5 * tints, walls))
        own = np.where((numbers == 6)[:, None], np.array(_rgb(TINTS[0])), alone.colours)
        return Scene(
            np.concatenate([numbers, pocket.numbers[near].astype(np.int64)]),
            np.concatenate([found[1], near]),
            np.concatenate([charges, np.zeros(len(near), np.int64)]),
            every.astype(np.float32),
            np.concatenate([np.full(len(numbers), THIN), np.where(metal, ION, LINE)]).astype(np.float32),
            np.concatenate([own, colours]).astype(np.uint8),
            both,
            _aside(every, both),
            float(np.linalg.norm(every[: len(numbers)], axis=1).max()) + AROUND,
            THIN,
            len(near),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def sticks(self) -> Sticks:
        """The cylinders of all bonds."""
        ends, starts, stops, radii = [], [], [], []
        for (i, j, order), away in zip(self.bonds, self.aside):
            for side in ((0,), (-1, 1), (-1, 0, 1))[order - 1]:
                ends.append((i, j))
                starts.append(self.positions[i] + side * away)
                stops.append(self.positions[j] + side * away)
                radii.append(LINE if i >= len(self) - self.around else self.stick * THINNER[order - 1])
        axes = np.array(stops, dtype=np.float32).reshape(-1, 3) - np.array(starts).reshape(-1, 3)
        lengths = np.maximum(np.linalg.norm(axes, axis=1), 1e-6)
        return Sticks(
            np.array(ends, dtype=np.int64).reshape(-1, 2),
            np.array(starts, dtype=np.float32).reshape(-1, 3),
            (axes / lengths[:, None]).astype(np.float32),
            lengths.astype(np.float32),
            np.array(radii, dtype=np.float32),
        )


@dataclass(frozen=True, eq=False)
class Sticks:
    """Cylinders.

    Attributes:
        ends: (k, 2) atoms.
        starts: (k, 3) Å, of the axis at the first atom.
        axes: (k, 3) of length 1.
        lengths: (k,) Å.
        radii: (k,) Å.
    """

    ends: NDArray[np.int64]
    starts: Floats
    axes: Floats
    lengths: Floats
    radii: Floats


def _read(mol: Mol, hydrogens: bool) -> tuple[NDArray[Any], ...]:
    """Numbers, indices, charges, positions and Kekulé bonds of a molecule."""
    from rdkit import Chem

    from langevin.modalities.molecule.atoms import quiet

    if mol.GetNumAtoms() and not mol.GetNumConformers():
        raise ValueError("has no conformer")
    if any(bond.GetIsAromatic() for bond in mol.GetBonds()):
        kekule = Chem.Mol(mol)
        try:
            with quiet():
                Chem.Kekulize(kekule, clearAromaticFlags=True)
            mol = kekule
        except ValueError:
            pass  # shown with single bonds
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)
    charges = np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()], dtype=np.int64)
    places = mol.GetConformer().GetPositions() if len(numbers) else np.zeros((0, 3))
    rows = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), int(min(3, max(1, bond.GetBondTypeAsDouble()))))
        for bond in mol.GetBonds()
    ]
    bonds = np.array(rows, dtype=np.int64).reshape(-1, 3)
    keep = np.ones(len(numbers), dtype=bool) if hydrogens or not (numbers != 1).any() else numbers != 1
    place = np.cumsum(keep) - 1
    bonds = bonds[keep[bonds[:, 0]] & keep[bonds[:, 1]]]
    bonds[:, :2] = place[bonds[:, :2]]
    return numbers[keep], np.flatnonzero(keep), charges[keep], places[keep], bonds


def _tint(colours: NDArray[np.uint8], numbers: NDArray[np.int64], mine: NDArray[Any], tint: str) -> None:
    """Gives carbons a colour and hydrogens a paler one, in place, where ``mine``."""
    strong = np.array(_rgb(tint), dtype=np.uint8)
    colours[mine & (numbers == 6)] = strong
    colours[mine & (numbers == 1)] = (0.35 * strong + 0.65 * 240).astype(np.uint8)


def _aside(places: NDArray[Any], bonds: NDArray[np.int64]) -> Floats:
    """(m, 3) across each multiple bond, in the plane of its neighbours."""
    out = np.zeros((len(bonds), 3))
    around: dict[int, list[int]] = {}
    for i, j, _ in bonds:
        around.setdefault(int(i), []).append(int(j))
        around.setdefault(int(j), []).append(int(i))
    for row, (i, j, order) in enumerate(bonds):
        axis = places[j] - places[i]
        length = np.linalg.norm(axis)
        if order == 1 or length < 1e-3:
            continue
        axis = axis / length
        arms = [places[k] - places[end] for end in (i, j) for k in around[int(end)] if k not in (i, j)]
        arms = [arm - (arm @ axis) * axis for arm in (*arms, np.eye(3)[np.abs(axis).argmin()])]
        arm = next((arm for arm in arms if np.linalg.norm(arm) > 0.25), arms[-1])
        out[row] = arm / np.linalg.norm(arm) * ASIDE[order - 1]
    return out.astype(np.float32)


def render(scene: Scene, size: int = 160, detail: int = 2) -> Image:
    """A picture with a transparent ground.

    Args:
        scene: what is drawn.
        size: pixels of a side.
        detail: samples of a pixel along each side.
    """
    side = size * detail
    ticks = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1) * np.float32(scene.radius)
    depth = np.full((side, side), -np.inf, dtype=np.float32)
    part = np.full((side, side), -1, dtype=np.int32)  # balls, then sticks

    def window(low: Floats, high: Floats) -> tuple[tuple[slice, slice], Any, Any]:
        across = slice(*np.searchsorted(ticks, [low[0], high[0]]))
        down = slice(*np.searchsorted(ticks, [-high[1], -low[1]]))
        return (down, across), ticks[None, across], -ticks[down, None]

    def put(view: tuple[slice, slice], z: Floats, k: int) -> None:
        nearer = z > depth[view]  # NaN, beside the surface, is not
        np.copyto(depth[view], z, where=nearer)
        np.copyto(part[view], k, where=nearer)

    sticks = scene.sticks()
    with np.errstate(invalid="ignore"):
        for k, (c, r) in enumerate(zip(scene.positions, scene.radii)):
            view, x, y = window(c - r, c + r)
            put(view, c[2] + np.sqrt(r * r - (x - c[0]) ** 2 - (y - c[1]) ** 2), k)
        for k, (p, a, length, r) in enumerate(zip(sticks.starts, sticks.axes, sticks.lengths, sticks.radii)):
            flat = np.hypot(a[0], a[1])
            if flat < 1e-3:
                continue  # seen from its end: behind a ball
            ux, uy = a[:2] / flat
            q = p + length * a
            view, x, y = window(np.minimum(p, q) - r, np.maximum(p, q) + r)
            u, e = (x - p[0]) * ux + (y - p[1]) * uy, (y - p[1]) * ux - (x - p[0]) * uy
            h = np.sqrt(r * r - e * e)
            s = (u + h * a[2]) / flat
            put(view, np.where((s >= 0) & (s <= length), p[2] + s * a[2] + h * flat, np.nan), len(scene) + k)

    seen = part >= 0
    rows, columns = np.nonzero(seen)
    points = np.stack([ticks[columns], -ticks[rows], depth[seen]], 1)
    samples = np.zeros((side, side, 4), dtype=np.float32)
    samples[seen] = _lit(scene, sticks, points, part[seen], contour(depth, detail)[seen])
    return shrunk(samples, detail)


def _neighbours(scene: Scene, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """(balls + sticks, NEAR) atoms that shade each part, -1 where there are fewer."""
    away = np.linalg.norm(scene.positions[:, None] - scene.positions[None], axis=-1)
    if scene.around:  # lines neither shade nor are shaded
        away[:, -scene.around :] = away[-scene.around :] = 1e3
    others = away + 1e3 * np.eye(len(scene), dtype=np.float32)
    parts = np.concatenate([others, np.minimum(away[ends[:, 0]], away[ends[:, 1]])])
    order = np.argsort(parts, axis=1, kind="stable")[:, :NEAR]
    return np.where(np.take_along_axis(parts, order, 1) < REACH, order, -1)


def _lit(scene: Scene, sticks: Sticks, points: Floats, part: NDArray[np.int32], contour: Floats) -> Floats:
    """Colour of surface points (N, 3), as (N, 4) with alpha multiplied in."""
    n = len(scene)
    tint = np.minimum(part, n - 1)
    centre, radius = scene.positions[tint], scene.radii[tint]
    of_stick = part >= n
    if of_stick.any():
        which = part[of_stick] - n
        start, axis = sticks.starts[which], sticks.axes[which]
        along = ((points[of_stick] - start) * axis).sum(1)
        centre[of_stick], radius[of_stick] = start + along[:, None] * axis, sticks.radii[which]
        tint[of_stick] = sticks.ends[which, (along > sticks.lengths[which] / 2).astype(int)]
    normal = (points - centre) / radius[:, None]
    shade = np.zeros(len(points), dtype=np.float32)
    for column in _neighbours(scene, sticks.ends).T:
        near = column[part]
        at = np.flatnonzero(near >= 0)
        to = scene.positions[near[at]] - points[at]
        square = np.maximum(np.einsum("ij,ij->i", to, to), 1e-4)
        facing = np.maximum(0, np.einsum("ij,ij->i", to, normal[at])) / np.sqrt(square)
        shade[at] += facing * np.minimum(1, (scene.radii[near[at]] + 0.25) ** 2 / square)
    clear = np.maximum(0.35, 1 - 0.55 * shade)
    soft = 0.5 + 0.5 * normal @ LIGHT
    glint = np.maximum(0, normal @ HALF) ** 40
    base = (scene.colours[tint] / np.float32(255)) ** 1.25
    light = (0.30 + 0.86 * soft**1.5) * clear * (1 - 0.55 * contour)
    colour = base * light[:, None] + (0.34 * glint * clear)[:, None]
    alpha = 1 - FADE * (0.15 - points[:, 2:] / scene.radius).clip(0, 1)
    return np.concatenate([colour.clip(0, 1) * alpha, alpha], 1)
