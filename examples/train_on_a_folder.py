"""A model of your own pictures: class folders, captions or neither, found by looking at the folder.

Without a folder it draws one: 300 squares and triangles in two class folders.

    python examples/train_on_a_folder.py my/pictures --size 64 --steps 20000
    python examples/train_on_a_folder.py
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

import langevin as lv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", nargs="?", help="a folder of pictures")
parser.add_argument("--size", type=int, help="side in pixels to which pictures are brought")
parser.add_argument("--steps", type=int, default=400)
args = parser.parse_args()
out, settings = Path("runs/train_on_a_folder"), {}

if args.folder is None:
    for i in range(300):
        sides, name = (4, "square") if i % 2 else (3, "triangle")
        picture = Image.new("RGB", (14, 14), "white")
        place = (5 + i // 2 % 5, 5 + i // 10 % 5, 5)  # the centre and the radius, in pixels
        ImageDraw.Draw(picture).regular_polygon(place, sides, fill=("red", "green", "blue")[i % 3])
        (out / "pictures" / name).mkdir(parents=True, exist_ok=True)
        picture.save(out / "pictures" / name / f"{i:03}.png")
    args.folder, small = out / "pictures", {"width": 64, "depth": 3, "heads": 4}
    settings = {"lr": 4e-3, "warmup": 20, "batch": 64, "model": {"network": small}}

model = lv.train(args.folder, steps=args.steps, size=args.size, out=out / "model", watch=print, **settings)
conditions = {}
if "label" in model.conditions:  # one class after another
    names = model.network.conditions["label"].names
    conditions["label"] = [names[i % len(names)] for i in range(16)]
samples = model.sample(16, **conditions)
samples.save(out / "samples", overwrite=True)
model.modality.sheet(samples).save(out / "samples.png")
print(model, out / "samples.png", sep="\n")
