"""Looking at molecules: 3-D pictures, drawings in rows, one molecule laid on another, and a viewer for pages.

The viewer is a fragment of HTML that needs no network: a still picture, which is all that is seen without
scripts, and the geometry, which ``viewer.js`` draws on a plain 2-D canvas over the picture once a pointer or the
keyboard's focus is there. A page holds as many molecules as one likes; the script is in each fragment, and
:class:`langevin.report.Page` keeps the first.

    drag, arrows           turn (with shift: in the plane)
    wheel, pinch, + −      zoom; the wheel after a click, so that a page can be scrolled past its molecules
    L, H                   labels, hydrogens
    P                      the pocket, where one is shown
    0, double click        as it was
    pointer                names the atom, or the bond and its length in Å; atoms count from 0, as in rdkit
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from langevin.modalities.base import Failure
from langevin.modalities.molecule.scene import LINE, Scene, render
from langevin.modalities.sheets import box
from langevin.modalities.turning import element, script

if TYPE_CHECKING:
    from PIL.Image import Image
    from rdkit.Chem import Mol

    from langevin.modalities.molecule.pockets import Pocket
else:
    Mol: TypeAlias = Any

__all__ = ["depict", "picture", "superpose", "to_html"]

SCRIPT = Path(__file__).with_name("viewer.js")
STILL = 288  # pixels of the still picture of a viewer; the drawn one is as sharp as the screen


def picture(
    item: Any,
    size: int = 160,
    *,
    over: Sequence[Mol] = (),
    hydrogens: bool = True,
    background: str | None = "white",
    pocket: Pocket | None = None,
) -> Image:
    """Balls and sticks, seen from the broad side.

    Args:
        item: an rdkit ``Mol`` with a conformer; what cannot be shown, a :class:`Failure` among it, gives a box
            that says why.
        size: pixels of a side.
        over: more molecules in the same frame, as they lie (:func:`superpose`); all are then drawn as sticks, the
            carbons of each in a colour of its own, those of the first in grey.
        hydrogens: draw them.
        background: a colour; None for a transparent RGBA picture.
        pocket: in which the one molecule lies; it is then drawn as sticks, and what is near of the pocket as lines.

    Raises:
        ValueError: a size below 16, or a pocket and several molecules.
    """
    from PIL import Image

    if size < 16:
        raise ValueError(f"size must be at least 16 pixels; got {size}")
    scene = _scene([item, *over], hydrogens, pocket)
    if isinstance(scene, str):
        return box(scene, (size, size), background)
    drawn = render(scene, size)
    if background is None:
        return drawn
    out = Image.new("RGB", drawn.size, background)
    out.paste(drawn, (0, 0), drawn)
    return out


def depict(
    items: Sequence[Any],
    columns: int | None = None,
    captions: Sequence[str] | None = None,
    size: tuple[int, int] = (200, 160),
) -> Image:
    """Structural formulas in rows; hydrogens on carbon are left out, stereo is drawn as wedges.

    Args:
        items: rdkit molecules, with or without conformers; whatever cannot be drawn becomes a box that says why.
        columns: how many beside each other; about the square root when None.
        captions: one for each, below it.
        size: of a cell, width and height in pixels.

    Raises:
        ValueError: another number of captions than of items, or columns below 1.
    """
    from PIL import Image

    if captions is not None and len(captions) != len(items):
        raise ValueError(
            f"captions must have one entry for each of the {len(items)} molecules; got {len(captions)}"
        )
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1; got {columns}")
    if not len(items):
        return box("no molecules", size, "white")
    wide = min(columns or math.ceil(math.sqrt(len(items))), len(items))
    out = Image.new("RGB", (wide * size[0], math.ceil(len(items) / wide) * size[1]), "white")
    for k, item in enumerate(items):
        cell = _formula(item, "" if captions is None else str(captions[k]), size)
        out.paste(cell, (k % wide * size[0], k // wide * size[1]))
    return out


def to_html(
    item: Any, *, over: Sequence[Mol] = (), hydrogens: bool = True, pocket: Pocket | None = None
) -> str:
    """A fragment that turns under the pointer; see the head of this module.

    Args:
        item, over, hydrogens, pocket: as in :func:`picture`. What cannot be shown gives its reason as text.

    Raises:
        ValueError: a pocket and several molecules.
    """
    from langevin.report import picture_html

    scene = _scene([item, *over], hydrogens, pocket)
    if isinstance(scene, str):
        return f'<span class="failure">{escape(scene)}</span>'
    buffer = io.BytesIO()
    render(scene, STILL).save(buffer, format="WEBP", quality=84, method=4)
    names = " over ".join(_composition(mol) for mol in [item, *over])
    plain = _plain(scene) if pocket is None else _plain_inside(scene, pocket)
    label = (
        f"{names} in three dimensions; arrow keys turn, plus and minus zoom, L labels, H hydrogens, 0 resets"
    )
    tag, scripts = "molecule-view", script("molecule-view", SCRIPT)
    if pocket is not None:
        tag = "pocket-view"
        scripts += script(tag, SCRIPT.with_name("viewer_pocket.js"), frame=False)
        label += ", P shows and hides the pocket"
    return element(tag, label, plain, picture_html(buffer.getvalue(), names), scripts)


def superpose(mol: Mol, onto: Mol) -> tuple[Mol, float]:
    """A molecule laid on another by its heavy atoms, by a turn and a shift, never a reflection.

    Equivalent atoms are matched in the way that fits best (rdkit's ``GetBestAlignmentTransform``), so that a ring
    that is turned by its own symmetry is the same.

    Args:
        mol: with a conformer; stays as it is.
        onto: the same molecule in another geometry, or one of which ``mol`` is a part.

    Returns:
        The moved copy, and the root mean square distance of the matched heavy atoms in Å.

    Raises:
        ValueError: one has no conformer, or they are different molecules.
    """
    from rdkit import Chem
    from rdkit.Chem import rdMolAlign, rdMolTransforms

    from langevin.modalities.molecule.atoms import quiet, reason

    pair: list[Any] = []
    for name, each in (("mol", mol), ("onto", onto)):
        if not each.GetNumAtoms() or not each.GetNumConformers():
            raise ValueError(f"{name} has no {'conformer' if each.GetNumAtoms() else 'atoms'}")
        with quiet():
            heavy = Chem.RemoveAllHs(each, sanitize=False)
            heavy = heavy if heavy.GetNumAtoms() else Chem.Mol(each)
            heavy.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(heavy)
        pair.append(heavy)
    try:
        with quiet():
            distance, transform, _ = rdMolAlign.GetBestAlignmentTransform(pair[0], pair[1], maxMatches=20_000)
    except (RuntimeError, ValueError) as error:
        names = [Chem.MolToSmiles(heavy) for heavy in pair]
        raise ValueError(
            f"{names[0]} cannot be laid on {names[1]}, of which it is no part ({reason(error)})"
        ) from None
    moved = Chem.Mol(mol)
    rdMolTransforms.TransformConformer(moved.GetConformer(), np.asarray(transform, dtype=np.float64))
    return moved, float(distance)


def _scene(items: Sequence[Any], hydrogens: bool, pocket: Pocket | None = None) -> Scene | str:
    """What to draw, or why there is nothing."""
    if pocket is not None and len(items) > 1:
        raise ValueError("a pocket is shown with one molecule; leave out over")
    for item in items:
        if isinstance(item, Failure):
            return item.reason
        if not hasattr(item, "GetNumAtoms"):
            return "no molecule"
    try:
        return Scene.of(items, hydrogens) if pocket is None else Scene.inside(items[0], pocket, hydrogens)
    except ValueError as error:
        return str(error)


def _formula(item: Any, caption: str, size: tuple[int, int]) -> Image:
    """One cell of :func:`depict`."""
    from PIL import Image
    from rdkit import Chem
    from rdkit.Chem.Draw import rdMolDraw2D

    from langevin.modalities.molecule.atoms import quiet, reason

    if isinstance(item, Failure) or not hasattr(item, "GetNumAtoms") or not item.GetNumAtoms():
        why = (
            item.reason
            if isinstance(item, Failure)
            else "has no atoms"
            if item is not None
            else "no molecule"
        )
        return box(why, size, "white", caption)
    drawer = rdMolDraw2D.MolDraw2DCairo(*size)
    options: Any = drawer.drawOptions()
    options.bondLineWidth, options.padding, options.prepareMolsBeforeDrawing = 1.5, 0.08, False
    options.legendFontSize, options.legendFraction, options.maxFontSize = 13, 0.14, 16
    options.fixedBondLength = 26
    try:
        with quiet():
            try:
                mol = Chem.RemoveHs(item)
            except ValueError:  # not a sound molecule: drawn as it is
                mol = Chem.Mol(item)
                mol.UpdatePropertyCache(strict=False)
                Chem.FastFindRings(mol)
            mol.RemoveAllConformers()
            try:
                mol = rdMolDraw2D.PrepareMolForDrawing(mol, addChiralHs=False)
            except ValueError:  # bonds without a Kekulé form
                mol = rdMolDraw2D.PrepareMolForDrawing(mol, kekulize=False, addChiralHs=False)
            drawer.DrawMolecule(mol, legend=caption)
    except (RuntimeError, ValueError) as error:
        return box(reason(error), size, "white", caption)
    drawer.FinishDrawing()
    return Image.open(io.BytesIO(drawer.GetDrawingText())).convert("RGB")


def _plain(scene: Scene) -> dict[str, Any]:
    """The geometry as ``viewer.js`` reads it."""
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    kinds: dict[tuple[Any, ...], int] = {}
    atoms = []
    for z, r, colour in zip(scene.numbers, scene.radii, scene.colours):
        symbol = table.GetElementSymbol(int(z)) if z else "*"
        kind = (symbol, round(float(r), 3), "#{:02x}{:02x}{:02x}".format(*colour))
        atoms.append(kinds.setdefault(kind, len(kinds)))
    bonds = []
    for (i, j, order), away in zip(scene.bonds, scene.aside):
        bonds.append([int(i), int(j), int(order), *([] if order == 1 else _rounded(away))])
    plain = {
        "s": list(kinds),
        "e": atoms,
        "p": _rounded(scene.positions.ravel()),
        "q": {str(k): int(q) for k, q in enumerate(scene.charges) if q},
        "b": bonds,
        "r": round(scene.radius, 3),
        "k": scene.stick,
    }
    if (scene.indices != np.arange(len(scene))).any():
        plain["n"] = scene.indices.tolist()
    return plain


def _plain_inside(scene: Scene, pocket: Pocket) -> dict[str, Any]:
    """The geometry of a ligand as ``viewer.js`` reads it, and that of the pocket as ``viewer_pocket.js`` does."""
    n = len(scene) - scene.around
    mine = (scene.bonds[:, :2] < n).all(1)
    ligand = replace(
        scene, numbers=scene.numbers[:n], indices=scene.indices[:n], charges=scene.charges[:n],
        positions=scene.positions[:n], radii=scene.radii[:n], colours=scene.colours[:n],
        bonds=scene.bonds[mine], aside=scene.aside[mine], around=0,
    )  # fmt: skip
    kinds: dict[tuple[Any, ...], int] = {}
    held: dict[int, int] = {}  # residues that are drawn, by their place in the pocket
    atoms, names = [], []
    for r, colour, k in zip(scene.radii[n:], scene.colours[n:], scene.indices[n:].tolist()):
        kind = (round(float(r), 3), "#{:02x}{:02x}{:02x}".format(*colour))
        atoms.append(kinds.setdefault(kind, len(kinds)))
        names.append([held.setdefault(int(pocket.owners[k]), len(held)), pocket.names[k]])
    called = [pocket.places[k].split(":") for k in held]
    lines = {
        "s": list(kinds),
        "e": atoms,
        "p": _rounded(scene.positions[n:].ravel()),
        "n": names,
        "o": [f"{chain}:{name}{number}" for chain, name, number in called],
        "b": (scene.bonds[~mine, :2] - n).tolist(),
        "k": LINE,
    }
    return {**_plain(ligand), "t": lines}


def _rounded(values: Any) -> list[float]:
    return [round(float(v), 3) for v in values]


def _composition(mol: Mol) -> str:
    """The formula of a molecule, sanitised or not."""
    from rdkit import Chem
    from rdkit.Chem.rdMolDescriptors import CalcMolFormula

    copy = Chem.Mol(mol)
    copy.UpdatePropertyCache(strict=False)
    return str(CalcMolFormula(copy))
