"""Frames of a signal and back: the short-time Fourier transform with explicit edges.

Frame k looks at the samples k · hop − left … k · hop − left + n_fft − 1 under a periodic Hann window, n_fft wide or
centred in it. Beyond the ends of the signal, samples are reflected or zero. T frames stand for T · hop samples:

    left = n_fft / 2                the frame is centred on its first sample (librosa, torch.stft)
    left = (n_fft − hop) / 2        it is centred on the middle of its samples (HiFi-GAN, BigVGAN)

The way back is least squares (Griffin and Lim, 1984, eq. 6): overlapping frames are windowed, added, and divided by the
sum of the squared windows, so it is exact for any hop that leaves no sample without a window. What a frame or a sample
depends on is bounded, which is what makes signals of any length possible in pieces.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Circle", "Framing"]

PADS = ("reflect", "constant")


@dataclass(frozen=True)
class Framing:
    """How a signal is cut into frames.

    Args:
        n_fft: samples of a frame, even.
        win: of the window, at most n_fft.
        hop: samples from one frame to the next.
        left: samples of a frame before the first that it stands for.
        pad: "reflect" or "constant" (zeros) beyond the ends.
    """

    n_fft: int
    win: int
    hop: int
    left: int
    pad: str = "reflect"

    @property
    def bins(self) -> int:
        """Frequencies of a frame."""
        return self.n_fft // 2 + 1

    @property
    def margin(self) -> int:
        """Frames on each side beyond which no samples are shared with a frame, or with the samples it stands for."""
        return -(-self.n_fft // self.hop)

    def count(self, samples: int) -> int:
        """Frames that stand for so many samples, ⌈n / hop⌉."""
        return -(-samples // self.hop)

    def cut(self, x: Tensor, frames: int | None = None) -> Tensor:
        """Windowed frames (B, T, n_fft) of signals (B, n); T = :meth:`count` unless given."""
        frames = self.count(x.shape[1]) if frames is None else frames
        right = (frames - 1) * self.hop + self.n_fft - self.left - x.shape[1]
        if right < 0:
            x, right = x[:, :right], 0
        short = max(self.left, right) + 1 - x.shape[1]
        if (
            self.pad == "reflect" and short > 0
        ):  # too short to be reflected: zeros first, then nothing is missing
            x, right = F.pad(x, (0, short)), max(0, right - short)
        x = F.pad(x, (self.left, right), mode=self.pad)
        return x.unfold(1, self.n_fft, self.hop)[:, :frames] * self.window(x)

    def analyse(self, x: Tensor, frames: int | None = None) -> Tensor:
        """Spectra (B, bins, T) of signals (B, n), complex; T = :meth:`count` unless given."""
        return torch.fft.rfft(self.cut(x, frames)).transpose(1, 2)

    def synthesise(self, spectra: Tensor) -> Tensor:
        """The signals (B, T · hop) whose spectra are nearest to (B, bins, T)."""
        frames = spectra.shape[2]
        window = self.window(spectra.real)
        pieces = torch.fft.irfft(spectra.transpose(1, 2), n=self.n_fft) * window  # (B, T, n_fft)
        size = (1, (frames - 1) * self.hop + self.n_fft)
        total = F.fold(pieces.transpose(1, 2), size, (1, self.n_fft), stride=(1, self.hop))[:, 0, 0]
        squares = window.square()[None, :, None].expand(1, -1, frames)
        weight = F.fold(squares, size, (1, self.n_fft), stride=(1, self.hop))[:, 0, 0]
        here = slice(self.left, self.left + frames * self.hop)
        return total[:, here] / weight[:, here].clamp(min=1e-11)

    def window(self, like: Tensor) -> Tensor:
        """(n_fft,), of the dtype and device of ``like``."""
        return _window(self.win, self.n_fft, like.dtype, like.device)


@dataclass(frozen=True)
class Circle(Framing):
    """Frames of a signal on a circle, whose beginning follows its end: nothing is padded.

    The signal has a whole number of hops; it may be shorter than a frame.
    """

    @staticmethod
    def of(framing: Framing) -> Circle:
        """The same frames on a circle."""
        return Circle(framing.n_fft, framing.win, framing.hop, framing.left, framing.pad)

    def places(self, frames: int, device: torch.device) -> Tensor:
        """The sample at each place of each of T frames, (T · n_fft,)."""
        first = torch.arange(frames, device=device)[:, None] * self.hop - self.left
        return ((first + torch.arange(self.n_fft, device=device)) % (frames * self.hop)).flatten()

    def cut(self, x: Tensor, frames: int | None = None) -> Tensor:
        """Windowed frames (B, T, n_fft) of signals (B, T · hop).

        Raises:
            ValueError: signals that are no whole number of hops long.
        """
        count, rest = divmod(x.shape[1], self.hop)
        if rest or frames not in (None, count):
            raise ValueError(
                f"a signal on a circle has a whole number of {self.hop} samples, got {x.shape[1]}"
            )
        taken = x[:, self.places(count, x.device)]
        return taken.unflatten(1, (count, self.n_fft)) * self.window(x)

    def synthesise(self, spectra: Tensor) -> Tensor:
        """The signals (B, T · hop) on a circle whose spectra are nearest to (B, bins, T)."""
        rows, _, frames = spectra.shape
        window = self.window(spectra.real)
        pieces = torch.fft.irfft(spectra.transpose(1, 2), n=self.n_fft) * window  # (B, T, n_fft)
        places = self.places(frames, spectra.device)
        total = window.new_zeros(rows, frames * self.hop).index_add_(1, places, pieces.flatten(1))
        weight = window.new_zeros(frames * self.hop).index_add_(0, places, window.square().repeat(frames))
        return total / weight.clamp(min=1e-11)


@functools.lru_cache(maxsize=16)
def _window(win: int, n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    before = (n_fft - win) // 2
    hann = torch.hann_window(win, dtype=torch.float64)
    return F.pad(hann, (before, n_fft - win - before)).to(device, dtype)
