"""The figures on the cards of the shipped molecule models.

    python benchmarks/shipped_molecules.py molecule-qm9-heavy --data ../shared/data
    python benchmarks/shipped_molecules.py molecule-qm9 --data ../shared/data

Consecutive seeds from 0, no rejection, the model's own defaults except for the number of evaluations. Prints tables and
writes them as JSON with --out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import langevin as lv
from langevin.modalities.molecule.archives import read_archive
from langevin.modalities.molecule.atoms import to_mol
from langevin.modalities.molecule.metrics import evaluate
from langevin.modalities.molecule.soundness import inspect
from langevin.modalities.statistics import Table, wilson


def real(archive: Path, split: str, count: int, hydrogens: bool) -> list[Any]:
    """Molecules of the data, as the model would have them, chosen at random: the archive begins with the small ones."""
    found = read_archive(archive, split)
    chosen = np.random.default_rng(0).permutation(len(found))[:count].tolist()
    kept = [found[i] if hydrogens else found[i].heavy() for i in chosen]
    return [to_mol(atoms, explicit=hydrogens) for atoms in kept]


def budgets(model: Any, n: int, counts: list[int], hydrogens: bool) -> Table:
    """Soundness and speed at several numbers of evaluations."""
    rows = []
    for steps in counts:
        started = time.process_time()
        drawn = list(model.sample(n, steps=steps, seed=0))
        seconds = time.process_time() - started
        judged = inspect(drawn, hydrogens=hydrogens, busted=None)
        names = {
            "strict": [s.strict for s in judged],
            "coordinates agree, of strict": [bool(s.agrees) for s in judged if s.strict],
            "mol_fast, of strict": [bool(s.passes) for s in judged if s.strict],
            "sound": [s.sound for s in judged],
        }
        cells = {name: wilson(sum(found), max(1, len(found))) for name, found in names.items()}
        rows.append({"evaluations": steps, "n": n, **cells, "molecules per CPU second": n / seconds})
        print(rows[-1], flush=True)
    return Table(rows, "One thread; the time is that of drawing and decoding. Intervals: 95 %.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=2000, help="samples of the main table")
    parser.add_argument("--few", type=int, default=500, help="samples at each number of evaluations")
    parser.add_argument("--evaluations", type=int, nargs="*", default=[20, 50, 100])
    parser.add_argument("--folder", help="a model folder in place of the shipped one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with molecules/…")
    parser.add_argument("--out", type=Path, help="write the tables as JSON")
    options = parser.parse_args()
    model = lv.load(options.folder or options.model, device="cpu")
    hydrogens = model.modality.hydrogens
    archive = options.data / "molecules" / "qm9.npz"
    known = {
        "training": set(read_archive(archive, "train").smiles),
        "held out": {*read_archive(archive, "validation").smiles, *read_archive(archive, "test").smiles},
    }
    drawn = list(model.sample(options.n, seed=0))
    reference = real(archive, "test", 2 * options.n, hydrogens)
    table = evaluate(drawn, reference, known=known, hydrogens=hydrogens, subsample=None)
    tables = [budgets(model, options.few, options.evaluations, hydrogens), table]
    for one in tables:
        print(one, "\n")
    if options.out:
        options.out.write_text(json.dumps([json.loads(one.to_json()) for one in tables], indent=1))


if __name__ == "__main__":
    main()
