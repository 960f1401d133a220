"""One table for a set of proteins: bonds, torsions, structure, shape, how varied and how new they are.

Columns:
    samples      what is judged
    reference    real chains, or other samples, in the place of the samples; a distance is that of one half of the
                 reference from the other, its floor

Rows, where failures stay in every denominator of a share: a failure is a design with no bond right, that is broken and not
plausible, with as many bonds and residues as a design has on average.

    … within real 1–99 %     :mod:`geometry`, of bonds between residues and of residues; CA–CA within 0.15 Å of 3.80 or 2.95
    whole, breaks, cis       likewise
    clashes                  pairs per 100 residues
    phi > 0, outside …       :mod:`ramachandran`
    helix, strand            shares of residues; what differs from real chains is the spread over designs, :mod:`secondary`
    radius …, contacts …     :mod:`shape`
    plausible                :mod:`plausible`, a rule of thumb that is not designability
    TM …, clusters           :mod:`similarity`, among plausible designs, at equal numbers in both columns
    TM to training …         :mod:`novelty`, where training chains are given

Distances need a reference: total variation of the (helix, strand) histograms and Jensen–Shannon distance of the torsions,
both means over draws of equally many chains on each side; the row "… over its floor" divides the first by that of the
reference.

A sequence narrows the Ramachandran region, so it is used only where every protein on both sides has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from langevin.modalities.base import Failure
from langevin.modalities.protein.metrics import geometry, ramachandran, secondary, shape, similarity
from langevin.modalities.protein.metrics.novelty import Known
from langevin.modalities.protein.metrics.plausible import Measures, has_sequence, measure
from langevin.modalities.protein.protein import Protein, of_structure
from langevin.modalities.statistics import Estimate, Table, bootstrap, median, wilson
from langevin.optional import MissingPackage

__all__ = ["SUBSAMPLE", "as_protein", "evaluate", "figures", "scores"]

SUBSAMPLE = 50  # plausible designs that are compared in pairs
Cells = dict[str, Any]


def as_protein(item: Any) -> Protein | Failure:
    """A Biopython object or a :class:`Protein` as the latter; failures as they are."""
    return item if isinstance(item, (Protein, Failure)) else of_structure(item)


def evaluate(
    items: Sequence[Any],
    reference: Sequence[Any] | None = None,
    *,
    training: Sequence[Any] | Known | None = None,
    subsample: int | None = SUBSAMPLE,
    seed: int = 0,
    show: bool | None = None,
) -> Table:
    """Measure proteins, beside others if given.

    Args:
        items: Biopython structures, proteins and failures.
        reference: real ones, or other samples.
        training: chains that the model was trained on, to search for the nearest one of each design.
        subsample: how many plausible designs at most are compared in pairs, and searched for; None for all.
        seed: of the choice of these, and of what is drawn for distances.
        show: bars on standard error; None asks whether that is a terminal.

    Returns:
        One row per measure; shares, means and medians with 95 % intervals.

    Raises:
        ValueError: no items, or a reference of fewer than two proteins.
    """
    if not items:
        raise ValueError("items must hold at least one protein or failure")
    sides = {"samples": [as_protein(item) for item in items]}
    if reference is not None:
        sides["reference"] = [as_protein(item) for item in reference]
        if sum(isinstance(item, Protein) for item in sides["reference"]) < 2:
            raise ValueError("reference must hold at least 2 proteins")
    there = [item for side in sides.values() for item in side if isinstance(item, Protein)]
    typed = all(has_sequence(protein) for protein in there)
    found = {
        name: [measure(item, typed) if isinstance(item, Protein) else None for item in side]
        for name, side in sides.items()
    }
    columns = {name: figures(rows) for name, rows in found.items()}
    parts = [f"{len(items)} samples, of which {found['samples'].count(None)} could not be decoded"]
    if reference is not None:
        n, distances = _distances(found["samples"], found["reference"], seed)
        for name, cells in distances.items():
            columns[name] |= cells
        parts.append(f"distances of {n} samples from {n} of the reference, and of {n} from {n} others of it")
    parts.append(
        f"Ramachandran regions {'by the type of residue' if typed else 'of all types together, as sequences lack'}"
    )
    parts += _similarities(sides, found, columns, training, subsample, seed, show)
    names = dict.fromkeys(name for cells in columns.values() for name in cells)
    rows = [
        {"measure": name, **{column: cells.get(name) for column, cells in columns.items()}} for name in names
    ]
    return Table(
        rows, "; ".join(parts) + ". Plausible is a rule of thumb, not designability. Intervals: 95 %."
    )


def figures(found: Sequence[Measures | None]) -> Cells:
    """Every measure that needs neither a second set nor pairs.

    Args:
        found: of each design; None for a failure.
    """
    made = [one for one in found if one is not None]
    failed, total = len(found) - len(made), len(found)

    def share(right: Sequence[float], of: Sequence[float], wrong: bool = False, scale: float = 1) -> Any:
        """Σ right / Σ of; failures have the mean of ``of``, all right or, of what counts as wrong, all wrong."""
        mean = sum(of) / len(of) if of else 1.0
        rows = [*zip(right, of), *[(mean if wrong else 0.0, mean)] * failed]
        if not sum(n for _, n in rows):
            return None
        return bootstrap(rows, lambda r: float(scale * r[:, 0].sum() / max(r[:, 1].sum(), 1e-9)))

    def designs(kept: Sequence[bool | None]) -> Any:
        judged = [one for one in kept if one is not None]
        return wilson(sum(judged), len(judged) + failed) if judged or failed else None

    cells: Cells = {"decoded": wilson(len(made), total)}
    for name in geometry.BETWEEN:
        cells[f"{name} {_RIGHT[name == 'CA–CA']}"] = share(
            [one.right[name] for one in made], [one.known[name] for one in made]
        )
    for name in geometry.INSIDE:
        cells[f"{name} {_RIGHT[False]}"] = share(
            [one.right_inside[name] for one in made], [one.known[name] for one in made]
        )
    bonds, residues = [one.bonds for one in made], [one.residues for one in made]
    cells |= {
        "whole": designs([one.broken == 0 for one in made]),
        "breaks per 100 bonds": share([one.broken for one in made], bonds, True, 100),
        "cis": share([one.cis for one in made], bonds, True),
    }
    for name, attribute in (
        ("clashes", "clashes"),
        ("clashes of CA", "clashes_ca"),
        ("clashes of atoms", "clashes_heavy"),
    ):
        cells[f"{name} per 100 residues"] = share(
            [getattr(one, attribute) for one in made], residues, True, 100
        )
    torsions = [one.torsions for one in made]
    cells |= {
        "phi > 0": share([one.positive for one in made], [one.phis for one in made], True),
        "outside the Ramachandran region": share([one.outside for one in made], torsions, True),
        "helix": share([one.structure.helix * one.residues for one in made], residues),
        "strand": share([one.structure.strand * one.residues for one in made], residues),
        "radius of gyration within real 2–98 %": designs([one.radius_usual for one in made]),
        "long-range contacts within real 2–98 %": designs([one.long_range_usual for one in made]),
        "both within real 2–98 %": designs([_both(one) for one in made]),
    }
    if made:
        off = [one.radius / shape.expected_radius(one.residues / one.chains) for one in made]
        cells |= {
            "radius of gyration over that of real chains, mean": bootstrap(off),
            "long-range contacts per residue, mean": bootstrap([one.long_range for one in made]),
            "contact order, mean": bootstrap([one.contact_order for one in made]),
        }
    cells["plausible"] = wilson(sum(one.plausible for one in made), total)
    return {name: cell for name, cell in cells.items() if cell is not None}


def scores(items: Sequence[Any], *, training: Known | None = None) -> Iterator[dict[str, Any]]:
    """Figures of each item, to filter by or to write beside it; None where an item has none.

    Args:
        items: Biopython structures, proteins and failures.
        training: chains to search for the nearest one.

    Yields:
        plausible, reasons (text, empty if plausible), residues, chains, breaks, cis, clashes, right (share of bonds
        with all quantities as real ones have them), phi_positive, outside, helix, strand, radius (Å), radius_off,
        long_range, contact_order, and with training tm_training, nearest (index). Where residues lack N or C, as in traces,
        phi_positive, outside and plausible are None: they would be of a part.
    """
    names = ("residues", "chains", "cis", "clashes", "radius", "radius_off", "long_range", "contact_order")
    shares = ("breaks", "right", "phi_positive", "outside", "helix", "strand")
    for item in items:
        protein = as_protein(item)
        row: dict[str, Any] = {"plausible": False, "reasons": "not decoded", **dict.fromkeys(names + shares)}
        if training is not None:
            row |= {"tm_training": None, "nearest": None}
        if isinstance(protein, Protein):
            one = measure(protein)
            row |= {name: getattr(one, name) for name in names}
            known = sum(one.known[name] for name in one.right)
            whole = bool(protein.complete.all())
            row |= {
                "plausible": one.plausible if whole else None,
                "reasons": "; ".join(one.reasons) if whole else "residues without N or C",
                "breaks": one.broken,
                "right": sum(one.right.values()) / known if known else None,
                "phi_positive": one.positive / one.phis if one.phis and whole else None,
                "outside": one.outside / one.torsions if one.torsions and whole else None,
                "helix": one.structure.helix,
                "strand": one.structure.strand,
            }
            if training is not None and len(protein) >= similarity.LEAST:
                nearest = training.nearest(protein.backbone[:, 1])
                row |= {"tm_training": nearest.score, "nearest": nearest.chain}
        yield row


_RIGHT = {False: "within real 1–99 %", True: "within 0.15 Å of trans or cis"}


def _both(one: Measures) -> bool | None:
    if one.radius_usual is None or one.long_range_usual is None:
        return None
    return one.radius_usual and one.long_range_usual


def _distances(
    made: Sequence[Measures | None], real: Sequence[Measures | None], seed: int
) -> tuple[int, Mapping[str, Cells]]:
    """How many proteins of each side are drawn, and the distances of both columns."""
    ours, theirs = ([one for one in side if one is not None] for side in (made, real))
    n = min(len(ours), len(theirs) // 2)
    if not n:
        return 0, {}
    cells: dict[str, Cells] = {"samples": {}, "reference": {}}
    real_shares, real_counts = [one.structure for one in theirs], [one.counts for one in theirs]
    for name, side in (("samples", ours), ("reference", theirs)):
        shares = real_shares if side is theirs else [one.structure for one in side]
        counts = real_counts if side is theirs else [one.counts for one in side]
        cells[name][_VARIATION] = secondary.against(shares, real_shares, n, seed=seed)
        if all(sum(c.sum() for c in held) for held in (counts, real_counts)):
            cells[name]["(phi, psi): Jensen–Shannon distance"] = ramachandran.apart(
                counts, real_counts, n, seed=seed
            )
    floor = cells["reference"][_VARIATION].value
    if floor > 0:
        cells["samples"][f"{_VARIATION} over its floor"] = cells["samples"][_VARIATION].value / floor
    return n, cells


_VARIATION = "(helix, strand): total variation"


def _similarities(
    sides: Mapping[str, Sequence[Protein | Failure]],
    found: Mapping[str, Sequence[Measures | None]],
    columns: Mapping[str, Cells],
    training: Sequence[Any] | Known | None,
    subsample: int | None,
    seed: int,
    show: bool | None,
) -> list[str]:
    """Adds what TM-scores say to the columns; what the caption says of them."""
    rng = np.random.default_rng(seed)
    chosen: dict[str, list[Protein]] = {}
    for name, side in sides.items():
        good = [
            item
            for item, one in zip(side, found[name])
            if isinstance(item, Protein) and one is not None and one.plausible
        ]
        order = rng.permutation(len(good))[:subsample].tolist()
        chosen[name] = [good[k] for k in order if len(good[k]) >= similarity.LEAST]
    n = min(map(len, chosen.values()))
    searched = [item for item in sides["samples"] if isinstance(item, Protein)]
    searched = [searched[k] for k in rng.permutation(len(searched))[:subsample].tolist()]
    try:
        if n > 1:
            for name, proteins in chosen.items():
                traces = [protein.backbone[:, 1] for protein in proteins]
                scores = similarity.pair_scores(traces, show=show)
                varied = similarity.diversity(scores, [len(t) for t in traces], n, seed=seed)
                columns[name]["TM of pairs at like lengths, median"] = varied.median
                columns[name]["pairs above TM 0.5"] = varied.same
                columns[name]["clusters at TM 0.5 per design"] = varied.clusters
        if training is not None and searched:
            known = training if isinstance(training, Known) else Known([_trace(item) for item in training])
            nearest = known.all_nearest([protein.backbone[:, 1] for protein in searched], show)
            tm = [one.score for one in nearest]
            columns["samples"]["TM to training, highest: median"] = median(tm)
            columns["samples"]["TM to training above 0.5"] = _above(tm, 0.5)
            columns["samples"]["TM to training above 0.9"] = _above(tm, 0.9)
    except MissingPackage as error:
        return [str(error)]
    says = (
        [f"TM-scores of {n} plausible designs (seed {seed})"]
        if n > 1
        else ["too few are plausible for TM-scores"]
    )
    return [*says, f"the nearest training chains of {len(searched)}"] if training is not None else says


def _above(scores: Sequence[float], threshold: float) -> Estimate:
    return wilson(sum(score > threshold for score in scores), len(scores))


def _trace(item: Any) -> Any:
    protein = as_protein(item)
    if isinstance(protein, Failure):
        raise ValueError("training must hold proteins, no failures")
    return protein.backbone[:, 1]
