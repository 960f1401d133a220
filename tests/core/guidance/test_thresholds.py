"""Thresholds bring x̂ into the range of the data and keep α x + σ ε = x_t."""

from __future__ import annotations

import pytest
import torch

from langevin.core.analytic import GaussianDenoiser
from langevin.core.guidance import cfg, chain, dynamic_threshold, static_threshold
from langevin.core.processes import Gaussian, Product
from langevin.core.rng import Stream

LABEL = {"label": torch.tensor([0, 1, 2, 0])}


@pytest.fixture
def wide() -> GaussianDenoiser:
    return GaussianDenoiser(Gaussian(), 0.0, 3.0)


@pytest.mark.parametrize("guidance", [static_threshold(), dynamic_threshold(0.9)], ids=["static", "dynamic"])
@pytest.mark.parametrize("t", [0.0, 0.3, 0.9, 1.0])
def test_the_estimate_is_in_range_and_consistent(guidance, t: float, wide, noise) -> None:
    x = 3 * noise(4, 3, 5, 5)
    q, _ = guidance(wide)(x, t)
    assert q.x.abs().max() <= 1 + 1e-12
    if t > 0:
        torch.testing.assert_close((1 - t) * q.x + t * q.eps, x)
    times = torch.full((4,), t, dtype=torch.float64)
    torch.testing.assert_close(guidance(wide)(x, times)[0].x, q.x)


def test_static_clips(wide, noise) -> None:
    x = 3 * noise(4, 20)
    plain, _ = wide(x, 0.5)
    q, _ = static_threshold(-0.5, 2.0)(wide)(x, 0.5)
    assert torch.equal(q.x, plain.x.clamp(-0.5, 2.0))


def test_dynamic_is_imagens_formula(wide, noise) -> None:
    x = 3 * noise(4, 101) * torch.tensor([[1.0], [0.01], [2.0], [0.3]])
    plain, _ = wide(x, 0.5)
    q, _ = dynamic_threshold(0.95, limit=1.5)(wide)(x, 0.5)
    s = plain.x.abs().quantile(0.95, dim=1, keepdim=True).clamp(min=1.5)
    torch.testing.assert_close(q.x, plain.x.clamp(-s, s) / s * 1.5)
    # what is in range stays as it is
    assert torch.equal(q.x[1], plain.x[1])


def test_padding_does_not_enter_the_percentile(wide, noise) -> None:
    x = 3 * noise(2, 7, 1)
    mask = torch.arange(10) < torch.tensor([[7], [4]])
    long = torch.nn.functional.pad(x, (0, 0, 0, 3), value=40.0)
    q, _ = dynamic_threshold(0.8)(wide)(long, 0.5, mask=mask)
    for i, n in enumerate((7, 4)):
        one, _ = dynamic_threshold(0.8)(wide)(x[i : i + 1, :n], 0.5)
        torch.testing.assert_close(q.x[i : i + 1, :n], one.x)
    none, _ = dynamic_threshold(0.8)(wide)(long, 0.5, mask=torch.zeros_like(mask))
    assert none.x.isfinite().all()


def test_it_edits_what_guidance_gives(mixture, noise, counting) -> None:
    x, d = noise(4, 2), counting(mixture)
    g = chain(cfg(20.0), static_threshold(-1.2, 1.2))(d)
    q, _ = g(x, 0.7, LABEL)
    torch.testing.assert_close(q.x, cfg(20.0)(mixture)(x, 0.7, LABEL)[0].x.clamp(-1.2, 1.2))
    assert g.rows(0.7) == d.asked == 2 and len(d.calls) == 1
    # inside instead: each of the two beliefs is clipped, still in one batch
    chain(static_threshold(-1.2, 1.2), cfg(20.0))(d)(x, 0.7, LABEL)
    assert len(d.calls) == 2


def test_leaves_are_chosen_by_name(joint) -> None:
    x_t = joint.process.corrupt(joint.sample_data(4, Stream.of(0, 4)), 0.8, Stream.of(1, 4))
    plain, _ = joint(x_t, 0.8)
    q, _ = static_threshold(-0.1, 0.1)(joint)(x_t, 0.8)
    assert q["positions"].x.abs().max() <= 0.1
    assert torch.equal(q["types"].logits, plain["types"].logits)
    q, _ = static_threshold(-0.1, 0.1, leaves=[])(joint)(x_t, 0.8)
    assert torch.equal(q["positions"].x, plain["positions"].x)
    with pytest.raises(KeyError, match="did you mean 'positions'"):
        static_threshold(leaves=["position"])(joint)
    assert isinstance(joint.process, Product)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: static_threshold(1.0, -1.0), "low < high"),
        (lambda: dynamic_threshold(99.5), "0.995 for 99.5"),
        (lambda: dynamic_threshold(0.0), "percentile must lie"),
        (lambda: dynamic_threshold(limit=0.0), "limit must be positive"),
        (lambda: static_threshold(float("-inf"), 1.0), "low must be a finite number"),
    ],
)
def test_mistakes_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
