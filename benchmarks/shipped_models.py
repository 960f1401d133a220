"""The figures on the cards of the shipped picture models.

    python benchmarks/shipped_models.py image-digits --data ../shared/data -n 1000
    python benchmarks/shipped_models.py image-shapes -n 1000
    python benchmarks/shipped_models.py image-emoji --data ../shared/data

Consecutive seeds from 0, no rejection, the model's own defaults. Prints tables and writes them as JSON with --out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import langevin as lv
from langevin.modalities.image.data import NpzDataset, open_data
from langevin.modalities.image.hues import HUES, leading_hue
from langevin.modalities.image.metrics import Classifier, RandomConv, Table, evaluate, wilson
from langevin.modalities.image.shapes import Shapes, caption, compositions

JUDGES = Path(__file__).parents[1] / "tests" / "data" / "judges"
CHEAP = ("frechet", "kid", "neighbourhood", "memorisation", "copied", "diversity")
# things with a clear colour of their own, each asked for in every hue
THINGS = ("apple", "heart", "rocket", "octopus", "tulip", "car", "book", "fish", "butterfly", "mushroom")


def digits(model: Any, n: int, data: Path) -> list[Table]:
    """Class accuracy by an independent judge, distances in its features, diversity and copying."""
    archive = data / "images" / "mnist_28.npz"
    train, test = NpzDataset(archive, "train"), NpzDataset(archive, "test")
    judge = Classifier(JUDGES / "digits.safetensors")
    labels = [i % 10 for i in range(n)]
    samples = model.sample(n, label=labels, seed=0)
    made = [np.asarray(item)[..., None] for item in samples]
    rng = np.random.default_rng(0)
    held = rng.permutation(len(test))[: 2 * n]
    seen = rng.permutation(len(train))[:10_000]
    table = evaluate(
        made,
        train.images[seen],
        test.images[held],
        features={"judge": judge},
        labels=labels,
        real_labels=[int(v) for v in test.columns["label"][held]],
        judge=judge.predict,
        metrics=CHEAP,
    )
    return [table]


def shapes(model: Any, n: int, data: Path) -> list[Table]:
    """Attribute accuracy by the exact probe, on compositions held out of training and on those seen."""
    from langevin.modalities.image.probe import probe

    rows = []
    for split in ("test", "train"):
        wanted = [compositions(split)[i * 7919 % len(compositions(split))] for i in range(n)]
        drawn = model.sample(n, prompt=[caption(a) for a in wanted], seed=0)
        found = probe(np.stack([np.asarray(item) for item in drawn]))
        cells: dict[str, Any] = {"compositions": "held out" if split == "test" else "seen", "n": n}
        for name in ("shape", "colour", "count", "position"):
            right = sum(getattr(f, name) == getattr(w, name) for f, w in zip(found, wanted, strict=True))
            cells[name] = wilson(right, n)
        cells["all four"] = wilson(
            sum(tuple(f)[:4] == tuple(w)[:4] for f, w in zip(found, wanted, strict=True)), n
        )
        rows.append(cells)
        if split == "test":
            mixed = wanted[1:] + wanted[:1]
            control: dict[str, Any] = {"compositions": "shuffled prompts (control)", "n": n}
            for name in ("shape", "colour", "count", "position"):
                right = sum(getattr(f, name) == getattr(w, name) for f, w in zip(found, mixed, strict=True))
                control[name] = wilson(right, n)
            rows.append(control)
            real, made = Shapes(split="test"), drawn
            pictures = real.batch(range(2 * n))[0]
            table = evaluate(
                [np.asarray(item) for item in made],
                Shapes(split="train").batch(range(5000))[0],
                pictures,
                features={"random conv": RandomConv(0)},
                metrics=("frechet", "kid", "neighbourhood", "memorisation", "copied"),
            )
    clean = Shapes(split="test")
    pictures, _ = clean.batch(range(n))
    found = probe(pictures)
    wanted = clean.attributes(range(n))
    ceiling: dict[str, Any] = {"compositions": "real pictures (ceiling)", "n": n}
    for name in ("shape", "colour", "count", "position"):
        ceiling[name] = wilson(
            sum(getattr(f, name) == getattr(w, name) for f, w in zip(found, wanted, strict=True)), n
        )
    rows.append(ceiling)
    return [
        Table(rows, "Attributes read by the exact probe; 95 % intervals. Prompts: one sample each, seed 0."),
        table,
    ]


def emoji(model: Any, n: int, data: Path) -> list[Table]:
    """Retrieval of the asked concept, captions held out of training, and asked colours."""
    path = data / "images" / "noto_emoji_64.npz"
    options: dict[str, Any] = {"where": {"skin_tone": ""}, "size": 32}
    train, test = (
        open_data(str(path), split="train", **options),
        open_data(str(path), split="test", **options),
    )
    features = RandomConv(0)
    bank = features(np.concatenate([train.images, test.images]))
    mean, std = bank.mean(0), bank.std(0) + 1e-6
    bank = (bank - mean) / std
    captions = [str(c) for c in train.columns["caption"]] + [str(c) for c in test.columns["caption"]]
    count = len(train)
    rows = []
    chosen = [int(i) for i in np.random.default_rng(0).permutation(count)[: min(n, count)]]
    for name, asked, candidates in (
        ("training captions", chosen, range(count)),
        ("held-out captions", list(range(count, len(captions))), range(len(captions))),
    ):
        drawn = model.sample(len(asked), prompt=[captions[i] for i in asked], seed=0)
        ours = (features(np.stack([np.asarray(item) for item in drawn])) - mean) / std
        distance = ((ours[:, None] - bank[None, list(candidates)]) ** 2).sum(-1)
        order = distance.argsort(1)
        ranks = [int(np.flatnonzero(order[k] == i)[0]) for k, i in enumerate(asked)]
        rows.append(
            {
                "asked": name,
                "n": len(asked),
                "candidates": len(candidates),
                "top 1": wilson(sum(r < 1 for r in ranks), len(ranks)),
                "top 5": wilson(sum(r < 5 for r in ranks), len(ranks)),
                "median rank": float(np.median(ranks)) + 1,
                "chance, top 5": round(5 / len(candidates), 4),
            }
        )
        if name == "training captions":
            judged = evaluate(
                [np.asarray(item) for item in drawn], train.images, test.images,
                features={"random conv": RandomConv(0)}, metrics=("frechet", "neighbourhood", "memorisation", "copied"), k=3,
            )  # fmt: skip
    prompts = [(hue, thing) for thing in THINGS for hue in HUES]
    drawn = model.sample(len(prompts), prompt=[f"{hue} {thing}" for hue, thing in prompts], seed=0)
    led = [leading_hue(np.asarray(item)) for item in drawn]
    right = sum(found == hue for found, (hue, _) in zip(led, prompts, strict=True))
    shifted = sum(found == prompts[(i + 1) % len(prompts)][0] for i, found in enumerate(led))
    hues = [
        {"prompts": "hue + thing", "n": len(prompts), "asked hue leads": wilson(right, len(prompts))},
        {
            "prompts": "another hue (control)",
            "n": len(prompts),
            "asked hue leads": wilson(shifted, len(prompts)),
        },
    ]
    return [
        Table(rows, "Nearest picture in standardised random-convolution features (seed 0); 95 % intervals."),
        Table(hues, f"Hue most common among saturated pixels; {len(THINGS)} things in {len(HUES)} hues."),
        judged,
    ]


def held_out(model: Any, data: Path, n: int = 24, columns: int = 8) -> Any:
    """A sheet of captions held out of training, evenly chosen: each true drawing above what the model draws."""
    from langevin.modalities.image.view import grid

    path = str(data / "images" / "noto_emoji_64.npz")
    items = open_data(path, split="test", where={"skin_tone": ""}, size=32)
    real, values = items.batch([i * len(items) // n for i in range(n)])
    drawn = model.sample(n, prompt=list(values["prompt"]), seed=0)
    pictures: list[Any] = []
    captions: list[str] = []
    for low in range(0, n, columns):
        block = slice(low, low + columns)
        pictures += [*real[block], *drawn[block]]
        captions += [*values["prompt"][block], *[""] * columns]
    return grid(pictures, columns, captions, scale=2)


MODELS: dict[str, tuple[Callable[[Any, int, Path], list[Table]], int]] = {
    "image-digits": (digits, 1000),
    "image-shapes": (shapes, 500),
    "image-emoji": (emoji, 200),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=sorted(MODELS))
    parser.add_argument("-n", type=int, help="samples in each row")
    parser.add_argument("--folder", help="a model folder in place of the shipped one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with images/…")
    parser.add_argument("--out", type=Path, help="write the tables as JSON")
    parser.add_argument("--sheet", type=Path, help="image-emoji: a PNG of captions held out of training")
    options = parser.parse_args()
    run, count = MODELS[options.model]
    model = lv.load(options.folder or options.model, device="cpu")
    started = time.process_time()
    tables = run(model, options.n or count, options.data)
    defaults = {k: v for k, v in model.defaults.items() if k != "density"}
    print(f"{model!r}\ndefaults {defaults}; {time.process_time() - started:.0f} CPU s\n")
    for table in tables:
        print(table, "\n")
    if options.sheet:
        held_out(model, options.data).save(options.sheet)
    if options.out:
        options.out.write_text(json.dumps([json.loads(table.to_json()) for table in tables], indent=1))


if __name__ == "__main__":
    main()
