"""Sounds: states (B, T, C, F) of a codec's frames, patches as tokens, :class:`Audio` outside.

A codec's states have time as their last axis; here it is the first axis of elements, as masks and times of single elements
are (B, T). Sounds of one duration have no mask; of several, the shorter ones of a batch are masked where they have ended.

**The last patch.** A sound is followed by its own reflection up to a whole number of patches, as its last samples say best
what lies within its statistics: digital silence is tens of standard deviations below the noise of a recording. Nothing of
the reflection is heard, as samples and edits end where was asked or where the original did; and nothing of it is kept
where it would tell what is drawn anew (:func:`langevin.modalities.audio.edits.chosen`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import langevin.core.catalogue  # names of processes and conditions
import langevin.modalities.audio.reference  # noqa: F401  (one more condition)
from langevin.core.conditioning import Embedder
from langevin.core.denoiser import Denoiser
from langevin.core.guidance import Cyclic
from langevin.core.keep import Keep
from langevin.core.processes import Gaussian, Process, State
from langevin.core.progress import note
from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.streaming import Windows
from langevin.core.tokens import Tokens
from langevin.modalities.audio.catalogue import CODECS
from langevin.modalities.audio.codec import Codec, LogMel, fed
from langevin.modalities.audio.edits import FADE, chosen, fitted, restored
from langevin.modalities.audio.files import EXTENSIONS, read
from langevin.modalities.audio.filters import AudioFilter, AudioTest, measure
from langevin.modalities.audio.loops import decode_loop
from langevin.modalities.audio.mel import preset
from langevin.modalities.audio.plugin import AudioSpec
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.streaming import windows
from langevin.modalities.audio.writing import WRITTEN, PieceWriter
from langevin.modalities.base import Failure, Modality, Samples, Table
from langevin.modalities.patches import PatchTokens

__all__ = ["CODECS", "AudioModality", "make"]

LONGEST = 3600.0  # s
FEW = 12  # sounds, below which sets are not compared as distributions


class AudioModality(Modality):
    """Sounds under a codec.

    Args:
        codec: sounds ↔ states.
        patch: frequencies and frames of a token.
        process: how states are noised; linear flow by default.
        conditions: embedders by name.
        seconds: duration of new samples where nobody says another.
        places: 2 tells the network at which frequency and at which time a patch stands; 1 the frequency alone, so that
            it does not matter how long after the beginning something happens.
        fade: seconds of the crossfade at either end of an edited span; see :mod:`langevin.modalities.audio.edits`.

    Raises:
        ValueError: a patch that cannot be or does not divide the codec's frequencies, or a duration that cannot be.
    """

    name = "audio"
    suffix = ".wav"
    suffixes = EXTENSIONS
    written = WRITTEN
    spec = AudioSpec
    card_width = 260
    filter = AudioFilter

    def __init__(
        self,
        codec: Codec,
        patch: tuple[int, int] = (8, 4),
        process: Process | None = None,
        conditions: Mapping[str, Embedder] | None = None,
        seconds: float = 1.0,
        places: int = 2,
        fade: float = FADE,
    ) -> None:
        if min(patch) < 1 or codec.bins % patch[0]:
            raise ValueError(
                f"patch must be (frequencies, frames), the first of them a divisor of {codec.bins}; got {patch}"
            )
        if places not in (1, 2):
            raise ValueError(f"places must be 1 (the frequency) or 2 (frequency and time), got {places}")
        if not 0 <= fade < LONGEST:
            raise ValueError(f"fade must be seconds from 0, got {fade}")
        self.codec, self.patch, self.places, self.fade = codec, patch, places, fade
        self.seconds = self._checked(seconds)
        self._process = process or Gaussian()
        self._conditions = dict(conditions or {})
        self._patches = PatchTokens(codec.channels, patch)

    @property
    def process(self) -> Process:
        return self._process

    @property
    def conditions(self) -> Mapping[str, Embedder]:
        return self._conditions

    @property
    def inputs(self) -> dict[str, int]:
        return self._patches.inputs

    @property
    def outputs(self) -> dict[str, int]:
        return self._patches.outputs

    @property
    def unit(self) -> int:
        """Samples of a patch at the codec's rate."""
        return self.patch[1] * self.codec.hop

    def encode(self, items: Sequence[Any]) -> tuple[State, Tensor | None]:
        """States (B, T, C, F), and a mask (B, T) where the sounds differ in duration.

        Raises:
            ValueError: an object that is no :class:`Audio`.
        """
        padded = []
        for place, item in enumerate(items):
            if not isinstance(item, Audio):
                raise ValueError(
                    f"item {place} is no sound but a {type(item).__name__}; read a file with Audio"
                )
            samples = fed(self.codec, item).samples
            filled = np.pad(samples, ((0, 0), (0, -samples.shape[1] % self.unit)), mode="reflect")
            padded.append(Audio(filled, self.codec.rate))
        state = self.codec.encode(padded).permute(0, 3, 1, 2)
        frames = torch.tensor([len(sound) // self.codec.hop for sound in padded])
        if bool((frames == state.shape[1]).all()):
            return state, None
        return state, torch.arange(state.shape[1])[None] < frames[:, None]

    def decode(self, state: State, mask: Tensor | None = None) -> list[Any]:
        """A sound for each row, as long as its mask; a failure where the state is beyond what the codec can decode."""
        assert isinstance(state, Tensor)
        out: list[Any] = []
        for row, x in enumerate(state.permute(0, 2, 3, 1)):
            kept = x if mask is None else x[..., mask[row]]
            try:
                out += self.codec.decode(kept[None])
            except ValueError as error:
                out.append(Failure(str(error)))
        return out

    def blank(
        self, indices: Sequence[int], rng: Stream, conditions: Mapping[str, Any], spec: Any
    ) -> tuple[State, Tensor | None]:
        """Zeros of the duration that ``spec`` asks for, up to a whole number of patches.

        Raises:
            ValueError: a duration that cannot be, or an overlap of no windows.
        """
        if getattr(spec, "overlap", None) is not None:
            raise ValueError("overlap is that of windows; give window, too")
        frames = self.codec.frames(self._duration(spec))
        frames += -frames % self.patch[1]
        return torch.zeros(len(indices), frames, self.codec.channels, self.codec.bins), None

    def _duration(self, spec: Any) -> float:
        asked = getattr(spec, "seconds", None)
        return self.seconds if asked is None else self._checked(asked)

    @staticmethod
    def _checked(seconds: Any, name: str = "seconds") -> float:
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not 0 < seconds <= LONGEST:
            raise ValueError(f"{name} must be above 0 and at most {LONGEST:g}, got {seconds!r}")
        return float(seconds)

    def windowed(self, spec: Any) -> bool:
        return spec.window is not None

    def windows(self, spec: Any, after: Sequence[Any] | None = None) -> Windows:
        """The windows of a long sound; see :mod:`langevin.modalities.audio.streaming`.

        Args:
            spec: its ``seconds`` are those of what is new, its ``window`` is as long as the training data by default.
            after: a sound for each sample, which it continues.

        Raises:
            ValueError: lengths that cannot be, a loop, or sounds that cannot be continued.
        """
        if spec.loop:
            raise ValueError("a loop is drawn at once, so it does not go with windows or after another sound")
        window = self.seconds if spec.window is None else self._checked(spec.window, "window")
        overlap = None if spec.overlap is None else self._checked(spec.overlap, "overlap")
        for place, item in enumerate(after or ()):
            if not isinstance(item, Audio):
                raise ValueError(
                    f"item {place} is no sound but a {type(item).__name__}; read a file with Audio"
                )
        seconds = self._duration(spec)
        return windows(self.codec, self.patch[1], seconds, window, overlap, after, self.fade)

    def seen(self, denoiser: Denoiser, spec: Any, times: Sequence[Any]) -> Denoiser:
        """The denoiser, on a circle for loops."""
        return Cyclic(self.patch[1], times)(denoiser) if getattr(spec, "loop", False) else denoiser

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        """Patches at positions (frequency, time), those of one frequency after one another."""
        assert isinstance(state, Tensor)
        if mask is not None:
            rows = self.codec.bins // self.patch[0]
            mask = mask.unflatten(1, (-1, self.patch[1])).any(2).repeat(1, rows)
        return self._patches.tokens(state.permute(0, 2, 3, 1), mask)

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        assert isinstance(like, Tensor)
        return self._patches.untokens(values, like.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def chosen(self, keep: Keep, known: State, items: Sequence[Any] = ()) -> State:
        """Where the state is kept, in the shape of ``known``: the grid is (T, F), with seconds and hertz as units.

        A frame that looks at samples which are drawn anew, or at their reflection in the last patch, is drawn anew, too.
        """
        assert isinstance(known, Tensor)
        kept = chosen(keep, self.codec, known.shape[1], self.patch[1])
        return kept[None, :, None].expand(known.shape).clone()

    def restore(self, item: Any, original: Any, keep: Keep) -> Any:
        """The sound with the user's own samples where they are kept, at the user's rate and with the user's channels."""
        return restored(item, original, keep, self.codec, self.fade)

    def collect(
        self,
        state: State,
        mask: Tensor | None,
        record: Mapping[str, Any],
        conditions: Mapping[str, Sequence[Any]],
        like: Any = None,
        keep: Keep | None = None,
        indices: Sequence[int] | None = None,
    ) -> Samples:
        """As for every modality; as long as was asked for, or with duration, rate and channels of what they began from.

        A loop is as long as its patches, and a line on standard error says so where that is not what was asked for.
        """
        spec = record.get("spec") or {}
        if spec.get("loop"):
            return self._loops(state, spec, record, conditions, indices)
        made = super().collect(state, mask, record, conditions, like, keep, indices)
        if keep is not None:
            return made
        if like is not None:
            originals = list(like) * (len(made) if len(like) == 1 else 1)
            items = [
                item if isinstance(item, Failure) else fitted(item, original)
                for item, original in zip(made, originals, strict=True)
            ]
        else:
            count = round(spec.get("seconds", self.seconds) * self.codec.rate)
            items = [self._ended(item, count) for item in made]
        return Samples(items, self, made.run, state, mask, made.conditions, made.indices)

    def _loops(
        self,
        state: State,
        spec: Mapping[str, Any],
        record: Mapping[str, Any],
        conditions: Mapping[str, Sequence[Any]],
        indices: Sequence[int] | None,
    ) -> Samples:
        assert isinstance(state, Tensor)
        items: list[Any] = []
        for x in state.permute(0, 2, 3, 1).split(1):
            try:
                items += decode_loop(self.codec, x)
            except ValueError as error:
                items.append(Failure(str(error)))
        made, asked = self.codec.seconds(state.shape[1]), float(spec.get("seconds", self.seconds))
        if abs(made - asked) * self.codec.rate >= 1:
            note(
                f"a loop of {asked:g} s is {made:g} s long: whole patches of {self.unit / self.codec.rate:g} s"
            )
        return self.gathered(items, state, None, {**record, "loop_seconds": made}, conditions, indices)

    def joined(self, pieces: Sequence[Any]) -> Any:
        return Audio(np.concatenate([piece.samples for piece in pieces], 1), pieces[0].rate)

    def writer(self, path: Path, piece: Any) -> Any:
        """The file; floats are kept beside it until it ends, then its peak is brought to −1 dBFS where it is above."""
        return PieceWriter(path, piece.rate, piece.channels)

    def _ended(self, item: Any, count: int) -> Any:
        """A new sound without what fills its last patch; of states with a length of their own, the sound as it is."""
        if isinstance(item, Failure) or not 0 < count < len(item) < count + self.unit:
            return item
        return Audio(item.samples[:, :count], item.rate)

    def save(self, item: Any, path: Path) -> None:
        item.save(path)

    def read(self, path: Path) -> Any:
        return read(path)

    def picture(self, item: Any) -> Any:
        return item.spectrogram()

    def preview(self, state: State, mask: Tensor | None = None) -> Any:
        """Spectrograms; those of mel codecs as they are in the state, without a vocoder."""
        if not isinstance(self.codec, LogMel):
            return super().preview(state, mask)
        from langevin.modalities.audio.view import sketch
        from langevin.modalities.sheets import sheet

        assert isinstance(state, Tensor)
        levels = self.codec.levels(torch.nan_to_num(state).permute(0, 2, 3, 1)).numpy()
        kept = [x if mask is None else x[:, mask[row].numpy()] for row, x in enumerate(levels)]
        return sheet([sketch(x) for x in kept])

    def html(self, item: Any) -> str:
        from langevin.modalities.audio.view import to_html

        return to_html(item)

    def note(self, item: Any) -> str:
        return f"{item.seconds:.2f} s"

    def test(self, asked: Any) -> Callable[[Any], tuple[bool, Mapping[str, Any]]]:
        return AudioTest(asked)

    def measure(self, items: Sequence[Any], names: Sequence[str]) -> list[Mapping[str, Any]]:
        return measure(items, names)

    def evaluate(self, items: Sequence[Any], reference: Sequence[Any] | None = None) -> Table | None:
        """Measures of sounds, with those of ``reference``.

        Without a reference those of :func:`~langevin.modalities.audio.metrics.describe`; beside as many others, too few for
        distributions, those of :func:`~langevin.modalities.audio.metrics.pairs.compare_pairs`; else those of
        :func:`~langevin.modalities.audio.metrics.evaluate`.
        """
        from langevin.modalities.audio.metrics import describe, evaluate
        from langevin.modalities.audio.metrics.pairs import compare_pairs

        if reference is None:
            return describe(items)
        both = [*items, *reference]
        if len(items) == len(reference) < FEW and not any(isinstance(item, Failure) for item in both):
            return compare_pairs(items, reference)
        return evaluate(items, [item for item in reference if not isinstance(item, Failure)])


MODALITIES = Registry("audio modality", AudioModality)
MODALITIES.register("audio")(AudioModality)


def make(settings: Mapping[str, Any]) -> AudioModality:
    """The modality that a configuration describes; log-mel spectrograms at 16 kHz where it says nothing."""
    if "codec" not in settings:
        own = {k: v for k, v in settings.items() if k != "name"}
        return AudioModality(LogMel(preset("audioldm-16k")), **own)
    return build(MODALITIES, {"name": "audio", **settings})  # type: ignore[no-any-return]
