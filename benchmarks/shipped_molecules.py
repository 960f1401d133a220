"""The figures on the cards of the shipped molecule models.

    python benchmarks/shipped_molecules.py molecule-qm9-heavy --data ../shared/data
    python benchmarks/shipped_molecules.py molecule-qm9 --data ../shared/data

Consecutive seeds from 0, no rejection, the model's own defaults except for the number of evaluations. Prints tables and
writes them as JSON with --out. Beside the samples and the data stand what distances of bond lengths mean (of real molecules
whose coordinates were moved by Gaussian noise, :func:`ladder`) and what EDM published of itself (:data:`EDM`), where
hydrogens are atoms.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

import langevin as lv
from langevin.modalities.molecule.archives import read_archive
from langevin.modalities.molecule.atoms import to_mol
from langevin.modalities.molecule.geometry import divergence, shapes
from langevin.modalities.molecule.metrics import evaluate
from langevin.modalities.molecule.soundness import inspect
from langevin.modalities.statistics import Table, wilson

NOISE = (0.005, 0.01, 0.02, 0.05)  # Å
LENGTHS = "lengths: Jensen–Shannon distance"
# Hoogeboom et al., Equivariant diffusion for molecule generation in 3D (2022), arXiv 2203.17003, tables 1 and 2: 10,000
# samples, 1,000 evaluations, QM9 with fluorine
EDM = {"EDM atom stability": 0.987, "EDM molecule stability": 0.820, "EDM validity": 0.919}


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
        drawn = list(model.sample(n, evaluations=steps, seed=0))
        seconds = time.process_time() - started
        judged = inspect(drawn, hydrogens=hydrogens, busted=None)
        names: dict[str, list[bool]] = {
            "strict": [bool(s.strict) for s in judged],
            "coordinates agree, of strict": [bool(s.agrees) for s in judged if s.strict],
            "mol_fast, of strict": [bool(s.passes) for s in judged if s.strict],
            "sound": [bool(s.sound) for s in judged],
        }
        cells = {name: wilson(sum(found), max(1, len(found))) for name, found in names.items()}
        rows.append({"evaluations": steps, "n": n, **cells, "molecules per CPU second": n / seconds})
        print(rows[-1], flush=True)
    return Table(rows, "One thread; the time is that of drawing and decoding. Intervals: 95 %.")


def ladder(mols: list[Any], n: int) -> dict[float, float]:
    """Jensen–Shannon distance of bond lengths, by the deviation in Å of noise on all coordinates of real molecules.

    Args:
        mols: real molecules; the first ``n`` get the noise, and are compared with the ``n`` after them as they are.
        n: as many as the samples have, since the distance depends on it.
    """
    against = shapes(mols[n : 2 * n])["lengths"]
    found = {}
    for sigma in NOISE:
        rng = np.random.default_rng(0)
        moved = [Chem.Mol(mol) for mol in mols[:n]]
        for mol in moved:
            x = mol.GetConformer().GetPositions()
            mol.GetConformer().SetPositions(x + sigma * rng.standard_normal(x.shape))
        found[sigma] = float(np.sqrt(divergence(shapes(moved)["lengths"], against)))
    return found


def beside(table: Table, reference: list[Any], n: int) -> Table:
    """The table with the ladder below the distance of bond lengths, and EDM's figures in a column of their own.

    Args:
        table: of :func:`~langevin.modalities.molecule.metrics.evaluate`.
        reference: real molecules.
        n: of samples that were decoded.
    """
    rows: list[dict[str, Any]] = []
    for row in table.rows:
        published = EDM.get(row["measure"])
        rows.append({**row, **({} if published is None else {"EDM (other data, not comparable)": published})})
        if row["measure"] == LENGTHS:
            found = ladder(reference, min(n, len(reference) // 2))
            rows += [
                {"measure": f"{LENGTHS}, with noise of {sigma:g} Å", "reference": value}
                for sigma, value in found.items()
            ]
    says = table.caption
    if any(row["measure"] in EDM for row in rows):
        says += (
            " EDM: as published (Hoogeboom et al., 2022, arXiv 2203.17003; 10,000 samples at 1,000 evaluations), "
            "for QM9 with fluorine."
        )
    return Table(rows, says)


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
    decoded = sum(not isinstance(mol, lv.Failure) for mol in drawn)
    tables = [
        budgets(model, options.few, options.evaluations, hydrogens),
        beside(table, reference, decoded),
    ]
    for one in tables:
        print(one, "\n")
    if options.out:
        options.out.write_text(json.dumps([json.loads(one.to_json()) for one in tables], indent=1))


if __name__ == "__main__":
    main()
