"""Long sounds in pieces: resampled, encoded and decoded with memory that does not grow with their length.

A piece is processed together with the margin on each side that it depends on (:attr:`Codec.encode_margin`,
:attr:`Codec.decode_margin`), of which nothing is kept. What comes out is what the whole would give, up to rounding; where a
foreign autoencoder depends on all of its input, :func:`difference` shows by how much it is not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from langevin.core.rng import Stream
from langevin.modalities.audio.codec import Codec
from langevin.modalities.audio.files import Reader
from langevin.modalities.audio.sound import Audio, filter_reach

__all__ = ["Piece", "decode_chunks", "difference", "encode_chunks", "overlapping", "resample_blocks"]

SECONDS = 10.0


@dataclass(frozen=True)
class Piece:
    """A stretch of a long sequence with its surroundings.

    Attributes:
        values: (…, lead + count + trail).
        place: of the first of the count.
        lead: elements before it.
        count: elements that the piece stands for.
    """

    values: Tensor
    place: int
    lead: int
    count: int


def overlapping(parts: Iterable[Tensor], count: int, margin: int) -> Iterator[Piece]:
    """A sequence that comes in parts, as pieces of ``count`` along the last axis with ``margin`` on each side.

    At the ends of the sequence the margin is what there is.
    """
    source = iter(parts)
    held = next(source, None)
    if held is None:
        return
    place = lead = 0
    ended = False
    while True:
        waiting = [held]
        size = held.shape[-1]
        while not ended and size < lead + count + margin:
            part = next(source, None)
            if part is None:
                ended = True
            else:
                waiting.append(part)
                size += part.shape[-1]
        held = torch.cat(waiting, -1)
        here = min(count, size - lead)
        if here < 1:
            return
        yield Piece(held[..., : lead + here + margin], place, lead, here)
        place += here
        kept = min(margin, lead + here)
        held, lead = held[..., lead + here - kept :], kept


def resample_blocks(blocks: Iterable[Tensor], old: int, new: int, seconds: float = 1.0) -> Iterator[Tensor]:
    """Samples (channels, n) in blocks at another rate; together they are those of :meth:`Audio.resampled`."""
    if old == new:
        yield from blocks
        return
    down = old // math.gcd(
        old, new
    )  # input samples of the shortest stretch that is a whole number of output samples
    up = new // math.gcd(old, new)
    unit = max(1, round(seconds * old / down)) * down
    margin = -(-filter_reach(old, new) // down) * down
    for piece in overlapping(blocks, unit, margin):
        out = torch.from_numpy(Audio(piece.values.numpy(), old).resampled(new).samples)
        first = piece.lead // down * up
        yield out[:, first : first + -(-piece.count * up // down)]


def encode_chunks(codec: Codec, source: Audio | Reader, seconds: float = SECONDS) -> Iterator[Tensor]:
    """States (1, C, F, t) of a sound, one after the other; together they are that of the whole.

    Args:
        codec: encodes.
        source: a sound, or an open file of any length.
        seconds: of a piece; memory grows with it.
    """
    blocks: Iterable[Tensor]
    if isinstance(source, Audio):
        blocks, rate = [torch.from_numpy(source.samples)], source.rate
    else:
        blocks, rate = (torch.from_numpy(block) for block in source.blocks()), source.rate
    both = getattr(codec, "sound_channels", 1) == 2
    taken = (
        block if both and len(block) == 2 else block.mean(0, keepdim=True).repeat(1 + both, 1)
        for block in blocks
    )
    size = codec.frames(seconds) * codec.hop
    for piece in overlapping(resample_blocks(taken, rate, codec.rate), size, codec.encode_margin * codec.hop):
        state = codec.encode([Audio(piece.values.numpy(), codec.rate)])
        first = piece.lead // codec.hop
        yield state[..., first : first + -(-piece.count // codec.hop)]


def decode_chunks(
    codec: Codec, states: Tensor | Iterable[Tensor], seconds: float = SECONDS
) -> Iterator[list[Audio]]:
    """Sounds of states, a stretch of all rows after the other; together they are those of the whole.

    Args:
        codec: decodes.
        states: (B, C, F, T), or parts of it along T as they become known.
        seconds: of a piece; memory grows with it and with the codec's margin.
    """
    parts = [states] if isinstance(states, Tensor) else states
    for piece in overlapping(parts, codec.frames(seconds), codec.decode_margin):
        sounds = codec.decode(piece.values, piece.place - piece.lead)
        first, last = piece.lead * codec.hop, (piece.lead + piece.count) * codec.hop
        yield [Audio(sound.samples[:, first:last], sound.rate) for sound in sounds]


def difference(codec: Codec, sound: Audio, seconds: float) -> tuple[float, float]:
    """What pieces of ``seconds`` change: the largest absolute differences in the state and in decoded samples.

    What is decoded is the sound's state with a tenth of noise, because sampled states are not quite those of any sound.
    """
    whole = codec.encode([sound])
    parts = torch.cat(list(encode_chunks(codec, sound, seconds)), -1)
    noisy = whole + 0.1 * Stream.of(0, 1).normal(tuple(whole.shape))
    played = torch.from_numpy(codec.decode(noisy)[0].samples)
    pieces = itertools.chain.from_iterable(decode_chunks(codec, noisy, seconds))
    joined = torch.cat([torch.from_numpy(piece.samples) for piece in pieces], -1)
    return float((whole - parts).abs().max()), float((played - joined).abs().max())
