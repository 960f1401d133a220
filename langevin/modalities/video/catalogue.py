"""All codecs of clips by the names that configurations give them; importing this module registers them."""

from __future__ import annotations

import langevin.modalities.video.autoencoders
import langevin.modalities.video.latents  # noqa: F401
from langevin.modalities.video.codec import CODECS

__all__ = ["CODECS"]
