"""Every sampler by name at several budgets: error against a fine run from the same noise, and the pictures.

Deterministic samplers follow one path, so that their distance from its end is their error. Samplers that
draw fresh noise end elsewhere, as they should; they have a row of pictures and no curve.

    python examples/sample_with_every_sampler.py
    python examples/sample_with_every_sampler.py --budgets 10 20 40 80 --reference 400
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

import langevin as lv
from langevin.modalities.image.view import grid

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--budgets", type=int, nargs="+", default=[6, 12, 24, 48], help="evaluations a sample")
parser.add_argument("--reference", type=int, default=200, help="steps of the reference")
args = parser.parse_args()

model, labels = lv.load("image-digits"), [0, 2, 3, 5, 8]
reference = model.sample(label=labels, steps=args.reference)
pictures, captions = list(reference), [f"{args.reference} steps", *[""] * (len(labels) - 1)]
figure, axes = plt.subplots(figsize=(7, 5))
for name, preset in lv.samplers.PRESETS.items():
    path = []
    for budget in [None] if name == "adaptive" else args.budgets:  # the adaptive one finds its own steps
        samples = model.sample(label=labels, sampler=name, evaluations=budget)
        error = (samples.state - reference.state).square().mean().sqrt().item()
        path.append((samples.run.evaluations, error))
        shown = "stochastic" if preset.sampler.stochastic else f"{error:.4f}"
        print(f"{name:16} {samples.run.evaluations:3}  {shown}", flush=True)
    pictures += samples
    captions += [f"{name} {samples.run.evaluations}", *[""] * (len(labels) - 1)]
    if not preset.sampler.stochastic:
        style = "o-" if len(axes.lines) < 10 else "o--"
        axes.loglog(*zip(*path), style, label=name)
axes.set(xlabel="evaluations", ylabel=f"root mean square distance from {args.reference} steps")
axes.legend(ncols=2, fontsize="small", title=model.name)
out = Path("runs/sample_with_every_sampler")
out.mkdir(parents=True, exist_ok=True)
figure.savefig(out / "error.png", dpi=120)
grid(pictures, len(labels), captions).save(out / "samples.png")
print(out / "error.png", out / "samples.png", sep="\n")
