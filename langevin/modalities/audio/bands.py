"""Power in mel bands, for measuring and listening machines; what codecs invert is in mel.py.

Bands are triangles on the HTK mel scale, mel(f) = 2595 log10(1 + f / 700), from 0 Hz to half the rate, each with weights
of sum 1: a band holds the mean power of its bins. Powers are |X|² / Σ w² of a Hann window w, so that white noise of
variance s² has s² in every bin and band; 0 dB is a power of 1.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from langevin.modalities.audio.mel import MelSpec
from langevin.modalities.audio.sound import Audio

__all__ = ["FLOOR", "band_power", "banks", "log_mel", "power", "transform"]

FLOOR = 1e-10  # of powers: −100 dB


def transform(rate: int, seconds: float = 0.032) -> int:
    """The least power of two of samples that lasts ``seconds``, at least 32."""
    return int(max(32, 2 ** math.ceil(math.log2(seconds * rate))))


@functools.lru_cache(maxsize=16)
def banks(rate: int, n_fft: int, mels: int) -> Tensor:
    """Weights of bins in bands, (bins, mels), float64.

    Raises:
        ValueError: bands into which no bin falls.
    """
    weights = MelSpec(rate, n_fft, n_fft, n_fft // 2, mels, norm=None, scale="htk").filterbank.T
    return weights / weights.sum(0)


def power(x: Tensor, n_fft: int, hop: int, window: int | None = None) -> Tensor:
    """|X|² (..., bins, frames) of samples (..., n): Hann window, frames centred, ends reflected.

    Raises:
        ValueError: not more samples than half a transform, which is what is reflected.
    """
    if x.shape[-1] <= n_fft // 2:
        raise ValueError(
            f"a transform of {n_fft} samples needs more than {n_fft // 2}; got {x.shape[-1]}: "
            "give a smaller n_fft"
        )
    width = window or n_fft
    shape = torch.hann_window(width, dtype=x.dtype, device=x.device)
    found = torch.stft(x.reshape(-1, x.shape[-1]), n_fft, hop, width, shape, return_complex=True)
    squares = found.real**2 + found.imag**2
    return squares.reshape(*x.shape[:-1], *squares.shape[1:])


def band_power(x: Tensor, rate: int, mels: int, n_fft: int, hop: int) -> Tensor:
    """Power (..., mels, frames) in bands of samples (..., n), which may be float32."""
    weight = float(torch.hann_window(n_fft).square().sum())
    inside = banks(rate, n_fft, mels).to(x.dtype)
    return (power(x, n_fft, hop).transpose(-1, -2) @ inside / weight).transpose(-1, -2)


def log_mel(sound: Audio, rate: int, mels: int = 40, seconds: float = 0.032) -> Tensor:
    """Levels (mels, frames) of a sound in dB, at least −100, float32; half a window apart.

    Args:
        rate: Hz, to which the sound is brought, as one channel.
        mels: bands.
        seconds: of the window, rounded up to a power of two of samples; a shorter sound is padded with silence.
    """
    x = torch.from_numpy(sound.mono().resampled(rate).samples[0])
    n_fft = transform(rate, seconds)
    x = F.pad(x, (0, max(0, n_fft - len(x))))
    return 10 * torch.log10(band_power(x, rate, mels, n_fft, n_fft // 2).clamp_min(FLOOR))
