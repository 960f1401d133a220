"""Every verb of a model on pictures: begin from one, keep parts, vary, interpolate, invert, steer, score.

A verb is an operation of the core on a state; here the states are pictures. Writes a picture for each verb.

    python examples/verbs_on_pictures.py
"""

import argparse
from pathlib import Path

import numpy as np

import langevin as lv
from langevin.modalities.sheets import sheet

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="image-digits", help="a model whose condition is label")
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--particles", type=int, default=8, help="of a steered sample")
parser.add_argument("--out", type=Path, default=Path("runs/verbs_on_pictures"))
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)


def save(verb, *rows):
    """One picture of rows of samples."""
    sheet([picture for row in rows for picture in row], columns=len(rows[0])).save(args.out / f"{verb}.png")
    print(args.out / f"{verb}.png")


model, steps = lv.load(args.model), args.steps
digits = model.sample(label=list(range(10)), steps=steps, seed=0)
save("sample", digits)

# begin from pictures: noised to t = strength, then sampled as another label (image-to-image)
save(
    "start",
    digits,
    model.sample(start=digits, strength=0.8, label=[(k + 1) % 10 for k in range(10)], steps=steps),
)

# keep a part, generate the rest: the lower half (inpainting), then a frame around the middle (outpainting)
upper = model.sample(like=digits, keep=lv.keep.box(0, 0, 14, 28), label=list(range(10)), steps=steps, seed=1)
middle = model.sample(like=digits, keep=lv.keep.border(9), label=list(range(10)), steps=steps, seed=1)
save("keep", digits, upper, middle)
kept, given = np.asarray(upper[3])[:14], np.asarray(digits[3])[:14]
print("kept pixels are the user's own:", np.array_equal(kept, given))

# vary: several samples near one, further away from row to row
save(
    "vary", *(model.vary(digits[5], amount, n=10, label=5, steps=steps, seed=2) for amount in (0.4, 0.6, 0.8))
)

# invert to noise and back; interpolate between the noises of two pictures
noise = model.invert(digits, label=list(range(10)), steps=2 * steps)
back = model.sample(noise=noise, label=list(range(10)), guidance=1.0, grid=lv.grids.uniform(2 * steps))
save("invert", digits, back)
save("interpolate", model.interpolate(digits[3], digits[8], 10, label=[3, 8], steps=2 * steps))


# steer by a reward on pictures: ink on the left half, none on the right
def reward(pictures):
    ink = [np.asarray(p, dtype=np.float32).mean(0) / 255 for p in pictures]
    return [row[:14].mean() - row[14:].mean() for row in ink]


plain = model.sample(10, label=7, sampler="ddpm", steps=2 * steps, seed=3)
steered = model.steer(reward, 10, particles=args.particles, strength=100.0, label=7, steps=2 * steps, seed=3)
save("steer", plain, steered)
print(f"mean reward {np.mean(reward(plain)):.3f}, steered {np.mean(reward(steered)):.3f}")

# score: log p in nats under the probability flow, each digit under its own label and under another
own = model.score(digits, label=list(range(10)), steps=steps, probes=1)
other = model.score(digits, label=[(k + 1) % 10 for k in range(10)], steps=steps, probes=1)
print("log p under its own label minus under the next:", [round(v) for v in (own - other).tolist()])
save("score", [digits[k] for k in own.argsort(descending=True).tolist()])
