"""A real file, restyled: read from mp4, noised to a strength and drawn again, and written with its sound.

Without a file one is made: coloured bars that move, with a tone. A model draws what it was trained on, at its own size and
rate.

    python examples/restyle_a_video.py video-sprites --clip my.mp4 --prompt "an orc walking to the left"
    python examples/restyle_a_video.py my/run/model --clip my.mp4 --seconds 2 --strength 0.5
"""

import argparse
from pathlib import Path

import numpy as np

import langevin as lv
from langevin.modalities.video.clip import Track, Video
from langevin.modalities.video.files import read

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="video-sprites", help="a folder, or the name of a model")
parser.add_argument("--clip", type=Path, help="mp4, webm, mkv, mov, gif …")
parser.add_argument("--seconds", type=float, default=1.0, help="of the file, from its beginning")
parser.add_argument("--prompt", help="what is to be seen")
parser.add_argument("--strength", type=float, nargs="*", default=[0.5, 0.8])
parser.add_argument("--steps", type=int, default=20)
args = parser.parse_args()

out = Path("runs/restyle_a_video")
out.mkdir(parents=True, exist_ok=True)
if args.clip is None:
    args.clip, time = out / "bars.mp4", np.arange(25)[:, None, None]
    bars = ((np.arange(96) + 4 * time) // 16 % 2 * 200).repeat(64, 1)[..., None] * [1.0, 0.6, 0.2]
    tone = Track(0.2 * np.sin(2 * np.pi * 330 * np.arange(16000) / 16000), 16000)
    Video(bars.astype(np.uint8), 25.0, tone).save(args.clip)

model, own = lv.load(args.model), read(args.clip, seconds=args.seconds)
asked = {"steps": args.steps, "seed": 0, **({"prompt": args.prompt} if args.prompt else {})}
print(f"read: {own}")
for strength in args.strength:
    (made,) = model.sample(start=own, strength=strength, **asked)
    made.save(out / f"strength_{strength}.mp4")
    print(f"strength {strength}: {made}", out / f"strength_{strength}.mp4", sep="\n")
