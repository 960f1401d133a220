"""Comparing a sound with the one that it should be, sample by sample or frame by frame.

Sounds are `Audio`, or arrays (..., n) of samples in [−1, 1]; two sounds have one rate and one length. Leading axes
are kept: of (B, n) there are B figures, of a mono `Audio` one. Everything is computed in double precision. With X a
short-time Fourier transform (Hann window w, frames centred on their time, ends reflected) and P = |X|² / Σ w², so
that white noise of variance s² has P = s² on average:

    log-spectral distance         mean over frames of the root mean square over bins of 10 log10 P_x / P_y
                                  (Gray and Markel 1976), dB. P is at least −100 dB
    spectral convergence          ‖ |X| − |Y| ‖ / ‖ |Y| ‖, Frobenius norm over frames and bins (Arik et al. 2018)
    multi-resolution STFT         spectral convergence + mean of | ln |X| − ln |Y| |, averaged over three sizes of
                                  window (Yamamoto et al. 2020), |X|² ≥ 1e−8 without the division by Σ w²
    SI-SDR                        10 log10 |a y|² / |a y − x|² with a = <x, y> / |y|² (Le Roux et al. 2019), dB;
                                  SI-SNR is the same of signals without their means
    mel-cepstral distortion       10 / ln 10 · sqrt(2 Σ_d (c_d − c'_d)²) over d = 1 … D, averaged over frames
                                  (Kubichek 1993), dB; see :func:`mel_cepstra`
    chroma similarity             mean over frames of the cosine between the energies of the twelve pitch classes
                                  (as for melodies by Copet et al. 2023, appendix)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dct
from torch import Tensor

from langevin.modalities.audio.bands import FLOOR, band_power, power, transform
from langevin.modalities.audio.sound import Audio

__all__ = [
    "RESOLUTIONS",
    "chroma",
    "chroma_similarity",
    "log_spectral_distance",
    "mel_cepstra",
    "mel_cepstral_distortion",
    "multi_resolution_stft",
    "si_sdr",
    "si_snr",
    "spectral_convergence",
    "stft_distance",
    "warped_distance",
]

Sound: TypeAlias = Audio | ArrayLike
Array: TypeAlias = NDArray[np.float64]

CAP = 100.0  # dB, of ratios; float32 samples cannot tell more
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # FFT, hop, window: Yamamoto et al. 2020
C0 = 440.0 * 2 ** (-57 / 12)  # Hz, pitch class 0


def waves(name: str, sound: Sound) -> Tensor:
    """Samples (..., n) in double precision; of a mono `Audio` (n,).

    Raises:
        ValueError: no samples, or some that are not finite.
    """
    given = sound.samples if isinstance(sound, Audio) else sound
    x = torch.from_numpy(np.asarray(given, dtype=np.float64))
    if isinstance(sound, Audio) and sound.channels == 1:
        x = x[0]
    if x.ndim == 0 or x.numel() == 0:
        raise ValueError(f"{name} must hold samples (..., n); got shape {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} holds samples that are not finite")
    return x


def rate_of(rate: int | None, *sounds: Sound) -> int:
    """The one rate of sounds; arrays have the rate that is given.

    Raises:
        ValueError: two rates, or none.
    """
    found = {s.rate for s in sounds if isinstance(s, Audio)} | ({rate} if rate is not None else set())
    if len(found) > 1:
        listed = ", ".join(str(f) for f in sorted(found))
        raise ValueError(f"sounds must have one rate; got {listed} Hz: use resampled()")
    if not found:
        raise ValueError("rate is needed for arrays of samples")
    return found.pop()


def pair(x: Sound, y: Sound) -> tuple[Tensor, Tensor]:
    """Two sounds of one rate and shape, (..., n).

    Raises:
        ValueError: different rates or shapes.
    """
    if isinstance(x, Audio) and isinstance(y, Audio):
        rate_of(None, x, y)
    a, b = waves("x", x), waves("y", y)
    if a.shape != b.shape:
        raise ValueError(
            f"x and y must have one shape; got {tuple(a.shape)} and {tuple(b.shape)}: crop or pad one of them"
        )
    return a, b


def _plain(x: Tensor) -> Any:
    """A float of a tensor without axes, otherwise an array."""
    return float(x) if x.ndim == 0 else x.numpy()


def log_spectral_distance(x: Sound, y: Sound, n_fft: int = 512, hop: int | None = None) -> Any:
    """Log-spectral distance in dB; 0 for equal sounds, |g| where one is the other louder by g dB.

    Args:
        hop: a quarter of n_fft when None.

    Returns:
        (...), a float where there are no leading axes.

    Raises:
        ValueError: as :func:`pair` and :func:`~langevin.modalities.audio.bands.power`.
    """
    a, b = pair(x, y)
    hop = hop or n_fft // 4
    weight = float((torch.hann_window(n_fft, dtype=torch.float64) ** 2).sum())
    p, q = ((power(s, n_fft, hop) / weight).clamp_min(FLOOR) for s in (a, b))
    return _plain((10 * torch.log10(p / q)).square().mean(-2).sqrt().mean(-1))


def spectral_convergence(x: Sound, y: Sound, n_fft: int = 512, hop: int | None = None) -> Any:
    """Spectral convergence of x to y; 0 for equal sounds, |1 − g| for x = g y. Raises as
    :func:`log_spectral_distance`."""
    a, b = pair(x, y)
    return _plain(_convergence(*(power(s, n_fft, hop or n_fft // 4).sqrt() for s in (a, b))))


def _convergence(p: Tensor, q: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(p - q) / torch.linalg.matrix_norm(q).clamp_min(1e-12)


def multi_resolution_stft(
    x: Sound, y: Sound, resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS
) -> Any:
    """Multi-resolution STFT distance of x from y, with the definitions of auraloss, for each sound.

    Args:
        resolutions: (size of the transform, hop, window) in samples.

    Returns:
        (...), a float where there are no leading axes.

    Raises:
        ValueError: as :func:`pair` and :func:`~langevin.modalities.audio.bands.power`.
    """
    return _plain(stft_distance(*pair(x, y), resolutions))


def stft_distance(x: Tensor, y: Tensor, resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS) -> Tensor:
    """:func:`multi_resolution_stft` of samples (..., n) as a differentiable tensor (...), in their dtype.

    Raises:
        ValueError: as :func:`~langevin.modalities.audio.bands.power`.
    """
    total = x.new_zeros(x.shape[:-1])
    for n_fft, hop, window in resolutions:
        p, q = (power(s, n_fft, hop, window).clamp_min(1e-8).sqrt() for s in (x, y))
        total = total + _convergence(p, q) + (p.log() - q.log()).abs().mean((-2, -1))
    return total / len(resolutions)


def si_sdr(x: Sound, y: Sound, zero_mean: bool = False) -> Any:
    """Scale-invariant ratio of signal to distortion of the estimate x of y, in dB between −100 and 100.

    100 is what a scaled copy has. NaN where y is silent, for then nothing is asked.

    Raises:
        ValueError: as :func:`pair`.
    """
    a, b = pair(x, y)
    if zero_mean:
        a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    asked = b.square().sum(-1, keepdim=True)
    target = (a * b).sum(-1, keepdim=True) / asked * b
    ratio = target.square().sum(-1) / (target - a).square().sum(-1)
    # A silent estimate is 0 / 0; it holds nothing of what was asked.
    ratio = torch.where(a.square().sum(-1) > 0, ratio, torch.where(asked[..., 0] > 0, 0.0, torch.nan))
    return _plain((10 * torch.log10(ratio)).clamp(-CAP, CAP))


def si_snr(x: Sound, y: Sound) -> Any:
    """:func:`si_sdr` of signals without their means."""
    return si_sdr(x, y, zero_mean=True)


def mel_cepstra(x: Sound, rate: int | None = None, order: int = 13, mels: int = 26) -> Array:
    """Mel cepstra c_1 … c_order of every frame: (..., order, frames).

    c_d = 2 / M Σ_m L_m cos(π d (m + ½) / M) with L the logarithm of the amplitude in M mel bands: the cepstrum of the
    minimum-phase filter with this envelope, as SPTK's mel cepstra are, so that the distortion is the root mean square
    difference of the two envelopes in dB. c_0, the level, is left out. Windows of 32 ms (a power of two of
    samples), every 5 ms.

    Raises:
        ValueError: no rate, or an order that is not below ``mels``.
    """
    if not 1 <= order < mels:
        raise ValueError(f"order must lie in 1 … {mels - 1}, below mels; got {order}")
    of = rate_of(rate, x)
    n_fft = transform(of)
    bands = band_power(waves("x", x), of, mels, n_fft, max(1, round(0.005 * of)))
    level = 0.5 * bands.clamp_min(FLOOR).log().numpy()
    return np.asarray(dct(level, type=2, axis=-2) / mels)[..., 1 : order + 1, :]


def mel_cepstral_distortion(
    x: Sound, y: Sound, rate: int | None = None, *, order: int = 13, mels: int = 26, align: bool = False
) -> Any:
    """Mel-cepstral distortion in dB; 0 for equal sounds and for those that differ in level alone.

    Args:
        rate: Hz, for arrays.
        align: by dynamic time warping (Sakoe and Chiba 1978): the sounds may then have different lengths, and the
            mean is over the cheapest path; one pair of sounds only.

    Returns:
        (...), a float where there are no leading axes.

    Raises:
        ValueError: different shapes without ``align``, or several sounds with it.
    """
    of = rate_of(rate, x, y)
    if not align:
        pair(x, y)
    a, b = (mel_cepstra(s, of, order, mels) for s in (x, y))
    scale = 10 / math.log(10) * math.sqrt(2)
    if not align:
        apart = scale * np.sqrt(((a - b) ** 2).sum(-2)).mean(-1)
        return float(apart) if np.ndim(apart) == 0 else apart
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(
            f"align takes one mono sound against one; got shapes {a.shape[:-2]} and {b.shape[:-2]}"
        )
    return scale * warped_distance(a.T, b.T)


def warped_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Mean Euclidean distance along the path of dynamic time warping that has the least sum.

    Steps are (1, 0), (0, 1) and (1, 1), all of weight 1; both ends are joined.

    Args:
        a, b: (T, D) and (U, D).
    """
    p, q = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    squares = (p**2).sum(1)[:, None] + (q**2).sum(1) - 2 * p @ q.T
    apart = np.sqrt(np.clip(squares, 0, None))
    rows, columns = apart.shape
    # One anti-diagonal after the other; each entry: (sum, steps) of the cheapest path to it.
    total = np.full((rows + 1, columns + 1), np.inf)
    steps = np.zeros((rows + 1, columns + 1))
    total[0, 0] = 0.0
    for diagonal in range(rows + columns - 1):
        i = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        j = diagonal - i
        before = np.stack([total[i, j], total[i, j + 1], total[i + 1, j]])
        counted = np.stack([steps[i, j], steps[i, j + 1], steps[i + 1, j]])
        best = before.argmin(0)
        each = np.arange(len(i))
        total[i + 1, j + 1] = before[best, each] + apart[i, j]
        steps[i + 1, j + 1] = counted[best, each] + 1
    return float(total[rows, columns] / steps[rows, columns])


def chroma(x: Sound, rate: int | None = None) -> Array:
    """Energy of the pitch classes C, C♯ … B in every frame: (..., 12, frames), equal temperament, A = 440 Hz.

    Each bin counts for its nearest pitch, from where bins are finer than a semitone up to 5 kHz. Windows of at
    least 186 ms, a quarter apart; a shorter sound is padded with silence.

    Raises:
        ValueError: no rate.
    """
    of = rate_of(rate, x)
    n_fft = transform(of, 0.186)
    wave = waves("x", x)
    wave = F.pad(wave, (0, max(0, n_fft // 2 + 1 - wave.shape[-1])))
    bins = power(wave, n_fft, n_fft // 4)
    frequency = np.arange(n_fft // 2 + 1) * of / n_fft
    low = of / n_fft / (2 ** (1 / 12) - 1)
    used = np.flatnonzero((frequency >= low) & (frequency <= 5000))
    classes = np.round(12 * np.log2(frequency[used] / C0)).astype(int) % 12
    gather = torch.zeros(12, len(frequency), dtype=torch.float64)
    gather[torch.from_numpy(classes), torch.from_numpy(used)] = 1.0
    return np.asarray((gather @ bins).numpy())


def chroma_similarity(x: Sound, y: Sound, rate: int | None = None) -> Any:
    """Mean cosine between the chroma of x and of y; 1 where they have the same pitches at every time.

    Frames of y more than 60 dB below its loudest one do not count; frames that are silent in x alone count 0.

    Returns:
        (...), a float where there are no leading axes; NaN where y is silent.

    Raises:
        ValueError: as :func:`pair`, or no rate.
    """
    of = rate_of(rate, x, y)
    pair(x, y)
    a, b = chroma(x, of), chroma(y, of)
    length = np.linalg.norm(a, axis=-2) * np.linalg.norm(b, axis=-2)
    cosine = (a * b).sum(-2) / np.maximum(length, 1e-300)
    energy = b.sum(-2)
    heard = (energy >= 1e-6 * energy.max(-1, keepdims=True)) & (energy > 0)
    with np.errstate(invalid="ignore"):
        found = (cosine * heard).sum(-1) / heard.sum(-1)
    return float(found) if np.ndim(found) == 0 else found
