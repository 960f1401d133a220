"""Variations of a set of sounds: captions in several phrasings, and levels that differ a little.

A set that knows only classes ("seven", "theo") becomes one with captions, each a phrasing in which the names of an item's
classes stand in the place of the conditions' names:

    "{label}, says {speaker}"        →        "seven, says theo"

Phrasing and level follow from the seed and the item's number. Items that a set repeats, as crops are, come in different
ones.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from langevin.core.errors import unknown
from langevin.core.rng import Stream
from langevin.modalities.audio.data import AudioDataset
from langevin.modalities.audio.sound import Audio

__all__ = ["Varied", "phrased"]


def phrased(phrasing: str, names: dict[str, str]) -> str:
    """A phrasing with the names of classes in it."""
    return phrasing.format_map(names)


class Varied:
    """A set of sounds with captions of several phrasings and levels that vary.

    Args:
        data: the set.
        phrasings: texts with names of conditions in braces; the captions stay as they are without any.
        gain: most that an item is made louder or quieter, in dB.
        seed: of what is drawn.

    Raises:
        ValueError: a phrasing that names what is no condition with classes, or a gain that is no number from 0.
    """

    def __init__(
        self, data: AudioDataset, phrasings: Sequence[str] = (), gain: float = 0.0, seed: int = 0
    ) -> None:
        if isinstance(gain, bool) or not isinstance(gain, int | float) or not 0 <= gain < 60:
            raise ValueError(f"data.gain must be a number of dB from 0 to 60, got {gain!r}")
        if isinstance(phrasings, str) or not all(isinstance(text, str) for text in phrasings):
            raise ValueError(f"data.phrasings must be a list of texts, got {phrasings!r}")
        for text in phrasings:
            try:
                used = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
            except ValueError as error:
                raise ValueError(f"data.phrasings: {text!r}: {error}") from None
            for name in used:
                if name not in data.classes:
                    raise ValueError(f"data.phrasings: {text!r}: {unknown('class', name, data.classes)}")
        self.data, self.phrasings, self.gain, self.seed = data, tuple(phrasings), float(gain), seed
        self.conditions = data.conditions | ({"prompt": "text"} if phrasings else {})
        self.classes, self.class_names = data.classes, data.class_names
        self.licence, self.attribution = data.licence, data.attribution
        self.lengths = getattr(data, "lengths", None)
        self.seconds = getattr(data, "seconds", None)

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, indices: Sequence[int]) -> tuple[list[Audio], dict[str, list[Any]]]:
        """Sounds and the conditions' raw values."""
        sounds, values = self.data.batch(indices)
        rng = Stream.of(self.seed, [int(i) % len(self) for i in indices]).fold("varied")
        if self.gain:
            gains = (2 * rng.fold("gain").uniform((len(sounds),)) - 1) * self.gain
            sounds = [sound.scaled(gain) for sound, gain in zip(sounds, gains.tolist(), strict=True)]
        if self.phrasings:
            chosen = rng.fold("phrasing").integers(len(self.phrasings), (len(sounds),)).tolist()
            names = [
                {name: self.classes[name][values[name][row]] for name in self.classes}
                for row in range(len(sounds))
            ]
            values = {
                **values,
                "prompt": [phrased(self.phrasings[k], known) for k, known in zip(chosen, names, strict=True)],
            }
        return sounds, values
