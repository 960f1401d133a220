"""Clips as files, whole or not at all; see :mod:`langevin.modalities.video.files`."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from langevin.core.errors import unknown
from langevin.folders import write_atomic
from langevin.modalities.video.clip import Track, Video
from langevin.modalities.video.encoders import APNG, GIF, About, Archive, Encoder, Folder, WebP
from langevin.modalities.video.muxing import ALLOWED, CODECS, Muxer, codec_of
from langevin.modalities.video.opened import check_size

__all__ = ["LOSSLESS", "WRITTEN", "PieceWriter", "write"]

LOSSLESS = (".npz", ".apng", ".png", ".webp")  # where every value survives, and the frame rate
WRITTEN = (*ALLOWED, ".gif", ".apng", ".png", ".webp", ".npz")  # and folders, which have no suffix
KINDS: dict[str, type[Any]] = {
    ".gif": GIF,
    ".apng": APNG,
    ".png": APNG,
    ".webp": WebP,
    ".npz": Archive,
    "": Folder,
    **dict.fromkeys(ALLOWED, Muxer),
}


def write(video: Video, path: str | Path, quality: int | None = None, codec: str | None = None) -> str:
    """Writes a clip, whole or not at all.

    Args:
        video: the clip.
        path: .mp4, .mov, .mkv, .webm, .gif, .apng, .png (animated), .webp or .npz; its folder must exist. A name without
            suffix is a folder of PNGs, which must not exist yet.
        quality: of mp4, mov, mkv and webm the constant rate factor, 0 (best) to 51, or 63 of vp9 and av1; of webp 0 to 100
            (best), which makes it lossy. None for the format's own.
        codec: h264 (the default), hevc, av1 or vp9 in mp4; h264 or hevc in mov; vp9 (the default) or av1 in webm; any of
            these or ffv1, which is lossless, in mkv.

    Returns:
        What is otherwise in the file than in the clip: padding, and sound that was resampled, brought to the length of the
        frames, or left out. Empty where nothing is.

    Raises:
        ValueError: another suffix, codec or quality; a size, frame rate or sound that the format does not have.
        FileExistsError: the folder is there already.
    """
    track = video.audio
    sound = None if track is None else (track.rate, len(track.samples))
    with PieceWriter(path, video.fps, video.size, sound, quality, codec) as writer:
        writer.append(video)
    return writer.note


class PieceWriter:
    """A video file that grows by clips; memory does not grow with its length.

    It takes its name when the block of ``with`` ends; after an exception nothing is left.

        with PieceWriter("long.mp4", fps=25, size=(640, 360)) as writer:
            for clip in clips:
                writer.append(clip)
        print(writer.note)

    Args:
        path, quality, codec: as for :func:`write`.
        fps: frames per second.
        size: width and height in pixels.
        sound: sample rate in Hz and number of channels; None for a silent file.

    Attributes:
        note: as :func:`write` returns it, once the file is written.

    Raises:
        ValueError, FileExistsError: as :func:`write`.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        size: tuple[int, int],
        sound: tuple[int, int] | None = None,
        quality: int | None = None,
        codec: str | None = None,
    ) -> None:
        self.path, self.note = Path(path), ""
        check_size(self.path, *size)
        self.about = _checked(About(self.path, float(fps), size, sound, quality, codec))
        self._frames = self._heard = 0
        self._changed = False  # whether the sound was cut or filled up
        self._staged = self.path.with_name(
            f".{self.path.stem}.{secrets.token_hex(4)}.partial{self.path.suffix}"
        )
        self._encoder: Encoder

    def __enter__(self) -> PieceWriter:
        kind: type[Any] = KINDS[self.path.suffix.lower()]
        self._sound = self.about.sound if kind.sounds else None
        try:
            self._encoder = kind(self._staged, self.about)
        except BaseException:
            self._remove()
            raise
        return self

    def append(self, piece: Any) -> None:
        """Adds a :class:`Video`, with its sound for as long as its frames last, or frames (T, H, W, 3), which are silent.

        Raises:
            ValueError: another size, frame rate, or another kind of sound than the file's.
        """
        clip = piece if isinstance(piece, Video) else Video(piece, self.about.fps)
        if clip.size != self.about.size:
            raise ValueError(f"frames must have {self.about.size} pixels (width, height); got {clip.size}")
        if clip.fps != self.about.fps:
            raise ValueError(f"pieces must have {self.about.fps:g} fps; got {clip.fps:g}")
        if clip.audio is not None and self.about.sound not in (
            None,
            (clip.audio.rate, len(clip.audio.samples)),
        ):
            raise ValueError(f"sound must have (rate, channels) = {self.about.sound}; got {clip.audio}")
        for frame in clip.frames:
            self._encoder.frame(frame)
        self._frames += len(clip)
        if self._sound is not None:
            rate, channels = self._sound
            due = max(0, round(self._frames / self.about.fps * rate) - self._heard)
            track = clip.audio or Track(np.zeros((channels, 1), np.float32), rate)
            self._changed |= len(track) != due
            samples = track.samples[:, :due]
            samples = np.pad(samples, ((0, 0), (0, due - samples.shape[1])))
            for k in range(0, due, 65536):
                self._encoder.samples(samples[:, k : k + 65536])
            self._heard += due

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                if not self._frames:
                    raise ValueError(f"{self.path}: no frames were appended")
                self._encoder.finish()
                if self._staged.is_dir():
                    os.rename(self._staged, self.path)
                else:
                    write_atomic(self.path, lambda place: os.replace(self._staged, place))
                self.note = "; ".join(self._notes())
        finally:
            self._encoder.abort()
            self._remove()

    def _remove(self) -> None:
        if self._staged.is_dir():
            shutil.rmtree(self._staged)
        self._staged.unlink(missing_ok=True)

    def _notes(self) -> list[str]:
        about, notes, suffix = self.about, [], self.path.suffix.lower()
        if isinstance(self._encoder, Muxer) and any(padding := self._encoder.padding):
            width, height = (a + b for a, b in zip(about.size, padding, strict=True))
            notes.append(
                f"padded to {width} x {height} pixels, which langevin crops back and other readers show"
            )
        if about.sound is not None and self._sound is None:
            notes.append(f"without its sound, which {suffix} does not hold")
        elif self._sound is not None and self._changed:
            notes.append("its sound was cut or filled up with silence to the length of the frames")
        if (
            isinstance(self._encoder, Muxer)
            and about.sound is not None
            and self._encoder.rate != about.sound[0]
        ):
            notes.append(f"its sound was resampled to {self._encoder.rate} Hz")
        if suffix == ".gif" and about.fps > 50:
            notes.append("players show GIFs at 50 fps or slower")
        return notes


def _checked(about: About) -> About:
    """The same with its codec's name."""
    path, suffix, quality = about.path, about.path.suffix.lower(), about.quality
    if suffix not in KINDS:
        raise ValueError(f"{path}: " + unknown("suffix of a video file", suffix, WRITTEN))
    if not suffix and path.exists():
        raise FileExistsError(f"{path} is there already; choose another name")
    if not 0 < about.fps < 1e6:
        raise ValueError(f"fps must be finite and positive; got {about.fps!r}")
    if about.sound is not None and (about.sound[0] < 1 or about.sound[1] < 1):
        raise ValueError(f"sound must be (rate, channels), both positive; got {about.sound}")
    codec = codec_of(suffix, about.codec) if suffix in ALLOWED else None
    if codec is None and about.codec is not None:
        raise ValueError(f"{path}: codec is chosen for {', '.join(ALLOWED)} only; got {about.codec!r}")
    if quality is not None:
        worst = (
            100
            if suffix == ".webp"
            else CODECS[codec].worst
            if codec and not CODECS[codec].lossless
            else None
        )
        if worst is None:
            raise ValueError(f"{path}: {codec or suffix or 'a folder of PNGs'} has no quality")
        if isinstance(quality, bool) or not isinstance(quality, int) or not 0 <= quality <= worst:
            raise ValueError(f"quality of {codec or suffix} must be 0 to {worst}; got {quality!r}")
    return About(about.path, about.fps, about.size, about.sound, quality, codec)
