"""A new modality in one file: rings of points, any number of them, of a radius that one can ask for.

The modality says how an object becomes a state and tokens, and back; training, samplers, guidance, the verbs,
files and pages are there already.

    python examples/write_a_modality.py         # trains for a minute; runs/write_a_modality/report.html
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

import langevin as lv
from langevin.core.backbones import DiT
from langevin.core.conditioning import NumberEmbedder
from langevin.core.network import Network
from langevin.core.tokens import Tokens
from langevin.core.training.trainer import Settings, Trainer
from langevin.tables import Table


@dataclass(frozen=True)
class RingSpec:
    """What may be said about new rings: a keyword of ``model.sample``."""

    points: int | None = field(
        default=None, metadata={"help": "points of a ring (default: 6 to 12, at random)"}
    )


class Rings(lv.Modality):
    """An item is an array (points, 2); a state is (B, L, 2) with a mask, because rings differ in length."""

    name, suffix, suffixes, spec = "rings", ".json", (".json",), RingSpec

    def __init__(self, width):
        self._conditions = {"radius": NumberEmbedder(width, mean=1.0, std=0.3)}

    process = lv.processes.Gaussian(lv.schedules.Linear())
    conditions = property(lambda self: self._conditions)
    inputs = outputs = property(lambda self: {"": 2})  # two numbers a token, in and out

    def encode(self, items):
        mask = torch.zeros(len(items), max(map(len, items)), dtype=torch.bool)
        state = torch.zeros(*mask.shape, 2)
        for row, item in enumerate(items):
            mask[row, : len(item)] = True
            state[row, : len(item)] = torch.as_tensor(item)
        return state, mask

    def decode(self, state, mask=None):
        items = [x[m].numpy() for x, m in zip(state, mask)]
        return [x if np.abs(x).max() < 4 else lv.Failure("a point is far away") for x in items]

    def blank(self, indices, rng, conditions, spec):
        counts = 6 + rng.fold("points").integers(7, (len(indices),))
        counts = counts if spec.points is None else torch.full_like(counts, spec.points)
        mask = torch.arange(int(counts.max())) < counts[:, None]
        return torch.zeros(*mask.shape, 2), mask

    def tokens(self, state, mask=None):
        place = torch.arange(state.shape[1]).float()  # neighbours on the ring are neighbours in the sequence
        return Tokens({"": state}, place[None, :, None], mask)

    def untokens(self, values, like, pair=None):
        return values[""]

    def save(self, item, path):
        path.write_text(json.dumps(item.tolist()))

    def read(self, path):
        return np.array(json.loads(path.read_text()), dtype=np.float32)

    def picture(self, item):
        image = Image.new("RGB", (112, 112), "white")
        draw = ImageDraw.Draw(image)
        places = [tuple(56 + 28 * p) for p in item]
        draw.line([*places, places[0]], fill="lightgrey")
        for x, y in places:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill="black")
        return image

    def evaluate(self, items, reference=None):
        radii = [np.linalg.norm(x, axis=1) for x in items]
        values = {"radius": [r.mean() for r in radii], "spread within a ring": [r.std() for r in radii]}
        return Table([{"measure": name, "value": float(np.mean(v))} for name, v in values.items()])


class RingData:
    """The training set: drawn on demand; anything with ``len`` and ``batch`` will do."""

    def __len__(self):
        return 4096

    def batch(self, indices):
        items, radii = [], []
        for rng in map(np.random.default_rng, indices):
            count, radius, turn = rng.integers(6, 13), rng.uniform(0.5, 1.5), rng.uniform(0, 2 * np.pi)
            angles = turn + 2 * np.pi * np.arange(count) / count
            items.append((radius * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.float32))
            radii.append(radius)
        return items, {"radius": radii}


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=800)
parser.add_argument("--out", type=Path, default=Path("runs/write_a_modality"))
args = parser.parse_args()

torch.manual_seed(0)
modality = Rings(width=64)
network = Network(modality, DiT(64, 3, 4, axes=1), modality.conditions)
model = lv.Model(modality, network, modality.process, drop={"radius": 0.1}, config={"name": "rings"})
trainer = Trainer(model, RingData(), Settings(steps=args.steps, batch=64, lr=3e-3, log=100))
for line in trainer.run():
    print(f"step {line.step}: loss {line.loss:.3f}")
network.load_state_dict(trainer.averaged())

for radius in (0.6, 1.0, 1.4):
    found = modality.evaluate(model.sample(32, radius=radius, steps=20).valid)
    print(
        f"asked for radius {radius}:", ", ".join(f"{row['measure']} {row['value']:.3f}" for row in found.rows)
    )
samples = model.sample(24, radius=[0.5 + k / 24 for k in range(24)], guidance=1.5, steps=20)
samples.save(args.out, overwrite=True)
print(samples.report(args.out / "report.html"))
