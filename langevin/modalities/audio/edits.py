"""Parts of sounds that are kept: which frames of a state that makes, and the user's own samples put back.

A :class:`~langevin.core.keep.Keep` chooses on the grid of a state, (T, F), whose axes have units:

    keep.seconds(0.5, 1.0)                       that half second is kept, all else is drawn anew
    ~keep.seconds(0.5, 1.0)                      that half second is drawn anew
    ~(keep.seconds(0.5, 1) & keep.hertz(2000))   of that half second, what lies above 2 kHz is

**Frames.** The window of a frame reaches beyond the samples it stands for. A frame whose window meets a sample that is drawn
anew is drawn anew itself, so that nothing is told of what is replaced. What fills the last patch is a reflection of up to as
many samples before it, so where any of the last two patches is drawn anew, all of the last one is.

**Samples.** Outside the edited span the result has the user's own samples, exactly, at their own rate and in all channels.
The crossfade lies inside the span: over its first and its last ``fade`` seconds (half the span where that is less) the
weight of what was drawn goes from 0 to 1 as sin². Where a band is kept, what was drawn and the user's sound are first joined
in the short-time Fourier transform, under a window of about 32 ms.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langevin.core.keep import Grid, Keep
from langevin.modalities.audio.bands import transform
from langevin.modalities.audio.codec import Codec, LogMel
from langevin.modalities.audio.framing import Framing
from langevin.modalities.audio.sound import Audio

__all__ = ["FADE", "chosen", "fitted", "reach", "restored"]

Flags = NDArray[np.bool_]

FADE = 0.01  # s
BLOCK = 1 << 16  # samples that are looked at together


def frequencies(codec: Codec) -> Tensor:
    """The middle of each of a codec's bins in Hz, (F,); NaN where a bin stands for all of them."""
    if codec.bins == 1:
        return torch.full((1,), torch.nan, dtype=torch.float64)
    if isinstance(codec, LogMel):
        bank = codec.spec.filterbank
        f = torch.linspace(0, codec.rate / 2, bank.shape[1], dtype=torch.float64)
        return (bank * f).sum(1) / bank.sum(1)
    return torch.arange(codec.bins, dtype=torch.float64) * codec.rate / (2 * codec.bins)


def grid(at: Tensor, f: Tensor) -> Grid:
    """The grid of elements at times (T,), in seconds, and frequencies (F,), in Hz; of latents the times alone."""
    axes = {"seconds": (0, at)} | ({} if bool(f.isnan().all()) else {"hertz": (1, f)})
    return Grid((len(at), len(f)), axes)


def chosen(keep: Keep, codec: Codec, frames: int, patch: int) -> Tensor:
    """Which elements (T, F) of a state are kept.

    Args:
        keep: of the user.
        codec: of the model.
        frames: T.
        patch: frames of a token, of which the last may be filled by reflection.

    Raises:
        ValueError: all of them.
    """
    f = frequencies(codec)
    if keep.units:
        times = torch.arange(frames, dtype=torch.float64) * codec.hop / codec.rate
        kept = torch.ones(frames, codec.bins, dtype=torch.bool)
        for sample in range(codec.hop):
            kept &= keep.select(grid(times + sample / codec.rate, f))
        if bool(kept.all()):
            raise ValueError(f"keep={keep.name} keeps all of the sound; nothing is left to generate")
    else:
        kept = keep(grid((torch.arange(frames, dtype=torch.float64) + 0.5) * codec.hop / codec.rate, f))
    kept = torch.cat([kept[:-patch], kept[-patch:] & kept[-2 * patch :].all(0)])
    before, after = reach(codec)
    if not before and not after:
        return kept
    drawn = torch.nn.functional.pad((~kept).T.float()[None], (before, after))
    return ~torch.nn.functional.max_pool1d(drawn, before + after + 1, 1)[0].T.bool()


def reach(codec: Codec) -> tuple[int, int]:
    """Frames before and after a frame in whose samples its window begins and ends; 0 for codecs without windows."""
    framing: Framing | None = getattr(codec, "framing", None)
    if framing is None:
        return 0, 0
    return -(-framing.left // codec.hop), -(-(framing.n_fft - framing.left) // codec.hop) - 1


def fitted(item: Audio, original: Audio) -> Audio:
    """A decoded sound with the rate, channels and number of samples of the original."""
    samples = item.resampled(original.rate).samples[:, : len(original)]
    samples = np.pad(samples, ((0, 0), (0, len(original) - samples.shape[1])))
    if item.channels != original.channels:
        samples = np.repeat(samples.mean(0, keepdims=True), original.channels, 0)
    return Audio(samples, original.rate)


def restored(item: Audio, original: Audio, keep: Keep, codec: Codec, fade: float = FADE) -> Audio:
    """A decoded sound with the user's own samples where they are kept."""
    made = fitted(item, original)
    f = frequencies(codec)
    frames = -(-len(original) * codec.rate // (original.rate * codec.hop))
    frames = max(frames, -(-len(item) // codec.hop))  # of the state, with what fills its last patch
    times = (torch.arange(frames, dtype=torch.float64) + 0.5) * codec.hop / codec.rate
    coarse = keep.select(grid(times, f))
    whole = _samples_kept(keep, coarse, original, codec, f)
    drawn = torch.from_numpy(made.samples)
    own = torch.from_numpy(original.samples)
    if bool((coarse.any(1) & ~coarse.all(1)).any()):
        drawn = _joined(drawn, own, coarse, original.rate, codec, f)
    weight = torch.from_numpy(_weights(whole, round(fade * original.rate)))
    return Audio(
        torch.where(torch.from_numpy(whole), own, own + weight * (drawn - own)).numpy(), original.rate
    )


def _samples_kept(keep: Keep, coarse: Tensor, original: Audio, codec: Codec, f: Tensor) -> Flags:
    """Which samples (n,) of the original are kept at all frequencies."""
    n, rate = len(original), original.rate
    if not keep.units:  # elements of the state: each stands for a hop
        place = np.minimum(np.arange(n) * codec.rate // (rate * codec.hop), len(coarse) - 1)
        return coarse.all(1).numpy()[place]
    blocks = []
    for low in range(0, n, BLOCK):
        times = torch.arange(low, min(n, low + BLOCK), dtype=torch.float64) / rate
        blocks.append(keep.select(grid(times, f)).all(1).numpy())
    return np.concatenate(blocks)


def _weights(whole: Flags, fade: int) -> NDArray[np.float32]:
    """What share of a sample is drawn, (n,) float32: 0 where it is kept, 1 from ``fade`` samples inside a span on."""
    n = len(whole)
    weight = (~whole).astype(np.float32)
    steps = np.diff(np.concatenate([[0], (~whole).astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist()
    for low, high in zip(begins, ends, strict=True):
        count = min(fade, (high - low) // 2)
        ramp = np.sin(np.pi / 2 * (np.arange(count) + 0.5) / max(count, 1)) ** 2
        if low > 0:
            weight[low : low + count] = ramp
        if high < n:
            weight[high - count : high] = ramp[::-1]
    return weight


def _joined(drawn: Tensor, own: Tensor, coarse: Tensor, rate: int, codec: Codec, f: Tensor) -> Tensor:
    """What was drawn, (channels, n), with the bins of the user's sound where a band is kept.

    Args:
        coarse: (T, F), what is kept on the codec's grid.
        f: (F,), frequencies of that grid.
    """
    n_fft = transform(rate)
    framing = Framing(n_fft, n_fft, n_fft // 4, n_fft // 2)
    frames = framing.count(own.shape[1])
    times = torch.arange(frames, dtype=torch.float64) * framing.hop / rate
    place = (times * codec.rate / codec.hop).long().clamp(max=len(coarse) - 1)
    bins = torch.linspace(0, rate / 2, framing.bins, dtype=torch.float64)
    nearest = (bins[:, None] - f[None]).abs().argmin(1)
    keep = coarse[place][:, nearest].T  # (bins, frames)
    spectra = torch.where(keep, framing.analyse(own.double()), framing.analyse(drawn.double()))
    return framing.synthesise(spectra)[:, : own.shape[1]].float()
