"""The optimiser: orthogonal steps for hidden matrices, AdamW's for the rest."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from langevin.core.training.muon import MuonAdamW, orthogonalise


@pytest.mark.parametrize("shape", [(64, 40), (128, 32), (24, 200), (1, 16)])
def test_orthogonalised_matrices_keep_their_directions_and_lose_their_scales(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for scale in (1e-6, 1.0, 1e6):
        found = orthogonalise(scale * matrix)
        values = torch.linalg.svdvals(found)
        assert float(values.min()) > 0.65 and float(values.max()) < 1.25
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.mT @ orthogonalise(matrix) @ v.mT
    assert torch.allclose(turned, torch.diag(turned.diagonal()), atol=1e-3) and bool(
        (turned.diagonal() > 0).all()
    )
    assert not bool(orthogonalise(torch.zeros(shape)).any())


def test_another_dtype_changes_the_iteration_only() -> None:
    matrix = torch.randn(64, 40, generator=torch.Generator().manual_seed(0))
    low = orthogonalise(matrix, dtype=torch.bfloat16)
    assert low.dtype == torch.float32
    values = torch.linalg.svdvals(low)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3
    assert float(torch.linalg.norm(low - orthogonalise(matrix)) / torch.linalg.norm(low)) < 0.1
    p = nn.Parameter(torch.zeros(64, 40))
    p.grad = matrix
    MuonAdamW([p], [], lr=0.01, dtype=torch.bfloat16).step()
    assert p.dtype == torch.float32
    torch.testing.assert_close(
        p.detach(), -0.01 * 0.2 * 8 * orthogonalise(0.0975 * matrix, dtype=torch.bfloat16)
    )


def test_vectors_and_heads_take_adamws_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [
        torch.randn(4, 3, generator=generator, dtype=torch.float64),
        torch.randn(5, generator=generator, dtype=torch.float64),
    ]
    mine, theirs = ([nn.Parameter(v.clone()) for v in start] for _ in range(2))
    own = MuonAdamW([], mine, lr=0.05, weight_decay=0.1)
    # decay acts on what has two axes
    groups = [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.99), eps=1e-8)
    for _ in range(20):
        for parameters, optimizer in ((mine, own), (theirs, reference)):
            optimizer.zero_grad()
            sum(((p - 1) ** 4).sum() for p in parameters).backward()  # type: ignore[union-attr]
            optimizer.step()
    for a, b in zip(mine, theirs):
        assert torch.allclose(a, b, rtol=1e-10)


def test_hidden_matrices_take_orthogonal_steps() -> None:
    p = nn.Parameter(torch.zeros(32, 128))
    optimizer = MuonAdamW([p], [], lr=0.01, weight_decay=0.5)
    gradient = torch.randn(32, 128, generator=torch.Generator().manual_seed(0))
    p.grad = gradient.clone()
    optimizer.step()
    first = p.detach().clone()
    expected = -0.01 * 0.2 * math.sqrt(128) * orthogonalise(gradient)
    assert torch.allclose(first, expected, atol=1e-6)
    # Nesterov's momentum, and decay that does not pass through the gradient
    second = torch.randn(32, 128, generator=torch.Generator().manual_seed(1))
    p.grad = second.clone()
    optimizer.step()
    momentum = 0.95 * 0.05 * gradient + 0.05 * second
    direction = orthogonalise(0.05 * second + 0.95 * momentum)
    expected = first * (1 - 0.01 * 0.5) - 0.01 * 0.2 * math.sqrt(128) * direction
    assert torch.allclose(p.detach(), expected, atol=1e-6)
