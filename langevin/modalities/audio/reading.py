"""Sound files as samples: whole, in part, or block by block; see :mod:`langevin.modalities.audio.files`."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from langevin import optional
from langevin.modalities.audio.sound import Audio, Samples

__all__ = ["EXTENSIONS", "Info", "Reader", "SoundError", "info", "read"]

TRACKS = (".m4a", ".mp4", ".mov", ".webm", ".mkv")  # containers, read by PyAV
EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", *TRACKS)
CONTAINERS = {"mov", "mp4", "m4a", "matroska", "webm"}
BLOCK = 65536  # samples of a channel
MEMORY = 4 << 30  # bytes of samples that read() takes at most


class SoundError(ValueError):
    """A file that is not a usable sound. ``file`` names it, ``reason`` says why."""

    def __init__(self, file: Path | str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file, self.reason = Path(file), reason


@dataclass(frozen=True)
class Info:
    """What a file says about itself.

    Attributes:
        rate: Hz.
        channels: number of channels.
        frames: samples of each channel; None where the container does not say.
    """

    rate: int
    channels: int
    frames: int | None

    @property
    def seconds(self) -> float | None:
        """Duration."""
        return None if self.frames is None else self.frames / self.rate


class Reader:
    """An open sound file; memory does not grow with its length.

    Args:
        path: the file.
        data: its contents, where it is no file of its own but part of an archive; ``path`` only names it then.

    Attributes:
        info: rate, channels and length.

    Raises:
        FileNotFoundError: no such file.
        SoundError: not a sound file that can be read.
    """

    def __init__(self, path: str | Path, data: bytes | None = None) -> None:
        self.path, self._data = Path(path), data
        if data is None and not self.path.exists():
            raise FileNotFoundError(f"no file {str(path)!r}")
        if data is None and not self.path.is_file():
            raise SoundError(path, "it is no regular file")
        if not (self.path.stat().st_size if data is None else len(data)):
            raise SoundError(path, "the file is empty")
        self._tracks = self.path.suffix.lower() in TRACKS
        self._open: Any
        self._open, self.info = self._container() if self._tracks else self._sndfile()

    @property
    def rate(self) -> int:
        """Hz."""
        return self.info.rate

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.info.channels

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._open.close()

    def _bytes(self) -> BinaryIO:
        return self.path.open("rb") if self._data is None else io.BytesIO(self._data)

    def _sndfile(self) -> tuple[Any, Info]:
        with self._bytes() as contents:
            _check_riff(self.path, contents)
        soundfile = optional.soundfile()
        try:
            file = soundfile.SoundFile(str(self.path) if self._data is None else self._bytes())
        except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
            kinds = ", ".join(EXTENSIONS)
            reason = str(getattr(error, "error_string", error)).rstrip(".")
            raise SoundError(self.path, f"not a readable sound file of {kinds}: {reason}") from None
        if file.frames < 1:
            file.close()
            raise SoundError(self.path, "it holds no samples")
        return file, Info(file.samplerate, file.channels, file.frames)

    def _container(self) -> tuple[Any, Info]:
        av = optional.av()
        try:
            container = av.open(self._bytes(), metadata_errors="replace", io_open=self._only_this)
        except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
            raise SoundError(self.path, f"not a readable sound file: {_reason(error)}") from None
        if not CONTAINERS & set(container.format.name.split(",")):
            container.close()
            raise SoundError(self.path, f"its contents are {container.format.name}, not what its name says")
        if not container.streams.audio:
            container.close()
            raise SoundError(self.path, "it has no sound track")
        stream = container.streams.audio[0]
        if not stream.rate or not stream.channels:
            container.close()
            raise SoundError(self.path, "its sound track has no sample rate")
        known = stream.duration is not None and stream.time_base is not None
        frames = round(stream.duration * stream.time_base * stream.rate) if known else None
        return container, Info(stream.rate, stream.channels, frames)

    def _only_this(self, url: str, flags: int, options: dict[str, str]) -> Any:
        """What FFmpeg asks for the files that a file names: there are none."""
        raise OSError(f"it asks for another file, {url!r:.80}")

    def blocks(self, size: int = BLOCK, start: int = 0, frames: int | None = None) -> Iterator[Samples]:
        """Samples (channels, ≤ size), one block after the other.

        Args:
            size: samples of a block; the last one may be shorter.
            start: first sample.
            frames: samples in all; to the end when None.

        Raises:
            SoundError: the file ends before its header says, its data are damaged, or NaN among them.
        """
        source = self._decoded(start) if self._tracks else self._stored(size, start, frames)
        there = None if self.info.frames is None else max(0, self.info.frames - start)
        left = there if frames is None else frames if there is None else min(frames, there)
        for block in _even(source, size):
            block = block if left is None else block[:, :left]
            if not np.isfinite(block).all():
                raise SoundError(self.path, "it holds NaN or infinity")
            yield block
            if left is not None and (left := left - block.shape[1]) <= 0:
                return

    def _stored(self, size: int, start: int, frames: int | None) -> Iterator[Samples]:
        soundfile = optional.soundfile()
        total = self._open.frames
        left = total - start if frames is None else min(frames, total - start)
        try:
            self._open.seek(min(start, total))
            while left > 0:
                block = self._open.read(min(size, left), dtype="float32", always_2d=True)
                if not len(block):
                    raise SoundError(self.path, f"truncated: {left} of its {total} samples are missing")
                left -= len(block)
                yield np.ascontiguousarray(block.T)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise SoundError(self.path, f"damaged: {error}") from None

    def _decoded(self, start: int) -> Iterator[Samples]:
        """The track from its beginning, opened anew: after a seek, FFmpeg's places are not exact to the sample.

        Encoders pad the last frame of a track; what lies beyond the declared duration is dropped.
        """
        av = optional.av()
        self._open.close()
        self._open, _ = self._container()
        stream = self._open.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        try:
            for frame in self._open.decode(stream):
                for part in resampler.resample(frame):
                    block = part.to_ndarray()
                    skipped = min(start, block.shape[1])
                    start -= skipped
                    if block.shape[1] > skipped:
                        yield block[:, skipped:]
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SoundError(self.path, f"damaged: {_reason(error)}") from None


def info(path: str | Path) -> Info:
    """Rate, channels and length of a file, from its header.

    Raises:
        FileNotFoundError: no such file.
        SoundError: not a sound file that can be read.
    """
    with Reader(path) as reader:
        return reader.info


def read(
    path: str | Path, start: float | None = None, seconds: float | None = None, data: bytes | None = None
) -> Audio:
    """The sound in a file.

    Args:
        path: the file.
        start: in seconds; from the beginning when None.
        seconds: duration; to the end when None.
        data: as for :class:`Reader`.

    Raises:
        FileNotFoundError: no such file.
        SoundError: not a sound file that can be read, a part that is not in it, or more than 4 GiB of samples.
    """
    with Reader(path, data) as reader:
        rate, channels = reader.rate, reader.channels
        first = round((start or 0.0) * rate)
        count = None if seconds is None else round(seconds * rate)
        if first < 0 or (count is not None and count < 1):
            raise SoundError(path, f"start={start!r}, seconds={seconds!r} is no part of a sound")
        blocks, held = [], 0
        for block in reader.blocks(start=first, frames=count):
            blocks.append(block)
            held += block.shape[1]
            if held * channels * 4 > MEMORY:
                raise SoundError(path, "more than 4 GiB of samples; read a part of it, or use files.Reader")
    if (count is not None and held < count) or not held:
        asked = f"{start or 0:g} s to " + ("the end" if seconds is None else f"{(start or 0) + seconds:g} s")
        if first or count is not None:
            raise SoundError(path, f"{asked} is no part of a sound of {(first + held) / rate:g} s or less")
        raise SoundError(path, "it holds no samples")
    return Audio(np.concatenate(blocks, 1), rate)


def _even(blocks: Iterable[Samples], size: int) -> Iterator[Samples]:
    """The same samples in blocks of ``size``."""
    held: list[Samples] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += block.shape[1]
        if count >= size:
            whole = np.concatenate(held, 1)
            for i in range(0, count - count % size, size):
                yield whole[:, i : i + size]
            held, count = [whole[:, count - count % size :]], count % size
    if count:
        yield np.concatenate(held, 1)


def _check_riff(path: Path, file: BinaryIO) -> None:
    """Refuses wav files whose header claims more samples than follow it; libsndfile would take what there is.

    Raises:
        SoundError: truncated, or a size that stands for "unknown".
    """
    size = file.seek(0, 2)
    file.seek(0)
    lead = file.read(12)
    if lead[:4] != b"RIFF" or lead[8:12] != b"WAVE":
        return
    while len(head := file.read(8)) == 8:
        name, claimed = head[:4], struct.unpack("<I", head[4:])[0]
        left = size - file.tell()
        if name == b"data":
            if claimed > left:
                raise SoundError(
                    path, f"truncated: its header claims {claimed} bytes of samples and {left} are there"
                )
            return
        if claimed > left:
            raise SoundError(path, "truncated in its header")
        file.seek(claimed + claimed % 2, 1)
    raise SoundError(path, "truncated: it has a header and no samples")


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
