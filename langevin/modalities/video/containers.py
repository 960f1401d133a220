"""Clips in containers (mp4, mov, mkv, webm, avi), decoded by FFmpeg's libraries (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from langevin import optional
from langevin.modalities.video.clip import Frames, Track
from langevin.modalities.video.opened import (
    MAX_FRAMES,
    MAX_PIXELS,
    MEMORY,
    Opened,
    VideoError,
    check_size,
    parse_remark,
)

__all__ = ["Container"]

# The only readers of FFmpeg that are tried: none of them opens another file.
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
PADDING = 64  # pixels that an encoder may have asked for beyond the size of the clip


class Container(Opened):
    """An open container: its first video stream, and its first sound stream.

    Rotation that the file asks for is applied, and padding of langevin's own files cut off.

    Raises:
        VideoError: not such a container, truncated, without a picture, or with frames that are too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._padded: tuple[int, int] | None = None  # size before cropping, where there is padding
        self._open = self._container()
        try:
            self._index()
            self._look()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._open.close()

    def _container(self) -> Any:
        av = optional.av()
        try:
            container = av.open(
                str(self.path),
                metadata_errors="replace",
                io_open=self._only_this,
                options={"format_whitelist": DEMUXERS},
            )
        except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
            raise VideoError(
                self.path, f"not a readable video file, or truncated: {_reason(error)}"
            ) from None
        # cover art of sound files is a stream of one picture
        streams = [s for s in container.streams.video if not int(s.disposition) & ATTACHED]
        if not streams:
            sound = bool(container.streams.audio)
            container.close()
            raise VideoError(self.path, "it has sound and no picture" if sound else "it has no video stream")
        stream = streams[0]
        try:
            check_size(self.path, stream.width or 1, stream.height or 1)
            if stream.codec_context is None:
                raise VideoError(self.path, "its video codec is not known")
        except VideoError:
            container.close()
            raise
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self._stream = stream
        return container

    def _only_this(self, url: str, flags: int, options: dict[str, str]) -> Any:
        """Opens the file itself, and no file that it names."""
        if url != str(self.path):
            raise OSError(f"it asks for another file, {url!r:.80}")
        return self.path.open("rb")

    def _index(self) -> None:
        """Times of all frames, from the packets; nothing is decoded."""
        av = optional.av()
        stream, container = self._stream, self._open
        stamps, packets, reached, last = [], 0, 0.0, (-1, 0)
        streams = [stream, *container.streams.audio[:1]]
        try:
            for packet in container.demux(streams):
                if packet.size == 0 or packet.time_base is None:
                    continue
                if packet.pts is not None:
                    reached = max(reached, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream.index != stream.index:
                    continue
                packets += 1
                if packet.is_corrupt:
                    raise VideoError(self.path, f"truncated or damaged at frame {packets - 1}")
                if packets > MAX_FRAMES:
                    raise VideoError(self.path, f"it has more than {MAX_FRAMES} frames")
                if not packet.is_discard:
                    stamps.append(packet.pts)
                    last = max(last, (packet.pts or 0, packet.duration or 0))
        except (av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, VideoError):
                raise
            raise VideoError(self.path, f"truncated or damaged: {_reason(error)}") from None
        if not stamps:
            raise VideoError(self.path, "it holds no frames")
        if stream.frames > packets:
            raise VideoError(
                self.path, f"truncated: {stream.frames - packets} of {stream.frames} frames are missing"
            )
        named = [float(r) for r in (stream.average_rate, stream.guessed_rate) if r]
        told = parse_remark({k.lower(): v for k, v in container.metadata.items()}.get("comment"))
        self._told = None if told is None else told[0]
        self.rates = (*([told[1]] if told else ()), *named)
        if None in stamps:  # avi: frames without times, at a constant rate
            self._pts = None
            rate = self.rates[0] if self.rates else 25.0
            self.starts = np.arange(len(stamps)) / rate
            self.end = len(stamps) / rate
        else:
            self._pts = np.unique(np.array(stamps, dtype=np.int64))
            base = float(stream.time_base)
            self.starts = (self._pts - self._pts[0]) * base
            usual = (
                float(np.median(np.diff(self.starts)))
                if len(self._pts) > 1
                else 1 / (self.rates or (1.0,))[0]
            )
            # encoders are careless about the duration of the last frame
            held = last[1] * base
            self.end = float(self.starts[-1]) + (held if held > 0.5 * usual else usual)
            # the header's duration is that of the longest stream; one frame and the end of a sound's last packet are slack
            declared = (container.duration or 0) / 1e6
            if declared - reached > 1.5 * usual + 0.1:
                raise VideoError(
                    self.path, f"truncated: its header claims {declared:.2f} s and {reached:.2f} s are there"
                )

    def _look(self) -> None:
        """Size, from the first frame, and the sound's rate."""
        _, first = next(iter(self.stored(0)), (0, None))
        if first is None:
            raise VideoError(self.path, "none of its frames can be decoded")
        height, width = first.shape[:2]
        if self._told is not None:
            asked = self._told
            if asked != (width, height) and all(
                0 <= b - a <= PADDING for a, b in zip(asked, (width, height), strict=True)
            ):
                self._padded, (width, height) = (width, height), asked
        self.size = (width, height)
        audio = self._open.streams.audio
        if audio and audio[0].codec_context is not None and audio[0].rate and audio[0].channels:
            self.sound = (int(audio[0].rate), int(audio[0].channels))

    def stored(self, first: int) -> Iterator[tuple[int, Frames]]:
        av = optional.av()
        self._open.close()
        self._open = self._container()
        stream, place = self._stream, 0
        wanted: tuple[int, int] | None = None
        try:
            if first and self._pts is not None:
                self._open.seek(int(self._pts[first]), stream=stream, backward=True)
            for k, frame in enumerate(self._open.decode(stream)):
                if self._pts is not None and frame.pts is not None:
                    place = int(np.searchsorted(self._pts, frame.pts, "right")) - 1
                    if k == 0 and place > first:  # an index that leads astray: from the beginning
                        yield from self.stored(0)
                        return
                    if place < 0:
                        continue
                else:
                    place = k
                if frame.is_corrupt:
                    raise VideoError(self.path, f"truncated or damaged at frame {place}")
                check_size(self.path, frame.width, frame.height)
                wanted = wanted or (frame.width, frame.height)  # streams may change their size
                picture = frame.to_ndarray(format="rgb24", width=wanted[0], height=wanted[1])
                if frame.rotation % 90 == 0 and frame.rotation:
                    picture = np.rot90(picture, frame.rotation // 90)
                if self._padded is not None:
                    picture = picture[: self.size[1], : self.size[0]]
                yield place, picture
        except (av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, VideoError):
                raise
            raise VideoError(self.path, f"truncated or damaged: {_reason(error)}") from None
        if place < len(self.starts) - 1:
            raise VideoError(
                self.path,
                f"truncated or damaged: {len(self.starts) - 1 - place} frames at its end cannot be decoded",
            )

    def track(self, start: float, seconds: float) -> Track | None:
        if self.sound is None:
            return None
        av = optional.av()
        rate, channels = self.sound
        total = max(1, round(seconds * rate))
        if total * channels * 4 > MEMORY:
            raise VideoError(self.path, "more than 4 GiB of sound; read a part of it")
        samples = np.zeros((channels, total), np.float32)
        container = self._container()
        try:
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
            begins = start + (0.0 if self._pts is None else float(self._pts[0] * self._stream.time_base))
            place = None
            for frame in container.decode(stream):
                if frame.pts is not None and frame.time_base is not None:
                    at = round((float(frame.pts * frame.time_base) - begins) * rate)
                    # times are rounded to the container's ticks; a jump is more than that
                    if place is None or abs(at - place) > 0.02 * rate:
                        place = at
                elif place is None:
                    place = round(-begins * rate)
                if place >= total:
                    break
                for part in resampler.resample(frame):
                    block = part.to_ndarray()
                    low, high = max(0, place), min(total, place + block.shape[1])
                    if high > low:
                        samples[:, low:high] = block[:, low - place : high - place]
                    place += block.shape[1]
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(self.path, f"its sound track is damaged: {_reason(error)}") from None
        finally:
            container.close()
        if not np.isfinite(samples).all():
            raise VideoError(self.path, "its sound track holds NaN or infinity")
        return Track(samples, rate)


ATTACHED = 0x400  # AV_DISPOSITION_ATTACHED_PIC


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
