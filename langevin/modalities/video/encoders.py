"""Encoders: each makes one kind of file, frame by frame, with memory that does not grow; see :mod:`.writing`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from langevin import optional
from langevin.modalities.video.clip import Frames
from langevin.modalities.video.opened import remark
from langevin.modalities.video.stored import ABOUT, SOUND

__all__ = ["About", "Encoder"]


@dataclass(frozen=True)
class About:
    """What is to be written.

    Attributes:
        path: the destination; its suffix says the format.
        fps: frames per second.
        size: width and height in pixels.
        sound: sample rate in Hz and number of channels; None without a sound track.
        quality: None for the format's own.
        codec: of a container.
    """

    path: Path
    fps: float
    size: tuple[int, int]
    sound: tuple[int, int] | None
    quality: int | None
    codec: str | None

    @property
    def remark(self) -> str:
        """What the reader needs to give the clip back as it was."""
        return remark(self.size, self.fps)


class Encoder(ABC):
    """One file being written.

    Args:
        path: where; not the destination yet.
        about: what.
    """

    sounds: ClassVar[bool] = True  # whether the format holds sound

    @abstractmethod
    def frame(self, frame: Frames) -> None:
        """Adds a frame (H, W, 3)."""

    def samples(self, samples: NDArray[np.float32]) -> None:
        """Adds sound (channels, n), where the format holds any."""
        raise NotImplementedError

    @abstractmethod
    def finish(self) -> None:
        """Completes the file."""

    @abstractmethod
    def abort(self) -> None:
        """Gives up what is held open; the file is removed by the caller. Does nothing after :meth:`finish`."""


class _Animated(Encoder):
    """Files of frames that follow one another as bytes, with a head that counts them where the format wants it."""

    sounds = False

    def __init__(self, path: Path, about: About) -> None:
        self.about, self.count = about, 0
        self.file: BinaryIO = path.open("wb")
        self.begin()

    def begin(self) -> None:
        """Writes the head."""

    def duration(self, unit: int) -> int:
        """Of the next frame, in 1 / unit seconds; rounded so that errors do not add up."""
        begin, end = (round(unit * k / self.about.fps) for k in (self.count, self.count + 1))
        return end - begin

    def abort(self) -> None:
        self.file.close()


class APNG(_Animated):
    """PNG with an animation control chunk (PNG, third edition, §11.3.7); lossless."""

    def begin(self) -> None:
        width, height = self.about.size
        self.file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        self._chunk(b"tEXt", b"Comment\0" + self.about.remark.encode())
        self._place = self.file.tell()
        self._chunk(b"acTL", struct.pack(">II", 0, 0))  # frames, known in the end; repetitions: for ever
        self._number = 0
        self._delay = Fraction(1 / self.about.fps).limit_denominator(65535)
        if not 0 < self._delay.numerator <= 65535:
            raise ValueError(f"animated PNG cannot have {self.about.fps:g} fps")

    def frame(self, frame: Frames) -> None:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "PNG")
        delay = (self._delay.numerator, self._delay.denominator)
        place = (self.about.size[0], self.about.size[1], 0, 0)
        self._chunk(b"fcTL", struct.pack(">IIIIIHHBB", self._next(), *place, *delay, 0, 0))
        for kind, data in _png_chunks(buffer.getvalue()):
            if kind == b"IDAT" and not self.count:
                self._chunk(b"IDAT", data)
            elif kind == b"IDAT":
                self._chunk(b"fdAT", struct.pack(">I", self._next()) + data)
        self.count += 1

    def finish(self) -> None:
        self._chunk(b"IEND", b"")
        self.file.seek(self._place)
        self._chunk(b"acTL", struct.pack(">II", self.count, 0))
        self.file.close()

    def _next(self) -> int:
        self._number += 1
        return self._number - 1

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self.file.write(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        yield kind, data[place + 8 : place + 8 + length]
        place += 12 + length


class WebP(_Animated):
    """Animated WebP (RFC 9649, §2.7), of whole frames: lossless, or lossy at a quality."""

    def begin(self) -> None:
        width, height = self.about.size
        if max(width, height) > 16383:
            raise ValueError(f"WebP holds up to 16383 pixels a side; got {width} x {height}")
        self.file.write(b"RIFF\0\0\0\0WEBP")
        # flags: XMP and animation
        self._chunk(b"VP8X", struct.pack("<I", 0x06) + _three(width - 1) + _three(height - 1))
        self._chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0))

    def frame(self, frame: Frames) -> None:
        from PIL import Image

        how = (
            {"lossless": True} if self.about.quality is None else {"quality": self.about.quality, "method": 4}
        )
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "WEBP", **how)  # type: ignore[arg-type]
        data = b"".join(
            kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
            for kind, body in _riff_chunks(buffer.getvalue())
            if kind in (b"VP8 ", b"VP8L")
        )
        head = _three(0) + _three(0) + _three(frame.shape[1] - 1) + _three(frame.shape[0] - 1)
        self._chunk(b"ANMF", head + _three(self.duration(1000)) + b"\x02" + data)  # 2: do not blend
        self.count += 1

    def finish(self) -> None:
        self._chunk(b"XMP ", self.about.remark.encode())
        size = self.file.tell() - 8
        if size > 0xFFFFFFFE:
            raise ValueError("a WebP file holds up to 4 GiB")
        self.file.seek(4)
        self.file.write(struct.pack("<I", size))
        self.file.close()

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self.file.write(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2))


def _three(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 12
    while place + 8 <= len(data):
        kind, length = struct.unpack("<4sI", data[place : place + 8])
        yield kind, data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


class GIF(_Animated):
    """GIF with a palette for each frame: exact for frames of up to 256 colours, dithered beyond."""

    def begin(self) -> None:
        width, height = self.about.size
        if max(width, height) > 65535:
            raise ValueError(f"GIF holds up to 65535 pixels a side; got {width} x {height}")
        text = self.about.remark.encode()
        self.file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
        self.file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")  # for ever
        self.file.write(b"!\xfe" + bytes([len(text)]) + text + b"\0")

    def frame(self, frame: Frames) -> None:
        from PIL import GifImagePlugin

        shown = _paletted(frame)
        self.file.write(b"!\xf9\x04\x04" + struct.pack("<H", self.duration(100)) + b"\0\0")
        for part in GifImagePlugin.getdata(shown, include_color_table=True):
            self.file.write(part)
        self.count += 1

    def finish(self) -> None:
        self.file.write(b";")
        self.file.close()


def _paletted(frame: Frames) -> Any:
    from PIL import Image

    values = frame.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, places = np.unique(values, return_inverse=True)
    if len(colours) > 256:
        palette = Image.fromarray(frame).quantize(256, Image.Quantize.MEDIANCUT)
        return Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    shown = Image.fromarray(places.reshape(values.shape).astype(np.uint8), "P")
    shown.putpalette(
        np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8).tobytes()
    )
    return shown


class Archive(Encoder):
    """npz, lossless; frames are kept in a file beside it until their number is known."""

    def __init__(self, path: Path, about: About) -> None:
        self.path, self.about, self.count, self.heard = path, about, 0, 0
        self._frames: Any = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed by abort
        self._samples: Any = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed by abort

    def frame(self, frame: Frames) -> None:
        self._frames.write(np.ascontiguousarray(frame).tobytes())
        self.count += 1

    def samples(self, samples: NDArray[np.float32]) -> None:
        self._samples.write(np.ascontiguousarray(samples.T, "<f4").tobytes())
        self.heard += samples.shape[1]

    def finish(self) -> None:
        width, height = self.about.size
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as file:
            with self._array(file, "frames", (self.count, height, width, 3), "|u1") as member:
                self._frames.seek(0)
                shutil.copyfileobj(self._frames, member, 1 << 20)
            with self._array(file, "fps", (), "<f8") as member:
                member.write(struct.pack("<d", self.about.fps))
            if self.about.sound is not None:
                rate, channels = self.about.sound
                with self._array(file, "rate", (), "<f8") as member:
                    member.write(struct.pack("<d", rate))
                with self._array(file, "audio", (channels, self.heard), "<f4") as member:
                    for k in range(channels):
                        self._samples.seek(0)
                        while data := self._samples.read(4 * channels << 14):
                            member.write(np.frombuffer(data, "<f4").reshape(-1, channels)[:, k].tobytes())
        self.abort()

    def abort(self) -> None:
        self._frames.close()
        self._samples.close()

    @contextlib.contextmanager
    def _array(self, file: zipfile.ZipFile, name: str, shape: tuple[int, ...], kind: str) -> Iterator[Any]:
        with file.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(
                member, {"descr": kind, "fortran_order": False, "shape": shape}
            )
            yield member


class Folder(Encoder):
    """A folder of PNGs, 00000.png and on, lossless, with clip.json and sound.wav (32-bit floats)."""

    def __init__(self, path: Path, about: About) -> None:
        path.mkdir()
        self.path, self.count = path, 0
        (path / ABOUT).write_text(json.dumps({"fps": about.fps}) + "\n", encoding="utf-8")
        self._sound: Any = None
        if about.sound is not None:
            rate, channels = about.sound
            self._sound = optional.soundfile().SoundFile(
                str(path / SOUND), "w", rate, channels, subtype="FLOAT", format="WAV"
            )

    def frame(self, frame: Frames) -> None:
        from PIL import Image

        Image.fromarray(frame).save(self.path / f"{self.count:05d}.png")
        self.count += 1

    def samples(self, samples: NDArray[np.float32]) -> None:
        self._sound.write(samples.T)

    def finish(self) -> None:
        self.abort()
        for file in self.path.iterdir():
            with file.open("rb+") as written:
                os.fsync(written.fileno())

    def abort(self) -> None:
        if self._sound is not None:
            self._sound.close()
