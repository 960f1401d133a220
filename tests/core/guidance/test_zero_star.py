"""CFG-Zero*: the optimal scale in velocity space, and a still beginning."""

from __future__ import annotations

import pytest
import torch

from langevin.core.analytic import MixtureDenoiser
from langevin.core.guidance import cfg, cfg_zero_star
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import Single, sample
from langevin.core.schedules import EDM, VP, Cosine, Linear

LABEL = {"label": torch.tensor([0, 1, 2, 0])}


@pytest.mark.parametrize("schedule", [Linear(), VP(), Cosine(), EDM()], ids=lambda s: type(s).__name__)
def test_the_velocity_is_the_papers(schedule, mixture, noise) -> None:
    d = MixtureDenoiser(Gaussian(schedule), mixture.weights, mixture.parts[""].normals.mean, 0.4)
    t, (alpha, sigma) = 0.6, schedule.at(0.6)
    x = alpha * noise(4, 2) + sigma * noise(4, 2, seed=1)
    c, u = d(x, t, LABEL)[0].velocity, d(x, t)[0].velocity
    star = (c * u).sum(1, keepdim=True) / (u * u).sum(1, keepdim=True)
    q, _ = cfg_zero_star(3.0)(d)(x, t, LABEL)
    torch.testing.assert_close(q.velocity, star * u + 3 * (c - star * u))
    torch.testing.assert_close(alpha * q.x + sigma * q.eps, x)


def test_it_is_that_of_diffusers(mixture, noise) -> None:
    reference = pytest.importorskip("diffusers.guiders.classifier_free_zero_star_guidance")
    x = noise(4, 2)
    c, u = mixture(x, 0.6, LABEL)[0].velocity, mixture(x, 0.6)[0].velocity
    star = reference.cfg_zero_star_scale(c, u)
    q, _ = cfg_zero_star(3.0)(mixture)(x, 0.6, LABEL)
    torch.testing.assert_close(q.velocity, star * u + 3 * (c - star * u), rtol=1e-5, atol=1e-5)


def test_the_beginning_stands_still(mixture, counting, noise) -> None:
    d = counting(mixture)
    g = cfg_zero_star(3.0, zero_init=0.1)(d)
    x = noise(4, 2)
    q, _ = g(x, 1.0, LABEL)
    assert d.asked == 1 == g.rows(1.0) and g.rows(0.8) == 2
    assert q.velocity.abs().max() < 1e-12
    grid = [1.0, 0.95, 0.92, 0.5, 0.0]
    steps = list(sample(g, Single(0.0), grid, Stream.of(0, 4), x=x, condition=LABEL))
    torch.testing.assert_close(steps[1].x, x)
    assert not torch.allclose(steps[3].x, x)
    off, _ = cfg_zero_star(3.0, zero_init=0.0)(mixture)(x, 1.0, LABEL)
    assert off.velocity.abs().max() > 0.1


def test_times_per_sample(mixture, noise) -> None:
    x, t = noise(4, 2), torch.tensor([0.0, 0.3, 0.97, 1.0], dtype=torch.float64)
    g = cfg_zero_star(3.0)(mixture)
    q, _ = g(x, t, LABEL)
    for i in range(4):
        p, _ = g(x[i : i + 1], t[i].item(), {"label": LABEL["label"][i : i + 1]})
        torch.testing.assert_close(q.x[i : i + 1], p.x)
        torch.testing.assert_close(q.eps[i : i + 1], p.eps)
    data, _ = cfg(3.0)(mixture)(x, 0.0, LABEL)
    torch.testing.assert_close(g(x, 0.0, LABEL)[0].x, data.x)


def test_other_leaves_of_a_product_are_guided_as_by_cfg(joint) -> None:
    x_t = joint.process.corrupt(joint.sample_data(4, Stream.of(0, 4)), 0.5, Stream.of(1, 4))
    condition = {"label": torch.tensor([0, 1, 1, 0])}
    q, p = (g(joint)(x_t, 0.5, condition)[0] for g in (cfg_zero_star(3.0), cfg(3.0)))
    torch.testing.assert_close(q["types"].logits, p["types"].logits)
    torch.testing.assert_close(q["frames"].vector, p["frames"].vector)
    assert not torch.allclose(q["positions"].x, p["positions"].x)
