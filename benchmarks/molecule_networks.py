"""A DiT beside an EGNN on molecules, and batches of one length beside padding, in CPU time of one thread.

The DiT is the default of `molecule_qm9`, the EGNN has EDM's published size (9 blocks of 256 channels); both have the same
embeddings, pair features, heads and times. Weights are random: what is measured does not depend on them. Molecules are
random states whose sizes are those of the training split of QM9 with hydrogens.

    networks   one batch, the same for both: forward, forward and backward, and `model.sample` with 50 evaluations
    batches    forward and backward of the same molecules in batches by length (core.training.data.Order), shuffled and
               padded to the longest of each batch, and shuffled and padded to the longest of all

Each round measures every row once, in an order that rotates; figures are medians over rounds with their range, and ratios
are taken within a round. Time is that of the processor, so that what else runs on the machine counts through caches and
clock rates alone.

    python -m benchmarks.molecule_networks --rounds 7
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.reporting import heading, table, write
from langevin.assembly import build_model
from langevin.core.model import Model
from langevin.core.rng import Stream
from langevin.core.training.data import WINDOW, Order

# QM9, training split: molecules by number of atoms
SIZES = {
    3: 1, 4: 3, 5: 3, 6: 9, 7: 12, 8: 44, 9: 100, 10: 305, 11: 662, 12: 1480, 13: 2819, 14: 4917, 15: 7663, 16: 10661,
    17: 13173, 18: 13503, 19: 14011, 20: 9714, 21: 10143, 22: 3468, 23: 4935, 24: 548, 25: 1466, 26: 46, 27: 291, 29: 23,
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "DiT 6 x 128": {
        "name": "dit", "width": 128, "depth": 6, "heads": 8, "axes": 0, "mlp_ratio": 3.0, "modulation": "shared",
        "pair_width": 32,
    },
    "EGNN 9 x 256": {"name": "egnn", "width": 256, "depth": 9, "pair_width": 32},
}  # fmt: skip
STEPS = 50


def build(network: Mapping[str, Any]) -> Model:
    """A model with random weights."""
    sizes = {str(n): count for n, count in SIZES.items()}
    modality = {"name": "molecule", "sizes": sizes}
    return build_model({"modality": modality, "network": network, "sampling": {"grid": "uniform"}})


def states(model: Model, sizes: Sequence[int], most: int | None = None) -> tuple[Any, Tensor]:
    """Noise of molecules of these sizes, and the mask, padded to ``most`` atoms or to the largest."""
    count = torch.tensor(sizes)
    most = most or int(count.max())
    mask = torch.arange(most) < count[:, None]
    whole = torch.zeros(len(sizes), most, dtype=torch.long)
    bonds = torch.zeros(len(sizes), most, most, dtype=torch.long)
    like = {
        "positions": torch.zeros(len(sizes), most, 3),
        "elements": whole,
        "charges": whole,
        "bonds": bonds,
    }
    return model.process.prior(like, Stream.of(0, len(sizes)), mask), mask


def drawn(count: int) -> list[int]:
    """Sizes of molecules at random."""
    weights = torch.tensor(list(SIZES.values()), dtype=torch.float64)
    index = weights.multinomial(count, replacement=True, generator=torch.Generator().manual_seed(0))
    return [list(SIZES)[i] for i in index.tolist()]


def forward(model: Model, batches: Sequence[tuple[Any, Tensor]], train: bool) -> None:
    for x, mask in batches:
        with torch.set_grad_enabled(train):
            out = model.network(x, 0.5, {}, mask)
        if train:
            torch.stack([part.square().mean() for part in out.values()]).sum().backward()


def turns(work: Mapping[Any, Callable[[], Any]], rounds: int) -> dict[Any, list[float]]:
    """CPU seconds of each piece of work in each round, after one that warms up."""
    seconds: dict[Any, list[float]] = {key: [] for key in work}
    keys = list(work)
    for i in range(-1, rounds):
        for key in keys[i % len(keys) :] + keys[: i % len(keys)]:
            start = time.process_time()
            work[key]()
            if i >= 0:
                seconds[key].append(time.process_time() - start)
    return seconds


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median (least–most)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def networks(models: Mapping[str, Model], batch: int, rounds: int, shots: int) -> list[dict[str, Any]]:
    sizes = drawn(batch)
    times: dict[str, dict[Any, list[float]]] = {}
    given = {name: [states(model, sizes)] for name, model in models.items()}
    for train, kind in ((False, "forward"), (True, "both")):
        work: dict[str, Any] = {name: partial(forward, models[name], given[name], train) for name in models}
        times[kind] = turns(work, rounds)
    samples = {name: model.sample(batch, steps=STEPS, seed=0) for name, model in models.items()}
    for name, made in samples.items():
        assert made.run.evaluations == STEPS, f"{name} took {made.run.evaluations} evaluations"
    work = {name: partial(model.sample, batch, steps=STEPS, seed=0) for name, model in models.items()}
    times["sample"] = turns(work, shots)
    base, rows = next(iter(models)), []
    for name, model in models.items():
        ratio = [a / b for a, b in zip(times["both"][name], times["both"][base], strict=True)]
        rows.append(
            {
                "network": name,
                "parameters": f"{model.parameters:,}",
                "forward, ms/molecule": spread([1e3 * s / batch for s in times["forward"][name]]),
                "forward and backward": spread([1e3 * s / batch for s in times["both"][name]]),
                "ratio": spread(ratio),
                f"molecules/s at {STEPS} evaluations": spread([batch / s for s in times["sample"][name]]),
            }
        )
    return rows


def batches(models: Mapping[str, Model], batch: int, rounds: int) -> list[dict[str, Any]]:
    lengths = drawn(WINDOW * batch)  # one window of the order: every molecule once
    longest, sets, filled = max(lengths), {}, {}
    for kind, by in (("by length", lengths), ("to the longest of the batch", None), ("to the longest", None)):
        order = Order(len(lengths), batch, 0, by)
        most = longest if kind == "to the longest" else None
        groups = [[lengths[i] for i in order.indices(step)] for step in range(WINDOW)]
        filled[kind] = 1 - sum(lengths) / sum(len(g) * (most or max(g)) for g in groups)
        sets[kind] = groups, most
    rows = []
    for name, model in models.items():
        made = {kind: [states(model, g, most) for g in groups] for kind, (groups, most) in sets.items()}
        work = {kind: partial(forward, model, part, True) for kind, part in made.items()}
        seconds = turns(work, rounds)
        for kind in made:
            gain = [a / b for a, b in zip(seconds["to the longest"], seconds[kind], strict=True)]
            rows.append(
                {
                    "network": name,
                    "padded": kind,
                    "padding": f"{filled[kind]:.0%}",
                    "ms/molecule": spread([1e3 * s / len(lengths) for s in seconds[kind]]),
                    "speed-up": spread(gain),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32, help="molecules of a batch of the first table")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shots", type=int, default=3, help="rounds of sampling and of the second table")
    parser.add_argument("--quick", action="store_true", help="8 molecules, 2 rounds")
    parser.add_argument("--out", help="write the rows to this .json")
    options = parser.parse_args()
    if options.quick:
        options.batch, options.rounds, options.shots = 8, 2, 1
    torch.set_num_threads(1)
    models = {name: build(network) for name, network in NETWORKS.items()}
    heading(f"DiT beside EGNN, batch {options.batch}, one thread, float32, {options.rounds} rounds")
    first = networks(models, options.batch, options.rounds, options.shots)
    table(first)
    print()
    second = batches(models, options.batch // 2, options.shots)
    table(second)
    write(options.out, first, {"settings": vars(options), "batches": second})


if __name__ == "__main__":
    main()
