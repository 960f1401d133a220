"""Clips of mixed sizes and lengths in one training step: packed, one by one, and padded.

Each clip has a height and a width of 16, 24, 32, 40 or 48 pixels and 4 to 16 frames, drawn by the seed; a token is 8 x 8
pixels of a frame. A step is the loss of a model and its gradient: clips to states, times and noise, a DiT 192 wide and 6
deep that is steered by a caption. Rows:

    separate            every clip in a step of its own; the sum over the batch
    packed              one step, as training does it (langevin.core.packing)
    padded, clip        as many clips as large as the one with the most tokens: the least that padding can cost
    padded, box         as many clips of the largest height, width and length

CPU seconds, one thread. Ways take turns within a round, so that a load that comes and goes hits all; a ratio is the median
over rounds of (way / separate of the same round), with its range; "of least" compares the fastest rounds. Tokens: computed
for one real one. Losses and gradients of the packed step are compared with those of the separate ones before anything is
timed.

    python -m benchmarks.packing --rounds 9
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.reporting import heading, table, write
from langevin.assembly import build_model
from langevin.core.rng import Stream
from langevin.modalities.video.clip import Video

SIDES, FRAMES, PATCH = (16, 24, 32, 40, 48), (4, 16), 8
Shape = tuple[int, int, int]  # frames, height, width


def model(modulation: str) -> Any:
    torch.manual_seed(0)
    prompt = {"name": "text", "width": 64, "depth": 1, "heads": 4, "length": 64, "vector_width": 192}
    made = build_model(
        {
            "name": "packing",
            "modality": {
                "name": "video", "codec": {"name": "pixels", "size": 48}, "patch": [1, PATCH, PATCH], "native": True,
                "conditions": {"prompt": prompt},
            },
            "network": {
                "name": "dit", "width": 192, "depth": 6, "heads": 6, "mlp_ratio": 3.0, "axes": 3, "context_width": 64,
                "modulation": modulation,
            },
            "parametrisation": "x",
            "objective": {"target": "velocity"},
        }
    )  # fmt: skip
    for parameter in made.network.parameters():  # so that nothing is silent
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return made


def shapes(batch: int, seed: int) -> list[Shape]:
    rng = np.random.default_rng(seed)
    return [
        (int(rng.integers(FRAMES[0], FRAMES[1] + 1)), int(rng.choice(SIDES)), int(rng.choice(SIDES)))
        for _ in range(batch)
    ]


def tokens(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2] // PATCH**2


def clips(given: Sequence[Shape]) -> list[Video]:
    rng = np.random.default_rng(0)
    return [Video(rng.integers(0, 256, (*shape, 3), dtype=np.uint8), 8.0) for shape in given]


def step(made: Any, items: Sequence[Video], rows: Sequence[int], total: int) -> Tensor:
    """Losses of items whose numbers are ``rows``; their gradients are added."""
    conditions = {"prompt": [f"clip number {row}" for row in rows]}
    losses, _ = made.loss(items, conditions, Stream.of(0, rows), rows=(rows[0], total))
    losses.sum().backward()
    return losses.detach()


def gradient(made: Any) -> Tensor:
    both = [p.grad.flatten() for p in made.network.parameters() if p.grad is not None]
    made.network.zero_grad(set_to_none=True)
    return torch.cat(both)


def measure(made: Any, batch: int, rounds: int, seed: int) -> list[dict[str, Any]]:
    own = shapes(batch, seed)
    largest = max(own, key=tokens)
    box: Shape = tuple(max(sides) for sides in zip(*own))  # type: ignore[assignment]
    sets = {"own": clips(own), "largest": clips([largest] * batch), "box": clips([box] * batch)}
    every = range(batch)
    ways: dict[str, Callable[[], Tensor]] = {
        "separate": lambda: torch.cat([step(made, [sets["own"][i]], [i], batch) for i in every]),
        "packed": lambda: step(made, sets["own"], every, batch),
        "padded, clip": lambda: step(made, sets["largest"], every, batch),
        "padded, box": lambda: step(made, sets["box"], every, batch),
    }
    work = {"padded, clip": batch * tokens(largest), "padded, box": batch * tokens(box)}
    real = sum(map(tokens, own))
    losses, slopes = [], []
    for name in ("separate", "packed"):
        losses.append(ways[name]())
        slopes.append(gradient(made))
    apart = ((losses[0] - losses[1]).abs() / losses[0]).max().item()
    steep = ((slopes[0] - slopes[1]).norm() / slopes[0].norm()).item()
    print(
        f"batch {batch}, seed {seed}: {real} tokens; packed against separate: losses within {apart:.1e}, "
        f"gradient within {steep:.1e} (relative)"
    )
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.process_time()
            ways[name]()
            seconds[name].append(time.process_time() - start)
            made.network.zero_grad(set_to_none=True)
    out = []
    for name in names:
        ratios = [a / b for a, b in zip(seconds[name], seconds["separate"])]
        out.append(
            {
                "way": name,
                "batch": batch,
                "seed": seed,
                "tokens": round(work.get(name, real) / real, 2),
                "seconds": round(statistics.median(seconds[name]), 3),
                "ratio": round(statistics.median(ratios), 3),
                "range": f"{min(ratios):.2f} - {max(ratios):.2f}",
                "of least": round(min(seconds[name]) / min(seconds["separate"]), 3),
            }
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--modulation", default="shared", choices=("shared", "block"))
    parser.add_argument("--quick", action="store_true", help="three rounds, one seed")
    parser.add_argument("--out", help="write the figures to this .json or .csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    heading(f"a training step on clips of mixed sizes, modulation {options.modulation}, float32, 1 thread")
    made = model(options.modulation)
    rounds, seeds = (3, options.seeds[:1]) if options.quick else (options.rounds, options.seeds)
    rows = []
    for batch in options.batches:
        for seed in seeds:
            found = measure(made, batch, rounds, seed)
            table(found)
            rows += found
    write(options.out, rows)


if __name__ == "__main__":
    main()
