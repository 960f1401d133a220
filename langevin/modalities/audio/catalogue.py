"""All codecs and vocoders by the names that configurations give them; importing this module registers them."""

from __future__ import annotations

import langevin.modalities.audio.istft_vocoder
import langevin.modalities.audio.oobleck
import langevin.modalities.audio.waveform_vae  # noqa: F401
from langevin.modalities.audio.codec import CODECS
from langevin.modalities.audio.vocoders import VOCODERS

__all__ = ["CODECS", "VOCODERS"]
