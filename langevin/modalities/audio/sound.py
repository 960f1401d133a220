"""A sound: samples and their rate.

    samples     float32 (channels, n); full scale is [−1, 1], and values beyond it are kept until a file is written
    rate        samples per second of one channel, Hz

Levels are in decibels below full scale: a peak of −1 dBFS is 10^(−1/20) = 0.891. Loudness is that of ITU-R
BS.1770-4, in LUFS, computed by pyloudnorm: K-weighted mean squares of blocks of 400 ms, gated. A sound that is
shorter than a block is one block.

Resampling convolves with a Kaiser-windowed sinc of 64 zero crossings that passes up to 0.948 of the lower Nyquist
frequency; ratios of any two rates are exact.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langevin import optional

__all__ = ["Audio", "decibels", "filter_reach", "level"]

Samples = NDArray[np.float32]

BLOCK = 0.4  # s, of BS.1770
CROSSINGS, ROLLOFF, BETA = 64, 0.9475937167399596, 14.769656459379492  # as resampy's kaiser_best


def decibels(amplitude: float) -> float:
    """20 log10 of an amplitude; −inf of zero."""
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def level(samples: Samples, rate: int, window: float = 0.05) -> float:
    """Root mean square of the loudest stretch of ``window`` seconds, over all channels, in dBFS.

    Short events in long silence have the level of the event.
    """
    width = max(1, min(samples.shape[1], round(window * rate)))
    power = np.square(samples, dtype=np.float64).mean(0)
    sums = np.add.reduceat(power, np.arange(0, len(power), width))
    return decibels(math.sqrt(float(sums.max()) / width))


@functools.lru_cache(maxsize=4)
def _taps(factor: int) -> Samples:
    """A low-pass filter for signals at the common multiple of two rates, of which the lower is 1 / factor."""
    half = math.ceil(CROSSINGS * factor / ROLLOFF)
    t = np.arange(-half, half + 1) * (ROLLOFF / factor)
    kaiser = np.i0(BETA * np.sqrt(np.clip(1 - (t / CROSSINGS) ** 2, 0, 1))) / np.i0(BETA)
    taps = np.sinc(t) * kaiser
    return (taps / taps.sum()).astype(np.float32)


def filter_reach(old: int, new: int) -> int:
    """Samples on each side that a resampled sample depends on, at the old rate."""
    up, down = new // math.gcd(old, new), old // math.gcd(old, new)
    return -(-(len(_taps(max(up, down))) // 2 + down) // up)


@dataclass(frozen=True, eq=False)
class Audio:
    """Samples and their rate.

    Args:
        samples: (channels, n), or (n,) for one channel; floats, or int16, which is divided by 32768. An array or a
            tensor.
        rate: Hz.
        loop: whether the beginning follows the end, so that it can be repeated without a seam.

    Raises:
        ValueError: no samples, NaN or infinity, another shape or type, or a rate that is no positive whole number.
    """

    samples: Samples
    rate: int
    loop: bool = False

    def __post_init__(self) -> None:
        given: NDArray[Any] = np.asarray(self.samples)
        if given.dtype == np.int16:
            given = given.astype(np.float32) / 32768
        if given.dtype.kind != "f":
            raise ValueError(f"samples must be floats in [−1, 1] or int16; got {given.dtype}")
        samples = np.ascontiguousarray(np.atleast_2d(given), dtype=np.float32)
        if samples.ndim != 2 or 0 in samples.shape:
            raise ValueError(f"samples must have shape (channels, n), none of them 0; got {given.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("samples must be finite; they hold NaN or infinity")
        if isinstance(self.rate, bool) or int(self.rate) != self.rate or self.rate < 1:
            raise ValueError(f"rate must be a positive whole number of Hz; got {self.rate!r}")
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "rate", int(self.rate))

    def __len__(self) -> int:
        return int(self.samples.shape[1])

    def __repr__(self) -> str:
        channels = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels")
        kind = ", loop" if self.loop else ""
        return f"Audio({self.seconds:.3f} s, {self.rate} Hz, {channels}, peak {decibels(self.peak):.1f} dBFS{kind})"

    @property
    def channels(self) -> int:
        """1 is mono, 2 stereo."""
        return int(self.samples.shape[0])

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self) / self.rate

    @property
    def peak(self) -> float:
        """Largest absolute value; 1 is full scale."""
        return float(np.abs(self.samples).max())

    @property
    def loudness(self) -> float:
        """Integrated loudness in LUFS; −inf where every block lies below −70 LUFS.

        Raises:
            ValueError: more than five channels, for which BS.1770 has no weights.
        """
        if self.channels > 5:
            raise ValueError(f"loudness is defined for up to 5 channels; this sound has {self.channels}")
        block = min(BLOCK, self.seconds * (1 - 1e-9))  # its own length must not seem shorter by rounding
        meter = optional.pyloudnorm().Meter(self.rate, block_size=block)
        with np.errstate(all="ignore"):
            return float(meter.integrated_loudness(self.samples.T.astype(np.float64)))

    def mono(self) -> Audio:
        """One channel, the mean of all."""
        return self if self.channels == 1 else replace(self, samples=self.samples.mean(0, keepdims=True))

    def stereo(self) -> Audio:
        """Two channels: the same twice of a mono sound, and the mean of all twice of one with more than two."""
        return self if self.channels == 2 else replace(self, samples=np.repeat(self.mono().samples, 2, 0))

    def resampled(self, rate: int) -> Audio:
        """The sound at another rate, ⌈n · rate / old rate⌉ samples long.

        A loop stays one where that is a whole number; of another length it is a sound with ends.

        Raises:
            ValueError: a rate that is no positive whole number.
        """
        if isinstance(rate, bool) or int(rate) != rate or rate < 1:
            raise ValueError(f"rate must be a positive whole number of Hz; got {rate!r}")
        if rate == self.rate:
            return self
        from scipy.signal import resample_poly

        up, down = int(rate) // math.gcd(int(rate), self.rate), self.rate // math.gcd(int(rate), self.rate)
        samples, whole = self.samples, self.loop and len(self) % down == 0
        lead = -(-filter_reach(self.rate, int(rate)) // down) if whole else 0  # in steps that both rates have
        if whole:  # the filter goes around
            samples = np.pad(samples, ((0, 0), (lead * down, lead * down)), mode="wrap")
        made = resample_poly(samples, up, down, axis=1, window=_taps(max(up, down)))
        return Audio(made[:, lead * up : made.shape[1] - lead * up], int(rate), loop=whole)

    def cropped(self, start: float = 0.0, seconds: float | None = None) -> Audio:
        """A part of the sound.

        Args:
            start: in seconds.
            seconds: duration; to the end when None.

        Raises:
            ValueError: it does not lie within the sound.
        """
        first = round(start * self.rate)
        last = len(self) if seconds is None else first + round(seconds * self.rate)
        if not 0 <= first < last <= len(self):
            asked = f"{start:g} s to " + ("the end" if seconds is None else f"{start + seconds:g} s")
            raise ValueError(f"{asked} is no part of a sound of {self.seconds:g} s")
        return Audio(self.samples[:, first:last], self.rate)

    def scaled(self, gain: float) -> Audio:
        """The sound louder by ``gain`` dB."""
        return replace(self, samples=self.samples * np.float32(10 ** (gain / 20)))

    def normalised(self, lufs: float | None = None, peak: float | None = None) -> Audio:
        """The sound brought to a loudness or to a peak; silence as it is.

        Args:
            lufs: loudness in LUFS (−23 is EBU R 128, −14 usual for streaming). The peak may then pass full scale.
            peak: in dBFS.

        Raises:
            ValueError: both are given, or neither.
        """
        if (lufs is None) == (peak is None):
            raise ValueError("normalised takes either lufs= or peak=")
        now = self.loudness if lufs is not None else decibels(self.peak)
        target = lufs if lufs is not None else peak
        assert target is not None
        return self if math.isinf(now) else self.scaled(target - now)

    def play(self) -> Any:
        """A player for notebooks.

        Raises:
            MissingPackage: IPython is not installed.
        """
        audible = self.samples / max(1.0, self.peak)
        return optional.ipython().display.Audio(audible, rate=self.rate, normalize=False)

    def spectrogram(self) -> Any:
        """A PIL image of the spectrogram."""
        from langevin.modalities.audio.view import picture

        return picture(self)

    def save(self, path: str | Path, bits: int = 16, clip: str = "guard") -> str:
        """Writes a file; see :func:`langevin.modalities.audio.files.write`."""
        from langevin.modalities.audio.files import write

        return write(self, path, bits=bits, clip=clip)
