"""Every verb of a model on pictures: begin from one, keep parts, vary, interpolate, invert, steer, score.

A verb is an operation of the core on a state; here the states are pictures. Writes a picture for each verb
to runs/verbs_on_pictures.

    python examples/verbs_on_pictures.py
"""

import argparse
from pathlib import Path

import numpy as np

import langevin as lv
from langevin.modalities.sheets import sheet

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=20)
steps = parser.parse_args().steps

model, labels, following = lv.load("image-digits"), list(range(10)), [*range(1, 10), 0]
digits = model.sample(label=labels, steps=steps, seed=0)
verbs = {"sample": [*digits]}

# begin from pictures: noised to t = strength, then sampled as another label (image-to-image)
verbs["start"] = [*digits, *model.sample(start=digits, strength=0.8, label=following, steps=steps)]

# keep a part, generate the rest: the lower half (inpainting), then what a frame encloses
regions = (lv.keep.box(0, 0, 14, 28), lv.keep.border(9))
upper, frame = (model.sample(like=digits, keep=k, label=labels, steps=steps, seed=1) for k in regions)
verbs["keep"] = [*digits, *upper, *frame]
print("kept pixels are the user's own:", np.array_equal(np.array(upper[3])[:14], np.array(digits[3])[:14]))

# vary: several samples near one, further away from row to row
near = [model.vary(digits[5], amount, n=10, label=5, steps=steps) for amount in (0.4, 0.6, 0.8)]
verbs["vary"] = [picture for row in near for picture in row]

# invert to noise and back; interpolate between the noises of two pictures
noise = model.invert(digits, label=labels, steps=2 * steps)
back = model.sample(noise=noise, label=labels, guidance=1.0, grid=lv.grids.uniform(2 * steps))
verbs["invert"] = [*digits, *back]
verbs["interpolate"] = [*model.interpolate(digits[3], digits[8], 10, label=[3, 8], steps=2 * steps)]


# steer by a reward on pictures: ink on the left half, none on the right
def reward(pictures):
    return [np.array(p)[:, :14].mean() / 255 - np.array(p)[:, 14:].mean() / 255 for p in pictures]


plain = model.sample(10, label=7, sampler="ddpm", steps=2 * steps, seed=3)
steered = model.steer(reward, 10, particles=8, strength=100.0, label=7, steps=2 * steps, seed=3)
verbs["steer"] = [*plain, *steered]
print(f"mean reward {np.mean(reward(plain)):.3f}, steered {np.mean(reward(steered)):.3f}")

# score: log p in nats under the probability flow, of each digit under its own label and under the next
own, other = (model.score(digits, label=given, steps=steps, probes=1) for given in (labels, following))
print("log p under its own label minus under the next:", [round(v) for v in (own - other).tolist()])
verbs["score"] = [digits[k] for k in own.argsort(descending=True).tolist()]

Path("runs/verbs_on_pictures").mkdir(parents=True, exist_ok=True)
for verb, pictures in verbs.items():
    sheet(pictures, columns=10).save(f"runs/verbs_on_pictures/{verb}.png")
    print(f"runs/verbs_on_pictures/{verb}.png")
