"""Embedders of classes, numbers and pictures, and what all embedders have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from langevin.core.backbones.layers import MLP, Attention, xavier
from langevin.core.values import class_index, finite

from .embedded import Embedded

__all__ = ["ClassEmbedder", "Embedder", "Encoder", "ImageEmbedder", "NumberEmbedder"]

_LISTED = 30  # names of classes in a description


class Embedder(nn.Module):
    """A condition's embedder. `null_vector` and `null_context` are what is learned for "nothing is said".

    Args:
        vector_width: channels of the vector, 0 for none.
        context_width: channels of the context, 0 for none.
    """

    def __init__(self, vector_width: int = 0, context_width: int = 0) -> None:
        super().__init__()
        self.vector_width, self.context_width = vector_width, context_width
        self.null_vector = nn.Parameter(0.02 * torch.randn(vector_width)) if vector_width else None
        self.null_context = nn.Parameter(0.02 * torch.randn(1, context_width)) if context_width else None

    def null(self, batch: int, device: torch.device | str | None = None) -> Embedded:
        """`batch` rows of the learned null; its context has one element."""
        vector = None if self.null_vector is None else self.null_vector.to(device).expand(batch, -1)
        context = None if self.null_context is None else self.null_context.to(device).expand(batch, -1, -1)
        return Embedded(vector, context, None)

    def parse(self, raw: Sequence[Any]) -> Tensor:
        """What users write, one entry per sample, as the tensor that `forward` takes."""
        raise NotImplementedError

    def describe(self) -> str:
        """What users may write, in words: a phrase without a full stop."""
        return f"what {type(self).__name__} parses"

    def forward(self, value: Tensor) -> Embedded:
        """Embed a batch of values."""
        raise NotImplementedError


class ClassEmbedder(Embedder):
    """A learned vector per class.

    Args:
        classes: their number, or their names.
        width: channels of the vector.
    """

    def __init__(self, classes: int | Sequence[str], width: int) -> None:
        super().__init__(vector_width=width)
        self.names = None if isinstance(classes, int) else tuple(classes)
        self.classes = classes if isinstance(classes, int) else len(classes)
        self.embedding = nn.Embedding(self.classes, width)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def parse(self, raw: Sequence[Any]) -> Tensor:
        """Indices, or names where the classes have names -> LongTensor (B,).

        Raises:
            ValueError: an unknown name, or an index out of range.
        """
        classes = self.classes if self.names is None else self.names
        return torch.tensor([class_index(value, classes) for value in raw], dtype=torch.long)

    def describe(self) -> str:
        """The names, or the range of the indices."""
        numbers = f"0 … {self.classes - 1}"
        if self.names is None:
            return f"a class by its number, {numbers}"
        some = ", ".join(self.names[:_LISTED])
        more = f", … ({self.classes} in all)" if self.classes > _LISTED else ""
        return f"a class by its name or number, {numbers}: {some}{more}"

    def forward(self, value: Tensor) -> Embedded:
        """value (B,) of indices -> vector (B, width)."""
        return Embedded(vector=self.embedding(value))


class NumberEmbedder(Embedder):
    """A real number, standardised, through Fourier features and a perceptron.

    Args:
        width: channels of the vector.
        mean: mean of the number over the training data, in its own unit.
        std: its standard deviation, > 0.
        frequencies: number of sines (and of cosines).
    """

    omega: Tensor

    def __init__(self, width: int, mean: float = 0.0, std: float = 1.0, frequencies: int = 16) -> None:
        super().__init__(vector_width=width)
        if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
            raise ValueError(f"mean must be finite and std positive, not mean={mean}, std={std}")
        self.mean, self.std = mean, std
        omega = math.pi / 8 * 2 ** torch.linspace(0, 5, frequencies)  # wavelengths from 16 to 0.5 std
        self.register_buffer("omega", omega, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * frequencies + 1, width), nn.SiLU(), nn.Linear(width, width))
        xavier(self.mlp)

    def parse(self, raw: Sequence[Any]) -> Tensor:
        """Numbers, or strings that say one -> float32 (B,).

        Raises:
            ValueError: something that is not a finite number.
        """
        return torch.tensor([finite(entry) for entry in raw], dtype=torch.float32)

    def describe(self) -> str:
        """A number, and where those of the training data lie."""
        return f"a number; in the training data {self.mean:g} ± {self.std:g} (mean ± standard deviation)"

    def forward(self, value: Tensor) -> Embedded:
        """value (B,) -> vector (B, width).

        Raises:
            ValueError: NaN or infinity among the values.
        """
        if not bool(torch.isfinite(value).all()):
            raise ValueError(
                "a number to condition on is NaN or infinite; drop the condition for such samples"
            )
        z = ((value.float() - self.mean) / self.std).unsqueeze(-1)
        features = torch.cat((z, (z * self.omega).sin(), (z * self.omega).cos()), dim=-1)
        return Embedded(vector=self.mlp(features.to(next(self.mlp.parameters()).dtype)))


class Encoder(nn.Module):
    """A small pre-norm transformer over a sequence, bidirectional: (B, M, C) -> (B, M, C)."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.ModuleList(Attention(width, heads) for _ in range(depth))
        self.mlp = nn.ModuleList(MLP(width, 4 * width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth + 1))
        xavier(self)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, rotation: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        for i, (attention, mlp) in enumerate(zip(self.attention, self.mlp, strict=True)):
            x = x + attention(self.norms[2 * i](x), rotation, bias)
            x = x + mlp(self.norms[2 * i + 1](x))
        return self.norms[-1](x)


class ImageEmbedder(Embedder):
    """A picture as a condition: patches, a small transformer, context and vector.

    Args:
        width: channels of the context.
        channels: channels of the picture.
        size: height and width in pixels, one number when they agree.
        patch: side of a patch in pixels; must divide the size.
        depth: layers of the transformer.
        heads: heads of attention.
        vector_width: channels of the vector; the width of the context when not given.
    """

    def __init__(
        self,
        width: int,
        channels: int,
        size: int | tuple[int, int],
        patch: int,
        depth: int = 2,
        heads: int = 4,
        vector_width: int | None = None,
    ) -> None:
        vector_width = width if vector_width is None else vector_width
        super().__init__(vector_width=vector_width, context_width=width)
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if self.size[0] % patch or self.size[1] % patch:
            raise ValueError(f"patch {patch} does not divide the size {self.size}")
        self.channels, self.patch = channels, patch
        count = (self.size[0] // patch) * (self.size[1] // patch)
        self.embed = nn.Linear(channels * patch * patch, width)
        self.place = nn.Parameter(0.02 * torch.randn(count, width))
        self.encoder = Encoder(width, depth, heads)
        self.vector = nn.Linear(width, vector_width)
        xavier(self.embed)
        xavier(self.vector)

    def parse(self, raw: Sequence[Any]) -> Tensor:
        """Tensors or arrays (C, H, W) in [-1, 1], or PIL images -> (B, C, H, W).

        Raises:
            ValueError: another shape than the one this embedder was built for, or no picture.
        """
        pictures = [self._tensor(picture) for picture in raw]
        for picture in pictures:
            self._check(picture)
        return torch.stack(pictures)

    def describe(self) -> str:
        """The shape and the range."""
        height, width = self.size
        return (
            f"a picture of {width} × {height} pixels (PIL), or a tensor {(self.channels, *self.size)} (C, H, W) "
            "in [-1, 1]"
        )

    def _tensor(self, picture: Any) -> Tensor:
        """(C, H, W) in [-1, 1]; transparency of PIL images is laid over white, black is -1."""
        if hasattr(picture, "convert") and hasattr(picture, "tobytes"):
            grey = self.channels == 1
            clear = "A" in picture.getbands() or "transparency" in picture.info
            mode = ("LA" if grey else "RGBA") if clear else ("L" if grey else "RGB")
            flat = picture.convert(mode)
            width, height = flat.size
            bands = len(flat.getbands())
            x = torch.frombuffer(bytearray(flat.tobytes()), dtype=torch.uint8)
            x = x.reshape(height, width, bands).permute(2, 0, 1).float()  # (C, H, W), 0 … 255
            if clear:
                opacity = x[-1:] / 255
                x = x[:-1] * opacity + 255 * (1 - opacity)
            return x / 127.5 - 1
        try:
            return torch.as_tensor(picture, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"{picture!r:.80} is not a picture; give {self.describe()}") from None

    def _check(self, picture: Tensor) -> None:
        expected = (self.channels, *self.size)
        if tuple(picture.shape[-3:]) != expected:
            raise ValueError(
                f"a picture of shape {tuple(picture.shape[-3:])} was given; (C, H, W) must be {expected}"
            )

    def forward(self, value: Tensor) -> Embedded:
        """value (B, C, H, W) in [-1, 1] -> vector (B, vector_width), context (B, patches, width)."""
        self._check(value)
        p = self.patch
        patches = value.unfold(2, p, p).unfold(3, p, p)  # (B, C, H/p, W/p, p, p)
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # (B, patches, C p p)
        context = self.encoder(self.embed(patches.to(self.embed.weight.dtype)) + self.place)
        return Embedded(self.vector(context.mean(1)), context, None)
