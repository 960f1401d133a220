"""Ligands that a model draws for pockets held out of its training, beside real ligands and two controls.

    python -m benchmarks.molecule_pockets runs/pocket-demo --data ../shared/data -n 10

One pocket for each site of a split, and ``-n`` ligands in each, without rejection. Controls: the same ligands in permuted
pockets, and ligands that were made for none of these pockets, their means at the centres, turned at random:

    own               of the same model for the pockets of another split: as good or bad as molecules, and as large
    training          real ligands of the training split
    the name of a model of molecules, such as molecule-qm9-heavy, with as many atoms as the samples have, as far as its
                      training data go

Every further control has a table of its own. The verdict names the measures in which the samples are better than both
controls, with 95 % intervals over clusters of proteins; where there are none the model is a demonstration.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import langevin as lv
from langevin.modalities.molecule.atoms import quiet, to_mol
from langevin.modalities.molecule.complexes import Complex, Complexes, open_complexes
from langevin.modalities.molecule.design import design
from langevin.modalities.molecule.modality import MoleculeModality
from langevin.modalities.molecule.pocket_evaluation import BETTER, beats_controls, evaluate_in_pockets


def by_site(complexes: Sequence[Complex], split: str) -> dict[str, list[Complex]]:
    """Complexes of a split by site; the first one's pocket stands for it."""
    held: dict[str, list[Complex]] = {}
    for item in complexes:
        if item.split == split:
            held.setdefault(item.site, []).append(item)
    return held


def drawn(
    model: Any, sites: Mapping[str, list[Complex]], n: int, steps: int | None, seed: int
) -> dict[str, list[Any]]:
    """``n`` ligands for each site."""
    return {
        site: list(design(model, held[0].pocket, n, seed=seed + k, steps=steps, progress=False))
        for k, (site, held) in enumerate(sites.items())
    }


def control(
    name: str,
    model: Any,
    complexes: Complexes,
    sizes: Sequence[int],
    options: argparse.Namespace,
) -> list[Any]:
    """Ligands made for none of the pockets, as many as ``sizes``."""
    if name == "training":
        ligands = [item.ligand for item in complexes if item.split == "train"]
        chosen = np.random.default_rng(options.seed).permutation(len(ligands))[: len(sizes)]
        return [to_mol(ligands[k]) for k in chosen.tolist()]
    if name == "own":
        other = by_site(complexes, "validation" if options.split != "validation" else "test")
        each = -(-len(sizes) // len(other))
        made = drawn(model, other, each, options.steps, options.seed + 1000)
        return [item for items in made.values() for item in items]
    free = lv.load(name, device="cpu")
    modality = free.modality
    if not isinstance(modality, MoleculeModality) or modality.name != "molecule" or modality.hydrogens:
        raise SystemExit(f"--control: {name} is no model of molecules with implicit hydrogens")
    most = max(modality.sizes)
    count = [min(size, most) for size in sizes]
    out: list[Any] = []
    for size in sorted(set(count)):
        out += list(
            free.sample(count.count(size), atoms=size, seed=options.seed, steps=options.steps, progress=False)
        )
    if most < np.median(sizes):
        print(
            f"{name} has at most {most} atoms, the samples {np.median(sizes):g} by the median: smaller molecules touch less"
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="of pockets")
    parser.add_argument("-n", type=int, default=10, help="ligands for each site (10)")
    parser.add_argument("--split", default="test", choices=("test", "validation", "train"))
    parser.add_argument("--sites", type=int, help="only so many sites")
    parser.add_argument(
        "--control", nargs="+", default=["own", "training"], help="own, training, or models' names"
    )
    parser.add_argument(
        "--posebusters", default="dock_fast", help="dock_fast, dock, or none (3 s a ligand and more)"
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with molecules/…")
    parser.add_argument("--out", type=Path, help="write the tables as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with quiet():
        measure(options)


def measure(options: argparse.Namespace) -> None:
    model = lv.load(options.model, device="cpu")
    complexes = open_complexes(options.data / "molecules" / "pockets.tar.xz")
    sites = dict(list(by_site(complexes, options.split).items())[: options.sites])
    ligands = drawn(model, sites, options.n, options.steps, options.seed)
    valid = [m for items in ligands.values() for m in items if not isinstance(m, lv.Failure)]
    print(
        f"{len(valid)} of {sum(map(len, ligands.values()))} could be decoded, for {len(sites)} sites ({options.split})"
    )
    if not valid:
        raise SystemExit("no ligand could be decoded; train the model further")
    pockets = {site: held[0].pocket for site, held in sites.items()}
    references = {site: [to_mol(item.ligand) for item in held] for site, held in sites.items()}
    clusters = {site: held[0].cluster for site, held in sites.items()}
    told = []
    for name in options.control:
        free = control(name, model, complexes, [m.GetNumAtoms() for m in valid], options)
        table = evaluate_in_pockets(
            ligands,
            pockets,
            references,
            unconditional=free,
            clusters=clusters,
            config=None if options.posebusters == "none" else options.posebusters,
            seed=options.seed,
        )
        better = [
            row["measure"]
            for row in table.rows
            if row["measure"] in BETTER
            and row.get("samples − permuted") is not None
            and row.get("samples − unconditional") is not None
            and beats_controls(table, row["measure"])
        ]
        print(f"\nunconditional: {name}\n{table}\n")
        print(
            f"better than both controls in: {', '.join(better)}"
            if better
            else "better than both controls in no measure: a demonstration"
        )
        told.append({"control": name, "table": json.loads(table.to_json()), "better": better})
    if options.out:
        options.out.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
