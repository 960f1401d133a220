"""A reference sound as a condition: how something is to sound, whatever is said or played in it.

Of the levels of its mel bands L (bands, frames), brought to a common loudness, what does not depend on their order is kept:

    mean, standard deviation, 10th, 50th and 90th percentile over time, and mean |L_{k+1} − L_k|     (6, bands)

over the frames within 40 dB of the loudest, so that pauses do not count and any duration will do. Statistics of mel bands
over time tell speakers and instruments apart (Reynolds and Rose, 1995, IEEE TSAP 3(1); Tzanetakis and Cook, 2002, IEEE TSAP
10(5), §III); a perceptron makes the vector of them. With ``pieces`` the mean level of each of so many equal pieces of the
sound follows as a context, for what takes its course from the reference, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from langevin.core.backbones.layers import xavier
from langevin.core.catalogue import CONDITIONS
from langevin.core.conditioning import Embedded, Embedder
from langevin.modalities.audio.bands import log_mel
from langevin.modalities.audio.files import read
from langevin.modalities.audio.sound import Audio

__all__ = ["SoundEmbedder"]

STATISTICS = 6
QUIET = 40.0  # dB below the loudest frame, from where on frames are pauses
LOWEST = -60.0  # dB, relative to the loudest frame; below it lies what rooms and recorders add
UNIT = 20.0  # dB


@CONDITIONS.register("sound")
class SoundEmbedder(Embedder):
    """A sound of any duration, rate and level, by the statistics of its spectrum.

    Args:
        width: channels of the vector.
        rate: Hz, at which it is looked at; frequencies above half of it do not count.
        mels: bands.
        pieces: elements of the context; 0 for none.
        context_width: channels of the context; as the vector when None.

    Raises:
        ValueError: numbers that cannot be.
    """

    def __init__(
        self, width: int, rate: int, mels: int = 40, pieces: int = 0, context_width: int | None = None
    ) -> None:
        if min(width, rate, mels) < 1 or pieces < 0:
            raise ValueError(
                f"width, rate and mels must be at least 1 and pieces at least 0; got {width}, {rate}, {mels}, {pieces}"
            )
        super().__init__(width, (context_width or width) if pieces else 0)
        self.rate, self.mels, self.pieces = rate, mels, pieces
        self.vector = nn.Sequential(
            nn.Linear(STATISTICS * mels, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        xavier(self.vector)
        self.context = nn.Linear(mels, self.context_width) if pieces else None
        if self.context is not None:
            self.place = nn.Parameter(0.02 * torch.randn(pieces, self.context_width))
            xavier(self.context)

    def parse(self, raw: Sequence[Any]) -> Tensor:
        """Sounds, or paths of files -> float32 (B, 6 + pieces, mels).

        Raises:
            ValueError: something else, or a file that is no sound.
        """
        known: dict[Any, Tensor] = {}  # one reference may serve all samples
        for entry in raw:
            key = str(entry) if isinstance(entry, (str, Path)) else id(entry)
            if key not in known:
                known[key] = self._described(_sound(entry))
        keys = [str(entry) if isinstance(entry, (str, Path)) else id(entry) for entry in raw]
        return torch.stack([known[key] for key in keys])

    def describe(self) -> str:
        """A sound or a file."""
        return "a sound to be like: an Audio, or the path of a sound file"

    def forward(self, value: Tensor) -> Embedded:
        """value (B, 6 + pieces, mels) -> vector (B, width) and, with pieces, context (B, pieces, context_width)."""
        value = value.to(self.vector[0].weight.dtype)  # type: ignore[arg-type]
        vector = self.vector(value[:, :STATISTICS].flatten(1))
        if self.context is None:
            return Embedded(vector)
        return Embedded(vector, self.context(value[:, STATISTICS:]) + self.place)

    def _described(self, sound: Audio) -> Tensor:
        """What is kept of a sound, (6 + pieces, mels), in units of 20 dB."""
        # the peak at full scale first, as log_mel ends at a level of its own
        levels = log_mel(sound.normalised(peak=0.0), self.rate, self.mels)  # (mels, frames)
        loudness = 10 * torch.log10((10 ** (levels / 10)).mean(0))  # of each frame
        loudest = loudness.max()
        levels = ((levels - loudest).clamp(min=LOWEST) - LOWEST / 2) / UNIT
        heard = levels[:, loudness >= loudest - QUIET]
        steps = heard.diff(dim=1).abs().mean(1) if heard.shape[1] > 1 else torch.zeros(self.mels)
        ranks = torch.quantile(heard, torch.tensor([0.1, 0.5, 0.9]), dim=1)  # (3, mels)
        rows = [heard.mean(1)[None], heard.std(1, correction=0)[None], ranks, steps[None]]
        if self.pieces:
            rows.append(nn.functional.adaptive_avg_pool1d(levels[None], self.pieces)[0].T)
        return torch.cat(rows)


def _sound(entry: Any) -> Audio:
    if isinstance(entry, (str, Path)):
        try:
            return read(entry)
        except OSError as error:
            raise ValueError(f"{str(entry)!r} cannot be read: {error.strerror or error}") from None
    if not isinstance(entry, Audio):
        raise ValueError(f"a reference is an Audio or the path of a sound file, got {type(entry).__name__}")
    return entry
