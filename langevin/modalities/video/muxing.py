"""Containers with a video stream and a sound track, encoded by FFmpeg's libraries (PyAV)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from langevin import optional
from langevin.core.errors import unknown
from langevin.modalities.video.clip import Frames
from langevin.modalities.video.encoders import About, Encoder

__all__ = ["CODECS", "Codec", "Muxer", "codec_of"]


@dataclass(frozen=True)
class Codec:
    """A video codec.

    Attributes:
        name: of FFmpeg's encoder.
        least: pixels a side that it encodes; smaller clips are padded.
        quality: its constant rate factor (0 is the best) where none is asked for; None where it has none.
        worst: the largest rate factor.
        options: of the encoder.
    """

    name: str
    least: int
    quality: int | None
    worst: int = 51
    options: dict[str, str] = field(default_factory=dict)

    @property
    def lossless(self) -> bool:
        """Whether every value survives."""
        return self.quality is None


CODECS = {
    "h264": Codec("libx264", 2, 12, options={"preset": "medium"}),
    # x265 4 writes beyond its memory where a side is shorter than its coding tree unit of 64 pixels
    "hevc": Codec("libx265", 64, 14, options={"preset": "medium", "x265-params": "log-level=none"}),
    "vp9": Codec("libvpx-vp9", 2, 18, 63, {"b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1"}),
    "av1": Codec("libsvtav1", 16, 20, 63, {"preset": "8"}),
    "ffv1": Codec("ffv1", 1, None, options={"level": "3"}),
}
ALLOWED: dict[str, tuple[str, ...]] = {  # the first is the default
    ".mp4": ("h264", "hevc", "av1", "vp9"),
    ".mov": ("h264", "hevc"),
    ".mkv": ("h264", "hevc", "vp9", "av1", "ffv1"),
    ".webm": ("vp9", "av1"),
}
FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
# encoder, kind of its samples, and rates; Opus is given out at 48 kHz by every decoder, and FLAC takes any rate
SOUNDS: dict[str, tuple[str, str, tuple[int, ...] | None]] = {
    ".mp4": ("aac", "fltp", AAC_RATES),
    ".mov": ("aac", "fltp", AAC_RATES),
    ".mkv": ("flac", "s32", None),
    ".webm": ("libopus", "flt", (48000,)),
}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
LEAD = 1024  # samples of a frame of AAC
BT709 = 1  # of colour primaries, transfer and matrix, in H.273; and FFmpeg's number of the limited range


def codec_of(suffix: str, codec: str | None) -> str:
    """The codec's name for a suffix.

    Raises:
        ValueError: one that the container does not hold.
    """
    if codec is None:
        return ALLOWED[suffix][0]
    if codec not in ALLOWED[suffix]:
        raise ValueError(unknown(f"codec of {suffix}", codec, ALLOWED[suffix]))
    return codec


class Muxer(Encoder):
    """One container being written.

    Raises:
        ValueError: a size, frame rate or sound that the format does not have.
    """

    def __init__(self, path: Path, about: About) -> None:
        assert about.codec is not None
        av = optional.av()
        self.about, self.count, self._codec = about, 0, CODECS[about.codec]
        suffix = about.path.suffix.lower()
        if about.sound is not None and about.sound[1] not in LAYOUTS:
            raise ValueError(f"sound of {about.sound[1]} channels cannot be muxed; make it mono or stereo")
        width, height = about.size
        self.padding = (
            (0, 0) if self._codec.lossless else (_missing(width, self._codec), _missing(height, self._codec))
        )
        rate = Fraction(about.fps).limit_denominator(100_000)
        if rate <= 0:
            raise ValueError(f"{suffix} cannot have {about.fps:g} fps")
        self._step = 1 / rate
        if about.codec == "av1":  # which prints its settings otherwise
            os.environ.setdefault("SVT_LOG", "0")
        options = {"movflags": "+faststart"} if suffix in (".mp4", ".mov") else {}
        self._open: Any = av.open(str(path), "w", format=FORMATS[suffix], options=options)
        try:
            self._open.metadata["comment"] = about.remark
            with _refused(av, f"{about.codec} of {width} x {height} pixels at {about.fps:g} fps"):
                self._video = self._open.add_stream(self._codec.name, rate=rate)
                self._video.width, self._video.height = width + self.padding[0], height + self.padding[1]
                self._video.codec_context.time_base = self._step
                self._video.options = dict(self._codec.options)
                if about.codec == "h264" and torch.backends.cpu.get_cpu_capability() == "AVX512":
                    # with AVX-512 x264 gives other bytes for the same frames from one time to the next
                    self._video.options |= {"x264-params": "asm=avx2"}
                if self._codec.lossless:
                    self._video.pix_fmt = "bgr0"
                else:
                    self._video.pix_fmt = "yuv420p"
                    crf = self._codec.quality if about.quality is None else about.quality
                    self._video.options |= {"crf": str(crf)}
                    context = self._video.codec_context
                    context.colorspace = context.color_primaries = context.color_trc = BT709
                    context.color_range = BT709
                if about.codec == "hevc" and suffix != ".mkv":
                    self._video.codec_context.codec_tag = "hvc1"  # Apple's players ask for it
                self._video.codec_context.open()
            self._sound: Any = None if about.sound is None else self._add_sound(*about.sound)
            if about.sound is not None and self._heard < 0:
                # FFmpeg's AAC garbles a sudden beginning, so silence comes before it, at a time that players skip
                self.samples(np.zeros((about.sound[1], LEAD), np.float32))
        except BaseException:
            self.abort()
            raise

    def _add_sound(self, rate: int, channels: int) -> Any:
        av = optional.av()
        name, kind, rates = SOUNDS[self.about.path.suffix.lower()]
        self.rate = rate if rates is None or rate in rates else 48000
        with _refused(av, f"sound of {rate} Hz and {channels} channels"):
            stream = self._open.add_stream(name, rate=self.rate, layout=LAYOUTS[channels])
            if name != "flac":
                stream.bit_rate = 96_000 * channels
            stream.codec_context.format = kind
            stream.codec_context.open()
        self._resampler = av.AudioResampler(
            format=kind, layout=LAYOUTS[channels], rate=self.rate, frame_size=stream.codec_context.frame_size
        )
        self._heard = -LEAD if name == "aac" else 0
        return stream

    def frame(self, frame: Frames) -> None:
        av = optional.av()
        right, below = self.padding
        if right or below:
            frame = np.pad(frame, ((0, below), (0, right), (0, 0)), mode="edge")
        shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._codec.lossless:
            shown = shown.reformat(format="bgr0")
        else:
            shown = shown.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=BT709)
            shown.color_primaries = shown.color_trc = BT709
        shown.pts, shown.time_base, shown.duration = self.count, self._step, 1
        self.count += 1
        with _refused(av, f"{self.about.codec} in {self.about.path.suffix}"):
            self._open.mux(self._video.encode(shown))

    def samples(self, samples: NDArray[np.float32]) -> None:
        av = optional.av()
        assert self.about.sound is not None
        rate, channels = self.about.sound
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.clip(-1, 1), np.float32), format="fltp", layout=LAYOUTS[channels]
        )
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), self._heard
        self._heard += samples.shape[1]
        self._encode(self._resampler.resample(frame))

    def _encode(self, frames: list[Any]) -> None:
        with _refused(optional.av(), "the sound track"):
            for frame in frames:
                self._open.mux(self._sound.encode(frame))

    def finish(self) -> None:
        av = optional.av()
        with _refused(av, f"{self.about.codec} in {self.about.path.suffix}"):
            self._open.mux(self._video.encode(None))
            if self._sound is not None:
                self._encode(self._resampler.resample(None))
                self._open.mux(self._sound.encode(None))
            self._open.close()

    def abort(self) -> None:
        with contextlib.suppress(Exception):  # its file is thrown away
            self._open.close()


def _missing(side: int, codec: Codec) -> int:
    """Pixels to a side that is even and that the encoder takes."""
    return max(side + side % 2, codec.least) - side


@contextlib.contextmanager
def _refused(av: Any, what: str) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, OverflowError) as error:
        raise ValueError(f"{what} cannot be written: {getattr(error, 'strerror', None) or error}") from None
