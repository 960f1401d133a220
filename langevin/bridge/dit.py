"""diffusers' DiT, read into our own blocks.

`DiTTransformer2DModel` is the DiT of Peebles and Xie 2023 (arXiv:2212.09748): class-conditional, on latents,
with a fixed sine-cosine embedding of positions instead of rotary attention, no normalisation of queries and
keys, and in every block an embedding of time and class. In the published weights these embeddings are
copies of one; then it is computed once for all blocks.

Its conventions stay: integer timesteps of a table of a thousand steps, class `classes` for the null, and,
where it learned the variance, twice as many channels out as in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from langevin.core.backbones import Block, FinalLayer, sinusoidal

__all__ = ["LoadedDiT", "load_diffusers_dit"]


class TimeAndClass(nn.Module):
    """Integer timestep (B,) and class (B,) -> vector (B, width)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.table = nn.Embedding(classes + 1, width)

    def forward(self, timestep: Tensor, label: Tensor) -> Tensor:
        features = sinusoidal(timestep, 256, inclusive=True).to(self.table.weight.dtype)
        return self.mlp(features) + self.table(label)


class LoadedDiT(nn.Module):
    """A class-conditional DiT with fixed positions, made of the core's blocks.

    Args:
        width: channels of a token.
        depth: number of blocks.
        heads: heads of attention.
        channels: channels of the latents.
        out: channels of the answer.
        size: height and width of the latents.
        patch: side of a patch.
        classes: number of classes; index `classes` is the null.
        embedders: embeddings of time and class: 1, or `depth`.
        mlp_eps: of the LayerNorm before the perceptron.
    """

    place: Tensor

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        channels: int,
        out: int,
        size: int,
        patch: int,
        classes: int,
        embedders: int,
        mlp_eps: float,
    ) -> None:
        super().__init__()
        self.channels, self.size, self.patch, self.classes = channels, size, patch, classes
        self.embed = nn.Linear(channels * patch * patch, width)
        self.register_buffer("place", torch.zeros(1, (size // patch) ** 2, width))
        self.embedders = nn.ModuleList(TimeAndClass(width, classes) for _ in range(embedders))
        self.blocks = nn.ModuleList(
            Block(width, heads, qk_norm=False, eps=1e-6, mlp_eps=mlp_eps) for _ in range(depth)
        )
        self.final = FinalLayer(width, patch * patch * out)

    def forward(self, x: Tensor, timestep: Tensor, label: Tensor) -> Tensor:
        """The answer of the network.

        Args:
            x: (B, channels, size, size).
            timestep: (B,) or (), index in the table of steps.
            label: (B,) class, `classes` for the null.

        Returns:
            (B, out, size, size).

        Raises:
            ValueError: latents of another shape than the model was trained on.
        """
        if x.shape[1:] != (self.channels, self.size, self.size):
            raise ValueError(
                f"latents of shape {tuple(x.shape[1:])} were given; this model takes "
                f"{(self.channels, self.size, self.size)}"
            )
        p = self.patch
        tokens = self.embed(rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=p)) + self.place
        timestep = timestep.expand(x.shape[0])
        vectors = [embedder(timestep, label) for embedder in self.embedders]
        for i, block in enumerate(self.blocks):
            vector = vectors[i % len(vectors)]
            tokens, _ = block(tokens, F.silu(vector).unsqueeze(1), vector)
        tokens = self.final(tokens, vectors[0])
        return rearrange(tokens, "b (h w) (p q c) -> b c (h p) (w q)", h=self.size // p, p=p, q=p)


def load_diffusers_dit(model: Any) -> LoadedDiT:
    """A copy of a `DiTTransformer2DModel` in our blocks; both give the same answers.

    Args:
        model: the model, with its weights, on any device; it is not changed.

    Raises:
        ValueError: an option of the model that our blocks do not have.
    """
    config = model.config
    for name, needed in (("activation_fn", "gelu-approximate"), ("norm_elementwise_affine", False)):
        if config[name] != needed:
            raise ValueError(
                f"DiTTransformer2DModel with {name}={config[name]!r} cannot be read; only {needed!r} can"
            )
    source = {name: value.detach() for name, value in model.state_dict().items()}
    depth = config["num_layers"]
    embeddings = [_under(source, f"transformer_blocks.{i}.norm1.emb.") for i in range(depth)]
    alike = all(all(torch.equal(a[k], embeddings[0][k]) for k in a) for a in embeddings)
    width = config["num_attention_heads"] * config["attention_head_dim"]
    ours = LoadedDiT(
        width,
        depth,
        config["num_attention_heads"],
        channels=config["in_channels"],
        out=model.out_channels,
        size=config["sample_size"],
        patch=config["patch_size"],
        classes=config["num_embeds_ada_norm"],
        embedders=1 if alike else depth,
        mlp_eps=config["norm_eps"],
    )
    target: dict[str, Tensor] = {"place": model.pos_embed.pos_embed.detach()}
    target["embed.weight"] = source["pos_embed.proj.weight"].flatten(1)
    target["embed.bias"] = source["pos_embed.proj.bias"]
    for i in range(1 if alike else depth):
        for theirs, name in (
            ("timestep_embedder.linear_1", "mlp.0"),
            ("timestep_embedder.linear_2", "mlp.2"),
        ):
            _copy(target, f"embedders.{i}.{name}", embeddings[i], theirs)
        target[f"embedders.{i}.table.weight"] = embeddings[i]["class_embedder.embedding_table.weight"]
    for i in range(depth):
        block = _under(source, f"transformer_blocks.{i}.")
        parts = [_under(block, f"attn1.to_{letter}.") for letter in "qkv"]
        weight = torch.cat([part["weight"] for part in parts])
        target[f"blocks.{i}.attention.qkv.weight"] = weight
        bias = [part["bias"] for part in parts if "bias" in part]
        target[f"blocks.{i}.attention.qkv.bias"] = torch.cat(bias) if bias else weight.new_zeros(3 * width)
        _copy(target, f"blocks.{i}.attention.out", block, "attn1.to_out.0")
        _copy(target, f"blocks.{i}.mlp.up", block, "ff.net.0.proj")
        _copy(target, f"blocks.{i}.mlp.down", block, "ff.net.2")
        _copy(target, f"blocks.{i}.modulation", block, "norm1.linear")
    _copy(target, "final.modulation", source, "proj_out_1")
    _copy(target, "final.linear", source, "proj_out_2")
    ours.load_state_dict(target, strict=True)
    return ours.to(target["embed.weight"]).train(model.training)


def _under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _copy(target: dict[str, Tensor], name: str, source: Mapping[str, Tensor], theirs: str) -> None:
    for part in ("weight", "bias"):
        target[f"{name}.{part}"] = source[f"{theirs}.{part}"]
