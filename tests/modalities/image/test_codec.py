"""Codecs: pixels are exact, latents are normalised, folders of diffusers give what diffusers gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from langevin import optional
from langevin.core.registry import Registry, build
from langevin.folders import FolderError
from langevin.modalities.image.codec import Codec, Pixels
from langevin.modalities.image.latents import DiffusersCodec, VAECodec, vae_codec
from langevin.modalities.image.vae import ConvVAE, save_vae
from langevin.modalities.image.vae_training import vae_model

WEIGHTS = "diffusion_pytorch_model.safetensors"
MEAN, STD = [0.1, -0.2, 0.3, 0.0], [1.5, 0.5, 1.0, 2.0]


def picture(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def tensor(batch: int = 2, size: int = 16) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def vae(size: int = 16, fitted: bool = True) -> ConvVAE:
    network = vae_model(widths=(6, 8, 8)).network.eval()
    if fitted:
        network.fit_statistics([tensor(8, size)])
    return network


def kl(**options: Any) -> Any:
    torch.manual_seed(0)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    sizes = {"block_out_channels": [8, 8], "norm_num_groups": 4, "latent_channels": 4, **blocks}
    return optional.diffusers().AutoencoderKL(**{**sizes, **options})


def tiny(**options: Any) -> Any:
    torch.manual_seed(0)
    blocks = {"num_encoder_blocks": [1, 1], "num_decoder_blocks": [1, 1]}
    widths = {"encoder_block_out_channels": [8, 8], "decoder_block_out_channels": [8, 8]}
    return optional.diffusers().AutoencoderTiny(**{**blocks, **widths, **options})


def dc(**options: Any) -> Any:
    torch.manual_seed(0)
    halves = {
        f"{half}_{name}": value
        for half in ("encoder", "decoder")
        for name, value in {
            "block_out_channels": [8, 8],
            "layers_per_block": [1, 1],
            "block_types": ["ResBlock", "EfficientViTBlock"],
            "qkv_multiscales": [[], [5]],
        }.items()
    }
    return optional.diffusers().AutoencoderDC(latent_channels=8, attention_head_dim=4, **halves, **options)


def latent_of(model: Any, x: Tensor) -> Tensor:
    out = model.encode(x, return_dict=False)[0]
    return out.mode() if hasattr(out, "mode") and not isinstance(out, Tensor) else out


# --- pixels and our autoencoder -----------------------------------------------------------------------------


def test_pixels_return_every_byte() -> None:
    codec: Codec = Pixels(8)
    given = picture(8)
    assert np.array_equal(np.asarray(codec.decode(codec.encode([given]))[0]), given)


@torch.no_grad()
def test_vae_codec_is_the_autoencoder_between_pictures() -> None:
    network = vae()
    codec: Codec = VAECodec(network, 16)
    assert (codec.channels, codec.size, codec.factor) == (4, 16, 4)
    given = [picture(16, seed) for seed in range(3)] + [picture(40)]  # the last is scaled
    state = codec.encode(given)
    assert state.shape == (4, 4, 4, 4) and state.dtype == torch.float32
    images = codec.decode(state)
    assert [image.size for image in images] == [(16, 16)] * 4
    back = torch.tensor(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2) / 127.5 - 1
    assert (back - network.decode(state).clamp(-1, 1)).abs().max() < 1 / 127


def test_states_do_not_depend_on_the_chunk_and_the_chunk_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    network, given = vae(), [picture(16, seed) for seed in range(5)]
    whole = VAECodec(network, 16, chunk=5).encode(given)
    calls: list[int] = []
    encode = network.encode
    monkeypatch.setattr(network, "encode", lambda x: calls.append(len(x)) or encode(x))
    torch.testing.assert_close(VAECodec(network, 16, chunk=2).encode(given), whole, atol=1e-5, rtol=1e-5)
    assert calls == [2, 2, 1]


def test_large_pictures_pass_through_in_tiles_and_come_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    network = vae()
    given = [picture(48)]
    whole = VAECodec(network, 48).encode(given)
    calls: list[str] = []
    for name in ("encode_tiled", "decode_tiled"):
        f = getattr(network, name)
        monkeypatch.setattr(network, name, lambda *a, f=f, name=name: calls.append(name) or f(*a))
    codec = VAECodec(network, 48, tile=16)
    state = codec.encode(given)
    torch.testing.assert_close(state, whole, atol=1e-5, rtol=1e-5)
    a, b = codec.decode(state)[0], VAECodec(network, 48).decode(whole)[0]
    assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1
    assert calls == ["encode_tiled", "decode_tiled"]


def test_an_autoencoder_without_statistics_is_refused_on_use() -> None:
    codec = VAECodec(vae(fitted=False), 16)
    with pytest.raises(ValueError, match="fit_statistics"):
        codec.encode([picture(16)])
    with pytest.raises(ValueError, match="fit_statistics"):
        codec.decode(torch.zeros(1, 4, 4, 4))


@pytest.mark.parametrize("size", [15, 17, 2, 0])
def test_sizes_that_do_not_fit_are_refused_with_those_that_do(size: int) -> None:
    with pytest.raises(ValueError, match=r"multiple of 4.*near which are \d+ and \d+"):
        VAECodec(vae(), size)


def test_nan_is_refused() -> None:
    codec, state = VAECodec(vae(), 16), torch.zeros(2, 4, 4, 4)
    state[1, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="sample 1"):
        codec.decode(state)


def test_codecs_are_differentiable_on_tensors() -> None:
    state = torch.zeros(1, 4, 4, 4, requires_grad=True)
    VAECodec(vae(), 16).decode_tensor(state).square().sum().backward()
    assert state.grad is not None and state.grad.abs().sum() > 0


def test_codecs_are_built_from_plain_trees(tmp_path: Path) -> None:
    codecs = Registry("codec of a test")
    codecs.register("vae")(vae_codec)
    codecs.register("diffusers")(DiffusersCodec)
    network = vae()
    save_vae(network, tmp_path / "a", "")
    tiny().save_pretrained(tmp_path / "b")
    ours = build(codecs, {"name": "vae", "folder": str(tmp_path / "a"), "size": 16})
    torch.testing.assert_close(ours.encode([picture(16)]), VAECodec(network, 16).encode([picture(16)]))
    theirs = build(
        codecs, {"name": "diffusers", "folder": str(tmp_path / "b"), "size": 16, "dtype": "float32"}
    )
    assert theirs.factor == 2


# --- folders of diffusers -----------------------------------------------------------------------------------

CASES: dict[str, tuple[Callable[[], Any], Callable[[Tensor], Tensor]]] = {
    "kl": (kl, lambda z: z * 0.18215),
    "kl-scale-shift": (
        lambda: kl(scaling_factor=1.5305, shift_factor=0.0609),
        lambda z: (z - 0.0609) * 1.5305,
    ),
    "kl-mean-std": (
        lambda: kl(scaling_factor=0.5, latents_mean=MEAN, latents_std=STD),
        lambda z: (z - torch.tensor(MEAN)[:, None, None]) * 0.5 / torch.tensor(STD)[:, None, None],
    ),
    "kl-no-quant": (lambda: kl(use_quant_conv=False, use_post_quant_conv=False), lambda z: z * 0.18215),
    "tiny": (tiny, lambda z: z),
    "tiny-scale-shift": (lambda: tiny(scaling_factor=2.0, shift_factor=0.5), lambda z: (z - 0.5) * 2),
    "dc": (lambda: dc(scaling_factor=0.41407), lambda z: z * 0.41407),
}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_folder_of_diffusers_gives_what_diffusers_gives(case: str, tmp_path: Path) -> None:
    make, normalise = CASES[case]
    model = make().eval()
    model.save_pretrained(tmp_path)
    codec = DiffusersCodec(tmp_path, 16)
    x = tensor()
    z = latent_of(model, x)
    assert (codec.channels, codec.factor) == (z.shape[1], 2)
    state = codec.encode_tensor(x)
    torch.testing.assert_close(state, normalise(z), atol=1e-5, rtol=1e-5)
    expected = model.decode(z, return_dict=False)[0]
    torch.testing.assert_close(codec.decode_tensor(state), expected, atol=1e-5, rtol=1e-5)


def test_pictures_in_pictures_out(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    codec: Codec = DiffusersCodec(tmp_path, 16, chunk=2)
    state = codec.encode([picture(16, seed) for seed in range(3)])
    assert state.shape == (3, 4, 8, 8)
    assert [image.size for image in codec.decode(state)] == [(16, 16)] * 3


def test_the_folder_of_a_pipeline_and_a_variant_are_found(tmp_path: Path) -> None:
    model = kl()
    model.half().save_pretrained(tmp_path / "vae", variant="fp16")
    codec = DiffusersCodec(tmp_path, 16)
    assert codec.vae.dtype == torch.float32
    torch.testing.assert_close(codec.vae.encoder.conv_in.weight, model.encoder.conv_in.weight.float())


def test_old_names_of_attention_weights_are_understood(tmp_path: Path) -> None:
    model = kl().eval()
    model.save_pretrained(tmp_path)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(tmp_path / WEIGHTS)
    for new, name in old.items():
        for key in [key for key in tensors if f".{new}." in key]:
            tensors[key.replace(new, name)] = tensors.pop(key)
    save_file(tensors, tmp_path / WEIGHTS, {"format": "pt"})
    with torch.no_grad():
        state = DiffusersCodec(tmp_path, 16).encode_tensor(tensor())
        torch.testing.assert_close(state, latent_of(model, tensor()) * 0.18215, atol=1e-5, rtol=1e-5)


def test_links_of_the_hubs_cache_are_followed_and_others_are_not(tmp_path: Path) -> None:
    snapshot, blobs, elsewhere = tmp_path / "m" / "snapshots" / "1", tmp_path / "m" / "blobs", tmp_path / "x"
    for folder in (snapshot, blobs, elsewhere):
        folder.mkdir(parents=True)
    tiny().save_pretrained(elsewhere)
    for number, name in enumerate(("config.json", WEIGHTS)):
        (blobs / str(number)).write_bytes((elsewhere / name).read_bytes())
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    assert DiffusersCodec(snapshot, 16).factor == 2
    (snapshot / WEIGHTS).unlink()
    (snapshot / WEIGHTS).symlink_to(elsewhere / WEIGHTS)
    with pytest.raises(FolderError, match="leads out of the folder"):
        DiffusersCodec(snapshot, 16)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    model = kl()
    model.save_pretrained(tmp_path, safe_serialization=False)
    assert (tmp_path / "diffusion_pytorch_model.bin").exists()
    with pytest.raises(FolderError, match=r"safetensors; diffusion_pytorch_model.bin is a pickle"):
        DiffusersCodec(tmp_path, 16)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / "diffusion_pytorch_model.bin").read_bytes())
    with pytest.raises(FolderError):
        DiffusersCodec(tmp_path, 16)


@pytest.mark.parametrize("name", [f"{WEIGHTS}.index.json", "adapter_config.json"])
def test_nothing_leads_to_weights_elsewhere(name: str, tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    (tmp_path / name).write_text(
        json.dumps({"weight_map": {"encoder.layers.0.weight": "../other.safetensors"}})
    )
    with pytest.raises(FolderError, match=rf"has {name}; weights are read from {WEIGHTS} alone"):
        DiffusersCodec(tmp_path, 16)


def edited(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "AutoencoderKl"}, "did you mean 'AutoencoderKL'"),
        ({"_class_name": "UNet2DModel"}, "unknown autoencoder class"),
        ({"_class_name": None}, "unknown autoencoder class"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised"),
        ({"latent_channels": 8}, "shape"),
        ({"layers_per_block": 2}, "do not fit config.json"),
        ({"layers_per_block": 10**9}, "layers_per_block = 1000000000 asks for more than"),
        ({"block_out_channels": [2**20, 2**20]}, "shape|allocate"),  # 40 TB a layer
    ],
)
def test_configurations_that_cannot_be_right_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    kl().save_pretrained(tmp_path)
    edited(tmp_path, **changes)
    with pytest.raises(FolderError, match=message):
        DiffusersCodec(tmp_path, 16)


def test_missing_folders_files_and_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="there is no folder"):
        DiffusersCodec(tmp_path / "nowhere", 16)
    with pytest.raises(FolderError, match=r"no config\.json"):
        DiffusersCodec(tmp_path, 16)
    tiny().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    gone = sorted(tensors)[0]
    del tensors[gone]
    save_file(tensors, tmp_path / WEIGHTS, {"format": "pt"})
    with pytest.raises(FolderError, match=gone.replace(".", r"\.")):
        DiffusersCodec(tmp_path, 16)
    (tmp_path / WEIGHTS).rename(tmp_path / "diffusion_pytorch_model-00001-of-00002.safetensors")
    with pytest.raises(FolderError, match="several files"):
        DiffusersCodec(tmp_path, 16)


def test_sizes_dtypes_and_nan_are_refused(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="multiple of 2.*16 and 18"):
        DiffusersCodec(tmp_path, 17)
    with pytest.raises(ValueError, match="did you mean 'float16'"):
        DiffusersCodec(tmp_path, 16, dtype="fp16")
    codec = DiffusersCodec(tmp_path, 16)
    for call in (codec.encode_tensor, codec.decode_tensor):
        with pytest.raises(ValueError, match="must be finite"):
            call(torch.full((1, 4, 8, 8), float("nan")))


def test_an_overflow_in_half_precision_says_what_to_do(tmp_path: Path) -> None:
    model = tiny()
    with torch.no_grad():
        model.encoder.layers[0].weight.mul_(1e5)
    model.save_pretrained(tmp_path)
    with torch.no_grad(), pytest.raises(ValueError, match="float16; use dtype='float32'"):
        DiffusersCodec(tmp_path, 16, dtype="float16").encode_tensor(tensor())
