"""A short training with either noise of rotations: the flow along geodesics, and diffusion by the heat kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import langevin as lv
from langevin.core import so3
from langevin.modalities.protein.data import ProteinDataset
from langevin.modalities.protein.rigid import frames_of
from tests.modalities.protein.backbones import HELIX, protein

CHAINS = [protein([HELIX] * n, seed=n) for n in (20, 22, 24)]


def turns(frames: torch.Tensor) -> torch.Tensor:
    """Rotation from each residue to the next, (…, n − 1, 3, 3)."""
    return frames[..., :-1, :, :].mT @ frames[..., 1:, :, :]


REAL = turns(frames_of(torch.from_numpy(CHAINS[0].backbone[:, :3].astype(np.float64)))[0])[5].float()


def off(net: Any) -> tuple[float, float]:
    """Mean deviations of the raw state from the helix: of CA–CA (Å), and of turns from residue to residue (rad)."""
    state = net.sample(8, steps=25, seed=0, length=22, repulsion=0.0, progress=False).state
    ca = net.modality.unit * state["positions"]
    along = (ca.diff(dim=1).norm(dim=-1) - 3.8).abs().mean()
    return float(along), float(so3.log(REAL.mT @ turns(state["frames"])).norm(dim=-1).mean())


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "bars"), [("geodesic", (0.8, 0.6)), ("igso3", (0.3, 0.2))])
def test_helices_are_learned_with_either_noise_of_rotations(
    kernel: str, bars: tuple[float, float], tmp_path: Path
) -> None:
    """Measured after 150 steps: .62 and .43 of the first deviations with geodesics, .14 and .03 with the heat kernel."""
    network = {"name": "ipa", "width": 32, "depth": 2, "heads": 4, "axes": 1, "modulation": "shared"}
    node = {
        "modality": {"rotations": {"name": kernel}},
        "network": network,
        "objective": {"given": 0.0, "independent": 0.0},
    }
    how: dict[str, Any] = {"batch": 8, "lr": 3e-3, "warmup": 10, "save": 1000, "log": 50, "progress": False}
    data = ProteinDataset(CHAINS)
    before = off(lv.train(data, "protein", out=tmp_path / "a", model=node, steps=1, **how))
    after = off(lv.train(data, "protein", out=tmp_path / "b", model=node, steps=150, **how))
    assert before[0] > 2 and before[1] > 1.5
    assert after[0] < bars[0] * before[0] and after[1] < bars[1] * before[1]
