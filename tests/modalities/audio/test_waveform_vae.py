from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from langevin.core.registry import build
from langevin.folders import FolderError
from langevin.modalities.audio import chunks
from langevin.modalities.audio.catalogue import CODECS
from langevin.modalities.audio.loops import decode_loop
from langevin.modalities.audio.waveform_vae import (
    AUTOENCODERS,
    Snake,
    WaveformVAE,
    WaveVAE,
    load_waveform_vae,
    save_waveform_vae,
)

LAYOUTS = [
    {"latent": 4, "strides": (2, 4), "widths": (4, 6, 8)},
    {"latent": 3, "strides": (3, 5), "widths": (4, 4, 4)},
    {"latent": 4, "strides": (4, 4, 8), "widths": (4, 6, 8, 8)},
]


def network(seed: int = 0, **layout: Any) -> WaveVAE:
    """Random weights of which none is zero, so that all that can be seen is seen."""
    torch.manual_seed(seed)
    vae = WaveVAE(8000, **(layout or LAYOUTS[0]))
    for parameter in vae.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    vae.fit_statistics([0.2 * torch.randn(2, 4 * vae.hop)])
    return vae.eval().requires_grad_(False)


def test_snake_is_the_function_of_the_paper():
    layer, x = Snake(2), torch.randn(3, 2, 50, dtype=torch.float64)
    layer.log_alpha.data = torch.tensor([0.3, -1.0])
    for k, alpha in enumerate(torch.tensor([0.3, -1.0]).exp().double()):
        wanted = x[:, k] + (1 - torch.cos(2 * alpha * x[:, k])) / (2 * alpha)
        assert torch.allclose(layer(x)[:, k], wanted, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["2-4", "3-5", "4-4-8"])
@pytest.mark.parametrize("seconds", [0.02, 0.3])
def test_pieces_equal_the_whole(layout, seconds, noise, tone):
    codec = WaveformVAE(network(**layout))
    for sound in (noise(1.1), tone(1.1)):
        assert max(chunks.difference(codec, sound, seconds)) < 1e-5


@pytest.mark.parametrize("layout", LAYOUTS, ids=["2-4", "3-5", "4-4-8"])
def test_margins_are_what_is_seen(layout):
    """By the gradient of one frame with respect to all samples, and of one frame's samples with respect to all frames."""
    vae = network(**layout)
    frames = 2 * max(vae.encode_margin, vae.decode_margin) + 11
    middle = frames // 2
    x = torch.randn(1, frames * vae.hop, requires_grad=True)
    vae.encode(x)[..., middle].sum().backward()
    assert x.grad is not None
    seen = (x.grad[0] != 0).nonzero().flatten() // vae.hop - middle
    assert max(-int(seen[0]), int(seen[-1])) == vae.encode_margin
    z = torch.randn(1, vae.latent, frames, requires_grad=True)
    vae.decode(z)[:, middle * vae.hop : (middle + 1) * vae.hop].sum().backward()
    assert z.grad is not None
    seen = (z.grad.abs().sum((0, 1)) != 0).nonzero().flatten() - middle
    assert vae.decode_margin - 1 <= max(-int(seen[0]), int(seen[-1])) <= vae.decode_margin


def test_states_depend_neither_on_the_batch_nor_on_what_follows(tone, noise):
    codec = WaveformVAE(network())
    sounds = [tone(0.1), noise(0.9), tone(0.1, hertz=700)]
    state = codec.encode(sounds)
    assert state.shape == (3, 4, 1, 900)
    for k, sound in enumerate(sounds):
        alone = codec.encode([sound])
        assert (state[k, ..., : alone.shape[3]] - alone[0]).abs().max() < 1e-5
    silence = codec.encode([type(sounds[0])(np.zeros(8000), 8000)])[0, ..., 500:501]
    assert torch.allclose(state[0, ..., 100:], silence.expand_as(state[0, ..., 100:]), atol=1e-5)
    assert codec.frames(0.1) == 100 and codec.seconds(100) == 0.1 and codec.frames(1e-6) == 1


def test_statistics_bring_states_to_unit_scale(noise):
    vae = network()
    x = [torch.from_numpy(noise(0.5, seed=k).samples) for k in range(4)]
    vae.fit_statistics(x)
    z = torch.cat([vae.encode(part) for part in x], 2)
    assert z.mean((0, 2)).abs().max() < 1e-4 and (z.std((0, 2), unbiased=False) - 1).abs().max() < 1e-3
    with pytest.raises(ValueError, match="at least one batch"):
        vae.fit_statistics([])
    with pytest.raises(ValueError, match="no statistics"):
        WaveformVAE(WaveVAE(8000, **LAYOUTS[0])).encode([noise(0.1)])


def test_loops_have_no_seam():
    """On a circle it does not matter where the first frame is."""
    codec = WaveformVAE(network())
    state = torch.randn(1, 4, 1, 70)
    one = decode_loop(codec, state)[0].samples
    other = decode_loop(codec, state.roll(30, 3))[0].samples
    assert np.abs(np.roll(one, 30 * codec.hop, 1) - other).max() < 1e-5


def test_a_folder_holds_all_of_it(tmp_path, noise):
    vae = network()
    save_waveform_vae(vae, tmp_path / "vae", "# a card\n", {"name": "mine"})
    codec = build(CODECS, {"name": "waveform_vae", "folder": str(tmp_path / "vae")})
    assert torch.equal(codec.encode([noise(0.2)]), WaveformVAE(vae).encode([noise(0.2)]))
    assert codec.network.strides == (2, 4) and not codec.network.training
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"PK" + bytes(50))
    with pytest.raises(FolderError):
        load_waveform_vae(tmp_path / "vae")
    with pytest.raises(FolderError, match="has no config"):
        load_waveform_vae(tmp_path)


def test_weights_of_another_layout_are_refused(tmp_path):
    save_waveform_vae(network(), tmp_path, "# a card\n")
    config = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(config.replace("latent: 4", "latent: 5"))
    with pytest.raises(FolderError, match="weights do not fit the autoencoder"):
        load_waveform_vae(tmp_path)
    (tmp_path / "config.yaml").write_text(config.replace("waveform_vae", "waveform_van"))
    with pytest.raises(FolderError, match="did you mean 'waveform_vae'"):
        load_waveform_vae(tmp_path)
    (tmp_path / "config.yaml").write_text(config.replace("autoencoder:", "thing:"))
    with pytest.raises(FolderError, match="holds no autoencoder"):
        load_waveform_vae(tmp_path)


def test_sizes_that_cannot_be():
    for node, message in (
        ({"rate": 0}, "rate and latent"),
        ({"rate": 8000, "strides": [1, 4], "widths": [4, 4, 4]}, "whole numbers from 2"),
        ({"rate": 8000, "strides": [4, 4], "widths": [4, 4]}, "3 positive numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            build(AUTOENCODERS, {"name": "waveform_vae", **node})
    with pytest.raises(ValueError, match="multiple of 8"):
        network().encode(torch.zeros(1, 13))
