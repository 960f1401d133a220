r"""A small vocoder: a network at the frame rate gives a spectrum, the short-time Fourier transform's inverse gives sound.

ConvNeXt blocks (Liu et al., 2022) over the frames of a log-mel spectrogram give, for every frequency of every frame, a
magnitude and a phase (Siuzdak, 2023, "Vocos", arXiv 2306.00814):

    S = M · e^m · (cos p + i sin p)

where m and p are the network's, and M the least-squares magnitudes of the mel spectrogram
(:meth:`~langevin.modalities.audio.mel.MelSpec.magnitudes`), so that the network learns what is missing from them.
Overlapping frames are added by :meth:`~langevin.modalities.audio.framing.Framing.synthesise`, under the framing of the
spectrogram. No layer works at the rate of the samples, which is what makes it fast.

Convolutions take zeros beyond the ends, the norm is over the channels of one frame: the samples of a frame depend on
``margin`` frames on each side alone, and pieces give what the whole gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin import folders
from langevin.core.registry import Registry, describe
from langevin.modalities.audio.mel import MelSpec
from langevin.modalities.audio.vocoders import VOCODERS
from langevin.modalities.trained import network_of

__all__ = ["NETWORKS", "IstftNetwork", "IstftVocoder", "istft_vocoder", "save_istft_vocoder"]

KERNEL = 7  # frames
RANGE = 4.0  # of log-mel values above silence, for inputs about unit scale
FAINTEST = 1e-5  # of magnitudes: what least squares gives is 0 where it would be negative
LOUDER = 6.0  # largest m


class Block(nn.Module):
    """x + γ · W₂ gelu(W₁ norm(depthwise₇(x))) for (B, C, T); γ begins small."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.across = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.across(x).transpose(1, 2))
        return x + (self.gamma * self.narrow(F.gelu(self.wide(hidden)))).transpose(1, 2)


class IstftNetwork(nn.Module):
    """Log-mel spectrograms to samples.

    Args:
        spec: of the spectrograms.
        width: channels.
        depth: blocks.

    Attributes:
        margin: frames on each side that the samples of a frame can depend on.

    Raises:
        ValueError: sizes that cannot be.
    """

    def __init__(self, spec: MelSpec, width: int = 160, depth: int = 4) -> None:
        super().__init__()
        if width < 1 or not 1 <= depth <= 64:
            raise ValueError(f"width must be positive and depth 1 … 64; got {width} and {depth}")
        self.spec, self.width, self.depth = spec, width, depth
        self.embed = nn.Conv1d(spec.mels, width, KERNEL, padding=KERNEL // 2)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, 1 / depth) for _ in range(depth))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * spec.framing.bins)
        self.margin = (depth + 1) * (KERNEL // 2) + spec.framing.margin

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    def spectra(self, log_mel: Tensor) -> Tensor:
        """Short-time spectra (B, bins, T), complex, of log-mel spectrograms (B, mels, T)."""
        x = self.embed((log_mel - self.spec.lowest) / RANGE)  # zeros beyond the ends are silence
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        out = self.head(self.last(x.transpose(1, 2))).float().transpose(1, 2)  # (B, 2 bins, T)
        louder, phase = out.chunk(2, 1)
        magnitude = self.spec.magnitudes(log_mel.float()).clamp(min=FAINTEST)
        return torch.polar(magnitude * louder.clamp(max=LOUDER).exp(), phase)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Samples (B, T · hop) of log-mel spectrograms (B, mels, T)."""
        return self.spec.framing.synthesise(self.spectra(log_mel))


NETWORKS = Registry("vocoder network", IstftNetwork)
NETWORKS.register("istft")(IstftNetwork)


class IstftVocoder:
    """The network as a vocoder.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: IstftNetwork) -> None:
        self.network = network

    @property
    def spec(self) -> MelSpec:
        return self.network.spec

    @property
    def margin(self) -> int:
        return self.network.margin

    @torch.no_grad()
    def __call__(self, log_mel: Tensor, start: int = 0) -> Tensor:
        return self.network(log_mel.to(self.network.device, torch.float32)).to(log_mel.device)


@VOCODERS.register("istft")
def istft_vocoder(folder: str, spec: MelSpec | None = None) -> IstftVocoder:
    """The vocoder of a folder that :func:`save_istft_vocoder` wrote.

    Args:
        folder: on this machine.
        spec: that the spectrograms will have; the folder's own where None.

    Raises:
        FolderError: not a sound folder, or one of something else.
        ValueError: the folder's vocoder was trained on another ``spec``.
    """
    network: IstftNetwork = network_of(Path(folder).expanduser(), "vocoder", NETWORKS)
    wrong = [] if spec is None else network.spec.differences(spec)
    if wrong:
        raise ValueError(f"{folder}: the vocoder is of another spectrogram than spec: {', '.join(wrong)}")
    return IstftVocoder(network)


def save_istft_vocoder(
    network: IstftNetwork, folder: str | Path, card: str, record: Mapping[str, Any] | None = None
) -> Path:
    """Write a vocoder as a folder of config.yaml, model.safetensors and card.md.

    Args:
        network: to be stored in float32.
        folder: made if it is not there.
        card: what it is, for people.
        record: other keys of config.yaml, which say where it comes from; nothing reads them.
    """
    config = {**(record or {}), "vocoder": describe(network, NETWORKS)}
    return folders.write_model(folder, config, network.state_dict(), card)
