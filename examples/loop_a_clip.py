"""Seamless loops: drawn on a circle of frames, so that the first follows the last.

Prints how each loop goes on across its seam, beside clips that were drawn with ends, and closes one of these with new
frames.

    python examples/loop_a_clip.py video-sprites --prompt "a woman walking to the right"
    python examples/loop_a_clip.py my/run/model --frames 16 -n 4
"""

import argparse
from pathlib import Path

import langevin as lv
from langevin.modalities.video.metrics.joins import seam
from langevin.modalities.video.verbs import close

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="video-sprites", help="a folder, or the name of a model")
parser.add_argument("--prompt", default="a woman walking to the right", help="what is to be seen")
parser.add_argument("--frames", type=int, help="of a loop; as trained by default")
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("-n", type=int, default=3)
args = parser.parse_args()

model, out = lv.load(args.model), Path("runs/loop_a_clip")
asked = {"prompt": args.prompt, "frames": args.frames, "steps": args.steps, "seed": 0}
loops, ends = model.sample(args.n, loop=True, **asked), model.sample(args.n, **asked)

for kind, clips in {"loop": loops, "with ends": ends}.items():
    for clip in clips:
        print(f"{kind}: {seam(clip)}")
for path in loops.save(out, overwrite=True):
    print(path)
closed = close(model, ends[0], 2, prompt=args.prompt, steps=args.steps)
for name, clip in {"loop": loops[0], "closed": closed}.items():
    clip.save(out / f"{name}.gif")  # players repeat it
    print(out / f"{name}.gif")
