"""Sounds as files, whole or not at all; see :mod:`langevin.modalities.audio.files`."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from langevin import optional
from langevin.core.errors import unknown
from langevin.folders import write_atomic
from langevin.modalities.audio.reading import Reader
from langevin.modalities.audio.sound import Audio, Samples, decibels

__all__ = ["EXACT", "WRITTEN", "Writer", "write"]

EXACT = (".wav", ".flac", ".ogg")  # formats that keep the number of samples
WRITTEN = (".wav", ".flac", ".ogg", ".mp3", ".m4a")
SUBTYPES = {
    ".wav": {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"},
    ".flac": {16: "PCM_16", 24: "PCM_24"},
    ".ogg": {16: "VORBIS"},
    ".mp3": {16: "MPEG_LAYER_III"},
    ".m4a": {16: "aac"},
}
LOSSLESS = (".wav", ".flac")
BLOCK = 65536  # samples of a channel; libsndfile's Vorbis encoder fails on blocks of millions
LEAD = 1024  # samples of a frame of AAC
PROBE = 4096  # samples of a channel that show whether a format takes a rate and channels
PEAK = 10 ** (-1 / 20)  # −1 dBFS
CLIPS = ("guard", "keep")

Blocks = Callable[[], Iterator[Samples]]


def write(audio: Audio, path: str | Path, bits: int = 16, clip: str = "guard") -> str:
    """Writes a sound, whole or not at all.

    Args:
        audio: the sound.
        path: .wav, .flac, .ogg, .mp3 or .m4a; its folder must exist.
        bits: 16, 24 (wav, flac) or 32 (floats, wav).
        clip: "guard" turns the sound down where its peak is above −1 dBFS; "keep" leaves levels as they are.

    Returns:
        What was done to the levels; empty where nothing was.

    Raises:
        ValueError: another suffix or number of bits; a rate or number of channels that the format does not have; a loop in
            a format that does not keep the number of samples.
    """
    _check_written(Path(path), bits, clip)
    if audio.loop and Path(path).suffix.lower() not in EXACT:
        raise ValueError(
            f"{path}: a loop must keep its number of samples, and players pad {Path(path).suffix}; "
            f"write {', '.join(EXACT)}"
        )
    peak, over = audio.peak, int((np.abs(audio.samples) > 1).sum())

    def blocks() -> Iterator[Samples]:
        return (audio.samples[:, i : i + BLOCK] for i in range(0, len(audio), BLOCK))

    return _File(Path(path), audio.rate, audio.channels, bits, clip).write(blocks, peak, over)


class Writer:
    """A sound file that grows by blocks; memory does not grow with its length.

    Blocks are kept as floats in a file beside the destination, which takes its place, with its peak guarded, when the
    block of ``with`` ends; after an exception nothing is left.

        with Writer("long.flac", rate=16000, channels=1) as writer:
            for sound in sounds:
                writer.append(sound.samples)
        print(writer.note)

    Args:
        path, bits, clip: as for :func:`write`.
        rate: Hz.
        channels: number of channels.

    Attributes:
        note: what was done to the levels, once the file is written.

    Raises:
        ValueError: as :func:`write`.
    """

    def __init__(
        self, path: str | Path, rate: int, channels: int = 1, bits: int = 16, clip: str = "guard"
    ) -> None:
        self.path, self.rate, self.channels, self.bits, self.clip = Path(path), rate, channels, bits, clip
        _check_written(self.path, bits, clip)
        self.note = ""
        self._peak, self._over = 0.0, 0
        self._kept = self.path.with_name(f".{self.path.stem}.{secrets.token_hex(4)}.partial.rf64")
        self._file: Any = None

    def __enter__(self) -> Writer:
        with (
            tempfile.TemporaryDirectory() as probe
        ):  # what cannot be encoded is refused before anything is drawn
            first = np.zeros((self.channels, PROBE), np.float32)
            about = _File(self.path, self.rate, self.channels, self.bits, self.clip)
            _encode(Path(probe) / f"probe{self.path.suffix}", [first], about)
        self._file = optional.soundfile().SoundFile(
            str(self._kept), "w", self.rate, self.channels, subtype="FLOAT", format="RF64"
        )
        return self

    def append(self, samples: Samples) -> None:
        """Adds samples (channels, n).

        Raises:
            ValueError: another number of channels, NaN or infinity.
        """
        samples = np.atleast_2d(np.asarray(samples, dtype=np.float32))
        if samples.ndim != 2 or len(samples) != self.channels:
            raise ValueError(f"samples must have shape ({self.channels}, n); got {samples.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("samples must be finite; they hold NaN or infinity")
        self._peak = max(self._peak, float(np.abs(samples).max(initial=0)))
        self._over += int((np.abs(samples) > 1).sum())
        self._file.write(samples.T)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        frames = self._file.tell()
        self._file.close()
        try:
            if kind is None:
                if not frames:
                    raise ValueError(f"{self.path}: no samples were appended")
                file = _File(self.path, self.rate, self.channels, self.bits, self.clip)
                self.note = file.write(self._blocks, self._peak, self._over)
        finally:
            self._kept.unlink(missing_ok=True)

    def _blocks(self) -> Iterator[Samples]:
        with optional.soundfile().SoundFile(str(self._kept)) as kept:
            for block in kept.blocks(BLOCK, dtype="float32", always_2d=True):
                yield block.T


class PieceWriter(Writer):
    """A sound file that grows by sounds."""

    def append(self, piece: Any) -> None:
        """Adds a sound (:class:`Audio`) of the file's rate and channels."""
        super().append(piece.samples)


@dataclass(frozen=True)
class _File:
    """A file to be written."""

    path: Path
    rate: int
    channels: int
    bits: int
    clip: str

    def write(self, blocks: Blocks, peak: float, over: int) -> str:
        """Writes samples of a known peak, ``over`` of them beyond full scale; the note about levels."""
        gain = 1.0
        if self.clip == "guard" and peak > PEAK:
            gain = 0.9999 * PEAK / peak  # not above it once it is rounded

        def content(file: Path) -> None:
            nonlocal gain
            for attempt in itertools.count(1):
                _encode(file, (block * np.float32(gain) for block in blocks()), self)
                if self.clip == "keep" or self.path.suffix.lower() in LOSSLESS:
                    return
                with Reader(file) as reader:  # lossy encoders overshoot
                    played = max(float(np.abs(block).max()) for block in reader.blocks())
                if played <= PEAK:
                    return
                gain *= 0.99**attempt * PEAK / played  # overshoot need not fall with the level

        write_atomic(self.path, content)
        if self.clip == "keep":
            clipped = over if self.bits != 32 else 0
            return f"{clipped} samples beyond full scale were clipped" if clipped else ""
        return f"turned down by {-decibels(gain):.1f} dB to a peak of −1 dBFS" if gain < 1 else ""


def _check_written(path: Path, bits: int, clip: str) -> None:
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise ValueError(f"{path}: " + unknown("suffix of a sound file", suffix, WRITTEN))
    if bits not in SUBTYPES[suffix]:
        allowed = " or ".join(map(str, SUBTYPES[suffix]))
        raise ValueError(f"{path}: bits of {suffix} must be {allowed}; got {bits!r}")
    if clip not in CLIPS:
        raise ValueError(unknown("value of clip", clip, CLIPS))


def _encode(path: Path, blocks: Iterable[Samples], about: _File) -> None:
    suffix, rate, channels, bits = path.suffix.lower(), about.rate, about.channels, about.bits
    if suffix == ".m4a":
        return _encode_track(path, blocks, rate, channels)
    soundfile = optional.soundfile()
    kind = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}[suffix]
    try:
        with soundfile.SoundFile(
            str(path), "w", rate, channels, subtype=SUBTYPES[suffix][bits], format=kind
        ) as file:
            for block in blocks:
                file.write(_integers(block, bits).T if suffix in (".wav", ".flac") else block.T.clip(-1, 1))
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        raise ValueError(f"{kind} of {rate} Hz and {channels} channels cannot be written: {error}") from None


def _integers(block: Samples, bits: int) -> Any:
    """Samples as libsndfile stores them unchanged: its own conversion of floats multiplies by 32767."""
    if bits == 32:
        return block
    scale = float(1 << (bits - 1))
    whole = np.rint(block.astype(np.float64) * scale).clip(-scale, scale - 1)
    return whole.astype(np.int16) if bits == 16 else whole.astype(np.int32) << 8


def _encode_track(path: Path, blocks: Iterable[Samples], rate: int, channels: int) -> None:
    """AAC in an MPEG-4 container."""
    av = optional.av()
    layout = {1: "mono", 2: "stereo"}.get(channels)
    if layout is None:
        raise ValueError(f"m4a of {channels} channels cannot be written; make it mono or stereo")
    try:
        with contextlib.closing(av.open(str(path), "w", format="ipod")) as container:
            stream = container.add_stream("aac", rate=rate, layout=layout)
            # the encoder garbles a sudden beginning, so silence comes before it, at a time that players skip
            place = -LEAD
            for block in itertools.chain([np.zeros((channels, LEAD), dtype=np.float32)], blocks):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(block.clip(-1, 1), dtype=np.float32), format="fltp", layout=layout
                )
                frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), place
                place += block.shape[1]
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(
            f"m4a of {rate} Hz cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from None
