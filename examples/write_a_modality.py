"""A new modality in one file: rings of eight points, of a radius that one can ask for.

The modality says how an object becomes a state and tokens, and back; training, samplers, guidance, the verbs,
model folders, files and pages are there already.

    python examples/write_a_modality.py         # trains for a minute; runs/rings/report.html
"""

import numpy as np
import torch
from PIL import Image

import langevin as lv
from langevin.core.conditioning import NumberEmbedder
from langevin.core.tokens import Tokens
from langevin.modalities.plugins import Plugin, register


class Rings(lv.Modality):
    """An item is an array (8, 2); so is its state, (B, 8, 2), and each point is a token."""

    name, suffix, suffixes = "rings", ".txt", (".txt",)
    process, inputs, outputs, conditions = lv.processes.Gaussian(), {"": 2}, {"": 2}, {}

    def __init__(self, settings):
        self.conditions = {"radius": NumberEmbedder(64, mean=1.0, std=0.3)}

    def encode(self, items):
        return torch.tensor(np.array(items), dtype=torch.float32), None  # no mask: all rings are as long

    def decode(self, state, mask=None):
        return [x if np.abs(x).max() < 4 else lv.Failure("a point is far away") for x in state.numpy()]

    def tokens(self, state, mask=None):  # neighbours on the ring are neighbours in the sequence
        return Tokens({"": state}, torch.arange(8.0)[None, :, None], mask)

    # the shape of new samples
    blank = staticmethod(lambda indices, rng, conditions, spec: (torch.zeros(len(indices), 8, 2), None))
    untokens = staticmethod(lambda values, like: values[""])
    save = staticmethod(lambda item, path: np.savetxt(path, item))
    read = staticmethod(lambda path: np.loadtxt(path, dtype=np.float32))

    def picture(self, item):
        hits = np.histogram2d(*item.T, bins=48, range=[(-2, 2), (-2, 2)])[0]
        return Image.fromarray(np.uint8(255 * (hits == 0)))


class Data(list):
    """The training set, a list of numbers of rings; anything with ``len`` and ``batch`` will do."""

    def batch(self, indices):
        number = np.array(indices)[:, None]  # (B, 1)
        radius, angle = 0.5 + number / len(self), number + 2 * np.pi * np.arange(8) / 8  # (B, 1), (B, 8)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1), {"radius": radius[:, 0]}


dit = {"name": "dit", "width": 64, "depth": 3, "heads": 4, "axes": 1}
config = {"modality": {"name": "rings"}, "network": dit, "drop": {"radius": 0.1}}
register(Plugin("rings", "rings of points", Rings, open=Data, defaults=lambda data, given: config | given))
lv.train(range(4096), "rings", steps=400, batch=64, lr=3e-3, out="runs/rings", watch=print)

model = lv.load("runs/rings")
for radius in (0.6, 1.0, 1.4):
    found = model.sample(32, radius=radius).state.norm(dim=-1)
    print(f"asked for radius {radius}: {found.mean():.3f} ± {found.std():.3f}")
samples = model.sample(24, radius=np.linspace(0.5, 1.5, 24), guidance=1.5)
print(samples.report("runs/rings/report.html"))
