"""What can be trained of a sound codec, by the name that ``model.autoencoder`` gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langevin.core.errors import unknown
from langevin.core.registry import BuildError, Registry
from langevin.core.training.data import Dataset
from langevin.modalities.audio.vocoder_training import vocoder_of
from langevin.modalities.audio.waveform_training import waveform_vae_of
from langevin.modalities.base import Autoencoder

__all__ = ["TRAINABLE", "autoencoder_of"]

TRAINABLE = Registry("trainable part of a sound codec", Autoencoder)
TRAINABLE.register("waveform_vae")(waveform_vae_of)
TRAINABLE.register("istft")(vocoder_of)


def autoencoder_of(data: Dataset, given: Mapping[str, Any], seed: int) -> Autoencoder:
    """What ``given["autoencoder"]`` names, a waveform autoencoder where it names nothing, ready to be trained.

    Raises:
        BuildError: an unknown name, or what the one that is named refuses.
    """
    node = given.get("autoencoder") or {}
    node = {"name": node} if isinstance(node, str) else node
    name = node.get("name", "waveform_vae")
    if name not in TRAINABLE:
        raise BuildError(unknown("autoencoder of sounds", name, TRAINABLE))
    found: Autoencoder = TRAINABLE[name](data, {**given, "autoencoder": node}, seed)
    return found
