"""Clips: states (B, T, C, H, W) of a codec, spacetime patches as tokens, :class:`Video` outside.

Frames are the elements of a state: masks and times of single elements are (B, T). A picture is a clip of one frame. A clip
whose frames are no whole number of patches is followed by its last frame; these frames are cut off again, and in a
batch of several lengths the shorter clips are masked where they have ended. In training nothing is padded: clips of other
lengths, and with ``native`` of other sizes, are packed (:mod:`langevin.core.packing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

import langevin.core.catalogue  # noqa: F401  (names of processes and conditions)
from langevin.core.conditioning import Embedder
from langevin.core.denoiser import Denoiser
from langevin.core.guidance import Cyclic
from langevin.core.keep import Keep
from langevin.core.packing import Batch
from langevin.core.parts import Part
from langevin.core.processes import Gaussian, Process, State
from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.streaming import Streaming, Windows
from langevin.core.tokens import Tokens
from langevin.modalities.base import Failure, Modality, Samples, Table
from langevin.modalities.video import givens
from langevin.modalities.video.catalogue import CODECS
from langevin.modalities.video.clip import Frames, Video
from langevin.modalities.video.codec import MAX_SIDE, Codec, fitted, lasting
from langevin.modalities.video.edits import chosen, put_back
from langevin.modalities.video.files import EXTENSIONS, read
from langevin.modalities.video.plugin import WRITTEN, VideoSpec
from langevin.modalities.video.streaming import windows
from langevin.modalities.video.tokens import SpacetimePatches
from langevin.modalities.video.writing import PieceWriter

__all__ = ["CODECS", "VideoModality", "make"]

MOST = 100_000  # frames
FEW = 12  # clips, below which sets are not compared as distributions


class VideoModality(Modality):
    """Clips under a codec.

    Args:
        codec: clips ↔ states; :class:`~langevin.modalities.video.codec.Pixels` for none.
        patch: frames, rows and columns of a token, in elements of the state.
        process: how states are noised; linear flow by default.
        conditions: embedders by name.
        frames: of new clips where nobody says another number.
        fps: frames per second of clips; those of users are brought to it. Where "fps" is a condition, clips keep their own,
            and rotary coordinates count frames of this rate.
        scale: (per pixel, per second), what rotary coordinates are multiplied by; patches at distance 1 when None.
        native: clips keep their own size, the middle cut out down to whole patches; the codec's size is then that of new
            clips alone. Without it all clips are brought to the codec's size.
        causal: frames see those before them alone, so that what is drawn does not depend on what comes later; without it
            all frames see all.
        places: 2 tells the network at which row and column a patch stands; 3 the time since the beginning, too.

    Raises:
        ValueError: a patch, size, number of frames or rate that cannot be.
    """

    name = "video"
    suffix = ".mp4"
    suffixes = EXTENSIONS
    written = WRITTEN
    spec = VideoSpec
    card_width = 160

    def __init__(
        self,
        codec: Codec,
        patch: tuple[int, int, int] = (1, 8, 8),
        process: Process | None = None,
        conditions: Mapping[str, Embedder] | None = None,
        frames: int = 16,
        fps: float = 8.0,
        scale: tuple[float, float] | None = None,
        places: int = 2,
        native: bool = False,
        causal: bool = False,
    ) -> None:
        if min(patch) < 1:
            raise ValueError(f"patch must be (frames, rows, columns), each at least 1; got {patch}")
        for side, p in zip(codec.size, patch[1:], strict=True):
            if side % (codec.factor * p):
                raise ValueError(
                    f"clips of {codec.size[0]} x {codec.size[1]} pixels cannot be cut into patches of "
                    f"{patch[1]} x {patch[2]} elements of {codec.factor} pixels"
                )
        if not 0 < fps <= 1000:
            raise ValueError(f"fps must lie above 0 and at most at 1000, got {fps}")
        if places not in (2, 3):
            raise ValueError(f"places must be 2 (rows and columns) or 3 (time, too), got {places}")
        self.codec, self.patch, self.fps, self.places = codec, patch, float(fps), places
        self.native = native
        self.frames = self._checked(frames)
        self._process = process or Gaussian()
        self._conditions = dict(conditions or {})
        seconds = codec.stride / self.fps
        near = 1 / (codec.factor * patch[1]), 1 / (patch[0] * seconds)
        self._patches = SpacetimePatches(codec.channels, patch, codec.factor, seconds, scale or near, causal)

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

    @staticmethod
    def _checked(frames: Any, name: str = "frames") -> int:
        if isinstance(frames, bool) or not isinstance(frames, int) or not 1 <= frames <= MOST:
            raise ValueError(f"{name} must be a whole number from 1 to {MOST}, got {frames!r}")
        return frames

    def elements(self, frames: int) -> int:
        """Elements of whole patches for so many frames."""
        elements = self.codec.elements(frames)
        return elements + -elements % self.patch[0]

    def encode(self, items: Sequence[Any]) -> tuple[State, Tensor | None]:
        """States (B, T, C, H, W), and a mask (B, T) where the clips differ in length.

        Args:
            items: clips; or PIL images, which stand still for as many frames as new clips have.

        Raises:
            ValueError: another object, or clips of several sizes.
        """
        clips = [self.shown(item, place) for place, item in enumerate(items)]
        sizes = sorted({clip.shape[1:3] for clip in clips})
        if len(sizes) > 1:
            named = ", ".join(f"{height} x {width}" for height, width in sizes[:4])
            raise ValueError(
                f"clips of {named} pixels (height x width) make no one state: give clips of one size"
            )
        counts = [self.elements(len(clip)) for clip in clips]
        most = max(counts)
        state = self.codec.encode([lasting(clip, self.codec.frames(most)) for clip in clips])
        if min(counts) == most:
            return state, None
        return state, torch.arange(most)[None] < torch.tensor(counts)[:, None]

    def batches(self, items: Sequence[Any]) -> list[Batch]:
        """Clips by length and size, in the order in which these come first."""
        clips = [self.shown(item, place) for place, item in enumerate(items)]
        rows: dict[tuple[int, ...], list[int]] = {}
        for row, clip in enumerate(clips):
            rows.setdefault((self.elements(len(clip)), *clip.shape[1:3]), []).append(row)
        out = []
        for (elements, *_), own in rows.items():
            frames = self.codec.frames(elements)
            out.append(Batch(torch.tensor(own), self.codec.encode([lasting(clips[i], frames) for i in own])))
        return out

    def rate(self, item: Any) -> float:
        """Frames per second at which a clip is seen: the model's, or its own where that is a condition."""
        return item.fps if "fps" in self._conditions and isinstance(item, Video) else self.fps

    def shown(self, item: Any, place: int = 0) -> Frames:
        """The frames of a clip or a picture, at the model's rate and size, or with ``native`` their own.

        Raises:
            ValueError: another object, or a clip that is smaller than a patch and keeps its size.
        """
        if isinstance(item, Image):
            item = Video.of([item] * self.frames, self.fps)
        if not isinstance(item, Video):
            raise ValueError(
                f"item {place} is no clip but a {type(item).__name__}; read a file with "
                "langevin.modalities.video.files.read"
            )
        clip = item if len(item) == 1 else item.at(self.rate(item))
        return self._cut(clip, place) if self.native else fitted(clip, self.codec.size)

    def _cut(self, clip: Video, place: int) -> Frames:
        """The middle of each frame, down to whole patches."""
        (width, height), (rows, columns) = clip.size, (self.codec.factor * p for p in self.patch[1:])
        top, left = height % rows // 2, width % columns // 2
        frames = clip.frames[:, top : top + height // rows * rows, left : left + width // columns * columns]
        if not frames.size:
            raise ValueError(
                f"item {place} has {height} x {width} pixels, less than one patch of {rows} x {columns}; "
                "enlarge it, or leave it out"
            )
        return frames

    def decode(self, state: State, mask: Tensor | None = None) -> list[Any]:
        """A clip for each row, as long as its mask; a failure where a state is not finite."""
        assert isinstance(state, Tensor)
        out: list[Any] = []
        for row, x in enumerate(state):
            kept = x if mask is None else x[mask[row].to(x.device)]
            made = self.codec.decode(kept[None])[0]
            out.append(made if isinstance(made, Failure) else Video(made, self.fps))
        return out

    def blank(
        self, indices: Sequence[int], rng: Stream, conditions: Mapping[str, Any], spec: Any
    ) -> tuple[State, Tensor | None]:
        """Zeros of the length and size that ``spec`` asks for, the length up to a whole number of patches.

        Raises:
            ValueError: a length or size that cannot be, or an overlap of no windows.
        """
        for name in ("overlap", "rolling"):
            if getattr(spec, name, None):
                raise ValueError(f"{name} is that of windows; give window, too")
        elements = self.elements(self._length(spec, conditions))
        return torch.zeros(len(indices), elements, self.codec.channels, *self._sides(spec)), None

    def _length(self, spec: Any, conditions: Mapping[str, Sequence[Any]] | None = None) -> int:
        """Frames that ``spec`` asks for, at the rate that the conditions say."""
        frames, seconds = getattr(spec, "frames", None), getattr(spec, "seconds", None)
        if frames is not None and seconds is not None:
            raise ValueError("frames and seconds say the same thing twice; give one of them")
        if seconds is None:
            return self.frames if frames is None else self._checked(frames)
        rates = {float(fps) for fps in (conditions or {}).get("fps", [self.fps])}
        if len(rates) > 1:
            raise ValueError("seconds at several rates are several numbers of frames; give frames")
        (fps,) = rates
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not 0 < seconds * fps <= MOST:
            raise ValueError(f"seconds must be above 0 and at most {MOST / fps:g}, got {seconds!r}")
        return max(1, round(seconds * fps))

    def _sides(self, spec: Any) -> list[int]:
        """Rows and columns of a state of the size that ``spec`` asks for."""
        sides = []
        for name, own, p in zip(("height", "width"), self.codec.size, self.patch[1:], strict=True):
            side, unit = getattr(spec, name, None), self.codec.factor * p
            side = own if side is None else side
            whole = isinstance(side, int) and not isinstance(side, bool)
            if not whole or not 0 < side <= MAX_SIDE or side % unit:
                raise ValueError(
                    f"{name} must be a multiple of {unit} pixels, at most {MAX_SIDE}, for this model; got {side!r}"
                )
            sides.append(side // self.codec.factor)
        return sides

    def tokens(self, state: State, mask: Tensor | None = None) -> Tokens:
        return self._patches.tokens(state, mask)

    def untokens(self, values: dict[str, Tensor], like: State) -> Any:
        return self._patches.untokens(values, like)

    def token_times(self, t: Tensor, state: State) -> Tensor:
        """Times of frames (B, T) as times of layers of tokens (B, T / pt)."""
        assert isinstance(state, Tensor)
        return self._patches.token_times(t, state)

    def parts(self, x: State, rng: Stream, mask: Tensor | None, share: float) -> Sequence[Part]:
        """Clips of which some frames are given; see :mod:`langevin.modalities.video.givens`."""
        assert isinstance(x, Tensor)
        return givens.parts(self.process, x, rng, mask, share)

    def shows(self, chosen: State) -> bool:
        """Whole frames; parts of frames were not given in training."""
        assert isinstance(chosen, Tensor)
        return chosen.ndim == 2

    def chosen(self, keep: Keep, known: State, items: Sequence[Any] = ()) -> State:
        """Where the state is kept; see :mod:`langevin.modalities.video.edits`."""
        assert isinstance(known, Tensor)
        clips = [(len(self.shown(item)), self.rate(item)) for item in items]
        clips = clips or [(self.codec.frames(known.shape[1]), self.fps)]
        return chosen(keep, self.codec, known, clips * (len(known) if len(clips) == 1 else 1))

    def restore(self, item: Any, original: Any, keep: Keep) -> Any:
        """The clip with the user's own pixels where they are kept, as long as the user's, with its sound."""
        own, fps = self.shown(original), self.rate(original)
        return Video(put_back(item.frames[: len(own)], own, keep, fps), fps, getattr(original, "audio", None))

    def windowed(self, spec: Any) -> bool:
        return spec.window is not None

    def windows(self, spec: Any, after: Sequence[Any] | None = None) -> Windows:
        """The windows of a long clip; see :mod:`langevin.modalities.video.streaming`.

        Args:
            spec: its ``frames`` or ``seconds`` are those of what is new; its ``window`` is as long as the training data
                by default.
            after: a clip for each sample, which it continues.

        Raises:
            ValueError: lengths that cannot be, a loop, or clips that cannot be continued.
        """
        if spec.loop:
            raise ValueError("a loop is drawn at once, so it does not go with windows or after another clip")
        window = self.frames if spec.window is None else self._checked(spec.window, "window")
        overlap = None if spec.overlap is None else self._checked(spec.overlap, "overlap")
        return windows(self, spec, self._length(spec), window, overlap, after)

    def seen(self, denoiser: Denoiser, spec: Any, times: Sequence[Any]) -> Denoiser:
        """The denoiser, on a circle for loops.

        Raises:
            ValueError: a loop in latents of which the first element stands for one frame, and each further one for several.
        """
        if not getattr(spec, "loop", False):
            return denoiser
        if self.codec.stride > 1:
            raise ValueError(
                f"elements of this model stand for {self.codec.stride} frames, the first one for one, so that no other can "
                "take its place on a circle; draw a clip without loop, and lead it back to its beginning with "
                "langevin.modalities.video.verbs.close(model, clip, frames)"
            )
        return Cyclic(self.patch[0], times)(denoiser)

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
        """As for every modality; as long as was asked for, or as what they began from, whose sound they keep."""
        made = super().collect(state, mask, record, conditions, like, keep, indices)
        if keep is not None:
            return made
        if like is not None:
            originals = list(like) * (len(made) if len(like) == 1 else 1)
            items = [
                item if isinstance(item, Failure) else self._following(item, original)
                for item, original in zip(made, originals, strict=True)
            ]
        else:
            spec = self.spec(**(record.get("spec") or {}))
            count = self._length(spec, conditions)
            if spec.loop and count % self.patch[0]:
                count += -count % self.patch[0]
            items = [
                item if isinstance(item, Failure) else Video(item.frames[:count], item.fps) for item in made
            ]
        return Samples(items, self, made.run, state, mask, made.conditions, made.indices)

    def _following(self, item: Video, original: Video) -> Video:
        """A decoded clip with the length and the sound of what it began from."""
        return Video(
            item.frames[: len(self.shown(original))], self.rate(original), getattr(original, "audio", None)
        )

    def gathered(
        self,
        items: Sequence[Any],
        state: State | None,
        mask: Tensor | None,
        record: Mapping[str, Any],
        conditions: Mapping[str, Sequence[Any]],
        indices: Sequence[int] | None = None,
    ) -> Samples:
        """As for every modality; clips have the rate that they were asked for, where that is a condition."""
        if "fps" in conditions:
            items = [
                Video(item.frames, float(fps), item.audio) if isinstance(item, Video) else item
                for item, fps in zip(items, conditions["fps"], strict=True)
            ]
        return super().gathered(items, state, mask, record, conditions, indices)

    def joined(self, pieces: Sequence[Any]) -> Any:
        return Video(np.concatenate([piece.frames for piece in pieces]), pieces[0].fps, pieces[0].audio)

    def save_stream(
        self, stream: Streaming, path: Path, overwrite: bool = False, suffix: str | None = None
    ) -> list[Path]:
        """Writes a stream while it is drawn.

        Raises:
            ValueError: "fps" is among the conditions, and another rate than the model's was asked for.
        """
        if any(float(fps) != self.fps for fps in stream.draw.raw.get("fps", ())):
            raise ValueError(
                f"a stream is written at {self.fps:g} frames per second; collect it and save the clips for another rate"
            )
        return super().save_stream(stream, path, overwrite, suffix)

    def writer(self, path: Path, piece: Any) -> Any:
        sound = None if piece.audio is None else (piece.audio.rate, len(piece.audio.samples))
        return PieceWriter(path, piece.fps, piece.size, sound)

    def save(self, item: Any, path: Path) -> None:
        item.save(path)

    def read(self, path: Path) -> Any:
        return read(path)

    def picture(self, item: Any) -> Any:
        return item.picture()

    def html(self, item: Any) -> str:
        from langevin.modalities.video.view import to_html

        return to_html(item)

    def note(self, item: Any) -> str:
        return f"{len(item)} frames, {item.seconds:.2f} s"

    def evaluate(self, items: Sequence[Any], reference: Sequence[Any] | None = None) -> Table | None:
        """Measures of clips, with those of ``reference``.

        Without a reference those of :func:`~langevin.modalities.video.metrics.describe`; beside as many others, too few for
        distributions, those of :func:`~langevin.modalities.video.metrics.compare_pairs`; else those of
        :func:`~langevin.modalities.video.metrics.evaluate`.
        """
        from langevin.modalities.video.metrics import compare_pairs, describe, evaluate

        if reference is None:
            return describe(items)
        both = [*items, *reference]
        if len(items) == len(reference) < FEW and not any(isinstance(item, Failure) for item in both):
            return compare_pairs(items, reference)
        return evaluate(items, [item for item in reference if not isinstance(item, Failure)])


MODALITIES = Registry("video modality", VideoModality)
MODALITIES.register("video")(VideoModality)


def make(settings: Mapping[str, Any]) -> VideoModality:
    """The modality that a configuration describes; RGB pixels of 64 × 64 where it says nothing."""
    return build(
        MODALITIES, {"name": "video", "codec": {"name": "pixels", "size": 64}, "patch": [1, 8, 8], **settings}
    )  # type: ignore[no-any-return]
