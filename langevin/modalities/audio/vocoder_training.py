r"""Training the vocoder: real sounds to log-mel spectrograms and back.

The loss of one sound x and what the vocoder makes of its spectrogram, x̂:

    stft D(x̂, x)  +  mel mean |L(x̂) − L(x)|

with D the multi-resolution STFT distance of :mod:`langevin.modalities.audio.waveform_training` and L the log-mel spectrogram
that the vocoder is given. Neither sees phases, which the spectrogram does not have: any signal of these magnitudes will do.

There is no adversary. Where many waveforms have one spectrogram, these distances ask for something like their mean: fine
structure between harmonics and in noise comes out smooth, which is heard as a slight buzz. A discriminator of periods and
resolutions with a feature-matching term (Kong et al., 2020; Siuzdak, 2023) rewards what sounds are rather than what they are
on average, at several times the cost of a step and with a training that can fail to settle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.training.data import Dataset
from langevin.modalities.audio.codec import LogMel
from langevin.modalities.audio.istft_vocoder import (
    NETWORKS,
    IstftNetwork,
    IstftVocoder,
    save_istft_vocoder,
)
from langevin.modalities.audio.mel import MelSpec, named, nearest
from langevin.modalities.audio.waveform_training import (
    WINDOWS,
    figures,
    pictures,
    rate_of_data,
    spectral,
    waves,
)
from langevin.modalities.trained import card, checked_keys

__all__ = ["Resynthesis", "VocoderModel", "vocoder_of"]

EPSILON = 1e-9  # under the square root of energies, whose slope at 0 is infinite


@dataclass(frozen=True)
class Resynthesis:
    """Weights of the terms of the loss.

    Args:
        stft: of the multi-resolution STFT distance.
        mel: of absolute differences of log-mel spectrograms.
        windows: of the STFTs, in seconds; each is rounded up to a power of two of samples.
    """

    stft: float = 1.0
    mel: float = 1.0
    windows: tuple[float, ...] = WINDOWS

    def __post_init__(self) -> None:
        for name in ("stft", "mel"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")
        if not self.windows or not min(self.windows) > 0:
            raise ValueError(f"windows must hold positive seconds; got {self.windows}")

    def __call__(self, x: Tensor, guess: Tensor, spec: MelSpec) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each sound (B,) and its terms, unweighted; samples are (B, T · hop)."""
        smooth = dataclasses.replace(spec, epsilon=max(spec.epsilon, EPSILON))
        frames = x.shape[1] // spec.hop
        apart = smooth.spectrogram(guess, frames) - smooth.spectrogram(x, frames)
        terms = {"stft": spectral(guess, x, spec.rate, self.windows), "mel": apart.abs().mean((1, 2))}
        return self.stft * terms["stft"] + self.mel * terms["mel"], terms


LOSSES = Registry("loss of a vocoder", Resynthesis)
LOSSES.register("resynthesis")(Resynthesis)


@dataclass
class VocoderModel:
    """A vocoder as the trainer sees it.

    Args:
        network: what is trained.
        objective: weights of the loss.
        about: name, summary, licence, attribution and settings of the loss, for its folder.
    """

    network: IstftNetwork
    objective: Resynthesis
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.about.get("name", "my-vocoder"))

    @property
    def codec(self) -> LogMel:
        """Log-mel spectrograms, without statistics, that are decoded by the vocoder with the weights as they are."""
        return LogMel(self.network.spec, vocoder=IstftVocoder(self.network))

    def loss(
        self, items: Any, conditions: Any, rng: Stream, rows: tuple[int, int] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each sound (B,) and its terms; conditions are not used."""
        spec = self.network.spec
        x = waves(items, spec.rate, spec.hop)
        log_mel = spec.spectrogram(x.double(), x.shape[1] // spec.hop).float()
        x, log_mel = x.to(self.network.device), log_mel.to(self.network.device)
        return self.objective(x, self.network(log_mel).float(), spec)

    def sheet(self, data: Dataset) -> Any:
        """Spectrograms of four sounds of the data above those of what the vocoder makes of their mel spectrograms."""
        self.network.eval()
        return pictures(self.codec, data)

    def complete(self, data: Dataset, seed: int) -> None:
        """Leave the network in evaluation mode, without gradients; nothing is taken from the data."""
        self.network.eval().requires_grad_(False)

    def save(self, folder: Path, record: Mapping[str, Any], trained: str, data: Dataset) -> LogMel:
        """Write the folder that ``{name: istft, folder: …}`` names as a vocoder, with the error of resynthesis."""
        spec = self.network.spec
        lines = [f"takes {spec.mels} log-mel bands at {spec.rate} Hz, one frame for {spec.hop} samples"]
        text = card(self, "A vocoder trained with langevin.", lines, trained, figures(self.codec, data), data)
        save_istft_vocoder(self.network, folder, text, record={**self.about, **record})
        return self.codec


def vocoder_of(data: Dataset, given: Mapping[str, Any], seed: int = 0) -> VocoderModel:
    """A fresh vocoder for sounds like those of the data, from the ``model`` of a training configuration.

    Args:
        data: items are sounds.
        given: ``autoencoder`` ({name: istft, spec, width, depth}; ``spec`` is a preset's name, {preset: name, …} with some
            fields changed, or all fields; by default the preset nearest to the data's rate), ``objective`` (fields of
            :class:`Resynthesis`), ``name``, ``summary``, ``licence``, ``attribution``.
        seed: of the weights.

    Raises:
        BuildError: a key or name that is not known, with the nearest that is.
        ValueError: a specification that cannot be.
    """
    about = checked_keys(given)
    objective = build(LOSSES, {"name": "resynthesis", **(given.get("objective") or {})})
    node = {"name": "istft", **(given.get("autoencoder") or {})}
    spec = node.get("spec") or nearest(rate_of_data(data))
    node["spec"] = dataclasses.asdict(named(spec))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VocoderModel(build(NETWORKS, node), objective, about)
