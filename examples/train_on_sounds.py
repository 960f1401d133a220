"""A model of your own sounds: class folders, captions or neither, found by looking at the folder.

Without a folder it makes one: plucked and held tones in two class folders, in a temporary directory.

    python examples/train_on_sounds.py my/sounds --seconds 2 --steps 20000
    python examples/train_on_sounds.py
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import langevin as lv
from langevin.modalities.audio.sound import Audio

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", nargs="?", help="a folder of wav, flac, ogg, mp3 or m4a files")
parser.add_argument("--seconds", type=float, default=0.5, help="longer sounds are cropped to it")
parser.add_argument("--steps", type=int, default=300)
args = parser.parse_args()
out, settings, made = Path("runs/train_on_sounds"), {}, tempfile.TemporaryDirectory()

if args.folder is None:
    time = np.arange(4000) / 8000  # s
    for i in range(60):
        name, fall = ("plucked", 12.0) if i % 2 else ("held", 0.0)  # per s
        tone = sum(np.sin(2 * np.pi * (200 + 10 * i) * k * time) / k for k in (1, 2, 3))
        Path(made.name, name).mkdir(exist_ok=True)
        Audio(0.3 * tone * np.exp(-fall * time), 8000).save(Path(made.name, name, f"{i:02}.wav"))
    args.folder, small = made.name, {"width": 64, "depth": 2, "heads": 4}
    settings = {"lr": 4e-3, "warmup": 20, "batch": 16, "model": {"network": small}}

options = {"seconds": args.seconds}
model = lv.train(
    args.folder, "audio", steps=args.steps, options=options, out=out / "model", watch=print, **settings
)
conditions = {}
if "label" in model.conditions:  # one class after another
    names = model.network.conditions["label"].names
    conditions["label"] = [names[i % len(names)] for i in range(4)]
sounds = model.sample(4, **conditions)
for path in sounds.save(out / "sounds", overwrite=True):
    print(path)
model.modality.sheet(sounds).save(out / "spectrograms.png")
print(model, out / "spectrograms.png", sep="\n")
