r"""A small autoencoder of clips, causal in time and exact when it is streamed.

The encoder gives a Gaussian q(z | x) = N(mean(x), exp(log_var(x))) over latents z (B, T, latent, H/f, W/f), the decoder
frames. Convolutions over time see the present and the past alone, as in Yu et al. (2023, "Language model beats diffusion",
arXiv 2310.05737, §3.2), so that with a stride of s frames

    element 0    is frame 0 alone,                      element k    frames (k − 1) s + 1 … k s and what came before,

1 + k s frames are 1 + k elements, a picture is a clip of one frame, and later frames never touch earlier latents. What came
before frame 0 is frame 0: a picture is seen as a clip that stood still. At each resolution there are residual blocks of a
3 × 3 convolution within frames and one over three instants at each pixel (factorised as in Tran et al., 2018, arXiv
1711.11248); the norm is an RMS norm over the channels of one pixel, as statistics over a clip would let later frames speak.

**Streams.** A layer that sees the past takes it and returns it: a few instants of its input, however long the clip is. So
pieces of any lengths, one after the other, give what the whole gives, up to rounding (the caches of the autoencoder of Wan,
2025, arXiv 2503.20314, §4.1).

What diffusion sees is the *normalised* mean, (mean(x) − μ) / σ, with μ and σ of each latent channel over the data, set by
:meth:`CausalVAE.fit_statistics` and kept with the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin.core.registry import Registry
from langevin.modalities.convolutions import PixelNorm
from langevin.modalities.trained import channel_statistics

__all__ = ["AUTOENCODERS", "CausalVAE"]

FIRST_LOG_VAR = (
    -6.0
)  # of an untrained q(z | x): with noise of unit variance the decoder would first learn to ignore z
Past = Tensor | None  # instants (B, p, C, H, W) that a layer still sees; None before the first


class Layer(nn.Module):
    """A layer of clips: (x (B, t, C, H, W), what came before) to (y (B, t', C', H', W'), what is still seen)."""

    def forward(self, x: Tensor, past: Past = None) -> tuple[Tensor, Past]:
        raise NotImplementedError

    def reach(self, past: int) -> int:
        """Earlier instants of its input that ``past`` earlier instants of its output, and the present, depend on."""
        raise NotImplementedError


class Within(Layer):
    """Layers of pictures, for every frame by itself."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, past: Past = None) -> tuple[Tensor, Past]:
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2]), None

    def reach(self, past: int) -> int:
        return past


class Down(Layer):
    """A stride along both sides: a convolution, plus what it would be without one: means of neighbouring pixels' channels.

    The shortcut carries the picture through an untrained autoencoder, which then learns what it leaves out (Chen et al.,
    2024, "Deep compression autoencoder", arXiv 2410.10733, §3.2); so does that of :class:`Up`.

    Args:
        inner, outer: channels.
        stride: along both sides.
    """

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.outer, self.stride = outer, stride
        self.conv = nn.Conv2d(inner, outer, stride + 2, stride, 1)

    def forward(self, x: Tensor, past: Past = None) -> tuple[Tensor, Past]:
        frames = x.flatten(0, 1)
        taken = F.pixel_unshuffle(frames, self.stride)
        short = F.adaptive_avg_pool1d(taken.flatten(2).mT, self.outer).mT.unflatten(2, taken.shape[2:])
        return (self.conv(frames) + short).unflatten(0, x.shape[:2]), None

    def reach(self, past: int) -> int:
        return past


class Up(Layer):
    """The stride of :class:`Down` undone, with channels repeated as the shortcut.

    Args:
        inner, outer: channels.
        stride: along both sides.
    """

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = _conv(inner, outer * stride**2)
        self.repeated = [k * inner // (outer * stride**2) for k in range(outer * stride**2)]

    def forward(self, x: Tensor, past: Past = None) -> tuple[Tensor, Past]:
        frames = x.flatten(0, 1)
        made = F.pixel_shuffle(self.conv(frames) + frames[:, self.repeated], self.stride)
        return made.unflatten(0, x.shape[:2]), None

    def reach(self, past: int) -> int:
        return past


class Over(Layer):
    """A convolution over time at each pixel; output j sees inputs j · stride − kernel + 1 … j · stride.

    Args:
        inner, outer: channels.
        kernel: instants.
        stride: in time; 1 + k · stride inputs give 1 + k outputs.
    """

    def __init__(self, inner: int, outer: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv2d(kernel * inner, outer, 1)  # of the channels of all instants

    def forward(self, x: Tensor, past: Past = None) -> tuple[Tensor, Past]:
        if past is None:
            past = x[:, :1].expand(-1, self.kernel - 1, -1, -1, -1)
        x = torch.cat([past, x], 1)
        count = max(0, (x.shape[1] - self.kernel) // self.stride + 1)
        last = count * self.stride
        seen = torch.cat([x[:, k : k + last : self.stride][:, :count] for k in range(self.kernel)], 2)
        y = self.conv(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        return y, x[:, last:].clone()  # not a view, which would hold the whole piece in memory

    def reach(self, past: int) -> int:
        return past * self.stride + self.kernel - 1


class Later(Layer):
    """``stride`` instants for every one but the first, which gives one; each from its own input and the one before.

    Args:
        width: channels.
        stride: in time.
    """

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride, self.over = stride, Over(width, stride * width, 2)

    def forward(self, x: Tensor, past: Past = None) -> tuple[Tensor, Past]:
        y, seen = self.over(x, past)
        y = y.unflatten(2, (self.stride, -1)).flatten(1, 2)
        return (y[:, self.stride - 1 :] if past is None else y), seen

    def reach(self, past: int) -> int:
        return -(-past // self.stride) + 1


class Residual(Layer):
    """x + over(act(norm(within(act(norm(x)))))); the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.within = Within(PixelNorm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.between, self.over = Within(PixelNorm(width), nn.SiLU()), Over(width, width)
        nn.init.zeros_(self.over.conv.weight)
        nn.init.zeros_(self.over.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, past: Past = None) -> tuple[Tensor, Past]:
        hidden, _ = self.between(self.within(x)[0])
        y, seen = self.over(hidden, past)
        return x + y, seen

    def reach(self, past: int) -> int:
        return self.over.reach(past)


class Chain(nn.Sequential):
    """Layers one after the other, with the past of each."""

    def step(self, x: Tensor, pasts: Sequence[Past] | None = None) -> tuple[Tensor, Sequence[Past]]:
        """A piece of a clip, and the pasts with which the next one goes on.

        Args:
            x: (B, t, C, H, W); t ≥ 1.
            pasts: those that the piece before returned; None for the first.

        Returns:
            (B, t', …), where t' may be 0, and the new pasts.
        """
        kept = list(pasts) if pasts is not None else [None] * len(self)
        for k, layer in enumerate(self):
            if not x.shape[1]:  # later layers wait for more
                break
            x, kept[k] = layer(x, kept[k])
        return x, kept

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x)[0]

    def stream(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """What becomes of pieces that follow one another, as it comes about."""
        pasts: Sequence[Past] | None = None
        for piece in pieces:
            if piece.shape[1]:
                y, pasts = self.step(piece, pasts)
                if y.shape[1]:
                    yield y

    def reach(self) -> int:
        """Earlier instants of the input that one instant of the output depends on."""
        past = 0
        for layer in reversed(list(self)):
            past = layer.reach(past)  # type: ignore[operator]
        return past


class CausalVAE(nn.Module):
    """A variational autoencoder of RGB clips.

    Args:
        latent: channels of the latents.
        widths: feature channels at each resolution, the finest first.
        time: strides in time between them; one fewer than widths.
        space: strides along both sides between them, 1 to 4.
        patch: pixels a side that are taken together before the first convolution.
        blocks: residual blocks at each resolution, in the encoder and in the decoder.

    Attributes:
        factor: pixels per side of one element: patch · the product of ``space``.
        stride: frames of one element but the first: the product of ``time``.
        fitted: bool (), whether the statistics have been set; until then they are 0 and 1.
        mean, std: (latent,), the statistics of raw latents.
        encode_past: frames before its own last one that an element depends on.
        decode_past: elements before its own that a frame depends on.

    Raises:
        ValueError: sizes that cannot be.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(
        self,
        latent: int = 8,
        widths: tuple[int, ...] = (32, 64, 96),
        time: tuple[int, ...] = (2, 2),
        space: tuple[int, ...] = (2, 2),
        patch: int = 2,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        if not 1 <= len(widths) <= 8 or min(widths) < 1:
            raise ValueError(f"widths must hold 1 to 8 positive numbers; got {tuple(widths)}")
        for name, strides in (("time", time), ("space", space)):
            if len(strides) != len(widths) - 1 or not all(1 <= s <= 4 for s in strides):
                raise ValueError(
                    f"{name} must hold {len(widths) - 1} strides from 1 to 4, one fewer than widths; got {tuple(strides)}"
                )
        if latent < 1 or not 1 <= patch <= 16 or not 1 <= blocks <= 16:
            raise ValueError(
                f"latent must be at least 1, patch and blocks 1 to 16; got {latent}, {patch} and {blocks}"
            )
        self.latent, self.widths, self.time, self.space = latent, tuple(widths), tuple(time), tuple(space)
        self.patch, self.blocks = patch, blocks
        self.factor, self.stride = patch * math.prod(space), math.prod(time)
        down: list[nn.Module] = [Within(nn.PixelUnshuffle(patch), _conv(3 * patch**2, widths[0]))]
        up: list[nn.Module] = [
            Within(nn.Conv2d(widths[0], 3 * patch**2, 3, padding=1), nn.PixelShuffle(patch)),
            Within(PixelNorm(widths[0]), nn.SiLU()),
        ]  # from its end
        for level, width in enumerate(widths):
            if level:
                t, s, finer = time[level - 1], space[level - 1], widths[level - 1]
                down += [Down(finer, width, s)]
                down += [Over(width, width, t + 1, t)] if t > 1 else []
                up += [Up(width, finer, s)]
                up += [Later(width, t)] if t > 1 else []
            down += [Residual(width) for _ in range(blocks)]
            up += [Residual(width) for _ in range(blocks)]
        last = _conv(widths[-1], 2 * latent)
        nn.init.constant_(last.bias[latent:], FIRST_LOG_VAR)  # type: ignore[index]
        end = Within(PixelNorm(widths[-1]), nn.SiLU(), last)
        self.encoder, self.decoder = Chain(*down, end), Chain(Within(_conv(latent, widths[-1])), *up[::-1])
        self.encode_past, self.decode_past = self.encoder.reach(), self.decoder.reach()
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(latent))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.std.device

    def elements(self, frames: int) -> int:
        """Elements of so many frames, the last one perhaps not full."""
        return 1 + -(-(frames - 1) // self.stride)

    def frames(self, elements: int) -> int:
        """Frames of so many elements."""
        return 1 + (elements - 1) * self.stride

    def encode_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), raw, each (B, T, latent, H/f, W/f).

        Args:
            x: clips (B, 1 + (T − 1) · stride, 3, H, W) in [−1, 1], their sides multiples of the factor.

        Raises:
            ValueError: another shape, or a number of frames that is not that of whole elements.
        """
        self._check(x)
        if (x.shape[1] - 1) % self.stride:
            raise ValueError(
                f"clips must have 1 + k · {self.stride} frames; got {x.shape[1]}: repeat the last one"
            )
        mean, log_var = self.encoder(x).chunk(2, 2)
        return mean, log_var.clamp(-30, 20)

    def encode(self, x: Tensor) -> Tensor:
        """Clips to their normalised mean latents (B, T, latent, H/f, W/f); raw before :meth:`fit_statistics`."""
        return self._normalised(self.encode_moments(x)[0])

    def encode_stream(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """:meth:`encode` of pieces (B, t, 3, H, W) of any lengths, in which one clip comes.

        Raises:
            ValueError: another shape, or at the end a number of frames that is not that of whole elements.
        """
        count = done = 0

        def counted() -> Iterator[Tensor]:
            nonlocal count
            for piece in pieces:
                self._check(piece)
                count += piece.shape[1]
                yield piece

        for y in self.encoder.stream(counted()):
            done += y.shape[1]
            yield self._normalised(y[:, :, : self.latent])
        if count != self.frames(done):
            raise ValueError(f"a stream must have 1 + k · {self.stride} frames; it ended after {count}")

    def decode(self, state: Tensor) -> Tensor:
        """Normalised latents (B, T, latent, h, w) to clips (B, 1 + (T − 1) · stride, 3, f h, f w), not clamped."""
        return self.decoder(self._raw(state))

    def decode_stream(self, states: Iterable[Tensor]) -> Iterator[Tensor]:
        """:meth:`decode` of states (B, t, latent, h, w) that follow one another."""
        return self.decoder.stream(map(self._raw, states))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mean and log-variance; what training asks for.

        Args:
            x: clips.
            noise: (B, T, latent, h, w) standard normal, with which z is drawn; None decodes the mean.
        """
        mean, log_var = self.encode_moments(x)
        z = mean if noise is None else mean + (0.5 * log_var).exp() * noise
        return self.decoder(z), mean, log_var

    @torch.no_grad()
    def fit_statistics(self, batches: Iterable[Tensor]) -> None:
        """Set ``mean`` and ``std`` to those of the mean latents of some clips, channel by channel.

        Args:
            batches: clips; lengths and sizes may differ between batches.

        Raises:
            ValueError: no clips.
        """
        mean, std = channel_statistics((self.encode_moments(x.to(self.std))[0] for x in batches), axis=2)
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.fitted.fill_(True)

    def _normalised(self, z: Tensor) -> Tensor:
        return (z - self.mean[:, None, None]) / self.std[:, None, None]

    def _raw(self, state: Tensor) -> Tensor:
        return state * self.std[:, None, None] + self.mean[:, None, None]

    def _check(self, x: Tensor) -> None:
        if x.ndim != 5 or x.shape[2] != 3 or 0 in x.shape:
            raise ValueError(f"clips must have shape (B, T, 3, height, width); got {tuple(x.shape)}")
        if x.shape[3] % self.factor or x.shape[4] % self.factor:
            raise ValueError(
                f"sides of clips must be multiples of {self.factor}; got {x.shape[4]} × {x.shape[3]}"
            )


def _conv(inner: int, outer: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, padding=1)


AUTOENCODERS = Registry("autoencoder of clips", CausalVAE)
AUTOENCODERS.register("video_vae")(CausalVAE)
