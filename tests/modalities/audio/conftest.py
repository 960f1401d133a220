"""Sounds for tests, made here, and the place of the shared ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langevin.assembly import build_model
from langevin.modalities.audio.sound import Audio

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("LANGEVIN_DATA", ROOT.parent / "shared" / "data")) / "audio"


@pytest.fixture
def needs() -> Callable[[str], Path]:
    def there(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"no {name} in {DATA} (set LANGEVIN_DATA)")
        return DATA / name

    return there


@pytest.fixture
def tone() -> Callable[..., Audio]:
    def make(
        seconds: float = 1.0, rate: int = 8000, hertz: float = 440.0, peak: float = 0.5, channels: int = 1
    ) -> Audio:
        t = np.arange(round(seconds * rate)) / rate
        rows = [np.sin(2 * np.pi * hertz * (k + 1) * t) for k in range(channels)]
        return Audio(peak * np.stack(rows), rate)

    return make


@pytest.fixture
def noise() -> Callable[..., Audio]:
    def make(seconds: float = 1.0, rate: int = 8000, seed: int = 0, channels: int = 1) -> Audio:
        rng = np.random.default_rng(seed)
        return Audio(0.2 * rng.standard_normal((channels, round(seconds * rate))).clip(-4, 4), rate)

    return make


@pytest.fixture
def small() -> Callable[..., Any]:
    """An untrained model of sounds at 8 kHz."""

    def make(**conditions: Any) -> Any:
        modality = {
            "name": "audio",
            "codec": {"name": "complex_stft", "rate": 8000, "n_fft": 128, "hop": 32},
            "patch": [16, 8],
            "seconds": 0.512,
            "conditions": conditions,
        }
        network = {"name": "dit", "width": 32, "depth": 1, "heads": 2, "modulation": "shared"}
        return build_model({"name": "small", "modality": modality, "network": network})

    return make
