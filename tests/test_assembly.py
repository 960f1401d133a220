"""Model folders with parts, and folders that ask for more than they bring."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import langevin as lv
from langevin.assembly import build_model
from langevin.core.registry import BuildError
from langevin.modalities.image.vae import ConvVAE, save_vae


def config(**modality: object) -> dict:
    return {
        "name": "tiny",
        "modality": {
            "name": "image",
            "codec": {"name": "pixels", "size": 8},
            "patch": 2,
            "conditions": {"label": {"name": "class", "classes": 3, "width": 16}},
            **modality,
        },
        "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2},
    }


def test_a_latent_model_carries_its_autoencoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = ConvVAE(widths=(8, 16, 16))
    vae.fit_statistics([torch.rand(4, 3, 16, 16) * 2 - 1])
    save_vae(vae, tmp_path / "vae", "# a test")
    latent = config(codec={"name": "vae", "folder": str(tmp_path / "vae"), "size": 16})
    model = build_model(latent)
    model.save(tmp_path / "model")
    (tmp_path / "vae").rename(tmp_path / "gone")
    again = lv.load(tmp_path / "model", device="cpu")
    torch.testing.assert_close(
        again.sample(2, steps=2).state, model.sample(2, steps=2).state, atol=2e-2, rtol=0
    )
    assert again.sample(1, steps=2)[0].size == (16, 16)
    again.save(tmp_path / "copy")
    lv.load(tmp_path / "copy", device="cpu")


@pytest.mark.parametrize("elsewhere", ["/etc", "../vae", "parts/../../vae"])
def test_a_part_outside_the_folder_is_refused(tmp_path: Path, elsewhere: str) -> None:
    build_model(config()).save(tmp_path / "m")
    path = tmp_path / "m" / "config.yaml"
    path.write_text(
        path.read_text().replace("{name: pixels, size: 8}", f"{{name: vae, folder: {elsewhere}, size: 8}}")
    )
    with pytest.raises(lv.FolderError, match="outside the folder"):
        lv.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("width: 16, depth: 1", "width: 65536, depth: 1"),
        ("depth: 1", "depth: 1000000000"),
        ("classes: 3", "classes: 4000000000"),
    ],
)
def test_a_network_larger_than_its_weights_is_refused_at_once(tmp_path: Path, old: str, new: str) -> None:
    build_model(config()).save(tmp_path / "m")
    path = tmp_path / "m" / "config.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(lv.FolderError, match="larger network"):
        lv.load(tmp_path / "m")


def test_unknown_keys_are_errors_that_suggest() -> None:
    with pytest.raises(BuildError, match="did you mean 'network'"):
        build_model({**config(), "netwrk": {}})
    with pytest.raises(BuildError, match="did you mean 'guidance'"):
        build_model({**config(), "sampling": {"guidence": 2.0}})
    with pytest.raises(ValueError, match="did you mean 'image'"):
        build_model({**config(), "modality": {"name": "imag"}})


def test_the_initial_weights_follow_from_the_seed_and_leave_the_callers_stream_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, b = build_model(config(), seed=1), build_model(config(), seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(x, y) for x, y in zip(a.network.parameters(), b.network.parameters(), strict=True))
