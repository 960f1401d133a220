"""Asked against obtained for labels that no rule computes: DFT energies, HOMO energies and dipoles of 10,000 molecules.

    python -m benchmarks.molecule_labels --data ../shared/data --out runs/molecule-labels

The labels are cut into two halves at random. Half A fine-tunes a shipped model with three numbers as conditions. Half B
trains a predictor, which judges what was generated: it never saw a label of the generator's. Asked are the values of those
molecules of B that belong to neither the shipped model's training split nor the predictor's training.

    homo      energy of the highest occupied orbital, Hartree
    dipole    its magnitude, atomic units (2.5417 Debye)
    energy    atomisation energy less its linear fit in atom counts (H, C, N, O; least squares on half A), Hartree:
              composition alone explains more than 99 % of the energy, and a formula can be asked for as it is

Rows, errors being mean |predicted - asked|:

    real                the asked molecules themselves against their own labels: what the predictor cannot tell
    same composition    molecules of half A drawn at random with the formula of the asked molecule, hydrogens too (where A
                        has none of it: with as many heavy atoms)
    nothing asked       samples of the same model without conditions
    shuffled            samples of guidance 1 against the values that were asked of other samples
    asked               samples with this one number asked, by the weight of classifier-free guidance
    all three asked     each number, where all are asked at once

Errors are those of sound samples; the share of these stands beside them. The predictor is a kernel ridge regression
(scikit-learn) on figures of the graph, and the dipoles that charges of MMFF94 and Gasteiger have at the molecule's own
coordinates.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import langevin as lv
from benchmarks.reporting import heading
from langevin.modalities.molecule.archives import read_archive
from langevin.modalities.molecule.atoms import Atoms, quiet, to_mol
from langevin.modalities.molecule.data import MoleculeDataset
from langevin.modalities.molecule.soundness import inspect
from langevin.modalities.statistics import Table, bootstrap

COLUMNS = {"homo": "homo_energy_hartree", "dipole": "dipole_atomic_units", "energy": "binding_energy_hartree"}
COUNTED = (1, 6, 7, 8)  # H, C, N, O
SETTINGS = {  # of molecule-qm9-heavy: no given parts, classes in step with positions
    "objective": {"given": 0.0},
    "sampling": {
        "temperature": {"elements": 1.0, "charges": 1.0, "bonds": 0.3},
        "lag": {"elements": 1.0, "charges": 1.0, "bonds": 1.0},
    },
}
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """Molecules of the shipped model's kind with their labels: atoms, formulas, values by name, and the split of each."""

    atoms: list[Atoms]
    counts: Array
    values: dict[str, Array]
    split: NDArray[np.uint8]


def read(folder: Path) -> Labelled:
    """The labelled molecules of the archive, heavy atoms only."""
    archive = read_archive(folder / "molecules" / "qm9.npz", own=("gdb_index", "split"))
    with (folder / "molecules" / "qm9_10k_properties.csv").open() as file:
        lines = {int(line["gdb_index"]): line for line in csv.DictReader(file)}
    index = archive.arrays["gdb_index"].tolist()
    chosen = [k for k, number in enumerate(index) if number in lines]
    whole = [archive[k] for k in chosen]
    values = {name: np.array([float(lines[index[k]][c]) for k in chosen]) for name, c in COLUMNS.items()}
    counts = np.array([[(atoms.numbers == z).sum() for z in COUNTED] for atoms in whole], np.float64)
    return Labelled([atoms.heavy() for atoms in whole], counts, values, archive.arrays["split"][chosen])


def features(mols: Sequence[Any]) -> Array:
    """What the predictor sees of molecules with coordinates; hydrogens are added where none are."""
    from rdkit import Chem
    from rdkit.Chem import rdForceFieldHelpers, rdMolDescriptors, rdPartialCharges

    figures = rdMolDescriptors.Properties(rdMolDescriptors.Properties.GetAvailableProperties())
    rows = []
    with quiet():
        for mol in mols:
            full = Chem.AddHs(mol, addCoords=True)
            at = full.GetConformer().GetPositions()
            rdPartialCharges.ComputeGasteigerCharges(full)
            first = np.array([float(atom.GetProp("_GasteigerCharge")) for atom in full.GetAtoms()])
            field = rdForceFieldHelpers.MMFFGetMoleculeProperties(full)
            second = np.array([field.GetMMFFPartialCharge(k) for k in range(len(at))]) if field else first
            charges = [
                f for q in (first, second) for f in (q.min(), q.max(), abs(q).sum(), np.linalg.norm(q @ at))
            ]
            rows.append([*figures.ComputeProperties(mol), *rdMolDescriptors.BCUT2D(mol), *charges])
    return np.nan_to_num(np.array(rows, np.float64), posinf=0.0, neginf=0.0)


class Predictor:
    """One kernel ridge regression for each property, on the same standardised features."""

    def __init__(self, seen: Array, values: dict[str, Array]) -> None:
        from sklearn.kernel_ridge import KernelRidge
        from sklearn.metrics.pairwise import manhattan_distances

        self.mean, self.std = seen.mean(0), seen.std(0) + 1e-9
        x = self._standard(seen)
        width = float(np.median(manhattan_distances(x[:500], x[500:1000])))
        self.scale = {name: (v.mean(), v.std()) for name, v in values.items()}
        y = np.stack([(v - v.mean()) / v.std() for v in values.values()], 1)
        self.names = tuple(values)
        self.ridge = KernelRidge(alpha=0.1, kernel="laplacian", gamma=0.5 / width).fit(x, y)

    def _standard(self, seen: Array) -> Array:
        return np.clip((seen - self.mean) / self.std, -6, 6)

    def __call__(self, seen: Array) -> dict[str, Array]:
        """Values by property, one for each molecule."""
        found = self.ridge.predict(self._standard(seen))
        return {
            name: found[:, k] * self.scale[name][1] + self.scale[name][0] for k, name in enumerate(self.names)
        }


def alike(data: Labelled, asked: NDArray[np.int64], pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each asked molecule another one of the pool, with its formula, else with as many heavy atoms."""
    rng, exact, sized = np.random.default_rng(2), defaultdict(list), defaultdict(list)
    for k in pool.tolist():
        exact[tuple(data.counts[k])].append(k)
        sized[data.counts[k, 1:].sum()].append(k)
    same = [exact.get(tuple(data.counts[k])) for k in asked.tolist()]
    print(
        f"{np.mean([some is not None for some in same]):.1%} of the asked molecules have one of their formula in half A"
    )
    found = [some or sized[data.counts[k, 1:].sum()] for k, some in zip(asked.tolist(), same)]
    return np.array([rng.choice(some) for some in found])


def trained(data: Labelled, half: NDArray[np.int64], about: str, options: argparse.Namespace) -> Any:
    """The fine-tuned model; where its folder has one of as many steps, that one."""
    chosen = MoleculeDataset(
        [data.atoms[k] for k in half], properties={name: v[half].tolist() for name, v in data.values.items()}
    )
    started, spent = time.perf_counter(), time.process_time()
    lv.train(
        chosen,
        "molecule",
        start=options.start,
        steps=options.steps,
        batch=128,
        lr=options.lr,
        warmup=50,
        decay="cosine",
        out=options.out,
        model={"name": "molecule-labels", "summary": about, **SETTINGS},
        device="cpu",
    )
    print(
        f"{options.steps} steps of 128, less those that the folder had: {time.process_time() - spent:.0f} s of one thread, "
        f"{time.perf_counter() - started:.0f} s by the clock",
        flush=True,
    )
    return lv.load(options.out, device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--start", default="molecule-qm9-heavy", help="what is fine-tuned; heavy atoms only")
    parser.add_argument("--steps", type=int, default=700, help="of fine-tuning")
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("-n", type=int, default=500, help="molecules whose values are asked for")
    parser.add_argument("--evaluations", type=int, default=50)
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 1.5, 2.0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with molecules/…")
    parser.add_argument("--out", type=Path, default=Path("runs/molecule-labels"), help="folder of the model")
    parser.add_argument("--json", type=Path, help="write the tables as JSON")
    options = parser.parse_args()
    heading("asked against obtained: DFT labels")
    data = read(options.data)
    order = np.random.default_rng(0).permutation(len(data.atoms))
    half, other = order[: len(order) // 2], order[len(order) // 2 :]
    fit, *_ = np.linalg.lstsq(data.counts[half], data.values["energy"][half], rcond=None)
    left = data.values["energy"] - data.counts @ fit
    explained = 1 - left[half].var() / data.values["energy"][half].var()
    formula = " ".join(f"{c:+.5f} {s}" for c, s in zip(fit, "HCNO"))
    print(f"energy = {formula} + residual; atom counts explain {explained:.2%} of its variance")
    data.values["energy"] = left
    model = trained(
        data, half, f"energy is the atomisation energy (Hartree, negative) less {formula}", options
    )

    mols = [to_mol(atoms, explicit=False) for atoms in data.atoms]
    fresh = other[data.split[other] > 0]
    learned, asked = other[data.split[other] == 0], fresh[: options.n]
    predict = Predictor(
        features([mols[k] for k in learned]), {name: v[learned] for name, v in data.values.items()}
    )
    wanted = {name: v[asked] for name, v in data.values.items()}
    rows: list[dict[str, Any]] = []

    def errors(judged: Sequence[Any], against: dict[str, Array]) -> dict[str, Any]:
        """Cells of the errors of molecules, each of which has one asked value of each name; none of no molecules."""
        if not len(judged):
            return {}
        found = predict(features(judged))
        return {name: bootstrap(np.abs(found[name] - v)) for name, v in against.items()}

    def add(what: str, cells: dict[str, Any], **more: Any) -> None:
        rows.append({"molecules": what, **more, **cells})
        print(" | ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)

    add("real", errors([mols[k] for k in asked], wanted))
    add("same composition", errors([mols[k] for k in alike(data, asked, half)], wanted))

    def draw(names: Sequence[str], weight: float) -> tuple[list[Any], NDArray[np.int64], Any]:
        """Sound samples, the places of what was asked of them, and their share."""
        given = {name: wanted[name].tolist() for name in names}
        drawn = list(
            model.sample(
                len(asked), steps=options.evaluations, guidance=weight, seed=0, progress=False, **given
            )
        )
        good = np.array([bool(s.sound) for s in inspect(drawn, hydrogens=False, busted=None)])
        kept = np.flatnonzero(good)
        return [drawn[k] for k in kept], kept, bootstrap(good)

    kept, places, share = draw((), 1.0)
    add("nothing asked", errors(kept, {k: v[places] for k, v in wanted.items()}), sound=share)
    shuffled = {name: np.random.default_rng(1).permutation(v) for name, v in wanted.items()}
    for name in wanted:
        for weight in options.guidance:
            kept, places, share = draw((name,), weight)
            if weight == 1:
                add(f"{name} shuffled", errors(kept, {name: shuffled[name][places]}), guidance=1.0)
            cells = errors(kept, {name: wanted[name][places]})
            add(f"{name} asked", cells, guidance=weight, sound=share)
    for weight in options.guidance:
        kept, places, share = draw(tuple(wanted), weight)
        cells = errors(kept, {k: v[places] for k, v in wanted.items()})
        add("all three asked", cells, guidance=weight, sound=share)
    columns = ("molecules", "guidance", *wanted, "sound")
    table = Table(
        [{column: row.get(column) for column in columns} for row in rows],
        f"Mean |predicted - asked| of {len(asked)} asked molecules, {options.evaluations} evaluations. Intervals: 95 %.",
    )
    print(table)
    if options.json:
        options.json.write_text(json.dumps(json.loads(table.to_json()), indent=1))


if __name__ == "__main__":
    main()
