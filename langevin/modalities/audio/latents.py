"""What codecs of waveform latents share: states (B, C, 1, T) of an autoencoder that sees samples."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from langevin.modalities.audio.codec import checked, fed
from langevin.modalities.audio.sound import Audio

__all__ = ["Latents"]


class Latents:
    """A codec around ``encode_tensor`` and ``decode_tensor``.

    Args:
        rate: of the sounds, Hz.
        channels: of the latents.
        hop: samples of one frame.
        encode_margin, decode_margin: as of :class:`~langevin.modalities.audio.codec.Codec`.
        sound_channels: of the sounds; others are mixed to mono, or repeated.
    """

    bins = 1

    def __init__(
        self,
        rate: int,
        channels: int,
        hop: int,
        encode_margin: int,
        decode_margin: int,
        sound_channels: int = 1,
    ) -> None:
        self.rate, self.channels, self.hop, self.sound_channels = rate, channels, hop, sound_channels
        self.encode_margin, self.decode_margin = encode_margin, decode_margin

    def encode_tensor(self, x: Tensor) -> Tensor:
        """Samples (B, sound_channels, T · hop) to states (B, channels, T), float32 on the CPU."""
        raise NotImplementedError

    def decode_tensor(self, state: Tensor) -> Tensor:
        """States (B, channels, T) to samples (B, sound_channels, T · hop), float32 on the CPU."""
        raise NotImplementedError

    def frames(self, seconds: float) -> int:
        return max(1, -(-round(seconds * self.rate) // self.hop))

    def seconds(self, frames: int) -> float:
        return frames * self.hop / self.rate

    @functools.cached_property
    def _silence(self) -> Tensor:
        """The state (C, 1, 1) of silence, far from its ends."""
        frames = 2 * self.encode_margin + 1
        with torch.no_grad():
            state = self.encode_tensor(torch.zeros(1, self.sound_channels, frames * self.hop))
        return state[0, :, None, self.encode_margin : self.encode_margin + 1]

    @torch.no_grad()
    def encode(self, sounds: Sequence[Audio]) -> Tensor:
        """States (B, C, 1, T); each sound by itself, those of one length together."""
        if not len(sounds):
            raise ValueError("there are no sounds to encode")
        signals = [torch.from_numpy(fed(self, sound).samples) for sound in sounds]
        counts = [-(-signal.shape[1] // self.hop) for signal in signals]
        alike = len(set(counts)) == 1
        state = torch.empty(len(sounds), self.channels, 1, max(counts))
        if not alike:
            state.copy_(self._silence.expand_as(state))
        for count in sorted(set(counts)):
            rows = [i for i, c in enumerate(counts) if c == count]
            x = torch.zeros(len(rows), self.sound_channels, count * self.hop)
            for row, i in enumerate(rows):
                x[row, :, : signals[i].shape[1]] = signals[i]
            state[rows, :, 0, :count] = self.encode_tensor(x)
        return state

    @torch.no_grad()
    def decode(self, state: Tensor, start: int = 0) -> list[Audio]:
        """States to sounds; ``start`` changes nothing."""
        samples = self.decode_tensor(checked(self, state)[:, :, 0]).numpy()
        return [Audio(row, self.rate) for row in samples]
