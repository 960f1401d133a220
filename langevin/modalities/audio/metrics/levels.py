"""How loud sounds are, and what is wrong with their level: silence and clipping.

loudness        integrated loudness of ITU-R BS.1770-4 in LUFS (`Audio.loudness`)
silence rate    share of windows of 50 ms whose root mean square lies below −60 dBFS
silent          a sound whose every such window does: nothing was made
clipping rate   share of samples that stand in a run of at least three at full scale (|x| ≥ 0.999, or one value
                beyond it), the rule of audio editors: a single sample at full scale is no distortion
"""

from __future__ import annotations

import numpy as np

from langevin.modalities.audio.sound import Audio, level

__all__ = ["SILENT", "WINDOW", "clipping_rate", "silence_rate", "silent"]

SILENT = -60.0  # dBFS
WINDOW = 0.05  # s


def silence_rate(sound: Audio, threshold: float = SILENT, window: float = WINDOW) -> float:
    """Share of windows below the threshold; the last one may be shorter.

    Args:
        threshold: of the root mean square over the window and the channels, dBFS.
        window: seconds.
    """
    width = max(1, min(len(sound), round(window * sound.rate)))
    starts = np.arange(0, len(sound), width)
    power = np.square(sound.samples, dtype=np.float64).mean(0)
    mean = np.add.reduceat(power, starts) / np.diff(np.append(starts, len(sound)))
    return float((mean < 10 ** (threshold / 10)).mean())


def silent(sound: Audio, threshold: float = SILENT, window: float = WINDOW) -> bool:
    """Whether no window reaches the threshold."""
    return bool(level(sound.samples, sound.rate, window) < threshold)


def clipping_rate(sound: Audio, full: float = 0.999, run: int = 3) -> float:
    """Share of samples in runs of at least ``run`` at or beyond ``full``, with one sign, in a channel.

    Samples beyond full scale, which a file cuts, count alone.
    """
    counted = 0
    for sign in (1, -1):
        x = sign * sound.samples
        high = np.pad(x >= full, ((0, 0), (1, 1)))
        edges = np.diff(high.astype(np.int8), axis=1)
        lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
        counted += int(lengths[lengths >= run].sum())
        first = np.flatnonzero(edges == 1)
        over = np.pad(x > 1, ((0, 0), (0, 1))).ravel().cumsum()
        for length, start in zip(lengths[lengths < run], first[lengths < run], strict=True):
            counted += int(over[start + length - 1] - (over[start - 1] if start else 0))
    return counted / sound.samples.size
