"""A recording, changed: drawn again at a strength, a stretch and a band of it redrawn, and continued.

What is not changed stays sample by sample as it is, at the recording's own rate and in all its channels. Without a
recording, a sound of the model's own is changed.

    python examples/transform_a_recording.py audio-digits --recording my.wav --on label=seven
    python examples/transform_a_recording.py my/run/model --recording my.flac
"""

import argparse
from pathlib import Path

import numpy as np

import langevin as lv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="audio-digits", help="a folder, or the name of a model")
parser.add_argument("--recording", type=Path, help="a sound file")
parser.add_argument("--on", nargs="*", default=[], metavar="NAME=VALUE", help="conditions, as label=seven")
parser.add_argument("--steps", type=int, default=20)
args = parser.parse_args()

model, out = lv.load(args.model), Path("runs/transform_a_recording")
asked = {"steps": args.steps, "seed": 0, **dict(said.split("=", 1) for said in args.on)}
own = model.modality.read(args.recording) if args.recording else model.sample(**asked)[0]

# noised to t = strength and drawn again: a little, then more
made = {f"strength_{s}": model.sample(start=own, strength=s, **asked)[0] for s in (0.3, 0.6)}

# the middle third is redrawn; then, in that third, only what lies above 1 kHz
begin, end = own.seconds / 3, 2 * own.seconds / 3
span, band = lv.keep.seconds(begin, end), lv.keep.hertz(1000)
made["span"] = model.sample(like=own, keep=~span, **asked)[0]
made["band"] = model.sample(like=own, keep=~(span & band), **asked)[0]

# what could come after it
made["continued"] = model.extend(own, seconds=own.seconds, **asked)[0]

outside = np.arange(len(own)) / own.rate < begin
for name in ("span", "band", "continued"):
    same = np.array_equal(made[name].samples[:, : len(own)][:, outside], own.samples[:, outside])
    print(f"{name}: before {begin:.2f} s the samples are the recording's own: {same}")

out.mkdir(parents=True, exist_ok=True)
for name, sound in {"recording": own, **made}.items():
    sound.save(out / f"{name}.wav")
    print(out / f"{name}.wav")
