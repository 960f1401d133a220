"""Guidance side by side: weights, an interval, adaptive projection, composition, a negative condition.

Every row of the sheet begins from the same noise; what is printed is what a guidance costs.

    python examples/guidance.py                       # image-digits; runs/guidance.png
"""

import argparse
from pathlib import Path

import langevin as lv
from langevin.modalities.image.view import grid

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=20)
steps = parser.parse_args().steps

model = lv.load("image-digits")
cfg, apg, compose = lv.guidance.cfg, lv.guidance.apg, lv.guidance.compose
three, eight = model.embed(label=3), model.embed(label=8)
rows = {  # caption: (guidance, condition of the call)
    "no condition": (cfg(1.0), {}),
    "cfg 1 (none)": (cfg(1.0), {"label": 3}),
    "cfg 2": (cfg(2.0), {"label": 3}),
    "cfg 8": (cfg(8.0), {"label": 3}),
    "cfg 8 in .2 to .8": (cfg(8.0, interval=(0.2, 0.8)), {"label": 3}),
    "cfg 8 rescaled": (cfg(8.0, rescale=0.7), {"label": 3}),
    "apg 8": (apg(8.0, norm=10.0, momentum=-0.5), {"label": 3}),
    "3 and 8": (compose([(three, 1.5), (eight, 1.5)]), {}),
    "3, not 8": (compose([(three, 3.0), (eight, -1.0)]), {}),
    "3 against 8": (cfg(2.0, negative=eight), {"label": 3}),
}
pictures, captions, columns = [], [], 8
for caption, (guidance, condition) in rows.items():
    samples = model.sample(columns, guidance=guidance, steps=steps, seed=1, **condition)
    pictures += samples
    captions += [caption, *[""] * (columns - 1)]
    print(f"{caption:17} {samples.run.network_rows // columns:3} rows of the network a sample")
Path("runs").mkdir(exist_ok=True)
grid(pictures, columns, captions).save("runs/guidance.png")
print("runs/guidance.png")
