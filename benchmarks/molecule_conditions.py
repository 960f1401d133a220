"""What was asked of a conditional molecule model against what was obtained.

    python benchmarks/molecule_conditions.py molecule-qm9-heavy --data ../shared/data

Conditions are those of molecules held out of training. Descriptors are computed by rdkit from the graphs that come out, so
that a difference is the model's and not a predictor's.

    formula      share of samples with exactly the atoms asked for; of a model that is told the number of atoms only; chance
    a number     mean absolute error, and the correlation, beside samples asked for another molecule's number (chance)

Sound samples alone are compared; the table says how many are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import langevin as lv
from langevin.modalities.molecule.archives import read_archive
from langevin.modalities.molecule.atoms import to_mol
from langevin.modalities.molecule.descriptors import FORMULA, describe, formula_of
from langevin.modalities.molecule.formula import parse_formula
from langevin.modalities.molecule.soundness import inspect
from langevin.modalities.statistics import Table, wilson


def share(found: list[bool]) -> Any:
    return wilson(sum(found), max(1, len(found)))


def sound(drawn: list[Any], hydrogens: bool) -> list[bool]:
    return [bool(s.sound) for s in inspect(drawn, hydrogens=hydrogens, busted=None)]


def formulas(model: Any, asked: list[str], weights: list[float]) -> list[dict[str, Any]]:
    """Exact compositions."""
    hydrogens = model.modality.hydrogens

    def same(drawn: list[Any]) -> list[bool]:
        counts = [parse_formula(f, model.modality.elements) for f in asked]
        return [
            not isinstance(m, lv.Failure) and parse_formula(formula_of(m), model.modality.elements) == c
            for m, c in zip(drawn, counts)
        ]

    rows = []
    for weight in weights:
        drawn = list(model.sample(len(asked), formula=asked, guidance=weight, seed=0))
        rows.append(
            {
                "asked": FORMULA,
                "guidance": weight,
                "as asked": share(same(drawn)),
                "sound": share(sound(drawn, hydrogens)),
            }
        )
    drawn = []
    for count in (sum(parse_formula(f, model.modality.elements).values()) for f in asked[:200]):
        drawn += list(model.sample(1, atoms=count, seed=len(drawn), progress=False))
    rows.append(
        {
            "asked": "number of atoms only",
            "as asked": share(same(drawn)),
            "sound": share(sound(drawn, hydrogens)),
        }
    )
    return rows


def numbers(model: Any, name: str, asked: list[float], weights: list[float]) -> list[dict[str, Any]]:
    """One number asked for."""
    hydrogens = model.modality.hydrogens
    rows = []
    for weight in weights:
        drawn = list(model.sample(len(asked), **{name: asked}, guidance=weight, seed=0))
        good = sound(drawn, hydrogens)
        pairs = [
            (value, float(describe(mol, name, hydrogens)[name]))
            for mol, value, ok in zip(drawn, asked, good)
            if ok
        ]
        if len(pairs) < 2:
            rows.append({"asked": name, "guidance": weight, "sound": share(good)})
            continue
        want, got = (np.array(part) for part in zip(*pairs))
        other = np.random.default_rng(0).permutation(want)
        rows.append(
            {
                "asked": name,
                "guidance": weight,
                "error": float(np.abs(got - want).mean()),
                "chance": float(np.abs(got - other).mean()),
                "correlation": float(np.corrcoef(want, got)[0, 1]),
                "sound": share(good),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument(
        "-n", type=int, default=500, help="molecules of the test split whose conditions are asked for"
    )
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 2.0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with molecules/…")
    parser.add_argument("--out", type=Path, help="write the table as JSON")
    options = parser.parse_args()
    model = lv.load(options.model, device="cpu")
    hydrogens = model.modality.hydrogens
    data = read_archive(options.data / "molecules" / "qm9.npz", "test")
    chosen = np.random.default_rng(1).permutation(len(data))[: options.n].tolist()
    mols = [to_mol(data[i] if hydrogens else data[i].heavy(), explicit=hydrogens) for i in chosen]
    rows: list[dict[str, Any]] = []
    for name in model.conditions:
        values = [describe(mol, name, hydrogens)[name] for mol in mols]
        measure = formulas(model, values, options.guidance) if name == FORMULA else None
        rows += measure or numbers(model, name, [float(v) for v in values], options.guidance)
    table = Table(
        rows, f"Conditions of {options.n} molecules of the test split, one sample for each. Intervals: 95 %."
    )
    print(table)
    if options.out:
        options.out.write_text(json.dumps([json.loads(table.to_json())], indent=1))


if __name__ == "__main__":
    main()
