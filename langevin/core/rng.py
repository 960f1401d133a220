"""Random numbers that belong to samples.

A :class:`Stream` is an immutable key with one row per sample. Every draw is named: by the seed, the index of the
sample, and whatever was folded in on the way (particle, step, leaf, purpose). The value at one element of a draw is a
hash of the row's key and of the element's coordinates, so that batch size, order, padding and shard cannot change the
noise of sample ``i``: not by chance, but because nothing else enters the hash.

The hash is the finaliser of SplitMix64 (Steele et al., 2014, "Fast splittable pseudorandom number generators") chained
over the coordinates; normals are Box and Muller's (1958) cosine branch, computed in float64 before they are rounded to
the dtype asked for. Integers are exact on every device; where a device has no float64 (MPS) the draw is made on the CPU.

    >>> rng = Stream.of(seed=0, samples=4)
    >>> noise = rng.fold("step", 3).normal((4, 16, 3))  # the same numbers whenever this line runs
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["Stream"]

_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    """The two's complement int64 with the same low 64 bits (torch has no uint64 arithmetic)."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MULTIPLY_1 = _signed(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = _signed(0x94D049BB133111EB)


def _shift_xor(z: Tensor, bits: int) -> Tensor:
    """``z ^ (z >>> bits)`` with a logical shift; int64 shifts in torch keep the sign, so its copies are masked off."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1).bitwise_xor_(z)


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of the 64-bit words with full avalanche."""
    z = _shift_xor(z, 30).mul_(_MULTIPLY_1)
    z = _shift_xor(z, 27).mul_(_MULTIPLY_2)
    return _shift_xor(z, 31)


def _word(name: int | str) -> int:
    """A name as a 64-bit word; strings by CRC-32, moved out of the range of small integers."""
    if isinstance(name, str):
        return _signed((1 << 40) + zlib.crc32(name.encode()))
    return _signed(int(name))


@dataclass(frozen=True)
class Stream:
    """An immutable source of random numbers with one key per sample.

    Attributes:
        root: int64 keys, shape (B,), on the device where draws are made.
        path: names folded in since, of which :attr:`keys` are the hash; a stream that is never drawn from costs nothing.
        scale: factor of the normals; see :meth:`scaled`.
        scales: further factors of the streams of some names, folded in from here on.
    """

    root: Tensor
    path: tuple[int | str, ...] = ()
    scale: float = 1.0
    scales: Mapping[str, float] = field(default_factory=dict, hash=False)

    @staticmethod
    def of(
        seed: int | Sequence[int], samples: int | Iterable[int], device: torch.device | str = "cpu"
    ) -> Stream:
        """The stream of some samples of a seed.

        Args:
            seed: any integer, of which only the low 64 bits count; or one for each sample.
            samples: how many (0 … n − 1), or their indices in the whole run (so that a batch of a larger run draws
                what the whole run would have drawn).
        """
        seeds: list[Any] = list(seed) if isinstance(seed, (list, tuple)) else [seed]
        for one in seeds:
            if isinstance(one, bool) or not isinstance(one, int):
                raise TypeError(f"seed must be an integer, got {one!r}")
        indices = range(samples) if isinstance(samples, int) else samples
        rows = torch.tensor(list(indices), dtype=torch.int64, device=device)
        if len(seeds) not in (1, len(rows)):
            raise ValueError(f"{len(seeds)} seeds for {len(rows)} samples; give one, or one for each")
        start = _mix(
            torch.tensor([_signed(one) for one in seeds], dtype=torch.int64, device=device) + _GOLDEN
        )
        # the factor tells the two words apart: sample i of seed j must not be sample j of seed i
        return Stream(_mix(start * 3 + _mix(rows + _GOLDEN)))

    def __len__(self) -> int:
        return self.root.shape[0]

    @functools.cached_property
    def keys(self) -> Tensor:
        """int64 keys, shape (B,), computed when first needed."""
        keys = self.root
        for name in self.path:
            keys = _mix(keys * 3 + _signed(_word(name) * _MULTIPLY_1 + _GOLDEN))
        return keys

    def fold(self, *names: int | str) -> Stream:
        """The stream of a named purpose; different names, or the same in another order, give unrelated numbers."""
        scale = self.scale
        for name in names if self.scales else ():
            scale *= self.scales.get(str(name), 1.0)
        if "keys" in self.__dict__:  # hashed already: go on from there
            return Stream(self.keys, names, scale, self.scales)
        return Stream(self.root, self.path + names, scale, self.scales)

    def scaled(self, factor: float | Mapping[str, float]) -> Stream:
        """The same stream whose normals are multiplied by ``factor``, or those of the streams folded from it by the names
        that are given; uniforms and integers are as they were."""
        if isinstance(factor, Mapping):
            own = {name: self.scales.get(name, 1.0) * value for name, value in factor.items()}
            return replace(self, scales={**self.scales, **own})
        return replace(self, scale=self.scale * factor)

    def rows(self, index: Tensor | slice | Sequence[int]) -> Stream:
        """The stream of some of the samples."""
        chosen = torch.as_tensor(index) if isinstance(index, (list, tuple)) else index
        return Stream(self.keys[chosen], scale=self.scale, scales=self.scales)

    def particles(self, count: int) -> Stream:
        """B · count rows: particle ``k`` of sample ``i`` stands at row ``i * count + k``."""
        inner = _mix(torch.arange(count, device=self.keys.device) + _word("particle"))
        return Stream(_mix(self.keys[:, None] ^ inner).reshape(-1), scale=self.scale, scales=self.scales)

    def to(self, device: torch.device | str) -> Stream:
        """The same stream, drawing on another device (faster there; the last bit of a normal may differ)."""
        return Stream(self.keys.to(device), scale=self.scale, scales=self.scales)

    def _bits(self, shape: Sequence[int]) -> Tensor:
        """Hashed words, shape ``shape``: one link of the chain for each coordinate after the row."""
        if len(shape) == 0 or shape[0] != len(self):
            raise ValueError(f"shape must begin with the number of rows, {len(self)}, got {tuple(shape)}")
        bits = self.keys
        for size in shape[1:]:
            coordinate = torch.arange(1, size + 1, device=bits.device) * _GOLDEN
            bits = _mix(bits[..., None] + coordinate)
        return bits if len(shape) > 1 else _mix(bits + _GOLDEN)

    def _unit(self, bits: Tensor) -> Tensor:
        """Words to float64 in the open interval (0, 1), from their upper 53 bits."""
        bits = bits if bits.device.type != "mps" else bits.cpu()
        return (((bits >> 11) & ((1 << 53) - 1)).double() + 0.5) * 2.0**-53

    def uniform(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Independent uniforms in (0, 1), shape ``shape`` = (B, …).

        Raises:
            ValueError: ``shape[0]`` is not the number of rows.
        """
        unit = self._unit(self._bits(shape))
        # rounding to the dtype would make the highest values 1 and, in half precision, the lowest 0
        limits = torch.finfo(dtype)
        return unit.to(dtype).clamp(min=limits.tiny, max=1 - limits.eps).to(self.keys.device)

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Independent standard normals, shape ``shape`` = (B, …).

        Raises:
            ValueError: ``shape[0]`` is not the number of rows.
        """
        bits = self._bits(shape)
        radius = self._unit(bits).log_().mul_(-2).sqrt_()
        angle = self._unit(_mix(bits ^ _GOLDEN)).mul_(2 * math.pi)
        drawn = radius.mul_(angle.cos_())
        return (drawn if self.scale == 1 else drawn.mul_(self.scale)).to(dtype).to(self.keys.device)

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        """Independent integers in [0, high), int64, shape ``shape`` = (B, …)."""
        if high < 1:
            raise ValueError(f"high must be at least 1, got {high}")
        unit = self._unit(self._bits(shape))
        return (unit * high).long().clamp_(max=high - 1).to(self.keys.device)
