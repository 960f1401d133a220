"""What is causal in a codec of clips and what is exact when it is streamed, measured on the codec itself.

Nothing is taken from a configuration: for every element t of a clip the frames after it are replaced, and what they change
of the elements up to t is compared with 0; the same for the decoder; and pieces of several lengths are compared with the
whole. Differences are relative to the standard deviation of what they are differences of.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from langevin.core.rng import Stream
from langevin.modalities.video.latents import Latents

__all__ = ["Behaviour", "measured", "tiling"]

EXACT = 1e-4  # of the standard deviation; rounding of float32 in a deep network stays below it


@dataclass(frozen=True)
class Behaviour:
    """Largest differences, in standard deviations.

    Attributes:
        encoder: of elements up to t, where frames after them were replaced, over all t.
        leaks: shares of the places t at which they differ by more than rounding does.
        picture: of the first element of a clip from that of its first frame alone.
        decoder: of frames up to those of t, where later elements were replaced.
        streamed: of pieces from the whole.
    """

    encoder: float
    leaks: float
    picture: float
    decoder: float
    streamed: float

    @property
    def causal(self) -> bool:
        """Whether later frames leave earlier elements as they are, to the bit."""
        return self.encoder == 0

    @property
    def exact(self) -> bool:
        """Whether pieces give what the whole gives, up to rounding."""
        return self.streamed < EXACT

    @property
    def words(self) -> str:
        """One line."""
        if self.causal:
            touched = "causal: later frames do not touch earlier latents"
        else:
            touched = f"not causal: later frames change earlier latents at {self.leaks:.0%} of the places"
        ahead = "the decoder does not look ahead" if self.decoder == 0 else "the decoder looks ahead"
        stream = "streamed exactly" if self.exact else "blended when streamed"
        return f"{touched}; {ahead}; {stream}"


@torch.no_grad()
def measured(
    codec: Latents, elements: int = 5, size: tuple[int, int] | None = None, seed: int = 0
) -> Behaviour:
    """How a codec behaves on a clip of noise.

    Args:
        codec: to be measured.
        elements: of the clip; more than one.
        size: (height, width) of the clip; the codec's when None.
        seed: of the noise.

    Raises:
        ValueError: fewer than two elements.
    """
    if elements < 2:
        raise ValueError(f"elements must be at least 2; got {elements}")
    x, other = (_clip(codec, elements, size, seed + k) for k in (0, 1))
    state = codec.encode_tensor(x)
    encoder, leaking = 0.0, 0
    for t in range(1, elements):
        frames = codec.frames(t)
        found = codec.encode_tensor(torch.cat([x[:, :frames], other[:, frames:]], 1))
        change = _far(found[:, :t], state[:, :t], state)
        encoder, leaking = max(encoder, change), leaking + (change > EXACT)
    picture = _far(codec.encode_tensor(x[:, :1]), state[:, :1], state)
    state = Stream.of(seed, 1).fold("state").normal(tuple(state.shape))
    clip, decoder = codec.decode_tensor(state), 0.0
    noise = Stream.of(seed, 1).fold("later").normal(tuple(state.shape))
    for t in range(1, elements):
        frames = codec.frames(t)
        found = codec.decode_tensor(torch.cat([state[:, :t], noise[:, t:]], 1))
        decoder = max(decoder, _far(found[:, :frames], clip[:, :frames], clip))
    streamed = 0.0
    for length in sorted({1, 2, 3, elements}):
        pieces = torch.cat(list(codec.decode_pieces(iter(state.split(length, 1)))), 1)
        streamed = max(streamed, _far(pieces, clip, clip))
    return Behaviour(encoder, leaking / (elements - 1), picture, decoder, streamed)


@torch.no_grad()
def tiling(
    codec: Latents, tiled: Latents, elements: int, size: tuple[int, int], seed: int = 0
) -> tuple[float, float]:
    """Largest differences of states and of frames between a codec and the same one in tiles.

    Args:
        codec, tiled: of the same folder.
        elements: of the clip.
        size: (height, width) in pixels, large enough for several tiles.
        seed: of the noise.
    """
    x = _clip(codec, elements, size, seed)
    state = codec.encode_tensor(x)
    clip = codec.decode_tensor(state)
    return _far(tiled.encode_tensor(x), state, state), _far(tiled.decode_tensor(state), clip, clip)


def _clip(codec: Latents, elements: int, size: tuple[int, int] | None, seed: int) -> Tensor:
    shape = (1, codec.frames(elements), 3, *(size or codec.size))
    return Stream.of(seed, 1).fold("clip").uniform(shape) * 2 - 1


def _far(one: Tensor, other: Tensor, whole: Tensor) -> float:
    return float((one - other).abs().max() / whole.std().clamp(min=1e-12))
