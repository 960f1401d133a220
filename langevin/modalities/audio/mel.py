"""Mel spectrograms, and everything that two programs must agree on to exchange them.

    S = |STFT(x)|^power,    M = filterbank · S,    L = log(max(M, floor))

The filters are triangles whose corners are evenly spaced in mel, between fmin and fmax: "htk", 2595 log10(1 + f / 700);
"slaney", linear up to 1 kHz and logarithmic above (Slaney, Auditory Toolbox, 1998). With norm "slaney" each has unit area
in Hz. A vocoder that was trained on another specification gives noise, or speech at another pitch, without any error; so
the specification travels with a model, and :meth:`MelSpec.differences` says what does not agree.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from langevin.core.errors import unknown
from langevin.modalities.audio.framing import Framing

__all__ = ["PRESETS", "MelSpec", "named", "nearest", "preset"]


@dataclass(frozen=True)
class MelSpec:
    """A log-mel spectrogram.

    Args:
        rate: Hz.
        n_fft: samples of a frame, even.
        win: of its Hann window.
        hop: samples from one frame to the next.
        mels: number of filters.
        fmin, fmax: Hz, the lower end of the first filter and the upper end of the last.
        power: of the magnitudes, 1 or 2.
        norm: "slaney" for filters of unit area, None for filters of unit height.
        scale: "slaney" or "htk".
        centre: frames are centred on multiples of the hop; else on the middle of the hop's samples.
        pad: "reflect" or "constant", beyond the ends.
        log: "ln" or "log10".
        floor: mel energies below it are raised to it.
        epsilon: added to squared magnitudes, as HiFi-GAN and its successors do.

    Raises:
        ValueError: numbers that cannot be, or filters that no frequency falls into.
    """

    rate: int
    n_fft: int
    win: int
    hop: int
    mels: int
    fmin: float = 0.0
    fmax: float | None = None
    power: int = 1
    norm: Literal["slaney"] | None = "slaney"
    scale: Literal["slaney", "htk"] = "slaney"
    centre: bool = True
    pad: Literal["reflect", "constant"] = "reflect"
    log: Literal["ln", "log10"] = "ln"
    floor: float = 1e-5
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fmax", self.rate / 2 if self.fmax is None else float(self.fmax))
        object.__setattr__(self, "fmin", float(self.fmin))
        if min(self.rate, self.n_fft, self.win, self.hop, self.mels) < 1 or self.n_fft % 2:
            raise ValueError(f"rate, n_fft, win, hop and mels must be positive, n_fft even; got {self}")
        if self.win > self.n_fft or 2 * self.hop > self.win:
            raise ValueError(
                f"win must be at most n_fft ({self.n_fft}) and at least twice hop ({self.hop}); got {self.win}"
            )
        assert self.fmax is not None
        if not 0 <= self.fmin < self.fmax <= self.rate / 2:
            raise ValueError(
                f"0 ≤ fmin < fmax ≤ {self.rate / 2:g} Hz is needed; got {self.fmin} and {self.fmax}"
            )
        if not self.floor > 0 or self.epsilon < 0:
            raise ValueError(f"floor must be above 0 and epsilon from 0; got {self.floor} and {self.epsilon}")
        for name, allowed in (
            ("power", (1, 2)),
            ("norm", ("slaney", None)),
            ("scale", ("slaney", "htk")),
            ("pad", ("reflect", "constant")),
            ("log", ("ln", "log10")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(unknown(f"value of {name}", getattr(self, name), allowed))
        empty = (self.filterbank.sum(1) == 0).nonzero().flatten().tolist()
        if empty:
            raise ValueError(
                f"{len(empty)} of {self.mels} filters are narrower than the {self.rate / self.n_fft:g} Hz from one "
                f"frequency to the next, the first of them {empty[0]}: fewer mels or a larger n_fft"
            )

    @property
    def framing(self) -> Framing:
        """How the signal is cut."""
        left = self.n_fft // 2 if self.centre else (self.n_fft - self.hop) // 2
        return Framing(self.n_fft, self.win, self.hop, left, self.pad)

    @property
    def filterbank(self) -> Tensor:
        """(mels, n_fft / 2 + 1), float64."""
        return _filterbank(
            self.rate, self.n_fft, self.mels, self.fmin, self.fmax or self.rate / 2, self.norm, self.scale
        )

    @property
    def inverse(self) -> Tensor:
        """The pseudo-inverse of the filterbank, (n_fft / 2 + 1, mels), float64."""
        return _inverse(self)

    @property
    def lowest(self) -> float:
        """The value of silence, the logarithm of the floor."""
        return math.log(self.floor) / (math.log(10) if self.log == "log10" else 1)

    def frames_of(self, samples: int) -> int:
        """Frames of :meth:`spectrogram` for so many samples."""
        return samples // self.hop + (1 if self.centre else 0)

    def samples_of(self, frames: int) -> int:
        """The fewest samples of which :meth:`spectrogram` makes so many frames."""
        return self.hop * (frames - 1 if self.centre else frames)

    def spectrogram(self, samples: Tensor, frames: int | None = None) -> Tensor:
        """Log-mel spectrograms (B, mels, frames) of samples (B, n), in their dtype.

        Args:
            samples: float32 or float64; in float32 what is far below the loudest of its frame is lost in rounding.
            frames: of the result; :meth:`frames_of` n by default.

        Raises:
            ValueError: another shape, or too few samples for one frame.
        """
        if samples.ndim != 2 or 0 in samples.shape:
            raise ValueError(f"samples must have shape (B, n), none of them 0; got {tuple(samples.shape)}")
        frames = self.frames_of(samples.shape[1]) if frames is None else frames
        if frames < 1:
            raise ValueError(f"{samples.shape[1]} samples are fewer than the {self.hop} of a frame")
        squared = _squared(self.framing.analyse(samples, frames)) + self.epsilon
        energy = squared if self.power == 2 else squared.sqrt()  # (B, bins, T)
        with torch.autocast(energy.device.type, enabled=False):
            mel = torch.matmul(self.filterbank.to(energy), energy).clamp(min=self.floor)
        return mel.log() if self.log == "ln" else mel.log10()

    def magnitudes(self, log_mel: Tensor) -> Tensor:
        """The least-squares magnitudes |STFT| (B, bins, T), negative ones raised to 0, of log-mel (B, mels, T)."""
        mel = log_mel.exp() if self.log == "ln" else 10**log_mel
        with torch.autocast(mel.device.type, enabled=False):
            energy = torch.matmul(self.inverse.to(mel), mel).clamp(min=0)
        return energy if self.power == 1 else energy.sqrt()

    def differences(self, other: MelSpec) -> list[str]:
        """What the two do not agree on, as "hop 160 and 256"; empty where they are the same."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [f"{name} {a} and {b}" for name, a, b in pairs if a != b]


def _squared(z: Tensor) -> Tensor:
    return z.real.square() + z.imag.square()


def _to_mel(f: Tensor, scale: str) -> Tensor:
    if scale == "htk":
        return 2595 * torch.log10(1 + f / 700)
    return torch.where(f < 1000, 3 * f / 200, 15 + torch.log(f.clamp(min=1) / 1000) * 27 / math.log(6.4))


def _to_hz(m: Tensor, scale: str) -> Tensor:
    if scale == "htk":
        return 700 * (10 ** (m / 2595) - 1)
    return torch.where(m < 15, 200 * m / 3, 1000 * torch.exp((m - 15) * math.log(6.4) / 27))


@functools.lru_cache(maxsize=16)
def _filterbank(
    rate: int, n_fft: int, mels: int, fmin: float, fmax: float, norm: str | None, scale: str
) -> Tensor:
    own: dict[str, Any] = {
        "dtype": torch.float64,
        "device": "cpu",
    }  # where networks are being built elsewhere, too
    first, last = _to_mel(torch.tensor([fmin, fmax], **own), scale).tolist()
    corners = _to_hz(torch.linspace(first, last, mels + 2, **own), scale)  # Hz
    f = torch.linspace(0, rate / 2, n_fft // 2 + 1, **own)
    low, peak, high = (corners[i : mels + i, None] for i in range(3))
    filters = torch.minimum((f - low) / (peak - low), (high - f) / (high - peak)).clamp(min=0)
    return filters * 2 / (high - low) if norm == "slaney" else filters


@functools.lru_cache(maxsize=16)
def _inverse(spec: MelSpec) -> Tensor:
    return torch.linalg.pinv(spec.filterbank)


# AudioLDM: audioldm/audio/stft.py and its configuration; BigVGAN: meldataset.py, configs/bigvgan_24khz_100band.json; Vocos:
# feature_extractors.py; SpeechT5: transformers.SpeechT5FeatureExtractor.
PRESETS: dict[str, MelSpec] = {
    "audioldm-16k": MelSpec(16000, 1024, 1024, 160, 64, 0, 8000),
    "bigvgan-24k": MelSpec(24000, 1024, 1024, 256, 100, 0, 12000, centre=False, epsilon=1e-9),
    "vocos-24k": MelSpec(24000, 1024, 1024, 256, 100, norm=None, scale="htk", floor=1e-7),
    "hifigan-16k": MelSpec(16000, 1024, 1024, 256, 80, 80, 7600, log="log10", floor=1e-10),
    "speech-8k": MelSpec(8000, 512, 512, 128, 64, floor=1e-4),  # 88 dB below the loudest of spoken digits
}


def preset(name: str, **changes: Any) -> MelSpec:
    """A preset, with some of its fields changed.

    Raises:
        ValueError: an unknown preset or field, or values that cannot be.
    """
    if name not in PRESETS:
        raise ValueError(unknown("mel preset", name, PRESETS))
    known = [f.name for f in fields(MelSpec)]
    for key in changes:
        if key not in known:
            raise ValueError(unknown("field of a mel spectrogram", key, known))
    return replace(PRESETS[name], **changes)


def named(node: Any) -> MelSpec:
    """The specification that a configuration says: a preset's name, {preset: name, …} with some fields changed, or fields.

    Raises:
        ValueError: an unknown preset or field, missing ones, or values that cannot be.
    """
    if isinstance(node, str):
        return preset(node)
    if "preset" in node:
        return preset(node["preset"], **{k: v for k, v in node.items() if k != "preset"})
    known = [f.name for f in fields(MelSpec)]
    for key in node:
        if key not in known:
            raise ValueError(unknown("field of a mel spectrogram", key, known))
    try:
        return MelSpec(**node)
    except TypeError as error:
        raise ValueError(f"a mel spectrogram of {node!r}: {error}") from None


def nearest(rate: int) -> str:
    """The preset for sounds of this rate: the one of the highest rate that is not above it, else the lowest."""
    below = [name for name, spec in PRESETS.items() if spec.rate <= rate]
    return max(below or ["speech-8k"], key=lambda name: (PRESETS[name].rate, name == "audioldm-16k"))
