"""A model of your own pictures: class folders, captions or neither, found by looking at the folder.

Without a folder it draws one: 300 discs and squares in two class folders.

    python examples/train_on_a_folder.py my/pictures --size 64 --steps 20000
    python examples/train_on_a_folder.py
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import langevin as lv


def toy_folder(folder: Path, n: int = 150) -> Path:
    """Discs and squares of 14 × 14 pixels, in class folders."""
    rng = np.random.default_rng(0)
    for name in ("disc", "square"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            picture = Image.new("RGB", (14, 14), "white")
            x, y = (int(v) for v in rng.integers(5, 9, 2))
            draw = ImageDraw.Draw(picture)
            shape = draw.ellipse if name == "disc" else draw.rectangle
            shape((x - 4, y - 4, x + 4, y + 4), fill=("red", "green", "blue")[i % 3])
            picture.save(folder / name / f"{i:03}.png")
    return folder


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", nargs="?", help="a folder of pictures")
parser.add_argument("--size", type=int, help="side in pixels to which pictures are brought")
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--out", default="runs/train_on_a_folder")
args = parser.parse_args()


def show(line):
    print(f"step {line.step}: loss {line.loss:.3f}", flush=True)


settings = {"steps": args.steps, "batch": args.batch, "size": args.size}
if args.folder is None:
    args.folder = toy_folder(Path(args.out) / "pictures")
    settings |= {"lr": 4e-3, "warmup": 20, "model": {"network": {"width": 64, "depth": 3, "heads": 4}}}
model = lv.train(args.folder, out=f"{args.out}/model", watch=show, **settings)
print(model)

conditions = {}
if "label" in model.conditions:  # one class after another
    names = model.network.conditions["label"].names
    conditions["label"] = [names[i % len(names)] for i in range(16)]
samples = model.sample(16, **conditions)
samples.save(f"{args.out}/samples", overwrite=True)
samples.modality.sheet(samples).save(f"{args.out}/samples.png")
print(f"{args.out}/samples.png")
