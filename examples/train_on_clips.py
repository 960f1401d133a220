"""A model of your own clips: class folders, captions or neither, found by looking at the folder.

Without a folder it makes one: squares that move left and right in two class folders, in a temporary directory.

    python examples/train_on_clips.py my/clips --size 64 --frames 16 --steps 20000
    python examples/train_on_clips.py
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import langevin as lv
from langevin.modalities.video.clip import Video

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", nargs="?", help="a folder of mp4, webm, mkv, mov, gif, webp or npz files")
parser.add_argument("--size", type=int, default=16, help="side in pixels; clips are scaled to cover it")
parser.add_argument("--frames", type=int, default=6, help="longer clips are cropped to so many")
parser.add_argument("--steps", type=int, default=300)
args = parser.parse_args()
out, settings, made = Path("runs/train_on_clips"), {}, tempfile.TemporaryDirectory()

if args.folder is None:
    for i in range(40):
        frames, step = np.full((6, 16, 16, 3), 30, np.uint8), 2 * (i % 2) - 1
        for k in range(6):
            left = (5 + step * (k - 3) + i % 3) % 12
            frames[k, 4 + i % 5 : 9 + i % 5, left : left + 4] = (220, 60 + 4 * i, 40)
        name = Path(made.name, "right" if step > 0 else "left", f"{i:02}.webp")  # lossless
        name.parent.mkdir(exist_ok=True)
        Video(frames, 8.0).save(name)
    args.folder, small = made.name, {"width": 64, "depth": 2, "heads": 4}
    settings = {"lr": 4e-3, "warmup": 20, "batch": 16, "model": {"network": small}}

options = {"size": args.size, "frames": args.frames}
model = lv.train(
    args.folder, "video", steps=args.steps, options=options, out=out / "model", watch=print, **settings
)
names = model.network.conditions["label"].names if "label" in model.conditions else []
conditions = {"label": [names[i % len(names)] for i in range(4)]} if names else {}
clips = model.sample(4, **conditions)
for path in clips.save(out / "clips", overwrite=True):
    print(path)
model.modality.sheet(clips).save(out / "frames.png")
print(model, out / "frames.png", sep="\n")
