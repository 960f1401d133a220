"""Seamless loops: sounds whose beginning follows their end.

What is drawn is drawn on a circle (:class:`langevin.core.guidance.Cyclic`), and decoded on one: the frames that the last
samples depend on are followed by the first frames, and the other way round. Griffin-Lim's iterations go around the circle.
A loop is a whole number of patches long.

Players repeat a loop without a gap only from formats that keep the number of samples (:data:`EXACT`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from langevin.modalities.audio.codec import Codec
from langevin.modalities.audio.sound import Audio

__all__ = ["decode_loop"]


def decode_loop(codec: Codec, state: Tensor) -> list[Audio]:
    """States (B, C, F, T) on a circle to sounds of T · hop samples, marked as loops."""
    circular = getattr(getattr(codec, "vocoder", None), "loop", None)
    if circular is not None:
        samples = circular(codec.log_mel(state)).cpu().numpy()  # type: ignore[attr-defined]
        return [Audio(row, codec.rate, loop=True) for row in samples]
    margin, frames = codec.decode_margin, state.shape[3]
    around = torch.arange(-margin, frames + margin, device=state.device) % frames
    inside = slice(margin * codec.hop, (margin + frames) * codec.hop)
    return [
        Audio(sound.samples[:, inside], sound.rate, loop=True) for sound in codec.decode(state[..., around])
    ]
