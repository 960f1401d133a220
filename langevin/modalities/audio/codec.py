"""Codecs of sounds: native sounds ↔ the state that is diffused, (B, C, F, T).

T frames stand for T · hop samples; a sound whose length is no multiple of the hop is followed by silence. Each sound is
encoded by itself, at its own length, and shorter ones of a batch are followed by the state of silence, so that a sound's
state depends neither on its batch nor on what follows it.

    LogMel          C = 1, F mels; decoding needs a vocoder
    ComplexSTFT     C = 2 (real and imaginary part), F = n_fft / 2; exactly invertible

The statistics that bring a state to about zero mean and unit variance are part of the codec, so nothing that scales or
shifts has to travel beside a model. :mod:`langevin.modalities.audio.chunks` encodes and decodes long sounds in pieces.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from langevin.core.registry import Registry
from langevin.modalities.audio.framing import Framing
from langevin.modalities.audio.mel import MelSpec
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.vocoders import GriffinLim, Vocoder

__all__ = ["CODECS", "Codec", "ComplexSTFT", "LogMel", "checked", "fed", "sums"]

SMALLEST_STD = 1e-2  # of a bin; one that hardly varies is left near zero instead of being blown up


class Codec(Protocol):
    """What a sound modality needs of its encoder and decoder.

    Attributes:
        rate: of the sounds, Hz; others are resampled.
        channels: C of the state.
        bins: F of the state.
        hop: samples of one frame of the state.
        encode_margin: frames on each side whose samples a frame of the state may depend on.
        decode_margin: frames on each side that the samples of a frame may depend on.

    A codec of stereo sounds has an attribute ``sound_channels`` of 2; without it sounds are mono.
    """

    @property
    def rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def bins(self) -> int: ...

    @property
    def hop(self) -> int: ...

    @property
    def encode_margin(self) -> int: ...

    @property
    def decode_margin(self) -> int: ...

    def encode(self, sounds: Sequence[Audio]) -> Tensor:
        """Sounds to states (B, C, F, T), float32, about unit scale; T is that of the longest."""
        ...

    def decode(self, state: Tensor, start: int = 0) -> list[Audio]:
        """States to sounds of T · hop samples.

        Args:
            state: (B, C, F, T).
            start: place of the first frame in a longer sound.
        """
        ...

    def frames(self, seconds: float) -> int:
        """T of so many seconds."""
        ...

    def seconds(self, frames: int) -> float:
        """Duration of so many frames."""
        ...


def fed(codec: Any, sound: Audio) -> Audio:
    """A sound with the rate and the channels that a codec takes."""
    both = getattr(codec, "sound_channels", 1) == 2
    return (sound.stereo() if both else sound.mono()).resampled(codec.rate)


def checked(codec: Any, state: Tensor) -> Tensor:
    """A codec's states in float32.

    Raises:
        ValueError: another shape than (B, C, F, T), NaN or infinity.
    """
    if state.ndim != 4 or state.shape[1:3] != (codec.channels, codec.bins) or not state.shape[3]:
        raise ValueError(
            f"states must have shape (B, {codec.channels}, {codec.bins}, T); got {tuple(state.shape)}"
        )
    bad = (~torch.isfinite(state)).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"states must be finite; NaN or infinity in sample {', '.join(map(str, bad[:8]))}")
    return state.float()


class _Framed(Codec, Protocol):
    """A codec whose frames are those of a short-time Fourier transform."""

    @property
    def framing(self) -> Framing: ...


class _Spectral:
    """What the codecs of spectra share."""

    @property
    def encode_margin(self: _Framed) -> int:
        return self.framing.margin

    def frames(self: _Framed, seconds: float) -> int:
        return max(1, self.framing.count(round(seconds * self.rate)))

    def seconds(self: _Framed, frames: int) -> float:
        return frames * self.hop / self.rate

    @torch.no_grad()
    def _encode(
        self: _Framed, sounds: Sequence[Audio], analyse: Callable[[Tensor], Tensor], silence: Tensor
    ) -> Tensor:
        """States of sounds, those of one length together.

        Args:
            sounds: any rate, any number of channels.
            analyse: samples (B, T · hop) to states (B, C, F, T).
            silence: the state of silence (C, F, 1).
        """
        if not len(sounds):
            raise ValueError("there are no sounds to encode")
        signals = [torch.from_numpy(fed(self, sound).samples[0]) for sound in sounds]
        counts = [self.framing.count(len(signal)) for signal in signals]
        state = silence.expand(len(sounds), self.channels, self.bins, max(counts)).clone()
        for count in sorted(set(counts)):
            rows = [i for i, c in enumerate(counts) if c == count]
            x = torch.zeros(len(rows), count * self.hop)
            for row, i in enumerate(rows):
                x[row, : len(signals[i])] = signals[i]
            state[rows, :, :, :count] = analyse(x)
        return state


CODECS = Registry("audio codec", Codec)


@CODECS.register("log_mel")
@dataclass(frozen=True)
class LogMel(_Spectral):
    """Log-mel spectrograms, (log_mel − mean) / std in each bin.

    Args:
        spec: of the spectrogram.
        mean, std: (mels,); 0 and 1 when empty. :meth:`fitted` takes them from sounds.
        vocoder: makes sound; Griffin-Lim when None.

    Raises:
        ValueError: statistics of another length, a std that is not positive, or a vocoder of another specification.
    """

    spec: MelSpec
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    vocoder: Vocoder | None = None

    def __post_init__(self) -> None:
        mels = self.spec.mels
        for name, neutral in (("mean", 0.0), ("std", 1.0)):
            values = tuple(float(v) for v in getattr(self, name)) or (neutral,) * mels
            if len(values) != mels:
                raise ValueError(f"{name} must have one value for each of {mels} mels; got {len(values)}")
            object.__setattr__(self, name, values)
        if not min(self.std) > 0:
            raise ValueError(f"std must be positive in every bin; got {min(self.std)}")
        if self.vocoder is None:
            object.__setattr__(self, "vocoder", GriffinLim(self.spec))
        assert self.vocoder is not None
        different = self.vocoder.spec.differences(self.spec)
        if different:
            raise ValueError(
                f"the vocoder was made for another spectrogram than the codec's: {', '.join(different)}"
            )

    channels: ClassVar[int] = 1

    @property
    def rate(self) -> int:
        return self.spec.rate

    @property
    def bins(self) -> int:
        return self.spec.mels

    @property
    def hop(self) -> int:
        return self.spec.hop

    @property
    def framing(self) -> Framing:
        return self.spec.framing

    @property
    def decode_margin(self) -> int:
        assert self.vocoder is not None
        return self.vocoder.margin

    def _column(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values)[:, None]  # (F, 1)

    def log_mel(self, state: Tensor) -> Tensor:
        """What the vocoder is given: (B, mels, T), not below the value of silence."""
        x = checked(self, state)[:, 0]
        x = x * self._column(self.std).to(x) + self._column(self.mean).to(x)
        return x.clamp(min=self.spec.lowest)

    def levels(self, state: Tensor) -> Tensor:
        """:meth:`log_mel` in dB."""
        decade = math.log(10) if self.spec.log == "ln" else 1.0
        return self.log_mel(state) * (20 / (self.spec.power * decade))

    def encode(self, sounds: Sequence[Audio]) -> Tensor:
        mean, std = self._column(self.mean), self._column(self.std)

        def analyse(x: Tensor) -> Tensor:
            log_mel = self.spec.spectrogram(
                x.double(), x.shape[1] // self.hop
            )  # floors lie below float32's rounding
            return ((log_mel - mean) / std)[:, None].float()

        return self._encode(sounds, analyse, ((self.spec.lowest - mean) / std)[None])

    def decode(self, state: Tensor, start: int = 0) -> list[Audio]:
        assert self.vocoder is not None
        samples = self.vocoder(self.log_mel(state), start).cpu().numpy()
        return [Audio(row, self.rate) for row in samples]

    def fitted(self, sounds: Iterable[Audio]) -> LogMel:
        """The codec with the mean and standard deviation of each bin over all frames of some sounds.

        Raises:
            ValueError: no sounds.
        """
        raw = dataclasses.replace(self, mean=(), std=())
        count, total, square = sums(raw, sounds)
        mean = total[0] / count
        std = (square[0] / count - mean.square()).clamp(min=0).sqrt().clamp(min=SMALLEST_STD)
        return dataclasses.replace(self, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


@CODECS.register("complex_stft")
@dataclass(frozen=True)
class ComplexSTFT(_Spectral):
    """The short-time Fourier transform S with compressed magnitudes, |S|^exponent e^{i arg S} / scale (Welker et al., 2022).

    S is real at the lowest and at the highest frequency; the latter takes the place of the former's imaginary part, so
    the state has n_fft / 2 rows and nothing is lost.

    Args:
        rate: Hz.
        n_fft: samples of a frame, even.
        hop: samples from one frame to the next, at most n_fft / 2.
        exponent: in (0, 1]; below 1 it lifts what is quiet.
        scale: one number, or one for each of the n_fft / 2 rows. :meth:`fitted` takes them from sounds.

    Raises:
        ValueError: numbers out of range.
    """

    rate: int
    n_fft: int
    hop: int
    exponent: float = 0.5
    scale: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(float(v) for v in self.scale))
        if self.rate < 1 or self.n_fft < 4 or self.n_fft % 2 or not 1 <= self.hop <= self.n_fft // 2:
            raise ValueError(
                "rate must be positive, n_fft even and from 4, hop 1 … n_fft / 2; "
                f"got {self.rate}, {self.n_fft} and {self.hop}"
            )
        if not 0 < self.exponent <= 1:
            raise ValueError(f"exponent must be in (0, 1]; got {self.exponent}")
        if len(self.scale) not in (1, self.n_fft // 2) or not min(self.scale) > 0:
            raise ValueError(f"scale must be one positive number, or {self.n_fft // 2} of them")

    channels: ClassVar[int] = 2

    @property
    def bins(self) -> int:
        return self.n_fft // 2

    @property
    def framing(self) -> Framing:
        return Framing(self.n_fft, self.n_fft, self.hop, self.n_fft // 2)

    @property
    def decode_margin(self) -> int:
        return self.framing.margin

    def _scale(self, like: Tensor) -> Tensor:
        return torch.tensor(self.scale).to(like)[:, None]  # (F, 1)

    def encode(self, sounds: Sequence[Audio]) -> Tensor:
        def analyse(x: Tensor) -> Tensor:
            full = self.framing.analyse(x)  # (B, F + 1, T)
            z = full[:, :-1].clone()
            z[:, 0] = torch.complex(full[:, 0].real, full[:, -1].real)
            z = torch.polar(z.abs() ** self.exponent, z.angle())
            return torch.stack([z.real, z.imag], 1) / self._scale(x)

        return self._encode(sounds, analyse, torch.zeros(2, self.bins, 1))

    def decode(self, state: Tensor, start: int = 0) -> list[Audio]:
        x = checked(self, state)
        x = x * self._scale(x)
        z = torch.complex(x[:, 0], x[:, 1])
        z = torch.polar(z.abs() ** (1 / self.exponent), z.angle())
        low, high = (torch.complex(part, torch.zeros_like(part)) for part in (z[:, :1].real, z[:, :1].imag))
        samples = self.framing.synthesise(torch.cat([low, z[:, 1:], high], 1))
        return [Audio(row, self.rate) for row in samples.cpu().numpy()]

    def fitted(self, sounds: Iterable[Audio]) -> ComplexSTFT:
        """The codec with the root mean square of each row over all frames of some sounds as its scale.

        Raises:
            ValueError: no sounds.
        """
        count, _, square = sums(dataclasses.replace(self, scale=(1.0,)), sounds)
        rms = (square.sum(0) / (2 * count)).sqrt().clamp(min=SMALLEST_STD)
        return dataclasses.replace(self, scale=tuple(rms.tolist()))


def sums(codec: Codec, sounds: Iterable[Audio]) -> tuple[int, Tensor, Tensor]:
    """Number of frames, and sums and sums of squares over them, (C, F) in float64."""
    count = 0
    total = square = torch.zeros(codec.channels, codec.bins, dtype=torch.float64)
    for sound in sounds:
        state = codec.encode([sound])[0].double()
        count += state.shape[2]
        total = total + state.sum(2)
        square = square + state.square().sum(2)
    if not count:
        raise ValueError("the statistics of a codec need at least one sound")
    return count, total, square
