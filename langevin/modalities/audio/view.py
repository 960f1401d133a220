"""Looking at sounds: spectrograms, and a player for pages.

A spectrogram shows levels in dB below the loudest place of the sound, down to −80 dB, over time and over frequency on the
mel scale (HTK), 0 Hz to half the rate. Several channels are shown as the mean of their powers.

The player is a fragment of HTML that needs no network: the spectrogram, and the sound itself as WAV of 16
bits. Without scripts it is the browser's own player below the picture. With them the picture is the player: a click
plays from there and another one pauses; only one sound of a page plays at a time. A page holds as many as one likes; the
script is in each fragment, and :class:`langevin.report.Page` keeps the first.

    click, drag            play or pause from the pointer on; move
    space, enter           play, pause
    left, right            a twentieth of the sound back, forth
    home                   to the beginning
    L                      round and round, for loops
"""

from __future__ import annotations

import base64
import functools
import io
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langevin import optional
from langevin.modalities.audio.sound import Audio, decibels
from langevin.modalities.base import Failure
from langevin.modalities.sheets import box

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["picture", "sketch", "to_html"]

RANGE = 80.0  # dB
# From black over violet and orange to light yellow, with lightness in even steps.
COLOURS = np.array(
    [
        (8, 7, 18), (33, 17, 75), (86, 20, 125), (135, 38, 129), (183, 55, 121),
        (229, 80, 100), (251, 135, 97), (254, 194, 140), (252, 253, 200),
    ]
)  # fmt: skip
INK, FAINT = "#6b6b76", "#b9b9c2"
INLINE = (520, 150)  # pixels of the spectrogram in a page


def _to_mel(frequency: Any) -> Any:
    return 2595 * np.log10(1 + np.asarray(frequency) / 700)


def _to_hz(mel: Any) -> Any:
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


def _levels(sound: Audio, width: int, height: int) -> NDArray[np.float64]:
    """(height, width) levels in dB below the loudest, from the highest frequency down.

    Each row holds the mean power between its two frequencies, so neither fine nor coarse transforms leave gaps.
    """
    rate, n = sound.rate, len(sound)
    n_fft = int(2 ** np.clip(round(math.log2(0.04 * rate)), 5, 15))
    edges = _to_hz(np.linspace(0, _to_mel(rate / 2), height + 1)) / rate * n_fft  # in bins
    window = np.hanning(n_fft + 1)[:-1]
    padded = np.pad(sound.samples.astype(np.float64), ((0, 0), (n_fft // 2, n_fft // 2)))
    per = int(np.clip(math.ceil(n / width / (n_fft / 4)), 1, 4))  # frames of which a column shows the mean
    starts = np.minimum((np.arange(width * per) + 0.5) * n / (width * per), n - 1).astype(int)
    columns = []
    for k in range(0, len(starts), 64 * per):
        frames = padded[:, starts[k : k + 64 * per, None] + np.arange(n_fft)]  # (channels, frames, n_fft)
        power = (np.abs(np.fft.rfft(frames * window)) ** 2).mean(0)
        total = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, 1)], 1)  # at bin − ½
        at = np.clip(edges + 0.5, 0, total.shape[1] - 1)
        low = np.minimum(at.astype(int), total.shape[1] - 2)
        reached = total[:, low] + (at - low) * power[:, low]
        columns.append((np.diff(reached, axis=1) / np.diff(at)).reshape(-1, per, height).mean(1))
    power = np.concatenate(columns).T[::-1]
    loudest = power.max()
    if loudest < 1e-12 * n_fft:
        return np.full((height, width), -RANGE)
    return np.asarray(10 * np.log10(np.maximum(power / loudest, 10 ** (-RANGE / 10))))


def _coloured(levels: NDArray[np.float64]) -> Image:
    from PIL import Image

    place = (levels / RANGE + 1) * (len(COLOURS) - 1)
    low = np.clip(place.astype(int), 0, len(COLOURS) - 2)
    share = (place - low)[..., None]
    return Image.fromarray((COLOURS[low] * (1 - share) + COLOURS[low + 1] * share).round().astype(np.uint8))


def _times(seconds: float, most: int) -> list[float]:
    """Round times from 0 to the end, at most so many."""
    for step in (s * 10.0**e for e in range(-3, 5) for s in (1, 2, 5)):
        if seconds / step < most:
            return [round(k * step, 6) for k in range(int(seconds / step * (1 + 1e-9)) + 1)]
    return [0.0]


def _frequencies(rate: int, most: int) -> list[int]:
    """Frequencies worth a mark, from low to high, about evenly spaced on the mel scale."""
    top = float(_to_mel(rate / 2))
    chosen: list[int] = []
    for f in (0, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000):
        far = not chosen or _to_mel(f) - _to_mel(chosen[-1]) >= top / most
        if far and _to_mel(f) <= 0.97 * top:
            chosen.append(f)
    return chosen


def _hertz(frequency: int) -> str:
    return f"{frequency // 1000}k" if frequency >= 1000 else str(frequency)


def _clock(seconds: float, step: float) -> str:
    """A time, in minutes where the marks are that far apart."""
    if step >= 30:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    return f"{seconds:g}"


def picture(
    item: Any,
    size: tuple[int, int] | int = (192, 144),
    *,
    axes: bool = True,
    background: str | None = "white",
) -> Image:
    """A spectrogram.

    Args:
        item: an `Audio`; what cannot be shown, a :class:`Failure` among it, gives a box that says why.
        size: width and height in pixels, or the width of a picture of 4 to 3. From 300 x 160 on the axes have their
            units and there is a scale of levels.
        axes: seconds below and Hz at the left; none below 96 x 64 pixels.
        background: a colour; None for a transparent RGBA picture.

    Raises:
        ValueError: a side below 16 pixels.
    """
    from PIL import Image, ImageDraw, ImageFont

    width, height = (size, size * 3 // 4) if isinstance(size, int) else size
    if min(width, height) < 16:
        raise ValueError(f"size must be at least 16 pixels each way; got {width} x {height}")
    if not isinstance(item, Audio):
        return box(item.reason if isinstance(item, Failure) else "no sound", (width, height), background)
    if not axes or width < 96 or height < 64:
        return _coloured(_levels(item, width, height))
    large = width >= 300 and height >= 160
    points = 11 if large else 9
    font: Any = ImageFont.load_default(points)
    left, bottom = (36, 30) if large else (22, 14)
    top, right = (8, 54) if large else (4, 6)
    wide, high = width - left - right, height - top - bottom
    out = Image.new("RGBA", (width, height), background or (0, 0, 0, 0))
    out.paste(_coloured(_levels(item, wide, high)), (left, top))
    draw = ImageDraw.Draw(out)
    end = float(_to_mel(item.rate / 2))
    for frequency in _frequencies(item.rate, max(2, high // (2 * points))):
        y = top + high - 1 - round(float(_to_mel(frequency)) / end * (high - 1))
        draw.line([(left - 3, y), (left - 1, y)], FAINT)
        draw.text((left - 5, min(y, height - bottom - 2)), _hertz(frequency), INK, font, "rm")
    times = _times(item.seconds, max(2, wide // (4 * points)))
    step = times[1] - times[0] if len(times) > 1 else 1.0
    for k, time in enumerate(times):
        x = left + min(wide - 1, round(time / item.seconds * wide))
        draw.line([(x, top + high), (x, top + high + 2)], FAINT)
        text = _clock(time, step) + (" s" if k == len(times) - 1 > 0 and not large and step < 30 else "")
        half = draw.textlength(text, font) / 2
        draw.text((min(max(x, half), width - half), top + high + 3), text, INK, font, "mt")
    if large:
        draw.text((left + wide / 2, height - 1), "minutes" if step >= 30 else "seconds", INK, font, "mb")
        draw.text((2, 1), "Hz", INK, font, "lt")
        x, scale = width - right + 10, np.linspace(0, -RANGE, high)[:, None].repeat(8, 1)
        out.paste(_coloured(scale), (x, top))
        for level in (0, -20, -40, -60, -80):
            y = top + round(-level / RANGE * (high - 1))
            anchor = "lt" if level == 0 else "lb" if level == -80 else "lm"
            draw.text((x + 12, y), f"{level} dB" if level == 0 else str(level), INK, font, anchor)
    return out if background is None else out.convert("RGB")


def sketch(levels: NDArray[Any], size: tuple[int, int] = (192, 96)) -> Image:
    """Levels in dB (bands from the lowest, frames) as a picture of so many pixels, down to 80 dB below the loudest."""
    from PIL.Image import Resampling

    shown = (
        np.clip(levels - levels.max(initial=-np.inf), -RANGE, 0) if levels.size else np.full((1, 1), -RANGE)
    )
    return _coloured(shown[::-1]).resize(size, Resampling.BILINEAR)


def to_html(item: Any, *, loop: bool = False, alt: str = "") -> str:
    """A player with its spectrogram; see the head of this module.

    A sound beyond full scale is played more quietly, as a whole.

    Args:
        item: an `Audio`; what cannot be shown gives its reason as text.
        loop: play round and round.
        alt: what it is, for those who do not see it.
    """
    from langevin.report import picture_html

    if not isinstance(item, Audio):
        return (
            f'<span class="failure">{escape(item.reason if isinstance(item, Failure) else str(item))}</span>'
        )
    shown = _coloured(_levels(item, *INLINE))
    buffer = io.BytesIO()
    shown.save(buffer, format="WEBP", quality=82, method=4)
    label = alt or f"a sound of {item.seconds:.2f} s"
    end = float(_to_mel(item.rate / 2))
    frequencies = "".join(
        f'<i style="bottom:{100 * float(_to_mel(f)) / end:.1f}%">{_hertz(f)}</i>'
        for f in _frequencies(item.rate, 5)[1:]
    )
    times = _times(item.seconds, 5)
    step = times[1] - times[0] if len(times) > 1 else 1.0
    marks = "".join(
        f'<i style="left:{100 * t / item.seconds:.1f}%">{_clock(t, step)}</i>'
        for t in times[1:]
        if t < 0.94 * item.seconds
    )
    source = f"data:audio/wav;base64,{base64.b64encode(_wav(item)).decode()}"
    about = f"{item.seconds:.2f} s · {item.rate / 1000:g} kHz" + (
        "" if item.channels == 1 else f" · {item.channels} channels"
    )
    if item.peak > 1:
        about += f" · {decibels(item.peak):.1f} dB too loud for a file"
    return (
        f'{_script()}<sound-player style="display:block;width:100%" aria-label="{escape(label)}" '
        f'data-about="{escape(about)}"{" data-loop" if loop else ""}>'
        f"<template>{frequencies}<b></b>{marks}</template>{picture_html(buffer.getvalue(), f'spectrogram of {label}')}"
        f'<audio controls preload="metadata"{" loop" if loop else ""} src="{source}"></audio></sound-player>'
    )


def _wav(sound: Audio) -> bytes:
    """A WAV file of 16 bits; Chromium plays FLAC, which is smaller, but cannot seek near its end."""
    buffer = io.BytesIO()
    samples = sound.samples / np.float32(max(1.0, sound.peak))
    optional.soundfile().write(buffer, samples.T, sound.rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


@functools.cache
def _script() -> str:
    source = Path(__file__).with_name("player.js").read_text(encoding="utf-8")
    return f'<script data-once="sound-player">{source}</script>'
