"""Denoisers to guide: exact ones on a mixture and on a product, a counting one, and a small random
network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from langevin.core import so3
from langevin.core.analytic import JointMixtureDenoiser, MixtureDenoiser
from langevin.core.backbones import DiT
from langevin.core.conditioning import ClassEmbedder
from langevin.core.denoiser import Denoiser, NetworkDenoiser
from langevin.core.network import Network
from langevin.core.processes import IGSO3, Discrete, Gaussian, Product, Rotations
from langevin.core.tokens import PlainTokens


@dataclass
class Counting(Denoiser):
    """A denoiser that writes down the conditions it is asked about, call by call."""

    inner: Denoiser
    calls: list[list[Any]] = field(default_factory=list)

    @property
    def process(self) -> Any:
        return self.inner.process

    def __call__(self, x_t, t, condition=None, mask=None, memory=None):
        self.calls.append([condition])
        return self.inner(x_t, t, condition, mask, memory)

    def many(self, x_t, t, conditions, mask=None, memory=None, batched=True):
        if not batched:
            return super().many(x_t, t, conditions, mask, memory, batched)
        self.calls.append(list(conditions))
        return self.inner.many(x_t, t, conditions, mask, memory, batched)

    def without(self, condition, names=None):
        return self.inner.without(condition, names)

    @property
    def asked(self) -> int:
        """Conditions asked about: rows of the network for each sample."""
        return sum(map(len, self.calls))


@pytest.fixture
def counting() -> Callable[[Denoiser], Counting]:
    return Counting


@pytest.fixture
def mixture() -> MixtureDenoiser:
    """Three normals in the plane, labels 0 … 2."""
    means = torch.tensor([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]], dtype=torch.float64)
    return MixtureDenoiser(Gaussian(), [1, 2, 1], means, stds=[0.3, 0.5, 0.4])


@pytest.fixture
def joint() -> JointMixtureDenoiser:
    """Positions × types × frames, two components."""
    process = Product(positions=Gaussian(), types=Discrete(3, kind="uniform"), frames=Rotations(IGSO3()))
    frames = so3.exp(torch.tensor([[0.0, 0.0, 0.0], [0.5, 1.0, -0.6]], dtype=torch.float64))
    types = [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]
    return JointMixtureDenoiser(process, [0.3, 0.7], [[-1.0, 0.5], [1.0, -0.5]], 0.3, types, frames)


@pytest.fixture
def network() -> NetworkDenoiser:
    """A DiT with random weights on points (B, 4, 2), conditions ``label`` (5 classes) and ``style`` (3)."""
    torch.manual_seed(0)
    conditions = {"label": ClassEmbedder(5, 32), "style": ClassEmbedder(3, 32)}
    net = Network(PlainTokens(2), DiT(32, 2, 2, axes=1), conditions).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return NetworkDenoiser(net.requires_grad_(False), Gaussian(), dtype=torch.float64)


@pytest.fixture
def noise() -> Callable[..., torch.Tensor]:
    def draw(*shape: int, seed: int = 0) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    return draw
