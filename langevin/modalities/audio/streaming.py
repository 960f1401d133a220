"""Long sounds: windows of frames, played while they are drawn, and sounds that are continued.

Pieces are decoded with the margin that the codec depends on (:mod:`langevin.modalities.audio.chunks`), so that they are
pieces of one sound without joins.

**Continuation.** Frames are laid out so that one of them ends where the user's sound does. Those before it are known,
except the last few that depend on what lies beyond the end: they are drawn anew. The result has the user's own samples at
their own rate and in all channels; what follows is resampled to that rate. A codec does not return a sound's waveform
exactly, and a vocoder not even its phases, so the first ``fade`` seconds of what follows go over from a linear prediction of
the user's sound (Kauppinen and Roth 2002, "Audio signal extrapolation") to what was decoded, with weights cos² and sin².
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langevin.core.streaming import Windows
from langevin.modalities.audio.chunks import decode_chunks, resample_blocks
from langevin.modalities.audio.codec import Codec, fed
from langevin.modalities.audio.edits import reach
from langevin.modalities.audio.plugin import AudioSpec
from langevin.modalities.audio.sound import Audio, filter_reach

__all__ = ["extrapolated", "windows"]

ORDER = 64  # of the prediction
PAST = 0.1  # s, that it is fitted to


def windows(
    codec: Codec,
    patch: int,
    seconds: float,
    window: float,
    overlap: float | None,
    after: Sequence[Audio] | None,
    fade: float,
) -> Windows:
    """The windows of sounds.

    Args:
        codec: of the model.
        patch: frames of a token; windows and overlaps are whole numbers of them.
        seconds: of what is new.
        window: seconds of a window.
        overlap: seconds that it has of the window before; a quarter of it when None.
        after: a sound for each sample, which it continues.
        fade: seconds of the crossfade after these.

    Raises:
        ValueError: lengths that cannot be, or sounds that cannot be continued.
    """
    asked = window / 4 if overlap is None else overlap
    if not 0 < asked < window:
        raise ValueError(
            f"overlap must be above 0 and shorter than the window of {window:g} s, got {asked:g}"
        )
    length, shared, new = (frames + -frames % patch for frames in map(codec.frames, (window, asked, seconds)))
    if shared >= length:
        raise ValueError(
            f"overlap must be shorter than the window: in whole patches of {codec.seconds(patch):g} s "
            f"both have {length} frames"
        )
    context = chosen = None
    before = 0
    if after is not None:
        new = codec.frames(seconds)  # a sound that fits into a window is known from its beginning
        context, chosen = known(codec, after, max(shared, length - new))
        before = context.shape[1]
    total = before + new
    if total < length:
        length = total + -total % patch  # one window, of which none is shared
    spec = AudioSpec(seconds=codec.seconds(length))
    chunk = codec.seconds(max(length - shared, 2 * codec.decode_margin))

    def play(parts: Iterable[Tensor]) -> Iterator[list[Audio]]:
        states = (part.permute(0, 2, 3, 1) for part in parts)
        sounds = decode_chunks(codec, states, chunk)
        if after is None:
            return _ended(sounds, max(1, round(seconds * codec.rate)))
        return _continued(codec, sounds, after, before, seconds, fade)

    return Windows(spec, length, min(shared, length - 1), total, play, {"window": window}, context, chosen)


def known(codec: Codec, sounds: Sequence[Audio], frames: int) -> tuple[Tensor, Tensor]:
    """The states (n, L, C, F) of the ends of sounds, and which of their elements are kept.

    Args:
        codec: encodes.
        sounds: what is continued.
        frames: at most so many; fewer where a sound is shorter.

    Raises:
        ValueError: sounds of several rates, or one that is too short.
    """
    rates = sorted({sound.rate for sound in sounds})
    if len(rates) > 1:
        raise ValueError(
            f"sounds that are continued together must have one rate, got {', '.join(map(str, rates))}"
        )
    ends = [_end(codec, sound, frames + codec.encode_margin) for sound in sounds]
    held = min(frames, *(len(end) // codec.hop for end in ends))
    late = reach(codec)[1] if hasattr(codec, "framing") else min(codec.encode_margin, held // 2)
    if held <= late:
        least = (late + 1) * codec.hop / codec.rate
        shortest = min(sound.seconds for sound in sounds)
        raise ValueError(
            f"a sound of {shortest:g} s is too short to be continued; give at least {least:.3g} s"
        )
    states = [codec.encode([end])[..., -held:] for end in ends]
    state = torch.cat(states).permute(0, 3, 1, 2)
    chosen = torch.zeros(state.shape, dtype=torch.bool)
    chosen[:, : held - late] = True
    return state, chosen


def _end(codec: Codec, sound: Audio, frames: int) -> Audio:
    """The last whole frames of a sound as the codec takes them, at most ``frames``: they end where the sound does."""
    down = sound.rate // math.gcd(sound.rate, codec.rate)  # of its samples are a whole number of the codec's
    wanted = -(-frames * codec.hop * sound.rate // codec.rate) + filter_reach(sound.rate, codec.rate)
    count = min(len(sound) // down, -(-wanted // down)) * down
    if not count:
        return Audio(np.zeros((1, 1), np.float32), codec.rate)
    end = fed(codec, Audio(sound.samples[:, -count:], sound.rate))
    whole = min(len(end) // codec.hop, frames) * codec.hop
    return (
        Audio(end.samples[:, -whole:], codec.rate)
        if whole
        else Audio(np.zeros((1, 1), np.float32), codec.rate)
    )


def _ended(sounds: Iterable[list[Audio]], count: int) -> Iterator[list[Audio]]:
    """Pieces up to ``count`` samples."""
    for pieces in sounds:
        size = min(count, len(pieces[0]))
        yield [Audio(piece.samples[:, :size], piece.rate) for piece in pieces]
        count -= size
        if not count:
            return


def _continued(
    codec: Codec,
    sounds: Iterator[list[Audio]],
    after: Sequence[Audio],
    before: int,
    seconds: float,
    fade: float,
) -> Iterator[list[Audio]]:
    """The user's sounds, then what was drawn after their last ``before`` frames."""
    yield list(after)
    rate = after[0].rate
    down, up = (r // math.gcd(rate, codec.rate) for r in (rate, codec.rate))
    first = next(sounds)
    channels = first[0].channels
    blocks = (
        torch.from_numpy(np.concatenate([piece.samples for piece in pieces]))
        for pieces in itertools.chain([first], sounds)
    )  # (n · channels, samples)
    lead = min(
        before * codec.hop // up, -(-filter_reach(codec.rate, rate) // up)
    )  # of these, resampled before it
    inside = _dropped(blocks, before * codec.hop - lead * up)
    made = _dropped(resample_blocks(inside, codec.rate, rate), lead * down)
    ramp = np.sin(np.pi / 2 * (np.arange(round(fade * rate)) + 0.5) / max(1, round(fade * rate))) ** 2
    fades = [_Fade(extrapolated(sound, len(ramp)), 1 - ramp) for sound in after]
    left, place = max(1, round(seconds * rate)), 0
    for block in made:
        size = min(left, block.shape[1])
        rows = block[:, :size].numpy().reshape(len(after), channels, size)
        yield [
            Audio(goes(_channels(row, sound.channels), place), rate)
            for row, sound, goes in zip(rows, after, fades, strict=True)
        ]
        left, place = left - size, place + size
        if not left:
            return


@dataclass(frozen=True)
class _Fade:
    """Goes over from a prediction (channels, k) with weights (k,) to what was drawn."""

    prediction: NDArray[np.float32]
    weights: NDArray[np.float64]

    def __call__(self, drawn: NDArray[np.float32], place: int) -> NDArray[np.float32]:
        """What was drawn from ``place`` samples after the join on."""
        drawn = drawn.copy()
        here = slice(place, min(len(self.weights), place + drawn.shape[1]))
        count = max(0, here.stop - here.start)
        if count:
            mix = self.weights[here] * (self.prediction[:, here] - drawn[:, :count])
            drawn[:, :count] += mix.astype(np.float32)
        return drawn


def _channels(samples: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if len(samples) == count:
        return samples
    return np.repeat(samples.mean(0, keepdims=True), count, 0)


def _dropped(blocks: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    """Blocks without the first ``count`` samples."""
    for block in blocks:
        if count < block.shape[1]:
            yield block[:, count:]
        count = max(0, count - block.shape[1])


def extrapolated(sound: Audio, count: int) -> NDArray[np.float32]:
    """What linear prediction expects of the next samples of a sound, (channels, count).

    The predictor is that of the autocorrelation method, which is stable: what it expects dies away.
    """
    past = sound.samples[:, -max(2, round(PAST * sound.rate)) :].astype(np.float64)
    out = np.zeros((sound.channels, count), dtype=np.float32)
    order = min(ORDER, past.shape[1] // 3)
    if not order or not count:
        return out
    from scipy.linalg import solve_toeplitz

    for row, x in enumerate(past):
        window = x * np.hanning(2 * len(x))[: len(x)]  # falls towards the past
        r = np.array([window[: len(x) - k] @ window[k:] for k in range(order + 1)])
        if r[0] < 1e-12:
            continue
        r[0] *= 1 + 1e-6
        ahead = solve_toeplitz(r[:-1], r[1:])
        values = list(x[-order:])
        for place in range(count):
            values.append(float(ahead @ values[: -order - 1 : -1]))
            out[row, place] = values[-1]
    return out
