"""Text to clips: captions as mp4 files, a lossless copy of the first, and a page with players.

What a caption leaves open, the model chooses.

    python examples/text_to_clip.py                                     # video-sprites
    python examples/text_to_clip.py my/run/model --prompt "a red ball rolls" --frames 16
"""

import argparse
from pathlib import Path

import langevin as lv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="video-sprites", help="a shipped model, or a folder")
parser.add_argument("--prompt", action="append", help="what is to be seen; may be repeated")
parser.add_argument("--frames", type=int, help="as trained by default")
parser.add_argument("--steps", type=int, default=20)
args = parser.parse_args()
prompts = args.prompt or [
    "a man walking to the left",
    "a woman with plain pink hair and light skin wearing a white shirt and teal pants, "
    "casting a spell facing the viewer, on a sky-blue background",
    "an orc thrusting facing right",
]

model, out = lv.load(args.model), Path("runs/text_to_clip")
shape = {} if args.frames is None else {"frames": args.frames}
clips = model.sample(prompt=prompts, steps=args.steps, seed=0, **shape)
for path in clips.save(out, overwrite=True):
    print(path)
clips[0].save(out / "first.apng")  # every pixel as it was drawn; .npz and .webp do the same
model.modality.sheet(clips).save(out / "frames.png")
clips.report(out / "report.html", "Text to clips")  # with players
print(out / "first.apng", out / "frames.png", out / "report.html", sep="\n")
for prompt, clip in zip(prompts, clips.valid):
    print(f"{prompt}: {clip}")
