"""Accuracy against evaluations on mixtures whose flow is known: our presets and variants beside diffusers' schedulers.

Every row integrates the same trajectories, from the same states at t = 1, with at most the stated number of evaluations.
A cell is RMS endpoint error / 90th percentile of the samples' own RMS, in units of the data's standard deviation. Few
samples that end in another mode dominate the RMS at few evaluations, so both are needed. Groups of rows:

    diffusers  its schedulers at their best (see peers.py)
    preset     our deterministic presets, as named
    measured   solvers on the grid that the model measures once on 16 other noises
    grid       the default solver on grids that need no pilot

    python -m benchmarks.sampler_accuracy --out accuracy.json --plot accuracy.png
    python -m benchmarks.sampler_accuracy --cells image-digits/flow --samples 32
    python -m benchmarks.sampler_accuracy --quick
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.mixtures import CELLS, Problem, problem
from benchmarks.peers import peers
from benchmarks.reporting import heading, table, write
from langevin.core import curvature, grids
from langevin.core.rng import Stream
from langevin.core.samplers import PRESETS, Adaptive, Multistep, Sampler, sample
from langevin.core.samplers.base import times_of

BUDGETS = (5, 8, 10, 20, 50)
ANGLE = PRESETS["angle"].sampler

MEASURED: dict[str, Sampler] = {
    "angle": ANGLE,
    "order 1": Multistep(1, of="v", corrector=True),
    "order 3": Multistep(3, of="v", corrector=True),
    "no corrector": Multistep(2, of="v"),
    "lower_final": Multistep(2, of="v", corrector=True, lower_final=True),
    "order 3, lower_final": Multistep(3, of="v", corrector=True, lower_final=True),
    "of=velocity": Multistep(2, of="velocity", corrector=True),
    "of=x": Multistep(2, of="x", corrector=True),
}


def ends(power: float, slices: int = 256) -> tuple[float, ...]:
    """Steps as dense in θ as (1 + sin 2θ)^{-power}; power 0 is even in θ, power 1 in σ/(α + σ), on every schedule."""
    slots = grids.slots(math.pi / 2, slices)
    return tuple(width * (1 + math.sin(2 * angle)) ** -power for angle, width in zip(*slots, strict=True))


UNMEASURED: dict[str, Callable[[int], grids.Grid]] = {
    "unmeasured": grids.curvature,
    "uniform in t": grids.uniform,
    "uniform in θ": lambda n: grids.curvature(n, ends(0.0)),
    "uniform in σ/(α+σ)": lambda n: grids.curvature(n, ends(1.0)),
    "(1+sin 2θ)^-1.5": lambda n: grids.curvature(n, ends(1.5)),
    "(1+sin 2θ)^-2": lambda n: grids.curvature(n, ends(2.0)),
    "karras": grids.karras,
    "log-SNR": grids.log_snr_uniform,
}


def run(given: Problem, sampler: Sampler, make: Callable[[int], Any], budget: int) -> tuple[Tensor, int]:
    """(endpoint, evaluations) of the longest plan within a budget.

    Raises:
        ValueError: the sampler cannot start at t = 1 of this schedule, or no plan fits.
    """
    process = given.denoiser.process
    for count in range(budget, 0, -1):
        times = times_of(make(count), process)
        cost = sampler.evaluations(sampler.plan(process, times), process)
        if cost <= budget:
            rng = Stream.of(0, len(given.x))
            last = [*sample(given.denoiser, sampler, times, rng, x=given.x, condition=given.condition)][-1]
            assert isinstance(last.x, Tensor)
            return last.x, last.evaluations
    raise ValueError(f"no plan fits in {budget} evaluations")


def methods(given: Problem, seed: int) -> Iterable[tuple[str, str, Callable[[int], tuple[Tensor, int]]]]:
    """(group, name, budget ↦ (endpoint, evaluations)) of every row."""
    for peer in peers(given):
        yield "diffusers", peer.name, lambda n, p=peer: p.run(given, n)
    for name, preset in PRESETS.items():
        if (
            not preset.sampler.stochastic
            and not isinstance(preset.sampler, Adaptive)
            and name not in ("restart", "langevin")
        ):
            yield "preset", name, lambda n, p=preset: run(given, p.sampler, p.grid, n)
    like = torch.zeros(16, *given.x.shape[1:], dtype=torch.float64)
    density = curvature.measure(
        given.denoiser, like, Stream.of(1000 + seed, 16), condition=given.conditions(16)
    )
    for name, solver in MEASURED.items():
        yield "measured", name, lambda n, s=solver: run(given, s, lambda k: grids.curvature(k, density), n)
    for name, grid in UNMEASURED.items():
        yield "grid", name, lambda n, g=grid: run(given, ANGLE, g, n)


def measure(name: str, n: int, seed: int, budgets: Iterable[int]) -> list[dict[str, Any]]:
    """One record for each method and budget of one problem; what cannot start at α = 0 has none, and is named."""
    given = problem(name, n, seed)
    records, refused = [], {}
    for group, method, solve in methods(given, seed):
        for budget in budgets:
            try:
                x, evaluations = solve(budget)
            except ValueError as error:
                refused[f"{group} {method}"] = str(error)
                continue
            rms, p90 = given.error(x)
            records.append(
                {
                    "cell": name,
                    "seed": seed,
                    "group": group,
                    "method": method,
                    "budget": budget,
                    "evaluations": evaluations,
                    "rms": rms,
                    "p90": p90,
                }
            )
    for method, reason in refused.items():
        print(f"{name}: {method} does not apply: {reason}")
    return records


def show(records: list[dict[str, Any]]) -> None:
    """A row for each method, a column for each budget, of one problem."""
    budgets = sorted({r["budget"] for r in records})
    found = {(r["group"], r["method"], r["budget"]): f"{r['rms']:.2g}/{r['p90']:.2g}" for r in records}
    names = dict.fromkeys((r["group"], r["method"]) for r in records)
    print(f"\n{records[0]['cell']}, seed {records[0]['seed']}")
    table(
        [
            {
                "group": group,
                "method": method,
                **{str(b): found.get((group, method, b), "–") for b in budgets},
            }
            for group, method in names
        ]
    )


SUMMARY = {
    "angle, measured": ("measured", "angle"),
    "order 3, measured": ("measured", "order 3"),
    "angle, no pilot": ("preset", "angle"),
    "angle, (1+sin 2θ)^-1.5": ("grid", "(1+sin 2θ)^-1.5"),
    "unipc": ("preset", "unipc"),
}


def summary(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best diffusers row of each cell and budget, chosen with hindsight, beside fixed rows of ours; median of seeds."""
    rows = []
    for cell, budget in dict.fromkeys((r["cell"], r["budget"]) for r in records):
        here = [r for r in records if (r["cell"], r["budget"]) == (cell, budget)]
        seeds = sorted({r["seed"] for r in here})
        row: dict[str, Any] = {"cell": cell, "evaluations": budget}
        best = {}
        for key in ("rms", "p90"):
            theirs = [
                min((r for r in here if r["group"] == "diffusers" and r["seed"] == s), key=lambda r: r[key])
                for s in seeds
            ]
            best[key] = {s: r[key] for s, r in zip(seeds, theirs)}
            row[f"best diffusers {key}"] = (
                f"{statistics.median(best[key].values()):.2g} {theirs[0]['method']}"
            )
        for title, (group, method) in SUMMARY.items():
            ours = {r["seed"]: r for r in here if (r["group"], r["method"]) == (group, method)}
            if ours:
                middle = [statistics.median(ours[s][key] for s in seeds) for key in ("rms", "p90")]
                row[title] = "/".join(f"{value:.2g}" for value in middle)
            else:
                row[title] = "–"
        ours = {r["seed"]: r for r in here if (r["group"], r["method"]) == ("measured", "angle")}
        gains = [statistics.median(best[key][s] / ours[s][key] for s in seeds) for key in ("rms", "p90")]
        row["gain"] = "/".join(f"{gain:.2g}" for gain in gains)
        rows.append(row)
    return rows


def plot(records: list[dict[str, Any]], path: str | Path) -> None:
    """RMS error against evaluations, one panel for each cell, seed 0: our default and the peers that are best somewhere."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cells = list(dict.fromkeys(r["cell"] for r in records))
    first = [r for r in records if r["seed"] == records[0]["seed"]]
    figure, axes = pyplot.subplots(
        2, -(-len(cells) // 2), figsize=(4.2 * -(-len(cells) // 2), 7), squeeze=False
    )
    for axis, cell in zip(axes.T.flatten(), cells):
        here = [r for r in first if r["cell"] == cell]
        winners = dict.fromkeys(
            min((r for r in here if r["group"] == "diffusers" and r["budget"] == b), key=lambda r: r["rms"])[
                "method"
            ]
            for b in sorted({r["budget"] for r in here})
        )
        lines = [("diffusers", name, name, "--") for name in winners]
        lines += [
            ("measured", "angle", "langevin angle, measured grid", "-"),
            ("preset", "angle", "langevin angle, no pilot", ":"),
        ]
        for group, method, label, style in lines:
            points = [
                (r["evaluations"], r["rms"]) for r in here if (r["group"], r["method"]) == (group, method)
            ]
            axis.loglog(
                *zip(*points),
                style,
                marker="o",
                markersize=3,
                label=label,
                color="black" if style != "--" else None,
            )
        axis.set_title(cell)
        axis.set_xlabel("evaluations")
        axis.set_ylabel("RMS endpoint error")
        axis.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cells", nargs="+", default=CELLS, help="of these, or a shipped model as image-digits/flow"
    )
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument(
        "--seeds", type=int, default=3, help="problems 0 … seeds - 1; each is a mixture and its samples"
    )
    parser.add_argument("--samples", type=int, help="of each problem; 128, or 1024 in the plane")
    parser.add_argument("--quick", action="store_true", help="fewer samples, one seed, three budgets")
    parser.add_argument("--out", help="write all figures to this .json or .csv")
    parser.add_argument("--plot", help="draw error against evaluations to this .png")
    options = parser.parse_args()
    budgets = (5, 10, 20) if options.quick else options.budgets
    torch.set_num_threads(1)
    heading("RMS / 90th percentile of the endpoint error against evaluations, float64")
    records: list[dict[str, Any]] = []
    for seed in range(1 if options.quick else options.seeds):
        for cell in options.cells:
            n = options.samples or (1024 if cell.startswith("board2") else 128) // (4 if options.quick else 1)
            found = measure(cell, n, seed, budgets)
            if seed == 0:
                show(found)
            records += found
    print(
        "\nours beside the best of diffusers, chosen with hindsight; gain = best diffusers / angle on the measured grid"
    )
    table(summary(records))
    write(options.out, records)
    if options.plot:
        plot(records, options.plot)


if __name__ == "__main__":
    main()
