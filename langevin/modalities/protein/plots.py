"""Two small figures of backbones: where phi and psi lie, and how far residues are from each other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from langevin.modalities.base import Failure
from langevin.modalities.protein.metrics.geometry import follows
from langevin.modalities.protein.metrics.ramachandran import BINS, outside, torsions
from langevin.modalities.protein.metrics.reference import real
from langevin.modalities.protein.view import protein_of
from langevin.modalities.sheets import box

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["distance_map", "ramachandran"]

INK, FAINT, INSIDE, OUTSIDE = "#55555f", "#c9c9cf", "#24418f", "#d4267f"
LEVELS = (0.99, 0.9, 0.5)  # shares of real residues
GROUND = ("#e9edf7", "#d3dcf1", "#b6c6e9")
FAR, TOUCH = 24.0, 8.0  # Å: the end of the scale of distances; contacts


def ramachandran(items: Any, size: int = 240) -> Image:
    """phi and psi of residues over the regions that hold 99, 90 and 50 % of real ones.

    Dots are blue, those outside where 99 % of real residues of their kind lie magenta
    (:func:`~langevin.modalities.protein.metrics.ramachandran.outside`); their number is at the head.

    Args:
        items: a protein, as a Bio.PDB object or a ``Protein``, or several together; failures are left out. Without any
            residue that has both torsions, a box that says so.
        size: pixels of a side, 120 or more.

    Raises:
        ValueError: a smaller size.
    """
    _checked(size)
    angles, far = [np.zeros((0, 2))], [np.zeros(0, bool)]
    for item in items if isinstance(items, Sequence) else [items]:
        if isinstance(item, Failure):
            continue
        try:
            protein = protein_of(item)
        except ValueError as error:
            return box(str(error), (size, size))
        found = torsions(protein.backbone, follows(protein))
        angles.append(found[np.isfinite(found).all(1)])
        far.append(outside(found, protein.types))
    dots, beyond = np.concatenate(angles), np.concatenate(far)
    if not len(dots):
        return box("no residue has phi and psi", (size, size))
    figure, axes = _figure(size)
    density, levels = _real()
    ticks = (np.arange(len(density)) + 0.5) / len(density) * 540 - 270
    axes.contourf(ticks, ticks, density.T, [*levels, density.max() + 1], colors=GROUND)
    area = float(np.clip(9e3 / len(dots), 1.5, 9))
    for chosen, colour in ((~beyond, INSIDE), (beyond, OUTSIDE)):
        axes.scatter(*dots[chosen].T, s=area, c=colour, alpha=0.75, linewidths=0)
    axes.axhline(0, color=FAINT, linewidth=0.5, zorder=0.5)
    axes.axvline(0, color=FAINT, linewidth=0.5, zorder=0.5)
    axes.set(xlim=(-180, 180), ylim=(-180, 180), xticks=(-180, -60, 60, 180), yticks=(-180, -60, 60, 180))
    axes.set_xlabel("φ / °", labelpad=-7)
    axes.set_ylabel("ψ / °", labelpad=-15)
    axes.set_title(f"{beyond.sum()} of {len(beyond)} outside", fontsize=8, color=INK, pad=4)
    return _drawn(figure)


def distance_map(item: Any, size: int = 240) -> Image:
    """Distances of CA atoms, up to 24 Å; contacts under 8 Å are the darkest. Lines part the chains.

    Args:
        item: a protein; what cannot be shown gives a box that says why.
        size: pixels of a side, 120 or more.

    Raises:
        ValueError: a smaller size.
    """
    _checked(size)
    try:
        protein = protein_of(item)
    except ValueError as error:
        return box(str(error), (size, size))
    if not len(protein):
        return box("has no residues", (size, size))
    ca = protein.backbone[:, 1].astype(np.float64)
    most = 4 * size  # residues beyond what pixels can show are left out
    shown = np.arange(0, len(ca), max(1, -(-len(ca) // most)))
    apart = np.linalg.norm(ca[shown, None] - ca[None, shown], axis=-1)
    figure, axes = _figure(size, right=0.82)
    drawn = axes.imshow(
        np.minimum(apart, FAR),
        cmap=_shades(),
        vmin=0,
        vmax=FAR,
        origin="lower",
        extent=(0.5, len(ca) + 0.5) * 2,
        interpolation="nearest" if len(shown) < size else "antialiased",
    )
    others = np.flatnonzero(protein.chains[1:] != protein.chains[:-1]) + 1.5
    for place in others.tolist():
        axes.axhline(place, color="white", linewidth=0.8)
        axes.axvline(place, color="white", linewidth=0.8)
    axes.set(xticks=(1, len(ca)), yticks=(1, len(ca)))
    axes.set_xlabel("residue", labelpad=-7)
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.85, 0.15, 0.03, 0.68)), ticks=(0, TOUCH, FAR))
    bar.ax.set_yticklabels(("0", "8", "≥24"))
    bar.ax.tick_params(labelsize=7, colors=INK, length=2, pad=1)
    bar.outline.set_visible(False)
    axes.set_title("CA–CA / Å", fontsize=8, color=INK, pad=4)
    return _drawn(figure)


def _checked(size: int) -> None:
    if size < 120:
        raise ValueError(f"size must be at least 120 pixels; got {size}")


def _real() -> tuple[Any, list[float]]:
    """Density of real residues over -270 … 270°, so that contours meet at the edges, and that at each of LEVELS."""
    counts = np.sum([np.array(found, float) for found in real().ramachandran.values()], axis=0)
    density = gaussian_filter(counts, 1.0, mode="wrap")
    order = np.argsort(-density, axis=None, kind="stable")
    held = np.cumsum(counts.ravel()[order]) / counts.sum()
    levels = [float(density.ravel()[order[np.searchsorted(held, share)]]) for share in LEVELS]
    quarter = BINS // 4
    return zoom(np.pad(density, quarter, mode="wrap"), 4, order=1, grid_mode=True, mode="nearest"), levels


def _shades() -> Any:
    """From dark for contacts to light for what is far."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = [(0, "#10214f"), (TOUCH / FAR, "#2f62c4"), (TOUCH / FAR + 1e-6, "#6f9be0"), (1, "#f3f5fa")]
    return LinearSegmentedColormap.from_list("distances", stops)


def _figure(size: int, right: float = 0.95) -> tuple[Any, Any]:
    """A square figure with one square axes."""
    from langevin import optional

    optional.matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    inches = 2.4  # so that letters grow with the picture
    figure = Figure((inches, inches), dpi=size / inches)
    FigureCanvasAgg(figure)
    left = 0.14
    axes = figure.add_axes((left, 0.12 if right > 0.9 else 0.15, right - left, right - left))
    axes.tick_params(labelsize=7, colors=INK, length=2, pad=2)
    axes.xaxis.label.set(fontsize=8, color=INK)
    axes.yaxis.label.set(fontsize=8, color=INK)
    for spine in axes.spines.values():
        spine.set(color=FAINT, linewidth=0.6)
    return figure, axes


def _drawn(figure: Any) -> Image:
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba")
    size = figure.canvas.get_width_height()
    return Image.frombytes("RGBA", size, buffer.getvalue()).convert("RGB")
