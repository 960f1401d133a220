"""A clip that goes on, and one that begins earlier: frames after it, before it, between two clips, and in slow motion.

The clip's own frames stay as they are. Without a clip, one of the model's own is extended.

    python examples/extend_a_clip.py video-sprites --prompt "a man walking to the left" --frames 16
    python examples/extend_a_clip.py my/run/model --clip my.mp4 --frames 48
"""

import argparse
from pathlib import Path

import numpy as np

import langevin as lv
from langevin.modalities.video.verbs import connect, precede, slow

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="video-sprites", help="a folder, or the name of a model")
parser.add_argument("--clip", type=Path, help="brought to the model's size and rate")
parser.add_argument("--prompt", default="a man walking to the left", help="what is to be seen")
parser.add_argument("--frames", type=int, default=16, help="new ones")
parser.add_argument("--steps", type=int, default=20)
args = parser.parse_args()

model, out = lv.load(args.model), Path("runs/extend_a_clip")
asked = {"prompt": args.prompt, "steps": args.steps, "seed": 0}
own = model.modality.read(args.clip) if args.clip else model.sample(**asked)[0]

made = {
    "windows": model.extend(own, frames=args.frames, **asked)[0],  # half a window is seen, half is drawn
    "rolling": model.extend(own, frames=args.frames, rolling=True, **asked)[0],  # frame after frame
    "before": precede(model, own, args.frames, **asked),
    "between": connect(model, own, own, 4, **asked),
    "slow": slow(model, own, 2, **asked),
}
out.mkdir(parents=True, exist_ok=True)
shown = model.modality.shown(own)
for name, clip in made.items():
    kept = {"before": clip.frames[-len(shown) :], "slow": clip.frames[::2]}.get(
        name, clip.frames[: len(shown)]
    )
    print(f"{name}: {len(clip)} frames; the clip's own are in it: {np.array_equal(kept, shown)}")
    clip.save(out / f"{name}.mp4")
    print(out / f"{name}.mp4")
