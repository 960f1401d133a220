"""What can be said about sounds without others to compare them with: whether they are there, how loud and how varied they
are, what is wrong with their level, and whether some are the same.

With d(a, b) the distance of two sounds in the features of fixed random convolutions (`RandomConv`, no weights):
    pair distance      mean of d over all pairs, with the interval of a U-statistic of two arguments (Hoeffding 1948)
    nearest neighbour  median distance to the nearest other sound over the pair distance: 0 where half of them have a copy
    twins              share of sounds that equal another one, sample by sample

None of these says whether sounds are good: noise is varied. They find what has collapsed, and they compare runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from langevin.modalities.audio.metrics.features import RandomConv
from langevin.modalities.audio.metrics.levels import clipping_rate, silence_rate, silent
from langevin.modalities.audio.sound import Audio, decibels
from langevin.modalities.neighbours import spread
from langevin.modalities.statistics import Table, bootstrap, median, wilson

__all__ = ["describe", "usual_rate"]

MOST = 1000  # sounds whose distances are taken


def usual_rate(sounds: Sequence[Audio]) -> int:
    """The rate that most sounds have; of several such, the lowest."""
    counted = Counter(s.rate for s in sounds)
    return min(counted, key=lambda rate: (-counted[rate], rate))


def describe(samples: Sequence[Any], seed: int = 0) -> Table:
    """Measures of sounds by themselves.

    Args:
        samples: sounds; whatever is no `Audio` counts as failed.
        seed: of the choice of sounds where there are more than 1000, and of the intervals.

    Returns:
        One row per measure, with 95 % intervals. Loudness is the median over the sounds that reach −70 LUFS.
    """
    sounds = [s for s in samples if isinstance(s, Audio)]
    total, failed = len(samples), len(samples) - len(sounds)
    rows: list[dict[str, Any]] = []

    def add(measure: str, value: Any, n: int) -> None:
        rows.append({"measure": measure, "value": value, "n": n})

    if total:
        add("readable", wilson(len(sounds), total), total)
    add("failed", failed, total)
    kinds = Counter(f"{s.rate} Hz{'' if s.channels == 1 else f' × {s.channels}'}" for s in sounds)
    if sounds:
        n = len(sounds)
        add("silent", wilson(sum(map(silent, sounds)), n), n)
        clipped = [clipping_rate(s) for s in sounds]
        add("with clipping", wilson(sum(c > 0 for c in clipped), n), n)
        loudness = [s.loudness for s in sounds if s.channels <= 5]
        loudness = [value for value in loudness if np.isfinite(value)]
        for measure, values, average in (
            ("seconds", [s.seconds for s in sounds], median),
            ("loudness (LUFS)", loudness, median),
            ("peak (dBFS)", [max(-100.0, decibels(s.peak)) for s in sounds], median),
            ("silence rate", [silence_rate(s) for s in sounds], None),
            ("clipping rate", clipped, None),
        ):
            if values:
                few = float(values[0]) if len(values) == 1 else None
                value = (
                    few if few is not None else average(values) if average else bootstrap(values, seed=seed)
                )
                add(measure, value, len(values))
    if len(sounds) > 1:
        twins = Counter((s.rate, s.samples.shape, s.samples.tobytes()) for s in sounds)
        add("twins", wilson(sum(k for k in twins.values() if k > 1), len(sounds)), len(sounds))
        few_sounds = sounds
        if len(sounds) > MOST:
            chosen = np.random.default_rng(seed).choice(len(sounds), MOST, replace=False)
            few_sounds = [sounds[i] for i in chosen]
        pairs, nearest = spread(RandomConv(rate=usual_rate(sounds))(few_sounds))
        add("pair distance", pairs, len(few_sounds))
        if nearest is not None:
            add("nearest neighbour", nearest, len(few_sounds))
    listed = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common(3))
    more = f" and {len(kinds) - 3} other kinds" if len(kinds) > 3 else ""
    caption = (
        f"{total} sounds, of which {failed} failed{f'; {listed}{more}' if kinds else ''}. "
        "Measured without a reference: level, variety and copies, not quality. Intervals: 95 %."
    )
    return Table(rows, caption)
