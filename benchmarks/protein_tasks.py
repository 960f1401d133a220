"""What a protein model does with a part of a protein given, on held-out chains.

    python -m benchmarks.protein_tasks protein-backbone --data ../shared/data
    python -m benchmarks.protein_tasks --folder runs/protein-backbone -n 28 --out tasks.json

Each row is one use of ``keep`` or ``start``, on the held-out chains of 40 to 128 residues (validation and test), a sample
for each, the model's own defaults, seed 0:

    sequence for a backbone     recovery, the share of residues whose type is the chain's own, beside the recovery of the
                                commonest types of the training chains in each secondary structure, and of another chain's
                                sequence; and with types drawn at a temperature of 0.1
    loop                        a stretch of ten residues that are neither helix nor strand nor an end (or near to
                                that) drawn anew: RMSD of its backbone in the frame of the chain, not superposed, beside a
                                straight line of CA between its ends; and whether the bonds at the joins are real ones
    motif                       two stretches of twelve residues kept, with lengths between and around them redrawn as in
                                the chain: RMSD of the motif, TM of the whole to the chain, plausible designs
    backbone for a sequence     TM to the chain, beside that of unconditional designs of its length
    secondary structure given   share of residues whose drawn structure, by hydrogen bonds, is the given one, beside that
                                of unconditional designs
    fold given                  of 14 chains, secondary structure kept and adjacency of its helices and strands pushed to:
                                F1 of the adjacent pairs and agreement of the secondary structure, TM to the chain; beside
                                designs with the secondary structure alone, and unconditional ones
    partial diffusion           TM to the chain from t = 0.1, 0.3 and 0.5
    symmetry                    C2, C3 and D2 of the model's own making: RMSD from perfect copies, plausible units
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import langevin as lv
from benchmarks.reporting import heading, table
from langevin.modalities.base import Failure
from langevin.modalities.protein.archives import read_archive
from langevin.modalities.protein.design import design
from langevin.modalities.protein.fold import Fold
from langevin.modalities.protein.metrics.fold import fold_agreement
from langevin.modalities.protein.metrics.motif import symmetry_rmsd
from langevin.modalities.protein.metrics.plausible import measure
from langevin.modalities.protein.metrics.similarity import superposed, tm_score
from langevin.modalities.protein.protein import Protein, of_structure
from langevin.modalities.protein.secondary import secondary
from langevin.modalities.statistics import bootstrap, wilson

LOOP, PIECE, FOLDS = 10, 12, 14
COLD = 0.1  # temperature of types
JOIN = 0.15  # Å of CA–CA from trans or cis


def mean(values: Sequence[float]) -> str:
    """The mean with its interval (95 %, bootstrap over chains)."""
    found = bootstrap(np.asarray(values, np.float64), seed=0)
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def share(hits: Sequence[bool]) -> str:
    """A share with its interval (95 %, Wilson)."""
    found = wilson(int(sum(hits)), len(hits))
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def drawn(samples: Any) -> list[Protein]:
    """Designs as residues; a failure ends the benchmark, since none is expected."""
    failed = [item.reason for item in samples if isinstance(item, Failure)]
    if failed:
        raise SystemExit(f"{len(failed)} designs failed: {failed[0]}")
    return [of_structure(item) for item in samples]


def common(training: Sequence[Protein]) -> dict[str, int]:
    """The commonest type in each secondary structure."""
    counts = {letter: np.zeros(21, np.int64) for letter in "HE-"}
    for protein in training:
        letters = np.array(list(secondary(protein)))
        for letter, count in counts.items():
            count += np.bincount(protein.types[letters == letter], minlength=21)
    return {letter: int(count.argmax()) for letter, count in counts.items()}


def loop_of(protein: Protein) -> np.ndarray:
    """Ten residues inside the chain with as little helix and strand as there is."""
    letters = np.array(list(secondary(protein)))
    starts = range(5, len(protein) - LOOP - 5)
    best = min(starts, key=lambda a: (letters[a : a + LOOP] != "-").sum())
    return np.arange(best, best + LOOP)


def off(a: Protein, b: Protein, rows: np.ndarray) -> float:
    """RMSD of N, CA and C where both lie in one frame, Å."""
    difference = a.backbone[rows, :3] - b.backbone[rows, :3]
    return float(np.sqrt((difference.astype(np.float64) ** 2).sum(-1).mean()))


def joined(protein: Protein, rows: np.ndarray) -> bool:
    """Whether CA–CA at both ends of a redrawn stretch is that of a trans or cis bond."""
    ca = protein.backbone[:, 1]
    ends = [np.linalg.norm(ca[k] - ca[k - 1]) for k in (rows[0], rows[-1] + 1)]
    return all(min(abs(d - 3.8), abs(d - 2.95)) < JOIN for d in ends)


def tm(a: Protein, b: Protein) -> float:
    return float(tm_score(a.backbone[:, 1], b.backbone[:, 1])[1])


def sequences(model: Any, chains: Sequence[Protein], training: Sequence[Protein]) -> list[dict[str, str]]:
    given = lv.keep.leaves("positions", "frames", "secondary")
    made, cold = (
        drawn(model.sample(len(chains), like=list(chains), keep=given, seed=0, temperature=t))
        for t in (None, {"residues": COLD})
    )
    usual = common(training)
    plain = [np.mean([usual[x] == t for x, t in zip(secondary(c), c.types, strict=True)]) for c in chains]
    other = [
        np.mean(c.types[: min(len(c), len(o))] == o.types[: min(len(c), len(o))])
        for c, o in zip(chains, [*chains[1:], chains[0]], strict=True)
    ]
    own, colder = (
        [np.mean(a.types == b.types) for a, b in zip(some, chains, strict=True)] for some in (made, cold)
    )
    return [
        {"task": "sequence for a backbone", "figure": "recovery", "value": mean(own)},
        {"task": "", "figure": f"… at a temperature of {COLD:g}", "value": mean(colder)},
        {"task": "", "figure": "… of the commonest types", "value": mean(plain)},
        {"task": "", "figure": "… of another chain's", "value": mean(other)},
    ]


def loops(model: Any, chains: Sequence[Protein]) -> list[dict[str, str]]:
    found, line, joins = [], [], []
    for k, chain in enumerate(chains):
        rows = loop_of(chain)
        kept = np.setdiff1d(np.arange(len(chain)), rows)
        (made,) = drawn(
            model.sample(1, like=chain, keep=lv.keep.elements(*kept.tolist()), seed=k, progress=False)
        )
        found.append(off(made, chain, rows))
        ca = chain.backbone[:, 1]
        straight = np.linspace(ca[rows[0] - 1], ca[rows[-1] + 1], LOOP + 2)[1:-1]
        line.append(float(np.sqrt(((straight - ca[rows]) ** 2).sum(-1).mean())))
        joins.append(joined(made, rows))
    return [
        {"task": "loop of ten residues", "figure": "RMSD, Å", "value": mean(found)},
        {"task": "", "figure": "… of a straight line (CA)", "value": mean(line)},
        {"task": "", "figure": "bonds at both joins", "value": share(joins)},
    ]


def motifs(model: Any, chains: Sequence[Protein]) -> list[dict[str, str]]:
    moved, alike, good = [], [], []
    for k, chain in enumerate(chains):
        n = len(chain)
        rows = np.r_[n // 4 : n // 4 + PIECE, n // 2 + 4 : n // 2 + 4 + PIECE]
        (made,) = drawn(
            model.sample(1, like=chain, keep=lv.keep.elements(*rows.tolist()), seed=k, progress=False)
        )
        moved.append(
            superposed(made.backbone[rows, :3].reshape(-1, 3), chain.backbone[rows, :3].reshape(-1, 3))[2]
        )
        alike.append(tm(made, chain))
        good.append(measure(made).plausible)
    return [
        {"task": "motif of 24 residues", "figure": "RMSD of the motif, Å", "value": mean(moved)},
        {"task": "", "figure": "TM to the chain", "value": mean(alike)},
        {"task": "", "figure": "plausible", "value": share(good)},
    ]


def wholes(model: Any, chains: Sequence[Protein]) -> list[dict[str, str]]:
    free = [drawn(model.sample(1, length=len(c), seed=k, progress=False))[0] for k, c in enumerate(chains)]
    folded = drawn(model.sample(len(chains), like=list(chains), keep=lv.keep.leaves("residues"), seed=0))
    shaped = drawn(model.sample(len(chains), like=list(chains), keep=lv.keep.leaves("secondary"), seed=0))

    def agreed(made: Sequence[Protein]) -> list[float]:
        pairs = zip(made, chains, strict=True)
        return [
            float(np.mean([x == y for x, y in zip(secondary(a), secondary(b), strict=True)]))
            for a, b in pairs
        ]

    rows = [
        {
            "task": "backbone for a sequence",
            "figure": "TM to the chain",
            "value": mean([tm(a, b) for a, b in zip(folded, chains)]),
        },
        {
            "task": "",
            "figure": "… of unconditional designs",
            "value": mean([tm(a, b) for a, b in zip(free, chains)]),
        },
        {"task": "secondary structure given", "figure": "residues that agree", "value": mean(agreed(shaped))},
        {"task": "", "figure": "… of unconditional designs", "value": mean(agreed(free))},
    ]
    for t in (0.1, 0.3, 0.5):
        near = drawn(model.sample(len(chains), start=list(chains), strength=t, seed=0))
        alike = [tm(a, b) for a, b in zip(near, chains, strict=True)]
        rows.append(
            {"task": f"partial diffusion, t = {t}", "figure": "TM to the chain", "value": mean(alike)}
        )
    return rows


def folds(model: Any, chains: Sequence[Protein]) -> list[dict[str, str]]:
    picked = [chains[k] for k in np.linspace(0, len(chains) - 1, min(FOLDS, len(chains))).astype(int)]
    asked = [(chain, Fold.of(chain)) for chain in picked]
    asked = [(chain, fold) for chain, fold in asked if len(fold.blocks) > 1]
    rows = []
    ways: dict[str, Callable[[Fold], dict[str, Any]]] = {
        "fold given": lambda fold: {"fold": fold},
        "… its secondary structure alone": lambda fold: {
            "contig": str(len(fold)),
            "secondary": fold.secondary,
        },
        "… unconditional": lambda fold: {"contig": str(len(fold))},
    }
    for name, way in ways.items():
        made = [
            drawn(design(model, **way(fold), seed=k, progress=False))[0] for k, (_, fold) in enumerate(asked)
        ]
        found = [fold_agreement(item, fold) for item, (_, fold) in zip(made, asked, strict=True)]
        alike = [tm(item, chain) for item, (chain, _) in zip(made, asked, strict=True)]
        figures = {
            "F1 of adjacent pairs": [one.f1 for one in found],
            "… precision": [one.precision for one in found],
            "… recall": [one.recall for one in found],
            "secondary structure that agrees": [one.secondary for one in found],
            "TM to the chain": alike,
        }
        for figure, values in figures.items():
            rows.append(
                {"task": name if figure.startswith("F1") else "", "figure": figure, "value": mean(values)}
            )
    return rows


def assemblies(model: Any, n: int) -> list[dict[str, str]]:
    rows = []
    for name, copies in (("C2", 2), ("C3", 3), ("D2", 4)):
        made = drawn(design(model, str(60 * copies), n=n, symmetry=name, seed=0))
        far = [symmetry_rmsd(item) for item in made]
        good = [measure(item[item.chains == item.chain_ids[0]]).plausible for item in made]
        rows += [
            {
                "task": f"{name} of 60 residues each",
                "figure": "RMSD from perfect copies, Å",
                "value": mean(far),
            },
            {"task": "", "figure": "plausible units", "value": share(good)},
        ]
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="protein-backbone")
    parser.add_argument("--folder", help="a model folder in place of the shipped one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with proteins/…")
    parser.add_argument("-n", type=int, default=28, help="chains, spread over the held-out ones")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = lv.load(args.folder or args.model, device="cpu")
    held: list[Protein] = []
    for split in ("validation", "test"):
        held += [
            p for p in read_archive(args.data / "proteins" / "proteins.npz", split) if 40 <= len(p) <= 128
        ]
    chains = [held[k] for k in np.linspace(0, len(held) - 1, min(args.n, len(held))).astype(int)]
    training = read_archive(args.data / "proteins" / "proteins.npz", "train")
    heading(f"{len(chains)} held-out chains, seed 0, the model's own defaults, one thread")
    rows: list[dict[str, str]] = []
    tasks: list[Callable[[], list[dict[str, str]]]] = [
        lambda: sequences(model, chains, list(training)),
        lambda: loops(model, chains),
        lambda: motifs(model, chains),
        lambda: wholes(model, chains),
        lambda: folds(model, chains),
        lambda: assemblies(model, 8),
    ]
    for task in tasks:
        found = task()
        table(found)
        rows += found
    if args.out:
        args.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
