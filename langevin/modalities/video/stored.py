"""Clips outside containers: animated and still pictures, npz, and folders of numbered PNGs."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from langevin import optional
from langevin.modalities.video.clip import Frames, Track
from langevin.modalities.video.opened import (
    MAX_FRAMES,
    MEMORY,
    Opened,
    VideoError,
    check_size,
    parse_remark,
)

__all__ = ["ABOUT", "SOUND", "Animation", "Archive", "Folder"]

FORMATS = ("PNG", "GIF", "WEBP", "JPEG", "BMP")  # decoders that never start another program
ABOUT, SOUND = "clip.json", "sound.wav"  # of a folder of pictures
UNSAID = (
    100.0  # ms: players show frames of a GIF without a duration, or below 2 hundredths of a second, this long
)
UNITS = {"GIF": 100, "WEBP": 1000}  # of durations, in a second


def _rounded(count: int, fps: float, unit: int) -> list[int]:
    """Durations of frames in 1 / unit seconds, rounded so that errors do not add up."""
    ends = [round(unit * k / fps) for k in range(count + 1)]
    return [b - a for a, b in itertools.pairwise(ends)]


def _picture(path: Path) -> Any:
    """An open picture whose size is within bounds."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below, by our own bound
            picture = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise VideoError(path, f"too many pixels: {error}") from None
    except UnidentifiedImageError:
        raise VideoError(path, "not a readable GIF, PNG, WebP, JPEG or BMP file, or truncated") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise VideoError(path, f"truncated or damaged: {error}") from None
    try:
        check_size(path, *picture.size)
    except VideoError:
        picture.close()
        raise
    return picture


def _pixels(path: Path, picture: Any) -> Frames:
    """RGB of the frame at which a picture stands; what is transparent is laid over white."""
    from PIL import Image

    try:
        picture.load()
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            over = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over)
        return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise VideoError(path, f"truncated or damaged: {error}") from None


class Animation(Opened):
    """An open GIF, animated PNG or WebP, or a still picture, which is one frame at one frame per second.

    Raises:
        VideoError: not such a file, damaged, or with frames that are too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.closing(_picture(path)) as picture:
            self.size = picture.size
            count = int(getattr(picture, "n_frames", 1))
            if count > MAX_FRAMES:
                raise VideoError(path, f"it has more than {MAX_FRAMES} frames")
            unit, durations, stated = UNITS.get(picture.format or "", 0), [], []
            for k in range(count):
                try:
                    picture.seek(k)
                    if picture.format == "WEBP":
                        picture.load()  # which learns the duration
                except (OSError, SyntaxError, ValueError, EOFError) as error:
                    raise VideoError(path, f"truncated or damaged at frame {k}: {error}") from None
                given = float(picture.info.get("duration", 0) or 0)
                stated.append(round(given * unit / 1000))
                durations.append(given if given > (10 if picture.format == "GIF" else 0) else UNSAID)
            if count == 1 and not picture.info.get("duration"):
                durations = [1000.0]
            text = picture.info.get("comment") or picture.info.get("Comment") or picture.info.get("xmp")
        ends = np.cumsum(durations) / 1000
        told = parse_remark(text)
        if told is not None and unit and stated == _rounded(count, told[1], unit):
            ends = np.arange(1, count + 1) / told[1]  # the file's durations are those of the rate, rounded
        self.starts, self.end = np.concatenate([[0.0], ends[:-1]]), float(ends[-1])
        self.rates = () if told is None else (told[1],)

    def close(self) -> None:
        """Nothing is open between calls."""

    def stored(self, first: int) -> Iterator[tuple[int, Frames]]:
        with contextlib.closing(_picture(self.path)) as picture:
            for k in range(len(self.starts)):  # frames build on one another
                try:
                    picture.seek(k)
                except (OSError, SyntaxError, ValueError, EOFError) as error:
                    raise VideoError(self.path, f"truncated or damaged at frame {k}: {error}") from None
                if k >= first:
                    yield k, _pixels(self.path, picture)


class Folder(Opened):
    """Numbered PNGs in a folder, in the order of their numbers; clip.json says the frame rate, sound.wav is the sound.

    Args:
        path: the folder.
        fps: frames per second, for folders without clip.json.

    Raises:
        VideoError: no numbered PNGs, of different sizes, or no frame rate.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self.path = path
        numbered = []
        for file in path.iterdir():
            found = re.search(r"(\d{1,12})\D*\.png$", file.name, re.I)
            if found and not file.name.startswith("."):
                numbered.append((int(found[1]), file.name, file))
        self._files = [file for _, _, file in sorted(numbered)]
        if not self._files:
            raise VideoError(path, "it holds no numbered .png files")
        if len(self._files) > MAX_FRAMES:
            raise VideoError(path, f"it has more than {MAX_FRAMES} frames")
        with contextlib.closing(_picture(self._files[0])) as picture:
            self.size = picture.size
        rate = self._rate() if fps is None else float(fps)
        self.starts, self.end = np.arange(len(self._files)) / rate, len(self._files) / rate
        self.rates = (rate,)
        if (path / SOUND).is_file():
            soundfile = optional.soundfile()
            try:
                about = soundfile.info(str(path / SOUND))
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise VideoError(path / SOUND, f"not a readable sound file: {error}") from None
            self.sound = (about.samplerate, about.channels)

    def _rate(self) -> float:
        about = self.path / ABOUT
        try:
            with about.open("rb") as file:
                fps = json.loads(file.read(4096))["fps"]
        except FileNotFoundError:
            raise VideoError(
                self.path, f"a folder of pictures without {ABOUT} has no frame rate; give fps="
            ) from None
        except (ValueError, TypeError, KeyError, RecursionError):
            raise VideoError(about, 'it must hold {"fps": frames per second}') from None
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < 1e6:
            raise VideoError(about, f"fps must be a positive number; got {fps!r:.40}")
        return float(fps)

    def close(self) -> None:
        """Nothing is open between calls."""

    def stored(self, first: int) -> Iterator[tuple[int, Frames]]:
        for k in range(first, len(self._files)):
            with contextlib.closing(_picture(self._files[k])) as picture:
                if picture.size != self.size:
                    raise VideoError(
                        self._files[k],
                        f"{picture.width} x {picture.height} pixels, and the first one has "
                        f"{self.size[0]} x {self.size[1]}",
                    )
                yield k, _pixels(self._files[k], picture)

    def track(self, start: float, seconds: float) -> Track | None:
        if self.sound is None:
            return None
        rate, channels = self.sound
        total = max(1, round(seconds * rate))
        if total * channels * 4 > MEMORY:
            raise VideoError(self.path / SOUND, "more than 4 GiB of sound; read a part of it")
        soundfile = optional.soundfile()
        samples = np.zeros((channels, total), np.float32)
        try:
            with soundfile.SoundFile(str(self.path / SOUND)) as file:
                if (first := round(start * rate)) < file.frames:
                    file.seek(first)
                    got = file.read(total, dtype="float32", always_2d=True).T
                    samples[:, : got.shape[1]] = got
            return Track(samples, rate)
        except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
            raise VideoError(self.path / SOUND, f"damaged: {error}") from None


class Archive(Opened):
    """An npz: ``frames`` uint8 (T, H, W, 3), ``fps``, and where there is sound ``audio`` float32 (channels, n), ``rate``.

    Sizes are taken from the headers before memory is, and nothing in it is unpickled.

    Raises:
        VideoError: not such a file, truncated, or with frames that are too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise VideoError(path, f"not a readable npz file, or truncated: {error}") from None
        try:
            with self._member("frames", 4, "u1") as (shape, _, _):
                count, height, width, channels = shape
            if channels != 3 or not count:
                raise VideoError(path, f"frames must have shape (T, H, W, 3), T at least 1; got {shape}")
            check_size(path, width, height)
            if count > MAX_FRAMES:
                raise VideoError(path, f"it has more than {MAX_FRAMES} frames")
            self.size, fps = (width, height), self._number("fps")
            if fps >= 1e6:
                raise VideoError(path, f"fps must be below a million; got {fps}")
            if "audio.npy" in self._zip.namelist():
                rate = self._number("rate")
                with self._member("audio", 2, "f4") as (shape, _, _):
                    if rate != int(rate) or rate < 1 or not 0 < shape[0] <= 64:
                        raise VideoError(path, f"sound of {shape[0]} channels at {rate} Hz cannot be")
                    self.sound = (int(rate), shape[0])
        except BaseException:
            self.close()
            raise
        self.starts, self.end = np.arange(count) / fps, count / fps
        self.rates = (fps,)

    def close(self) -> None:
        self._zip.close()

    @contextlib.contextmanager
    def _member(
        self, name: str, axes: int, kind: str | None
    ) -> Iterator[tuple[tuple[int, ...], np.dtype[Any], BinaryIO]]:
        """Shape and type of an array, and a stream that stands at its first value; any real numbers for no ``kind``."""
        try:
            with self._zip.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, fortran, dtype = read(member, max_header_size=4096)
                if dtype.hasobject:
                    raise VideoError(self.path, f"{name!r} holds Python objects, which are not read")
                fits = dtype.kind in "iuf" if kind is None else dtype.newbyteorder("=") == np.dtype(kind)
                if len(shape) != axes or not fits or fortran:
                    wanted = (
                        f"{np.dtype(kind)} with {axes} axes, the last one contiguous"
                        if axes
                        else "one number"
                    )
                    raise VideoError(self.path, f"{name!r} must be {wanted}; it is {dtype} of shape {shape}")
                yield shape, dtype, member  # type: ignore[misc]
        except KeyError:
            raise VideoError(self.path, f"it holds no array {name!r}") from None
        except (
            zipfile.BadZipFile,
            OSError,
            EOFError,
            zlib.error,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise VideoError(self.path, f"truncated or damaged: {error}") from None
        except ValueError as error:
            if isinstance(error, VideoError):
                raise
            raise VideoError(self.path, f"{name!r} is not an array: {error}") from None

    def _number(self, name: str) -> float:
        with self._member(name, 0, None) as (_, dtype, member):
            value = float(np.frombuffer(self._bytes(member, dtype.itemsize), dtype)[0])
        if not 0 < value < np.inf:
            raise VideoError(self.path, f"{name} must be a positive number; got {value}")
        return value

    def _bytes(self, member: BinaryIO, count: int) -> bytes:
        data = member.read(count)
        if len(data) < count:
            raise VideoError(self.path, "truncated: an array is shorter than its header says")
        return data

    def stored(self, first: int) -> Iterator[tuple[int, Frames]]:
        width, height = self.size
        with self._member("frames", 4, "u1") as (_, _, member):
            for k in range(len(self.starts)):
                data = self._bytes(member, width * height * 3)
                if k >= first:
                    yield k, np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def track(self, start: float, seconds: float) -> Track | None:
        if self.sound is None:
            return None
        rate, channels = self.sound
        first, total = round(start * rate), max(1, round(seconds * rate))
        if total * channels * 4 > MEMORY:
            raise VideoError(self.path, "more than 4 GiB of sound; read a part of it")
        samples = np.zeros((channels, total), np.float32)
        with self._member("audio", 2, "f4") as (shape, dtype, member):
            for row in samples:  # one channel after the other
                skipped, there = min(first, shape[1]), max(0, min(total, shape[1] - first))
                self._skip(member, 4 * skipped)
                row[:there] = np.frombuffer(self._bytes(member, 4 * there), dtype)
                self._skip(member, 4 * (shape[1] - skipped - there))
        if not np.isfinite(samples).all():
            raise VideoError(self.path, "its sound track holds NaN or infinity")
        return Track(samples, rate)

    def _skip(self, member: BinaryIO, count: int) -> None:
        while count > 0:
            count -= len(self._bytes(member, min(count, 1 << 20)))
