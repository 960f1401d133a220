"""Seamless loops: drawn and decoded on a circle, so that the end goes over into the beginning.

Prints how each loop goes on across its seam, beside a sound that was drawn with ends, and writes every loop played three
times. Loops are for sustained sounds: one that dies away is quiet at every end.

    python examples/loop_sound.py audio-digits --on label=seven
    python examples/loop_sound.py my/run/model --seconds 5 -n 4
"""

import argparse
from pathlib import Path

import numpy as np

import langevin as lv
from langevin.modalities.audio.metrics.joins import seam
from langevin.modalities.audio.sound import Audio

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="audio-digits", help="a folder, or the name of a model")
parser.add_argument("--seconds", type=float, help="of a loop; as trained by default")
parser.add_argument("--on", nargs="*", default=[], metavar="NAME=VALUE", help="conditions, as label=seven")
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("-n", type=int, default=2)
args = parser.parse_args()

model, out = lv.load(args.model), Path("runs/loop_sound")
asked = {"seconds": args.seconds, "steps": args.steps, "seed": 0, **dict(on.split("=", 1) for on in args.on)}
loops, ends = model.sample(args.n, loop=True, **asked), model.sample(args.n, **asked)

for kind, sounds in {"loop": loops, "with ends": ends}.items():
    for sound in sounds:
        found = seam(sound)
        print(
            f"{kind}: change at the seam {found.change:.1f} dB, of places inside {found.high:.1f} dB or less; "
            f"energy there {found.energy:.2f} of the mean; seamless: {found.seamless}"
        )
for path in loops.save(out, overwrite=True):
    print(path)
for k, sound in enumerate(loops):
    Audio(np.tile(sound.samples, 3), sound.rate).save(out / f"played_{k}.wav")
    print(out / f"played_{k}.wav")
