"""Vocoders: from a log-mel spectrogram to a waveform.

**Griffin-Lim.** The filterbank is inverted by least squares; the phases that belong to the magnitudes are found by
alternating between signals and magnitudes, with momentum (Perraudin et al., 2013, "A fast Griffin-Lim algorithm"):

    c ← STFT(ISTFT(|S| e^{iφ})),        φ ← angle(c − μ / (1 + μ) c_previous)

The first phases depend on the seed, the frame's place and the frequency alone: neither the batch nor the piece of a long
sound that a frame is in can change the result.

**HiFi-GAN.** A folder of transformers' SpeechT5HifiGan, which AudioLDM's pipelines use too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from langevin import foreign, optional
from langevin.core.registry import Registry
from langevin.core.rng import Stream
from langevin.modalities.audio.framing import Circle, Framing
from langevin.modalities.audio.mel import PRESETS, MelSpec

__all__ = ["VOCODERS", "GriffinLim", "HifiGan", "Vocoder"]


class Vocoder(Protocol):
    """What makes sound of log-mel spectrograms.

    Attributes:
        spec: of the spectrograms that it takes.
        margin: frames on each side beyond which nothing changes the samples of a frame.

    One whose samples depend on the place of a frame, too, has a method ``loop``: of spectrograms on a circle.
    """

    @property
    def spec(self) -> MelSpec: ...

    @property
    def margin(self) -> int: ...

    def __call__(self, log_mel: Tensor, start: int = 0) -> Tensor:
        """Samples (B, frames · hop) of log-mel spectrograms (B, mels, frames).

        Args:
            log_mel: as ``spec`` says.
            start: place of the first frame in a longer sound.
        """
        ...


VOCODERS = Registry("vocoder", Vocoder)


@VOCODERS.register("griffin_lim")
@dataclass(frozen=True)
class GriffinLim:
    """Phases by iteration; nothing is learned.

    Args:
        spec: of the spectrograms.
        iterations: at least 0.
        momentum: in [0, 1); 0 is the algorithm of Griffin and Lim (1984).
        seed: of the first phases.

    Raises:
        ValueError: numbers out of range.
    """

    spec: MelSpec
    iterations: int = 32
    momentum: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                f"iterations must be from 0 and momentum in [0, 1); got {self.iterations} and {self.momentum}"
            )

    @property
    def margin(self) -> int:
        return (self.iterations + 1) * self.spec.framing.margin

    def __call__(self, log_mel: Tensor, start: int = 0) -> Tensor:
        return self._sounds(log_mel, start, self.spec.framing)

    def loop(self, log_mel: Tensor) -> Tensor:
        """Samples (B, frames · hop) whose beginning follows their end, of spectrograms on a circle."""
        return self._sounds(log_mel, 0, Circle.of(self.spec.framing))

    @torch.no_grad()
    def _sounds(self, log_mel: Tensor, start: int, framing: Framing) -> Tensor:
        noise = Stream.of(self.seed, range(start, start + log_mel.shape[2])).fold("phase")
        turn = noise.uniform((log_mel.shape[2], self.spec.framing.bins), torch.float64).T * (2 * math.pi)
        phase = torch.polar(torch.ones_like(turn), turn).to(log_mel.device)  # (bins, T)
        # row by row, because sums of a larger batch may be rounded otherwise
        return torch.cat([self._sound(row, phase, framing) for row in log_mel.split(1)])

    def _sound(self, log_mel: Tensor, phase: Tensor, framing: Framing) -> Tensor:
        """One row, in float64: differences of rounding grow where magnitudes nearly vanish."""
        magnitude = self.spec.magnitudes(log_mel.double())  # (1, bins, T)
        before: Tensor | float = 0.0
        for _ in range(self.iterations):
            rebuilt = framing.analyse(framing.synthesise(magnitude * phase))
            phase = rebuilt - self.momentum / (1 + self.momentum) * before
            phase = phase / phase.abs().clamp(min=1e-16)
            before = rebuilt
        return framing.synthesise(magnitude * phase).to(log_mel.dtype)


@VOCODERS.register("hifigan")
@dataclass(frozen=True)
class HifiGan:
    """A SpeechT5HifiGan of transformers, from a folder of config.json and model.safetensors.

    The folder says rate, hop and number of mels; the rest of the specification is that of the preset which agrees with
    them ("hifigan-16k" for SpeechT5's, "audioldm-16k" for AudioLDM's), unless ``spec`` is given.

    Args:
        folder: on this machine; of a pipeline's, vocoder/ is taken.
        spec: of the spectrograms that it was trained on.

    Raises:
        FolderError: no such folder, another class, pickled weights, weights that do not fit.
        ValueError: no preset agrees, or ``spec`` does not.
        MissingPackage: transformers is not installed.
    """

    folder: str
    spec: MelSpec = None  # type: ignore[assignment]  # never None once it is made
    network: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        home = foreign.part(self.folder, "vocoder")
        network = _load(home)
        object.__setattr__(self, "network", network)
        object.__setattr__(self, "folder", str(home))
        config = network.config
        says = (config.sampling_rate, math.prod(config.upsample_rates), config.model_in_dim)
        if self.spec is None:
            fits = [s for s in PRESETS.values() if (s.rate, s.hop, s.mels) == says]
            if not fits:
                raise ValueError(
                    f"{home}: no preset has rate {says[0]}, hop {says[1]} and {says[2]} mels; give its spec="
                )
            object.__setattr__(self, "spec", fits[0])
        wrong = [
            f"{name} {a} and {b}"
            for name, a, b in zip(
                ("rate", "hop", "mels"), (self.spec.rate, self.spec.hop, self.spec.mels), says
            )
            if a != b
        ]
        if wrong:
            raise ValueError(f"{home}: the vocoder is of another spectrogram than spec: {', '.join(wrong)}")

    @property
    def margin(self) -> int:
        config = self.network.config
        kernels = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes)
        block = max(sum((k - 1) // 2 * (d + 1) for d in dilations) for k, dilations in kernels)
        reach = 3  # samples, of the last convolution
        for stride, kernel in reversed(list(zip(config.upsample_rates, config.upsample_kernel_sizes))):
            reach = -(-(reach + block + kernel) // stride)
        return int(reach + 3)

    @torch.no_grad()
    def __call__(self, log_mel: Tensor, start: int = 0) -> Tensor:
        weight = self.network.conv_pre.weight
        return self.network(log_mel.transpose(1, 2).to(weight)).float().to(log_mel.device)


def _load(folder: Path) -> Any:
    config = foreign.read_config(folder)
    foreign.require_class(folder, config, "architecture of a vocoder", ["SpeechT5HifiGan"])
    return foreign.network(folder, optional.transformers().SpeechT5HifiGan, "model")
