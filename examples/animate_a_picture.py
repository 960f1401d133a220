"""A picture that begins to move: it is the first frame, as it is, and the model draws what follows.

Without a picture, the first frame of a clip of the model's own is animated, in three ways.

    python examples/animate_a_picture.py video-sprites --prompt "a man walking to the left"
    python examples/animate_a_picture.py my/run/model --picture my.png --prompt "it starts to rain" -n 4
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import langevin as lv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="video-sprites", help="a folder, or the name of a model")
parser.add_argument("--picture", type=Path, help="brought to the model's size")
parser.add_argument("--prompt", default="a woman walking toward the viewer", help="what is to be seen")
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("-n", type=int, default=3)
args = parser.parse_args()

model, out = lv.load(args.model), Path("runs/animate_a_picture")
asked = {"prompt": args.prompt, "steps": args.steps}
if args.picture:
    picture = Image.open(args.picture).convert("RGB")
else:
    picture = Image.fromarray(model.sample(**asked, seed=7)[0].frames[0])

clips = model.sample(args.n, like=picture, keep=lv.keep.frames(0), seed=0, **asked)
for path in clips.save(out, overwrite=True):
    print(path)
model.modality.sheet(clips).save(out / "frames.png")
print(out / "frames.png")
first = model.modality.shown(picture)[0]
for clip in clips:
    moved = np.abs(np.diff(clip.frames.astype(int), axis=0)).mean()
    print(
        f"first frame as given: {np.array_equal(clip.frames[0], first)}; it moves by {moved:.1f} grey levels"
    )
