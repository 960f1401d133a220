"""Sounds beside as many others, the first with the first: how far each is from its partner.

Partners are compared as mono sounds at the lower of their rates, the longer one cut at its end; the mel-cepstral distortion
aligns them by dynamic time warping and takes both whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from langevin.modalities.audio.metrics.signal import (
    chroma_similarity,
    log_spectral_distance,
    mel_cepstral_distortion,
    multi_resolution_stft,
    si_sdr,
)
from langevin.modalities.audio.sound import Audio
from langevin.modalities.statistics import Table, median

__all__ = ["compare_pairs"]

MEASURES: Mapping[str, Callable[[Audio, Audio], float]] = {
    "log-spectral distance (dB)": log_spectral_distance,
    "multi-resolution STFT": multi_resolution_stft,
    "mel-cepstral distortion, aligned (dB)": lambda x, y: mel_cepstral_distortion(x, y, align=True),
    "SI-SDR (dB)": si_sdr,
    "chroma similarity": chroma_similarity,
}
SHORTEST = 4096  # samples; silence fills shorter sounds, as the longest transform needs them


def compare_pairs(sounds: Sequence[Audio], others: Sequence[Audio]) -> Table:
    """One row per measure: its median over the pairs with a 95 % interval; the value itself of a lone pair.

    Raises:
        ValueError: none, or another number of sounds than of others.
    """
    if not len(sounds) or len(sounds) != len(others):
        raise ValueError(f"pairs need as many sounds as others, got {len(sounds)} and {len(others)}")
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for x, y in zip(sounds, others, strict=True):
        rate = min(x.rate, y.rate)
        a, b = x.mono().resampled(rate), y.mono().resampled(rate)
        count = min(len(a), len(b))
        for name, measure in MEASURES.items():
            whole = "aligned" in name
            p, q = (_filled(s if whole else Audio(s.samples[:, :count], rate)) for s in (a, b))
            value = float(measure(p, q))
            if np.isfinite(value):  # nothing is asked of silence
                found[name].append(value)
    rows = [
        {"measure": name, "value": values[0] if len(values) == 1 else median(values), "n": len(values)}
        for name, values in found.items()
        if values
    ]
    caption = (
        f"{len(sounds)} pair{'s' * (len(sounds) > 1)} of sounds, compared one by one"
        f"{'; medians with 95 % intervals' * (len(sounds) > 1)}."
    )
    return Table(rows, caption)


def _filled(sound: Audio) -> Audio:
    missing = max(0, SHORTEST - len(sound))
    return Audio(np.pad(sound.samples, ((0, 0), (0, missing))), sound.rate)
