r"""Training the autoencoder of waveforms, and what its training shares with the vocoder's.

The loss of one sound x and its reconstruction x̂, decoded from one draw of z:

    stft D(x̂, x)  +  l1 mean |x̂ − x|  +  kl mean KL(q(z | x) ‖ N(0, 1))

with D the multi-resolution STFT distance (Yamamoto et al., 2020; Steinmetz and Reiss, 2020): spectral convergence and the
difference of log magnitudes, averaged over windows of several durations, a quarter apart. D does not see phases; the
absolute differences do. The KL term, a mean over latent values, only keeps latents from drifting; unit variance is the
matter of the statistics, taken with the averaged weights after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.training.data import Dataset
from langevin.modalities.audio.bands import transform
from langevin.modalities.audio.codec import Codec
from langevin.modalities.audio.metrics.signal import log_spectral_distance, stft_distance
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.waveform_vae import AUTOENCODERS, WaveformVAE, WaveVAE, save_waveform_vae
from langevin.modalities.sheets import sheet
from langevin.modalities.trained import card, checked_keys, drawn

__all__ = [
    "Reconstruction",
    "WaveVAEModel",
    "figures",
    "pictures",
    "rebuilt",
    "spectral",
    "waveform_vae_of",
    "waves",
]

WINDOWS = (0.128, 0.064, 0.032, 0.016)  # s
MEASURED = 64  # sounds of the data on which a card's figures are measured
SHORTEST = 256  # samples; half a window of the log-spectral distance


def waves(items: Sequence[Audio], rate: int, unit: int) -> Tensor:
    """Samples (B, n) of sounds as mono at a rate, followed by silence up to the longest and a multiple of ``unit``."""
    rows = [torch.from_numpy(item.mono().resampled(rate).samples[0]) for item in items]
    n = -(-max(len(row) for row in rows) // unit) * unit
    return torch.stack([F.pad(row, (0, n - len(row))) for row in rows])


def spectral(x: Tensor, y: Tensor, rate: int, windows: Sequence[float] = WINDOWS) -> Tensor:
    """Multi-resolution STFT distance (B,) of samples (B, n), under windows of so many seconds."""
    sizes = [transform(rate, seconds) for seconds in windows]
    short = max(0, max(sizes) // 2 + 1 - x.shape[1])
    x, y = (F.pad(samples, (0, short)) for samples in (x, y))
    return stft_distance(x, y, [(size, size // 4, size) for size in sizes])


@dataclass(frozen=True)
class Reconstruction:
    """Weights of the terms of the loss.

    Args:
        stft: of the multi-resolution STFT distance.
        l1: of absolute differences of samples.
        kl: of the KL divergence from the standard normal, per latent value.
        windows: of the STFTs, in seconds; each is rounded up to a power of two of samples.
    """

    stft: float = 1.0
    l1: float = 5.0
    kl: float = 1e-3
    windows: tuple[float, ...] = WINDOWS

    def __post_init__(self) -> None:
        for name in ("stft", "l1", "kl"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")
        if not self.windows or not min(self.windows) > 0:
            raise ValueError(f"windows must hold positive seconds; got {self.windows}")

    def __call__(
        self, x: Tensor, guess: Tensor, mean: Tensor, log_var: Tensor, rate: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each sound (B,) and its terms, unweighted.

        Args:
            x, guess: samples and their reconstructions (B, n).
            mean, log_var: of q(z | x), (B, latent, T).
            rate: Hz.
        """
        terms = {
            "stft": spectral(guess, x, rate, self.windows),
            "l1": (guess - x).abs().mean(1),
            "kl": (mean.square() + log_var.exp() - log_var - 1).mean((1, 2)) / 2,
        }
        return sum((getattr(self, name) * term for name, term in terms.items()), torch.zeros(())), terms


LOSSES = Registry("loss of an autoencoder of waveforms", Reconstruction)
LOSSES.register("reconstruction")(Reconstruction)


@dataclass
class WaveVAEModel:
    """An autoencoder as the trainer sees it.

    Args:
        network: what is trained.
        objective: weights of the loss.
        about: name, summary, licence, attribution and settings of the loss, for its folder.
    """

    network: WaveVAE
    objective: Reconstruction
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.about.get("name", "my-waveform-vae"))

    @property
    def codec(self) -> WaveformVAE:
        """The codec with the weights as they are."""
        return WaveformVAE(self.network)

    def loss(
        self, items: Any, conditions: Any, rng: Stream, rows: tuple[int, int] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each sound (B,) and its terms; conditions are not used."""
        x = waves(items, self.network.rate, self.network.hop).to(self.network.device)
        shape = (len(x), self.network.latent, x.shape[1] // self.network.hop)
        noise = rng.fold("latent").normal(shape).to(x)
        # under autocast the terms would be sums in half precision
        guess, mean, log_var = (value.float() for value in self.network(x, noise))
        return self.objective(x, guess, mean, log_var, self.network.rate)

    def sheet(self, data: Dataset) -> Any:
        """Spectrograms of four sounds of the data above those of their reconstructions."""
        self._rough()
        return pictures(self.codec, data)

    def complete(self, data: Dataset, seed: int) -> None:
        """Set the statistics of the latents; the network is left in evaluation mode, without gradients."""
        network = self.network.eval().requires_grad_(False)
        items = drawn(data, 1024, 1, seed)
        network.fit_statistics(waves(sounds, network.rate, network.hop) for sounds in items)

    def _rough(self) -> None:
        """Before :meth:`complete` the statistics are 0 and 1, which is enough to look at reconstructions."""
        self.network.eval()
        self.network.fitted.fill_(True)

    def save(self, folder: Path, record: Mapping[str, Any], trained: str, data: Dataset) -> WaveformVAE:
        """Write the folder that ``{name: waveform_vae, folder: …}`` names as a codec, with the error of reconstruction."""
        network = self.network
        lines = [
            f"latents: {network.latent} channels, one frame for {network.hop} samples at {network.rate} Hz",
            f"reads {network.encode_margin} frames on each side to encode, {network.decode_margin} to decode",
        ]
        measured = figures(self.codec, data)
        text = card(
            self, "An autoencoder of waveforms trained with langevin.", lines, trained, measured, data
        )
        save_waveform_vae(network, folder, text, record={**self.about, **record})
        return self.codec


def rebuilt(codec: Codec, data: Dataset, count: int) -> tuple[list[Audio], list[Audio]]:
    """The first sounds of the data at the codec's rate, and what becomes of them through it, of the same lengths."""
    items, _ = data.batch(list(range(min(count, len(data)))))
    real = [item.mono().resampled(codec.rate) for item in items]
    made = []
    for sound in real:
        (back,) = codec.decode(codec.encode([sound]))
        made.append(Audio(back.samples[:, : len(sound)], codec.rate))
    return real, made


def pictures(codec: Codec, data: Dataset) -> Any:
    """Spectrograms of four sounds of the data above those of what becomes of them."""
    real, made = rebuilt(codec, data, 4)
    return sheet([sound.spectrogram() for sound in (*real, *made)], columns=len(real))


def figures(codec: Codec, data: Dataset) -> list[str]:
    """The error over some sounds of the training data in words; nothing where they are too short."""
    real, made = rebuilt(codec, data, MEASURED)
    pairs = [
        (torch.from_numpy(b.samples), torch.from_numpy(a.samples))
        for a, b in zip(real, made, strict=True)
        if len(a) > SHORTEST
    ]
    if not pairs:
        return []
    found = [
        (log_spectral_distance(y[0].numpy(), x[0].numpy()), float(spectral(y, x, real[0].rate)))
        for y, x in pairs
    ]
    return [
        "reconstruction, over {} sounds of the training data: log-spectral distance {:.1f} dB, "
        "multi-resolution STFT distance {:.2f}".format(len(pairs), *np.mean(found, 0))
    ]


def waveform_vae_of(data: Dataset, given: Mapping[str, Any], seed: int = 0) -> WaveVAEModel:
    """A fresh autoencoder for sounds like those of the data, from the ``model`` of a training configuration.

    Args:
        data: items are sounds.
        given: ``autoencoder`` (a node; the rate follows from the data), ``objective`` (fields of
            :class:`Reconstruction`), ``name``, ``summary``, ``licence``, ``attribution``.
        seed: of the weights.

    Raises:
        BuildError: a key or name that is not known, with the nearest that is, or sizes that cannot be.
    """
    about = checked_keys(given)
    objective = build(LOSSES, {"name": "reconstruction", **(given.get("objective") or {})})
    node = {"name": "waveform_vae", "rate": rate_of_data(data), **(given.get("autoencoder") or {})}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WaveVAEModel(build(AUTOENCODERS, node), objective, about)


def rate_of_data(data: Dataset) -> int:
    """The rate that most of the first sounds of a set have, Hz."""
    rates = [sound.rate for sound in data.batch(list(range(min(64, len(data)))))[0]]
    return max(set(rates), key=rates.count)
