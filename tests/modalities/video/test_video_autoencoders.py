"""Autoencoders of diffusers as codecs, and what is causal and exact in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.tiny_video_autoencoders import TINY, tiny
from langevin import optional
from langevin.assembly import build_model
from langevin.core.registry import build
from langevin.folders import FolderError
from langevin.modalities.video.autoencoders import DiffusersVideo
from langevin.modalities.video.catalogue import CODECS
from langevin.modalities.video.causal_vae import CausalVAE
from langevin.modalities.video.causality import measured, tiling
from langevin.modalities.video.latents import Latents, VideoVAE

FACTORS = {"Wan 2.1": 8, "Wan 2.2": 16, "LTX-Video": 16, "CogVideoX": 8, "HunyuanVideo": 8}
kinds = pytest.mark.parametrize("kind", TINY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    home = tmp_path_factory.mktemp("autoencoders")

    def written(kind: str) -> Path:
        path = home / kind.replace(" ", "-")
        if not path.exists():
            tiny(kind).save_pretrained(path)
        return path

    return written


def values(codec: Latents, elements: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((1, codec.frames(elements), 3, *codec.size), generator=generator) * 2 - 1


@kinds
@torch.no_grad()
def test_it_gives_what_diffusers_gives_in_the_units_of_its_pipelines(
    kind: str, folder: Callable[[str], Path]
) -> None:
    codec = build(CODECS, {"name": "diffusers", "folder": str(folder(kind)), "size": 32})
    vae = tiny(kind)
    if hasattr(vae, "use_framewise_decoding"):
        vae.use_framewise_encoding = vae.use_framewise_decoding = False
    assert codec.factor == FACTORS[kind] and codec.stride == (8 if kind == "LTX-Video" else 4)
    x = values(codec, 3)
    z = vae.encode(x.movedim(2, 1)).latent_dist.mode()
    if kind.startswith("Wan"):
        mean, std = (
            torch.tensor(vae.config[k]).view(1, -1, 1, 1, 1) for k in ("latents_mean", "latents_std")
        )
        wanted = (z - mean) / std
    else:
        wanted = z * vae.config.scaling_factor
    state = codec.encode_tensor(x)
    assert state.shape == (1, 3, codec.channels, 32 // codec.factor, 32 // codec.factor)
    assert torch.allclose(state, wanted.movedim(2, 1), atol=1e-5)
    back = vae.decode(z).sample.movedim(1, 2)
    assert back.shape[1] == codec.frames(3) and torch.allclose(codec.decode_tensor(state), back, atol=1e-4)


@torch.no_grad()
def test_statistics_of_ltx_lie_in_its_weights(tmp_path: Path) -> None:
    vae = tiny("LTX-Video")
    vae.latents_mean.copy_(torch.linspace(-1, 1, 8))
    vae.latents_std.copy_(torch.linspace(0.5, 2, 8))
    vae.register_to_config(scaling_factor=1.5)
    vae.save_pretrained(tmp_path)
    codec = DiffusersVideo(tmp_path, 32)
    x = values(codec, 2)
    z = vae.encode(x.movedim(2, 1)).latent_dist.mode()
    mean, std = (v.view(1, -1, 1, 1, 1) for v in (vae.latents_mean, vae.latents_std))
    state = codec.encode_tensor(x)
    assert torch.allclose(state, ((z - mean) * 1.5 / std).movedim(2, 1), atol=1e-5)
    assert torch.allclose(codec.decode_tensor(state), vae.decode(z).sample.movedim(1, 2), atol=1e-4)


@kinds
def test_any_number_of_elements_is_as_many_frames_as_the_rule_says(
    kind: str, folder: Callable[[str], Path]
) -> None:
    codec = DiffusersVideo(folder(kind), 32)
    for elements in range(1, 7):
        frames = codec.frames(elements)
        assert frames == 1 + (elements - 1) * codec.stride and codec.elements(frames) == elements
        x = values(codec, elements)
        state = codec.encode_tensor(x)
        assert state.shape[1] == elements
        assert codec.decode_tensor(state).shape == x.shape
        pieces = list(codec.decode_pieces(iter(state.split(2, 1))))
        assert torch.cat(pieces, 1).shape == x.shape


@kinds
def test_what_is_causal_and_what_is_exact(kind: str, folder: Callable[[str], Path]) -> None:
    """Group norms over time let later frames of CogVideoX and Hunyuan touch earlier latents; LTX's decoder looks ahead."""
    found = measured(DiffusersVideo(folder(kind), 32), 7)
    assert found.causal == (kind in ("Wan 2.1", "Wan 2.2", "LTX-Video"))
    assert found.exact == (kind in ("Wan 2.1", "Wan 2.2", "CogVideoX"))
    assert (found.decoder == 0) == kind.startswith("Wan")
    assert (found.picture < 1e-4) == found.causal
    assert ("later frames do not touch" in found.words) == found.causal
    assert ("streamed exactly" in found.words) == found.exact


def test_ours_is_causal_and_exact_and_a_broken_one_is_found_out() -> None:
    torch.manual_seed(0)
    vae = CausalVAE(4, (4, 6), (4,), (2,), 2)
    for parameter in vae.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    vae.fit_statistics([torch.rand(1, 9, 3, 16, 16)])
    codec = VideoVAE(vae.eval(), 16, chunk=5)
    found = measured(codec)
    assert found.causal and found.exact and found.decoder == 0 and found.picture < 1e-4
    with pytest.raises(ValueError, match="at least 2"):
        measured(codec, 1)

    class Ahead(VideoVAE):
        def encode_tensor(self, x: Tensor) -> Tensor:
            return super().encode_tensor(x) + 1e-3 * x.mean()

        def decode_pieces(self, states: Any) -> Any:
            for piece in super().decode_pieces(states):
                yield piece * (1 + 1e-3 * piece.shape[1])

    broken = measured(Ahead(vae, 16))
    assert not broken.causal and not broken.exact and "not causal" in broken.words


@pytest.mark.parametrize("kind", ["LTX-Video", "HunyuanVideo"])
def test_blended_streams_begin_as_diffusers_own_do_and_are_whole_where_they_fit(
    kind: str, folder: Callable[[str], Path]
) -> None:
    codec = DiffusersVideo(folder(kind), 32)
    window = int(codec.vae.tile_sample_min_num_frames) // codec.stride + 1
    side = 32 // codec.factor
    with torch.no_grad():
        state = torch.randn(
            (1, 3 * window, codec.channels, side, side), generator=torch.Generator().manual_seed(0)
        )
        short = torch.cat(list(codec.decode_pieces(iter(state[:, :window].split(1, 1)))), 1)
        assert torch.allclose(short, codec.decode_tensor(state[:, :window]), atol=1e-5)
        ours = torch.cat(list(codec.decode_pieces(iter(state.split(1, 1)))), 1)
        codec.vae.use_framewise_decoding = True
        theirs = codec.decode_tensor(state)
    assert ours.shape == theirs.shape
    count = 1 + int(codec.vae.tile_sample_stride_num_frames) // codec.stride * codec.stride
    assert torch.allclose(ours[:, :count], theirs[:, :count], atol=1e-5)
    if kind == "HunyuanVideo":  # to the last window, after which diffusers adds ever shorter ones
        assert torch.allclose(ours[:, :-8], theirs[:, :-8], atol=1e-5)


def test_tiles_are_blended(folder: Callable[[str], Path]) -> None:
    codec, tiled = (DiffusersVideo(folder("Wan 2.1"), 64, tile=t) for t in (False, True))
    tiled.vae.enable_tiling(32, 32, 24, 24)
    differences = tiling(codec, tiled, 2, (64, 64))
    assert min(differences) > 1e-3
    assert tiling(codec, codec, 2, (64, 64)) == (0, 0)


def test_noise_that_a_decoder_adds_is_the_same_always(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = optional.diffusers().AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4, layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5, patch_size=2, timestep_conditioning=True, decoder_inject_noise=(True,) * 5,
    )  # fmt: skip
    for name, parameter in vae.named_parameters():
        if "per_channel_scale" in name:
            parameter.data += 0.3
    vae.save_pretrained(tmp_path)
    codec = DiffusersVideo(tmp_path, 32)
    state = torch.randn(1, 2, 8, 2, 2)
    before = torch.random.get_rng_state()
    one = codec.decode_tensor(state)
    assert torch.equal(one, codec.decode_tensor(state))
    assert torch.equal(before, torch.random.get_rng_state())
    with torch.no_grad():
        z, time = codec._raw(state), torch.zeros(1)
        free = [codec.vae.decode(z, time).sample for _ in range(2)]
    assert not torch.equal(*free)


def test_frames_and_states_of_users(folder: Callable[[str], Path]) -> None:
    """uint8 in and out, several clips, failures; and a model that samples."""
    codec = DiffusersVideo(folder("Wan 2.1"), (32, 48))
    clips = list(np.random.default_rng(0).integers(0, 256, (2, 5, 32, 48, 3), dtype=np.uint8))
    state = codec.encode(clips)
    assert state.shape == (2, 2, 16, 4, 6) and state.dtype == torch.float32
    assert torch.equal(codec.encode(clips[1:]), state[1:])
    state[0, 0, 0] = float("inf")
    bad, good = codec.decode(state)
    assert "NaN or infinity" in bad.reason and good.shape == (5, 32, 48, 3) and good.dtype == np.uint8
    with pytest.raises(ValueError, match=r"1 \+ k · 4 frames; got 4"):
        codec.encode([clips[0][:4]])
    node = {"name": "diffusers", "folder": str(folder("Wan 2.1")), "size": [32, 48]}
    model = build_model(
        {
            "name": "tiny",
            "modality": {"name": "video", "codec": node, "patch": [1, 2, 2], "frames": 8, "fps": 16.0},
            "network": {
                "name": "dit",
                "width": 24,
                "depth": 1,
                "heads": 2,
                "axes": 3,
                "modulation": "shared",
            },
            "parametrisation": "x",
            "objective": {"target": "velocity"},
        }
    )
    made = model.sample(1, steps=2, progress=False)
    assert len(made[0]) == 8 and made.state.shape == (1, 3, 16, 4, 6)


def test_what_is_refused(folder: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        DiffusersVideo(folder("CogVideoX"), 36)
    with pytest.raises(ValueError, match="did you mean 'bfloat16'"):
        DiffusersVideo(folder("CogVideoX"), 32, dtype="bfloat")
    with pytest.raises(FolderError, match="there is no folder"):
        DiffusersVideo(tmp_path / "none", 32)

    def changed(name: str, **settings: Any) -> Path:
        path = tmp_path / name
        shutil.copytree(folder("Wan 2.1"), path)
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**config, **settings}))
        return path

    with pytest.raises(FolderError, match="did you mean 'AutoencoderKLWan'"):
        DiffusersVideo(changed("a", _class_name="AutoencoderKLWam"), 32)
    with pytest.raises(FolderError, match="do not fit"):
        DiffusersVideo(changed("b", z_dim=8), 32)
    with pytest.raises(FolderError, match="stride of 4 frames; got 8"):
        path = tmp_path / "c"
        vae = tiny("Wan 2.1")
        type(vae)(
            base_dim=8, dim_mult=[1] * 4, num_res_blocks=1, temperal_downsample=[True] * 3
        ).save_pretrained(path)
        DiffusersVideo(path, 32)
    path = changed("d")
    (path / "diffusion_pytorch_model.safetensors").rename(path / "diffusion_pytorch_model.bin")
    with pytest.raises(FolderError, match="pickle"):
        DiffusersVideo(path, 32)
