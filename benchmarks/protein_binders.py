"""Binders for three targets: whether they touch the hotspots that they were asked to touch.

There are no complexes among the shared chains, each of which is centred by itself. So targets are held-out
chains of at most 75 residues (:data:`TARGETS`), and their hotspots the best patch of three exposed residues
(:func:`langevin.modalities.protein.metrics.surface.patch`). For each target ``n`` binders of 50 to 60 residues
are drawn four times: asked for the hotspots; and, as the control, asked for the best patch that is 12 Å away
from these; either as designs are by default, where the binder is moved off the target and onto its hotspots as a
rigid body on its way (:mod:`langevin.modalities.protein.docking`), or left where the network draws it
(``clearance=0``), which knows of hotspots by its condition alone. All of them are scored at the hotspots:

    touch two hotspots      share of designs of which at least two hotspots have a CA of the binder within 8 Å
                            of their CA
    clashes                 pairs of residues of binder and target per 100 residues of both. Real: of held-out
                            chains, between their two halves, as targets are sides of a chain in training
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.protein_tasks import drawn
from benchmarks.reporting import judged
from langevin.modalities.protein.design import design
from langevin.modalities.protein.metrics import geometry
from langevin.modalities.protein.metrics.joins import across
from langevin.modalities.protein.metrics.motif import hotspots_touched
from langevin.modalities.protein.metrics.surface import patch
from langevin.modalities.protein.protein import Protein
from langevin.modalities.statistics import bootstrap, wilson

TARGETS = {
    "1FCC_l_b": "C2 domain of protein G, which binds antibodies; sheet and helix",
    "1b3aA": "RANTES, a chemokine, which binds its receptor and itself; sheet and helix",
    "1e0bA": "chromo shadow domain of Swi6, a dimer; sheet and two helices",
}
BINDER = "50-60"
TOUCHED = 2  # hotspots
KINDS: dict[str, dict[str, float]] = {"": {}, ", left where it is drawn": {"clearance": 0.0}}


def halves(chains: Sequence[Protein]) -> list[float]:
    """Clashes per 100 residues between the two halves of each chain."""
    return [
        100 * across(geometry.clashes(one.backbone).pairs, np.arange(len(one)) < len(one) // 2) / len(one)
        for one in chains
    ]


def scored(made: Protein, target: Protein, hotspots: Sequence[int]) -> tuple[bool, float]:
    """Whether a binder touches two hotspots, and its clashes with the target per 100 residues.

    Args:
        made: binder and target.
        target: the input, one chain.
        hotspots: residues of it, indices.
    """
    rows = [
        made.where(str(target.chains[k]), int(target.numbers[k]), str(target.insertions[k])) for k in hotspots
    ]
    pairs = geometry.clashes(made.backbone, made.chains).pairs
    rate = 100 * across(pairs, made.chains == target.chains[0]) / len(made)
    return int(hotspots_touched(made, rows).sum()) >= TOUCHED, rate


def binders(model: Any, held: Sequence[Protein], n: int = 20, **options: Any) -> list[dict[str, str]]:
    """Rows of all targets.

    Args:
        model: of proteins.
        held: chains, the targets among them.
        n: designs of each kind.
        options: of the designs.
    """
    named = {one.note["name"]: one for one in held}
    real = bootstrap(halves(held))
    rows = []
    for name in TARGETS:
        target = named[name]
        chain = target.chain_ids[0]
        hot = patch(target)
        other = patch(target, away=hot)
        labels = [",".join(target.label(int(k)) for k in chosen) for chosen in (hot, other)]
        contig = f"{BINDER}/0 {target.label(0)}-{target.label(-1).removeprefix(chain)}"
        case = f"{name}, hotspots {labels[0]}; others {labels[1]}"
        for how, more in KINDS.items():
            asked, control = (
                [
                    scored(made, target, hot.tolist())
                    for made in drawn(design(model, contig, target, n, hotspots=text, **more, **options))
                ]
                for text in labels
            )
            rows += [
                judged(case, f"touch two hotspots{how}",
                       wilson(sum(touch for touch, _ in asked), n), 0.5, least=True),
                judged("", "… where others were asked for", wilson(sum(touch for touch, _ in control), n)),
                judged("", "clashes with the target per 100 residues",
                       bootstrap([rate for _, rate in asked]), 2 * real.value),
            ]  # fmt: skip
            case = ""
    return [*rows, judged("real chains", "clashes of two halves per 100 residues", real)]
