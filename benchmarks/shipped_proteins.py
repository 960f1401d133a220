"""The figures on the card of the shipped protein model, and the bars that it must pass.

    python -m benchmarks.shipped_proteins protein-backbone --data ../shared/data
    python -m benchmarks.shipped_proteins --folder runs/protein-backbone --data ../shared/data --out proteins.json
    python -m benchmarks.shipped_proteins --structures designs/ --data ../shared/data

200 designs of lengths from 40 to 128 in steps of 4, equally many of each (one more of the first ones): design k has the seed
k, no rejection, no relaxation beyond what the model itself does, the model's own defaults. Beside them stand the held-out
chains of these lengths (validation and test), the training chains of these lengths, ideal helices, random walks and mirror
images of the held-out chains. None of the real chains' sequences is used, since designs have none.

Prints tables and writes them as JSON with --out, with a row for each design. --structures measures PDB and mmCIF files in
place of a model.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import langevin as lv
from langevin.modalities.base import Failure
from langevin.modalities.protein import metrics
from langevin.modalities.protein.archives import read_archive
from langevin.modalities.protein.metrics import ramachandran, secondary
from langevin.modalities.protein.metrics.evaluate import as_protein
from langevin.modalities.protein.metrics.plausible import Measures, measure
from langevin.modalities.protein.protein import Protein
from langevin.modalities.statistics import Estimate, Table, median, wilson

LENGTHS = range(40, 129, 4)
REAL, SAMPLES = "held-out chains", "samples"
VARIATION = "(helix, strand): total variation from held-out chains"
OVER = "… over that of training chains"
TORSIONS = "(phi, psi): Jensen–Shannon distance from held-out chains"
PAIRS, SAME, CLUSTERS = (
    "TM of plausible pairs, median",
    "plausible pairs above TM 0.5",
    "clusters per plausible design",
)
BONDS = ("C–N", "CA–C–N", "C–N–CA", "omega")
FEW = 24  # designs whose pairs are compared whether plausible or not


@dataclass(frozen=True)
class Group:
    """Proteins of one column.

    Attributes:
        items: designs; failures among them.
        found: what was measured of each; None for a failure.
    """

    items: Sequence[Protein | Failure]
    found: Sequence[Measures | None]

    @classmethod
    def of(cls, items: Sequence[Any]) -> Group:
        """Measures everything; types are left out of account."""
        proteins = [as_protein(item) for item in items]
        return cls(proteins, [measure(p, typed=False) if isinstance(p, Protein) else None for p in proteins])

    @property
    def measures(self) -> list[Measures]:
        """Of what is no failure."""
        return [one for one in self.found if one is not None]

    @property
    def plausible(self) -> list[Protein]:
        """Those that are."""
        return [
            p for p, one in zip(self.items, self.found) if isinstance(p, Protein) and one and one.plausible
        ]


def spread(n: int) -> dict[int, int]:
    """How many designs of which length."""
    return {
        length: n // len(LENGTHS) + (k < n % len(LENGTHS))
        for k, length in enumerate(LENGTHS)
        if n // len(LENGTHS) + (k < n % len(LENGTHS))
    }


def drawn(model: Any, n: int) -> list[Any]:
    """Designs of all lengths."""
    found: list[Any] = []
    for length, count in spread(n).items():
        seeds = list(range(len(found), len(found) + count))
        found += model.sample(count, length=length, seed=seeds)
    return found


def controls(held: Sequence[Protein]) -> dict[str, Sequence[Protein]]:
    """Columns that must fail, of the lengths of real chains."""
    rng = np.random.default_rng(0)
    return {
        "ideal helices": [metrics.helix(len(p)) for p in held],
        "random walks": [metrics.random_walk(len(p), rng) for p in held],
        "mirror images": [metrics.mirrored(p) for p in held],
    }


def alone(groups: Mapping[str, Group]) -> dict[str, dict[str, Any]]:
    """What is measured of each group without pairs, and how far it is from the held-out chains at their number."""
    real, train = groups[REAL].measures, groups["training chains"].measures
    shares, counts = [one.structure for one in real], [one.counts for one in real]
    columns = {}
    for name, group in groups.items():
        cells = metrics.figures(group.found)
        m = min(len(real), len(group.measures))
        if name != REAL and m:
            floor = secondary.against([one.structure for one in train], shares, m)
            cells[VARIATION] = secondary.against([one.structure for one in group.measures], shares, m)
            cells[OVER] = cells[VARIATION].value / floor.value
            cells[TORSIONS] = ramachandran.apart([one.counts for one in group.measures], counts, m)
        columns[name] = {"n": len(group.items), **cells}
    return columns


def varied(group: Group, n: int | None) -> dict[str, Any]:
    """Pairs and clusters among plausible designs, clusters also at n of them; of a few designs whatever they are."""
    cells: dict[str, Any] = {}
    good = [p.backbone[:, 1] for p in group.plausible]
    if len(good) > 1:
        scores, lengths = metrics.pair_scores(good), [len(trace) for trace in good]
        found = metrics.diversity(scores, lengths)
        cells = {PAIRS: found.median, SAME: found.same, CLUSTERS: found.clusters}
        if n is not None and n <= len(good):
            cells[f"{CLUSTERS}, of {n}"] = metrics.diversity(scores, lengths, n).clusters
    every = [p.backbone[:, 1] for p in group.items if isinstance(p, Protein)]
    chosen = np.random.default_rng(0).permutation(len(every))[:FEW].tolist()
    if len(chosen) > 1:
        lengths = [len(every[k]) for k in chosen]
        found = metrics.diversity(metrics.pair_scores([every[k] for k in chosen]), lengths)
        cells[f"TM of pairs of {FEW}, median"] = found.median
    return cells


def nearest(group: Group, known: metrics.Known) -> list[float | None]:
    """The highest TM of each design to the training chains."""
    return [known.nearest(p.backbone[:, 1]).score if isinstance(p, Protein) else None for p in group.items]


def bars(columns: Mapping[str, Mapping[str, Any]]) -> Table:
    """What is asked of a model, and whether it is so; on a GPU, and on a CPU only."""
    ours, real = columns[SAMPLES], columns[REAL]

    def value(cells: Mapping[str, Any], name: str) -> float | None:
        cell = cells.get(name)
        return cell.value if isinstance(cell, Estimate) else cell

    rights = [value(ours, f"{name} within real 1–99 %") for name in BONDS]
    strand, clashes = value(real, "strand") or 0.0, value(real, "clashes per 100 residues") or 0.0
    rows: list[tuple[str, float | None, bool, float, float | None]] = [
        # what, measured, whether it is a lower bound, bar on a GPU, on a CPU
        ("CA–CA as trans or cis", value(ours, "CA–CA within 0.15 Å of trans or cis"), True, 0.98, 0.98),
        ("bonds within real 1–99 %, the worst quantity", min((r for r in rights if r is not None), default=None),
         True, 0.95, 0.85),
        ("outside the Ramachandran region", value(ours, "outside the Ramachandran region"), False, 0.05, 0.10),
        ("phi > 0", value(ours, "phi > 0"), False, 0.10, 0.12),
        ("clashes per 100 residues", value(ours, "clashes per 100 residues"), False, 2 * clashes, None),
        ("breaks per 100 bonds", value(ours, "breaks per 100 bonds"), False, 0.0, None),
        ("cis", value(ours, "cis"), False, 0.01, None),
        ("(helix, strand): total variation over its floor", value(ours, OVER), False, 2.5, None),
        ("strand", value(ours, "strand"), True, strand / 2, None),
        ("radius and contacts within real 2–98 %", value(ours, "both within real 2–98 %"), True, 0.80, 0.50),
        ("plausible", value(ours, "plausible"), True, 0.50, 0.25),
        (PAIRS, value(ours, PAIRS), False, 0.40, 0.40),
        (SAME, value(ours, SAME), False, 0.10, 0.10),
        (CLUSTERS, value(ours, CLUSTERS), True, 0.30, 0.30),
    ]  # fmt: skip

    def met(found: float | None, least: bool, bar: float | None) -> str:
        if bar is None:
            return "reported"
        return "yes" if found is not None and (found >= bar if least else found <= bar) else "no"

    return Table(
        [
            {
                "bar": name,
                "measured": found,
                "is": "at least" if least else "at most",
                "GPU": gpu,
                "met": met(found, least, gpu),
                "CPU": cpu,
                "met by CPU's": met(found, least, cpu),
            }
            for name, found, least, gpu, cpu in rows
        ],
        "Bars of a model trained on a GPU, and on a CPU only. What cannot be measured is not met.",
    )


def speed(model: Any) -> Table:
    """Wall time of 4 designs of 100 residues in 100 steps; the second of two runs."""
    for _ in range(2):
        started = time.perf_counter()
        model.sample(4, length=100, steps=100, seed=0)
        took = time.perf_counter() - started
    return Table(
        [{"designs": 4, "residues": 100, "steps": 100, "wall s": round(took, 2)}],
        "Speed on the machine of this table.",
    )


def measured(designs: Sequence[Any], data: Path, search: bool = True) -> list[Table]:
    """All tables of a set of designs.

    Args:
        designs: proteins, structures and failures.
        data: the folder with proteins/proteins.npz.
        search: also search the training chains for the nearest one of each design.
    """
    archive = data / "proteins" / "proteins.npz"
    held = [p for s in ("validation", "test") for p in read_archive(archive, s) if len(p) <= LENGTHS[-1]]
    train = list(read_archive(archive, "train"))
    groups = {SAMPLES: Group.of(designs), REAL: Group.of(held)}
    groups["training chains"] = Group.of([p for p in train if len(p) <= LENGTHS[-1]])
    groups |= {name: Group.of(items) for name, items in controls(held).items()}
    columns = alone(groups)
    n = len(groups[REAL].plausible)
    for name, group in groups.items():
        if name != "training chains":
            columns[name] |= varied(group, n)
    rows: list[dict[str, Any]] = list(metrics.scores(designs))
    if search:
        known = metrics.Known([p.backbone[:, 1] for p in train])
        for name in (SAMPLES, REAL):
            started = time.process_time()
            best = nearest(groups[name], known)
            took = time.process_time() - started
            there = [tm for tm in best if tm is not None]
            if there:
                columns[name] |= {
                    "highest TM to training, median": median(there),
                    "highest TM to training, largest": max(there),
                    "highest TM to training above 0.9": wilson(sum(tm > 0.9 for tm in there), len(there)),
                    "search, CPU s": round(took, 1),
                }
            if name == SAMPLES:
                for row, tm in zip(rows, best):
                    row["tm_training"] = tm
    names = dict.fromkeys(name for cells in columns.values() for name in cells)
    table = Table(
        [
            {"measure": name, **{column: cells.get(name) for column, cells in columns.items()}}
            for name in names
        ],
        f"{len(designs)} designs; distances at up to {len(held)} chains on each side, Ramachandran region of all types "
        "together. Plausible is a rule of thumb, not designability. Intervals: 95 %.",
    )
    return [bars(columns), table, Table(rows, "Each design.")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="protein-backbone")
    parser.add_argument("-n", type=int, default=200, help="designs")
    parser.add_argument("--folder", help="a model folder in place of the shipped one")
    parser.add_argument(
        "--structures", type=Path, help="a folder of structures in place of a model's designs"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with proteins/…")
    parser.add_argument("--no-search", action="store_true", help="leave out the nearest training chains")
    parser.add_argument("--out", type=Path, help="write the tables as JSON")
    options = parser.parse_args()
    started = time.process_time()
    if options.structures:
        from langevin.modalities.protein.files import read_protein

        paths = [p for p in sorted(options.structures.iterdir()) if p.suffix in (".pdb", ".cif")]
        tables = measured([read_protein(path) for path in paths], options.data, not options.no_search)
        print(f"{len(paths)} structures of {options.structures}")
    else:
        model = lv.load(options.folder or options.model, device="cpu")
        designs = drawn(model, options.n)
        took = time.process_time() - started
        tables = [*measured(designs, options.data, not options.no_search), speed(model)]
        print(f"{model!r}\ndefaults {model.defaults}; {took:.0f} CPU s for {len(designs)} designs")
    print(f"{time.process_time() - started:.0f} CPU s\n")
    for table in tables:
        if table.caption != "Each design.":
            print(table, "\n")
    if options.out:
        options.out.write_text(json.dumps([json.loads(table.to_json()) for table in tables], indent=1))


if __name__ == "__main__":
    main()
