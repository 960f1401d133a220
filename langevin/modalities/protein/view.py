"""Looking at proteins: ribbon pictures, one protein laid on another, and a viewer for pages.

The viewer is a fragment of HTML that needs no network: a still picture, which is all that is seen without scripts, and
the ribbon, which ``viewer.js`` draws on a plain 2-D canvas over the picture once a pointer or the keyboard's focus is
there. A page holds as many proteins as one likes; :class:`langevin.report.Page` keeps the script once.

    drag, arrows           turn (with shift: in the plane)
    wheel, pinch, + −      zoom; the wheel after a click, so that a page can be scrolled past its proteins
    L                      labels: the ends of chains and every tenth residue
    C                      colours: kept residues or proteins, chains, N to C, helices and strands
    0, double click        as it was
    pointer                names the residue

What the colours say is at the head of :mod:`~langevin.modalities.protein.scene`, what the ribbon follows at that of
:mod:`~langevin.modalities.protein.ribbon`. A protein of CA atoms alone is a tube.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.base import Failure
from langevin.modalities.protein.protein import Protein, SideChains, of_structure
from langevin.modalities.protein.scene import Scene
from langevin.modalities.sheets import box
from langevin.modalities.turning import element, script

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["picture", "protein_of", "superpose", "to_html"]

SCRIPT = Path(__file__).with_name("viewer.js")
STILL = 288  # pixels of the still picture of a viewer; the drawn one is as sharp as the screen
HELP = "arrow keys turn, plus and minus zoom, L labels, C colours, 0 resets"


def picture(
    item: Any,
    size: int = 240,
    *,
    over: Sequence[Any] = (),
    kept: Sequence[int] | NDArray[Any] | None = None,
    background: str | None = "white",
) -> Image:
    """Ribbons, seen from the broad side.

    Args:
        item: a Bio.PDB structure, model or chain, or a :class:`Protein`; what cannot be shown, a :class:`Failure`
            among it, gives a box that says why.
        size: pixels of a side.
        over: more proteins in the same frame, as they lie (:func:`superpose`); the first is then grey.
        kept: residues of the item that were given to its design, as indices or (n,) booleans; by default those of
            its note (:func:`~langevin.modalities.protein.scene.kept_of`).
        background: a colour; None for a transparent RGBA picture.

    Raises:
        ValueError: a size below 16, or kept residues that there are not.
    """
    from PIL import Image

    if size < 16:
        raise ValueError(f"size must be at least 16 pixels; got {size}")
    scene = _scene([item, *over], kept)
    if isinstance(scene, str):
        return box(scene, (size, size), background)
    drawn = scene.picture(size)
    if background is None:
        return drawn
    out = Image.new("RGB", drawn.size, background)
    out.paste(drawn, (0, 0), drawn)
    return out


def to_html(item: Any, *, over: Sequence[Any] = (), kept: Sequence[int] | NDArray[Any] | None = None) -> str:
    """A fragment that turns under the pointer; see the head of this module.

    Args:
        item, over, kept: as in :func:`picture`. What cannot be shown gives its reason as text.

    Raises:
        ValueError: kept residues that there are not.
    """
    from langevin.report import picture_html

    scene = _scene([item, *over], kept)
    if isinstance(scene, str):
        return f'<span class="failure">{escape(scene)}</span>'
    buffer = io.BytesIO()
    scene.picture(STILL).save(buffer, format="WEBP", quality=84, method=4)
    said = _said(scene)
    return element(
        "protein-view",
        f"{said} in three dimensions; {HELP}",
        scene.plain(),
        picture_html(buffer.getvalue(), said),
        script("protein-view", SCRIPT),
    )


def superpose(
    item: Any, onto: Any, pairs: Sequence[tuple[int, int]] | NDArray[Any] | None = None
) -> tuple[Protein, float]:
    """A protein laid on another by CA atoms, by a turn and a shift, never a reflection (W. Kabsch, 1976).

    Args:
        item: a protein as in :func:`picture`; stays as it is.
        onto: another.
        pairs: (m, 2) indices of residues of the item and of ``onto`` that belong together, as a motif's in a design
            and in its file; by default residue k of one and k of the other.

    Returns:
        The moved copy, and the root mean square distance of the matched CA atoms in Å.

    Raises:
        ValueError: no pairs, pairs beyond the ends, or none given where the lengths differ.
    """
    moved, still = protein_of(item), protein_of(onto)
    if pairs is None and len(moved) != len(still):
        raise ValueError(
            f"proteins of {len(moved)} and {len(still)} residues need pairs that say which belong together"
        )
    rows = np.stack([np.arange(len(moved))] * 2, 1) if pairs is None else np.asarray(pairs, np.int64)
    if rows.ndim != 2 or rows.shape[1:] != (2,) or not len(rows):
        raise ValueError(f"pairs has the shape {rows.shape}; (m, 2) with m of at least 1 was expected")
    if rows.min() < 0 or (rows.max(0) >= (len(moved), len(still))).any():
        raise ValueError(f"pairs reach beyond the {len(moved)} and {len(still)} residues")
    x, y = (p.backbone[k, 1].astype(np.float64) for p, k in ((moved, rows[:, 0]), (still, rows[:, 1])))
    a, b = x - x.mean(0), y - y.mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt

    def placed(points: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray((points - x.mean(0)) @ turn + y.mean(0), np.float32)

    side = moved.side
    if side is not None:
        side = SideChains(side.residue, side.name, placed(side.xyz))
    distance = float(np.sqrt(((a @ turn - b) ** 2).sum(1).mean()))
    return replace(moved, backbone=placed(moved.backbone), side=side), distance


def protein_of(item: Any) -> Protein:
    """The arrays of a Bio.PDB object; a :class:`Protein` as it is. ValueError with the reason for anything else."""
    if isinstance(item, Protein):
        return item
    if isinstance(item, Failure):
        raise ValueError(item.reason)
    if getattr(item, "level", None) not in ("S", "M", "C"):
        raise ValueError("no protein")
    return of_structure(item)


def _scene(items: Sequence[Any], kept: Sequence[int] | NDArray[Any] | None) -> Scene | str:
    """What to draw, or why there is nothing."""
    try:
        proteins = [protein_of(item) for item in items]
    except ValueError as error:
        return str(error)
    chosen = None if kept is None else _chosen(kept, len(proteins[0]))
    try:
        return Scene.of(proteins, chosen)
    except ValueError as error:
        return str(error)


def _chosen(kept: Sequence[int] | NDArray[Any], n: int) -> NDArray[np.bool_]:
    """(n,) of indices or booleans."""
    marks, out = np.asarray(kept), np.zeros(n, bool)
    if marks.dtype == bool:
        if marks.shape != (n,):
            raise ValueError(f"kept has the shape {marks.shape}; the protein has {n} residues")
        return marks
    if marks.size and (marks.dtype.kind not in "iu" or marks.min() < 0 or marks.max() >= n):
        raise ValueError(f"kept must be indices 0 … {n - 1} of residues; got {marks.min()} to {marks.max()}")
    out[marks.astype(np.int64)] = True
    return out


def _said(scene: Scene) -> str:
    """``128 residues in 2 chains, 45 % helix, 20 % strand``."""
    count = len(scene.letters)
    chains = len({(run[0], run[1]) for run in scene.names})
    proteins = len({run[0] for run in scene.names})
    parts = [f"{count} residue{'s' * (count != 1)}"]
    if proteins > 1:
        parts[0] += f" of {proteins} proteins"
    elif chains > 1:
        parts[0] += f" in {chains} chains"
    for letter, name in (("H", "helix"), ("E", "strand")):
        if letter in scene.letters:
            parts.append(f"{scene.letters.count(letter) / count:.0%} {name}")
    return ", ".join(parts)
