"""A sound longer than any that a model was trained on: drawn window after window, straight to a file.

Memory does not grow with the duration. Give a model's folder or its name, and what it is conditioned on.

    python examples/long_sound.py audio-digits --seconds 30 --on label=seven
    python examples/long_sound.py my/run/model --seconds 600 --window 5 --out runs/long.flac
"""

import argparse
from pathlib import Path

import langevin as lv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="audio-digits", help="a folder, or the name of a model")
parser.add_argument("--seconds", type=float, default=20.0)
parser.add_argument("--window", type=float, help="seconds drawn at a time; as trained by default")
parser.add_argument("--on", nargs="*", default=[], metavar="NAME=VALUE", help="conditions, as label=seven")
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--out", type=Path, default=Path("runs/long_sound.flac"))
args = parser.parse_args()

model = lv.load(args.model)
conditions = dict(said.split("=", 1) for said in args.on)
stream = model.stream(seconds=args.seconds, window=args.window, steps=args.steps, seed=0, **conditions)

# pieces come as they are drawn: the first of them can be heard while the rest is not there yet
(piece,) = next(iter(stream))
print(f"{stream.windows.count} windows; the first piece: {piece}")

args.out.parent.mkdir(parents=True, exist_ok=True)
for path in stream.save(args.out, overwrite=True):
    print(path)
