"""Smooth lDDT, and the auxiliary loss that it is."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from langevin.assembly import build_model
from langevin.core import so3
from langevin.core.registry import BuildError
from langevin.core.rng import Stream
from langevin.modalities.protein.lddt import smooth_lddt
from tests.modalities.protein.backbones import HELIX, STRAND, protein
from tests.modalities.protein.test_protein_modality import model

BEST = 1 - sum(1 / (1 + math.exp(-k)) for k in (0.5, 1.0, 2.0, 4.0)) / 4  # of no error at all


def frames(rows: int = 2, many: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(rows, many, 3, generator=generator)
    return so3.exp(vectors), 4 * torch.randn(rows, many, 3, generator=generator)


def test_it_is_least_where_nothing_is_wrong_and_most_where_all_is() -> None:
    r, x = frames()
    assert torch.allclose(smooth_lddt((r, x), (r, x)), torch.full((2,), BEST), atol=1e-5)
    assert (smooth_lddt((r, 100 * x), (r, x)) > 0.95).all()


def test_neither_motions_nor_reflections_change_it() -> None:
    r, x = frames()
    turn, shift = so3.exp(torch.tensor([0.3, -1.0, 0.4])), torch.tensor([3.0, -20.0, 5.0])
    moved = (turn @ r, x @ turn.mT + shift)
    assert torch.allclose(smooth_lddt(moved, (r, x)), smooth_lddt((r, x), (r, x)), atol=1e-4)
    sign = torch.tensor([1.0, 1.0, -1.0])
    mirrored = (sign[:, None] * r * sign, x * sign)  # N, CA and C lie in a plane: all of them are mirrored
    assert torch.allclose(smooth_lddt(mirrored, (r, x)), smooth_lddt((r, x), (r, x)), atol=1e-4)


def test_padding_and_pairs_far_apart_do_not_count() -> None:
    r, x = frames(1)
    near, real = (r, x), (r, x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    mask = torch.arange(12)[None] < 9
    plain = smooth_lddt((r[:, :9], x[:, :9]), (r[:, :9], real[1][:, :9]))
    wrong = (r, torch.where(mask[..., None], x, 50.0))
    assert torch.allclose(smooth_lddt(wrong, real, mask), plain)
    away = x + 100 * torch.arange(12)[None, :, None]  # no pair is within 15 Å
    assert smooth_lddt(near, (r, away)).item() == 0


def test_its_gradient_moves_residues_towards_their_distances() -> None:
    r, x = frames(1)
    wrong = (x + 0.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
    before = smooth_lddt((r, wrong), (r, x))
    (slope,) = torch.autograd.grad(before.sum(), wrong)
    after = smooth_lddt((r, wrong - 0.5 * slope / slope.norm()), (r, x))
    assert slope.isfinite().all() and after.item() < before.item()


def test_a_model_trained_with_it_shows_it_among_its_losses() -> None:
    net = model()
    items = [protein([HELIX] * 20), protein([STRAND] * 16)]
    parts = net.loss(items, {}, Stream.of(0, 2))[1]
    assert "auxiliary" not in parts
    net.objective = dataclasses.replace(net.objective, auxiliary=2.0, independent=0.0, given=0.0)
    whole, parts = net.loss(items, {}, Stream.of(0, 2))
    assert parts["auxiliary"].shape == (2,) and (parts["auxiliary"] > 0).all()
    assert torch.allclose(whole, torch.stack(list(parts.values())).sum(0))
    net.objective = dataclasses.replace(net.objective, auxiliary=1.0)
    half = net.loss(items, {}, Stream.of(0, 2))[1]["auxiliary"]
    assert torch.allclose(2 * half, parts["auxiliary"])


def test_modalities_without_one_refuse_it() -> None:
    config = {
        "modality": {"name": "image"},
        "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2, "axes": 2},
        "objective": {"auxiliary": 1.0},
    }
    with pytest.raises(BuildError, match="image has no auxiliary loss"):
        build_model(config)
