"""The pieces: rotary angles, normalisation, attention's masks, sinusoids."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from langevin.core.backbones import sinusoidal
from langevin.core.backbones.layers import Attention, CrossAttention, RMSNorm, attend, attention_bias
from langevin.core.backbones.rotary import Rotary, rotate


def test_rotation_turns_by_the_product_of_frequency_and_position():
    rotary = Rotary(head=8, axes=1, base=16.0)
    x = torch.zeros(1, 1, 1, 8)
    x[..., :4] = 1
    turned = rotate(x, rotary(torch.tensor([[[0.7]]])))[0, 0, 0]
    angles = [0.7 * 16 ** (-k / 4) for k in range(4)]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    torch.testing.assert_close(turned, torch.tensor(expected))


@pytest.mark.parametrize(("head", "axes"), [(8, 1), (12, 2), (16, 3), (6, 3), (10, 3)])
def test_scores_depend_on_differences_of_positions(head, axes):
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, head, generator=g)
    u, v, shift = torch.randn(3, 1, 1, axes, generator=g)
    rotary = Rotary(head, axes)

    def score(u, v):
        return (rotate(q, rotary(u)) * rotate(k, rotary(v))).sum()

    torch.testing.assert_close(score(u + shift, v + shift), score(u, v), rtol=1e-4, atol=1e-5)
    assert (rotary.frequencies > 0).sum(0).tolist() == [1] * (head // 2)  # a pair belongs to one axis
    for axis in range(axes):  # and every axis has one
        other = u.clone()
        other[..., axis] += 1
        assert (score(other, v) - score(u, v)).abs() > 1e-3


def test_rotation_keeps_lengths():
    x = torch.randn(2, 5, 3, 12)
    turned = rotate(x, Rotary(12, 2)(torch.randn(2, 5, 2)))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


@pytest.mark.parametrize(("head", "axes"), [(7, 1), (4, 3)])
def test_a_head_that_cannot_be_rotated_is_refused(head, axes):
    with pytest.raises(ValueError, match=f"heads of {head} channels"):
        Rotary(head, axes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rms_norm_equals_torchs(dtype):
    ours, theirs = RMSNorm(16).to(dtype), nn.RMSNorm(16, eps=1e-6).to(dtype)
    for layer in (ours, theirs):
        nn.init.constant_(layer.weight, 1.5)
    x = torch.randn(4, 16, dtype=dtype) * torch.tensor([[1e-4], [1.0], [1e3], [0.0]], dtype=dtype)
    torch.testing.assert_close(ours(x), theirs(x))


def test_attention_is_softmax_of_scaled_scores():
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 5, 3, 4, generator=g)
    bias = torch.randn(2, 3, 5, 5, generator=g)
    weights = (torch.einsum("bnhd,bmhd->bhnm", q, k) / 2 + bias).softmax(-1)
    torch.testing.assert_close(attend(q, k, v, bias), torch.einsum("bhnm,bmhd->bnhd", weights, v).flatten(2))


def test_autocast_on_a_cpu_keeps_attention_in_single_precision():
    torch.manual_seed(0)
    layer, x = Attention(32, 4), torch.randn(2, 9, 32)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        q, k, v = layer.project(x)
        found = attend(q, k, v)
        assert v.dtype == torch.bfloat16 and found.dtype == torch.float32
        torch.testing.assert_close(found, attend(q.float(), k.float(), v.float()), rtol=0, atol=0)
        torch.testing.assert_close(layer(x).float(), exact, rtol=0.05, atol=0.02)


def test_no_mask_costs_no_mask():
    assert attention_bias(None) is None
    pair = torch.zeros(1, 2, 3, 3)
    assert attention_bias(None, pair) is pair
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert attention_bias(mask)[:, 0, 0].tolist() == [[True, False, True], [True, True, True]]


def test_a_qk_norm_makes_scores_independent_of_the_size_of_the_input():
    torch.manual_seed(0)
    x = torch.randn(1, 4, 8)
    for qk_norm, equal in ((True, True), (False, False)):
        layer = Attention(8, 2, qk_norm=qk_norm)
        nn.init.zeros_(layer.qkv.bias)
        (q, k, _), (q2, k2, _) = layer.project(x), layer.project(10 * x)
        assert torch.allclose(q, q2, atol=1e-3) is equal and torch.allclose(k, k2, atol=1e-3) is equal


def test_a_context_that_is_masked_altogether_gives_zero():
    torch.manual_seed(0)
    layer = CrossAttention(8, 6, 2)
    nn.init.ones_(layer.out.bias)
    mask = torch.tensor([[True, False], [False, False]])
    y = layer(torch.randn(2, 3, 8), torch.randn(2, 2, 6), mask)
    assert (y[1] == 0).all() and (y[0].abs() > 0).all()


def test_sinusoids():
    t = torch.tensor([0.0, 1.0, 250.0])
    expected = [
        [f(x * 10000 ** (-k / 4)) for f in (math.cos, math.sin) for k in range(4)] for x in t.tolist()
    ]
    torch.testing.assert_close(sinusoidal(t, 8), torch.tensor(expected))
    last = sinusoidal(t, 8, inclusive=True)[:, -1]
    torch.testing.assert_close(last, torch.sin(t / 10000))
    with pytest.raises(ValueError, match="even"):
        sinusoidal(t, 7)
