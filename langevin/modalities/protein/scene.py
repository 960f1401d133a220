"""What is drawn of proteins: strips in the frame of the picture, their colours, and the same as plain data for pages.

Colours of one protein, the first of these that applies:

    some residues kept    chains kept whole are grey; in a chain that is kept in part the kept residues stand out, with
                          their side chains, and the others are pale
    several chains        one for each
    one chain             from blue at the N terminus to red at the C terminus

Of several proteins in one frame the first is grey, its kept residues as above, and each other has a colour of its own.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.protein.drawing import render, surface
from langevin.modalities.protein.protein import Protein
from langevin.modalities.protein.ribbon import Strips, chain_strips, side_strips
from langevin.modalities.protein.secondary import secondary
from langevin.modalities.turning import oriented, rgb

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["KEPT", "MOST", "Scene", "kept_of"]

Colours: TypeAlias = NDArray[np.uint8]

MOST = 20_000  # residues
RAMP = ("#3b5fe0", "#2196d0", "#1fb08f", "#7bbf3f", "#e8c53a", "#f08f2e", "#e0413a")
CHAINS = (
    "#4f7fd9",
    "#e0a021",
    "#2fa58c",
    "#d2607f",
    "#8f6fd0",
    "#8aae33",
    "#e07b3c",
    "#3fa6c9",
    "#b56fb0",
    "#a08a5c",
)
SHAPES = {"H": "#d0568a", "E": "#e3ad33", "-": "#b9bec7"}
GREY, KEPT = "#b4b9c2", "#d4267f"
TINTS = ("#17a2a2", "#e0a021", "#7c6fd6", "#7fae2a")  # of the second of several proteins and on
ELEMENTS = {"N": "#3f62e8", "O": "#e5322d", "S": "#e8c628"}
PALE = 0.55  # how much of a light grey the built residues beside kept ones have
STICKS = 80  # kept residues up to which their side chains are drawn
RUNGS = ((400, 5), (1000, 4), (2500, 3), (MOST, 2))  # up to so many residues, rungs for each
SMALLEST, MARGIN = 5.0, 1.04  # Å from the centre to the edge at least; of the radius
INSIDE = 0.92  # of its width and height has what is laid on the first: where both are the same, that is seen
BAND = 2.0  # Å from the middle of a band to its outermost edge
TILT = (-0.25, 0.22)


@dataclass(frozen=True, eq=False)
class Scene:
    """Ribbons in the frame of the picture.

    Attributes:
        strips: what is drawn.
        places: (n, 3) float32 Å, CA of all residues.
        colours: (n, 3) of the residues, by what they show; the first is that of the picture.
        tints: colours of the strips that have one.
        letters: secondary structure, H, E or -.
        sequence: one letter for each residue.
        names: residues in runs of consecutive numbers: (protein, chain, first number, how many, insertion code).
        radius: from the centre to the edge of the picture, Å.
    """

    strips: Strips
    places: NDArray[np.float32]
    colours: Mapping[str, Colours]
    tints: Sequence[str]
    letters: str
    sequence: str
    names: Sequence[tuple[int, str, int, int, str]]
    radius: float

    @staticmethod
    def of(proteins: Sequence[Protein], kept: NDArray[np.bool_] | None = None) -> Scene:
        """Proteins in one frame, as they lie; the first is turned to show its broad side.

        Args:
            proteins: one or more.
            kept: (n,) residues of the first that were given to the design; by default :func:`kept_of` it.

        Raises:
            ValueError: why there is nothing to draw: no residues, or over 20,000 of them.
        """
        total = sum(map(len, proteins))
        if not total or not len(proteins[0]):
            raise ValueError("has no residues")
        if total > MOST:
            raise ValueError(f"has {total} residues; up to {MOST} are drawn")
        first = proteins[0]
        kept = kept_of(first) if kept is None else kept
        per = next(rungs for most, rungs in RUNGS if total <= most)
        strips, letters, offset = Strips.of(()), "", 0
        sticks = _motif(first, kept) if len(proteins) == 1 else kept
        for number, protein in enumerate(proteins):
            shape = "-" * len(protein) if protein.ca_only else secondary(protein)
            ribbon, passed = chain_strips(protein, shape, per, dashes=not number)
            slim = np.float32(INSIDE if number else 1)
            strips = strips.join(replace(ribbon, halves=slim * ribbon.halves), offset)
            if not number and 0 < sticks.sum() <= STICKS:
                strips = strips.join(side_strips(protein, sticks, passed, tuple(ELEMENTS)))
            letters, offset = letters + shape, offset + len(protein)
        strips, places, radius = _framed(strips, proteins)
        return Scene(
            strips,
            places,
            _colours(proteins, kept, letters),
            tuple(ELEMENTS.values()),
            letters,
            "".join(protein.sequence for protein in proteins),
            _names(proteins),
            radius,
        )

    def picture(self, size: int) -> Image:
        """A still picture with a transparent ground, ``size`` pixels a side."""
        by_residue = next(iter(self.colours.values()))
        colours = by_residue[self.strips.residues]
        tints = np.repeat(self.strips.tints, np.diff(self.strips.starts))
        palette = np.array([rgb(tint) for tint in self.tints], np.uint8)
        colours[tints >= 0] = palette[tints[tints >= 0]]
        return render(surface(self.strips, self.places), colours, self.radius, size)

    def plain(self) -> dict[str, Any]:
        """The geometry as ``viewer.js`` reads it: little-endian integers in base64, lengths in units of ``u`` Å."""
        strips = self.strips
        unit = max(0.01, float(np.abs(strips.centres).max(initial=0)) / 32_000)
        columns = (
            (strips.centres / unit, "<i2"),
            (strips.residues, "<u2"),
            (strips.sides * 127, "i1"),
            (strips.halves * 100, "u1"),
        )
        return {
            "r": round(self.radius, 2),
            "u": round(unit, 4),
            "d": base64.b64encode(b"".join(_bytes(values, kind) for values, kind in columns)).decode(),
            "a": base64.b64encode(_bytes(self.places / unit, "<i2")).decode(),
            "s": np.diff(strips.starts).tolist(),
            "t": strips.tints.tolist() if (strips.tints >= 0).any() else [],
            "p": list(self.tints),
            "c": [[name, colours.tobytes().hex()] for name, colours in self.colours.items()],
            "l": self.letters,
            "q": self.sequence,
            "m": [list(run) for run in self.names],
        }


def kept_of(protein: Protein) -> NDArray[np.bool_]:
    """(n,) residues that a design was given: the indices, or booleans, in its note under ``kept``; without, none."""
    out = np.zeros(len(protein), bool)
    said = protein.note.get("kept")
    if not isinstance(said, (list, tuple, np.ndarray)):
        return out
    marks = np.asarray(said)
    if marks.dtype == bool and marks.shape == out.shape:
        return marks.copy()
    if marks.dtype.kind in "iu":
        out[marks[(marks >= 0) & (marks < len(out))]] = True
    return out


def _motif(protein: Protein, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the kept residues that are in a chain in which others are built."""
    built = np.unique(protein.chains[~kept])
    return np.asarray(kept & np.isin(protein.chains, built))


def _colours(proteins: Sequence[Protein], kept: NDArray[np.bool_], letters: str) -> dict[str, Colours]:
    """(n, 3) by name, the one to begin with first."""
    ramp = np.concatenate([_ramp(protein) for protein in proteins])
    ids = [(k, chain) for k, protein in enumerate(proteins) for chain in protein.chains.tolist()]
    order = {key: k for k, key in enumerate(dict.fromkeys(ids))}
    chains = np.array([rgb(CHAINS[order[key] % len(CHAINS)]) for key in ids], np.uint8)
    shapes = np.array([rgb(SHAPES[letter]) for letter in letters], np.uint8)
    out: dict[str, Colours] = {}
    n = len(proteins[0])
    if len(proteins) > 1:
        tints = [GREY, *(TINTS[k % len(TINTS)] for k in range(len(proteins) - 1))]
        own = np.array([rgb(tint) for tint in tints], np.uint8)
        overlay = np.repeat(own, [len(protein) for protein in proteins], axis=0)
        overlay[:n][kept] = rgb(KEPT)
        out["proteins"] = overlay
    elif kept.any() and not kept.all():
        motif = _motif(proteins[0], kept)
        among = np.isin(proteins[0].chains, np.unique(proteins[0].chains[motif]))
        marked = np.where(among[:, None], (1 - PALE) * ramp + PALE * 215, ramp).astype(np.uint8)
        marked[kept] = rgb(GREY)
        marked[motif] = rgb(KEPT)
        out["kept residues"] = marked
    if len(order) > 1:
        out["chains"] = chains
    return {**out, "N to C": ramp, "helices and strands": shapes}


def _ramp(protein: Protein) -> Colours:
    """(n, 3) from blue to red along each chain."""
    stops = np.array([rgb(stop) for stop in RAMP], np.float64)
    out = np.zeros((len(protein), 3))
    for chain in protein.chain_ids:
        mine = np.flatnonzero(protein.chains == chain)
        share = np.arange(len(mine)) / max(1, len(mine) - 1) * (len(stops) - 1)
        for channel in range(3):
            out[mine, channel] = np.interp(share, np.arange(len(stops)), stops[:, channel])
    return out.astype(np.uint8)


def _framed(strips: Strips, proteins: Sequence[Protein]) -> tuple[Strips, NDArray[np.float32], float]:
    """Strips and CA atoms turned and centred, and the radius of the picture."""
    ca = np.concatenate([protein.backbone[:, 1] for protein in proteins]).astype(np.float64)
    first = ca[: len(proteins[0])]
    every = np.concatenate([ca, strips.centres, strips.centres + strips.sides])
    turned = oriented(every - first.mean(0), first - first.mean(0), np.ones(len(first)), TILT)
    n, r = len(ca), len(strips.centres)
    places, centres, ends = turned[:n], turned[n : n + r], turned[n + r :]
    low, high = centres.min(0), centres.max(0)
    middle = (low + high) / 2
    radius = max(SMALLEST, float((high - low)[:2].max() / 2 + BAND) * MARGIN)
    framed = Strips(
        (centres - middle).astype(np.float32),
        (ends - centres).astype(np.float32),
        strips.halves,
        strips.residues,
        strips.starts,
        strips.tints,
    )
    return framed, (places - middle).astype(np.float32), radius


def _names(proteins: Sequence[Protein]) -> list[tuple[int, str, int, int, str]]:
    """Residues in runs of consecutive numbers."""
    out: list[list[Any]] = []
    for k, protein in enumerate(proteins):
        rows = zip(protein.chains.tolist(), protein.numbers.tolist(), protein.insertions.tolist())
        for chain, number, insertion in rows:
            last = out[-1] if out else None
            if (
                last
                and not insertion
                and last[:2] == [k, chain]
                and last[4] == ""
                and last[2] + last[3] == number
            ):
                last[3] += 1
            else:
                out.append([k, chain, number, 1, insertion])
    return [(run[0], run[1], run[2], run[3], run[4]) for run in out]


def _bytes(values: NDArray[Any], kind: str) -> bytes:
    return np.round(values).astype(kind).tobytes()
