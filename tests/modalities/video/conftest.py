"""Clips for tests, made here, and the place of the shared ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from langevin.modalities.video.clip import Track, Video

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("LANGEVIN_DATA", ROOT.parent / "shared" / "data")) / "video"


@pytest.fixture
def needs() -> Callable[[str], Path]:
    def there(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"no {name} in {DATA} (set LANGEVIN_DATA)")
        return DATA / name

    return there


@pytest.fixture
def moving() -> Callable[..., Video]:
    """Smooth colours that move, so that every frame is another one."""

    def make(
        frames: int = 6,
        height: int = 32,
        width: int = 48,
        fps: float = 8.0,
        sound: tuple[int, int] | None = None,
    ) -> Video:
        y, x = np.mgrid[:height, :width]
        pictures = [
            np.stack(
                [
                    127 + 100 * np.sin((x + 3 * k) / 9),
                    127 + 100 * np.cos((y + k) / 7),
                    0 * x + 60 + 5 * k % 190,
                ],
                -1,
            )
            for k in range(frames)
        ]
        track = None
        if sound is not None:
            rate, channels = sound
            t = np.arange(round(frames / fps * rate)) / rate
            track = Track(
                np.stack([0.4 * np.sin(2 * np.pi * 440 * (c + 1) * t) for c in range(channels)]), rate
            )
        return Video(np.stack(pictures).round().astype(np.uint8), fps, track)

    return make
