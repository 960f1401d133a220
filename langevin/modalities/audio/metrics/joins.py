"""Whether a sound goes on smoothly at a place: the seam of a loop, the edge of an edit.

Let E_s be the levels, in dB, of the 32 mel bands of the frame of L seconds (Hann window) that begins at s, raised
to 60 dB below the loudest band of the sound. The change at a place p is the largest of the three distances
between the frames

        before  [p − L, p)      across  [p − L/2, p + L/2)      after  [p, p + L)

a distance being the root mean square over bands of the difference of levels (the log-spectral distance of Gray and
Markel 1976, in bands). A step of the waveform is a click in the frame across; another sound, or a gap, is seen between
the frames before and after. The same change is taken at places in the sound itself, every L/4, as far as the three
frames lie inside and clear of the places in question: its percentiles say what is usual in this sound. A join is
smooth if its change does not exceed the 95th.

A join of silence with silence is smooth, too, so the mean square over [p − L/2, p + L/2) relative to that of the whole
sound stands beside it. Loops are measured on the file played twice; their sounds should be sustained ones, for in one
that dies away every end is quiet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from langevin.modalities.audio.bands import banks
from langevin.modalities.audio.sound import Audio

__all__ = ["FRAME", "Join", "changes", "joins", "seam"]

FRAME = 0.064  # s
BANDS = 32
RANGE = 60.0  # dB

Array = NDArray[np.float64]


class Join(NamedTuple):
    """The change of a sound at a place, and what is usual in this sound.

    Attributes:
        change: dB.
        percentile: share of places inside the sound whose change is not larger, in percent.
        median, high: of the change at places inside, dB; high is the 95th percentile.
        energy: mean square around the place over that of the whole sound.
    """

    change: float
    percentile: float
    median: float
    high: float
    energy: float

    @property
    def smooth(self) -> bool:
        """Whether the change is within the 95th percentile."""
        return self.change <= self.high

    @property
    def seamless(self) -> bool:
        """Whether it is smooth and the energy there at least half of the sound's mean."""
        return self.smooth and self.energy >= 0.5


def changes(
    samples: Array, rate: int, places: Sequence[int] | NDArray[np.intp], frame: float = FRAME
) -> Array:
    """The change (N,) at places of a sound, in dB.

    Args:
        samples: (channels, n).
        rate: Hz.
        places: sample numbers, at least a frame from both ends.
        frame: seconds.
    """
    length, half = _length(rate, frame)
    window = np.hanning(length + 1)[:-1]
    weights = banks(rate, length, min(BANDS, length // 8)).numpy()
    starts = np.asarray(places)[:, None] + np.array([-length, -half, 0])  # (N, 3)

    def power(firsts: NDArray[np.intp]) -> Array:
        frames = samples[:, firsts[..., None] + np.arange(length)] * window  # (channels, …, L)
        return np.asarray((np.abs(np.fft.rfft(frames)) ** 2).mean(0) @ weights)

    everywhere = np.arange(0, samples.shape[1] - length + 1, max(1, half))
    loudest = max(float(power(everywhere[k : k + 512]).max()) for k in range(0, len(everywhere), 512))
    floor = max(loudest * 10 ** (-RANGE / 10), 1e-20)
    found = []
    for k in range(0, len(starts), 512):
        before, across, after = np.moveaxis(
            10 * np.log10(np.maximum(power(starts[k : k + 512]), floor)), 1, 0
        )
        apart = [
            np.sqrt(((a - b) ** 2).mean(-1)) for a, b in ((before, across), (across, after), (before, after))
        ]
        found.append(np.max(apart, axis=0))
    return np.concatenate(found) if found else np.zeros(0)


def joins(sound: Audio, at: Sequence[float], frame: float = FRAME) -> list[Join]:
    """How a sound goes on at places, against how it does elsewhere.

    Args:
        at: seconds, each at least a frame from both ends.
        frame: seconds, L above.

    Raises:
        ValueError: a place too near to an end, or a sound without eight places clear of those asked for.
    """
    places = [round(t * sound.rate) for t in at]
    length, _ = _length(sound.rate, frame)
    for t, place in zip(at, places):
        if not length <= place <= len(sound) - length:
            raise ValueError(
                f"at must lie a frame of {frame:g} s from both ends of a sound of {sound.seconds:g} s; got {t:g}"
            )
    samples = sound.samples.astype(np.float64)
    return _compared(samples, samples, sound.rate, places, frame, places)


def seam(sound: Audio, frame: float = FRAME) -> Join:
    """How a sound goes on from its end to its beginning: it is measured on the sound played twice.

    Raises:
        ValueError: a sound shorter than four frames.
    """
    samples = sound.samples.astype(np.float64)
    return _compared(np.concatenate([samples, samples], 1), samples, sound.rate, [len(sound)], frame, ())[0]


def _length(rate: int, frame: float) -> tuple[int, int]:
    """Samples of a frame, an even number, and of half of one."""
    half = max(16, round(frame * rate / 2))
    return 2 * half, half


def _compared(
    heard: Array, inside: Array, rate: int, places: Sequence[int], frame: float, clear: Sequence[int]
) -> list[Join]:
    length, half = _length(rate, frame)
    usual = np.arange(length, inside.shape[1] - length + 1, max(1, half // 2))
    for place in clear:
        usual = usual[np.abs(usual - place) >= length]
    if len(usual) < 8:
        raise ValueError(
            f"a sound of {inside.shape[1] / rate:g} s has {len(usual)} places to compare with, of at least 8; "
            f"give a frame shorter than {frame:g} s"
        )
    ordinary = np.sort(changes(inside, rate, usual, frame))
    mean = float((inside**2).mean())
    out = []
    for place, change in zip(places, changes(heard, rate, list(places), frame), strict=True):
        around = float((heard[:, place - half : place + half] ** 2).mean())
        out.append(
            Join(
                float(change),
                100 * float((ordinary <= change).mean()),
                float(np.median(ordinary)),
                float(np.quantile(ordinary, 0.95)),
                around / mean if mean > 0 else 0.0,
            )
        )
    return out
