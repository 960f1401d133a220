"""Every sampler by name at several budgets: error against a fine run from the same noise, and the pictures.

Deterministic samplers follow one path, so that their distance from its end is their error. Samplers that
draw fresh noise end elsewhere, as they should; they have a row of pictures and no curve.

    python examples/sample_with_every_sampler.py image-digits --conditions label=0,1,2,3,4,5,6,7
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

import langevin as lv
from langevin.modalities.image.view import grid

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", nargs="?", default="image-digits")
parser.add_argument("--conditions", default="label=0,1,2,3,4,5,6,7", help="name=a,b,c: one sample of each")
parser.add_argument("--budgets", type=int, nargs="+", default=[6, 12, 24, 48], help="evaluations a sample")
parser.add_argument("--reference", type=int, default=200, help="steps of the reference")
parser.add_argument("--out", type=Path, default=Path("runs/sample_with_every_sampler"))
args = parser.parse_args()

name, values = args.conditions.split("=")
model, given = lv.load(args.model), {name: values.split(",")}
reference = model.sample(sampler="angle", steps=args.reference, **given)
pictures, captions = list(reference), [f"{args.reference} steps", *[""] * (len(reference) - 1)]
figure, axes = plt.subplots(figsize=(7, 5))
for sampler, preset in lv.samplers.PRESETS.items():
    path = []
    for budget in args.budgets:
        try:
            # the adaptive sampler finds its own number of steps
            amount = {} if sampler == "adaptive" else {"evaluations": budget}
            samples = model.sample(sampler=sampler, **amount, **given)
        except ValueError as refusal:  # what this model's schedule, or so small a budget, does not allow
            print(f"{sampler:16} {budget:3}  refused: {refusal}")
            continue
        error = (samples.state - reference.state).square().mean().sqrt().item()
        path.append((samples.run.evaluations, error))
        shown = "stochastic" if preset.sampler.stochastic else f"{error:.4f}"
        print(f"{sampler:16} {samples.run.evaluations:3}  {shown}", flush=True)
        if sampler == "adaptive":
            break
    if not path:
        continue
    pictures += samples
    captions += [f"{sampler} {path[-1][0]}", *[""] * (len(samples) - 1)]
    if not preset.sampler.stochastic:
        style = "-" if len(axes.lines) < 10 else "--"
        axes.loglog(*zip(*path), style, marker="o", label=sampler)
axes.set(xlabel="evaluations", ylabel=f"root mean square distance from {args.reference} steps")
axes.legend(ncols=2, fontsize="small", title=model.name)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "error.png", dpi=120)
grid(pictures, columns=len(reference), captions=captions).save(args.out / "samples.png")
print(args.out / "error.png", args.out / "samples.png", sep="\n")
