"""LPIPS beside torchmetrics' own, with random weights of VGG-16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from langevin.folders import FolderError
from langevin.modalities.video.clip import Video
from langevin.modalities.video.codec import to_values
from langevin.modalities.video.metrics import LPIPS

PLAN = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)


def features() -> nn.Sequential:
    """The layers of VGG-16 as torchvision lists them."""
    layers: list[nn.Module] = []
    inner = 3
    for width in PLAN:
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(inner, int(width), 3, padding=1), nn.ReLU()]
            inner = int(width)
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> tuple[Path, nn.Sequential]:
    torch.manual_seed(0)
    net, home = features(), tmp_path_factory.mktemp("vgg16")
    save_file(
        {f"features.{name}": value for name, value in net.state_dict().items()}, home / "model.safetensors"
    )
    return home, net


def clip(seed: int, frames: int = 3) -> Video:
    values = np.random.default_rng(seed).integers(0, 256, (frames, 24, 32, 3), dtype=np.uint8)
    return Video(values, 8)


def test_parity_with_torchmetrics(
    folder: tuple[Path, nn.Sequential], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchmetrics.functional.image import lpips as theirs

    home, net = folder
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda name, pretrained=False: net)
    reference = theirs._LPIPS(pretrained=True, net="vgg", pnet_rand=True).eval()
    ours = LPIPS(home, batch_size=2)
    x, y = clip(0), clip(1)
    with torch.no_grad():
        wanted = reference(to_values(x.frames), to_values(y.frames)).flatten()
    assert torch.allclose(ours.distances(to_values(x.frames), to_values(y.frames)), wanted, rtol=1e-4)
    assert ours(x, y) == pytest.approx(float(wanted.mean()), rel=1e-4)
    assert ours(x, x) == 0.0


def test_what_is_refused(folder: tuple[Path, nn.Sequential], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="hf download timm/vgg16"):
        LPIPS(tmp_path / "nowhere")
    (tmp_path / "pickled").mkdir()
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(FolderError):
        LPIPS(tmp_path / "pickled")
    (tmp_path / "other").mkdir()
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other" / "model.safetensors")
    with pytest.raises(FolderError, match="not VGG-16"):
        LPIPS(tmp_path / "other")
    ours = LPIPS(folder[0])
    with pytest.raises(ValueError, match="same frames and size"):
        ours(clip(0), clip(1, frames=2))
    small = Video(np.zeros((1, 8, 8, 3), np.uint8), 8)
    with pytest.raises(ValueError, match="16 x 16"):
        ours(small, small)
