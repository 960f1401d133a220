"""Molecules steered towards a reward, beside the best of as many evaluations of plain samples.

    python benchmarks/molecule_steering.py molecule-qm9-heavy

Every molecule that is returned may cost ``--particles`` times ``--steps`` evaluations of the network, whichever way:

    plain            one sample of that many steps, which costs less: what the model draws
    best of          plain samples of all steps, and more of them with fewer steps; the one of highest reward
    way down         particles that are weighed by their beliefs from t = 0.5 on, one returned by its weight or the best
    tilted           rounds under a strength, one returned by its weight: a sample of p(x) exp(strength · reward)
    rounds           rounds without a strength, the best returned: the default of ``model.steer``

Reported: the mean reward of what is returned, with its 95 % bootstrap interval over samples of all seeds (what could not be
decoded has the floor); how many could be decoded and how many of those differ; evaluations for each that is returned; the
effective sample size of the particles (at its least over the run, of ``--particles``), lineages and different particles left
at the end, and the share of judged states that could not be decoded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rdkit import Chem
from rdkit.Chem import QED, Crippen

import langevin as lv
from langevin.modalities.statistics import Table, bootstrap

Mols = Sequence[Any]


def near_two(mols: Mols) -> list[float]:
    return [-abs(Crippen.MolLogP(mol) - 2.0) for mol in mols]


def qed(mols: Mols) -> list[float]:
    return [QED.qed(mol) for mol in mols]


# reward, its floor, strength of the tilted law
REWARDS: dict[str, tuple[Callable[[Mols], list[float]], float, float]] = {
    "logP near 2": (near_two, -4.0, 3.0),
    "QED": (qed, 0.0, 30.0),
}
NEARLY = lv.samplers.Single(0.2)  # a little noise in positions; classes are drawn anyway


def rewards_of(drawn: Mols, name: str) -> torch.Tensor:
    """The reward of each, the floor where it could not be decoded."""
    function, floor, _ = REWARDS[name]
    return torch.tensor([floor if isinstance(m, lv.Failure) else function([m])[0] for m in drawn])


def line(name: str, way: str, drawn: Mols, cost: float, **more: Any) -> dict[str, Any]:
    """A row of the table."""
    decoded = [Chem.MolToSmiles(m) for m in drawn if not isinstance(m, lv.Failure)]
    return {
        "reward": name,
        "way": way,
        "mean": bootstrap(rewards_of(drawn, name).numpy()),
        "decoded": f"{len(decoded)} of {len(drawn)}",
        "unique": len(set(decoded)),
        "evaluations": round(cost),
        **more,
    }


def best_of(model: Any, names: Sequence[str], options: Any) -> list[dict[str, Any]]:
    """Plain samples, and the best of some of them; the same draws serve every reward."""
    budget, rows = options.particles * options.steps, []
    for steps in (options.steps, options.few):
        many = budget // steps
        drawn = [
            m
            for seed in range(options.seeds)
            for m in model.sample(options.n * many, sampler=NEARLY, steps=steps, seed=seed + 1000)
        ]
        for name in names:
            if steps == options.steps:
                rows.append(line(name, f"plain, {steps} steps", drawn, steps))
            groups = rewards_of(drawn, name).view(-1, many)
            best = [drawn[many * i + int(k)] for i, k in enumerate(groups.argmax(1))]
            rows.append(line(name, f"best of {many}, {steps} steps", best, many * steps))
    return rows


def steered(model: Any, name: str, way: str, options: Any, **settings: Any) -> dict[str, Any]:
    """Steered samples of all seeds."""
    function, floor, _ = REWARDS[name]
    runs = [
        model.steer(
            function,
            options.n,
            particles=options.particles,
            evaluations=options.steps,
            floor=floor,
            seed=s,
            **settings,
        )
        for s in range(options.seeds)
    ]
    told = [run.run.options["steering"] for run in runs]
    mean = lambda values: sum(values) / len(told)  # noqa: E731
    return line(
        name,
        way,
        [m for run in runs for m in run],
        mean(run.run.network_rows / options.n for run in runs),
        ess=round(mean(min(t["ess"]) for t in told), 1),
        lineages=round(mean(t["lineages"][-1] for t in told), 1),
        different=round(mean(t["different"][-1] for t in told), 1),
        undecoded=f"{100 * mean(t['undecoded'] / t['judged'] for t in told):.0f} %",
    )


def ways(name: str, options: Any) -> dict[str, dict[str, Any]]:
    """Settings of ``model.steer`` by the name of the way."""
    down = {"strength": REWARDS[name][2], "begin": 0.5, "rounds": 0, "sampler": NEARLY}
    found: dict[str, dict[str, Any]] = {
        "way down, by weight": down,
        "way down, best": down | {"choose": "best"},
    }
    few = options.rounds[0]
    found[f"tilted, {few} rounds"] = {"strength": REWARDS[name][2], "rounds": few, "sampler": NEARLY}
    return found | {f"rounds, {rounds}": {"rounds": rounds} for rounds in options.rounds}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=16, help="molecules returned for each seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--particles", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50, help="evaluations for each particle")
    parser.add_argument("--few", type=int, default=20, help="steps of the shorter plain samples")
    parser.add_argument("--rounds", type=int, nargs="+", default=[4, 8], help="tilted: the first")
    parser.add_argument("--only", nargs="*", default=[], help="ways that begin so")
    parser.add_argument("--rewards", nargs="*", default=list(REWARDS), choices=list(REWARDS))
    parser.add_argument("--out", type=Path, help="write the table as JSON")
    options = parser.parse_args()
    model = lv.load(options.model, device="cpu")
    wanted = lambda way: not options.only or any(way.startswith(o) for o in options.only)  # noqa: E731
    rows = best_of(model, options.rewards, options) if wanted("plain") or wanted("best") else []
    for name in options.rewards:
        rows += [
            steered(model, name, way, options, **settings)
            for way, settings in ways(name, options).items()
            if wanted(way)
        ]
    rows.sort(key=lambda row: options.rewards.index(row["reward"]))
    caption = (
        f"{options.n * options.seeds} molecules, {options.particles * options.steps} evaluations of the network for each "
        f"at most. Intervals: 95 %, bootstrap."
    )
    table = Table(rows, caption)
    print(table)
    if options.out:
        options.out.write_text(json.dumps(json.loads(table.to_json()), indent=1))


if __name__ == "__main__":
    main()
