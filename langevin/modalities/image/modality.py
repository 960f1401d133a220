"""Pictures: (B, C, H, W) states of pixels or latents, patches as tokens, PIL images outside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PILImage
from torch import Tensor

import langevin.core.catalogue  # noqa: F401  (names of processes and conditions)
from langevin.core.conditioning import Embedder
from langevin.core.keep import Keep
from langevin.core.processes import Gaussian, Process, State
from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.tokens import Tokens
from langevin.modalities.base import Failure, Modality, Table
from langevin.modalities.image.codec import Codec, Pixels
from langevin.modalities.image.latents import DiffusersCodec, vae_codec
from langevin.modalities.image.pixels import MAX_PIXELS, read_picture, to_array
from langevin.modalities.image.plugin import WRITTEN, ImageSpec
from langevin.modalities.patches import PatchTokens

__all__ = ["CODECS", "ImageModality", "make"]

CODECS = Registry("codec", Codec)  # type: ignore[type-abstract]
CODECS.register("pixels")(Pixels)
CODECS.register("vae")(vae_codec)
CODECS.register("diffusers")(DiffusersCodec)


class ImageModality(Modality):
    """Pictures of one size under a codec.

    Args:
        codec: pictures ↔ states; :class:`~langevin.modalities.image.codec.Pixels` for none.
        patch: side of a token, in elements of the state.
        process: how states are noised; linear flow by default.
        conditions: embedders by name.
        places: tell the network at which row and column a patch stands; a set of centred objects can do without.

    Raises:
        ValueError: a size or a patch that cannot be, or a size that the patches do not divide.
    """

    name = "image"
    suffix = ".png"
    written = WRITTEN
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
    spec = ImageSpec
    card_width = 112

    def __init__(
        self,
        codec: Codec,
        patch: int = 4,
        process: Process | None = None,
        conditions: Mapping[str, Embedder] | None = None,
        places: bool = True,
    ) -> None:
        if patch < 1:
            raise ValueError(f"patch must be at least 1, got {patch}")
        if not 1 <= codec.size <= math.isqrt(MAX_PIXELS):
            raise ValueError(f"size must lie in 1 … {math.isqrt(MAX_PIXELS)} pixels, got {codec.size}")
        if codec.channels < 1:
            raise ValueError(f"channels must be at least 1, got {codec.channels}")
        if codec.size % (codec.factor * patch):
            raise ValueError(
                f"pictures of {codec.size} pixels cannot be cut into patches of {patch} elements of {codec.factor} pixels"
            )
        self.codec, self.patch = codec, patch
        self._process = process or Gaussian()
        self._conditions = dict(conditions or {})
        self.places = 2 if places else 0
        self._patches = PatchTokens(codec.channels, patch)

    @property
    def process(self) -> Process:
        return self._process

    @property
    def conditions(self) -> Mapping[str, Embedder]:
        return self._conditions

    @property
    def inputs(self) -> dict[str, int]:
        return self._patches.inputs

    @property
    def outputs(self) -> dict[str, int]:
        return self._patches.outputs

    def encode(self, items: Sequence[Any]) -> tuple[State, Tensor | None]:
        return self.codec.encode(items), None

    def decode(self, state: State, mask: Tensor | None = None) -> list[Any]:
        assert isinstance(state, Tensor)
        return list(self.codec.decode(state))

    def blank(
        self, indices: Sequence[int], rng: Stream, conditions: Mapping[str, Any], spec: Any
    ) -> tuple[State, Tensor | None]:
        """Zeros of the size trained on, or of the height and width that ``spec`` asks for.

        Raises:
            ValueError: sides that the patches do not divide.
        """
        unit = self.codec.factor * self.patch
        sides = []
        for name in ("height", "width"):
            side = getattr(spec, name, None) or self.codec.size
            if side % unit or side <= 0:
                raise ValueError(f"{name} must be a multiple of {unit} pixels for this model, got {side}")
            sides.append(side // self.codec.factor)
        return torch.zeros(len(indices), self.codec.channels, *sides), None

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        return self._patches.tokens(state, mask)

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        return self._patches.untokens(values, like)

    def chosen(self, keep: Keep, known: State, items: Sequence[Any] = ()) -> State:
        """Where the state is kept: elements all of whose pixels are. Shape of ``known``, (B, C, H, W)."""
        assert isinstance(known, Tensor)
        height, width = (side * self.codec.factor for side in known.shape[-2:])
        pixels = keep((height, width))
        f = self.codec.factor
        whole = pixels.reshape(height // f, f, width // f, f).all(3).all(1)
        return whole.expand(known.shape).clone()

    def restore(self, item: Any, original: Any, keep: Keep) -> Any:
        """The picture with the user's own pixels where they are kept."""
        made = torch.from_numpy(to_array(item, self.codec_channels(item), None).copy())
        given = torch.from_numpy(to_array(original, made.shape[-1], self.codec.size).copy())
        kept = keep(tuple(made.shape[:2]))[..., None]
        pixels = torch.where(kept, given, made).numpy()
        return PILImage.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)

    @staticmethod
    def codec_channels(item: Any) -> int:
        """Channels of a decoded picture: 1 for grey, else 3."""
        return 1 if item.mode == "L" else 3

    def save(self, item: Any, path: Path) -> None:
        item.save(path)

    def read(self, path: Path) -> Any:
        pixels = read_picture(path)
        return PILImage.fromarray(pixels)

    def picture(self, item: Any) -> Any:
        return item

    def html(self, item: Any) -> str:
        from langevin.modalities.image.view import to_html

        return to_html(item)

    def evaluate(self, items: Sequence[Any], reference: Sequence[Any] | None = None) -> Table | None:
        """The table of :func:`~langevin.modalities.image.metrics.evaluate`, or, without a reference, that of
        :func:`~langevin.modalities.image.metrics.describe`."""
        from langevin.modalities.image.metrics import describe, evaluate

        if reference is None:
            return describe(items)
        return evaluate(items, [item for item in reference if not isinstance(item, Failure)])


MODALITIES = Registry("image modality", ImageModality)
MODALITIES.register("image")(ImageModality)


def make(settings: Mapping[str, Any]) -> ImageModality:
    """The modality that a configuration describes; RGB pixels of 64 × 64 where it says nothing."""
    return build(MODALITIES, {"name": "image", "codec": {"name": "pixels", "size": 64}, **settings})  # type: ignore[no-any-return]
