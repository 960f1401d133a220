"""Foreign folders are data: regular files inside them, one file of safetensors, and all of it read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from langevin import foreign, optional
from langevin.folders import FolderError

VAE, MODEL = "diffusion_pytorch_model", "model"


def tiny(**settings: Any) -> Any:
    """An autoencoder of diffusers of a few thousand weights."""
    return optional.diffusers().AutoencoderTiny(
        **{
            "encoder_block_out_channels": (4, 4), "decoder_block_out_channels": (4, 4), "num_encoder_blocks": (1, 1),
            "num_decoder_blocks": (1, 1), "latent_channels": 4, **settings,
        }
    )  # fmt: skip


def clip(**settings: Any) -> Any:
    """An encoder of text of transformers."""
    t = optional.transformers()
    config = t.CLIPTextConfig(
        **{
            "vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 20, "projection_dim": 8, **settings,
        }
    )  # fmt: skip
    return t.CLIPTextModel(config)


@pytest.fixture
def vae(tmp_path: Path) -> Path:
    tiny().save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    clip().save_pretrained(tmp_path / "text")
    return tmp_path / "text"


def changed(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def read_vae(folder: Path) -> Any:
    return foreign.network(folder, optional.diffusers().AutoencoderTiny, VAE)


def read_text(folder: Path) -> Any:
    return foreign.network(folder, optional.transformers().CLIPTextModel, MODEL)


@pytest.mark.parametrize(("make", "read"), [(tiny, read_vae), (clip, read_text)])
def test_a_network_comes_back_frozen_and_in_evaluation_mode(
    make: Callable[..., Any], read: Callable[[Path], Any], tmp_path: Path
) -> None:
    made = make()
    made.save_pretrained(tmp_path)
    found = read(tmp_path)
    assert not found.training and not any(p.requires_grad for p in found.parameters())
    ours, theirs = found.state_dict(), made.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (
            "AutoencoderKLWan",
            {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 1], "num_res_blocks": 1, "temperal_downsample": [False]},
        ),
        (
            "AutoencoderKLLTXVideo",
            {
                "latent_channels": 8, "block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8),
                "down_block_types": ("LTXVideoDownBlock3D",) * 2, "layers_per_block": (1,) * 3,
                "decoder_layers_per_block": (1,) * 3, "spatio_temporal_scaling": (True, False),
                "decoder_spatio_temporal_scaling": (True, False), "decoder_inject_noise": (False,) * 3,
                "upsample_residual": (False, False), "upsample_factor": (1, 1), "patch_size": 1,
            },
        ),
        (
            "AutoencoderKLCogVideoX",
            {
                "down_block_types": ("CogVideoXDownBlock3D",) * 2, "up_block_types": ("CogVideoXUpBlock3D",) * 2,
                "block_out_channels": (8, 8), "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2,
            },
        ),
        (
            "AutoencoderKLHunyuanVideo",
            {
                "down_block_types": ("HunyuanVideoDownBlock3D",) * 4, "up_block_types": ("HunyuanVideoUpBlock3D",) * 4,
                "block_out_channels": (8,) * 4, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2,
            },
        ),
    ],
)  # fmt: skip
def test_autoencoders_of_videos_are_read(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    kind = getattr(optional.diffusers(), name)
    made = kind(**settings)
    made.save_pretrained(tmp_path)
    config = foreign.read_config(tmp_path)
    assert foreign.require_class(tmp_path, config, "autoencoder class", [name, "AutoencoderKL"]) == name
    found = foreign.network(tmp_path, kind, VAE).state_dict()
    assert all(torch.equal(value, found[key]) for key, value in made.state_dict().items())


def test_the_part_of_a_pipeline_is_found_and_may_not_lie_elsewhere(vae: Path, tmp_path: Path) -> None:
    assert foreign.part(str(tmp_path), "vae") == vae == foreign.part(vae, "vae")
    assert foreign.part(tmp_path, "vocoder") == tmp_path
    home = tmp_path / "pipeline"
    home.mkdir()
    (home / "vae").symlink_to(vae, target_is_directory=True)
    with pytest.raises(FolderError, match="leads out of the folder"):
        foreign.part(home, "vae")
    with pytest.raises(FolderError, match="there is no folder"):
        foreign.part(tmp_path / "absent", "vae")


def test_files_are_regular_and_inside(vae: Path, tmp_path: Path) -> None:
    assert foreign.inside(vae, "config.json") == (vae / "config.json").resolve()
    (tmp_path / "secret").write_text("x")
    (vae / "out").symlink_to(tmp_path / "secret")
    (vae / "circle").symlink_to(vae / "circle")
    (vae / "folder").mkdir()
    for name, message in (
        ("out", "leads out"), ("../secret", "leads out"), ("circle", "circle"), ("folder", "has no folder"),
        ("nothing", "has no nothing"),
    ):  # fmt: skip
        with pytest.raises(FolderError, match=message):
            foreign.inside(vae, name)
    with pytest.raises(FolderError, match="out is a link that leads out"):
        foreign.require_inside(vae)
    (vae / "out").unlink()
    foreign.require_inside(vae)


def test_links_of_the_hubs_cache_lead_to_its_blobs_alone(vae: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "1", tmp_path / "hub" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(vae.iterdir())):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert read_vae(snapshot).config.latent_channels == 4
    for name in (f"{VAE}.safetensors", "config.json"):
        (snapshot / name).unlink()
        (snapshot / name).symlink_to(vae / name)
        with pytest.raises(FolderError, match=f"{name} is a link that leads out"):
            read_vae(snapshot)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{oops", r"config\.json cannot be read"),
        ("[" * 200_000, r"config\.json cannot be read"),
        ("\udcff", r"config\.json cannot be read"),
        ("[1]", "holds no mapping but a list"),
        (" " * (1 << 20) + "{}", "larger than 1048576 bytes"),
        ('{"quantization_config": {"quant_method": "x"}}', "quantised"),
    ],
)
def test_configurations_that_are_none(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(FolderError, match=message):
        foreign.read_config(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {}, {"_class_name": None}, {"_class_name": ["AutoencoderTiny"]}, {"_class_name": "os"}, {"architectures": []},
        {"architectures": ["AutoencoderTiny", "Other"]}, {"architectures": "AutoencoderKL"},
        {"_class_name": "AutoencoderTiny", "architectures": ["Other"]},
    ],
)  # fmt: skip
def test_only_classes_that_are_allowed_are_looked_up(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"unknown autoencoder class .*allowed: AutoencoderTiny"):
        foreign.require_class(tmp_path, config, "autoencoder class", ["AutoencoderTiny"])


def test_one_file_of_weights_is_found_by_its_stem(tmp_path: Path) -> None:
    for name, message in (
        (None, r"has no model\.safetensors; pickled weights are not read"),
        ("pytorch_model.bin", r"pytorch_model\.bin is a pickle, which could run anything; pickled"),
        ("model-00001-of-00002.safetensors", "several files"),
    ):
        if name:
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(FolderError, match=message):
            foreign.weights(tmp_path, MODEL)
    (tmp_path / "model.fp16.safetensors").write_bytes(b"x")
    assert foreign.weights(tmp_path, MODEL).name == "model.fp16.safetensors"
    (tmp_path / "model.bf16.safetensors").write_bytes(b"x")
    with pytest.raises(FolderError, match="several files"):
        foreign.weights(tmp_path, MODEL)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert foreign.weights(tmp_path, MODEL).name == "model.safetensors"
    for other in ("model.safetensors.index.json", "pytorch_model.bin.index.json", "adapter_config.json"):
        (tmp_path / other).write_text("{}")
        with pytest.raises(FolderError, match=f"has {other}; weights are read from model.safetensors alone"):
            foreign.weights(tmp_path, MODEL)
        (tmp_path / other).unlink()


@pytest.mark.parametrize("read", [read_vae, read_text])
def test_a_variant_is_read_where_there_is_no_other(read: Callable[[Path], Any], tmp_path: Path) -> None:
    made = (tiny if read is read_vae else clip)().half()
    made.save_pretrained(tmp_path, variant="fp16")
    found = read(tmp_path).state_dict()
    assert all(torch.equal(value.float(), found[key].float()) for key, value in made.state_dict().items())


def test_weights_that_do_not_fit_are_named(vae: Path, text: Path) -> None:
    for folder, stem, read in ((vae, VAE, read_vae), (text, MODEL, read_text)):
        path = folder / f"{stem}.safetensors"
        kept = load_file(path)
        name = sorted(key for key, value in kept.items() if value.ndim == 2 or value.ndim == 4)[0]
        last = name.rpartition(".")[0].replace("text_model.", "")
        for tensors, message in (
            ({key: value for key, value in kept.items() if key != name}, last),
            ({**kept, "more": torch.zeros(1)}, "config.json: more"),
            ({**kept, name: torch.zeros(3, 5)}, r"shape \(3, 5\) and not \("),
        ):
            save_file(tensors, path, {"format": "pt"})
            with pytest.raises(FolderError, match=message):
                read(folder)
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(FolderError, match=path.name):
            read(folder)


def test_weights_of_other_networks_may_be_there_where_it_is_said(text: Path) -> None:
    path = text / "model.safetensors"
    save_file({**load_file(path), "vision.more": torch.zeros(1)}, path, {"format": "pt"})
    with pytest.raises(FolderError, match="vision.more"):
        read_text(text)
    foreign.network(text, optional.transformers().CLIPTextModel, MODEL, others=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_encoder_blocks": [1, 10**9]}, "num_encoder_blocks = .* asks for more than"),
        ({"encoder_block_out_channels": [4] * 1000}, "encoder_block_out_channels = .* asks for more than"),
        ({"encoder_block_out_channels": [1 << 20] * 2}, "hold [0-9]+ numbers, and the shapes it asks for"),
        ({"latent_channels": float("nan")}, "vae: "),
    ],
)
def test_nothing_is_built_that_the_weights_cannot_fill(
    changes: dict[str, Any], message: str, vae: Path
) -> None:
    changed(vae, **changes)
    with pytest.raises(FolderError, match=message):
        read_vae(vae)


def test_plausibility_looks_into_nested_settings_and_past_statistics(tmp_path: Path) -> None:
    foreign.require_plausible(tmp_path, {"latents_mean": [0.0] * 16, "hidden_size": 4096, "layers": 3}, 4)
    for config in (
        {"text_config": {"num_hidden_layers": 10**9}},
        {"rates": [[1], [1] * 9]},
        {"blocks": 1e400},
    ):
        with pytest.raises(FolderError, match="asks for more than 4 weights hold"):
            foreign.require_plausible(tmp_path, config, 4)


def test_a_network_too_large_is_refused_before_it_is_allocated(text: Path) -> None:
    changed(text, vocab_size=1 << 40)  # 64 TiB
    with pytest.raises(FolderError, match="the shapes it asks for"):
        read_text(text)


def test_shards_are_read_where_they_are_allowed_and_lie_in_the_folder(text: Path, tmp_path: Path) -> None:
    kind = optional.transformers().CLIPTextModel
    made = kind.from_pretrained(text)
    (text / "model.safetensors").unlink()
    made.save_pretrained(text, max_shard_size="4KB")
    index = text / "model.safetensors.index.json"
    assert index.exists()
    with pytest.raises(FolderError, match="several files"):
        foreign.load(text, kind, MODEL)
    found, report = foreign.load(text, kind, MODEL, sharded=True)
    foreign.require_fit(text, report)
    assert all(torch.equal(value, found.state_dict()[key]) for key, value in made.state_dict().items())
    named = json.loads(index.read_text())
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (text / "link.safetensors").symlink_to(tmp_path / "other.safetensors")
    for weight_map, message in (
        ({"a": "../other.safetensors"}, "no safetensors of this folder"),
        ({"a": "pytorch_model.bin"}, "no safetensors of this folder"),
        ({"a": "link.safetensors"}, "leads out of the folder"),
        ({"a": "absent.safetensors"}, "has no absent.safetensors"),
        ({}, "names no files"),
        ([], "names no files"),
    ):
        index.write_text(json.dumps({**named, "weight_map": weight_map}))
        with pytest.raises(FolderError, match=message):
            foreign.load(text, kind, MODEL, sharded=True)
    index.write_text(json.dumps(named))
    (text / "adapter_config.json").write_text("{}")
    with pytest.raises(FolderError, match="adapter_config.json"):
        foreign.load(text, kind, MODEL, sharded=True)
