"""The core by itself: with nothing to import but torch, einops and the standard library, it trains and samples."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

# torch's own requirements, less numpy, without which it works
BLOCK = """
    import sys

    ALLOWED = {"torch", "einops", "langevin", *sys.stdlib_module_names, "typing_extensions", "sympy", "mpmath",
               "networkx", "jinja2", "markupsafe", "filelock", "fsspec", "torchgen", "functorch"}
    REFUSED = ("langevin.modalities", "langevin.bridge", "langevin.cli", "langevin.hub", "langevin.folders")

    FINDERS = list(sys.meta_path)

    class Block:
        @staticmethod
        def find_spec(name, path=None, target=None):
            stranger = name.partition(".")[0] not in ALLOWED and not name.startswith("_sysconfigdata")
            if stranger or name.startswith(REFUSED):
                return None
            found = (finder.find_spec(name, path, target) for finder in FINDERS)
            return next((spec for spec in found if spec is not None), None)

    sys.meta_path[:] = [Block]
"""

SCRIPT = """
    import torch

    from langevin.core.backbones import DiT
    from langevin.core.conditioning import ClassEmbedder
    from langevin.core.denoiser import NetworkDenoiser
    from langevin.core.grids import curvature
    from langevin.core.guidance import cfg
    from langevin.core.losses import Objective, Stratified
    from langevin.core.network import Network
    from langevin.core.processes import Gaussian
    from langevin.core.rng import Stream
    from langevin.core.samplers import preset, sample
    from langevin.core.tokens import PlainTokens
    from langevin.core.training.loss import losses
    from langevin.core.training.trainer import Settings, Trainer

    class Data:
        def __len__(self):
            return 16

        def batch(self, indices):
            label = torch.tensor(indices) % 2
            return label[:, None, None] * 2.0 - torch.ones(len(indices), 3, 2), {"label": label}

    class Model:
        def __init__(self):
            torch.manual_seed(0)
            embedders = {"label": ClassEmbedder(2, 16)}
            self.network = Network(PlainTokens(2), DiT(16, 1, 2, axes=1), embedders)
            self.denoiser = NetworkDenoiser(self.network, Gaussian())
            self.objective = Objective(times=Stratified())

        def loss(self, items, conditions, rng, rows=None):
            condition = self.network.drop(conditions, {"label": 0.1}, rng)
            each, parts, _ = losses(self.denoiser, self.objective, items, condition, rng, rows=rows)
            return each, parts

    model = Model()
    trainer = Trainer(model, Data(), Settings(steps=30, batch=8, log=10, lr=1e-2, warmup=1, average=(0.1,)))
    lines = list(trainer.run())
    assert len(lines) == 3 and lines[-1].loss < lines[0].loss, lines

    steps = list(
        sample(cfg(2.0)(model.denoiser), preset("angle").sampler, curvature(5), Stream.of(0, 4),
               like=torch.zeros(4, 3, 2), condition={"label": torch.tensor([0, 1, 0, 1])})
    )
    assert steps[-1].x.shape == (4, 3, 2) and steps[-1].x.isfinite().all()
    assert not {"numpy", "yaml", "PIL", "safetensors", "tqdm", "hydra", "scipy"} & set(sys.modules)
    print("trained and sampled")
"""


def test_a_training_step_and_a_sampling_loop_need_torch_and_einops_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(BLOCK) + textwrap.dedent(SCRIPT)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "trained and sampled"


def test_the_block_blocks() -> None:
    for name in ("numpy", "yaml", "langevin.hub"):
        code = textwrap.dedent(BLOCK) + f"import {name}"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert f"No module named '{name}'" in done.stderr
