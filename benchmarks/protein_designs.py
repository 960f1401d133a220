"""What a protein model designs, at the bars set for it: scaffolds for motifs, symmetric assemblies, binders.

    python -m benchmarks.protein_designs protein-backbone --data ../shared/data
    python -m benchmarks.protein_designs --folder runs/protein-backbone --only motifs -n 20 --out designs.json

The model's own defaults, seed 0, no rejection. Beside the designs stand held-out chains (validation and test,
40 to 128 residues). ``--only`` takes one of

    motifs      six motifs, 100 designs each: :mod:`benchmarks.protein_motifs`
    symmetry    below
    binders     three targets, 20 designs each of four kinds: :mod:`benchmarks.protein_binders`

Symmetry: 20 assemblies each of C3 and D2, of 60 residues a chain, as the network draws them, and with the
potential olig_contacts with the weights of RFdiffusion's examples (1 within chains, 0.1 between them):

    RMSD from perfect copies    the largest of any chain of any assembly, of all backbone atoms where they
                                stand: chain k beside rotation k of the first one about the origin
    every chain has an interface    share of assemblies. A contact is a pair of CA nearer than 8 Å, an interface
                                a pair of chains with at least ten; pairs of chains that graze have none. In C3
                                all three pairs are alike; in D2 one kind of the three is enough
    … and they join all         share of assemblies that interfaces make one whole of: D2 may be two dimers
    clashes                     pairs of residues per 100, in and between chains. Real: in held-out chains

T, O and I, which have 12, 24 and 60 chains, are drawn once each with 40 residues a chain in 25 steps, for
their RMSD alone. Intervals are 95 %: Wilson's of shares, bootstrap of means. Joins of one design are not
independent, which the interval of their share leaves out of account.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import langevin as lv
from benchmarks.protein_binders import binders
from benchmarks.protein_motifs import EXACT, motifs
from benchmarks.protein_tasks import drawn
from benchmarks.reporting import heading, judged, table, write
from langevin.modalities.protein.archives import read_archive
from langevin.modalities.protein.design import design
from langevin.modalities.protein.metrics import geometry
from langevin.modalities.protein.metrics.motif import partners, symmetry_rmsd
from langevin.modalities.protein.protein import Protein
from langevin.modalities.protein.symmetry import group, order
from langevin.modalities.statistics import bootstrap, wilson

PARTS = ("motifs", "symmetry", "binders")
ASSEMBLIES, LARGE = ("C3", "D2"), ("T", "O", "I")
CONTACTS = "type:olig_contacts,weight_intra:1,weight_inter:0.1"


def per_hundred(protein: Protein) -> float:
    """Clashes of all residues, per 100."""
    return 100 * len(geometry.clashes(protein.backbone, protein.chains).pairs) / len(protein)


def assembled(
    model: Any, name: str, residues: int, n: int, potentials: Sequence[str] = (), **options: Any
) -> list[Protein]:
    """Designs of a group with so many residues a chain."""
    total = str(residues * order(name))
    return drawn(design(model, total, n=n, symmetry=name, potentials=potentials, **options))


def apart(made: Sequence[Protein], name: str) -> float:
    """The largest RMSD from perfect copies about the origin, Å."""
    turns = group(name).double().numpy()
    return max(symmetry_rmsd(one, turns) for one in made)


def assemblies(
    model: Any,
    held: Sequence[Protein],
    n: int = 20,
    residues: int = 60,
    large: int = 40,
    steps: int = 25,
    **options: Any,
) -> list[dict[str, str]]:
    """Rows of all groups.

    Args:
        model: of proteins.
        held: real chains.
        n: assemblies of each kind.
        residues, large: of a chain, of the small groups and of T, O and I.
        steps: of T, O and I.
        options: of the designs.
    """
    real = bootstrap([per_hundred(one) for one in held])
    rows = []
    for name in ASSEMBLIES:
        for how, strings in {"": (), ", olig_contacts": (CONTACTS,)}.items():
            made = assembled(model, name, residues, n, strings, **options)
            held_by = [partners(one) for one in made]
            rows += [
                judged(f"{name} of {residues} residues a chain{how}", "RMSD from perfect copies, Å, largest",
                       apart(made, name), EXACT),
                judged("", "every chain has an interface", wilson(sum(p.each for p in held_by), n), 0.8, least=True),
                judged("", "… and they join all", wilson(sum(p.whole for p in held_by), n)),
                judged("", "clashes per 100 residues", bootstrap([per_hundred(one) for one in made]), 2 * real.value),
            ]  # fmt: skip
    rows.append(judged("real chains", "clashes per 100 residues", real))
    for name in LARGE:
        made = assembled(model, name, large, 1, **{**options, "steps": steps})
        case = f"{name} of {large} residues a chain"
        rows.append(judged(case, "RMSD from perfect copies, Å, largest", apart(made, name), EXACT))
    return rows


def held_out(data: Path) -> list[Protein]:
    """Chains of validation and test of 40 to 128 residues, with their side chains."""
    archive = data / "proteins" / "proteins.npz"
    splits = [read_archive(archive, split, sidechains=True) for split in ("validation", "test")]
    return [one for split in splits for one in split if 40 <= len(one) <= 128]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="protein-backbone")
    parser.add_argument("--folder", help="a model folder in place of the shipped one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with proteins/…")
    parser.add_argument("--only", choices=PARTS, help="one part; all by default")
    parser.add_argument(
        "-n", type=int, help="designs of each kind; 100 for motifs and 20 for others by default"
    )
    parser.add_argument("--out", type=Path, help="write the rows as .json or .csv")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = lv.load(args.folder or args.model, device="cpu")
    held = held_out(args.data)
    count = {} if args.n is None else {"n": args.n}
    tasks: dict[str, Callable[[], list[dict[str, str]]]] = {
        "motifs": lambda: motifs(model, held, **count),
        "symmetry": lambda: assemblies(model, held, **count),
        "binders": lambda: binders(model, held, **count),
    }
    heading(f"{model.name}, seed 0, the model's own defaults, one thread; {len(held)} held-out chains")
    rows: list[dict[str, str]] = []
    for name in [args.only] if args.only else PARTS:
        found = tasks[name]()
        table(found)
        rows += found
        write(args.out, rows, {"model": model.name, "n": args.n})  # after each part, which may take hours
    return 0


if __name__ == "__main__":
    sys.exit(main())
